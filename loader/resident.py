"""Whether a piece of a mapped file is in memory already, so that nothing need be asked of the system for it.

Asking it to read ahead what it has takes ten times as long as looking.
"""

import ctypes
import mmap
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def may_look(path: Path) -> bool:
    """Whether the system tells: of files that this user may not write, Linux says that all of it is there (mincore(2))."""
    return _mincore() is not None and os.access(path, os.W_OK)


def is_resident(piece: NDArray[np.uint8]) -> bool:
    """Whether every page of a piece of a mapped file is in memory.

    Args:
        piece: uint8 [N], a view of the map of a file that `may_look` is true of.
    """
    mincore = _mincore()
    if mincore is None or not piece.size:
        return False
    address = piece.ctypes.data
    start = address // mmap.PAGESIZE * mmap.PAGESIZE
    size = address + piece.size - start
    pages = np.zeros(-(-size // mmap.PAGESIZE), np.uint8)
    # The lowest bit is the page's; the others are reserved.
    return mincore(start, size, pages.ctypes.data) == 0 and bool((pages & 1).all())


@cache
def _mincore() -> Callable[[int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    function: Any = ctypes.CDLL(None).mincore
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    function.restype = ctypes.c_int
    checked: Callable[[int, int, int], int] = function
    return checked
