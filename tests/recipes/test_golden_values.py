"""Each recipe that comes with the package, from raw files to the loader's batch, against what its trainer's packages made once."""

import json
from pathlib import Path

import pytest
import torch
from golden_recipes import GOLDEN, digest
from recipe_stores import convert_originals, delivered, originals
from torch.nn.functional import interpolate

from resizeonce.preprocess.tensors.shipped import RECIPES

VALUES = json.loads(GOLDEN.read_text())


def test_every_recipe_has_its_values() -> None:
    assert VALUES.keys() == RECIPES.keys()


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_batch_is_what_the_trainer_made(recipe: str, tmp_path: Path) -> None:
    store = convert_originals(tmp_path, originals(), f"recipe.name={recipe}")
    for sample, values in zip(delivered(store), VALUES[recipe], strict=True):
        assert {name: digest(sample[name]) for name in values} == values


def test_nearest_of_sa2vas_masks_is_that_of_the_original(tmp_path: Path) -> None:
    """To the 256 x 256 of a prediction; a mask of 1024 by Pillow's nearest would give another target."""
    store = convert_originals(tmp_path, originals(), "recipe.name=sa2va")
    for (_, mask), sample in zip(originals(), delivered(store), strict=True):
        own, stored = torch.from_numpy(mask)[None, None].float(), sample["masks"][None, None]
        assert torch.equal(interpolate(stored, (256, 256)), interpolate(own, (256, 256)))
