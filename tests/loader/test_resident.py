"""What is in memory, asked of the system itself: files are dropped from the page cache, and read again."""

import mmap
import os
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from loader import resident
from loader.arrays import MappedArray
from loader.resident import is_resident, may_look
from preprocess.layout import ArraySpec
from preprocess.shards import ShardWriter

ROWS, ROW = 3, 8_000_000

if resident._mincore() is None:
    pytest.skip("this system has no mincore", allow_module_level=True)


def drop(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def view(path: Path) -> NDArray[np.uint8]:
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Return a file of rows of which no page is in memory; rows are longer than what the system reads around a page."""
    with ShardWriter(tmp_path, "rows", "raw") as writer:
        for row in range(ROWS):
            writer.append(np.full(ROW, row, np.uint8))
    path = tmp_path / "rows"
    drop(path)
    if is_resident(view(path)[:1]):
        pytest.skip("this file system keeps its files in memory")
    return path


def test_pieces_are_in_memory_from_their_first_reading_on(shard: Path) -> None:
    mapped = view(shard)
    assert not is_resident(mapped[:10_000])
    shard.read_bytes()
    assert is_resident(mapped)
    assert is_resident(mapped[5_000:5_001])
    assert not is_resident(mapped[:0])


def test_one_missing_page_is_noticed(shard: Path) -> None:
    with shard.open("rb", buffering=0) as file:
        # No read-ahead: exactly what is asked for.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(file.fileno(), 2 * mmap.PAGESIZE, 0)
    mapped = view(shard)
    assert is_resident(mapped[: 2 * mmap.PAGESIZE])
    assert not is_resident(mapped[: 2 * mmap.PAGESIZE + 1])


def test_rows_are_read_ahead_where_they_are_not_in_memory(shard: Path) -> None:
    rows = MappedArray(
        shard, ArraySpec("images", "rows", "uint8", (ROW,), ("image", "byte"), row_chunks=True), ROWS
    )
    mapped = view(shard)
    start, size = rows.span(0)
    assert not is_resident(mapped[start : start + size])
    rows.advise(0)
    deadline = time.monotonic() + 30
    while not is_resident(mapped[start : start + size]):
        assert time.monotonic() < deadline, "the row was not read ahead"
        time.sleep(0.01)
    rows.advise(0)
    assert not rows.row(0).any()


def test_files_of_others_are_not_looked_at(shard: Path) -> None:
    assert may_look(shard)
    shard.chmod(0o444)
    if os.access(shard, os.W_OK):
        pytest.skip("root may write every file")
    assert not may_look(shard)
