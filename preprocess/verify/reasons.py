"""Which known mistake gives the very tensor that was found, where the originals are there to try it on."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from ...loader.format.geometry import describe_fit, other_geometries, view_axes
from ...loader.format.norms import KNOWN_NORMS, Norm
from ...loader.format.recipe import Arithmetic, MaskFilter, Recipe
from .pictures import Picture, explain
from .pictures import normalized as normalize
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
    view, right = remade[name].view, remade[name]
    if found.dtype != np.uint8:
        wrong = _wrong_norm(found, right)
        if wrong:
            return wrong
    for words, levels in _wrong_images(name, image, remade):
        made = levels if found.dtype == np.uint8 else normalized(levels, view, right.axes)
        if np.array_equal(found, made):
            return f": {words}"
    if found.dtype != np.uint8:
        return ""
    if np.abs(found.astype(np.int16) - right.levels).mean() < 8:
        return ": nearly the same picture, resized in another way"
    return ": " + explain(right, right._replace(levels=found))


def _wrong_norm(found: NDArray[np.float32], right: Picture) -> str:
    for words, norm in KNOWN_NORMS.items():
        if norm != Norm.of(right.view) and _shows(found, right, normalize(right.levels, norm)):
            return f": normalised with {words} mean and std"
    return ""


def _shows(found: NDArray[np.float32], right: Picture, values: NDArray[np.float32]) -> bool:
    """Whether an image is `values` where it is picture."""
    rows, columns = (slice(int(axis.offset), int(axis.offset + axis.resized)) for axis in right.axes)
    if right.view.fit != "pad":
        rows = columns = slice(None)
    return np.array_equal(found[:, rows, columns], values[:, rows, columns])


def _wrong_images(
    name: str, image: NDArray[np.uint8], remade: Mapping[str, Picture]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield what each known mistake makes of an original, and its words."""
    view, levels, axes = remade[name].view, remade[name].levels, remade[name].axes
    height, width = remade[name].size
    yield "its channels are in BGR order", levels[::-1]
    for image_filter in FILTERS:
        one = replace(view, filter=image_filter)
        if image_filter != view.filter:
            made = remake_image(image, one, axes)
            yield f"it was made with {image_filter}", made
            yield "its channels are in BGR order", made[::-1]
        for other in remade.values():
            source = np.ascontiguousarray(other.levels.transpose(1, 2, 0))
            whole = replace(one, fit="squash")
            made = remake_image(source, whole, view_axes(whole, *source.shape[:2]))
            if other.name != name and other.view.size != view.size:
                yield f"it was made from {other.name}, not from the original", made
    for arithmetic in get_args(Arithmetic):
        yield f"it was resized in the order of {arithmetic}", remake_image(image, view, axes, arithmetic)
    for words, wrong in other_geometries(view, height, width).items():
        yield f"it is {words}, not {describe_fit(view)}", remake_image(image, view, wrong)


def explain_mask(
    found: NDArray[np.uint8],
    name: str,
    original: NDArray[np.bool_],
    size: tuple[int, int],
    recipe: Recipe,
    remade: Mapping[str, NDArray[np.uint8]],
) -> str:
    """Return which known mistake gives exactly a stored mask; "" where none does.

    Args:
        found: as it is stored, uint8 [height, width].
        name: of its view.
        original: the mask, bool [H, W].
        size: height and width of its picture.
        recipe: how views are made.
        remade: each view as it should be, by name.
    """
    for words, mask in _wrong_masks(name, original, size, recipe, remade):
        if np.array_equal(found, mask):
            return f": {words}"
    return ""


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
