"""The code of docs/augmentation.md, run as it is written: what it draws is the same in every run, and fits together."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from miniature.mevis import write_mevis
from miniature.shapes import picture_of
from PIL import Image
from stores import coco_store
from torch import Tensor
from torch.nn.functional import interpolate

from resizeonce.loader import Batch, BatchLoader, Clip, Objects, Order, OrderOptions, SampleIndex, Store
from resizeonce.preprocess import convert, load_config

PAGE = Path(__file__).parents[2] / "docs" / "augmentation.md"
FUNCTIONS, LOOP, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
"""The others are run by tests/recipes/test_augmentation_blocks.py, where torchvision and kornia are installed."""
SMALL = ["recipe.g_pixel_values.size=64", "recipe.masks.size=64", "recipe.pixel_values.size=32"]


def run(*blocks: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), found)
    return found


CODE = SimpleNamespace(**run(FUNCTIONS))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO store of five images with two objects each, and with boxes."""
    folder = tmp_path_factory.mktemp("augmentation")
    coco_store(folder, "store.boxes=true", *SMALL)
    return folder / "coco.zarr"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    frames = [np.roll(picture_of(40, 60, 1), 4 * time, axis=1) for time in range(5)]
    write_mevis(folder / "raw", [("0a", frames), ("0b", frames[:4])])
    config = load_config("mevis", ["source.take=all", "store.boxes=true", *SMALL])
    convert(config, folder / "raw", folder / "videos.zarr")
    return folder / "videos.zarr"


def loader_of(store: Path, batch_size: int, workers: int, draw: Objects | Clip | None = None) -> BatchLoader:
    index = SampleIndex(Store(store), draw=draw or Objects(at_most=4))
    return BatchLoader(Order([index], OrderOptions(seed=5)), batch_size, workers)


def changed(batches: list[Batch]) -> list[Tensor]:
    """Return what the page makes of some batches, one after the other."""
    made = [CODE.augment(batch) for batch in batches]
    return [torch.cat(kind) for kind in zip(*made, strict=True)]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(*both) for both in zip(first, second, strict=True))


def test_the_loop_of_the_page_runs_as_written(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.parent)
    found = run(FUNCTIONS, LOOP)
    assert found["pictures"].shape == (2, 3, 64, 64)
    assert found["masks"].shape == (4, 64, 64)
    assert found["boxes"].shape == (4, 4)


def test_two_runs_and_one_that_goes_on_elsewhere_are_changed_alike(store: Path) -> None:
    expected = changed(list(loader_of(store, 1, 0)))
    assert same(expected, changed(list(loader_of(store, 1, 2))))

    first = loader_of(store, 2, 2)
    begun = iter(first)
    before = [next(begun)]
    rest = loader_of(store, 3, 1)
    rest.load_state_dict(first.state_dict())
    assert same(expected, changed(before + list(rest)))


def test_another_epoch_changes_the_same_samples_otherwise(store: Path) -> None:
    batches = loader_of(store, 5, 0)
    epochs = [set(batch["seed"].tolist()) for _ in range(2) for batch in batches]
    assert [len(seeds) for seeds in epochs] == [5, 5]
    assert not epochs[0] & epochs[1]


def bounds(mask: Tensor) -> list[float]:
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]


def in_view(batch: Batch, boxes: Tensor) -> Tensor:
    """Return boxes in pixels of a view of 64 x 64 in place of those of the original."""
    owners = torch.repeat_interleave(batch["objects"].diff())
    return boxes / batch["image_sizes"][owners].flip(-1).repeat(1, 2) * 64


def test_masks_and_boxes_move_together(store: Path) -> None:
    (batch,) = loader_of(store, 5, 0)
    _, masks, boxes = CODE.augment(batch)
    assert set(masks.unique().tolist()) == {0, 1}
    for mask, before, box in zip(masks, batch["masks"], in_view(batch, boxes).tolist(), strict=True):
        assert not torch.equal(mask, before)
        left, top, right, bottom = bounds(mask)
        # A pixel of the view may be set though the object only begins within it.
        assert box[0] - 1 <= left < right <= box[2] + 1
        assert box[1] - 1 <= top < bottom <= box[3] + 1


def test_what_comes_from_where_is_what_torch_and_a_flip_by_hand_say() -> None:
    picture = torch.rand(3, 8, 8)
    stay, flip = torch.eye(2, 3), torch.tensor([[-1.0, 0, 0], [0, 1, 0]])
    assert torch.allclose(CODE.warp(picture, stay, "bilinear"), picture, atol=1e-6)
    assert torch.allclose(CODE.warp(picture, flip, "nearest"), picture.flip(-1))
    boxes, size = torch.tensor([[10.0, 5, 30, 20]]), torch.tensor([40, 60])
    assert torch.allclose(CODE.move(boxes, size, stay), boxes, atol=1e-4)
    assert torch.allclose(CODE.move(boxes, size, flip), torch.tensor([[30.0, 5, 50, 20]]), atol=1e-4)
    # A map that takes pixels from further right, by a quarter of the view, moves the picture to the left: 15 of 60 pixels.
    shift = torch.tensor([[1, 0, 0.5], [0, 1, 0]])
    assert torch.allclose(CODE.warp(picture, shift, "nearest")[..., :6], picture[..., 2:])
    assert torch.allclose(CODE.move(boxes, size, shift), torch.tensor([[0.0, 5, 15, 20]]), atol=1e-4)


def test_jitter_without_effect_leaves_a_picture_alone_and_no_colour_is_grey() -> None:
    picture = torch.rand(2, 3, 4, 4)
    assert torch.allclose(CODE.jitter(picture, (1, 1, 1)), picture, atol=1e-6)
    grey = CODE.jitter(picture, (1, 1, 0))
    assert torch.allclose(grey[:, 0], grey[:, 2], atol=1e-6)


def test_all_frames_of_a_clip_have_one_map(videos: Path) -> None:
    (batch,) = loader_of(videos, 2, 0, Clip(frames=3, objects=2))
    pictures, masks, boxes = CODE.augment(batch)
    assert pictures.shape == (2, 3, 3, 64, 64)
    assert masks.shape[1:] == (3, 64, 64)
    assert boxes.shape == (len(masks), 3, 4)
    plane, factors = CODE.draw(batch["seed"][0].item())
    for frame in range(3):
        assert torch.equal(CODE.warp(batch["masks"][0, frame], plane, "nearest"), masks[0, frame])
    alone = [CODE.warp(frame / 255, plane, "bilinear") for frame in batch["g_pixel_values"][0]]
    assert torch.equal(CODE.jitter(torch.stack(alone), factors), pictures[0])


def test_a_flip_goes_with_pillows_filters_and_not_with_torchs_nearest() -> None:
    picture, turned = Image.fromarray(picture_of(211, 307, 1)), Image.Transpose.FLIP_LEFT_RIGHT
    for kind in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST):
        before = np.asarray(picture.transpose(turned).resize((128, 128), kind))
        assert np.array_equal(before, np.asarray(picture.resize((128, 128), kind))[:, ::-1])
    mask = torch.from_numpy(np.asarray(picture)[..., 0] > 127).float()[None, None]
    before = interpolate(mask.flip(-1), (128, 128))
    assert not torch.equal(before, interpolate(mask, (128, 128)).flip(-1))
