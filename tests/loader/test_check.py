"""The guard of a trainer's first step: every sound batch passes, every mistake is told by its name."""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import MEAN, STD, founding_bug, padded, resized
from miniature.every import WRITERS
from miniature.shapes import ellipse_of, picture_of
from numpy.typing import NDArray
from PIL import Image
from recipe_stores import Original, convert_originals
from stores import CONFIGS, coco_store

from resizeonce.loader import (
    BatchError,
    BatchLoader,
    BatchOptions,
    Clip,
    Objects,
    Order,
    SampleIndex,
    Store,
    check_batch,
)
from resizeonce.loader.batch import SampleDataset
from resizeonce.loader.check_views import view_differences
from resizeonce.loader.format.norms import KNOWN_NORMS
from resizeonce.loader.format.recipe import ImageView, MaskView, Recipe
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert

Batch = dict[str, Any]


def planes(picture: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


@cache
def waves(seed: int) -> NDArray[Any]:
    return picture_of(400, 600, seed)


@cache
def sample(seed: int) -> dict[str, NDArray[Any]]:
    """Return the four tensors of a picture and an ellipse, by plain arithmetic."""
    picture = Image.fromarray(waves(seed))
    mask = Image.fromarray(ellipse_of(400, 600, seed).astype(np.uint8))
    cells, target = (np.asarray(mask.resize((side, side), Image.Resampling.NEAREST)) for side in (16, 1024))
    return {
        "pixel_values": planes((resized(picture, 448).astype(np.float32) / 255 - MEAN) / STD),
        "g_pixel_values": planes(resized(picture)),
        "prompt_masks": cells.astype(np.float32),
        "masks": target.astype(np.float32),
    }


def batch_of(count: int = 2) -> Batch:
    samples = [sample(seed) for seed in range(count)]
    tensors = {name: torch.from_numpy(np.stack([one[name] for one in samples])) for name in samples[0]}
    keys = [f"coco/{number}/1" for number in range(count)]
    return tensors | {"dataset_type": "coco", "has_paired_frame": False, "key": keys}


def paired(batch: Batch) -> Batch:
    tensors = {f"{name}{suffix}": batch[name] for name in list(batch)[:4] for suffix in "12"}
    return tensors | {"dataset_type": "sav", "has_paired_frame": True}


def normalized(values: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.from_numpy(each)[:, None, None] for each in (MEAN, STD))
    return (values.float() / 255 - mean) / std


def remade(make: Callable[[Image.Image], NDArray[np.uint8]]) -> torch.Tensor:
    pictures = [Image.fromarray(waves(seed)) for seed in range(2)]
    return torch.from_numpy(np.stack([planes(make(picture)) for picture in pictures]))


def test_sound_batch_passes_as_torch_and_as_numpy() -> None:
    batch = batch_of()
    check_batch(batch)
    check_batch({name: value.numpy() if hasattr(value, "numpy") else value for name, value in batch.items()})


def test_sound_pairs_pass() -> None:
    check_batch(paired(batch_of()))


def test_batch_without_the_segmenters_tensors_passes() -> None:
    batch = batch_of()
    del batch["g_pixel_values"], batch["masks"]
    check_batch(batch)


MISTAKES: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "founding bug": (
        lambda _: {"g_pixel_values": remade(founding_bug)},
        "g_pixel_values is the normalised image times 255, clamped",
    ),
    "normalised segmenter image": (
        lambda b: {"g_pixel_values": normalized(b["g_pixel_values"])},
        "g_pixel_values is float32, expected uint8: was it normalised",
    ),
    "segmenter image in 0..1": (
        lambda b: {"g_pixel_values": (b["g_pixel_values"] / 255).to(torch.uint8)},
        "g_pixel_values are all in 0..",
    ),
    "image not normalised": (
        lambda b: {"pixel_values": ((b["pixel_values"] * 0.226 + 0.45) * 255).clamp(0, 255)},
        "pixel_values are 0..255.*not normalised",
    ),
    "image in 0..1": (
        lambda b: {"pixel_values": b["pixel_values"] * torch.from_numpy(STD)[:, None, None]
                   + torch.from_numpy(MEAN)[:, None, None]},
        "pixel_values is in 0..1, not normalised",
    ),
    "image normalised twice": (
        lambda b: {"pixel_values": normalized(b["pixel_values"])},
        "pixel_values are .*normalised twice",
    ),
    "not finite": (lambda b: {"pixel_values": b["pixel_values"] * torch.nan}, "not finite"),
    "BGR": (lambda b: {"g_pixel_values": b["g_pixel_values"].flip(1)}, "BGR"),
    "transposed image": (lambda b: {"g_pixel_values": b["g_pixel_values"].mT}, "images is transposed"),
    "mirrored image": (lambda b: {"pixel_values": b["pixel_values"].flip(3)}, "mirrored"),
    "padded image": (lambda _: {"g_pixel_values": remade(padded)}, "do not show the same picture.*padded"),
    "shuffled images": (lambda b: {"g_pixel_values": b["g_pixel_values"].flip(0)}, "same picture.*shuffled"),
    "mask by 1/255": (lambda b: {"masks": b["masks"] / 255}, "masks hold 0.00392.*scaled by 1/255"),
    "mask not divided": (lambda b: {"masks": b["masks"] * 255}, "masks hold 255: not divided"),
    "soft mask": (
        lambda b: {"masks": torch.nn.functional.avg_pool2d(b["masks"], 5, 1, 2)},
        "masks hold .*soft",
    ),
    "soft prompt": (lambda b: {"prompt_masks": b["prompt_masks"] * 0.5 + 0.25}, "prompt_masks hold .*soft"),
    "transposed mask": (lambda b: {"masks": b["masks"].mT}, "masks shows nothing: one of the two is transposed"),
    "mask of another object": (lambda b: {"masks": b["masks"].flip(2)}, "of different objects"),
    "bool masks": (lambda b: {"masks": b["masks"] > 0}, "masks is bool, expected float32"),
    "half precision": (lambda b: {"pixel_values": b["pixel_values"].half()}, "cast after the check"),
    "uint8 image": (lambda b: {"pixel_values": b["g_pixel_values"]}, "pixel_values is uint8.*not normalised"),
    "channels last": (
        lambda b: {"g_pixel_values": b["g_pixel_values"].permute(0, 2, 3, 1)},
        "g_pixel_values has shape .*channels are last|expected",
    ),
    "oblong image": (lambda b: {"pixel_values": b["pixel_values"][..., :300]}, "pixel_values has shape"),
    "other counts": (lambda b: {"masks": b["masks"][:1]}, "different numbers of samples"),
    "unknown dataset": (lambda _: {"dataset_type": "image net"}, "dataset_type is 'image net'"),
    "paired without numbers": (lambda _: {"has_paired_frame": True}, "as masks1 and masks2"),
    "flags for each sample": (lambda _: {"has_paired_frame": [False, False]}, "for the whole batch"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_told_by_its_name(mistake: str) -> None:
    batch = batch_of()
    change, says = MISTAKES[mistake]
    with pytest.raises(BatchError, match=says):
        check_batch(batch | change(batch))


def test_error_names_sample_key_and_frame() -> None:
    batch = batch_of()
    batch["masks"][1] *= 0.5
    with pytest.raises(BatchError, match=r"sample 1 \(coco/1/1\): masks"):
        check_batch(batch)
    pairs = paired(batch_of())
    pairs["masks2"] = pairs["masks2"] * 2
    with pytest.raises(BatchError, match="sample 0, frame 2: masks"):
        check_batch(pairs)


def test_missing_key_is_named() -> None:
    batch = batch_of()
    del batch["has_paired_frame"]
    with pytest.raises(BatchError, match="has no 'has_paired_frame'"):
        check_batch(batch)


def test_flat_dark_picture_passes() -> None:
    batch = batch_of(1)
    batch["g_pixel_values"][:] = 2
    batch["pixel_values"][:] = normalized(torch.full((1, 3, 448, 448), 2, dtype=torch.uint8))
    check_batch(batch)


@pytest.mark.parametrize("sizes", [(28, 64, 4, 64), (450, 1000, 15, 999), (56, 30, 16, 20)])
def test_other_sizes_pass(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    names = ("pixel_values", "g_pixel_values", "prompt_masks", "masks")
    overrides = [f"recipe.{name}.size={size}" for name, size in zip(names, sizes, strict=True)]
    WRITERS["coco"](tmp_path / "coco", [picture_of(90, 120, seed) for seed in range(2)])
    config = load_config(CONFIGS / "coco.toml", overrides)
    convert(config, tmp_path / "coco", tmp_path / "x.zarr", RunOptions(engine="pillow"))
    check_batch(SampleDataset(tmp_path / "x.zarr").__getitems__([0, 1, 2, 3]))


@pytest.mark.parametrize("name", ["coco", "refcoco", "sav"])
def test_real_samples_pass(shared_data: Path, tmp_path: Path, name: str) -> None:
    overrides = [
        "source.annotations=annotations/instances_val2017.json",
        "source.images=val2017",
    ]
    config = load_config(CONFIGS / f"{name}.toml", overrides if name == "coco" else ())
    convert(config, shared_data / name, tmp_path / "x.zarr", RunOptions(limit=40))
    dataset = SampleDataset(tmp_path / "x.zarr")
    for first in range(0, len(dataset), 8):
        check_batch(dataset.__getitems__(list(range(first, min(first + 8, len(dataset))))))


TINY_SIZES = [(20, 30), (30, 20), (14, 49), (8, 8), (1, 3), (16, 16), *[(28, 28)] * 3]


def tiny_originals(kind: str) -> list[Original]:
    found = []
    for seed, (height, width) in enumerate(TINY_SIZES):
        rng = np.random.default_rng(seed)
        noise = rng.integers(0, 256, (height, width, 3), np.uint8)
        picture = picture_of(height, width, seed) if kind == "waves" else noise
        found.append((picture, ellipse_of(height, width, seed) | (rng.random((height, width)) < 0.1)))
    return found


TINY_RECIPES = {
    "default": ("recipe.name=default",),
    "lisa": ("recipe.name=lisa",),
    "small": (
        'recipe.pixel_values={kind="image", size=28, fit="crop", filter="bicubic"}',
        'recipe.g_pixel_values={kind="image", size=64, fit="pad", values="uint8"}',
        'recipe.masks={kind="mask", over="g_pixel_values", size=64}',
    ),
}


@pytest.fixture(scope="module", params=TINY_RECIPES)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """Stores of a recipe with boxes, and so with sizes, of originals of a few pixels: waves, and noise."""
    folder = tmp_path_factory.mktemp("tiny")
    return {
        kind: Store(
            convert_originals(
                folder / kind, tiny_originals(kind), *TINY_RECIPES[request.param], "store.boxes=true"
            )
        )
        for kind in ("waves", "noise")
    }


@pytest.mark.parametrize("kind", ["waves", "noise"])
def test_originals_of_a_few_pixels_give_no_alarm(tiny: dict[str, Store], kind: str) -> None:
    check_batch(SampleDataset(tiny[kind])[:], tiny[kind].recipe)


def test_what_is_wrong_with_originals_of_a_few_pixels_is_told(tiny: dict[str, Store]) -> None:
    store = tiny["waves"]
    for number in (0, 1):
        batch = SampleDataset(store)[[number]]
        large, small = batch["g_pixel_values"], batch["pixel_values"]
        other = SampleDataset(store)[[1 - number]]
        wrong: dict[str, Batch] = {
            "BGR order": {"g_pixel_values": large.flip(1)},
            "do not show the same picture": {"pixel_values": other["pixel_values"]},
            "is mirrored": {"pixel_values": small.flip(3)},
        }
        for says, changed in wrong.items():
            with pytest.raises(BatchError, match=says):
                check_batch(batch | changed, store.recipe)


CLIP = KNOWN_NORMS["CLIP's"]
LISA = Recipe(
    name="custom",
    views={
        "pixel_values": ImageView(
            size=(224, 224), fit="crop", filter="bicubic", mean=CLIP.mean, std=CLIP.std
        ),
        "g_pixel_values": ImageView(
            size=(512, 384), fit="pad", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), scale=1
        ),
        "prompt_masks": MaskView(over="pixel_values", size=(16, 16), role="prompt"),
        "masks": MaskView(over="g_pixel_values", size=(256, 192)),
    },
)
"""A crop beside a padded view that is no square; for a picture of 400 x 600 that shows 256 x 384 pixels."""

LISA_SEEDS = (3, 14)
"""Of ellipses that are large enough for a prompt of another geometry to show."""


def clip_normalized(picture: NDArray[Any]) -> NDArray[Any]:
    return planes((picture.astype(np.float32) / 255 - np.float32(CLIP.mean)) / np.float32(CLIP.std))


@cache
def lisa_sample(seed: int) -> dict[str, NDArray[Any]]:
    """Return the four views of a picture and an ellipse, by Pillow and plain arithmetic."""
    picture = Image.fromarray(waves(seed))
    mask = Image.fromarray(ellipse_of(400, 600, seed).astype(np.uint8))
    crop = (56, 0, 280, 224)
    small = picture.resize((336, 224), Image.Resampling.BICUBIC).crop(crop)
    large = np.asarray(picture.resize((384, 256), Image.Resampling.BILINEAR), np.float32)
    mean, std = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
    padded_image = np.zeros((512, 384, 3), np.float32)
    padded_image[:256] = (large - mean) / std
    target = np.zeros((256, 192), np.float32)
    target[:128] = np.asarray(mask.resize((192, 128), Image.Resampling.NEAREST))
    cells = np.asarray(mask.resize((336, 224), Image.Resampling.NEAREST).crop(crop))[7::14, 7::14]
    return {
        "pixel_values": clip_normalized(np.asarray(small)),
        "g_pixel_values": planes(padded_image),
        "prompt_masks": cells.astype(np.float32),
        "masks": target,
        "g_pixel_values_sizes": np.array([256, 384]),
    }


def lisa_batch() -> Batch:
    samples = [lisa_sample(seed) for seed in LISA_SEEDS]
    tensors = {name: torch.from_numpy(np.stack([one[name] for one in samples])) for name in samples[0]}
    return tensors | {"dataset_type": "coco", "has_paired_frame": False}


def lisa_remade(make: Callable[[Image.Image], NDArray[Any]]) -> torch.Tensor:
    pictures = [Image.fromarray(waves(seed)) for seed in LISA_SEEDS]
    return torch.from_numpy(np.stack([make(picture) for picture in pictures]))


def test_sound_batch_of_another_recipe_passes() -> None:
    check_batch(lisa_batch(), LISA)
    paired_batch = {f"{key}{suffix}": value for key, value in lisa_batch().items() for suffix in "12"}
    del paired_batch["dataset_type1"], paired_batch["dataset_type2"]
    del paired_batch["has_paired_frame1"], paired_batch["has_paired_frame2"]
    check_batch(paired_batch | {"dataset_type": "sav", "has_paired_frame": True}, LISA)


def squashed(picture: Image.Image) -> NDArray[Any]:
    return clip_normalized(np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC)))


