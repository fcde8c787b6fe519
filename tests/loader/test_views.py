"""Views of other names, shapes, fits and numbers than the default recipe's, from the raw files to every kind of batch.

The oracle is Pillow's resize of the whole picture, pasted or cut, and torch's arithmetic, step by step.
"""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from damage import parts_of, read_array, rewrite
from miniature.coco import write_coco
from miniature.shapes import picture_of
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from torch.utils.data import DataLoader

from resizeonce.loader import (
    BatchLoader,
    Order,
    OrderOptions,
    SampleDataset,
    SampleError,
    SampleIndex,
    Store,
    collate,
    to_device,
)
from resizeonce.loader.workers.batch_loader import BatchOptions
from resizeonce.preprocess.config import Config, parse_config
from resizeonce.preprocess.run.convert import convert

SIZES = [(333, 500), (90, 70), (64, 64)]

CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
SAM = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "scale": 1}

RECIPE: dict[str, Any] = {
    "name": "custom",
    "eye": {"kind": "image", "size": 42, "fit": "crop", "filter": "bicubic", **CLIP},
    "wide": {"kind": "image", "size": [30, 50], "values": "uint8", "filter": "lanczos"},
    "sam": {"kind": "image", "size": 61, "fit": "pad", **SAM},
    "square": {"kind": "image", "size": 40, "fit": "pad-first", "pad": [122, 116, 104], "mean": [0.5] * 3, "std": [0.5] * 3},
    "cells": {"kind": "mask", "over": "eye", "size": 7, "role": "prompt", "filter": "touch"},
    "target": {"kind": "mask", "over": "sam", "size": 61},
    "flat": {"kind": "mask", "over": "wide", "size": [30, 50], "filter": "torch-nearest"},
}  # fmt: skip


def config_of(stored: Literal["uint8", "compact", "float32"]) -> Config:
    """Return the config in which each image that may be is stored so."""
    recipe = {
        name: view | {"stored": stored}
        if isinstance(view, dict)
        and view["kind"] == "image"
        and (stored != "float32" or view.get("values") != "uint8")
        else view
        for name, view in RECIPE.items()
    }
    source = {"name": "coco", "annotations": "annotations/instances_train2017.json", "images": "train2017"}
    return parse_config({"source": source, "recipe": recipe, "store": {"scenes_per_part": 2}})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_coco(folder / "coco", [picture_of(*size, seed) for seed, size in enumerate(SIZES)])
    return folder / "coco"


