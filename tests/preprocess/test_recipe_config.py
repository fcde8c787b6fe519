"""The section `[recipe]`: what it may say, what that means, and what is said of what it may not."""

from typing import Any

import pytest

from resizeonce.loader.format.recipe import DEFAULT_VIEWS, ImageView, MaskView, Recipe
from resizeonce.preprocess.errors import ConfigError
from resizeonce.preprocess.recipe_config import parse_recipe, spell_recipe
from resizeonce.preprocess.tensors.shipped import RECIPES


def test_a_recipe_that_says_the_kinds_of_its_views_has_those_and_no_others() -> None:
    recipe = parse_recipe(
        {
            "pixel_values": {"kind": "image", "size": 224, "fit": "crop", "mean": 0.5, "std": 0.25},
            "masks": {"over": "pixel_values", "size": [7, 9], "filter": "half"},
            "whole": {"kind": "mask", "over": "pixel_values", "size": "own"},
        },
        "x",
    )
    assert recipe == Recipe(
        name="custom",
        views={
            "pixel_values": ImageView(size=(224, 224), fit="crop", mean=(0.5,) * 3, std=(0.25,) * 3),
            "masks": MaskView(over="pixel_values", size=(7, 9), filter="half"),
            "whole": MaskView(over="pixel_values", size="own"),
        },
    )


def test_without_kinds_settings_of_the_named_recipe_are_changed() -> None:
    recipe = parse_recipe({"name": "sa2va", "masks": {"size": 256}}, "x")
    assert recipe.name == "custom"
    assert recipe.masks["masks"].size == (256, 256)
    assert recipe.images == RECIPES["sa2va"].images
    assert list(recipe.views) == list(DEFAULT_VIEWS)


def test_a_view_is_added_to_a_named_recipe_and_left_out_of_it() -> None:
    added = {"kind": "mask", "over": "g_pixel_values", "size": "own"}
    recipe = parse_recipe({"name": "default", "whole": added, "prompt_masks": False}, "x")
    assert list(recipe.views) == ["pixel_values", "g_pixel_values", "masks", "whole"]
    assert recipe.prompt is None
    assert recipe.format_version == 3


def test_what_is_as_in_the_named_recipe_changes_nothing() -> None:
    assert parse_recipe({"name": "default", "masks": {"size": 1024}}, "x") == RECIPES["default"]
    assert parse_recipe({"name": "custom", "masks": {"size": 1024}}, "x").name == "custom"


def test_padding_goes_with_the_fit_that_it_was_for() -> None:
    (name,) = RECIPES["omg-llava"].images
    assert RECIPES["omg-llava"].images[name].pad == (122, 116, 104)
    for fit, pad in (("squash", (0, 0, 0)), ("crop", (0, 0, 0)), ("pad-first", (122, 116, 104))):
        recipe = parse_recipe({"name": "omg-llava", name: {"fit": fit}}, "x")
        assert recipe.images[name].pad == pad


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_settings_that_a_fit_does_without_may_be_spelt_out_as_they_are(fit: str) -> None:
    spelt = {"fit": fit, "align": "centre", "pad": 0}
    recipe = parse_recipe({"pixel_values": spelt}, "x")
    assert recipe.images["pixel_values"] == ImageView(size=(448, 448), fit=fit)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_as_it_is_printed_is_that_recipe(name: str) -> None:
    assert parse_recipe(spell_recipe(RECIPES[name]), "x") == RECIPES[name]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"name": "sam4"}, "recipe.name is 'sam4'"),
        ({"mask": {"size": 3}}, "no view 'mask' (did you mean 'masks'?)"),
        ({"eye": {"kind": "picture"}}, "recipe.eye.kind is 'picture', expected image or mask"),
        ({"masks": 256}, "recipe.masks is 256, expected a table"),
        ({"masks": {"kind": "image"}, "name": "default"}, "masks is of kind 'mask'"),
        ({"masks": {"size": 0}}, "recipe.masks.size is 0: Expected `int` >= 1"),
        ({"masks": {"size": [16]}}, "recipe.masks.size is [16]"),
        ({"masks": {"size": "full"}}, "is 'full', expected a side or [height, width], or 'own'"),
        ({"pixel_values": {"size": "own"}}, "is 'own', expected a side or [height, width]"),
        ({"masks": {"filter": "bilinear"}}, "expected 'pillow-nearest', 'torch-nearest', 'cover', 'half', 'touch'"),
        ({"masks": {"over": "masks"}}, "the recipe's image views are pixel_values, g_pixel_values"),
        ({"masks": {"role": "prompt"}}, "prompt_masks and masks have the role prompt"),
        ({"prompt_masks": {"size": "own"}}, "a prompt has a size of its own"),
        ({"pixel_values": {"fit": "cut"}}, "expected 'squash', 'pad', 'pad-first', 'crop'"),
        ({"pixel_values": {"std": 0.0}}, "recipe.pixel_values.std is 0.0: Expected `float` >= 1e-06"),
        ({"pixel_values": {"mean": [float("nan"), 0.0, 0.0]}}, "recipe.pixel_values.mean is [nan"),
        ({"pixel_values": {"fit": "pad", "pad": 9}}, "a normalized, padded view is 0.0 around the picture"),
        ({"pixel_values": {"pad": 9}}, "recipe.pixel_values.pad is 9, and fit 'squash' does without: leave it out, or take fit pad or"),
        ({"pixel_values": {"fit": "crop", "pad": [0, 0, 1]}}, "pad is [0, 0, 1], and fit 'crop' does without"),
        ({"g_pixel_values": {"fit": "pad", "align": "corner"}}, "align is 'corner', and fit 'pad' does without: leave it out, or take fit"),
        ({"name": "omg-llava", "pixel_values": {"fit": "squash", "pad": 7}}, "pad is 7, and fit 'squash' does without"),
        ({"pixel_values": {"scale": 1e-40}}, "recipe.pixel_values.scale is 1e-40: Expected `float` >= 1e-06"),
        ({"g_pixel_values": {"stored": "float32"}}, 'its values are "uint8"'),
        ({"g_pixel_values": False}, "masks lies over 'g_pixel_values'"),
        ({"key": {"kind": "image", "size": 8}, "name": "default"}, "no view is called 'key'"),
        ({"eye2": {"kind": "image", "size": 8}}, "no view is called 'eye2'"),
        ({"eye_sizes": {"kind": "image", "size": 8}}, "no view is called 'eye_sizes'"),
        ({"arithmetic": "pillow-11"}, "recipe.arithmetic is 'pillow-11', expected one of pillow-12, pillow-13"),
        (dict.fromkeys(("prompt_masks", "masks", "pixel_values", "g_pixel_values"), False), "no view"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_refused_with_the_place_and_what_may_stand_there(
    table: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_recipe(table, "my.toml")
    assert str(refused.value).startswith("my.toml: ")
    assert words in str(refused.value)
