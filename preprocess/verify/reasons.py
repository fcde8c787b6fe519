"""Which known mistake gives the very tensor that was found, where the originals are there to try it on."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ...loader.format.geometry import describe_fit, other_geometries, view_axes
from ...loader.format.norms import KNOWN_NORMS
from ...loader.format.recipe import Arithmetic, ImageView, MaskFilter, Recipe
from .pictures import Picture, explain
from .remake import FILTERS, normalized, remake_image, remake_mask, remake_view


def explain_image(
    found: NDArray[Any], name: str, image: NDArray[np.uint8], remade: Mapping[str, Picture]
) -> str:
    """Return which known mistake gives exactly, or nearly, a stored image; "" where none does.

    Args:
        found: as it is stored, uint8 or normalised float32, [3, H, W].
        name: of its view.
        image: the original, uint8 [H, W, 3].
        remade: each view as it should be, by name.
    """
    right, is_float = remade[name], found.dtype != np.uint8
    for words, levels, view in _wrong_images(name, image, remade):
        made = normalized(levels, view, right.axes) if is_float else levels
        if np.array_equal(found, made):
            return f": {words}"
    if is_float:
        return ""
    if np.abs(found.astype(np.int16) - right.levels).mean() < 8:
        return ": nearly the same picture, resized in another way"
    return ": " + explain(right, right._replace(levels=found))


def _wrong_images(
    name: str, image: NDArray[np.uint8], remade: Mapping[str, Picture]
) -> Iterator[tuple[str, NDArray[np.uint8], ImageView]]:
    """Yield what each known mistake makes of an original: its words, levels, and the view that normalises them."""
    _, view, levels, axes = remade[name]
    height, width = remade[name].size
    for words, (mean, std, scale) in KNOWN_NORMS.items():
        yield f"normalised with {words} mean and std", levels, replace(view, mean=mean, std=std, scale=scale)
    yield "its channels are in BGR order", levels[::-1], view
    for image_filter in FILTERS:
        one = replace(view, filter=image_filter)
        if image_filter != view.filter:
            made = remake_image(image, one, axes)
            yield f"it was made with {image_filter}", made, view
            yield "its channels are in BGR order", made[::-1], view
        for other in remade.values():
            if other.name != name and other.view.size != view.size:
                source = np.ascontiguousarray(other.levels.transpose(1, 2, 0))
                whole = replace(one, fit="squash")
                made = remake_image(source, whole, view_axes(whole, *source.shape[:2]))
                yield f"it was made from {other.name}, not from the original", made, view
    for arithmetic in get_args(Arithmetic):
        made = remake_image(image, view, axes, arithmetic)
        yield f"it was resized in the order of {arithmetic}", made, view
    for words, wrong in other_geometries(view, height, width).items():
        yield f"it is {words}, not {describe_fit(view)}", remake_image(image, view, wrong), view


def explain_mask(
    found: NDArray[np.uint8],
    name: str,
    original: NDArray[np.bool_],
    size: tuple[int, int],
    recipe: Recipe,
    remade: Mapping[str, NDArray[np.uint8]],
) -> str:
    """Return which known mistake gives exactly a stored mask, uint8 [height, width], of a bool [H, W]; "" where none does."""
    wrong = _wrong_masks(name, original, size, recipe, remade)
    return next((f": {words}" for words, mask in wrong if np.array_equal(found, mask)), "")


def _wrong_masks(
    name: str,
    original: NDArray[np.bool_],
    size: tuple[int, int],
    recipe: Recipe,
    remade: Mapping[str, NDArray[np.uint8]],
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    view = recipe.masks[name]
    over = recipe.images[view.over]
    (height, width), (tall, wide) = original.shape, view.grid
    for words, (rows, columns) in other_geometries(over, *size).items():
        axes = rows.over(height, tall), columns.over(width, wide)
        text = f"it lies over a picture that is {words}, and {view.over} is {describe_fit(over)}"
        yield text, remake_mask(original, view.filter, axes)
    squashed = replace(over, fit="squash")
    for rule in get_args(MaskFilter):
        if rule != view.filter:
            yield f"it was made with {rule}", remake_view(original, replace(view, filter=rule), over, size)
        for other, mask in remade.items():
            if mask.size > view.grid[0] * view.grid[1]:
                resized = replace(view, filter=rule)
                made = remake_view(mask.astype(np.bool_), resized, squashed, mask.shape)
                yield f"it was made from {other}, not from the original", made
