"""The state of the page cache, and of free memory, while readers are timed."""

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np

from resizeonce.loader.readahead.free_memory import available_bytes

_SMALLEST_ROOM = 1 << 30
_PIECE = 1 << 28


def disk_bytes(folder: Path) -> int:
    """Return what the files of a folder take up."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def evict(folder: Path) -> int:
    """Drop the files of a folder from the page cache; return how many pages stayed."""
    for _ in range(3):
        # What a processor has just read is in a list of its own for a moment, and can't be dropped from there.
        stayed = sum(_drop(path) for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
        if not stayed:
            break
    return stayed


def _drop(path: Path) -> int:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        mapped = np.memmap(file, np.uint8, "r")
    pages = np.zeros(-(-mapped.size // mmap.PAGESIZE), np.uint8)
    start, found = ctypes.c_void_p(mapped.ctypes.data), ctypes.c_void_p(pages.ctypes.data)
    ctypes.CDLL(None).mincore(start, ctypes.c_size_t(mapped.size), found)
    return int((pages & 1).sum())


class Ballast:
    """Memory that is held so that little is free.

    A virtual machine's host takes away huge pages that are free, and touching them again is ten times slower than memory is:
    so would be whoever takes new memory for each batch. A machine that trains has its memory full of files.
    """

    def __init__(self) -> None:
        self._held: list[mmap.mmap] = []

    def leave(self, size: int) -> None:
        """Leave about so many bytes free, all of which the host has just given.

        Cached files stay as far as that goes, above all the programs that are going to be timed.
        """
        # First what is free; where other files fill the memory, they have to go.
        for left in (_free_bytes, available_bytes):
            while left() > _SMALLEST_ROOM + _PIECE:
                self._hold()
            while self._held and _free_bytes() < size:
                self._held.pop().close()
            if _free_bytes() >= size:
                break

    def _hold(self) -> None:
        piece = mmap.mmap(-1, _PIECE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        piece.madvise(mmap.MADV_HUGEPAGE)
        np.frombuffer(piece, np.uint8)[:: mmap.PAGESIZE] = 1
        self._held.append(piece)


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemFree:"))
