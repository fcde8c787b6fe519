"""Conversion against a plain Pillow program, its own kernels, another checkout, and other projects' writers.

::

    python benchmarks/convert.py                       one core, some five minutes
    python benchmarks/convert.py --against ../before   one core, ours and that of a checkout, in its environment
    python benchmarks/convert.py --rivals mds=/some/venv/bin/python ffcv=/other/venv/bin/python

All but the rivals is pinned to one core. See benchmarks/README.md, "Conversion".
"""

import os

if __name__ == "__main__":
    # Before anything is imported: a thread keeps the cores that its maker had when it began.
    for _library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{_library}_NUM_THREADS"] = "1"
    ALL_CORES = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(ALL_CORES)})

import io
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import frame
import numpy as np
from convert_plain import assert_same, convert_plainly
from data import DISTINCT, WORKLOADS, Workload, make_dataset
from numpy.typing import NDArray
from PIL import Image
from plain import IMAGE_SIZES, MASK_SIZES, read_raw, run_lengths
from rivals.environments import parse_rivals
from rivals.writing import WRITERS, compare_writers

from resizeonce.loader.format.recipe import ImageView, MaskView
from resizeonce.preprocess.decode import jpeg
from resizeonce.preprocess.decode.segmentation import parse_rle
from resizeonce.preprocess.kernels.encode import compress_mask
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.tensors.arithmetic import INSTALLED
from resizeonce.preprocess.tensors.engine import open_engine

Facts = dict[str, dict[str, float]]
"""Medians: milliseconds per image by what was timed, images per second by whose writer it is."""


