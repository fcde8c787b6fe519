"""Masks made from run lengths by the core: sampled or averaged on a grid, without a bitmap of their full size."""

import numpy as np
from numpy.typing import NDArray

from ...loader.format.recipe import ImageView, MaskView
from ..decode.segmentation import Bitmap, Rle
from ..kernels.core import Core
from . import transforms
from .cells import cell_units, half
from .geometry import place_mask
from .nearest import nearest_positions, spread


def resize_mask(
    core: Core, mask: Rle | Bitmap, view: MaskView, over: ImageView, picture: tuple[int, int]
) -> NDArray[np.bool_]:
    """Do what `preprocess.tensors.transforms.resize_mask` does, from the runs.

    Raises:
        ValueError: the runs do not fill the mask, or the view is of the mask's own size.
        RecordError: as there.
    """
    if isinstance(mask, Bitmap):
        return transforms.resize_mask(mask, view, over, picture)
    rows, columns = place_mask(view, over, mask.size, picture)
    runs = np.ascontiguousarray(mask.runs, np.int64)
    if view.filter == "half":
        everything = np.arange(mask.height), np.arange(mask.width)
        return half(_sample(core, runs, mask.size, *everything), rows, columns)
    if view.filter in ("pillow-nearest", "torch-nearest"):
        down, across = (nearest_positions(axis, view.filter) for axis in (rows, columns))
        sampled = _sample(core, runs, mask.size, down.pixels, across.pixels)
        return spread(sampled, down, across, (rows.size, columns.size))
    resized = np.zeros((rows.size, columns.size), np.bool_)
    tall, wide = cell_units(rows), cell_units(columns)
    core.cover_runs(runs, tall, wide, tall.cell * wide.cell if view.filter == "cover" else 1, resized)
    return resized


def _sample(
    core: Core,
    runs: NDArray[np.int64],
    size: tuple[int, int],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.bool_]:
    sampled = np.zeros((len(rows), len(columns)), np.bool_)
    core.sample_runs(runs, *size, rows, columns, sampled)
    return sampled
