"""Shared memory in huge pages, where Linux gives them: each small one costs a walk through tables whenever it is reached.

Memory of one process gets huge pages on request. For shared memory there is a setting of its own, which mostly says
never, and counts only for pages that are made by a fault: those that are put together afterwards (MADV_COLLAPSE, since
Linux 6.1) it leaves alone. That takes an address that is a multiple of their size, in every process that maps them.
"""

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

HUGE_PAGE = 1 << 21
"""Bytes of a huge page, on x86 and on ARM with small pages of 4 KiB. Others get small ones."""

_MADV_HUGEPAGE = 14
_MADV_COLLAPSE = 25
_MAP_FIXED = 0x10
_MAP_NORESERVE = 0x4000
_FAILED = ctypes.c_void_p(-1).value


def map_shared(descriptor: int, size: int, offset: int = 0) -> NDArray[np.uint8]:
    """Map bytes of a file, on Linux at a multiple of `HUGE_PAGE`, as `offset` is one; they stay as long as a view of them.

    Raises:
        OSError: it can't be mapped.
    """
    if sys.platform != "linux":
        return np.frombuffer(mmap.mmap(descriptor, size, offset=offset), np.uint8)
    # Python has no way to say where: the file is mapped over a part of other memory, and goes together with it.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    room = mmap.mmap(-1, size + HUGE_PAGE, flags=flags)
    whole = np.frombuffer(room, np.uint8)
    start = -whole.ctypes.data % HUGE_PAGE
    memory = whole[start : start + size]
    libc: Any = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    place = libc.mmap(
        ctypes.c_void_p(memory.ctypes.data),
        ctypes.c_size_t(size),
        ctypes.c_int(mmap.PROT_READ | mmap.PROT_WRITE),
        ctypes.c_int(mmap.MAP_SHARED | _MAP_FIXED),
        ctypes.c_int(descriptor),
        ctypes.c_int64(offset),
    )
    if place == _FAILED:
        raise OSError(ctypes.get_errno(), "can't map memory for batches")
    return memory


def new_array(memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the same memory as an array that all views of it keep alive; numpy's views keep what theirs is a view of."""
    buffer: Any = memory
    return np.frombuffer(memoryview(buffer), np.uint8)


def make_pages(memory: NDArray[np.uint8]) -> None:
    """Make a page in each huge one of shared memory, before anything is written to it: others are put together around it."""
    if sys.platform == "linux":
        memory[::HUGE_PAGE] = 0


def join_pages(memory: NDArray[np.uint8]) -> None:
    """Put pages together to huge ones if the system can, whatever is written to them meanwhile.

    Where it can't, for want of memory in one piece or because it is older, they stay small ones. It may take a second.
    """
    start = -memory.ctypes.data % HUGE_PAGE
    size = (memory.size - start) // HUGE_PAGE * HUGE_PAGE
    if sys.platform == "linux" and size > 0:
        for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
            ctypes.CDLL(None).madvise(
                ctypes.c_void_p(memory.ctypes.data + start), ctypes.c_size_t(size), ctypes.c_int(advice)
            )
