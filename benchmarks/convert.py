"""Conversion against a plain Pillow program, against its own kernels, and against the writers of other projects.

::

    python benchmarks/convert.py                       one core, under three minutes
    python benchmarks/convert.py --rivals mds=/some/venv/bin/python ffcv=/other/venv/bin/python

All but the rivals is pinned to one core. Both sides of a ratio are timed in turns, so they see the same noise of the
machine, and the outputs are compared byte for byte before anything is timed. See benchmarks/README.md, "Conversion".
"""

import os

if __name__ == "__main__":
    # Before anything is imported: a thread keeps the cores that its maker had when it began.
    for _library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{_library}_NUM_THREADS"] = "1"
    ALL_CORES = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(ALL_CORES)})

import argparse
import io
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from convert_plain import assert_same, convert_plainly
from data import DISTINCT, Workload, make_dataset
from measure import Times, compare, print_bar, ratios
from numpy.typing import NDArray
from PIL import Image
from plain import IMAGE_SIZES, MASK_SIZES, read_raw, run_lengths
from rivals.environments import parse_rivals
from rivals.writing import WRITERS, compare_writers
from rivals.zarr_python import write_rows as write_zarr

from resizeonce.loader.format.recipe import ImageView, MaskView
from resizeonce.preprocess.decode import jpeg
from resizeonce.preprocess.decode.segmentation import parse_rle
from resizeonce.preprocess.kernels.encode import compress_mask
from resizeonce.preprocess.run.convert import RunOptions, convert, open_source
from resizeonce.preprocess.sources.records import Frame
from resizeonce.preprocess.store.filesystem import sync
from resizeonce.preprocess.store.part_writer import PartWriter
from resizeonce.preprocess.store.shard_writer import ShardWriter
from resizeonce.preprocess.tensors.arithmetic import installed_arithmetic
from resizeonce.preprocess.tensors.engine import open_engine
from resizeonce.preprocess.tensors.recipe import make_tensors

KERNELS_BAR = 0.85
WRITER_BAR = 0.8
RIVAL_BAR = 2.5
WORKLOADS = (
    Workload("SA-1B, 100 masks", (1500, 2250), 100, 5.0, images=64, plain_images=DISTINCT, rounds=3),
    Workload("SA-1B, 1 mask", (1500, 2250), 1, 2.5, images=128, plain_images=32, rounds=5),
    Workload("COCO, 8 masks", (480, 640), 8, 2.5, images=256, plain_images=64, rounds=5),
    Workload("COCO, 1 mask", (480, 640), 1, 2.5, images=256, plain_images=64, rounds=5),
)

Rows = Mapping[str, Sequence[NDArray[np.uint8]]]
Bars = list[tuple[str, list[float], float]]
"""What is compared, its ratios, and how large they should be."""
Facts = dict[str, dict[str, float]]
"""Medians: milliseconds per image by what was timed, images per second by whose writer it is."""


def clean(folder: Path) -> None:
    """Remove what was written and let the disk settle, so that no round pays for the one before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()


def make_mask_rows(masks: list[Any], size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Make both masks of every object, and compress the large one."""
    resize_mask = open_engine("exact-fast").resize_mask
    rows = []
    for segmentation in masks:
        mask = parse_rle(run_lengths(segmentation, size))
        _, full = (
            resize_mask(mask, MaskView(over="", size=(side, side)), ImageView(size=(side, side)), size)
            for side in MASK_SIZES.values()
        )
        rows.append(compress_mask(full))
    return rows


def resize_images(images: list[NDArray[np.uint8]]) -> None:
    views = [ImageView(size=(size, size)) for size in IMAGE_SIZES.values()]
    resize = open_engine("exact-fast").resize_images
    for image in images:
        resize(image, views, installed_arithmetic())


def write_plainly(rows: Rows, out: Path, *, times: int) -> None:
    """Write rows to plain files, `times` over, and sync each: the least that any writer has to do."""
    out.mkdir(parents=True)
    for name, arrays in rows.items():
        with (out / name).open("xb", buffering=0) as file:
            for _ in range(times):
                for array in arrays:
                    file.write(array)
            os.fsync(file.fileno())


