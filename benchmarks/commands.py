"""The whole command, `resizeonce convert`: the memory of its processes, and how much faster two workers are than one.

::

    python benchmarks/commands.py memory       some four minutes, 5 GB of disk
    python benchmarks/commands.py workers      1024 images of SA-1B's size, some six minutes, 4 GB

`memory` looks at the processes twenty times a second. `workers` runs the command with one worker, with two, and twice at once
with one worker and half of the images: these share nothing but the machine's cores, memory and disk. Runs of a few images
say what starting takes. The tables of docs/scale.md.
"""

import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from data import Workload, make_dataset
from measure import (
    Turn,
    descendants,
    memory,
    parser_of,
    print_about,
    print_head,
    print_row,
    print_times,
    scratch,
    spread,
    take_turns,
)

KINDS = ("VmHWM", "Private_Dirty")
RUNS = ((50, 200), (50, 1000), (200, 1000), (1000, 1000))
"""Scenes in a part, scenes in the dataset."""
WORKLOADS = (Workload("SA-1B, 100 masks", (1500, 2250), 100), Workload("COCO, 8 masks", (480, 640), 8))
FEW = 16
"""Images of the run that is mostly starting."""
PARTS = 8
"""Parts of a run, so that both workers have the same number."""


def start(source: str, root: Path, store: Path, workers: int, part_scenes: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "resizeonce.preprocess", "convert", source, "--root", str(root)]
    command += [
        "--out",
        str(store),
        "--workers",
        str(workers),
        "--set",
        f"store.scenes_per_part={part_scenes}",
    ]
    if source == "coco":
        command += ["--set", "source.annotations=instances.json", "--set", "source.images=images"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    if sum(process.wait() != 0 for process in processes):
        raise SystemExit(f"a command failed: {processes[0].args!r}")


def watch(process: subprocess.Popen[bytes]) -> list[float]:
    """Return the most that one of its workers, and its main process, were seen to take, in MB."""
    peaks: dict[tuple[bool, str], float] = defaultdict(float)
    while process.poll() is None:
        for pid in (process.pid, *descendants(process.pid)):
            # It may end at any moment.
            with suppress(OSError, StopIteration):
                is_worker = b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
                for kind in KINDS if is_worker or pid == process.pid else ():
                    peaks[is_worker, kind] = max(peaks[is_worker, kind], memory(kind, pid))
        time.sleep(0.05)
    wait_for([process])
    return [peaks[is_worker, kind] for is_worker in (True, False) for kind in KINDS]


def measure_memory(folder: Path, options: Any) -> None:
    print_head(
        "images", "in a part", "in the dataset", "worker, resident", "private", "main, resident", "private"
    )
    for workload in WORKLOADS:
        for part_scenes, scenes in RUNS:
            scenes = min(scenes, options.images)
            root, store = folder / f"{workload.source}-{scenes}", folder / "store"
            if not root.exists():
                make_dataset(root, workload, scenes)
            peaks = watch(start(workload.source, root, store, 2, part_scenes))
            shutil.rmtree(store)
            print_row(workload.name, part_scenes, scenes, *(f"{peak:.0f}" for peak in peaks))


def measure_workers(folder: Path, options: Any) -> None:
    images, stores = options.images, [folder / "store", folder / "other"]
    for count in {FEW, images // 2, images}:
        make_dataset(folder / str(count), WORKLOADS[0], count)

    def clean() -> None:
        for store in stores:
            shutil.rmtree(store, ignore_errors=True)
        os.sync()

    def convert(count: int, workers: int, into: Sequence[Path]) -> None:
        wait_for([start("sa1b", folder / str(count), store, workers, count // PARTS) for store in into])

    runs = {
        "few, one worker": (FEW, 1, stores[:1]),
        "few, two": (FEW, 2, stores[:1]),
        "all, one worker": (images, 1, stores[:1]),
        "all, two": (images, 2, stores[:1]),
        "two commands": (images // 2, 1, stores),
    }
    clean()
    # The first one reads the program itself from the disk.
    convert(FEW, 2, stores[:1])
    turns = {name: Turn(1, partial(convert, *run), clean) for name, run in runs.items()}
    times = take_turns(turns, options.rounds)
    print_times(f"{images} images, 100 masks each; few are {FEW}", times, "all, one worker")
    print_head("against one worker", "times")
    few_one, few_two, one, two, apart = (times[name].wall for name in runs)
    print_row("two workers", spread((a / b for a, b in zip(one, two, strict=True)), 2))
    print_row("two commands", spread((a / b for a, b in zip(one, apart, strict=True)), 2))
    started = zip(few_one, few_two, one, two, strict=True)
    print_row("two workers, without the start", spread(((c - a) / (d - b) for a, b, c, d in started), 2))


def main() -> None:
    measures = {"memory": measure_memory, "workers": measure_workers}
    parser = parser_of(__doc__, images=1024, rounds=3)
    parser.add_argument("name", choices=measures)
    options = parser.parse_args()
    print_about()
    with scratch(options.folder) as folder:
        measures[options.name](folder, options)


if __name__ == "__main__":
    main()
