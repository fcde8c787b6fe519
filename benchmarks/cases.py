"""The ways to read batches; run as a script, one of them in a process of its own, which `loading.py` tells what to do.

::

    python benchmarks/cases.py NAME FOLDER

Each line of standard input is a JSON object, and so is each answer on what was standard output:

- {"do": "prepare"}: the dataset in this reader's own format.
- {"do": "check"}: a digest of each sample of one epoch, by the sample's number.
- {"do": "time", "seconds": 1}: whole epochs until the time is over.
- {"do": "busy", "seconds": 1}: as "time", with a consumer that works 20 ms of processor time after each batch, in pure
  Python.
"""

import json
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

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


def main() -> None:
    entry, folder = CASES[sys.argv[1]], Path(sys.argv[2])
    # Whatever is printed on the way goes to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    case = getattr(import_module(entry.module), entry.kind)(folder, **entry.options)
    print(json.dumps({"version": version(entry.package) if entry.package else ""}), file=answers)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "prepare":
                result: dict[str, Any] = case.prepare() or {}
            elif order["do"] == "check":
                result = {"digests": case.check()}
            else:
                result = case.time(order["seconds"], busy=order["do"] == "busy")
        except Exception as err:
            result = {"error": f"{type(err).__name__}: {err}"}
        print(json.dumps(result), file=answers)


if __name__ == "__main__":
    main()
