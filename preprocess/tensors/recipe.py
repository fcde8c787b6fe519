"""The recipes that come with the package, and the tensors that a recipe makes of a frame."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ...loader.format.recipe import DEFAULT_RECIPE, DEFAULT_VIEWS, Recipe, View
from ..decode.segmentation import Bitmap, Rle
from .engine import Engine
from .transforms import normalize_image
from .views import Images, Masks, Views


def _filtered(**filters: str) -> dict[str, View]:
    """Return the default recipe's views with other filters."""
    return {
        name: replace(view, filter=filters.get(name, view.filter)) for name, view in DEFAULT_VIEWS.items()
    }


RECIPES = {
    recipe.name: recipe
    for recipe in (
        DEFAULT_RECIPE,
        Recipe(
            name="sa2va",
            views=_filtered(pixel_values="bicubic", g_pixel_values="bicubic", prompt_masks="torch-nearest"),
        ),
    )
}
"""`default` is what the trainer's own data code does; `sa2va` is what Sa2VA does. They are not the same."""


def make_tensors(
    image: NDArray[np.uint8], masks: Sequence[Rle | Bitmap], recipe: Recipe, engine: Engine
) -> Views:
    """Return the tensors of a frame, each straight from the original.

    Args:
        image: uint8 [H, W, 3], RGB.
        masks: what lies on it.
        recipe: the views.
        engine: what resizes.
    """

    def make_images() -> Images:
        views = recipe.images
        names = list(views)
        made = {}
        for pair in (names[i : i + 2] for i in range(0, len(names), 2)):
            both = pair if len(pair) == 2 else pair * 2
            sizes, filters = [views[n].size[0] for n in both], [views[n].filter for n in both]
            made |= dict(zip(both, engine.resize_images(image, tuple(sizes), tuple(filters)), strict=True))
        return {
            name: normalize_image(levels) if views[name].stored == "float32" else levels
            for name, levels in made.items()
        }

    def make_masks(mask: Rle | Bitmap) -> Masks:
        return {
            name: mask if view.size == "own" else engine.resize_mask(mask, view.size[0], view.filter)
            for name, view in recipe.masks.items()
        }

    return Views(make_images, [partial(make_masks, mask) for mask in masks])
