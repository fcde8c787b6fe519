"""Folders of npz files: pairs of frames, and single images, with the masks of two objects."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miniature.shapes import ellipse_of


def write_npz_pairs(root: Path, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> None:
    """Write each pair of pictures as `clips/<number>.npz`, with masks of 0 and 255 as SA-V's PNGs have."""
    folder = root / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (earlier, later) in enumerate(pairs):
        np.savez_compressed(
            folder / f"{number:05d}.npz",
            image1=earlier,
            image2=later,
            mask1=_masks(earlier, number) * np.uint8(255),
            mask2=_masks(later, number) * np.uint8(255),
        )


def write_npz_single(root: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Write each picture as `stills/<number>.npz`, with bool masks and a phrase for each of the two objects."""
    folder = root / "stills"
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        np.savez(
            folder / f"{number:05d}.npz",
            image=picture,
            mask=_masks(picture, number).astype(np.bool_),
            expressions=np.array([f"the wide shape of {number}", "the other one"]),
        )


def _masks(picture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    masks = [ellipse_of(height, width, seed + object_seed) for object_seed in (50, 70)]
    return np.stack(masks).astype(np.uint8)
