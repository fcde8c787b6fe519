"""Rows as plain bytes: where they lie, what is read of them, and what stays in memory."""

import mmap
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from google_crc32c import value as crc32c
from make_golden import GOLDEN

from resizeonce.loader import Store
from resizeonce.preprocess.look.row_reads import (
    Row,
    RowReader,
    drop_from_memory,
    rows_of,
    take_from_files,
    take_from_memory,
)


@pytest.mark.parametrize("name", [folder.name for folder in sorted(GOLDEN.iterdir())])
def test_a_row_is_bytes_of_a_file_followed_by_their_checksum(name: str) -> None:
    store = Store(GOLDEN / name / "store.zarr")
    views = [view for view in store.recipe.views.values() if getattr(view, "role", "") != "prompt"]
    for sample in range(len(store)):
        rows = list(rows_of(store, sample))
        assert len(rows) >= len(views) * (2 if store.paired else 1)
        for row in rows:
            content = row.path.read_bytes()[row.offset : row.offset + row.size]
            assert crc32c(content[:-4]) == int.from_bytes(content[-4:], "little")


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Three rows of two files of random bytes."""
    chance = np.random.default_rng(0)
    for name, size in (("a", 3_000_000), ("b", 70_000)):
        (tmp_path / name).write_bytes(chance.bytes(size))
    return [
        Row(tmp_path / "a", 5, 2_000_000),
        Row(tmp_path / "b", 0, 70_000),
        Row(tmp_path / "a", 2_999_999, 1),
    ]


@pytest.mark.parametrize("way", ["files", "memory"])
def test_what_is_read_is_the_row(rows: list[Row], way: str) -> None:
    paths = {row.path for row in rows}
    with ExitStack() as stack:
        take = take_from_files(paths, stack) if way == "files" else take_from_memory(paths, huge_pages=False)
        for row in rows:
            out = np.zeros(row.size, np.uint8)
            take(row, out)
            assert out.tobytes() == row.path.read_bytes()[row.offset : row.offset + row.size]


def test_each_row_is_read_once_by_whichever_thread(rows: list[Row]) -> None:
    taken: list[Row] = []
    reader = RowReader(lambda row, _: taken.append(row), largest=2_000_000, threads=3)
    assert reader.read(rows, seconds=60).num_bytes == 2_070_001
    assert sorted(taken) == sorted(rows)


def test_reading_ends_with_the_row_at_which_the_time_is_over(rows: list[Row]) -> None:
    reader = RowReader(lambda *_: None, largest=2_000_000, threads=1)
    assert reader.read(rows, seconds=0).num_bytes == 2_000_000


def test_a_file_that_is_in_use_stays_in_memory(on_disk: Path) -> None:
    path = on_disk / "file"
    path.write_bytes(bytes(1 << 20))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        assert drop_from_memory([path]) > 0.9
