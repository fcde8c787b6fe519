"""Masks made from run lengths by the core: sampled or averaged on a grid, without a bitmap of their full size."""

import numpy as np
from numpy.typing import NDArray

from ...loader.format.recipe import ImageView, MaskView
from ..decode.segmentation import Rle
from ..kernels.core import Core
from .cells import half, measure_cells
from .nearest import spread, take_nearest


def resize_mask(
    core: Core, mask: Rle, view: MaskView, over: ImageView, picture: tuple[int, int]
) -> NDArray[np.bool_]:
    """Do what `preprocess.tensors.transforms.resize_mask` does, from the runs.

    Raises:
        ValueError: the runs do not fill the mask, or the view is of the mask's own size.
        RecordError: as there.
    """
    runs = np.ascontiguousarray(mask.runs, np.int64)
    if view.filter in ("pillow-nearest", "torch-nearest"):
        rows, columns = take_nearest(view, over, mask.size, picture)
        return spread(_sample(core, mask.size, runs, rows.pixels, columns.pixels), rows, columns)
    if view.filter == "half":
        everything = _sample(core, mask.size, runs, np.arange(mask.height), np.arange(mask.width))
        return half(everything, view, over, picture)
    tall, wide = measure_cells(view, over, mask.size, picture)
    resized = np.zeros((tall.size, wide.size), np.bool_)
    core.cover_runs(runs, tall, wide, tall.cell * wide.cell if view.filter == "cover" else 1, resized)
    return resized


def _sample(
    core: Core,
    size: tuple[int, int],
    runs: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.bool_]:
    sampled = np.zeros((len(rows), len(columns)), np.bool_)
    core.sample_runs(runs, *size, rows, columns, sampled)
    return sampled
