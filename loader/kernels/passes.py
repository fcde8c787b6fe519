"""The passes from a stored row to its place in a batch: numpy's, or compiled loops where numba is installed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..format.layout import IMAGENET_MEAN, IMAGENET_STD
from .native import native_loops

MEAN = np.array(IMAGENET_MEAN, np.float32)
STD = np.array(IMAGENET_STD, np.float32)


def copy_into(stored: NDArray[Any], out: NDArray[Any]) -> None:
    """Copy a row into `out`, of the same shape."""
    if stored.dtype == out.dtype and _fits(stored, out) and (loops := native_loops()) is not None:
        loops.copy_rows(_address(stored), out)
    else:
        np.copyto(out, stored)


def widen_into(stored: NDArray[np.bool_], out: NDArray[np.float32]) -> None:
    """Write a mask, bool, into `out`, float32 of the same shape."""
    if stored.dtype == np.bool_ and _takes_floats(stored, out) and (loops := native_loops()) is not None:
        loops.widen(stored, out)
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
    elif stored.dtype == np.uint8 and _takes_floats(stored, out) and (loops := native_loops()) is not None:
        loops.normalize_rows(_address(stored), MEAN, STD, out)
    else:
        np.divide(stored, np.float32(255), out=out, dtype=np.float32, casting="unsafe")
        np.subtract(out, MEAN[:, None, None], out=out)
        np.divide(out, STD[:, None, None], out=out)


def _fits(stored: NDArray[Any], out: NDArray[Any]) -> bool:
    """Whether the loops, which check nothing, may write `stored` into `out`; numpy does the rest, or says what is wrong."""
    return stored.shape == out.shape and stored.flags.c_contiguous and out.flags.carray


def _takes_floats(stored: NDArray[Any], out: NDArray[Any]) -> bool:
    """Whether they may write it as float32."""
    return out.dtype == np.float32 and _fits(stored, out)


def _address(stored: NDArray[Any]) -> NDArray[np.int64]:
    """Return where one row lies."""
    return np.array([stored.ctypes.data], np.int64)
