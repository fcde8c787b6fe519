"""Conversion against a plain Pillow program, against its own kernels, and against the writers of other projects.

::

    python benchmarks/convert.py                       one core, under three minutes
    python benchmarks/convert.py --rivals              adds MosaicML, LitData and FFCV, two workers each
    python benchmarks/convert.py --rivals mds=/some/venv/bin/python ffcv=/other/venv/bin/python

The first form is pinned to one core. Both sides of a ratio are timed in turns, so they see the same noise of the machine,
and the outputs are compared byte for byte before anything is timed. See benchmarks/README.md, section "Conversion".
"""

import os
import sys

if __name__ == "__main__":
    # Before anything is imported: a thread keeps the cores that its maker had when it began.
    for _library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        os.environ[f"{_library}_NUM_THREADS"] = "1"
    ALL_CORES = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(ALL_CORES)})

import argparse
import hashlib
import io
import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from convert_data import DISTINCT, Workload, draw_outlines, make_dataset
from convert_plain import SIZES, assert_same, convert_plainly, read_raw
from convert_timing import Times, compare, median_ratio
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from zarr.codecs import Crc32cCodec

from resizeonce.loader.format.mask_codec import compress_mask
from resizeonce.preprocess.decode import jpeg
from resizeonce.preprocess.decode.segmentation import Rle
from resizeonce.preprocess.run.convert import RunOptions, convert, open_source
from resizeonce.preprocess.sources.records import Frame
from resizeonce.preprocess.store.filesystem import sync
from resizeonce.preprocess.store.part_writer import PartWriter
from resizeonce.preprocess.store.shard_writer import ShardWriter
from resizeonce.preprocess.tensors import resample
from resizeonce.preprocess.tensors import rle as runs
from resizeonce.preprocess.tensors.engine import open_engine
from resizeonce.preprocess.tensors.recipe import make_tensors

RIVAL_NAMES = ("mds", "litdata", "ffcv")
RIVAL_BAR = 2.5
WRITER_BAR = 0.8
KERNELS_BAR = 0.85


Facts = dict[str, dict[str, float]]
"""Medians: milliseconds per image by what was timed, images per second by whose writer it is."""

WORKLOADS = (
    Workload("SA-1B, 100 masks", (1500, 2250), 100, 5.0, images=64, plain_images=DISTINCT, rounds=3),
    Workload("SA-1B, 1 mask", (1500, 2250), 1, 2.5, images=128, plain_images=32, rounds=5),
    Workload("COCO, 8 masks", (480, 640), 8, 2.5, images=256, plain_images=64, rounds=5),
    Workload("COCO, 1 mask", (480, 640), 1, 2.5, images=256, plain_images=64, rounds=5),
)


def fresh(folder: Path) -> Path:
    """Return a path that is not there."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def clean(scratch: Path) -> None:
    """Remove what was written and let the disk settle, so that no round pays for the one before."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    os.sync()


# ---------------------------------------------------------------------------------------------------------------
# Our kernels alone


@dataclass(frozen=True)
class KernelInput:
    """What the kernels are given, in memory: the pipeline's own reading is not theirs."""

    jpegs: list[bytes]
    images: list[NDArray[np.uint8]]
    rles: list[list[dict[str, Any]]]
    outlines: list[list[list[float]]]

    @classmethod
    def make(cls, root: Path, workload: Workload) -> "KernelInput":
        raws = list(read_raw(root, workload, DISTINCT))
        jpegs = [raw.path.read_bytes() for raw in raws]
        images = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in jpegs]
        outlines = [draw_outlines(number, workload.masks, workload.size) for number in range(DISTINCT)]
        return cls(jpegs, images, [[rle for _, _, rle in raw.masks] for raw in raws], outlines)


def run_masks(given: KernelInput, workload: Workload) -> list[NDArray[np.uint8]]:
    """Make both masks of every object, and compress the large one."""
    height, width = workload.size
    resize_mask = open_engine("exact-fast").resize_mask
    rows = []
    for rles, outlines in zip(given.rles, given.outlines, strict=True):
        for rle, outline in zip(rles, outlines, strict=True):
            if workload.source == "coco":
                rle = coco_mask.merge(coco_mask.frPyObjects([outline], height, width))
            lengths = runs.decompress_counts(rle["counts"])
            assert lengths is not None
            mask = Rle(height, width, lengths)
            _, target = (
                resize_mask(mask, size, "pillow-nearest") for size in (SIZES.prompt_masks, SIZES.masks)
            )
            rows.append(compress_mask(target))
    return rows


