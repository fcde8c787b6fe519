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
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import zarr
from numcodecs import Zstd
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from zarr.codecs import Crc32cCodec

from preprocess import jpeg, resample, runs
from preprocess.config import Config, parse_config
from preprocess.engine import open_engine
from preprocess.layout import TEXT_COLUMNS, ZSTD_LEVEL, TensorSizes, array_specs, part_name
from preprocess.mask_codec import compress_mask
from preprocess.pipeline import RunOptions, convert, open_source
from preprocess.segmentation import Rle
from preprocess.shards import ShardWriter
from preprocess.target import sync
from preprocess.writer import PartWriter

SIZES = TensorSizes()
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "retina.jpg")
"""Photographs that scikit-image ships."""
DISTINCT = 8
"""Different images of a workload; the others are copies of them under other names."""
RIVAL_NAMES = ("mds", "litdata", "ffcv")
RIVAL_BAR = 2.5
WRITER_BAR = 0.8
KERNELS_BAR = 0.85


@dataclass(frozen=True)
class Workload:
    """A small raw dataset, and how much of it each side converts in a round."""

    name: str
    size: tuple[int, int]
    masks: int
    bar: float
    images: int
    """What our pipeline converts: as many as one part holds in real use, so that the cost per part is in proportion."""
    plain_images: int
    """What the plain program converts. It has no cost per part; a smaller number saves time."""
    rounds: int

    @property
    def source(self) -> str:
        return "sa1b" if self.size[1] > 1000 else "coco"

    def config(self, images: int, scenes_per_part: int) -> Config:
        return parse_config({"source": self._options(images), "store": {"scenes_per_part": scenes_per_part}})

    def _options(self, images: int) -> dict[str, str]:
        if self.source == "sa1b":
            return {"name": "sa1b"}
        return {"name": "coco", "annotations": f"instances_{images}.json", "images": "images"}


WORKLOADS = (
    Workload("SA-1B, 100 masks", (1500, 2250), 100, 5.0, images=64, plain_images=DISTINCT, rounds=3),
    Workload("SA-1B, 1 mask", (1500, 2250), 1, 2.5, images=128, plain_images=32, rounds=5),
    Workload("COCO, 8 masks", (480, 640), 8, 2.5, images=256, plain_images=64, rounds=5),
    Workload("COCO, 1 mask", (480, 640), 1, 2.5, images=256, plain_images=64, rounds=5),
)


# ---------------------------------------------------------------------------------------------------------------
# Input


