"""One miniature dataset for every registered source."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miniature.coco import write_coco
from miniature.folders import write_folders
from miniature.mevis import write_mevis
from miniature.npz import write_npz_pairs
from miniature.openimages import write_openimages
from miniature.refcoco import write_refcoco
from miniature.sa1b import write_sa1b
from miniature.sav import write_sav_train
from miniature.vos import write_vos

Pictures = Sequence[NDArray[np.uint8]]


def _npz(root: Path, pictures: Pictures) -> None:
    write_npz_pairs(root, [(picture, np.ascontiguousarray(picture[::-1])) for picture in pictures])


def _sav(root: Path, pictures: Pictures) -> None:
    clips = [
        (f"sav_{number:06d}", [np.roll(picture, 9 * t, axis=1) for t in range(6)])
        for number, picture in enumerate(pictures)
    ]
    write_sav_train(root, clips)


def _clips(pictures: Pictures, num_frames: int) -> list[tuple[str, list[NDArray[np.uint8]]]]:
    return [
        (f"{number:08x}", [np.roll(picture, 9 * t, axis=1) for t in range(num_frames)])
        for number, picture in enumerate(pictures)
    ]


def _vos(root: Path, pictures: Pictures) -> None:
    write_vos(root, _clips(pictures, 7))


def _mevis(root: Path, pictures: Pictures) -> None:
    write_mevis(root, _clips(pictures, 6))


WRITERS: dict[str, Callable[[Path, Pictures], None]] = {
    "npz": _npz,
    "sav": _sav,
    "sa1b": write_sa1b,
    "openimages": write_openimages,
    "refcoco": write_refcoco,
    "coco": write_coco,
    "folders": write_folders,
    "vos": _vos,
    "mevis": _mevis,
}
"""Writes a dataset that the shipped config of the same name reads, by the name of the source."""