def cropped_left(picture: Image.Image) -> NDArray[Any]:
    resized_picture = picture.resize((336, 224), Image.Resampling.BICUBIC)
    return clip_normalized(np.asarray(resized_picture)[:, :224])


LISA_MISTAKES: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "squashed where cropped": (
        lambda _: {"pixel_values": lisa_remade(squashed)},
        "pixel_values is squashed, not cropped in the middle",
    ),
    "cropped at the left": (
        lambda _: {"pixel_values": lisa_remade(cropped_left)},
        "pixel_values is cropped at the top left, not cropped in the middle",
    ),
    "padded on the other side": (
        lambda b: {"g_pixel_values": b["g_pixel_values"].roll(256, 2)},
        "g_pixel_values has other values than its padding.*not padded below",
    ),
    "padded before normalising": (
        lambda b: {"g_pixel_values": torch.where(b["g_pixel_values"] == 0, -2.0, b["g_pixel_values"])},
        "g_pixel_values has other values than its padding, .0.0, 0.0, 0.0.",
    ),
    "mask of another geometry": (
        lambda b: {"masks": torch.nn.functional.interpolate(b["masks"][:, None, :128], (256, 192))[:, 0]},
        "masks is set beside the picture: it does not lie over g_pixel_values, which is padded below",
    ),
    "prompt not cropped": (
        lambda b: {"prompt_masks": b["masks"][:, 4:128:8, 6::12]},
        "prompt_masks leaves out .* cells that masks covers: they are of different geometries",
    ),
    "ImageNet's mean and std": (
        lambda b: {"pixel_values": normalized((b["pixel_values"] * torch.tensor(CLIP.std)[:, None, None]
                   + torch.tensor(CLIP.mean)[:, None, None]) .mul(255).round().to(torch.uint8))},
        "pixel_values is normalised with ImageNet's mean and std",
    ),
    "square where oblong": (
        lambda b: {"g_pixel_values": b["g_pixel_values"][:, :, :384]},
        "g_pixel_values has shape .*, expected .B, 3, 512, 384.",
    ),
    "no sizes": (lambda _: {"g_pixel_values_sizes": torch.zeros(0)}, "g_pixel_values_sizes is missing, or not"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", LISA_MISTAKES)
def test_mistake_in_another_recipe_is_told_by_its_name(mistake: str) -> None:
    change, says = LISA_MISTAKES[mistake]
    batch = lisa_batch()
    with pytest.raises(BatchError, match=says):
        check_batch(batch | change(batch), LISA)


def test_other_mean_and_std_are_told_in_the_default_recipe() -> None:
    batch = batch_of()
    levels = remade(lambda picture: resized(picture, 448)).float()
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (CLIP.mean, CLIP.std))
    batch["pixel_values"] = (levels / 255 - mean) / std
    with pytest.raises(BatchError, match=r"pixel_values is normalised with CLIP's mean and std"):
        check_batch(batch)