def draw_photo(number: int, size: tuple[int, int]) -> Image.Image:
    """Return a photograph, cropped to the aspect ratio, scaled, perhaps mirrored, with a sensor's noise on top."""
    height, width = size
    rng = np.random.default_rng(number)
    path = Path(skimage.__file__).parent / "data" / PHOTOS[number % len(PHOTOS)]
    picture = Image.open(path).convert("RGB")
    scale = min(picture.width / width, picture.height / height) * rng.uniform(0.7, 1)
    left, top = (
        rng.uniform(0, full - part * scale)
        for full, part in ((picture.width, width), (picture.height, height))
    )
    box = (left, top, left + width * scale, top + height * scale)
    picture = picture.resize((width, height), Image.Resampling.LANCZOS, box)
    if number // len(PHOTOS) % 2:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    noisy = np.asarray(picture) + rng.normal(0, 4, (height, width, 1)) + rng.normal(0, 2, (height, width, 3))
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def encode_photo(number: int, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    draw_photo(number, size).save(stream, "JPEG", quality=90 if size[1] > 1000 else 88)
    return stream.getvalue()


def draw_outline(rng: np.random.Generator, size: tuple[int, int]) -> list[float]:
    """Return a wobbly closed outline as x1, y1, x2, y2, ...: from a thousandth of the image to a quarter of it."""
    height, width = size
    radius = np.sqrt(height * width * np.exp(rng.uniform(np.log(1e-3), np.log(0.25))) / np.pi)
    angle = np.linspace(0, 2 * np.pi, max(12, int(radius)), endpoint=False)
    wobble = sum(
        rng.uniform(0, 0.5 / wave) * np.sin(wave * angle + rng.uniform(0, 6.28)) for wave in range(2, 12)
    )
    reach = radius * (1 + wobble + rng.normal(0, 0.01, angle.size))
    x = rng.uniform(0, width) + reach * np.cos(angle)
    y = rng.uniform(0, height) + reach * np.sin(angle)
    points = np.stack([x.clip(0, width), y.clip(0, height)], axis=1)
    return [float(value) for value in points.round(2).ravel()]


def draw_outlines(number: int, count: int, size: tuple[int, int]) -> list[list[float]]:
    """Return outlines that each cover something."""
    rng = np.random.default_rng(number)
    outlines: list[list[float]] = []
    while len(outlines) < count:
        outline = draw_outline(rng, size)
        if coco_mask.area(coco_mask.merge(coco_mask.frPyObjects([outline], *size))):
            outlines.append(outline)
    return outlines


def make_dataset(root: Path, workload: Workload, images: int) -> None:
    """Write SA-1B pairs with compressed run lengths, or COCO images with polygons, as those datasets have them."""
    size, (height, width) = workload.size, workload.size
    root.mkdir(parents=True)
    folder = root / "images" if workload.source == "coco" else root
    folder.mkdir(exist_ok=True)
    photos = [encode_photo(number, size) for number in range(DISTINCT)]
    files: list[Path] = []
    outlines = [draw_outlines(number, workload.masks, size) for number in range(DISTINCT)]
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(images):
        name = f"sa_{number + 1}" if workload.source == "sa1b" else f"{number + 1:012}"
        if number < DISTINCT:
            files.append(folder / f"{name}.jpg")
            files[number].write_bytes(photos[number])
        else:
            (folder / f"{name}.jpg").hardlink_to(files[number % DISTINCT])
        here: list[dict[str, Any]] = []
        for place, outline in enumerate(outlines[number % DISTINCT]):
            about = {
                "id": (number + 1) * 1000 + place,
                "image_id": number + 1,
                "category_id": 1,
                "iscrowd": 0,
            }
            if workload.source == "coco":
                here.append(about | {"segmentation": [outline]})
            else:
                rle = coco_mask.merge(coco_mask.frPyObjects([outline], height, width))
                counts = rle["counts"].decode()
                here.append(about | {"segmentation": {"size": [height, width], "counts": counts}})
        image = {"image_id": number + 1, "width": width, "height": height, "file_name": f"{name}.jpg"}
        if workload.source == "sa1b":
            (root / f"{name}.json").write_text(json.dumps({"image": image, "annotations": here}))
        entries.append({"id": number + 1, **image})
        annotations += here
    if workload.source == "coco":
        # One file for each number of images: reading the annotations is in proportion, too.
        for count in sorted({images, min(workload.plain_images, images), DISTINCT}):
            kept = [annotation for annotation in annotations if annotation["image_id"] <= count]
            content = {
                "images": entries[:count],
                "annotations": kept,
                "categories": [{"id": 1, "name": "thing"}],
            }
            (root / f"instances_{count}.json").write_text(json.dumps(content))


# ---------------------------------------------------------------------------------------------------------------
# The plain program


@dataclass(frozen=True)
class RawImage:
    key: str
    path: Path
    masks: list[tuple[str, str, dict[str, Any]]]
    """Object id, category and run lengths as pycocotools takes them."""


def read_raw(root: Path, workload: Workload, count: int) -> Iterator[RawImage]:
    """Yield the first `count` images with their annotations, as plainly as can be."""
    if workload.source == "sa1b":
        for number in range(1, count + 1):
            content = json.loads((root / f"sa_{number}.json").read_bytes())
            masks = [(str(one["id"]), "", one["segmentation"]) for one in content["annotations"]]
            yield RawImage(f"sa1b/sa_{number}", root / f"sa_{number}.jpg", masks)
        return
    content = json.loads((root / f"instances_{count}.json").read_bytes())
    names = {category["id"]: category["name"] for category in content["categories"]}
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        by_image.setdefault(annotation["image_id"], []).append(annotation)
    for image in content["images"]:
        size = image["height"], image["width"]
        masks = [
            (
                str(one["id"]),
                names[one["category_id"]],
                coco_mask.merge(coco_mask.frPyObjects(one["segmentation"], *size)),
            )
            for one in by_image[image["id"]]
        ]
        yield RawImage(f"coco/{image['id']}", root / "images" / image["file_name"], masks)


def resize_plainly(image: Image.Image, size: int) -> NDArray[np.uint8]:
    resized = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def sample_plainly(mask: Image.Image, size: int) -> NDArray[np.bool_]:
    return np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)) > 0


