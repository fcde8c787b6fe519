"""What it takes to open datasets as large as the published ones, and what a worker gets of their indices.

::

    python benchmarks/index.py                         all of them, two minutes, 1.3 GB of disk
    python benchmarks/index.py --only COCO --folder /data/scratch

Index files are generated (`benchmarks/index_data.py`), each is opened in a fresh process, and the scenes of one part
are handed to a spawned worker. The table of docs/scale.md, section "Start-up with big indices".
"""

import argparse
import json
import multiprocessing
import pickle
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import index_data
from measure import memory, print_head, print_row

from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import open_source

PART_SCENES = 128
CASES = {
    "COCO train2017, JSON": ("coco", index_data.write_coco),
    "RefCOCO, JSON and pickle": ("refcoco", index_data.write_refcoco),
    "OpenImages train, CSV": ("openimages", index_data.write_openimages),
    "SA-1B, folders": ("sa1b", index_data.write_sa1b_folder),
    "SA-1B, tar": ("sa1b", index_data.write_sa1b_tar),
}
"""Name of the source and how its index is generated."""
FIGURES = ("scenes", "open s", "digest s", "RSS before", "peak", "held", "scenes kB", "worker", "with scenes")
"""Of a row: memory in MB, that of the worker private, before and after it has the scenes of a part."""


def measure(root: Path, source_name: str) -> list[float]:
    """Open a dataset in this process, and hand one part's scenes to a worker; return the figures of a row."""
    config = parse_config({"source": {"name": source_name}})
    before = memory("VmRSS")
    started = time.perf_counter()
    source = open_source(config, root)
    opened = time.perf_counter()
    source.fingerprint()
    printed = time.perf_counter()
    peak, held = memory("VmHWM"), memory("VmRSS")
    first = len(source) // 2
    pickled = pickle.dumps(tuple(source[number] for number in range(first, first + PART_SCENES)))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        of_worker = pool.submit(weigh_scenes, pickled).result()
    seconds = opened - started, printed - opened
    return [len(source), *seconds, before, peak, held, len(pickled) / 1000, *of_worker]


def weigh_scenes(pickled: bytes) -> tuple[float, float]:
    """Return the private memory of this process before and after it has a part's scenes."""
    before = memory("Private_Dirty")
    scenes = pickle.loads(pickled)
    assert len(scenes) == PART_SCENES
    return before, memory("Private_Dirty")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where files are made and kept; default: a temporary one")
    parser.add_argument("--only", default="", help="the cases whose name has this in it")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), options.measure[1])))
        return
    print_head("index", *FIGURES)
    with tempfile.TemporaryDirectory() as temporary:
        for name, (source_name, write) in CASES.items():
            if options.only not in name:
                continue
            root = (options.folder or Path(temporary)) / name.replace(" ", "-").replace(",", "")
            if not root.exists():
                write(root)
            command = [sys.executable, __file__, "--measure", str(root), source_name]
            # Twice: the first time puts the files into the page cache.
            outputs = [subprocess.run(command, check=True, capture_output=True).stdout for _ in range(2)]
            figures = json.loads(outputs[-1])
            print_row(name, *(f"{one:.2f}" if one < 10 else f"{one:,.0f}" for one in figures))


if __name__ == "__main__":
    main()
