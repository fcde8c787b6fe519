"""How much memory a worker takes, by the size of its parts and of the dataset.

::

    python benchmarks/memory.py                        some four minutes, 5 GB of disk
    python benchmarks/memory.py --only COCO --folder /data/scratch

Runs `resizeonce convert --workers 2` on generated datasets and looks at its processes twenty times a second. See
benchmarks/README.md, section "Memory".
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from convert_data import Workload, make_dataset
from usage import children, is_worker, peak_rss, private

LOOK_SECONDS = 0.05
SCENES = 1000
RUNS = ((50, 200), (50, SCENES), (200, SCENES), (SCENES, SCENES))
"""Scenes in a part, scenes in the dataset."""
SA1B = Workload("SA-1B, 100 masks", (1500, 2250), 100, 0, images=SCENES, plain_images=8, rounds=1)
COCO = Workload("COCO, 8 masks", (480, 640), 8, 0, images=SCENES, plain_images=8, rounds=1)


@dataclass
class Peaks:
    """The most that the processes of a run were seen to take, in MB."""

    rss: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    private: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    workers: set[int] = field(default_factory=set)

    def look(self, main: int) -> None:
        """Note what a run's processes take now."""
        for pid in (main, *children(main)):
            # It may end at any moment.
            with suppress(OSError, StopIteration):
                self.rss[pid] = max(self.rss[pid], peak_rss(pid))
                self.private[pid] = max(self.private[pid], private(pid))
                if pid != main and is_worker(pid):
                    self.workers.add(pid)


def watch(command: list[str]) -> tuple[int, Peaks]:
    """Run a command; return its process id and what its processes took."""
    peaks = Peaks()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        with suppress(OSError):
            peaks.look(process.pid)
        time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return process.pid, peaks


def run_workload(workload: Workload, folder: Path) -> Iterator[str]:
    """Yield a row of the table for each run."""
    roots = {scenes: folder / f"raw-{scenes}" for _, scenes in RUNS}
    for scenes, root in roots.items():
        make_dataset(root, workload, scenes)
    store = folder / "store.zarr"
    for part_scenes, scenes in RUNS:
        config = [f"configs/{workload.source}.toml", "--set", f"store.scenes_per_part={part_scenes}"]
        if workload.source == "coco":
            config += [
                "--set",
                f"source.annotations=instances_{scenes}.json",
                "--set",
                "source.images=images",
            ]
        command = [
            sys.executable,
            "-m",
            "resizeonce.preprocess",
            "convert",
            *config,
            "--root",
            str(roots[scenes]),
        ]
        main, peaks = watch([*command, "--out", str(store), "--workers", "2"])
        shutil.rmtree(store)
        of_workers = (max(kind[pid] for pid in peaks.workers) for kind in (peaks.rss, peaks.private))
        figures = (*of_workers, peaks.rss[main], peaks.private[main])
        yield " | ".join([workload.name, *(f"{one:.0f}" for one in (part_scenes, scenes, *figures))])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--only", default="", help="the workloads whose name has this in it")
    options = parser.parse_args()
    print(
        "| workload | scenes in a part | in the dataset | worker RSS | private | main process RSS | private |"
    )
    print("|---|---|---|---|---|---|---|")
    for workload in (SA1B, COCO):
        if options.only in workload.name:
            with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
                for line in run_workload(workload, Path(temporary)):
                    print(f"| {line} |", flush=True)


if __name__ == "__main__":
    main()
