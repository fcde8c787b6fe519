"""One tensor of all samples of a batch at once, in one call of a compiled loop.

Between two samples a batch's bytes have driven everything else out of the processor's caches: what Python does for each
sample then takes four times as long as it does for all of them in one go. And a thread gives the interpreter away once
for a batch, and not for each row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .array import MappedArray
from .format.errors import StoreError
from .kernels.native import native_loops
from .kernels.passes import MEAN, STD
from .tensors import Tables


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
    """Copy, unpack or normalise images; return the places that are left."""
    loops = native_loops()
    arrays = [part.array(path) for part, _ in rows]
    if loops is None or {array.row_shape for array in arrays} != {out.shape[1:]}:
        return range(len(rows))
    (codec, dtype), *others = {(array.codec, array.dtype) for array in arrays}
    if others:
        # Stores of several forms: one by one.
        places = range(len(rows))
        return [place for place in places if _fill_images(path, [rows[place]], out[place : place + 1])]
    images = [part.column("masks/image").item(mask) for part, mask in rows]
    addresses, sizes = _places(arrays, images)
    if codec == "raw" and dtype == out.dtype:
        loops.copy_rows(addresses, out)
    elif codec == "raw" and dtype == np.uint8 and out.dtype == np.float32:
        loops.normalize_rows(addresses, MEAN, STD, out)
    elif codec == "gradient" and out.dtype == np.uint8:
        return _places_of(~loops.unpack_rows(addresses, sizes, out))
    elif codec == "gradient" and out.dtype == np.float32:
        return _places_of(~loops.unpack_normalized_rows(addresses, sizes, MEAN, STD, out))
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
    return _places_of(~loops.expand_rows(addresses, sizes, out))


def _places_of(is_left: NDArray[np.bool_]) -> list[int]:
    """Return where it is so."""
    places: list[int] = np.flatnonzero(is_left).tolist()
    return places


def _places(
    arrays: Sequence[MappedArray], numbers: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return address and size of each row. The arrays have to stay as long as these are used."""
    places = [array.place(number) for array, number in zip(arrays, numbers, strict=True)]
    addresses, sizes = zip(*places, strict=True)
    return np.array(addresses, np.int64), np.array(sizes, np.int64)
