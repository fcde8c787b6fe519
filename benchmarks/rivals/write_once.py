"""One run of another project's writer, for `rivals.writing`, in an interpreter that has it.

::

    PYTHONPATH=benchmarks python -m rivals.write_once mds ROOT COUNT OUT [--verify]

Converts the images below ROOT, each with its first mask, with two worker processes: decoded and resized by Pillow,
run lengths by pycocotools, as a user of these projects would. Every sample is u8 448, u8 1024, a 16 x 16 prompt mask
and a 1024 x 1024 mask. Prints one line of JSON: seconds, version and, with --verify, a digest of what the dataset holds
when it is read again.
"""

import argparse
import hashlib
import json
import multiprocessing
import time
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from frame import cpu_seconds
from numpy.typing import NDArray
from plain import read_raw

PACKAGES = {"mds": "mosaicml-streaming", "litdata": "litdata", "ffcv": "ffcv"}


def digest(samples: Iterable[Sequence[NDArray[Any]]]) -> str:
    """Return a digest of the samples in any order."""
    lines = [
        hashlib.sha256(b"".join(np.asarray(array, np.uint8).tobytes() for array in arrays)).hexdigest()
        for arrays in samples
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rival", choices=sorted(PACKAGES))
    parser.add_argument("root", type=Path)
    parser.add_argument("count", type=int, help="of images")
    parser.add_argument("out", type=Path)
    parser.add_argument("--verify", action="store_true", help="read the dataset again and print its digest")
    options = parser.parse_args()
    # Imports are not timed.
    rival = import_module(f"rivals.{options.rival}")
    result: dict[str, Any] = {"version": version(PACKAGES[options.rival])}
    started, cpu = time.perf_counter(), cpu_seconds()
    rival.write(list(read_raw(options.root, options.count)), options.out)
    result["seconds"] = time.perf_counter() - started
    for process in multiprocessing.active_children():
        process.join(10)
    result["cpu_seconds"] = cpu_seconds() - cpu
    if options.verify:
        result["digest"] = digest(rival.read(options.out))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
