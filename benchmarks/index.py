"""What it takes to open datasets as large as the published ones, and what a worker gets of their indices.

::

    python benchmarks/index.py                         all of them, two minutes, 1.3 GB of disk
    python benchmarks/index.py --only COCO --folder /data/scratch

Index files are generated (`benchmarks/index_data.py`), each is opened in a fresh process, and the scenes of one part
are handed to a spawned worker. See benchmarks/README.md, section "Start-up".
"""

import argparse
import json
import multiprocessing
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import index_data
from usage import peak_rss, private, rss

from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import open_source
from resizeonce.preprocess.sources.base import Scene

PART_SCENES = 128


@dataclass(frozen=True)
class Case:
    """A dataset: how its index is generated and what the config says."""

    name: str
    source: dict[str, str]
    write: Callable[[Path], None]


CASES = (
    Case("COCO train2017, JSON", {"name": "coco"}, index_data.write_coco),
    Case("RefCOCO, JSON and pickle", {"name": "refcoco"}, index_data.write_refcoco),
    Case("OpenImages train, CSV", {"name": "openimages"}, index_data.write_openimages),
    Case("SA-1B, folders", {"name": "sa1b"}, index_data.write_sa1b_folder),
    Case("SA-1B, tar", {"name": "sa1b"}, index_data.write_sa1b_tar),
)


@dataclass
class Figures:
    """What opening one dataset took; seconds and MB."""

    scenes: int
    open_seconds: float
    fingerprint_seconds: float
    before: float
    """RSS of the process with everything imported."""
    peak: float
    held: float
    """RSS after opening."""
    scenes_kilobytes: float
    """Size of one part's scenes as they are handed over."""
    worker_before: float
    """Private memory of a spawned worker that has everything imported."""
    worker_after: float
    """And after it was given the scenes of a part."""


def measure(root: Path, source_options: dict[str, str]) -> Figures:
    """Open a dataset in this process, and hand one part's scenes to a worker."""
    config = parse_config({"source": source_options})
    before = rss()
    started = time.perf_counter()
    source = open_source(config, root)
    opened = time.perf_counter()
    source.fingerprint()
    printed = time.perf_counter()
    peak, held = peak_rss(), rss()
    first = len(source) // 2
    pickled = pickle.dumps(tuple(source[number] for number in range(first, first + PART_SCENES)))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        worker_before, worker_after = pool.submit(weigh_scenes, pickled).result()
    return Figures(
        len(source),
        opened - started,
        printed - opened,
        before,
        peak,
        held,
        len(pickled) / 1000,
        worker_before,
        worker_after,
    )


def weigh_scenes(pickled: bytes) -> tuple[float, float]:
    """Return the private memory of this process before and after it has a part's scenes."""
    before = private()
    scenes: tuple[Scene, ...] = pickle.loads(pickled)
    assert len(scenes) == PART_SCENES
    return before, private()


def run_case(case: Case, folder: Path) -> Figures:
    """Generate a dataset where it is not there yet, and measure it in a fresh process."""
    root = folder / case.name.replace(" ", "-").replace(",", "")
    if not root.exists():
        case.write(root)
    command = [sys.executable, __file__, "--measure", str(root), json.dumps(case.source)]
    # Twice: the first time puts the files into the page cache.
    outputs = [subprocess.run(command, check=True, capture_output=True).stdout for _ in range(2)]
    return Figures(**json.loads(outputs[-1]))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where files are made and kept; default: a temporary one")
    parser.add_argument("--only", default="", help="the cases whose name has this in it")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        root, source_options = options.measure
        print(json.dumps(asdict(measure(Path(root), json.loads(source_options)))))
        return
    print(
        "| index | scenes | open s | digest s | RSS before | peak | held | scenes kB | worker | with scenes |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for case in CASES:
            if options.only in case.name:
                figures = asdict(run_case(case, options.folder or Path(temporary)))
                print(f"| {case.name} | " + " | ".join(map(_shorten, figures.values())) + " |", flush=True)


def _shorten(figure: float) -> str:
    return f"{figure:.2f}" if figure < 10 else f"{figure:,.0f}"


if __name__ == "__main__":
    main()
