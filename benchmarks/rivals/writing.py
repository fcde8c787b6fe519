"""The writers of other projects against ours, for `benchmarks/convert.py --rivals`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from case import STORED
from data import Workload, make_dataset
from frame import Times, ask, clean, print_times
from numpy.typing import NDArray

from resizeonce.preprocess.run.convert import RunOptions, convert
from rivals.write_once import PACKAGES as WRITERS
from rivals.write_once import digest

__all__ = ["WRITERS", "compare_writers"]

ROUNDS = 3
WRITE = "rivals.write_once"


def read_store(store: Path) -> Iterator[list[NDArray[Any]]]:
    """Yield the four arrays of each sample of a store in which every image has one mask."""
    for folder in sorted(store.glob("part-*")):
        part = zarr.open_group(folder, mode="r")
        arrays: list[Any] = [part[path] for path in STORED.values()]
        for row in range(arrays[0].shape[0]):
            yield [np.asarray(array[row]) for array in arrays]


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
        try:
            checked = ask(WRITE, name, root, count, scratch / name, "--verify", python=python)
        except RuntimeError as err:
            print(f"  {name}: not run: {err}")
            continue
        assert checked["digest"] == expected, f"{name} holds other pixels"
        versions[name] = checked["version"]
    times = {name: Times() for name in versions}
    for _ in range(ROUNDS):
        clean(scratch)
        times["ours"].add(count, lambda: ours(scratch / "store"))
        for name in list(versions)[1:]:
            clean(scratch)
            measured = ask(WRITE, name, root, count, scratch / name, python=pythons[name])
            times[name].wall.append(measured["seconds"] / count)
            times[name].cpu.append(measured["cpu_seconds"] / count)
    named = {f"{name} {versions[name]}".strip(): spent for name, spent in times.items()}
    print_times(f"{workload.name}, {count} images, 2 workers, their start included", named, "ours")
    return times