def convert_plainly(root: Path, workload: Workload, count: int, out: Path) -> None:
    """Write the arrays of a part as plain files: what one would write first, with Pillow and pycocotools.

    Rows go to one file for each array as they come; compressed mask rows are told apart by `mask_bytes`. Every file is
    synced to the disk at the end, as in a part.
    """
    out.mkdir()
    codec = Zstd(level=ZSTD_LEVEL)
    columns: dict[str, list[Any]] = {}

    def put(name: str, value: object) -> None:
        columns.setdefault(name, []).append(value)

    with (
        (out / "pixel_values").open("wb") as pixel_values,
        (out / "g_pixel_values").open("wb") as g_pixel_values,
        (out / "masks").open("wb") as mask_rows,
    ):
        for number, raw in enumerate(read_raw(root, workload, count)):
            image = Image.open(raw.path).convert("RGB")
            put("scenes/key", raw.key)
            pixel_values.write(resize_plainly(image, SIZES.pixel_values).data)
            g_pixel_values.write(resize_plainly(image, SIZES.g_pixel_values).data)
            put("images/size", (image.height, image.width))
            put("images/scene", number)
            put("images/time", 0)
            put("images/key", raw.key)
            put("images/path", str(raw.path.relative_to(root)))
            for object_id, category, rle in raw.masks:
                mask = Image.fromarray(coco_mask.decode(rle))
                prompt = sample_plainly(mask, SIZES.prompt_masks)
                encoded = codec.encode(sample_plainly(mask, SIZES.masks))
                mask_rows.write(encoded)
                put("mask_bytes", len(encoded))
                put("masks/prompt_masks", prompt)
                put("masks/image", number)
                put("masks/area", int(coco_mask.area(rle)))
                put("masks/prompt_cells", int(prompt.sum()))
                put("masks/object_id", object_id)
                put("masks/category", category)
                put("samples/mask", (len(columns["samples/mask"]) if "samples/mask" in columns else 0,))
        for file in (pixel_values, g_pixel_values, mask_rows):
            file.flush()
            os.fsync(file.fileno())
    for name, values in columns.items():
        with (out / f"{name.replace('/', '-')}.npy").open("wb") as file:
            np.save(file, np.array(values))
            file.flush()
            os.fsync(file.fileno())


