"""The passes from a stored row to its place in a batch: numpy's, or numba's loops where it is installed."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.compiled import compiled
from preprocess.layout import IMAGENET_MEAN, IMAGENET_STD

MEAN = np.array(IMAGENET_MEAN, np.float32)
STD = np.array(IMAGENET_STD, np.float32)


def copy_into(stored: NDArray[Any], out: NDArray[Any]) -> None:
    """Copy a row into `out`, of the same shape."""
    if stored.dtype == out.dtype and _fits(stored, out) and (loops := compiled("loader.loops")) is not None:
        loops.copy(_bytes(stored), out.reshape(-1).view(np.uint8))
    else:
        np.copyto(out, stored)


def widen_into(stored: NDArray[np.bool_], out: NDArray[np.float32]) -> None:
    """Write a mask, bool, into `out`, float32 of the same shape."""
    if stored.dtype == np.bool_ and _fits(stored, out) and (loops := compiled("loader.loops")) is not None:
        loops.widen(_bytes(stored), out.reshape(-1))
    else:
        np.copyto(out, stored)


def normalize_into(stored: NDArray[Any], out: NDArray[np.float32]) -> None:
    """Write (stored / 255 - mean) / std into `out`, in float32 and in that order; copy what is of `out`'s dtype already.

    Each step rounds as torchvision's `ToTensor` and `Normalize` do, so every bit agrees with them.

    Args:
        stored: uint8 or float32 [3, H, W].
        out: float32 [3, H, W].
    """
    if stored.dtype == out.dtype:
        copy_into(stored, out)
    elif stored.dtype == np.uint8 and _fits(stored, out) and (loops := compiled("loader.loops")) is not None:
        loops.normalize(_bytes(stored).reshape(3, -1), MEAN, STD, out.reshape(3, -1))
    else:
        np.divide(stored, np.float32(255), out=out, dtype=np.float32, casting="unsafe")
        np.subtract(out, MEAN[:, None, None], out=out)
        np.divide(out, STD[:, None, None], out=out)


@cache
def load_passes() -> None:
    """Call each compiled loop once: numba loads the rest of itself only then, and forked workers would each do so."""
    image, mask = np.zeros((3, 1, 1), np.uint8), np.zeros((1, 1), np.bool_)
    copy_into(image, np.empty_like(image))
    widen_into(mask, np.empty((1, 1), np.float32))
    normalize_into(image, np.empty((3, 1, 1), np.float32))


def _fits(stored: NDArray[Any], out: NDArray[Any]) -> bool:
    """Whether the loops, which check nothing, may write `stored` into `out`; numpy does the rest, or says what is wrong."""
    return stored.shape == out.shape and out.flags.c_contiguous


def _bytes(stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the bytes of a row, read-only so that numba compiles for one type."""
    flat = stored.reshape(-1).view(np.uint8)
    flat.setflags(write=False)
    return flat
