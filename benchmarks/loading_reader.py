"""A reader in a process of its own, what its processes use, and the state of the page cache, for `benchmarks/loading.py`."""

import contextlib
import ctypes
import json
import mmap
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from loader.memory import available_bytes

CLAIMED = 6 << 30
"""Bytes of memory that are touched before a cold epoch: more than any reader and what it reads take."""


class Reader:
    """One case in a process of its own."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
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


def claim_memory() -> None:
    """Make the host of a virtual machine give memory that it took back, so that no reader waits for it.

    A guest tells its host which large pages are free (free page reporting); touching them again is ten times slower than
    memory is, and happens to whoever comes next. Memory that was let go a moment ago is used first.
    """
    size = min(CLAIMED, available_bytes() // 2)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 0