def write_shards(rows: Rows, out: Path, *, times: int) -> None:
    out.mkdir(parents=True)
    for name, arrays in rows.items():
        with ShardWriter(out, f"{name}/c/0", "raw") as shard:
            for _ in range(times):
                for array in arrays:
                    shard.append(array)
        sync(out / name / "c/0")


def bench_pipeline(workload: Workload, folder: Path, facts: Facts) -> Bars:
    """Time our pipeline, the plain program and our kernels in turns."""
    root, scratch = folder / "raw", folder / "scratch"
    make_dataset(root, workload, workload.images)
    clean(scratch)
    check_root = root
    if workload.source == "sa1b":
        check_root = folder / "check"
        check_root.mkdir()
        for number in range(1, DISTINCT + 1):
            for suffix in ("jpg", "json"):
                shutil.copy(root / f"sa_{number}.{suffix}", check_root)
    # This also warms up: tables, imports and the page cache.
    check_config = workload.config(DISTINCT, DISTINCT)
    report = convert(check_config, check_root, scratch / "store", RunOptions(workers=1))
    convert_plainly(root, DISTINCT, scratch / "plain")
    arrays = assert_same(report.store, scratch / "plain", DISTINCT)

    raws = list(read_raw(root, DISTINCT))
    jpegs = [raw.path.read_bytes() for raw in raws]
    images = [np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")) for encoded in jpegs]
    masks = [mask.segmentation for raw in raws for mask in raw.masks]
    rows = {name: [np.ones((3, size, size), np.uint8)] * DISTINCT for name, size in IMAGE_SIZES.items()}
    rows["masks"] = make_mask_rows(masks, workload.size)
    config = workload.config(workload.images, workload.images)
    ways = {
        "ours": (workload.images, lambda: convert(config, root, scratch / "store", RunOptions(workers=1))),
        "plain": (
            workload.plain_images,
            lambda: convert_plainly(root, workload.plain_images, scratch / "plain"),
        ),
    }
    # In memory: the pipeline's own reading is not theirs.
    kernels = {
        "decode": (DISTINCT, lambda: [jpeg.decode_jpeg(encoded) for encoded in jpegs]),
        "resizes": (DISTINCT, lambda: resize_images(images)),
        "masks": (DISTINCT, lambda: make_mask_rows(masks, workload.size)),
        "write": (
            workload.images,
            lambda: write_plainly(rows, scratch / "rows", times=workload.images // DISTINCT),
        ),
    }
    times = {name: Times() for name in (*ways, *kernels)}
    for _ in range(workload.rounds):
        for name, way in ways.items():
            clean(scratch)
            times[name].add(*way)
        clean(scratch)
        for name, kernel in kernels.items():
            times[name].add(*kernel)
    summed = (zip(*(getattr(times[name], kind) for name in kernels), strict=True) for kind in ("wall", "cpu"))
    total = Times(*([sum(parts) for parts in rounds] for rounds in summed))
    encoded = statistics.mean(map(len, jpegs)) / 1e6
    print(f"\n{workload.name}: {workload.size[0]} x {workload.size[1]}, JPEG {encoded:.2f} MB; ", end="")
    print(f"{arrays} arrays are the same bytes; milliseconds per image")
    print(f"  ours, {report.engine:<31}{times['ours']}")
    print(f"  plain Pillow{'':<25}{times['plain']}")
    print(f"  our kernels alone{'':<20}{total}")
    for name in kernels:
        print(f"    {name:<35}{times[name]}")
    print(f"  plain / ours {compare(times['plain'], times['ours'])}, bar {workload.bar}")
    print(f"  kernels / ours {compare(total, times['ours'])}, bar {KERNELS_BAR}", flush=True)
    facts[workload.name] = {name: 1000 * times[name].median for name in ("ours", "plain", "decode")}
    return [
        (f"{workload.name}: times plain Pillow", ratios(times["plain"], times["ours"]), workload.bar),
        (f"{workload.name}: of the kernels' rate", ratios(total, times["ours"]), KERNELS_BAR),
    ]


def bench_writer(folder: Path) -> Bars:
    """Time our writer, a plain file write of the same bytes, and zarr-python, on image rows made beforehand."""
    rng = np.random.default_rng(0)
    rows = {
        name: [rng.integers(0, 256, (3, size, size), dtype=np.uint8) for _ in range(16)]
        for name, size in IMAGE_SIZES.items()
    }
    ways = {"ours": write_shards, "plain": write_plainly, "zarr-python": write_zarr}
    times = {name: Times() for name in ways}
    for number in range(7):
        for name, write in ways.items():
            clean(folder)
            if name != "zarr-python" or number < 3:
                times[name].add(128, partial(write, rows, folder / name, times=8))
    print("\nWriting 128 rows of both images, 3.57 MiB each, synced: milliseconds per row")
    for name, spent in times.items():
        print(f"  {name:<14}{spent}")
    of_zarr = times["plain"].median / times["zarr-python"].median
    ours = compare(times["plain"], times["ours"])
    print(f"  our rate / plain rate {ours}, bar {WRITER_BAR}; zarr-python's {of_zarr:.2f}", flush=True)
    return [("writer: of a plain write's rate", ratios(times["plain"], times["ours"]), WRITER_BAR)]


def bench_part(folder: Path) -> None:
    """Time what a part costs whatever it holds: the commit of a part of one small image."""
    workload = WORKLOADS[-1]
    make_dataset(folder / "raw", workload, DISTINCT)
    config = workload.config(DISTINCT, 1)
    scene = open_source(config, folder / "raw")[0]
    engine = open_engine("exact-fast")
    times = Times()
    for part in range(9):
        with PartWriter(folder, part, config.recipe, paired=False) as writer:
            writer.start_scene(0, scene.key)
            for record in scene.read(engine.decoder("reject")):
                assert isinstance(record, Frame)
                views = make_tensors(record.image, record.segmentations, config.recipe, engine)
                writer.add_frame(record, views)
            times.add(1, writer.commit)
    print(f"\nA part's own cost (metadata, small arrays, syncs): {times} milliseconds", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument("--rivals", nargs="*", metavar="NAME=PYTHON", help=f"also time {', '.join(WRITERS)}")
    parser.add_argument("--facts", type=Path, help="write medians here, for benchmarks/readme.py")
    options = parser.parse_args()
    pythons = parse_rivals(options.rivals or [], WRITERS)
    facts: Facts = {}
    bars: Bars = []
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        print(f"engine: {open_engine('exact-fast').description}; written to {folder.parent}")
        for number, workload in enumerate(WORKLOADS):
            bars += bench_pipeline(workload, folder / str(number), facts)
            shutil.rmtree(folder / str(number))
        bars += bench_writer(folder / "writer")
        bench_part(folder / "part")
        if pythons:
            os.sched_setaffinity(0, set(sorted(ALL_CORES)[:2]))
            for workload, images in ((WORKLOADS[1], 512), (WORKLOADS[3], 1024)):
                root = folder.absolute() / str(images) / "raw"
                make_dataset(root, workload, images)
                config = workload.config(images, images // 8)
                ours = partial(convert, config, root, run=RunOptions(workers=2))
                print(f"\n{workload.name}, {images} images, 2 workers, their start included")
                times = compare_writers(ours, pythons, root, images, root.with_name("scratch"), clean)
                facts[f"{workload.name}, writers"] = {name: 1 / one.median for name, one in times.items()}
                bars += [
                    (f"{workload.name}: times {name}", ratios(spent, times["ours"]), RIVAL_BAR)
                    for name, spent in times.items()
                    if name != "ours"
                ]
    print("\nbars")
    for what, found, bar in bars:
        print_bar(what, found, bar)
    if options.facts:
        options.facts.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
