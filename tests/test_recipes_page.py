"""What docs/recipes.md says of the recipes, and the README beside it."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from demo_pictures import PLOT, SHEET
from PIL import Image
from pycocotools import mask as coco_mask
from recipe_pictures import FOLDER, PICTURES
from torch.nn.functional import interpolate

from resizeonce.loader import Clip, Objects
from resizeonce.preprocess.recipe_config import parse_recipe
from resizeonce.preprocess.tensors.shipped import RECIPES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "recipes.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/recipes.md"])
def test_the_table_has_a_row_for_every_recipe(page: str) -> None:
    section = (ROOT / page).read_text().partition("ecipe")[2]
    table = re.search(r"^\| `?recipe.*\n\|---.*\n((\|.*\n)+)", section, re.MULTILINE)
    assert table is not None
    first_cells = [row.split("|")[1] for row in table[1].splitlines()]
    assert re.findall(r"`([\w-]+)`", "".join(first_cells)) == list(RECIPES)


def test_the_sides_of_the_table_are_the_recipes() -> None:
    for name, recipe in RECIPES.items():
        row = re.search(rf"^\| `{name}` \|(.*)$", PAGE, re.MULTILINE)
        assert row is not None
        sides = [int(side) for cell in row[1].split("|")[:3] for side in re.findall(r"^ (\d+)", cell)]
        views = (recipe.views.get(view) for view in ("pixel_values", "g_pixel_values", "masks"))
        assert sides == [view.size[0] for view in views if view is not None and view.size != "own"]


def test_the_recipe_that_the_page_spells_out_is_one() -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    recipe = parse_recipe(tomllib.loads(block)["recipe"], "docs/recipes.md")
    assert recipe.name == "custom"
    assert list(recipe.views) == ["pixel_values", "canvas", "masks"]
    # Its first view is GLaMM's, with the defaults written out.
    assert recipe.views["pixel_values"] == RECIPES["glamm"].views["pixel_values"]


def test_the_draws_of_the_page_are_draws() -> None:
    draws = re.findall(r"`((?:Clip|Objects)\((?!.*\.\.\.)[^`]*\))`", PAGE)
    assert len(draws) == 5
    for draw in draws:
        assert eval(draw, {"Clip": Clip, "Objects": Objects}).describe()["unit"] in ("image", "scene")


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_are_what_the_script_draws(name: str) -> None:
    with Image.open(FOLDER / name) as picture:
        there, drawn = np.asarray(picture.convert("RGB"), float), np.asarray(PICTURES[name](), float)
    assert there.shape == drawn.shape, "run `make docs`"
    # JPEG, and fonts of another version.
    assert np.abs(there - drawn).mean() < 4, "run `make docs`"


def test_the_pictures_are_small() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*PICTURES, SHEET, PLOT}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 300_000


def test_the_targets_that_pillows_nearest_would_change_are_counted(shared_data: Path) -> None:
    content = json.loads((shared_data / "coco" / "annotations" / "instances_train2017.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    shares = []
    for annotation in content["annotations"]:
        if annotation["iscrowd"]:
            continue
        polygons = coco_mask.frPyObjects(annotation["segmentation"], *sizes[annotation["image_id"]])
        own = coco_mask.decode(coco_mask.merge(polygons))
        in_two_steps = np.asarray(Image.fromarray(own).resize((1024, 1024), Image.Resampling.NEAREST))
        target, other = (
            interpolate(torch.tensor(mask)[None, None].float(), (256, 256)) for mask in (own, in_two_steps)
        )
        shares.append(float((other != target).sum() / target.sum().clamp(min=1)))
    changed = f"{np.count_nonzero(shares)} of {len(shares)} COCO objects"
    mean = f"{100 * np.mean(shares):.1f} % of an object's pixels"
    assert changed in PAGE
    assert mean in " ".join(PAGE.split())