def run_resizes(given: KernelInput) -> None:
    sizes = SIZES.pixel_values, SIZES.g_pixel_values
    outs = tuple(np.empty((3, size, size), np.uint8) for size in sizes)
    for image in given.images:
        resample.resize_image_twice(image, sizes, ("bilinear", "bilinear"), (outs[0], outs[1]))


def write_rows(files: Mapping[str, Sequence[Any]], out: Path, *, times: int) -> None:
    """Write rows to plain files, `times` over, and sync each: the least that any writer has to do."""
    out.mkdir(parents=True)
    for name, rows in files.items():
        with (out / name).open("xb", buffering=0) as file:
            for _ in range(times):
                for row in rows:
                    file.write(row)
            os.fsync(file.fileno())


def write_shards(files: Mapping[str, Sequence[NDArray[Any]]], out: Path, *, times: int) -> None:
    out.mkdir(parents=True)
    for name, rows in files.items():
        with ShardWriter(out, f"{name}/c/0", "raw") as shard:
            for _ in range(times):
                for row in rows:
                    shard.append(row)
        sync(out / name / "c/0")


def write_zarr(files: Mapping[str, Sequence[NDArray[Any]]], out: Path, *, times: int) -> None:
    """Write the same arrays with zarr-python, a whole shard at once as it wants them."""
    group = zarr.open_group(out, mode="w")
    for name, rows in files.items():
        shape = (len(rows) * times, *rows[0].shape)
        array = group.create_array(
            name,
            shape=shape,
            dtype="uint8",
            shards=shape,
            chunks=(1, *shape[1:]),
            compressors=[Crc32cCodec()],
        )
        array[:] = np.stack([row for _ in range(times) for row in rows])
        sync(out / name / "c/0/0/0/0")


def time_kernels(
    given: KernelInput,
    workload: Workload,
    scratch: Path,
    times: dict[str, Times],
    mask_rows: list[NDArray[np.uint8]],
) -> None:
    """Add one round of each kernel, per image."""
    times["decode"].add(DISTINCT, lambda: [jpeg.decode_jpeg(encoded) for encoded in given.jpegs])
    times["resizes"].add(DISTINCT, partial(run_resizes, given))
    times["masks"].add(DISTINCT, partial(run_masks, given, workload))
    files = {
        "pixel_values": [np.ones((3, 448, 448), np.uint8)] * DISTINCT,
        "g_pixel_values": [np.ones((3, 1024, 1024), np.uint8)] * DISTINCT,
        "masks": mask_rows,
    }
    repeats = workload.images // DISTINCT
    out = fresh(scratch / "rows")
    times["write"].add(workload.images, partial(write_rows, files, out, times=repeats))


# ---------------------------------------------------------------------------------------------------------------
# The comparisons


def bench_pipeline(workload: Workload, folder: Path, facts: Facts) -> list[tuple[str, float, float]]:
    """Time our pipeline, the plain program and our kernels in turns; return (what, ratio, bar)."""
    root, scratch = folder / "raw", folder / "scratch"
    make_dataset(root, workload, workload.images)
    clean(scratch)
    given = KernelInput.make(root, workload)
    mask_rows = run_masks(given, workload)
    check_root, check_config = root, workload.config(DISTINCT, DISTINCT)
    if workload.source == "sa1b":
        check_root = folder / "check"
        check_root.mkdir()
        for number in range(1, DISTINCT + 1):
            for suffix in ("jpg", "json"):
                shutil.copy(root / f"sa_{number}.{suffix}", check_root)
    # This also warms up: compiled loops, tables, imports and the page cache.
    report = convert(check_config, check_root, scratch / "store", RunOptions(workers=1))
    convert_plainly(root, workload, DISTINCT, scratch / "plain")
    arrays = assert_same(report.store, scratch / "plain", DISTINCT)

    config = workload.config(workload.images, workload.images)
    ours, plain = Times(), Times()
    kernels = {name: Times() for name in ("decode", "resizes", "masks", "write")}
    for _ in range(workload.rounds):
        clean(scratch)
        ours.add(workload.images, lambda: convert(config, root, scratch / "store", RunOptions(workers=1)))
        clean(scratch)
        plain.add(
            workload.plain_images,
            lambda: convert_plainly(root, workload, workload.plain_images, scratch / "plain"),
        )
        clean(scratch)
        time_kernels(given, workload, scratch, kernels, mask_rows)
    total = Times(
        [sum(parts) for parts in zip(*(one.per_item for one in kernels.values()), strict=True)],
        [sum(parts) for parts in zip(*(one.cpu_per_item for one in kernels.values()), strict=True)],
    )
    encoded = statistics.mean(map(len, given.jpegs)) / 1e6
    print(
        f"\n{workload.name}: {workload.size[0]} x {workload.size[1]}, JPEG {encoded:.2f} MB; "
        f"{arrays} arrays are the same bytes; milliseconds per image"
    )
    print(f"  ours, {report.engine:<31}{ours}")
    print(f"  plain Pillow{'':<25}{plain}")
    print(f"  our kernels alone{'':<20}{total}")
    for name, spent in kernels.items():
        print(f"    {name:<35}{spent}")
    print(f"  plain / ours {compare(plain, ours)}, bar {workload.bar}", flush=True)
    print(f"  kernels / ours {compare(total, ours)}, bar {KERNELS_BAR}", flush=True)
    timed = {"ours": ours, "plain": plain, "decode": kernels["decode"]}
    facts[workload.name] = {name: 1000 * times.median for name, times in timed.items()}
    return [
        (f"{workload.name}: times plain Pillow", median_ratio(plain, ours), workload.bar),
        (f"{workload.name}: of the kernels' rate", median_ratio(total, ours), KERNELS_BAR),
    ]


