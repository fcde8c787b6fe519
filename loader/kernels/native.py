"""The compiled loops of a batch, called with numpy arrays; nothing of numba is imported for it.

They check nothing: what they are given has to have the shapes and dtypes that are named, in C order. Other threads of Python
run meanwhile.
"""

import ctypes
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..format.gradient import room_shape
from .decode_buffers import DECODE_BUFFERS
from .object_code import load_functions

ARGUMENTS = {
    "copy_rows": "anan",
    "normalize_rows": "anaaan",
    "widen": "aan",
    "expand_rows": "aananana",
    "unpack_rows": "aanananna",
    "unpack_normalized_rows": "aananaaanna",
}
"""What each function takes: an address (a) or a number (n)."""

_KINDS: dict[str, Any] = {"a": ctypes.c_void_p, "n": ctypes.c_int64}


class NativeLoops:
    """The loops.

    Args:
        addresses: of the functions of `loader.kernels.row_loops`, by name.
    """

    def __init__(self, addresses: Mapping[str, int]) -> None:
        functions: dict[str, Any] = {
            name: ctypes.CFUNCTYPE(None, *[_KINDS[kind] for kind in kinds])(addresses[name])
            for name, kinds in ARGUMENTS.items()
        }
        self._copy_rows = functions["copy_rows"]
        self._normalize_rows = functions["normalize_rows"]
        self._widen = functions["widen"]
        self._expand_rows = functions["expand_rows"]
        self._unpack_rows = functions["unpack_rows"]
        self._unpack_normalized_rows = functions["unpack_normalized_rows"]

    def copy_rows(self, addresses: NDArray[np.int64], out: NDArray[Any]) -> NDArray[np.bool_]:
        """Copy rows of bytes, given by their addresses, int64 [B], into `out`, [B, ...]; return bool [B], all True."""
        if addresses.size:
            self._copy_rows(
                addresses.ctypes.data, addresses.size, out.ctypes.data, out.nbytes // addresses.size
            )
        return np.ones(addresses.size, np.bool_)

    def normalize_rows(
        self,
        addresses: NDArray[np.int64],
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> NDArray[np.bool_]:
        """Write (stored / 255 - mean) / std of images of bytes, each step rounded; return bool [B], all True.

        Args:
            addresses: int64 [B].
            mean: float32 [3].
            std: float32 [3].
            out: float32 [B, 3, H, W].
        """
        if addresses.size:
            self._normalize_rows(
                addresses.ctypes.data,
                addresses.size,
                mean.ctypes.data,
                std.ctypes.data,
                out.ctypes.data,
                out.size // (3 * addresses.size),
            )
        return np.ones(addresses.size, np.bool_)

    def widen(self, stored: NDArray[np.bool_], out: NDArray[np.float32]) -> None:
        """Write a mask into `out`, of the same shape: 0 where it is 0, else 1."""
        self._widen(stored.ctypes.data, out.ctypes.data, out.size)

    def expand_rows(
        self, addresses: NDArray[np.int64], sizes: NDArray[np.int64], out: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Write masks from their frames.

        Args:
            addresses: int64 [B].
            sizes: in bytes, int64 [B].
            out: float32 [B, H, W]; holds anything where the answer is no.

        Returns:
            bool [B], whether a frame was of this project's kind and whole.
        """
        pixels = np.zeros(max(out.shape[-1], 1), np.float32)
        size = out.size // max(addresses.size, 1)
        row = pixels.ctypes.data, pixels.size
        return _decode(self._expand_rows, addresses, sizes, *row, out.ctypes.data, size)

    def unpack_rows(
        self, addresses: NDArray[np.int64], sizes: NDArray[np.int64], out: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Write images that are stored compact.

        Args:
            addresses: int64 [B].
            sizes: in bytes, int64 [B].
            out: uint8 [B, 3, H, W]; holds anything where the answer is no.

        Returns:
            bool [B], whether it was a packed image of that size.
        """
        room = DECODE_BUFFERS.of(room_shape(out.shape[3]), "packed rows")
        lines = room.ctypes.data, room.shape[1]
        return _decode(self._unpack_rows, addresses, sizes, *lines, out.ctypes.data, *out.shape[2:])

    def unpack_normalized_rows(
        self,
        addresses: NDArray[np.int64],
        sizes: NDArray[np.int64],
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> NDArray[np.bool_]:
        """Write images that are stored compact as `normalize_rows` does raw ones; `out` is float32 [B, 3, H, W].

        Else as `unpack_rows`.
        """
        room = DECODE_BUFFERS.of(room_shape(out.shape[3]), "packed rows")
        lines = room.ctypes.data, room.shape[1]
        scale = mean.ctypes.data, std.ctypes.data
        whole = out.ctypes.data, *out.shape[2:]
        return _decode(self._unpack_normalized_rows, addresses, sizes, *lines, *scale, *whole)


def _decode(
    function: Any, addresses: NDArray[np.int64], sizes: NDArray[np.int64], *others: int
) -> NDArray[np.bool_]:
    """Call a function that decodes rows; return of each whether it was done, bool [B]."""
    is_done = np.zeros(addresses.size, np.bool_)
    if addresses.size:
        function(addresses.ctypes.data, sizes.ctypes.data, addresses.size, *others, is_done.ctypes.data)
    return is_done


@cache
def native_loops() -> NativeLoops | None:
    """Return the loops, compiled now where that was never done on this machine; None where there is no numba to do so."""
    functions = load_functions()
    return None if functions is None else NativeLoops(functions)
