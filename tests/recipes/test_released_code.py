"""Each recipe that comes with the package, from raw files to the loader's batch, against what its trainer's packages make.

`make test-recipes` installs those; without them this is skipped, and `test_golden_values.py` holds what they gave.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from golden_recipes import GOLDEN, golden
from recipe_stores import SIZES, Original, convert_originals, delivered, originals
from torch.nn.functional import interpolate

from resizeonce.preprocess.tensors.shipped import RECIPES

released = pytest.importorskip("released", reason="`make test-recipes` installs what it imports")

MORE_SIZES = (*SIZES, (480, 640), (640, 427), (301, 299), (1100, 40), (17, 300), (2250, 1500), (1024, 1024))
"""Tall ones, too: here the trainer's Pillow is the very one that made the store."""


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
