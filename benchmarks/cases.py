"""The ways to read batches; one of them in a process of its own, which prints what `loading.py` and `turns.py` ask for as JSON.

::

    cd benchmarks && python -m cases NAME FOLDER prepare       the dataset in this reader's own format
    cd benchmarks && python -m cases NAME FOLDER check         a digest of each sample of one epoch, and memory
    cd benchmarks && python -m cases NAME FOLDER time 2        epochs: cold, if it reads files, then warm, for 2 s at least
    cd benchmarks && python -m cases NAME FOLDER busy 2        the same, then with a consumer that works 20 ms on each batch
    cd benchmarks && python -m cases NAME FOLDER turns         warm epochs, for as many seconds as each line of its input says
"""

import json
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from frame import cpu_seconds
from rivals import READERS


@dataclass(frozen=True)
class Entry:
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
    "np.memmap compact, 2 workers": Entry("readers", "MemmapCompact", TWO, "compact"),
    "resize at train time, 2250 x 1500": Entry("readers", "AtTrainTime", TWO, "raw"),
    **{name: Entry(*row) for name, row in READERS.items()},
}


def measure(case: Any, seconds: float, *, cold: bool, busy: bool) -> dict[str, float]:
    """Return samples per second of each kind of epochs, and milliseconds of the processors per sample of warm ones."""
    rates = {}
    if cold:
        samples, spent = case.time(0)
        rates["cold"] = samples / spent
    # Each process maps what it has not read before.
    case.time(seconds)
    before = cpu_seconds()
    samples, spent = case.time(seconds)
    rates |= {"warm": samples / spent, "cpu": 1000 * (cpu_seconds() - before) / samples}
    if busy:
        samples, spent = case.time(seconds, busy=True)
        rates["busy"] = samples / spent
    return rates


def take_turns(case: Any) -> None:
    """Print samples per second, and milliseconds of the processors per sample, for each line of standard input."""
    for line in sys.stdin:
        before = cpu_seconds()
        samples, spent = case.time(float(line))
        print(json.dumps([samples / spent, 1000 * (cpu_seconds() - before) / samples]), flush=True)


def main() -> None:
    name, folder, action, *seconds = sys.argv[1:]
    entry = CASES[name]
    case = getattr(import_module(entry.module), entry.kind)(Path(folder), **entry.options)
    if action == "turns":
        take_turns(case)
        return
    result: dict[str, Any] = {"version": version(entry.package) if entry.package else ""}
    if action == "prepare":
        case.prepare()
    elif action == "check":
        result |= case.check()
    else:
        result = measure(case, float(seconds[0]), cold=bool(entry.files), busy=action == "busy")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
