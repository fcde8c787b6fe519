"""A file mapped into memory, and what Linux is told of it: which bytes are read soon, and in pages of which size.

A file in small pages costs a walk through tables every 4 KiB, a tenth of all time where batches are copied from memory
already. Pages of 2 MiB are made only while a fault reads from the disk (ext4 since Linux 6.16, XFS since 5.18; elsewhere
they stay small): not by madvise(MADV_WILLNEED), and not of what the page cache has. So faults it is, in threads that are
there to wait for the disk (`loader.readahead.background`).

Whole pages are read, and the next with each, also where a row has a part of one only. Nobody misses that where the whole
dataset stays in memory; larger ones are read row by row.
"""

import ctypes
import mmap
import os
import re
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..buffers.huge_pages import HUGE_PAGE
from ..format.regular_files import open_regular
from .background import DISK_THREADS

_POPULATE_READ = 22
"""MADV_POPULATE_READ, of which Python has no name: fault in, as reading would, and wait until all is there."""

HUGE_PAGE_SIZE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")


class MappedFile:
    """All bytes of a file, read-only; huge pages are for files that stay in memory once they are read.

    Raises:
        OSError: it can't be mapped, or is no regular file.
        ValueError: it is empty.
    """

    def __init__(self, path: Path, *, huge_pages: bool = False) -> None:
        descriptor = open_regular(path)
        try:
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            owner = os.fstat(descriptor).st_uid
        finally:
            os.close(descriptor)
        self.bytes: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)
        """uint8 [N]."""
        self.address: int = self.bytes.ctypes.data
        self._is_large = (
            huge_pages and has_large_faults() and self._madvise(0, len(self._map), mmap.MADV_HUGEPAGE)
        )
        # Of files that are someone else's, Linux does not tell what is in memory, but says that everything is.
        self._is_ours = owner == os.geteuid() or os.access(path, os.W_OK)
        self._answer = ctypes.create_string_buffer(1)
        self._was_asked = bytearray(-(-len(self._map) // HUGE_PAGE))

    def has_shrunk(self) -> bool:
        """Whether the file is shorter than it was when it was mapped: reading beyond its end kills the process (SIGBUS)."""
        return self._map.size() < len(self._map)

    def advise(self, start: int, size: int) -> bool:
        """Have bytes read from the disk that are going to be read soon; return at once, whether they are known to be there."""
        if not self._is_large:
            # Advice: a system that can't take it has nothing to say that matters here.
            self._madvise(start, size, getattr(mmap, "MADV_WILLNEED", None))
            return False
        if self._is_in_memory(start, size) if self._is_ours else self._was_asked_for(start, size):
            return True
        DISK_THREADS.ask(partial(self.read, start, size))
        return False

    def read(self, start: int, size: int) -> None:
        """Read bytes from the disk, those that are not in memory, and wait for them."""
        self._madvise(start, size, _POPULATE_READ)

    def _madvise(self, start: int, size: int, number: int | None) -> bool:
        """Give advice; return whether this system has it, and takes it."""
        if number is None:
            return False
        begin = start // mmap.PAGESIZE * mmap.PAGESIZE
        # Not through `mmap`, which holds the interpreter meanwhile: where the disk has much to do already, this waits.
        return bool(_libc().madvise(self.address + begin, start + size - begin, number) == 0)

    def _was_asked_for(self, start: int, size: int) -> bool:
        """Whether all pages of a range were asked for before by this process; now they are."""
        first, end = start // HUGE_PAGE, (start + size - 1) // HUGE_PAGE + 1
        was_asked = self._was_asked.find(0, first, end) < 0
        self._was_asked[first:end] = b"\1" * (end - first)
        return was_asked

    def _is_in_memory(self, start: int, size: int) -> bool:
        begin = start // mmap.PAGESIZE * mmap.PAGESIZE
        count = -(-(start + size - begin) // mmap.PAGESIZE)
        # Another thread may replace `self._answer` meanwhile.
        answer = self._answer
        if len(answer) < count:
            answer = self._answer = ctypes.create_string_buffer(count)
        if _quick_libc().mincore(self.address + begin, start + size - begin, answer) != 0:
            return False
        return b"\0" not in answer[:count]


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc


@cache
def _quick_libc() -> Any:
    """Return libc, called without giving the interpreter away: that takes longer than what waits for nothing."""
    libc = ctypes.PyDLL(None)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    return libc


@cache
def has_large_faults() -> bool:
    """Whether a fault may read a huge page of a file: Linux 5.18 or newer, with huge pages of the usual size."""
    if sys.platform != "linux":
        return False
    try:
        release = re.match(r"(\d+)\.(\d+)", os.uname().release)
        size = int(HUGE_PAGE_SIZE.read_text())
    except (OSError, ValueError):
        return False
    return release is not None and (int(release[1]), int(release[2])) >= (5, 18) and size == HUGE_PAGE