def bench_writer(folder: Path) -> list[tuple[str, float, float]]:
    """Time our writer, a plain file write of the same bytes, and zarr-python, on image rows made beforehand."""
    rng = np.random.default_rng(0)
    files = {
        "pixel_values": [rng.integers(0, 256, (3, 448, 448), dtype=np.uint8) for _ in range(16)],
        "g_pixel_values": [rng.integers(0, 256, (3, 1024, 1024), dtype=np.uint8) for _ in range(16)],
    }
    repeats = 8
    ways = {"ours": write_shards, "plain": write_rows, "zarr-python": write_zarr}
    times = {name: Times() for name in ways}
    for _ in range(7):
        for name, write in ways.items():
            clean(folder)
            if name == "zarr-python" and len(times[name].per_item) == 3:
                continue
            times[name].add(16 * repeats, partial(write, files, folder / name, times=repeats))
    print("\nWriting 128 rows of both images, 3.57 MiB each, synced: milliseconds per row")
    for name, spent in times.items():
        print(f"  {name:<14}{spent}")
    ratio = compare(times["plain"], times["ours"])
    zarr_ratio = times["plain"].median / times["zarr-python"].median
    print(f"  our rate / plain rate {ratio}, bar {WRITER_BAR}; zarr-python's {zarr_ratio:.2f}", flush=True)
    return [("writer: of a plain write's rate", median_ratio(times["plain"], times["ours"]), WRITER_BAR)]


def bench_part(folder: Path) -> None:
    """Time what a part costs whatever it holds: the commit of a part of one small image."""
    workload = WORKLOADS[-1]
    root = folder / "raw"
    make_dataset(root, workload, DISTINCT)
    config = workload.config(DISTINCT, 1)
    scene = open_source(config, root)[0]
    engine = open_engine("exact-fast")
    times = Times()
    for part in range(9):
        with PartWriter(folder, part, config.recipe.sizes, paired=False) as writer:
            writer.start_scene(0, scene.key)
            for record in scene.read(engine.decode_image):
                assert isinstance(record, Frame)
                views = make_tensors(record.image, record.segmentations, config.recipe, engine)
                writer.add_frame(record, views)
            times.add(1, writer.commit)
    print(f"\nA part's own cost (metadata, small arrays, syncs): {times} milliseconds", flush=True)


# ---------------------------------------------------------------------------------------------------------------
# The writers of other projects