def make_mask_rows(masks: list[Any], size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Make both masks of every object, and compress the large one."""
    resize_mask = open_engine("exact-fast").resize_mask
    squares = [(side, side) for side in MASK_SIZES.values()]
    views = [(MaskView(over="", size=square), ImageView(size=square)) for square in squares]
    rows = []
    for segmentation in masks:
        mask = parse_rle(run_lengths(segmentation, size))
        _, full = (resize_mask(mask, *view, size) for view in views)
        rows.append(compress_mask(full))
    return rows


def resize_images(images: list[NDArray[np.uint8]]) -> None:
    views = [ImageView(size=(size, size)) for size in IMAGE_SIZES.values()]
    resize = open_engine("exact-fast").resize_images
    for image in images:
        resize(image, views, INSTALLED)


def write_plainly(rows: Mapping[str, Sequence[NDArray[np.uint8]]], out: Path, *, times: int) -> None:
    """Write rows to plain files, `times` over, and sync each: the least that any writer has to do."""
    out.mkdir(parents=True)
    for name, arrays in rows.items():
        with (out / name).open("xb", buffering=0) as file:
            for _ in range(times):
                for array in arrays:
                    file.write(array)
            os.fsync(file.fileno())


def measure(workload: Workload, folder: Path, rounds: int, facts: Facts) -> list[frame.Bar]:
    """Time our pipeline, the plain program and our kernels in turns."""
    root, out, num_images = folder / "raw", folder / "out", workload.images
    make_dataset(root, workload, num_images)
    frame.clean(out)
    # This also warms up: tables, imports and the page cache.
    first = RunOptions(workers=1, limit=DISTINCT * workload.masks)
    report = convert(workload.config(DISTINCT), root, out / "store", first)
    convert_plainly(root, DISTINCT, out / "plain")
    compared = assert_same(report.store, out / "plain")
    # In memory: the pipeline's own reading is not the kernels'.
    raws = list(read_raw(root, DISTINCT))
    jpegs = [raw.path.read_bytes() for raw in raws]
    images = [np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")) for encoded in jpegs]
    masks = [segmentation for raw in raws for segmentation in raw.masks]
    rows = {name: [np.ones((3, size, size), np.uint8)] * DISTINCT for name, size in IMAGE_SIZES.items()}
    rows["masks"] = make_mask_rows(masks, workload.size)
    calls: dict[str, tuple[int, Callable[[], object]]] = {
        "ours": (
            num_images,
            partial(convert, workload.config(num_images), root, out / "store", RunOptions(workers=1)),
        ),
        "plain Pillow": (workload.plain, partial(convert_plainly, root, workload.plain, out / "plain")),
        "decode": (DISTINCT, lambda: [jpeg.decode_jpeg(encoded) for encoded in jpegs]),
        "resizes": (DISTINCT, lambda: resize_images(images)),
        "masks": (DISTINCT, lambda: make_mask_rows(masks, workload.size)),
        "write, synced": (
            num_images,
            lambda: write_plainly(rows, out / "rows", times=num_images // DISTINCT),
        ),
    }
    turns = {name: frame.Turn(*call, before=lambda: frame.clean(out)) for name, call in calls.items()}
    times = frame.take_turns(turns, rounds)
    ours, plain, *kernels = times.values()
    alone = times["our kernels alone"] = frame.Times(
        [sum(walls) for walls in zip(*(one.wall for one in kernels), strict=True)],
        [sum(cpus) for cpus in zip(*(one.cpu for one in kernels), strict=True)],
    )
    encoded = statistics.mean(map(len, jpegs)) / 1e6
    print(f"\n{workload.name}, {report.engine}: JPEG {encoded:.2f} MB; {compared} rows are the same bytes")
    frame.print_times("images", times, "ours")
    medians = {"ours": ours.median, "plain": plain.median, "decode": times["decode"].median}
    facts[workload.name] = {name: 1000 * median for name, median in medians.items()}
    return [
        (f"{workload.name}: times plain Pillow", frame.ratios(plain, ours), workload.bar),
        (f"{workload.name}: of the kernels' rate", frame.ratios(alone, ours), 0.85),
    ]


def measure_against(workload: Workload, folder: Path, rounds: int, checkout: Path) -> list[frame.Bar]:
    """Time our pipeline and that of another checkout in turns, each time in a fresh interpreter, without its start."""
    root, num_images = folder / "raw", workload.images
    make_dataset(root, workload, num_images)
    times = {"ours": frame.Times(), "before": frame.Times()}
    for _ in range(rounds):
        for name, python in (("ours", sys.executable), ("before", frame.python_of(checkout))):
            frame.clean(folder / "out")
            found = frame.ask("convert_once", workload.name, root, folder / "out", python=python)
            times[name].wall.append(found["seconds"] / num_images)
            times[name].cpu.append(found["cpu_seconds"] / num_images)
    frame.print_times(workload.name, times, "before")
    return [(f"{workload.name}: of before", frame.ratios(times["before"], times["ours"]), 0.97)]


def main() -> None:
    parser = frame.parser_of(__doc__, rounds=5)
    parser.add_argument("--only", default="", metavar="START", help="workloads whose names start so")
    parser.add_argument(
        "--against", type=Path, metavar="CHECKOUT", help="compare with another checkout instead"
    )
    rivals = f"also time {', '.join(WRITERS)}"
    parser.add_argument("--rivals", nargs="*", metavar="NAME=PYTHON", default=[], help=rivals)
    parser.add_argument("--facts", type=Path, help="write medians here, for tests/support/readme_table.py")
    options = parser.parse_args()
    pythons = parse_rivals(options.rivals, WRITERS)
    facts: Facts = {}
    bars: list[frame.Bar] = []
    frame.print_about()
    for workload in WORKLOADS:
        if workload.name.startswith(options.only):
            with frame.scratch(options.folder) as folder:
                given = workload, folder, options.rounds
                bars += (
                    measure_against(*given, options.against) if options.against else measure(*given, facts)
                )
    if pythons:
        os.sched_setaffinity(0, set(sorted(ALL_CORES)[:2]))
        for workload, images in ((WORKLOADS[1], 512), (WORKLOADS[3], 1024)):
            with frame.scratch(options.folder) as folder:
                times = compare_writers(workload, images, folder, pythons)
            facts[f"{workload.name}, writers"] = {name: 1 / one.median for name, one in times.items()}
            for name, one in list(times.items())[1:]:
                bars.append((f"{workload.name}: times {name}", frame.ratios(one, times["ours"]), 2.5))
    frame.print_bars(bars)
    if options.facts:
        options.facts.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
