"""One tensor of all samples of a batch at once, in one call of a compiled loop.

Between two samples a batch's bytes have driven everything else out of the processor's caches: what Python does for each
sample then takes four times as long as it does for all of them in one go. And a thread gives the interpreter away once
for a batch, and not for each row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loader.arrays import MappedArray
from loader.native import native_loops
from loader.passes import MEAN, STD
from loader.tensors import Tables
from preprocess.errors import StoreError


def fill_rows(tensor: str, rows: Sequence[tuple[Tables, int]], out: NDArray[Any]) -> Sequence[int]:
    """Write one tensor of several samples into `out`, as far as there is a loop for how it is stored.

    Args:
        tensor: one of `loader.tensors.TENSORS`.
        rows: part and row of the mask of each sample.
        out: of the tensor's shape and dtype, or those of its compact form, one row for each sample, in C order.

    Returns:
        The places in the batch that are left to `loader.tensors.fill_tensor`, which also says what is wrong with them.
    """
    everything = range(len(rows))
    if not len(rows) or not out.flags.carray:
        return everything
    try:
        if tensor == "prompt_masks":
            for room, (part, mask) in zip(out, rows, strict=True):
                np.copyto(room, part.column("masks/prompt_masks")[mask])
            return ()
        if tensor == "masks":
            return _expand_masks(rows, out)
        return _fill_images(f"images/{tensor}", rows, out)
    except (StoreError, OSError, ValueError, IndexError):
        # One row is damaged or can't be read; going through them one by one tells which.
        return everything


def _fill_images(path: str, rows: Sequence[tuple[Tables, int]], out: NDArray[Any]) -> Sequence[int]:
    """Copy or normalise images; return the places that are left: all, or none."""
    loops = native_loops()
    arrays = [part.array(path) for part, _ in rows]
    if loops is None or not all(array.is_raw for array in arrays):
        return range(len(rows))
    dtypes = {array.dtype for array in arrays}
    images = [part.column("masks/image").item(mask) for part, mask in rows]
    addresses, sizes = _places(arrays, images)
    if dtypes == {out.dtype} and (sizes == out[0].nbytes).all():
        loops.copy_rows(addresses, out)
    elif dtypes == {np.dtype(np.uint8)} and out.dtype == np.float32 and (sizes == out[0].size).all():
        loops.normalize_rows(addresses, MEAN, STD, out)
    else:
        return range(len(rows))
    return ()


def _expand_masks(rows: Sequence[tuple[Tables, int]], out: NDArray[Any]) -> Sequence[int]:
    """Decode and widen masks; return the places of those that are other frames than this project's own."""
    loops = native_loops()
    arrays = [part.array("masks/masks") for part, _ in rows]
    if loops is None or out.dtype != np.float32 or any(array.is_raw for array in arrays):
        return range(len(rows))
    addresses, sizes = _places(arrays, [mask for _, mask in rows])
    left: list[int] = np.flatnonzero(~loops.expand_rows(addresses, sizes, out)).tolist()
    return left


def _places(
    arrays: Sequence[MappedArray], numbers: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return address and size of each row. The arrays have to stay as long as these are used."""
    places = [array.place(number) for array, number in zip(arrays, numbers, strict=True)]
    addresses, sizes = zip(*places, strict=True)
    return np.array(addresses, np.int64), np.array(sizes, np.int64)