def test_masks_at_their_own_size_are_bools() -> None:
    views = {"picture": ImageView(size=(64, 64)), "masks": MaskView(over="picture", size="own")}
    recipe = Recipe(name="custom", views=views)
    levels = torch.from_numpy(planes(resized(Image.fromarray(picture_of(90, 60, 1)), 64)))
    rest = {"picture": normalized(levels)[None], "dataset_type": "coco", "has_paired_frame": False}
    check_batch(rest | {"masks": [torch.zeros(90, 60, dtype=torch.bool)]}, recipe)
    for masks in ([torch.zeros(90, 60)], torch.zeros(1, 90, 60, dtype=torch.bool)):
        with pytest.raises(BatchError, match=r"masks .*expected a list of bool"):
            check_batch(rest | {"masks": masks}, recipe)


def test_compact_batch_is_said_to_be_compact(tmp_path: Path) -> None:
    store = coco_store(tmp_path, engine="pillow").store
    batch = next(iter(BatchLoader(store, 2, 0, options=BatchOptions(compact=True))))
    with pytest.raises(BatchError, match=r"the batch is compact: .*to_device"):
        check_batch(batch)


def test_batch_of_8_takes_milliseconds() -> None:
    batch = batch_of(8)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        check_batch(batch)
        seconds.append(time.perf_counter() - started)
    # Measured: 3 to 6 ms; the bound leaves room for a busy machine.
    assert min(seconds) < 0.05


