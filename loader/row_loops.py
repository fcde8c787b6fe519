"""The loops that fill a batch, as functions of addresses and numbers that `loader.object_code` keeps as object code.

Each writes one tensor of several samples. `loader.loops` and `loader.mask_frames` are what they do.
"""

from typing import Any

from numba import cfunc, types

from loader import loops, mask_frames
from loader.loops import carray

_pointer: Any = types.CPointer
_NUMBER = types.int64
_NUMBERS = _pointer(types.int64)
_BYTES = _pointer(types.uint8)
_FLOATS = _pointer(types.float32)


@cfunc(types.void(_NUMBERS, _NUMBER, _BYTES, _NUMBER))
def copy_rows(addresses: Any, count: int, out: Any, size: int) -> None:
    """Copy `count` rows of `size` bytes."""
    loops.copy_rows(carray(addresses, (count,)), carray(out, (count, size)))


@cfunc(types.void(_NUMBERS, _NUMBER, _FLOATS, _FLOATS, _FLOATS, _NUMBER))
def normalize_rows(addresses: Any, count: int, mean: Any, std: Any, out: Any, size: int) -> None:
    """Normalise `count` images of three channels of `size` bytes."""
    loops.normalize_rows(
        carray(addresses, (count,)), carray(mean, (3,)), carray(std, (3,)), carray(out, (count, 3, size))
    )


@cfunc(types.void(_BYTES, _FLOATS, _NUMBER))
def widen(stored: Any, out: Any, size: int) -> None:
    """Widen a mask of `size` pixels."""
    loops.widen(carray(stored, (size,)), carray(out, (size,)))


@cfunc(types.void(_NUMBERS, _NUMBERS, _NUMBER, _FLOATS, _NUMBER, _FLOATS, _NUMBER, _pointer(types.boolean)))
def expand_rows(
    addresses: Any, sizes: Any, count: int, pixels: Any, width: int, out: Any, size: int, is_done: Any
) -> None:
    """Decode `count` masks of `size` pixels."""
    mask_frames.expand_rows(
        carray(addresses, (count,)),
        carray(sizes, (count,)),
        carray(pixels, (width,)),
        carray(out, (count, size)),
        carray(is_done, (count,)),
    )


FUNCTIONS: dict[str, Any] = {
    "copy_rows": copy_rows,
    "normalize_rows": normalize_rows,
    "widen": widen,
    "expand_rows": expand_rows,
}
"""All of them."""
