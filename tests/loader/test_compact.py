from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature.npz import write_npz_pairs
from miniature.shapes import picture_of
from stores import COMPACT_IMAGES, CONFIGS, USUAL

from resizeonce.loader import BatchLoader, Order, OrderOptions, SampleIndex, Store, to_device
from resizeonce.loader.compact import CompactBatch
from resizeonce.loader.workers.batch_loader import BatchOptions
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def in_order(store: Path) -> Order:
    return Order([SampleIndex(Store(store))], OrderOptions(shuffle=None))


def assert_completed(store: Path, device: str) -> None:
    for compact, plain in zip(
        BatchLoader(in_order(store), 2, 0, options=BatchOptions(compact=True)),
        BatchLoader(in_order(store), 2, 0),
        strict=True,
    ):
        done = to_device(compact, device)
        assert done.keys() == plain.keys()
        for key, value in plain.items():
            if isinstance(value, torch.Tensor):
                assert done[key].device.type == device
                assert done[key].dtype == value.dtype
                assert done[key].cpu().numpy().tobytes() == value.numpy().tobytes(), key
            else:
                assert done[key] == value


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "overrides",
    [
        USUAL,
        ("recipe.pixel_values.stored=float32",),
        COMPACT_IMAGES,
        ("recipe.masks.size=77", "recipe.name=sa2va"),
    ],
)
def test_a_compact_batch_becomes_the_same_bits(
    coco_of: Callable[..., Path], device: str, overrides: tuple[str, ...]
) -> None:
    assert_completed(coco_of(*overrides), device)


@pytest.mark.parametrize("device", DEVICES)
def test_pairs_are_completed_too(tmp_path: Path, device: str) -> None:
    write_npz_pairs(tmp_path / "raw", [(picture_of(60, 90, 1), picture_of(60, 90, 2))])
    convert(load_config(CONFIGS / "npz.toml"), tmp_path / "raw", tmp_path / "pairs.zarr")
    assert_completed(tmp_path / "pairs.zarr", device)


@pytest.mark.parametrize("overrides", [USUAL, ("recipe.masks.size=77", "recipe.name=sa2va")])
def test_without_a_compiled_core_and_on_other_devices_the_bits_are_the_same(
    coco_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    monkeypatch.setattr("resizeonce.loader.compact.CORE", None)
    assert_completed(coco_of(*overrides), "cpu")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_of_the_trainer_changes_nothing(
    coco_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    store = coco_of(*COMPACT_IMAGES)
    torch.set_default_dtype(dtype)
    try:
        assert_completed(store, "cpu")
        monkeypatch.setattr("resizeonce.loader.compact.CORE", None)
        assert_completed(store, "cpu")
    finally:
        torch.set_default_dtype(torch.float32)


def test_all_256_levels_are_those_of_torchvisions_arithmetic() -> None:
    batch = to_device(
        compact_batch(torch.arange(256, dtype=torch.uint8).expand(1, 3, 1, 256).contiguous()), "cpu"
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    levels = torch.arange(256).float().div(255)
    expected = levels[None].sub(mean[:, None]).div(std[:, None])
    assert torch.equal(batch["pixel_values"][0, :, 0], expected)


def compact_batch(pixel_values: torch.Tensor) -> CompactBatch:
    return CompactBatch({"pixel_values": pixel_values})


def test_a_plain_batch_is_only_moved(store: Path) -> None:
    batch = next(iter(BatchLoader(store, 2, 0)))
    moved = to_device(batch, "cpu")
    assert all(torch.equal(moved[k], v) for k, v in batch.items() if isinstance(v, torch.Tensor))


def test_a_compact_sample_is_under_4_mb(coco_of: Callable[..., Path]) -> None:
    batch = next(iter(BatchLoader(coco_of(*USUAL), 2, 0, options=BatchOptions(compact=True))))
    tensors = [v for v in batch.values() if isinstance(v, torch.Tensor)]
    assert sum(v.nbytes for v in tensors) / 2 < 4e6
    assert np.unpackbits(batch["masks"].numpy(), axis=2).shape == (2, 1024, 1024)