def drawn_batch() -> Batch:
    """Two pictures, of which the first has two objects."""
    batch = batch_of()
    masks = {name: batch[name][[0, 0, 1]] for name in ("prompt_masks", "masks")}
    ids = {"objects": torch.tensor([0, 2, 3]), "object_ids": ["1", "2", "1"]}
    return batch | masks | ids


def clip_batch() -> Batch:
    """Three clips of two frames; the first has two objects, and the second of those is in its first frame only."""
    frames = batch_of(3)
    places = torch.tensor([[0, 1], [2, 0], [1, 1]])
    images = {name: frames[name][places] for name in ("pixel_values", "g_pixel_values")}
    masks = {name: frames[name][places[[0, 0, 1, 2]]] for name in ("prompt_masks", "masks")}
    visible = torch.ones((4, 2), dtype=torch.bool)
    visible[1, 1] = False
    for mask in masks.values():
        mask[1, 1] = 0
    cells = masks["prompt_masks"].sum((2, 3)).long()
    ids = {"objects": torch.tensor([0, 2, 3, 4]), "times": places, "visible": visible, "prompt_cells": cells}
    return {**images, **masks, **ids, "dataset_type": "sav", "has_paired_frame": False}


def one_changed(tensor: torch.Tensor, place: tuple[int, ...], value: Any) -> torch.Tensor:
    changed = tensor.clone()
    changed[place] = value
    return changed


