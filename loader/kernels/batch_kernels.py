"""Which kernel fills which tensor of a batch, by how it is stored and delivered: the compiled core's where there is one, else numpy's."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..format.layout import IMAGENET_MEAN, IMAGENET_STD
from .core import CORE, LEFT, Core

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


class Rows(NamedTuple):
    """Stored rows."""

    files: Sequence[NDArray[np.uint8]]
    """What each lies in, uint8 [N]."""
    spans: NDArray[np.int64]
    """int64 [B, 2]: offset there, and bytes with those of its checksum."""
    is_checked: bool
    """Whether checksums are compared."""


class Kernel(NamedTuple):
    """What fills one tensor."""

    fill_rows: Callable[[Rows, NDArray[Any]], bytes]
    """Takes rows, and where to write them, [B, ...] in C order. Returns what became of each (`loader.kernels.core`)."""
    finish_row: Callable[[NDArray[Any], NDArray[Any]], None]
    """Takes a row as it was decoded, and where to write it: for what `fill_rows` leaves."""


@cache
def batch_kernels() -> Mapping[Form, Kernel]:
    """Return the kernels of this process."""
    return kernels_of(CORE)


def kernels_of(core: Core | None) -> Mapping[Form, Kernel]:
    """Return the kernel of each form, with a compiled core or without."""
    loops = {} if core is None else _loops_of(core)
    return {form: Kernel(loops.get(loop, _leave_all), finish) for form, (loop, finish) in _TABLE.items()}


def _loops_of(core: Core) -> dict[str, Callable[[Rows, NDArray[Any]], bytes]]:
    def copy(rows: Rows, out: NDArray[Any]) -> bytes:
        return core.copy_rows(rows.files, rows.spans, out, out.nbytes // max(len(out), 1), rows.is_checked)

    def normalize(rows: Rows, out: NDArray[Any]) -> bytes:
        num_pixels = out.shape[2] * out.shape[3]
        return core.normalize_rows(rows.files, rows.spans, MEAN, STD, out, num_pixels, rows.is_checked)

    def expand(rows: Rows, out: NDArray[Any]) -> bytes:
        _, height, width = out.shape
        return core.expand_rows(rows.files, rows.spans, out, height, width, False, rows.is_checked)

    def expand_to_bits(rows: Rows, out: NDArray[Any]) -> bytes:
        # Masks are square: bits do not say how many of the last byte are pixels.
        size = out.shape[1]
        return core.expand_rows(rows.files, rows.spans, out, size, size, True, rows.is_checked)

    def unpack(rows: Rows, out: NDArray[Any]) -> bytes:
        _, _, height, width = out.shape
        return core.unpack_rows(rows.files, rows.spans, out, height, width, rows.is_checked)

    def unpack_normalized(rows: Rows, out: NDArray[Any]) -> bytes:
        _, _, height, width = out.shape
        files, spans, is_checked = rows
        return core.unpack_normalized_rows(files, spans, MEAN, STD, out, height, width, is_checked)

    return {
        "copy": copy,
        "normalize": normalize,
        "expand": expand,
        "expand to bits": expand_to_bits,
        "unpack": unpack,
        "unpack and normalize": unpack_normalized,
    }


def _leave_all(rows: Rows, out: NDArray[Any]) -> bytes:
    del rows
    return bytes([LEFT]) * len(out)


def copy_into(stored: NDArray[Any], out: NDArray[Any]) -> None:
    """Write a row into `out`, of the same shape."""
    np.copyto(out, stored)


def widen_into(stored: NDArray[np.bool_], out: NDArray[np.float32]) -> None:
    """Write a mask, bool, into `out`, float32 of the same shape."""
    fits = stored.shape == out.shape and stored.flags.c_contiguous and out.flags.carray
    if CORE is not None and fits and stored.dtype == np.bool_ and out.dtype == np.float32:
        CORE.widen(stored, out)
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
    Form("masks", "zstd", "bool", BYTE): ("expand to bits", pack_into),
}
"""Which loop of the core fills rows, and what finishes those that it leaves. Prompt masks are a column: they are copied."""
