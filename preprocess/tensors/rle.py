"""Masks made from run lengths by the core: sampled or averaged on a grid, without a bitmap of their full size."""

import numpy as np
from numpy.typing import NDArray

from ..decode.segmentation import Bitmap, Rle
from ..kernels.core import Core
from . import transforms
from .transforms import MaskFilter, nearest_positions


def resize_mask(core: Core, mask: Rle | Bitmap, size: int, mask_filter: MaskFilter) -> NDArray[np.bool_]:
    """Do what `preprocess.tensors.transforms.resize_mask` does, from the runs.

    Raises:
        ValueError: the runs do not fill the mask.
    """
    if isinstance(mask, Bitmap):
        return transforms.resize_mask(mask, size, mask_filter)
    runs = np.ascontiguousarray(mask.runs, np.int64)
    resized = np.zeros((size, size), np.bool_)
    if mask_filter == "cover":
        core.cover_runs(runs, mask.height, mask.width, size, resized)
    else:
        rows, columns = (nearest_positions(length, size, mask_filter) for length in mask.size)
        core.sample_runs(runs, mask.height, mask.width, rows, columns, resized)
    return resized