def test_sound_drawn_batches_pass() -> None:
    for batch in (drawn_batch(), clip_batch()):
        check_batch(batch)
        for left_out in (("masks", "prompt_masks"), ("pixel_values", "g_pixel_values")):
            check_batch({key: value for key, value in batch.items() if key not in left_out})


DRAWN_MISTAKES: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "soft mask": (
        lambda b: {"masks": one_changed(b["masks"], (1,), b["masks"][1] * 0.5)},
        r"sample 0 \(coco/0/1\), object 1: masks hold 0.5",
    ),
    "mask of another object": (
        lambda b: {"masks": one_changed(b["masks"], (1,), b["masks"][2])},
        r"sample 0 \(coco/0/1\), object 1: prompt_masks has .* of different objects",
    ),
    "images of others": (lambda b: {"pixel_values": b["pixel_values"].flip(0)}, "sample 0.*the same picture"),
    "does not begin at 0": (lambda _: {"objects": torch.tensor([1, 2, 3])}, "objects is .*ascends from 0"),
    "descends": (lambda _: {"objects": torch.tensor([0, 4, 3])}, "objects is .*ascends from 0"),
    "int32": (lambda b: {"objects": b["objects"].int()}, "objects is int32"),
    "ends elsewhere": (lambda _: {"objects": torch.tensor([0, 2, 4])}, "masks has 3 rows, and objects ends at 4"),
    "of more samples": (lambda _: {"objects": torch.tensor([0, 2, 2, 3])}, "has 2 samples, and objects .* of 3"),
    "fewer masks": (lambda b: {"masks": b["masks"][:2]}, "different numbers of objects"),
    "fewer images": (lambda b: {"pixel_values": b["pixel_values"][:1]}, "different numbers of samples"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", DRAWN_MISTAKES)
def test_mistake_in_a_drawn_batch_is_told_by_its_name(mistake: str) -> None:
    change, says = DRAWN_MISTAKES[mistake]
    batch = drawn_batch()
    with pytest.raises(BatchError, match=says):
        check_batch(batch | change(batch))


CLIP_MISTAKES: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "frames in another order": (
        lambda b: {"g_pixel_values": b["g_pixel_values"].flip(1)},
        "sample 0, frame 0: .* do not show the same picture",
    ),
    "mask of another frame": (
        lambda b: {"masks": one_changed(b["masks"], (2,), b["masks"][2].flip(0))},
        "sample 1, frame 0, object 0: prompt_masks has .* of different objects",
    ),
    "mask where nobody is": (
        lambda b: {"masks": one_changed(b["masks"], (1, 1), 1)},
        "masks: object row 1 is in frame 1, where visible says that it is not",
    ),
    "cells where nobody is": (
        lambda b: {"prompt_cells": one_changed(b["prompt_cells"], (1, 1), 3)},
        "prompt_cells: object row 1 is in frame 1",
    ),
    "no visible": (lambda b: {"visible": b["visible"][:3]}, "visible is missing, or not bool of shape .4, 2."),
    "visible as numbers": (lambda b: {"visible": b["visible"].int()}, "visible is missing, or not bool"),
    "frames of images alone": (
        lambda b: {"masks": b["masks"][:, 0]},
        r"masks has shape \(4, 1024, 1024\), expected \(B, 2, S, S\)",
    ),
    "fewer frames": (
        lambda b: {"pixel_values": b["pixel_values"][:, :1]},
        r"pixel_values has shape .*expected \(B, 2, 3, S, S\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", CLIP_MISTAKES)
def test_mistake_in_a_clip_is_told_by_its_name(mistake: str) -> None:
    change, says = CLIP_MISTAKES[mistake]
    batch = clip_batch()
    with pytest.raises(BatchError, match=says):
        check_batch(batch | change(batch))


def test_clip_shows_its_padding_in_each_frame() -> None:
    one = lisa_batch()
    clip: Batch = {
        key: value[:, None] if isinstance(value, torch.Tensor) else value for key, value in one.items()
    }
    clip |= {"objects": torch.tensor([0, 1, 2]), "times": torch.tensor([[0], [7]])}
    clip["visible"] = torch.ones((2, 1), dtype=torch.bool)
    check_batch(clip, LISA)
    with pytest.raises(
        BatchError, match="sample 0, frame 0: g_pixel_values has other values than its padding"
    ):
        check_batch(clip | {"g_pixel_values_sizes": clip["g_pixel_values_sizes"] - 8}, LISA)


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("store", Objects(at_most=5)),
        ("whole", Objects(at_most=5)),
        ("videos", Clip(frames=3, objects=3, visible="any")),
    ],
)
def test_drawn_batches_of_a_store_pass(
    request: pytest.FixtureRequest, name: str, draw: Objects | Clip
) -> None:
    store = Store(request.getfixturevalue(name))
    for batch in BatchLoader(Order([SampleIndex(store, draw=draw)]), 2, 0):
        check_batch(batch, store.recipe)


