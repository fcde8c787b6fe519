"""A reader in a process of its own, for `loading.py`."""

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any, NamedTuple

from frame import HERE, descendants, memory


class Timing(NamedTuple):
    """What whole epochs took."""

    rate: float
    """Samples per second."""
    cpu: float
    """Milliseconds of the processors per sample, those of all processes."""


class Reader:
    """One case in a process of its own, in the environment of an interpreter."""

    def __init__(self, case: str, python: str, folder: Path) -> None:
        self._log = (folder / "log.txt").open("ab")
        self._process = subprocess.Popen(
            [python, str(HERE / "cases.py"), case, str(folder)],
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
        self._tell(do, seconds)
        return self._answer()

    def check(self) -> tuple[dict[str, str], float]:
        """Return the digests of an epoch's samples, and the most memory in MB that was seen meanwhile, five times a second.

        Raises:
            RuntimeError: it could not be done.
        """
        self._tell("check", 0)
        most = self._memory()
        while not select([self._process.stdout], [], [], 0.2)[0]:
            most = max(most, self._memory())
        return self._answer()["digests"], most

    def time(self, seconds: float = 0, *, busy: bool = False) -> Timing:
        """Time whole epochs for so many seconds, one at least; with a consumer that works on each batch if `busy`."""
        before = self._cpu_seconds()
        done = self.ask("busy" if busy else "time", seconds)
        spent = self._cpu_seconds() - before
        return Timing(done["samples"] / done["seconds"], 1000 * spent / done["samples"])

    def _tell(self, do: str, seconds: float) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do, "seconds": seconds}) + "\n")
            self._process.stdin.flush()

    def _memory(self) -> float:
        """Return the tree's private pages, and its shared ones in proportion, without the page cache of mapped files."""
        found = 0.0
        for process in (self._process.pid, *descendants(self._process.pid)):
            # It may end at any moment.
            with suppress(OSError, StopIteration):
                found += memory("Pss_Anon", process) + memory("Pss_Shmem", process)
        return found

    def _cpu_seconds(self) -> float:
        """Return user and system time of the tree, those that have ended included."""
        ticks = 0
        for process in (self._process.pid, *descendants(self._process.pid)):
            with suppress(OSError):
                stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, stat[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
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
