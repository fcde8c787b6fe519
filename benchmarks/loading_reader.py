"""A reader in a process of its own, what its processes use, and the state of the page cache, for `benchmarks/loading.py`."""

import contextlib
import ctypes
import json
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resizeonce.loader.readahead.free_memory import available_bytes

ROOM = 6 << 30
"""Bytes of memory that a reader finds free beside what its files take: enough for large pages to be found at once."""

_SMALLEST_ROOM = 1 << 30

_PIECE = 1 << 28


@dataclass(frozen=True)
class Timing:
    """What whole epochs took."""

    rate: float
    """Samples per second."""
    cpu: float
    """Milliseconds of the processors per sample, those of all processes."""


class Reader:
    """One case in a process of its own."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self.name = name
        script = Path(__file__).with_name("loading_cases.py")
        self._log = (folder / "log.txt").open("ab")
        self._process = subprocess.Popen(
            [python, str(script), name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.version = self._answer()["version"]

    def ask(self, do: str, seconds: float = 0) -> dict[str, Any]:
        """Have something done.

        Raises:
            RuntimeError: it could not be done.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, "seconds": seconds}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def time(self, seconds: float = 0, *, busy: bool = False) -> Timing:
        """Time whole epochs for so many seconds, one at least; with a consumer that works on each batch if `busy`."""
        before = self.cpu_seconds()
        done = self.ask("busy" if busy else "time", seconds)
        spent = self.cpu_seconds() - before
        return Timing(done["samples"] / done["seconds"], 1000 * spent / done["samples"])

    def processes(self) -> list[int]:
        """Return the process and all its descendants."""
        found, todo = [], [self._process.pid]
        while todo:
            process = todo.pop()
            found.append(process)
            with contextlib.suppress(OSError):
                for children in Path(f"/proc/{process}/task").glob("*/children"):
                    todo += map(int, children.read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """Return user and system time of the tree, those that have ended included."""
        ticks = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, stat[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return MiB of the tree, shared pages in proportion, without the page cache of mapped files."""
        kib = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                    if line.startswith(("Pss_Anon", "Pss_Shmem")):
                        kib += int(line.split()[1])
        return kib / 1024

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


@contextlib.contextmanager
def watched(reader: Reader) -> Iterator[list[float]]:
    """Look at a reader's memory every fifth of a second; yield the list of what was seen."""
    seen: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.2):
            seen.append(reader.memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def evict(folder: Path) -> int:
    """Drop the files of a folder from the page cache; return how many pages stayed."""
    stayed = 0
    for _ in range(3):
        # What a processor has just read is in a list of its own for a moment, and can't be dropped from there.
        stayed = _drop(folder)
        if not stayed:
            break
    return stayed


def _drop(folder: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    stayed = 0
    for path in [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            memory = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE)
            pages = np.zeros(-(-len(memory) // mmap.PAGESIZE), np.uint8)
            start = ctypes.c_char.from_buffer(memory)
            libc.mincore(
                ctypes.c_void_p(ctypes.addressof(start)),
                ctypes.c_size_t(len(memory)),
                ctypes.c_void_p(pages.ctypes.data),
            )
            stayed += int((pages & 1).sum())
            del start
            memory.close()
    return stayed


def read_directly(folder: Path) -> float:
    """Read large files from the disk, past the page cache and whole pieces only; return bytes per second.

    Four threads and pieces of 4 MiB gave the most of a few ways.
    """
    piece = 4 << 20
    with contextlib.ExitStack() as stack:
        places = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            if count := path.stat().st_size // piece:
                file = os.open(path, os.O_RDONLY | os.O_DIRECT)
                stack.callback(os.close, file)
                places += [(file, number * piece) for number in range(count)]
        if not places:
            return 0

        def read(place: tuple[int, int]) -> None:
            file, start = place
            with mmap.mmap(-1, piece) as buffer:
                os.preadv(file, [buffer], start)

        started = time.perf_counter()
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(read, places))
        return len(places) * piece / (time.perf_counter() - started)


class Ballast:
    """Memory that is held so that little is free.

    A virtual machine tells its host which large pages are free (free page reporting), and the host takes them away.
    Touching them again is ten times slower than memory is. A machine that trains has its memory full of files, and
    nothing to give away; on one that is empty, whoever takes new memory for each batch is ten times slower than it is.
    """

    def __init__(self) -> None:
        self._held: list[mmap.mmap] = []

    def leave(self, size: int) -> None:
        """Leave about so many bytes free, all of which the host has just given.

        What is cached stays as far as that goes, above all the programs that are going to be timed: a worker that starts
        would wait for its own libraries otherwise.
        """
        while _free_bytes() > _SMALLEST_ROOM + _PIECE:
            self._hold()
        self._let_go(size)
        if _free_bytes() < size:
            # Other files fill the memory, and have to go.
            while available_bytes() > _SMALLEST_ROOM + _PIECE:
                self._hold()
            self._let_go(size)

    def _let_go(self, size: int) -> None:
        while self._held and _free_bytes() < size:
            self._held.pop().close()

    def _hold(self) -> None:
        piece = mmap.mmap(-1, _PIECE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        piece.madvise(mmap.MADV_HUGEPAGE)
        np.frombuffer(piece, np.uint8)[:: mmap.PAGESIZE] = 1
        self._held.append(piece)


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemFree:"))