@pytest.fixture(scope="module", params=["uint8", "compact", "float32"])
def store(request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of six masks of three pictures."""
    out = tmp_path_factory.mktemp(request.param) / "views.zarr"
    convert(config_of(request.param), root, out)
    return out


def normalized(levels: NDArray[np.uint8], norm: dict[str, Any]) -> torch.Tensor:
    values = torch.from_numpy(levels.copy()).permute(2, 0, 1).float().div(norm.get("scale", 255))
    mean, std = (torch.tensor(norm[name])[:, None, None] for name in ("mean", "std"))
    return values.sub(mean).div(std)


def padded(image: Image.Image) -> tuple[Image.Image, tuple[int, int]]:
    """Return the longer side at 61, as ResizeLongestSide rounds, and (height, width)."""
    scale = 61 / max(image.size)
    width, height = (int(side * scale + 0.5) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR), (height, width)


def clip_crop(image: Image.Image, kernel: Image.Resampling) -> Image.Image:
    """Return the shorter side at 42, and of the longer the middle."""
    short, long = sorted(image.size)
    other = int(42 * long / short)
    resized = image.resize((42, other) if image.width == short else (other, 42), kernel)
    left, top = (resized.width - 42) // 2, (resized.height - 42) // 2
    return resized.crop((left, top, left + 42, top + 42))


def expected_images(path: Path) -> dict[str, torch.Tensor]:
    image = Image.open(path).convert("RGB")
    small, (height, width) = padded(image)
    sam = torch.zeros(3, 61, 61)
    sam[:, :height, :width] = normalized(np.asarray(small), SAM)
    side = max(image.size)
    canvas = Image.new("RGB", (side, side), (122, 116, 104))
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    half = {"mean": [0.5] * 3, "std": [0.5] * 3}
    wide = image.resize((50, 30), Image.Resampling.LANCZOS)
    return {
        "eye": normalized(np.asarray(clip_crop(image, Image.Resampling.BICUBIC)), CLIP),
        "wide": torch.from_numpy(np.asarray(wide).copy()).permute(2, 0, 1),
        "sam": sam,
        "square": normalized(np.asarray(canvas.resize((40, 40), Image.Resampling.BILINEAR)), half),
        "sam_sizes": torch.tensor([height, width]),
    }


def expected_masks(mask: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
    picture = Image.fromarray(mask * 255)
    scale = 61 / max(picture.size)
    width, height = (int(side * scale + 0.5) for side in picture.size)
    target = torch.zeros(61, 61)
    target[:height, :width] = torch.from_numpy(
        np.asarray(picture.resize((width, height), Image.Resampling.NEAREST)) == 255
    )
    values = torch.from_numpy(mask)[None, None].float()
    flat = torch.nn.functional.interpolate(values, (30, 50), mode="nearest")[0, 0]
    return {"target": target, "flat": flat}


@pytest.fixture(scope="module")
def expected(root: Path) -> list[dict[str, torch.Tensor]]:
    """What each sample is, in the order of the store: by image, then by annotation."""
    coco = COCO(root / "annotations" / "instances_train2017.json")
    samples = []
    for image in coco.loadImgs(sorted(coco.getImgIds())):
        views = expected_images(root / "train2017" / image["file_name"])
        annotations = coco.loadAnns(coco.getAnnIds(image["id"], iscrowd=False))
        samples += [views | expected_masks(coco.annToMask(annotation)) for annotation in annotations]
    return samples


def assert_as_expected(batch: dict[str, Any], first: int, expected: list[dict[str, torch.Tensor]]) -> None:
    for place, sample in enumerate(expected[first : first + len(batch["key"])]):
        for key, value in sample.items():
            found = torch.as_tensor(batch[key][place])
            assert found.shape == value.shape
            assert found.dtype == value.dtype
            assert found.numpy().tobytes() == value.numpy().tobytes(), (batch["key"][place], key)


def in_order(store: Path) -> Order:
    return Order([SampleIndex(Store(store))], OrderOptions(shuffle=None))


def batches_of_loader(workers: int, mode: Literal["process", "thread"]) -> Callable[[Path], Iterator[Any]]:
    options = BatchOptions(mode=mode)
    return lambda store: iter(BatchLoader(in_order(store), 2, workers, options=options))


def completed_batches(store: Path) -> Iterator[Any]:
    for batch in BatchLoader(in_order(store), 2, 1, options=BatchOptions(compact=True)):
        assert batch["eye"].dtype in (torch.uint8, torch.float32)
        assert batch["target"].shape[1:] == (61, 8)
        yield to_device(batch, "cpu")


READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    "Store.batch": lambda store: iter([Store(store).batch(range(6))]),
    "one sample": lambda store: iter([collate([SampleDataset(store)[number] for number in range(6)])]),
    "DataLoader": lambda store: iter(DataLoader(SampleDataset(store), 2, num_workers=1, collate_fn=collate)),
    "in this thread": batches_of_loader(0, "thread"),
    "threads": batches_of_loader(2, "thread"),
    "processes": batches_of_loader(2, "process"),
    "compact": completed_batches,
}


@pytest.mark.parametrize("reader", READERS)
def test_every_view_is_pillows_and_torchs_bit_for_bit(
    store: Path, expected: list[dict[str, torch.Tensor]], reader: str
) -> None:
    count = 0
    for batch in READERS[reader](store):
        assert_as_expected(batch, count, expected)
        count += len(batch["key"])
    assert count == len(expected) == 6


def test_without_a_core_the_bits_are_the_same(
    store: Path, expected: list[dict[str, torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from resizeonce.loader import compact, fill
    from resizeonce.loader.kernels.batch_kernels import fill_rows

    monkeypatch.setattr(fill, "fill_rows", partial(fill_rows, core=None))
    monkeypatch.setattr(compact, "CORE", None)
    assert_as_expected(Store(store).batch(range(6)), 0, expected)
    (batch,) = BatchLoader(in_order(store), 6, 0, options=BatchOptions(compact=True))
    assert_as_expected(to_device(batch, "cpu"), 0, expected)


def test_a_store_of_other_views_is_of_format_version_3_and_lists_them(store: Path) -> None:
    opened = Store(store)
    assert opened.attributes["format_version"] == 3
    listed = opened.attributes["recipe"]["views"]
    assert [view["name"] for view in listed] == [name for name in RECIPE if name != "name"]
    assert listed[0]["mean"] == CLIP["mean"]
    assert listed[2]["scale"] == 1


def test_a_picture_without_pixels_is_an_error_that_names_the_sample(store: Path, tmp_path: Path) -> None:
    forged = Path(shutil.copytree(store, tmp_path / "forged.zarr"))
    part = parts_of(forged)[0]
    for side in (0, -1):
        sizes = read_array(part, "images/size")
        sizes[0, 1] = side
        rewrite(part, "images/size", sizes)
        with pytest.raises(
            SampleError, match=r"sample 0 .*images/size is damaged.*sides of 1 pixel and more"
        ):
            Store(forged)[0]


def test_prompt_cells_count_the_view_with_that_role(store: Path) -> None:
    batch = Store(store).batch(range(6))
    assert batch["prompt_cells"].tolist() == batch["cells"].sum((1, 2)).tolist()
    assert batch["cells"].shape == (6, 7, 7)


def test_views_are_chosen_by_name(store: Path) -> None:
    batch = SampleDataset(store, tensors=["sam"])[:2]
    assert {key for key, value in batch.items() if isinstance(value, torch.Tensor)} == {
        "sam",
        "sam_sizes",
        "prompt_cells",
    }
    with pytest.raises(ValueError, match=r"not pixel_values; what is known"):
        SampleDataset(store, tensors=["pixel_values"])
    with pytest.raises(ValueError, match=r"not boxes; what is known of a sample, as its boxes, comes along"):
        SampleDataset(store, tensors=["sam", "boxes"])


def test_stores_with_other_numbers_are_in_batches_of_their_own(
    store: Path, root: Path, tmp_path: Path
) -> None:
    recipe = RECIPE | {"eye": RECIPE["eye"] | {"mean": [0.5] * 3}}
    other = tmp_path / "other.zarr"
    source = {"name": "coco", "annotations": "annotations/instances_train2017.json", "images": "train2017"}
    convert(parse_config({"source": source, "recipe": recipe}), root, other)
    order = Order([SampleIndex(Store(store)), SampleIndex(Store(other))], OrderOptions())
    assert len(order.mixture.lanes) == 2
