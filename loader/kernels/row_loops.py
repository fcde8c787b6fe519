"""The loops that fill a batch, as functions of addresses and numbers that `loader.kernels.object_code` keeps as object code.

Each writes one tensor of several samples. `loader.kernels.loops`, `loader.kernels.mask_frames` and `loader.kernels.packed_images` are what they do.
"""

from typing import Any

from numba import cfunc, types

from ..format.gradient import LINES
from . import loops, mask_frames, packed_images
from .loops import carray

_pointer: Any = types.CPointer
_NUMBER = types.int64
_NUMBERS = _pointer(types.int64)
_BYTES = _pointer(types.uint8)
_FLOATS = _pointer(types.float32)
_FLAGS = _pointer(types.boolean)


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


@cfunc(types.void(_NUMBERS, _NUMBERS, _NUMBER, _FLOATS, _NUMBER, _FLOATS, _NUMBER, _FLAGS))
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


@cfunc(types.void(_NUMBERS, _NUMBERS, _NUMBER, _BYTES, _NUMBER, _BYTES, _NUMBER, _NUMBER, _FLAGS))
def unpack_rows(
    addresses: Any,
    sizes: Any,
    count: int,
    room: Any,
    line: int,
    out: Any,
    height: int,
    width: int,
    is_done: Any,
) -> None:
    """Unpack `count` images that are stored compact."""
    packed_images.unpack_rows(
        carray(addresses, (count,)),
        carray(sizes, (count,)),
        carray(room, (LINES, line)),
        carray(out, (count, 3, height, width)),
        carray(is_done, (count,)),
    )


@cfunc(
    types.void(
        _NUMBERS, _NUMBERS, _NUMBER, _BYTES, _NUMBER, _FLOATS, _FLOATS, _FLOATS, _NUMBER, _NUMBER, _FLAGS
    )
)
def unpack_normalized_rows(
    addresses: Any,
    sizes: Any,
    count: int,
    room: Any,
    line: int,
    mean: Any,
    std: Any,
    out: Any,
    height: int,
    width: int,
    is_done: Any,
) -> None:
    """Unpack `count` images that are stored compact, and normalise them."""
    packed_images.unpack_normalized_rows(
        carray(addresses, (count,)),
        carray(sizes, (count,)),
        carray(room, (LINES, line)),
        carray(mean, (3,)),
        carray(std, (3,)),
        carray(out, (count, 3, height, width)),
        carray(is_done, (count,)),
    )


FUNCTIONS: dict[str, Any] = {
    "copy_rows": copy_rows,
    "normalize_rows": normalize_rows,
    "widen": widen,
    "expand_rows": expand_rows,
    "unpack_rows": unpack_rows,
    "unpack_normalized_rows": unpack_normalized_rows,
}
"""All of them."""
