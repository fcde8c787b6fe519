"""How much faster two workers convert than one.

::

    python benchmarks/workers.py                       1024 images of SA-1B's size, some six minutes, 4 GB of disk
    python benchmarks/workers.py --images 512 --rounds 5 --folder /data/scratch

Times the command, from its start to its end, with one worker, with two, and twice at once with one worker and half of
the images, in turns. The last says what the machine has for two: they share nothing but its cores, memory and disk.
Runs of a few images say what starting takes. The table of docs/scale.md, section "Two workers against one".
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from data import Workload, make_dataset
from measure import Times, print_head, print_row, spread

FEW = 16
"""Images of the run that is mostly starting."""
PARTS = 8
"""Parts of a run, so that both workers have the same number."""
COLUMNS = ("few, one worker", "few, two", "all, one worker", "all, two", "two commands")


def convert(root: Path, images: int, workers: int, stores: list[Path]) -> None:
    """Convert to each store, all at once."""
    command = [
        sys.executable,
        "-m",
        "resizeonce.preprocess",
        "convert",
        "configs/sa1b.toml",
        "--root",
        str(root),
    ]
    command += ["--set", f"store.scenes_per_part={images // PARTS}", "--workers", str(workers), "--out"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen([*command, str(store)], **quiet) for store in stores]
    if sum(process.wait() != 0 for process in processes):
        raise SystemExit(f"a command failed: {' '.join(command)}")


def run_round(folder: Path, images: int, times: dict[str, Times]) -> None:
    """Time one worker, two, and two commands in turns; what they wrote is removed, and the disk has settled."""
    one, both = [folder / "store.zarr"], [folder / "store.zarr", folder / "other.zarr"]
    runs = [(FEW, 1, one), (FEW, 2, one), (images, 1, one), (images, 2, one), (images // 2, 1, both)]
    for name, (count, workers, stores) in zip(COLUMNS, runs, strict=True):
        root = folder / str(count)
        times[name].add(1, lambda r=root, c=count, w=workers, s=stores: convert(r, c, w, s))
        for store in stores:
            shutil.rmtree(store)
        os.sync()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--images", type=int, default=1024, help=f"a multiple of {2 * PARTS}")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    times = {name: Times() for name in COLUMNS}
    found: list[list[float]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        for count in (FEW, options.images // 2, options.images):
            make_dataset(folder / str(count), Workload("SA-1B", (1500, 2250), 100), count)
        # The first one reads the program itself from the disk.
        convert(folder / str(FEW), FEW, 2, [folder / "store.zarr"])
        shutil.rmtree(folder / "store.zarr")
        print(f"{options.images} images, 100 masks each; few are {FEW}; seconds")
        ratios = ("two workers, times one", "two commands", "without start", "by processor time")
        print_head(*COLUMNS, "processor, one", "two", *ratios, "load before")
        for _ in range(options.rounds):
            load = os.getloadavg()[0]
            run_round(folder, options.images, times)
            few_one, few_two, one, two, apart = (times[name].wall[-1] for name in COLUMNS)
            # Waiting and other load are not in it: what the ratio could be by what two workers need of both cores.
            cpu = [times[name].cpu[-1] for name in COLUMNS]
            possible = 2 * (cpu[2] - cpu[0]) / (cpu[3] - cpu[1])
            found.append([one / two, one / apart, (one - few_one) / (two - few_two), possible])
            seconds = (f"{one:.1f}" for one in (few_one, few_two, one, two, apart, *cpu[2:4]))
            print_row(*seconds, *(f"{ratio:.2f}" for ratio in found[-1]), f"{load:.1f}")
    print()
    for what, values in zip(ratios, zip(*found, strict=True), strict=True):
        print(f"{what}: {spread(values, 2)}")


if __name__ == "__main__":
    main()
