"""Which kernel fills which tensor of a batch, by how it is stored and delivered: compiled where numba is, else numpy's."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..format.layout import IMAGENET_MEAN, IMAGENET_STD
from .native import NativeLoops, native_loops

MEAN = np.array(IMAGENET_MEAN, np.float32)
STD = np.array(IMAGENET_STD, np.float32)


class Form(NamedTuple):
    """What a kernel is for."""

    tensor: str
    codec: str
    stored: str
    """dtype, of rows that are decoded."""
    delivered: np.dtype[Any]
    """In the batch; masks as uint8 are 8 pixels a byte."""


class Kernel(NamedTuple):
    """What fills one tensor."""

    fill_rows: Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[Any]], NDArray[np.bool_]]
    """Takes addresses and sizes of stored rows, int64 [B] each, and where to write them, [B, ...] in C order and of rows of
    the stored shape. Returns of each row whether it is written, bool [B]. Checks nothing, and lets other threads run."""
    finish_row: Callable[[NDArray[Any], NDArray[Any]], None]
    """Takes a row as it was decoded, and where to write it: for what `fill_rows` leaves."""


@cache
def batch_kernels() -> Mapping[Form, Kernel]:
    """Return the kernels of this process, compiled now where that was never done on this machine."""
    return kernels_of(native_loops())


def kernels_of(loops: NativeLoops | None) -> Mapping[Form, Kernel]:
    """Return the kernel of each form, with compiled loops where there are any."""
    compiled: dict[str, Any] = {}
    if loops is not None:
        compiled = {
            "copy": lambda addresses, _, out: loops.copy_rows(addresses, out),
            "normalize": lambda addresses, _, out: loops.normalize_rows(addresses, MEAN, STD, out),
            "expand": loops.expand_rows,
            "unpack": loops.unpack_rows,
            "unpack and normalize": lambda addresses, sizes, out: loops.unpack_normalized_rows(
                addresses, sizes, MEAN, STD, out
            ),
        }
    return {form: Kernel(compiled.get(loop, _leave_all), finish) for form, (loop, finish) in _TABLE.items()}


def _leave_all(addresses: NDArray[np.int64], _: NDArray[np.int64], out: NDArray[Any]) -> NDArray[np.bool_]:
    del out
    return np.zeros(addresses.size, np.bool_)


def copy_into(stored: NDArray[Any], out: NDArray[Any]) -> None:
    """Write a row into `out`, of the same shape."""
    np.copyto(out, stored)


def widen_into(stored: NDArray[np.bool_], out: NDArray[np.float32]) -> None:
    """Write a mask, bool, into `out`, float32 of the same shape."""
    loops = native_loops()
    # The loop checks nothing; numpy does the rest, or says what is wrong.
    fits = stored.shape == out.shape and stored.flags.c_contiguous and out.flags.carray
    if loops is not None and fits and stored.dtype == np.bool_ and out.dtype == np.float32:
        loops.widen(stored, out)
    else:
        copy_into(stored, out)


def pack_into(stored: NDArray[np.bool_], out: NDArray[np.uint8]) -> None:
    """Write a mask, bool [H, W], into `out`, uint8 [H, (W + 7) // 8], the first pixel in the highest bit."""
    out[...] = np.packbits(stored, axis=1)


def normalize_into(stored: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """Write (stored / 255 - mean) / std of an image [3, H, W] into `out`, in float32 and in that order.

    Each step rounds as torchvision's `ToTensor` and `Normalize` do, so every bit agrees with them.
    """
    np.divide(stored, np.float32(255), out=out, dtype=np.float32, casting="unsafe")
    np.subtract(out, MEAN[:, None, None], out=out)
    np.divide(out, STD[:, None, None], out=out)


FLOAT = np.dtype(np.float32)
BYTE = np.dtype(np.uint8)

_TABLE: dict[Form, tuple[str, Callable[[NDArray[Any], NDArray[Any]], None]]] = {
    Form("pixel_values", "raw", "uint8", FLOAT): ("normalize", normalize_into),
    Form("pixel_values", "raw", "uint8", BYTE): ("copy", copy_into),
    Form("pixel_values", "raw", "float32", FLOAT): ("copy", copy_into),
    Form("pixel_values", "gradient", "uint8", FLOAT): ("unpack and normalize", normalize_into),
    Form("pixel_values", "gradient", "uint8", BYTE): ("unpack", copy_into),
    Form("g_pixel_values", "raw", "uint8", BYTE): ("copy", copy_into),
    Form("g_pixel_values", "gradient", "uint8", BYTE): ("unpack", copy_into),
    Form("masks", "zstd", "bool", FLOAT): ("expand", widen_into),
    Form("masks", "zstd", "bool", BYTE): ("none", pack_into),
}
"""Which compiled loop fills rows, and what finishes those that it leaves. Prompt masks are a column: they are copied."""
