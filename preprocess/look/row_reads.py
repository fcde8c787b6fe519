"""Rows of a store read as plain bytes: from the disk, once they are dropped from memory, and from memory."""

import ctypes
import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.format.layout import RUNS_IN_PIECE, view_path
from ...loader.format.recipe import MaskView, is_own_size
from ...loader.part import Part
from ...loader.readahead.mapped_file import MappedFile

ROWS_IN_TURN = 16
"""Rows that a thread has memory for, at most."""

MOST_BYTES = 1 << 29
"""Of memory for the rows of all threads."""


class Row(NamedTuple):
    """Where the stored bytes of a row lie."""

    path: Path
    offset: int
    size: int


def rows_of(store: Store, sample: int) -> Iterator[Row]:
    """Yield the rows that a sample is read from, but for those of small tables, which are read once for a part."""
    part, masks = store.locate(sample)
    for mask in masks.tolist():
        image = part.column("masks/image").item(mask)
        for name, view in store.recipe.views.items():
            path = view_path(name, view)
            if not isinstance(view, MaskView):
                yield _row(part, path, image)
            elif is_own_size(view):
                start, stop = part.column(f"{path}_offsets")[mask : mask + 2].tolist()
                for piece in range(start // RUNS_IN_PIECE, -(-stop // RUNS_IN_PIECE)):
                    yield _row(part, f"{path}_runs", piece)
            elif view.role != "prompt":
                yield _row(part, path, mask)


def _row(part: Part, path: str, number: int) -> Row:
    array = part.array(path)
    return Row(array.path, *array.span(number))


def drop_from_memory(paths: Iterable[Path]) -> float:
    """Have the system drop files from its page cache; return the share of their pages, 0 to 1, that is there nevertheless.

    What another process has mapped stays, and so does what has no disk below it (tmpfs). Of files of somebody else Linux tells
    nothing, and says that all is there.
    """
    if not hasattr(os, "posix_fadvise"):
        return 1.0
    found = [_drop(path) for path in paths]
    return sum(resident for resident, _ in found) / max(sum(pages for _, pages in found), 1)


def _drop(path: Path) -> tuple[int, int]:
    """Drop a file; return how many of its pages stayed, and how many it has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # What is not written yet can't be dropped; where nothing can be written, some systems refuse to be asked.
        with suppress(OSError):
            os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(
            descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE
        ) as mapped:
            pages = -(-len(mapped) // mmap.PAGESIZE)
            answer = ctypes.create_string_buffer(pages)
            address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
            libc = ctypes.CDLL(None)
            if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(mapped)), answer) != 0:
                return pages, pages
            return sum(page & 1 for page in answer.raw[:pages]), pages
    finally:
        os.close(descriptor)


class Reads(NamedTuple):
    """What was read, and how long it took."""

    num_bytes: int
    seconds: float
    num_rows: int
    """From the first on."""


Take = Callable[[Row, NDArray[np.uint8]], None]
"""Brings the bytes of a row into memory, uint8 [N]."""


def take_from_files(paths: Iterable[Path], stack: ExitStack) -> Take:
    """Return what reads rows by system calls: the way for what is not in memory."""
    files = {}
    for path in paths:
        files[path] = os.open(path, os.O_RDONLY)
        stack.callback(os.close, files[path])

    def take(row: Row, out: NDArray[np.uint8]) -> None:
        got = 0
        while got < row.size and (count := os.preadv(files[row.path], [out[got:].data], row.offset + got)):
            got += count

    return take


def take_from_memory(paths: Iterable[Path], *, huge_pages: bool) -> Take:
    """Return what copies rows out of mapped files, as the loader maps them: the way for what is in memory."""
    files = {path: MappedFile(path, huge_pages=huge_pages).bytes for path in paths}

    def take(row: Row, out: NDArray[np.uint8]) -> None:
        np.copyto(out, files[row.path][row.offset : row.offset + row.size])

    return take


class RowReader:
    """Threads that read rows of up to `largest` bytes, each into memory that it makes once, of a few rows in turn."""

    def __init__(self, take: Take, largest: int, threads: int) -> None:
        self._take = take
        # More than a processor keeps by itself: a batch is written to memory, too.
        in_turn = min(max(MOST_BYTES // (largest * threads), 1), ROWS_IN_TURN)
        self._buffers = [np.ones((in_turn, largest), np.uint8) for _ in range(threads)]

    def read(self, rows: Sequence[Row], seconds: float) -> Reads:
        """Read rows, each once, until the time is over."""
        started = time.perf_counter()
        # The threads take their rows from one iterator.
        left = iter(rows)
        with ThreadPoolExecutor(len(self._buffers)) as pool:
            done = pool.map(lambda buffers: self._read_some(left, buffers, started + seconds), self._buffers)
            sizes = [size for of_thread in done for size in of_thread]
        return Reads(sum(sizes), time.perf_counter() - started, len(sizes))

    def _read_some(self, rows: Iterator[Row], buffers: NDArray[np.uint8], deadline: float) -> list[int]:
        """Take rows until there is none, or no time; return their sizes."""
        sizes = []
        for row, buffer in zip(rows, cycle(buffers), strict=False):
            self._take(row, buffer[: row.size])
            sizes.append(row.size)
            if time.perf_counter() > deadline:
                break
        return sizes