def expected_digest(store: Path) -> str:
    """Return the digest that benchmarks/convert_rivals.py makes of the same samples."""
    lines = []
    for folder in sorted(store.glob("part-*")):
        part = zarr.open_group(folder, mode="r")
        names = ("images/pixel_values", "images/g_pixel_values", "masks/prompt_masks", "masks/masks")
        arrays: list[Any] = [part[name] for name in names]
        for row in range(arrays[0].shape[0]):
            sample = b"".join(np.asarray(array[row]).tobytes() for array in arrays)
            lines.append(hashlib.sha256(sample).hexdigest())
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def run_rival(name: str, python: str, root: Path, out: Path, *, verify: bool) -> dict[str, Any]:
    """Run one rival in its own interpreter; "error" says why it could not."""
    script = Path(__file__).with_name("convert_rivals.py")
    command = [python, str(script), name, str(root), str(out), *(["--verify"] if verify else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def bench_rivals(
    workload: Workload, pythons: dict[str, str], folder: Path, rounds: int, images: int, facts: Facts
) -> list[tuple[str, float, float]]:
    """Time two workers of ours and of each rival in turns, from the call to the finished dataset."""
    root, scratch = folder / "raw", folder / "scratch"
    make_dataset(root, workload, images)
    clean(scratch)
    config = workload.config(images, images // 8)
    run = RunOptions(workers=2)
    report = convert(config, root, scratch / "store", run)
    expected = expected_digest(report.store)
    print(f"\n{workload.name}, {images} images, 2 workers: images per second, start of the workers included")
    versions: dict[str, str] = {}
    for name, python in list(pythons.items()):
        clean(scratch)
        checked = run_rival(name, python, root, scratch / name, verify=True)
        if "error" in checked:
            print(f"  {name}: not run: {checked['error']}")
            del pythons[name]
            continue
        assert checked["digest"] == expected, f"{name} holds other pixels"
        versions[name] = checked["version"]
    times = {name: Times() for name in ("ours", *pythons)}
    for _ in range(rounds):
        clean(scratch)
        times["ours"].add(images, lambda: convert(config, root, scratch / "store", run))
        for name, python in pythons.items():
            clean(scratch)
            measured = run_rival(name, python, root, scratch / name, verify=False)
            times[name].per_item.append(measured["seconds"] / images)
            times[name].cpu_per_item.append(measured["cpu_seconds"] / images)
    results = []
    for name, spent in times.items():
        rates = [1 / one for one in spent.per_item]
        label = f"{name} {versions.get(name, '')}".strip()
        rate = f"{1 / spent.median:.1f} ({min(rates):.1f}-{max(rates):.1f})"
        rate += f", processor {1000 * spent.cpu:.1f} ms"
        if name == "ours":
            print(f"  {label:<28}{rate}", flush=True)
            continue
        print(
            f"  {label:<28}{rate:<42}ours / it {compare(spent, times['ours'])}, bar {RIVAL_BAR}",
            flush=True,
        )
        results.append((f"{workload.name}: times {name}", median_ratio(spent, times["ours"]), RIVAL_BAR))
    facts[f"{workload.name}, writers"] = {name: 1 / spent.median for name, spent in times.items()}
    return results


# ---------------------------------------------------------------------------------------------------------------


def parse_rivals(options: list[str]) -> dict[str, str]:
    pythons = dict(option.split("=", 1) for option in options) or dict.fromkeys(RIVAL_NAMES, sys.executable)
    if unknown := pythons.keys() - set(RIVAL_NAMES):
        raise SystemExit(f"unknown rival {sorted(unknown)}; known: {', '.join(RIVAL_NAMES)}")
    return pythons


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    parser.add_argument(
        "--rivals", nargs="*", metavar="NAME=PYTHON", help="also time other projects' writers"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the comparison with rivals")
    parser.add_argument("--only-rivals", action="store_true", help="leave out all that needs no rival")
    parser.add_argument("--facts", type=Path, help="write medians here, for benchmarks/readme.py")
    options = parser.parse_args()
    facts: Facts = {}
    results: list[tuple[str, float, float]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        print(f"engine: {open_engine('exact-fast').description}; written to {folder.parent}")
        if not options.only_rivals:
            for number, workload in enumerate(WORKLOADS):
                results += bench_pipeline(workload, folder / str(number), facts)
                shutil.rmtree(folder / str(number))
            results += bench_writer(folder / "writer")
            bench_part(folder / "part")
        if options.rivals is not None:
            os.sched_setaffinity(0, set(sorted(ALL_CORES)[:2]))
            pythons = parse_rivals(options.rivals)
            for workload, images in ((WORKLOADS[1], 512), (WORKLOADS[3], 1024)):
                results += bench_rivals(
                    workload, pythons, folder / str(images), options.rounds, images, facts
                )
    print("\nbars")
    for what, ratio, bar in results:
        print(f"  {'met   ' if ratio >= bar else 'MISSED'} {what:<44}{ratio:>6.2f}  of {bar}")
    if options.facts:
        options.facts.write_text(json.dumps(facts, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
