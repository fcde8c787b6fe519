"""A mapped file: its bytes, and what Linux is asked for, as Linux itself tells it."""

import mmap
import os
import re
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from page_cache import evict, pages_in_memory, until_in_memory

from resizeonce.loader.buffers.huge_pages import HUGE_PAGE
from resizeonce.loader.readahead import mapped_file
from resizeonce.loader.readahead.mapped_file import MappedFile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is in memory")

SIZE = 3 * HUGE_PAGE + 5000


class Asked:
    """Stands in for the threads that wait for the disk."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, int]] = []

    def ask(self, action: partial[None]) -> None:
        assert action.func.__name__ == MappedFile.read.__name__
        start, size = action.args
        self.pieces.append((start, size))


@pytest.fixture
def path(on_disk: Path) -> Path:
    path = on_disk / "file"
    path.write_bytes(np.random.default_rng(0).bytes(SIZE))
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(mapped_file, "DISK_THREADS", asked)
    return asked


@pytest.mark.parametrize("huge_pages", [False, True])
@pytest.mark.parametrize("size", [1, 4096, HUGE_PAGE, HUGE_PAGE + 1])
def test_it_has_the_bytes_of_the_file(tmp_path: Path, size: int, huge_pages: bool) -> None:
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "file").write_bytes(content)
    file = MappedFile(tmp_path / "file", huge_pages=huge_pages)
    file.advise(0, size)
    file.advise(size - 1, 1)
    assert file.bytes.tobytes() == content
    assert file.address == file.bytes.ctypes.data
    assert not file.bytes.flags.writeable


@pytest.mark.parametrize("huge_pages", [False, True])
def test_advice_reads_from_the_disk(path: Path, huge_pages: bool) -> None:
    evict(path)
    file = MappedFile(path, huge_pages=huge_pages)
    file.advise(HUGE_PAGE + 5000, 100_000)
    first = (HUGE_PAGE + 5000) // mmap.PAGESIZE
    until_in_memory(path, slice(first, first + 25))
    # Nobody asked for the rest. A huge page is read as a whole.
    assert not pages_in_memory(path)[: HUGE_PAGE // mmap.PAGESIZE].any()


def test_only_what_is_not_in_memory_is_asked_for(path: Path, asked: Asked) -> None:
    evict(path)
    file = MappedFile(path, huge_pages=True)
    assert not file.advise(100, 9000)
    assert asked.pieces == [(100, 9000)]
    file.read(100, 9000)
    assert file.advise(100, 9000)
    assert asked.pieces == [(100, 9000)]
    file.advise(SIZE - 1, 1)
    assert asked.pieces[1:] == [(SIZE - 1, 1)]


def test_nothing_is_asked_for_after_everything_was_read(path: Path, asked: Asked) -> None:
    file = MappedFile(path, huge_pages=True)
    file.read(0, SIZE)
    for start in range(0, SIZE, 99_999):
        file.advise(start, 1)
    assert asked.pieces == []


def test_of_other_peoples_files_each_large_page_is_asked_for_once(
    path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Then Linux says of every page that it is in memory.
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    file = MappedFile(path, huge_pages=True)
    file.advise(10, 20)
    file.advise(HUGE_PAGE - 10, 20)
    file.advise(500, HUGE_PAGE)
    assert asked.pieces == [(10, 20), (HUGE_PAGE - 10, 20)]
    file.advise(2 * HUGE_PAGE, 1)
    assert asked.pieces[2:] == [(2 * HUGE_PAGE, 1)]


def test_linux_is_told_of_huge_pages_only_where_they_are_wanted(path: Path) -> None:
    plain, large = MappedFile(path), MappedFile(path, huge_pages=True)
    maps = re.split(r"\n(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text())
    flags = {
        int(one.split("-")[0], 16): set(re.findall(r"VmFlags:(.*)", one)[0].split())
        for one in maps
        if "VmFlags" in one
    }
    assert "hg" not in flags[plain.address]
    assert ("hg" in flags[large.address]) is mapped_file.has_large_faults()


@pytest.mark.parametrize(
    ("release", "size", "has"),
    [
        ("6.18.44", HUGE_PAGE, True),
        ("5.18.0-1-amd64", HUGE_PAGE, True),
        ("5.15.0-130-generic", HUGE_PAGE, False),
        ("4.19.0", HUGE_PAGE, False),
        ("6.18.44", 1 << 29, False),
        ("unheard of", HUGE_PAGE, False),
    ],
)
def test_huge_pages_are_read_where_a_fault_reads_them(
    release: str, size: int, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "size").write_text(f"{size}\n")
    monkeypatch.setattr(mapped_file, "HUGE_PAGE_SIZE", tmp_path / "size")
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    assert mapped_file.has_large_faults.__wrapped__() is has


def test_a_system_without_them_gets_the_usual_advice(
    path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_file, "has_large_faults", lambda: False)
    evict(path)
    file = MappedFile(path, huge_pages=True)
    file.advise(0, 100_000)
    until_in_memory(path, slice(0, 24))
    assert asked.pieces == []
