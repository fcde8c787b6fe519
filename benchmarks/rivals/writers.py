"""The converters of other projects, for `benchmarks/convert.py --rivals`: one run, in an interpreter that has them.

::

    python benchmarks/convert_rivals.py mds ROOT OUT [--verify]

Converts the images below ROOT, each with its first mask, with two worker processes: decoded and resized by Pillow,
run lengths by pycocotools, as a user of these projects would. Every sample is u8 448, u8 1024, a 16 x 16 prompt mask
and a 1024 x 1024 mask. Prints one line of JSON: seconds, version and, with --verify, a digest of what the dataset holds
when it is read again.

Nothing of this project is imported here: the environments of these projects don't have to hold it.
"""

import argparse
import hashlib
import json
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

WORKERS = 2
SHAPES = {
    "pixel_values": (3, 448, 448),
    "g_pixel_values": (3, 1024, 1024),
    "prompt_masks": (16, 16),
    "masks": (1024, 1024),
}
"""The arrays of a sample, uint8; masks are 0 or 1."""

Sample = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class RawSample:
    """An image file and its mask as it stands in the annotations: run lengths or polygons."""

    image: str
    segmentation: Any
    size: tuple[int, int]


def list_samples(root: Path) -> list[RawSample]:
    """Return one sample for each image of SA-1B pairs, or of the largest COCO instances file."""
    if jsons := sorted(root.glob("sa_*.json")):
        samples = []
        for path in jsons:
            content = json.loads(path.read_bytes())
            image, segmentation = content["image"], content["annotations"][0]["segmentation"]
            size = image["height"], image["width"]
            samples.append(RawSample(str(path.with_suffix(".jpg")), segmentation, size))
        return samples
    content = json.loads(
        max(root.glob("instances_*.json"), key=lambda path: path.stat().st_size).read_bytes()
    )
    first = {one["image_id"]: one["segmentation"] for one in reversed(content["annotations"])}
    return [
        RawSample(str(root / "images" / one["file_name"]), first[one["id"]], (one["height"], one["width"]))
        for one in content["images"]
    ]


def make_sample(raw: RawSample) -> Sample:
    """Make the four arrays with Pillow and pycocotools."""
    image = Image.open(raw.image).convert("RGB")
    rle = raw.segmentation
    if isinstance(rle, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(rle, *raw.size))
    mask = Image.fromarray(coco_mask.decode(rle))
    sample: Sample = {}
    for name, shape in SHAPES.items():
        if len(shape) == 3:
            resized = image.resize(shape[1:], Image.Resampling.BILINEAR)
            sample[name] = np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))
        else:
            sample[name] = np.asarray(mask.resize(shape, Image.Resampling.NEAREST))
    return sample