def assert_same(store: Path, plain: Path, count: int) -> int:
    """Compare every array of a store of one part with the plain program's; return how many arrays that were."""
    part = zarr.open_group(store / part_name(0), mode="r")
    texts = {f"{table}/{name}" for table, names in TEXT_COLUMNS.items() for name in names}
    expected: dict[str, Any] = {
        "images/pixel_values": np.fromfile(plain / "pixel_values", np.uint8).reshape(count, 3, 448, 448),
        "images/g_pixel_values": np.fromfile(plain / "g_pixel_values", np.uint8).reshape(
            count, 3, 1024, 1024
        ),
    }
    rows = (plain / "masks").read_bytes()
    ends = np.cumsum(np.load(plain / "mask_bytes.npy"))
    decoded = [
        np.frombuffer(Zstd().decode(rows[start:end]), np.bool_).reshape(1024, 1024)
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]
    expected["masks/masks"] = decoded
    for path in plain.glob("*-*.npy"):
        name = path.stem.replace("-", "/")
        values = np.load(path)
        if name in texts:
            encoded = [text.encode() for text in values]
            expected[f"{name}_bytes"] = np.frombuffer(b"".join(encoded), np.uint8)
            expected[f"{name}_offsets"] = np.cumsum([0, *map(len, encoded)])
        else:
            expected[name] = values
    for spec in array_specs(SIZES, 1):
        array = part[spec.path]
        assert isinstance(array, zarr.Array)
        if spec.table == "expressions":
            # Neither dataset has expressions: no rows, and one offset.
            assert array.size == spec.name.endswith("_offsets"), spec.path
            continue
        wanted = expected.pop(spec.path)
        assert array.shape[0] == len(wanted), spec.path
        if spec.row_chunks:
            assert all(np.array_equal(array[row], wanted[row]) for row in range(len(wanted))), spec.path
        else:
            assert np.array_equal(np.asarray(array[:]), wanted), spec.path
    assert not expected, sorted(expected)
    return len(array_specs(SIZES, 1))


# ---------------------------------------------------------------------------------------------------------------
# Timing


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that are done."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@dataclass
class Times:
    """Seconds per item of one thing that is timed, by round."""

    per_item: list[float] = field(default_factory=list)
    cpu_per_item: list[float] = field(default_factory=list)
    """Processor time: what another load on the machine changes least, and waiting for the disk not at all."""

    def add(self, items: int, call: Callable[[], object]) -> None:
        started, cpu = time.perf_counter(), cpu_seconds()
        call()
        self.per_item.append((time.perf_counter() - started) / items)
        self.cpu_per_item.append((cpu_seconds() - cpu) / items)

    @cached_property
    def median(self) -> float:
        return statistics.median(self.per_item)

    @cached_property
    def cpu(self) -> float:
        return statistics.median(self.cpu_per_item)

    def __str__(self) -> str:
        low, high = (1000 * extreme(self.per_item) for extreme in (min, max))
        return f"{1000 * self.median:.1f} ({low:.1f}-{high:.1f}), processor {1000 * self.cpu:.1f}"


def compare(slow: Times, fast: Times) -> str:
    """Return the median of the rounds' ratios, with the extremes."""
    ratios = [a / b for a, b in zip(slow.per_item, fast.per_item, strict=True)]
    of_cpu = f"of processor time {slow.cpu / fast.cpu:.2f}"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}), {of_cpu}"


def median_ratio(slow: Times, fast: Times) -> float:
    return statistics.median(a / b for a, b in zip(slow.per_item, fast.per_item, strict=True))


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


def bench_pipeline(workload: Workload, folder: Path) -> list[tuple[str, float, float]]:
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
        with PartWriter(folder, part, config.recipe, paired=False, engine=engine) as writer:
            writer.start_scene(0, scene.key)
            for record in scene.read(engine.decode_image):
                writer.add(record)
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
    workload: Workload, pythons: dict[str, str], folder: Path, rounds: int, images: int
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
    options = parser.parse_args()
    results: list[tuple[str, float, float]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        print(f"engine: {open_engine('exact-fast').description}; written to {folder.parent}")
        if not options.only_rivals:
            for number, workload in enumerate(WORKLOADS):
                results += bench_pipeline(workload, folder / str(number))
                shutil.rmtree(folder / str(number))
            results += bench_writer(folder / "writer")
            bench_part(folder / "part")
        if options.rivals is not None:
            os.sched_setaffinity(0, set(sorted(ALL_CORES)[:2]))
            pythons = parse_rivals(options.rivals)
            results += bench_rivals(
                WORKLOADS[1], pythons, folder / "large", rounds=options.rounds, images=512
            )
            results += bench_rivals(
                WORKLOADS[3], pythons, folder / "small", rounds=options.rounds, images=1024
            )
    print("\nbars")
    for what, ratio, bar in results:
        print(f"  {'met   ' if ratio >= bar else 'MISSED'} {what:<44}{ratio:>6.2f}  of {bar}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
