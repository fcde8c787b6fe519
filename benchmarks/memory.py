"""How much memory a worker takes, by the size of its parts and of the dataset.

::

    python benchmarks/memory.py                        some four minutes, 5 GB of disk
    python benchmarks/memory.py --only COCO --folder /data/scratch

Runs `resizeonce convert --workers 2` on generated datasets and looks at its processes twenty times a second. The table
of docs/scale.md, section "Memory".
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from data import Workload, make_dataset
from measure import descendants, memory, print_head, print_row

KINDS = ("VmHWM", "Private_Dirty")
RUNS = ((50, 200), (50, 1000), (200, 1000), (1000, 1000))
"""Scenes in a part, scenes in the dataset."""
WORKLOADS = (
    Workload("SA-1B, 100 masks", (1500, 2250), 100),
    Workload("COCO, 8 masks", (480, 640), 8),
)


def watch(command: list[str]) -> list[float]:
    """Run a command; return the most that one of its workers, and its main process, were seen to take, in MB."""
    peaks: dict[tuple[bool, str], float] = defaultdict(float)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        for pid in (process.pid, *descendants(process.pid)):
            # It may end at any moment.
            with suppress(OSError, StopIteration):
                is_worker = b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
                for kind in KINDS if is_worker or pid == process.pid else ():
                    peaks[is_worker, kind] = max(peaks[is_worker, kind], memory(kind, pid))
        time.sleep(0.05)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return [peaks[is_worker, kind] for is_worker in (True, False) for kind in KINDS]


def run_workload(workload: Workload, folder: Path) -> None:
    """Print a row of the table for each run."""
    for part_scenes, scenes in RUNS:
        root, store = folder / f"raw-{scenes}", folder / "store.zarr"
        if not root.exists():
            make_dataset(root, workload, scenes)
        command = [
            sys.executable,
            "-m",
            "resizeonce.preprocess",
            "convert",
            f"configs/{workload.source}.toml",
        ]
        command += ["--set", f"store.scenes_per_part={part_scenes}"]
        if workload.source == "coco":
            command += ["--set", f"source.annotations=instances_{scenes}.json"]
            command += ["--set", "source.images=images"]
        peaks = watch([*command, "--root", str(root), "--out", str(store), "--workers", "2"])
        shutil.rmtree(store)
        print_row(workload.name, part_scenes, scenes, *(f"{peak:.0f}" for peak in peaks))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--only", default="", help="the workloads whose name has this in it")
    options = parser.parse_args()
    print_head(
        *("workload", "scenes in a part", "in the dataset", "worker RSS", "private"),
        *("main process RSS", "private"),
    )
    for workload in WORKLOADS:
        if options.only in workload.name:
            with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
                run_workload(workload, Path(temporary))


if __name__ == "__main__":
    main()