def dark_batch(*levels: int) -> dict[str, Any]:
    """Return images of one level each, of a recipe that normalizes none."""
    images = torch.stack([torch.full((3, 64, 64), level, dtype=torch.uint8) for level in levels])
    return {"seen": images, "dataset_type": "sav", "has_paired_frame": False, "key": [str(n) for n in levels]}


ONLY_LEVELS = Recipe(name="custom", views={"seen": ImageView(size=(64, 64), values="uint8")})


def test_a_black_frame_among_others_is_no_mistake_where_no_view_is_normalized() -> None:
    check_batch(dark_batch(0, 90), ONLY_LEVELS)
    check_batch(dark_batch(200, 0, 2), ONLY_LEVELS)


@pytest.mark.parametrize("levels", [(0, 0), (0, 1, 1), (3, 2)])
def test_a_batch_that_is_dark_as_a_whole_was_scaled_before_the_cast(levels: tuple[int, ...]) -> None:
    with pytest.raises(BatchError, match=r"scaled to 0\.\.1, before the cast"):
        check_batch(dark_batch(*levels), ONLY_LEVELS)


def test_views_differ_by_the_root_mean_square_of_their_blocks() -> None:
    views = {
        name: ImageView(size=(56, side), values="uint8") for name, side in (("first", 56), ("second", 112))
    }
    recipe = Recipe(name="custom", views=views)
    levels = np.full((2, 3, 56, 56), 100, np.uint8)
    levels[1, :, :28] = 110
    other = np.repeat(levels, 2, axis=3)
    other[1, :, :28] += 20
    batch = {
        "first": levels,
        "second": other,
        "key": ["a", "b"],
        "dataset_type": "coco",
        "has_paired_frame": False,
    }
    # The upper half of the second sample by 20 levels, its lower half by none.
    assert view_differences(batch, recipe) == pytest.approx([0.0, 20 / 2**0.5])
    one_view = {key: value for key, value in batch.items() if key != "second"}
    assert view_differences(one_view, recipe) == [0.0, 0.0]
