"""A dataset of a few pictures, converted with a recipe that comes with the package, and read by the loader.

The pictures are made of whole numbers alone and stored as arrays, so that no processor, decoder or version makes others.
None of them is so tall that Pillow 12 and 13 resize it differently.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from miniature.shapes import ellipse_of
from numpy.typing import NDArray
from stores import CONFIGS

from resizeonce.loader import BatchLoader
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

Original = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""A picture, uint8 [H, W, 3], and the mask of an object in it, bool [H, W]."""

SIZES = ((300, 500), (90, 70), (600, 1400))
"""(height, width): between the sizes of the views, below and above; of odd and even differences."""


def originals(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Original]:
    """Return a picture of coarse blocks and fine grain for each size, and an ellipse on it."""
    return [(_blocks(*size, seed), ellipse_of(*size, seed)) for seed, size in enumerate(sizes)]


def _blocks(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 240, (height // 9 + 1, width // 9 + 1, 3), dtype=np.uint8)
    blocks: NDArray[np.uint8] = coarse.repeat(9, axis=0).repeat(9, axis=1)[:height, :width]
    return blocks + rng.integers(0, 16, blocks.shape, dtype=np.uint8)


def convert_originals(folder: Path, found: Sequence[Original], *overrides: str) -> Path:
    """Convert pictures with the recipe that overrides of a config choose; return the store."""
    raw, store = folder / "raw", folder / "originals.zarr"
    (raw / "stills").mkdir(parents=True)
    for number, (picture, mask) in enumerate(found):
        np.savez(raw / "stills" / f"{number:05d}.npz", image=picture, mask=mask[None])
    single = ("source.paired=false", "source.dataset_type=coco")
    convert(load_config(CONFIGS / "npz.toml", [*single, *overrides]), raw, store)
    return store


def delivered(store: Path) -> list[Mapping[str, Any]]:
    """Return what a `BatchLoader` gives of each sample, in the order of the pictures: views without the batch's axis."""
    batches = {batch["key"][0]: batch for batch in BatchLoader(store, batch_size=1, workers=0)}
    return [
        {key: value[0] for key, value in batch.items() if not isinstance(value, str | bool)}
        for _, batch in sorted(batches.items())
    ]
