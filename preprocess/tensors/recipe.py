"""Recipes: which filter makes which of the four tensors, and at what size. A store spells its recipe out."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader.format.layout import (
    GROUNDING_SIZE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    PIXEL_SIZE,
    PROMPT_SIZE,
    ImageForm,
    PixelForm,
    TensorSizes,
)
from ...loader.format.metadata import Size
from ...loader.format.recipe import ImageFilter, ImageView, MaskFilter, MaskView
from ..decode.segmentation import Bitmap, Rle
from .arithmetic import installed_arithmetic
from .engine import Engine
from .transforms import normalize_image
from .views import Images, Masks, Views


class PixelRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How `pixel_values` is made."""

    filter: ImageFilter
    size: Size = PIXEL_SIZE
    stored: PixelForm = "uint8"
    """uint8 is normalised while loading, to the same bits, at a quarter of the bytes; compact is that, compressed."""


class GroundingRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How `g_pixel_values` is made."""

    filter: ImageFilter
    size: Size = GROUNDING_SIZE
    stored: ImageForm = "uint8"
    """compact takes about a third of the bytes, and five milliseconds to decode."""


class PromptRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How `prompt_masks` is made."""

    filter: MaskFilter
    size: Size = PROMPT_SIZE


class MaskRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How `masks` is made."""

    filter: MaskFilter
    size: Size = GROUNDING_SIZE


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How the four tensors are made; the name is "custom" unless it is exactly one of `RECIPES`."""

    name: Literal["default", "sa2va", "custom"]
    pixel_values: PixelRecipe
    g_pixel_values: GroundingRecipe
    prompt_masks: PromptRecipe
    masks: MaskRecipe

    @property
    def sizes(self) -> TensorSizes:
        """Sides and stored form, as the layout needs them."""
        return TensorSizes(
            pixel_values=self.pixel_values.size,
            g_pixel_values=self.g_pixel_values.size,
            prompt_masks=self.prompt_masks.size,
            masks=self.masks.size,
            pixel_values_form=self.pixel_values.stored,
            g_pixel_values_form=self.g_pixel_values.stored,
        )

    def attributes(self) -> dict[str, Any]:
        """Return the recipe as a store's attributes spell it out."""
        spelt: dict[str, Any] = msgspec.to_builtins(self)
        if self.g_pixel_values.stored == "uint8":
            # Stores of format version 1 don't say so, and the same job must have the same fingerprint.
            del spelt["g_pixel_values"]["stored"]
        return spelt | {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}


RECIPES = {
    "default": Recipe(
        name="default",
        pixel_values=PixelRecipe(filter="bilinear"),
        g_pixel_values=GroundingRecipe(filter="bilinear"),
        prompt_masks=PromptRecipe(filter="pillow-nearest"),
        masks=MaskRecipe(filter="pillow-nearest"),
    ),
    "sa2va": Recipe(
        name="sa2va",
        pixel_values=PixelRecipe(filter="bicubic"),
        g_pixel_values=GroundingRecipe(filter="bicubic"),
        prompt_masks=PromptRecipe(filter="torch-nearest"),
        masks=MaskRecipe(filter="pillow-nearest"),
    ),
}
"""`default` is what the trainer's own data code does; `sa2va` is what Sa2VA does. They are not the same."""


def make_tensors(
    image: NDArray[np.uint8], masks: Sequence[Rle | Bitmap], recipe: Recipe, engine: Engine
) -> Views:
    """Return the tensors of a frame, each straight from the original.

    Args:
        image: uint8 [H, W, 3], RGB.
        masks: what lies on it.
        recipe: filters, sizes and stored forms.
        engine: what resizes.
    """
    small_view, large_view = (
        ImageView(size=(view.size, view.size), filter=view.filter)
        for view in (recipe.pixel_values, recipe.g_pixel_values)
    )
    prompt_view, mask_view = (
        MaskView(over="", size=(view.size, view.size), filter=view.filter)
        for view in (recipe.prompt_masks, recipe.masks)
    )
    height, width, _ = image.shape

    def make_images() -> Images:
        small, large = engine.resize_images(image, (small_view, large_view), installed_arithmetic())
        return normalize_image(small, small_view) if recipe.pixel_values.stored == "float32" else small, large

    def make_masks(mask: Rle | Bitmap) -> Masks:
        return (
            engine.resize_mask(mask, prompt_view, small_view, (height, width)),
            engine.resize_mask(mask, mask_view, large_view, (height, width)),
        )

    return Views(make_images, [partial(make_masks, mask) for mask in masks])
