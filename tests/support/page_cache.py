"""What of a file is in memory, as Linux tells it."""

import ctypes
import mmap
import os
import time
from pathlib import Path

import numpy as np
import pytest


def pages_in_memory(path: Path) -> np.ndarray:
    """Return of each page of a file whether it is in memory: bool [pages]."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    memory = np.frombuffer(mapped, np.uint8)
    pages = np.zeros(-(-len(memory) // mmap.PAGESIZE), np.uint8)
    libc = ctypes.CDLL(None)
    place, found = ctypes.c_void_p(memory.ctypes.data), ctypes.c_void_p(pages.ctypes.data)
    assert libc.mincore(place, ctypes.c_size_t(len(memory)), found) == 0
    return pages & 1 > 0


def evict(path: Path) -> None:
    """Drop a file that nobody maps from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if pages_in_memory(path).any():
        pytest.skip("this file system keeps its files in memory")


def until_in_memory(path: Path, pages: slice) -> None:
    end = time.monotonic() + 60
    while not pages_in_memory(path)[pages].all():
        assert time.monotonic() < end
        time.sleep(0.005)
