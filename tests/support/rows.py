"""Stored rows for the loader's compiled core: where they lie decides what may be touched."""

import ctypes
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
from google_crc32c import value as crc32c
from numpy.typing import NDArray

from resizeonce.loader.kernels.batch_kernels import Rows

GUARD = 7


def before_a_hole(content: bytes) -> NDArray[np.uint8]:
    """Return bytes behind which none may be read or written: the process would end."""
    size = -(-len(content) // mmap.PAGESIZE) * mmap.PAGESIZE
    everything = np.frombuffer(mmap.mmap(-1, size + mmap.PAGESIZE), np.uint8)
    copy = everything[size - len(content) : size]
    copy[:] = np.frombuffer(content, np.uint8)
    hole = ctypes.c_void_p(everything.ctypes.data + size)
    assert ctypes.CDLL(None).mprotect(hole, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    return copy


def rows_of(*stored: NDArray[Any], before: int = 0, is_checked: bool = True) -> Rows:
    """Return rows, each with its checksum at the end of a file of its own, behind which nothing may be read."""
    files, spans = [], []
    for row in stored:
        content = np.ascontiguousarray(row).tobytes()
        files.append(before_a_hole(bytes(before) + content + crc32c(content).to_bytes(4, "little")))
        spans.append((before, len(content) + 4))
    return Rows(files, np.array(spans, np.int64).reshape(-1, 2), is_checked)


def with_bit_flipped(rows: Rows, row: int, bit: int) -> Rows:
    """Return the rows, of which one has another bit; its checksum counts as part of it."""
    offset, _ = rows.spans[row]
    damaged = rows.files[row].tobytes()
    place = offset + bit // 8
    damaged = damaged[:place] + bytes([damaged[place] ^ 1 << bit % 8]) + damaged[place + 1 :]
    files: Sequence[NDArray[np.uint8]] = [
        before_a_hole(damaged) if number == row else file for number, file in enumerate(rows.files)
    ]
    return rows._replace(files=files)


def place(shape: tuple[int, ...], dtype: Any, offset: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return an array that begins `offset` bytes after a cache line does, and the memory around it, all `GUARD`."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.full(size + 256, GUARD, np.uint8)
    start = -memory.ctypes.data % 64 + 64 + offset
    return memory[start : start + size].view(dtype).reshape(shape), memory


def assert_guarded(array: NDArray[Any], memory: NDArray[np.uint8]) -> None:
    """Fail where anything around an array was written."""
    start = array.ctypes.data - memory.ctypes.data
    assert (memory[:start] == GUARD).all()
    assert (memory[start + array.nbytes :] == GUARD).all()
