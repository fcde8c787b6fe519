"""The tensors that a recipe makes of a frame."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...loader.format.recipe import ImageView, Recipe, shown_size
from ..decode.segmentation import Rle
from .arithmetic import INSTALLED
from .engine import Engine
from .transforms import normalize_image
from .views import Images, Masks, Views


def make_tensors(image: NDArray[np.uint8], masks: Sequence[Rle], recipe: Recipe, engine: Engine) -> Views:
    """Return the tensors of an RGB image, uint8 [H, W, 3], and of what lies on it, each straight from the original."""
    height, width, _ = image.shape
    views = recipe.images

    def make_images() -> Images:
        arithmetic = recipe.arithmetic or INSTALLED
        made = engine.resize_images(image, tuple(views.values()), arithmetic)
        return {
            name: _as_stored(levels, view, (height, width))
            for (name, view), levels in zip(views.items(), made, strict=True)
        }

    def make_masks(mask: Rle) -> Masks:
        return {
            name: mask
            if view.size == "own"
            else engine.resize_mask(mask, view, views[view.over], (height, width))
            for name, view in recipe.masks.items()
        }

    return Views(make_images, [partial(make_masks, mask) for mask in masks])


def _as_stored(levels: NDArray[np.uint8], view: ImageView, picture: tuple[int, int]) -> NDArray[Any]:
    """Return a view in its stored form, but for packing: uint8 or normalised float32."""
    if view.stored != "float32":
        return levels
    return normalize_image(levels, view, shown_size(view, *picture) if view.fit == "pad" else None)