def digest(samples: Iterable[Sequence[NDArray[Any]]]) -> str:
    """Return a digest of the samples in any order."""
    lines = [
        hashlib.sha256(b"".join(np.asarray(array, np.uint8).tobytes() for array in arrays)).hexdigest()
        for arrays in samples
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that are done."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def stub_torchvision() -> None:
    """Let `import torchvision` pass: streaming asks for it, but writing and reading arrays need nothing of it."""
    import sys
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from unittest.mock import MagicMock

    for name in (
        "torchvision",
        "torchvision.transforms",
        "torchvision.transforms.functional",
        "torchvision.datasets",
    ):
        module = ModuleType(name)
        module.__getattr__ = lambda attribute: MagicMock(name=attribute)
        module.__spec__ = ModuleSpec(name, None)
        sys.modules.setdefault(name, module)
    sys.modules["torchvision.datasets"].VisionDataset = type("VisionDataset", (), {})


# ---------------------------------------------------------------------------------------------------------------
# MosaicML streaming: a writer for each process in a folder of its own, then one index (its guide on parallel writing)


def write_mds_share(samples: list[RawSample], out: str) -> None:
    from streaming import MDSWriter

    columns = {name: f"ndarray:uint8:{','.join(map(str, shape))}" for name, shape in SHAPES.items()}
    with MDSWriter(out=out, columns=columns) as writer:
        for raw in samples:
            writer.write(make_sample(raw))


def write_mds(samples: list[RawSample], out: Path) -> None:
    from streaming.base.util import merge_index

    shares = [samples[place::WORKERS] for place in range(WORKERS)]
    folders = [str(out / str(place)) for place in range(WORKERS)]
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        pool.starmap(write_mds_share, zip(shares, folders, strict=True))
    merge_index([f"{folder}/index.json" for folder in folders], str(out))


def read_mds(out: Path) -> Iterable[Sequence[NDArray[Any]]]:
    from streaming import StreamingDataset

    dataset = StreamingDataset(local=str(out), shuffle=False, batch_size=1)
    for number in range(len(dataset)):
        sample = dataset[number]
        yield [sample[name] for name in SHAPES]


# ---------------------------------------------------------------------------------------------------------------
# LitData


def write_litdata(samples: list[RawSample], out: Path) -> None:
    from litdata import optimize

    optimize(
        fn=make_sample,
        inputs=samples,
        output_dir=str(out),
        chunk_bytes="64MB",
        num_workers=WORKERS,
        verbose=False,
    )


def read_litdata(out: Path) -> Iterable[Sequence[NDArray[Any]]]:
    from litdata import StreamingDataset

    dataset = StreamingDataset(str(out))
    for number in range(len(dataset)):
        sample = dataset[number]
        yield [np.asarray(sample[name]) for name in SHAPES]


# ---------------------------------------------------------------------------------------------------------------
# FFCV


class IndexedSamples:
    """What `from_indexed_dataset` takes."""

    def __init__(self, samples: list[RawSample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], ...]:
        return tuple(make_sample(self._samples[index]).values())


def write_ffcv(samples: list[RawSample], out: Path) -> None:
    from ffcv.fields import NDArrayField
    from ffcv.writer import DatasetWriter

    out.mkdir(parents=True)
    fields = {name: NDArrayField(np.dtype("uint8"), shape) for name, shape in SHAPES.items()}
    writer = DatasetWriter(str(out / "all.beton"), fields, num_workers=WORKERS)
    # By default a worker takes 100 samples at a time: with few hundred of them, one worker would end up waiting.
    writer.from_indexed_dataset(IndexedSamples(samples), chunksize=8)


def read_ffcv(out: Path) -> Iterable[Sequence[NDArray[Any]]]:
    from ffcv.fields.decoders import NDArrayDecoder
    from ffcv.loader import Loader, OrderOption

    pipelines = {name: [NDArrayDecoder()] for name in SHAPES}
    loader = Loader(
        str(out / "all.beton"),
        batch_size=1,
        num_workers=1,
        order=OrderOption.SEQUENTIAL,
        pipelines=pipelines,
    )
    for batch in loader:
        yield [np.array(array[0]) for array in batch]


# ---------------------------------------------------------------------------------------------------------------

Write = Callable[[list[RawSample], Path], None]
Read = Callable[[Path], Iterable[Sequence[NDArray[Any]]]]

RIVALS: dict[str, tuple[str, str, Write, Read]] = {
    "mds": ("mosaicml-streaming", "streaming", write_mds, read_mds),
    "litdata": ("litdata", "litdata", write_litdata, read_litdata),
    "ffcv": ("ffcv", "ffcv", write_ffcv, read_ffcv),
}
"""Distribution, module to import beforehand, how it is written and how it is read."""


def main() -> None:
    from importlib import import_module
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rival", choices=sorted(RIVALS))
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--verify", action="store_true", help="read the dataset again and print its digest")
    options = parser.parse_args()
    distribution, module, write, read = RIVALS[options.rival]
    if options.rival == "mds":
        stub_torchvision()
    # Imports are not timed.
    import_module(module)
    result: dict[str, Any] = {"version": version(distribution)}
    started, cpu = time.perf_counter(), cpu_seconds()
    write(list_samples(options.root), options.out)
    result["seconds"] = time.perf_counter() - started
    for process in multiprocessing.active_children():
        process.join(10)
    result["cpu_seconds"] = cpu_seconds() - cpu
    if options.verify:
        result["digest"] = digest(read(options.out))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
