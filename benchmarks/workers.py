"""How much faster two workers convert than one.

::

    python benchmarks/workers.py                       1024 images of SA-1B's size, some six minutes, 4 GB of disk
    python benchmarks/workers.py --images 512 --rounds 5 --folder /data/scratch

Times the command, from its start to its end, with one worker, with two, and twice at once with one worker and half of
the images, in turns. The last says what the machine has for two: they share nothing but its cores, memory and disk.
Runs of a few images, before each of them, say what starting takes. See benchmarks/README.md, section "Workers".
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convert_data import Workload, make_dataset

FEW = 16
"""Images of the run that is mostly starting."""
PARTS = 8
"""Parts of a run, so that both workers have the same number."""


@dataclass(frozen=True)
class Times:
    """What one command took."""

    seconds: float
    cpu_seconds: float
    """Processor time of all its processes: other load on the machine changes it least."""


@dataclass(frozen=True)
class Round:
    """The few images and the many, converted by one worker and by two."""

    images: int
    few: tuple[Times, Times]
    many: tuple[Times, Times]
    apart: Times
    """Two commands at once, each with one worker and half of the many."""
    load: float
    """The machine's load average before."""

    @property
    def ratio(self) -> float:
        """How many times as fast two workers are, the whole command."""
        return self.many[0].seconds / self.many[1].seconds

    @property
    def ratio_without_start(self) -> float:
        """The same for what is converted after the first few images."""
        one, two = (long.seconds - short.seconds for long, short in zip(self.many, self.few, strict=True))
        return one / two

    @property
    def possible(self) -> float:
        """What that could be at best, by what two need of both cores: waiting and other load are not in it."""
        one, two = (
            long.cpu_seconds - short.cpu_seconds for long, short in zip(self.many, self.few, strict=True)
        )
        return 2 * one / two

    @property
    def ratio_apart(self) -> float:
        """How many times as fast two commands at once are as one: what the machine gives."""
        return self.many[0].seconds / self.apart.seconds

    def __str__(self) -> str:
        seconds = (one.seconds for one in (*self.few, *self.many, self.apart))
        cpu = (one.cpu_seconds for one in self.many)
        return " | ".join(f"{one:.1f}" for one in (*seconds, *cpu)) + (
            f" | {self.ratio:.2f} | {self.ratio_apart:.2f} | {self.ratio_without_start:.2f} | {self.possible:.2f} "
            f"| {self.load:.1f}"
        )


def time_commands(root: Path, images: int, workers: int, stores: Sequence[Path]) -> Times:
    """Convert to each store at once; what that wrote is removed, and the disk has settled."""
    part = f"store.scenes_per_part={images // PARTS}"
    command = [sys.executable, "-m", "resizeonce.preprocess", "convert", "configs/sa1b.toml", "--set", part]
    command += ["--root", str(root), "--workers", str(workers)]
    started, cpu = time.perf_counter(), _cpu_seconds()
    processes = [
        subprocess.Popen(
            [*command, "--out", str(store)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for store in stores
    ]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit(f"a command failed: {' '.join(command)}")
    times = Times(time.perf_counter() - started, _cpu_seconds() - cpu)
    for store in stores:
        shutil.rmtree(store)
    os.sync()
    return times


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_round(folder: Path, images: int) -> Round:
    """Time one worker, two, and two commands in turns."""
    load, stores = os.getloadavg()[0], (folder / "store.zarr", folder / "other.zarr")
    few, many = (
        (
            time_commands(folder / str(count), count, 1, stores[:1]),
            time_commands(folder / str(count), count, 2, stores[:1]),
        )
        for count in (FEW, images)
    )
    apart = time_commands(folder / str(images // 2), images // 2, 1, stores)
    return Round(images, few, many, apart, load)


def main() -> None:
    """Print the rounds, and the medians of their ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--images", type=int, default=1024, help=f"a multiple of {2 * PARTS}")
    parser.add_argument("--masks", type=int, default=100, help="masks of each image")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        for count in (FEW, options.images // 2, options.images):
            workload = Workload("SA-1B", (1500, 2250), options.masks, 0, count, count, 1)
            make_dataset(folder / str(count), workload, count)
        time_commands(folder / str(FEW), FEW, 2, [folder / "store.zarr"])
        print(f"{options.images} images, {options.masks} masks each; seconds")
        print(
            f"| {FEW} images, one worker | two | all, one worker | two | two commands | processor, one | two "
            "| ratio | two commands | without start | possible | load |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|---|")
        rounds = []
        for _ in range(options.rounds):
            rounds.append(run_round(folder, options.images))
            print(f"| {rounds[-1]} |", flush=True)
    print(f"\ntwo workers are {statistics.median(one.ratio for one in rounds):.2f} times one, ", end="")
    print(f"two commands at once {statistics.median(one.ratio_apart for one in rounds):.2f} times")
    print(
        f"without the start {statistics.median(one.ratio_without_start for one in rounds):.2f} times, ",
        end="",
    )
    print(f"{statistics.median(one.possible for one in rounds):.2f} by the processor time")


if __name__ == "__main__":
    main()
