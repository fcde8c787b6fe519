"""Which kernel fills which tensor of a batch, by how it is stored and delivered: the compiled core's where there is one, else numpy's."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..format.gradient import unpack_gradient
from ..format.recipe import ImageView
from ..format.shard import CHECKSUM_BYTES
from .core import CORE, DONE, LEFT, Action, Core


class Form(NamedTuple):
    """What a kernel is for."""

    codec: str
    stored: str
    """dtype, of rows that are decoded."""
    delivered: np.dtype[Any]
    """In the batch; masks as uint8 are 8 pixels a byte."""


class Delivery(NamedTuple):
    """What becomes of the rows of a view."""

    shape: tuple[int, ...]
    """Of a stored row."""
    norm: NDArray[np.float32] | None = None
    """Of a view that is normalized, as `norm_of` returns it."""
    shown: NDArray[np.int64] | None = None
    """Of a padded one, int64 [B, 2]: height and width of what is picture, from the top left corner; all of it where None."""


class Rows(NamedTuple):
    """Stored rows."""

    files: Sequence[NDArray[np.uint8]]
    """What each lies in, uint8 [N]."""
    spans: NDArray[np.int64]
    """int64 [B, 2]: offset there, and bytes with those of its checksum."""
    is_checked: bool
    """Whether checksums are compared."""


FinishRow = Callable[[NDArray[Any], NDArray[Any], Delivery, int], None]
"""Takes a row as it was decoded, where to write it, how, and its place in the batch."""


@lru_cache(maxsize=64)
def norm_of(view: ImageView) -> NDArray[np.float32]:
    """Return what normalises a view: its means, its standard deviations, and what levels are divided by, float32 [7].

    The array is shared, and read-only.
    """
    norm = np.array([*view.mean, *view.std, view.scale], np.float32)
    norm.setflags(write=False)
    return norm


def fill_rows(
    action: Action, rows: Rows, out: NDArray[Any], delivery: Delivery, core: Core | None = CORE
) -> bytes:
    """Write rows into `out`, [B, ...] in C order; return what became of each. Without a compiled core all of them are left."""
    if core is None:
        return bytes([LEFT]) * len(out)
    files, spans, is_checked = rows
    shape, norm, shown = delivery
    return core.fill_rows(action, files, spans, out, shape[-2], shape[-1], norm, shown, is_checked)


def unpack_image(packed: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Do what `loader.format.gradient.unpack_gradient` does; arguments and errors are its own."""
    fits = out.ndim == 3 and out.shape[0] == 3 and out.size and out.dtype == np.uint8 and out.flags.carray
    fits = fits and packed.ndim == 1 and packed.dtype == np.uint8 and packed.flags.c_contiguous
    if CORE is None or not fits:
        unpack_gradient(packed, out)
        return
    # The bytes of a checksum follow a row; they are not compared.
    file = np.append(packed, np.zeros(CHECKSUM_BYTES, np.uint8))
    span = np.array([[0, file.size]], np.int64)
    _, height, width = out.shape
    (state,) = CORE.fill_rows(Action.UNPACK, [file], span, out, height, width, None, None, False)
    if state != DONE:
        raise ValueError(f"{len(packed)} bytes are no packed image of {height} x {width}")


def _copy_row(stored: NDArray[Any], out: NDArray[Any], delivery: Delivery, place: int) -> None:
    del delivery, place
    np.copyto(out, stored)


def _pack_row(stored: NDArray[np.bool_], out: NDArray[np.uint8], delivery: Delivery, place: int) -> None:
    """Write a mask, bool [H, W], into `out`, uint8 [H, (W + 7) // 8], the first pixel in the highest bit."""
    del delivery, place
    out[...] = np.packbits(stored, axis=1)


def _normalize_row(
    stored: NDArray[np.uint8], out: NDArray[np.float32], delivery: Delivery, place: int
) -> None:
    assert delivery.norm is not None
    shown = None if delivery.shown is None else delivery.shown[place]
    normalize_into(stored, out, delivery.norm, shown)


def normalize_into(
    stored: NDArray[np.uint8],
    out: NDArray[np.float32],
    norm: NDArray[np.float32],
    shown: NDArray[np.int64] | None = None,
) -> None:
    """Write (stored / scale - mean) / std of an image [3, H, W] into `out`, in float32 and in that order.

    Each step rounds as torchvision's `ToTensor` and `Normalize` do, so every bit agrees with them.

    Args:
        stored: uint8 [3, H, W].
        out: float32 [3, H, W].
        norm: as `norm_of` returns it.
        shown: height and width of what is picture; the rest becomes 0.
    """
    mean, std, scale = norm[:3, None, None], norm[3:6, None, None], norm[6]
    np.divide(stored, scale, out=out, dtype=np.float32, casting="unsafe")
    np.subtract(out, mean, out=out)
    np.divide(out, std, out=out)
    if shown is not None:
        height, width = shown.tolist()
        out[:, height:] = 0
        out[:, :, width:] = 0


FLOAT = np.dtype(np.float32)
BYTE = np.dtype(np.uint8)

KERNELS: dict[Form, tuple[Action, FinishRow]] = {
    Form("raw", "uint8", FLOAT): (Action.NORMALIZE, _normalize_row),
    Form("raw", "uint8", BYTE): (Action.COPY, _copy_row),
    Form("raw", "float32", FLOAT): (Action.COPY, _copy_row),
    Form("gradient", "uint8", FLOAT): (Action.UNPACK_AND_NORMALIZE, _normalize_row),
    Form("gradient", "uint8", BYTE): (Action.UNPACK, _copy_row),
    Form("zstd", "bool", FLOAT): (Action.EXPAND, _copy_row),
    Form("zstd", "bool", BYTE): (Action.EXPAND_TO_BITS, _pack_row),
}
"""What the core makes of rows of a form, and what finishes those that it leaves. Prompt masks are a column: they are copied."""
