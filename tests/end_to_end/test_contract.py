"""Section 2 of the design, the contract with the trainer, as assertions for every source."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature.every import WRITERS
from miniature.shapes import picture_of
from naive import NaiveReader
from PIL import Image
from stores import CONFIGS
from torch.utils.data import DataLoader

from resizeonce.loader import SampleDataset, collate
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.sources.registry import SOURCES

DATASET_TYPES = {
    "npz": "sav", "sav": "sav", "sa1b": "sa1b", "openimages": "openimage", "refcoco": "refcoco", "coco": "coco",
    "folders": "folders", "vos": "vos", "mevis": "mevis",
}  # fmt: skip
PAIRED = {"npz", "sav", "vos", "mevis"}
WITH_EXPRESSIONS = {"refcoco", "mevis"}
TENSORS = {
    "pixel_values": ((3, 448, 448), torch.float32),
    "g_pixel_values": ((3, 1024, 1024), torch.uint8),
    "prompt_masks": ((16, 16), torch.float32),
    "masks": ((1024, 1024), torch.float32),
}


@pytest.fixture(scope="module", params=sorted(SOURCES))
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def root(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    WRITERS[source](
        folder / "raw", [picture_of(300, 420, 1), picture_of(512, 340, 2), picture_of(200, 260, 3)]
    )
    convert(load_config(CONFIGS / f"{source}.toml"), folder / "raw", folder / "store.zarr")
    return folder


@pytest.fixture(scope="module")
def batch(root: Path) -> dict[str, Any]:
    dataset = SampleDataset(root / "store.zarr")
    found: dict[str, Any] = next(iter(DataLoader(dataset, batch_size=len(dataset), collate_fn=collate)))
    return found


def test_every_source_is_covered() -> None:
    assert set(WRITERS) == set(SOURCES) == set(DATASET_TYPES)


def test_keys_shapes_and_dtypes(source: str, batch: dict[str, Any]) -> None:
    suffixes = ("1", "2") if source in PAIRED else ("",)
    num_samples = len(batch["key"])
    assert num_samples >= 2
    expected = {
        f"{name}{suffix}": ((num_samples, *shape), dtype)
        for name, (shape, dtype) in TENSORS.items()
        for suffix in suffixes
    }
    expected |= {f"prompt_cells{suffix}": ((num_samples,), torch.int64) for suffix in suffixes}
    found = {key: (tuple(v.shape), v.dtype) for key, v in batch.items() if isinstance(v, torch.Tensor)}
    assert found == expected
    others = {"dataset_type", "has_paired_frame", "key"} | (
        {"expressions"} if source in WITH_EXPRESSIONS else set()
    )
    assert batch.keys() - found.keys() == others


def test_the_values_that_are_of_the_whole_batch(source: str, batch: dict[str, Any]) -> None:
    assert batch["dataset_type"] == DATASET_TYPES[source]
    assert batch["has_paired_frame"] is (source in PAIRED)


def test_keys_are_unique_and_readable(batch: dict[str, Any]) -> None:
    assert len(set(batch["key"])) == len(batch["key"])
    assert all(key.isprintable() and key.count("/") >= 2 for key in batch["key"])


def test_masks_are_exactly_0_or_1_and_never_empty(batch: dict[str, Any]) -> None:
    for key, value in batch.items():
        if key.startswith(("prompt_masks", "masks")):
            assert torch.equal(value == 1, value != 0)
            assert value.min() == 0
            assert value.max() == 1
        if key.startswith("masks"):
            assert (value.flatten(1).sum(1) > 0).all()


def test_prompt_cells_count_the_set_cells(batch: dict[str, Any]) -> None:
    for key in batch:
        if key.startswith("prompt_masks"):
            assert torch.equal(batch[key].flatten(1).sum(1).long(), batch[key.replace("masks", "cells")])


def test_the_448_image_is_normalised_and_the_1024_image_is_not(batch: dict[str, Any]) -> None:
    for key, value in batch.items():
        if key.startswith("pixel_values"):
            assert -2.12 < value.min() < -1
            assert 1 < value.max() < 2.65
        if key.startswith("g_pixel_values"):
            # The founding bug clamped every value below the mean to 0: about half of a picture.
            # By torch: numpy would count eight bytes in the place of each.
            pixels = torch.bincount(value.flatten(), minlength=256).numpy() / value.numel()
            mean = pixels @ np.arange(256)
            assert np.sqrt(pixels @ (np.arange(256) - mean) ** 2) > 20
            assert pixels[0] < 0.1
            assert pixels[1:116].any()


def test_every_image_equals_pillows_own_resize_of_the_original(
    source: str, root: Path, batch: dict[str, Any]
) -> None:
    @cache
    def resized(path: str, key: str) -> tuple[torch.Tensor, torch.Tensor]:
        original = next(NaiveReader(root / "raw", source).images(path, key))
        large, small = (
            torch.from_numpy(np.array(original.resize((size, size), Image.Resampling.BILINEAR)))
            for size in (1024, 448)
        )
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        # 448 pixels from the original, and not from the 1024 image.
        normalised = small.float().div(255).sub(mean).div(std)
        return large.permute(2, 0, 1).contiguous(), normalised.permute(2, 0, 1).contiguous()

    dataset = SampleDataset(root / "store.zarr")
    for number in range(len(dataset)):
        part, masks = dataset.store.locate(number)
        for suffix, mask in zip(dataset.store.suffixes, masks, strict=True):
            image = int(part.column("masks/image")[mask])
            large, normalised = resized(part.text("images/path", image), part.text("images/key", image))
            assert torch.equal(batch[f"g_pixel_values{suffix}"][number], large)
            assert torch.equal(batch[f"pixel_values{suffix}"][number], normalised)


def test_the_first_frame_of_a_pair_is_the_earlier_one(source: str, root: Path) -> None:
    store = SampleDataset(root / "store.zarr").store
    assert store.paired is (source in PAIRED)
    for number in range(len(store)):
        part, masks = store.locate(number)
        images = part.column("masks/image")[masks]
        times = part.column("images/time")[images]
        assert len(times) == (2 if source in PAIRED else 1)
        assert (np.diff(times) > 0).all()
        assert len(set(part.column("images/scene")[images])) == 1
        assert len({part.text("masks/object_id", int(mask)) for mask in masks}) == 1
