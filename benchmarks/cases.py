"""The ways to read batches, and a process of one of them, which answers each line of its input with one of JSON.

::

    cd benchmarks && python -m cases NAME FOLDER

    prepare     write the dataset in this reader's own format
    check       the digest of each sample of an epoch
    read 2      go through whole epochs for 2 s, one at least; the rate, as a `Pace`
    busy 2      the same with a consumer that works 20 ms on each batch
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

from frame import HERE, cpu_seconds, last_line
from rivals import READERS


class Entry(NamedTuple):
    """Where a case is and what it reads. Its module is imported in its own process only."""

    module: str
    kind: str
    options: dict[str, Any]
    files: str = ""
    """Folder of the dataset that it reads; "" of memory alone."""
    package: str = ""
    """Whose version the table names."""
    rival: str = ""
    """Its name in `rivals.environments`, where it needs an environment of its own."""


TWO, NONE = {"workers": 2}, {"workers": 0}
STORE, COMPACT_STORE, PAIRS_STORE = "store.zarr", "compact.zarr", "pairs.zarr"


def _ours(workers: int, mode: str, store: str = STORE) -> Entry:
    return Entry("readers", "Ours", {"workers": workers, "mode": mode, "store": store}, store)


def _floor(workers: int, *, processes: bool) -> Entry:
    return Entry("floor", "Floor", {"workers": workers, "processes": processes})


CASES = {
    "floor, 2 processes": _floor(2, processes=True),
    "floor, 2 threads": _floor(2, processes=False),
    "floor, 1 thread": _floor(1, processes=False),
    "ours, 2 processes": _ours(2, "process"),
    "ours, 2 threads": _ours(2, "thread"),
    "ours, no workers": _ours(0, "thread"),
    "ours, compact images, 2 processes": _ours(2, "process", COMPACT_STORE),
    "ours, compact images, 2 threads": _ours(2, "thread", COMPACT_STORE),
    "ours, pairs, 2 processes": _ours(2, "process", PAIRS_STORE),
    "ours, pairs, 2 threads": _ours(2, "thread", PAIRS_STORE),
    "ours in DataLoader, 2 workers": Entry("readers", "OursInDataLoader", TWO, STORE),
    "ours in DataLoader, no workers": Entry("readers", "OursInDataLoader", NONE, STORE),
    "np.memmap full, no workers": Entry("readers", "MemmapFull", NONE, "full"),
    "np.memmap compact, no workers": Entry("readers", "MemmapCompact", NONE, "compact"),
    "np.memmap full, 2 workers": Entry("readers", "MemmapFull", TWO, "full"),
    "resize at train time, 2250 x 1500": Entry("readers", "AtTrainTime", TWO, "raw"),
    **{name: Entry(*row) for name, row in READERS.items()},
}


class Pace(NamedTuple):
    """How quick reading was."""

    rate: float
    """Samples per second."""
    cpu: float
    """Milliseconds of the processors per sample."""


class Reader(NamedTuple):
    """A process that reads in one way whenever it is told to.

    Raises:
        RuntimeError: it has failed; the message is the last line of what it said.
    """

    process: subprocess.Popen[str]
    said: IO[str]

    def ask(self, request: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            print(request, file=self.process.stdin, flush=True)
        if answer := self.process.stdout.readline():
            return json.loads(answer)
        self.said.seek(0)
        raise RuntimeError(last_line(self.said.read(), self.process.wait()))

    def read(self, seconds: float, *, busy: bool = False) -> Pace:
        """Go through whole epochs for so many seconds, one at least."""
        return Pace(*self.ask(f"{'busy' if busy else 'read'} {seconds}"))


@contextmanager
def start(name: str, folder: Path, python: str) -> Iterator[Reader]:
    """Yield a reader by an interpreter, which ends with the block."""
    command = [str(Path(python).absolute()), "-m", "cases", name, str(folder)]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, cwd=HERE, stdin=pipe, stdout=pipe, stderr=said, text=True) as process,
    ):
        yield Reader(process, said)


def main() -> None:
    name, folder = sys.argv[1:]
    # What other projects print goes to standard error.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    entry = CASES[name]
    case = getattr(import_module(entry.module), entry.kind)(Path(folder), **entry.options)
    for line in sys.stdin:
        action, *seconds = line.split()
        if action == "prepare":
            answer = case.prepare()
        elif action == "check":
            answer = {"digests": case.check(), "version": version(entry.package) if entry.package else ""}
        else:
            before = cpu_seconds()
            samples, spent = case.time(float(seconds[0]), busy=action == "busy")
            answer = [samples / spent, 1000 * (cpu_seconds() - before) / samples]
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
