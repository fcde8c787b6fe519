"""Each recipe that comes with the package, from raw files to the loader's batch, against what its trainer's packages make.

`make test-recipes` installs those; without them this is skipped, and `test_golden_values.py` holds what they gave.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from golden_recipes import GOLDEN, golden
from PIL import Image
from recipe_stores import SIZES, Original, convert_originals, delivered, originals
from stores import CONFIGS
from torch.nn.functional import interpolate

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.tensors.shipped import RECIPES

released = pytest.importorskip("released", reason="`make test-recipes` installs what it imports")

MORE_SIZES = (*SIZES, (480, 640), (640, 427), (301, 299), (1100, 40), (17, 300), (2250, 1500), (1024, 1024))
"""Tall ones, too: here the trainer's Pillow is the very one that made the store."""

LEVELS = {"sam2": 1, "sam2 of transformers": 1, "sam3 of transformers": 2, "lisa of transformers": 0}
"""How far what is made at inference is from what is made for training, in levels of 0..255: docs/recipes.md says so."""

SAM2 = {
    "steps": "7e70b69da6864e6fdceb8e403d7fb2b401fbc9e4ebd5fe97275b2c598e7239fe",
    "data": "f773363d9ea7574d0aefd70db8b462ab64810b4fefb7b8a6d160a11915c393a4",
    "inference": "ba3a64f4600c62f209206a6df3b40e3fcf133edae32fad658831bb0c2a6d1146",
}
"""SHA-256 of SAM 2's modules in facebookresearch/sam2, 2b90b9f: its package on PyPI is a fork's."""


@pytest.fixture(scope="module")
def pictures() -> list[Original]:
    """Pictures and masks of many sizes."""
    return originals(MORE_SIZES)


def equal(found: Any, expected: torch.Tensor) -> bool:
    return torch.equal(torch.as_tensor(found).float(), expected.float())


def test_every_recipe_has_its_trainer() -> None:
    assert released.TRAINERS.keys() == RECIPES.keys()


def test_the_golden_values_are_what_these_packages_make() -> None:
    assert json.loads(GOLDEN.read_text()) == golden()


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_batch_is_what_the_trainer_makes(recipe: str, pictures: list[Original], tmp_path: Path) -> None:
    store = convert_originals(tmp_path, pictures, f"recipe.name={recipe}")
    samples = delivered(store)
    assert len(samples) == len(pictures)
    for original, sample in zip(pictures, samples, strict=True):
        expected = released.prepare(recipe, *original)
        differing = [name for name, tensor in expected.items() if not equal(sample[name], tensor)]
        assert not differing, original[0].shape


@pytest.mark.parametrize("recipe", RECIPES)
def test_images_stored_as_float32_are_the_trainers_as_they_lie(
    recipe: str, pictures: list[Original], tmp_path: Path
) -> None:
    views = [name for name, view in RECIPES[recipe].images.items() if view.values == "normalized"]
    overrides = [
        f"recipe.name={recipe}",
        *(f"recipe.{name}.stored=float32" for name in views),
    ]
    part = zarr.open_group(convert_originals(tmp_path, pictures[:4], *overrides))["part-00000"]
    for number, original in enumerate(pictures[:4]):
        expected = released.prepare(recipe, *original)
        for name in views:
            stored = np.asarray(part[f"images/{name}"][number])
            np.testing.assert_array_equal(stored, expected[name].numpy())


def test_nearest_of_sa2vas_masks_is_the_target_that_sa2va_takes_of_the_original(
    pictures: list[Original], tmp_path: Path
) -> None:
    store = convert_originals(tmp_path, pictures, "recipe.name=sa2va")
    for (_, mask), sample in zip(pictures, delivered(store), strict=True):
        target = interpolate(sample["masks"][None, None], (256, 256), mode="nearest")[0, 0]
        assert equal(target, released.sa2va_target(torch.from_numpy(mask)))


def test_sam2s_modules_are_those_that_were_released() -> None:
    sources = {name: Path(getattr(released, f"sam2_{name}").__file__).read_bytes() for name in SAM2}
    assert {name: hashlib.sha256(source).hexdigest() for name, source in sources.items()} == SAM2


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
@pytest.mark.parametrize("recipe", ["sam2", "sam3"])
def test_a_file_of_another_mode_is_what_the_trainer_reads(recipe: str, mode: str, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number, (picture, mask) in enumerate(originals()):
        Image.fromarray(picture).convert(mode).save(tmp_path / f"images/{number}.png")
        Image.fromarray(mask.astype(np.uint8) * 9).save(tmp_path / f"masks/{number}.png")
    overrides = ["source.masks=binary", f"recipe.name={recipe}"]
    convert(load_config(CONFIGS / "folders.toml", overrides), tmp_path, tmp_path / "files.zarr")
    for number, sample in enumerate(delivered(tmp_path / "files.zarr")):
        read = np.asarray(Image.open(tmp_path / f"images/{number}.png").convert("RGB"))
        expected = released.prepare(recipe, read, originals()[number][1])
        assert all(equal(sample[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("maker", LEVELS)
def test_what_is_made_at_inference_is_levels_off(
    maker: str, pictures: list[Original], tmp_path: Path
) -> None:
    recipe = maker.split()[0]
    samples = delivered(convert_originals(tmp_path, pictures, f"recipe.name={recipe}"))
    std = torch.tensor((released.HALVES if recipe == "sam3" else released.IMAGENET)[1])[:, None, None]
    farthest = 0.0
    for (picture, _), sample in zip(pictures, samples, strict=True):
        made = released.AT_INFERENCE[maker](Image.fromarray(picture))
        farthest = max(farthest, float(((made - sample["g_pixel_values"]) * std * 255).abs().max()))
    assert farthest == pytest.approx(LEVELS[maker], abs=1e-4)
