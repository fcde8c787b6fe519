"""The writers of other projects against ours, for `benchmarks/convert.py --rivals`."""

import json
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from case import STORED
from data import Workload, make_dataset
from frame import Times, clean, print_times
from numpy.typing import NDArray

from resizeonce.preprocess.run.convert import RunOptions, convert
from rivals.write_once import PACKAGES as WRITERS
from rivals.write_once import digest

__all__ = ["WRITERS", "compare_writers"]

ROUNDS = 3


def read_store(store: Path) -> Iterator[list[NDArray[Any]]]:
    """Yield the four arrays of each sample of a store in which every image has one mask."""
    for folder in sorted(store.glob("part-*")):
        part = zarr.open_group(folder, mode="r")
        arrays: list[Any] = [part[path] for path in STORED.values()]
        for row in range(arrays[0].shape[0]):
            yield [np.asarray(array[row]) for array in arrays]


def run_rival(name: str, python: str, root: Path, count: int, out: Path, *more: str) -> dict[str, Any]:
    """Run one rival in its own interpreter; "error" says why it could not."""
    command = [python, "-m", "rivals.write_once", name, str(root), str(count), str(out), *more]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def compare_writers(
    workload: Workload, count: int, folder: Path, pythons: dict[str, str]
) -> dict[str, Times]:
    """Have ours and each rival convert the same images in turns; print the rates, and return the times by name, ours first.

    Args:
        workload: what is converted.
        count: of images.
        folder: where all is written, absolute.
        pythons: interpreters by the name of the rival; one that can't be run is named, and left out.
    """
    root, scratch = folder / "raw", folder / "out"
    make_dataset(root, workload, count)
    ours = partial(convert, workload.config(count // 8), root, run=RunOptions(workers=2))
    clean(scratch)
    expected = digest(read_store(ours(scratch / "store").store))
    versions = {"ours": ""}
    for name, python in pythons.items():
        clean(scratch)
        checked = run_rival(name, python, root, count, scratch / name, "--verify")
        if "error" in checked:
            print(f"  {name}: not run: {checked['error']}")
            continue
        assert checked["digest"] == expected, f"{name} holds other pixels"
        versions[name] = checked["version"]
    times = {name: Times() for name in versions}
    for _ in range(ROUNDS):
        clean(scratch)
        times["ours"].add(count, lambda: ours(scratch / "store"))
        for name in list(versions)[1:]:
            clean(scratch)
            measured = run_rival(name, pythons[name], root, count, scratch / name)
            times[name].wall.append(measured["seconds"] / count)
            times[name].cpu.append(measured["cpu_seconds"] / count)
    named = {f"{name} {versions[name]}".strip(): spent for name, spent in times.items()}
    print_times(f"{workload.name}, {count} images, 2 workers, their start included", named, "ours")
    return times
