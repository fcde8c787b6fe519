"""Recipes as attributes: the first form where that says all, else a list of views; and only what can be is read."""

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from resizeonce.loader.format.recipe import (
    DEFAULT_RECIPE,
    DEFAULT_VIEWS,
    ImageView,
    MaskView,
    Recipe,
    read_recipe,
    shown_size,
)

PIXELS, MASKS = DEFAULT_VIEWS["pixel_values"], DEFAULT_VIEWS["masks"]


def with_view(name: str, **settings: Any) -> Recipe:
    return Recipe(name="custom", views=DEFAULT_VIEWS | {name: replace(DEFAULT_VIEWS[name], **settings)})


@pytest.mark.parametrize(
    ("recipe", "version"),
    [
        (DEFAULT_RECIPE, 1),
        (with_view("pixel_values", size=(224, 224), filter="bicubic", stored="float32"), 1),
        (with_view("masks", size=(256, 256), filter="cover"), 1),
        (replace(DEFAULT_RECIPE, arithmetic="pillow-13"), 1),
        (with_view("pixel_values", stored="compact"), 2),
        (with_view("g_pixel_values", stored="compact"), 2),
        (with_view("pixel_values", size=(224, 448)), 3),
        (with_view("pixel_values", fit="crop"), 3),
        (with_view("pixel_values", mean=(0.5, 0.5, 0.5)), 3),
        (with_view("pixel_values", scale=1.0), 3),
        (Recipe(name="custom", views=DEFAULT_VIEWS | {"masks": PIXELS}), 3),
        (with_view("pixel_values", values="uint8"), 3),
        (with_view("pixel_values", filter="box"), 3),
        (with_view("masks", filter="half"), 3),
        (with_view("masks", size="own"), 3),
        (with_view("masks", over="pixel_values"), 3),
        (with_view("prompt_masks", role=""), 3),
        (Recipe(name="custom", views=dict(reversed(DEFAULT_VIEWS.items()))), 3),
        (Recipe(name="custom", views=DEFAULT_VIEWS | {"more": PIXELS}), 3),
        (Recipe(name="custom", views={"pixel_values": PIXELS}), 3),
    ],
)
def test_a_recipe_has_the_oldest_version_that_can_say_it_and_is_read_back(
    recipe: Recipe, version: int
) -> None:
    assert recipe.format_version == version
    attributes = json.loads(json.dumps(recipe.attributes(), sort_keys=True))
    assert ("views" in attributes) == (version == 3)
    read = read_recipe(attributes)
    assert read == recipe
    assert list(read.views) == list(recipe.views)


def test_the_default_recipe_is_spelt_as_the_first_release_did() -> None:
    assert DEFAULT_RECIPE.attributes() == {
        "name": "default",
        "pixel_values": {"filter": "bilinear", "size": 448, "stored": "uint8"},
        "g_pixel_values": {"filter": "bilinear", "size": 1024},
        "prompt_masks": {"filter": "pillow-nearest", "size": 16},
        "masks": {"filter": "pillow-nearest", "size": 1024},
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }


def forged(**changes: Any) -> dict[str, Any]:
    """Return a recipe of a list of views, the first of which is changed."""
    views = [
        {"name": "a", "kind": "image", "size": [8, 8]},
        {"name": "m", "kind": "mask", "over": "a", "size": [8, 8]},
    ]
    return {"name": "custom", "views": [views[0] | changes, views[1]]}


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"name": "custom"},
        {"name": "custom", "views": []},
        {"name": "custom", "views": {}},
        {"name": "custom", "views": [3]},
        {"name": "custom", "views": [{"kind": "image", "size": [8, 8]}]},
        {"name": "../x", "views": forged()["views"]},
        {"name": "custom", "views": forged()["views"] * 2},
        {"name": "custom", "views": [{"name": f"v{chr(97 + n)}", "kind": "image", "size": [8, 8]} for n in range(17)]},
        forged(size=8),
        forged(size=[8, 4097]),
        forged(size=[0, 8]),
        forged(name="m"),
        forged(name="../a"),
        forged(name="key"),
        forged(kind="sound"),
        forged(std=[0.0, 1.0, 1.0]),
        forged(scale=0),
        forged(mean=[1e300, 0.0, 0.0]),
        forged(kind="mask", over="m"),
        DEFAULT_RECIPE.attributes() | {"masks": {"size": 1024}},
        DEFAULT_RECIPE.attributes() | {"masks": None},
        DEFAULT_RECIPE.attributes() | {"arithmetic": "pillow-99"},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_recipe_can_be_is_not_read(attributes: dict[str, Any]) -> None:
    assert read_recipe(forged()).views["m"] == MaskView(over="a", size=(8, 8))
    with pytest.raises(msgspec.ValidationError):
        read_recipe(attributes)


def test_how_much_of_a_padded_view_is_picture_is_rounded_as_sam_does() -> None:
    view = ImageView(size=(1024, 1024), fit="pad")
    # 427 * 1024 / 640 = 683.2; 333 * 1024 / 500 = 681.984; 1 * 1024 / 3000 = 0.34, and a pixel is the least.
    assert shown_size(view, 427, 640) == (683, 1024)
    assert shown_size(view, 500, 333) == (1024, 682)
    assert shown_size(view, 3000, 1) == (1024, 1)
    assert shown_size(view, 1024, 1024) == (1024, 1024)
    # In half as wide a view, the width decides: 480 / 640 * 512 = 384.
    assert shown_size(replace(view, size=(1024, 512)), 480, 640) == (384, 512)
