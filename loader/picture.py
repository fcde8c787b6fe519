"""Samples as people look at them: image views as the model gets them, masks and prompts over them. numpy; Pillow when it draws.

A mask is laid over a view by what both show of the picture, so that one that lies wrong is seen to.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from io import BytesIO
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .format.geometry import Axes, Axis, view_axes
from .format.norms import Norm
from .format.recipe import ImageView, Recipe

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS = (
    (60, 220, 255),
    (255, 176, 0),
    (240, 228, 66),
    (0, 190, 140),
    (230, 110, 40),
    (220, 140, 190),
    (60, 140, 230),
)
"""Of objects, in their order: told apart by the colour-blind, as those of Okabe and Ito are, and none of them dark. The first is rare in pictures."""

EDGE = (16, 16, 16)
"""Of the line around an outline, by which it is seen on bright pictures, too."""

CELL_SHARE = 0.45
"""How much of a prompt's cell is colour, and not picture."""

GAP = 2
"""Pixels between pictures that stand side by side."""

LEAST_CELL = 5
"""Pixels along a cell from which on neighbours are drawn apart."""

THUMBNAILS = 4
"""How many samples a notebook shows."""

THUMBNAIL_FRAMES = 4
"""How many frames of a clip it shows."""

THUMBNAIL_HEIGHT = 128


class _Frame(NamedTuple):
    """What a sample has of one picture."""

    images: dict[str, NDArray[Any]]
    """By view, [3, H, W]."""
    masks: dict[str, list[NDArray[Any]]]
    """By view, [H, W] of each object."""
    shown: dict[str, Axes]
    """What image views have of the picture, as far as the sample tells its size."""


def draw_views(sample: Mapping[str, Any], recipe: Recipe, height: int) -> "list[Image]":
    """Draw each image view of a sample, frame by frame, with its masks' outlines and its prompt's cells over it.

    Args:
        sample: one of a batch, without the batch's axis; single, paired or drawn, arrays or tensors, views left out or not.
        recipe: of its store.
        height: of the pictures in pixels.

    Returns:
        RGB pictures with the aspect ratios of the views.
    """
    return [
        _draw_view(frame, name, recipe, height) for frame in _frames(sample, recipe) for name in frame.images
    ]


def draw_finest(sample: Mapping[str, Any], recipe: Recipe, height: int) -> "Iterator[Image]":
    """Draw of each frame of a sample the finest view that has all of its picture; arguments as of `draw_views`."""

    def rank(name: str) -> tuple[bool, int]:
        tall, wide = recipe.images[name].size
        return recipe.images[name].fit != "crop", tall * wide

    for frame in _frames(sample, recipe):
        if frame.images:
            yield _draw_view(frame, max(frame.images, key=rank), recipe, height)


def draw_thumbnail(sample: Mapping[str, Any], recipe: Recipe) -> "Image | None":
    """Draw what a notebook shows of a sample: its first frames by one view; None where no image was read."""
    frames = list(islice(draw_finest(sample, recipe, THUMBNAIL_HEIGHT), THUMBNAIL_FRAMES))
    return side_by_side(frames) if frames else None


def side_by_side(pictures: "Sequence[Image]") -> "Image":
    """Return pictures of one height as one, on white."""
    from PIL import Image

    width = sum(one.width for one in pictures) + GAP * (len(pictures) - 1)
    joined = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for one in pictures:
        joined.paste(one, (left, 0))
        left += one.width + GAP
    return joined


def as_html(summary: str, thumbnails: "Sequence[tuple[str, Image | None]]") -> str:
    """Return what a notebook shows: a line of text, and pictures that it holds in itself.

    Args:
        summary: one line.
        thumbnails: each with what is said of it; None where there is nothing to show.
    """
    shown = "".join(
        '<figure style="display:inline-block;margin:4px;vertical-align:top">'
        f'{"" if image is None else _as_img(image)}<figcaption style="font-size:80%;overflow-wrap:anywhere;'
        f'max-width:{THUMBNAIL_HEIGHT if image is None else image.width}px">{escape(text)}</figcaption></figure>'
        for text, image in thumbnails
    )
    return f"<div><code>{escape(summary)}</code><br>{shown}</div>"


def _as_img(image: "Image") -> str:
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=85, subsampling=0)
    source = b64encode(encoded.getvalue()).decode()
    return f'<img alt="" width="{image.width}" height="{image.height}" src="data:image/jpeg;base64,{source}">'


def _frames(sample: Mapping[str, Any], recipe: Recipe) -> Iterator[_Frame]:
    """Yield what there is of each picture of a sample: of a pair two, of a clip as many as it has times."""
    is_clip, is_drawn = "times" in sample, "object_ids" in sample
    for suffix in ("1", "2") if sample.get("has_paired_frame") else ("",):
        of_frames = {key.removesuffix(suffix): value for key, value in sample.items() if key.endswith(suffix)}
        for number in range(len(sample["times"]) if is_clip else 1):
            at = (number,) if is_clip else ()
            images = {
                name: image
                for name in recipe.images
                if name in of_frames and _is_image(image := _to_numpy(_take(of_frames[name], at)))
            }
            masks = {
                name: [_to_numpy(_take(one, at)) for one in (value if is_drawn else [value])]
                for name in recipe.masks
                if (value := of_frames.get(name)) is not None
            }
            sizes = {
                key: tuple(map(int, _take(value, at)))
                for key, value in of_frames.items()
                if key.endswith("_sizes")
            }
            yield _Frame(images, masks, _find_shown(recipe, masks, sizes))


def _is_image(array: NDArray[Any]) -> bool:
    """Whether it has the axes of an image; whoever has the batch may have put anything in its place."""
    return array.ndim == 3 and array.shape[0] == 3 and array.size > 0


def _take(value: Any, at: tuple[int, ...]) -> Any:
    return value[at[0]] if at else value


def _to_numpy(value: Any) -> NDArray[Any]:
    """Return an array, or a tensor of any device, as an array of this machine's memory. Nothing here imports torch."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # numpy has no bfloat16.
        value = value.float() if value.is_floating_point() else value
    return np.asarray(value)


def _find_shown(
    recipe: Recipe, masks: Mapping[str, list[NDArray[Any]]], sizes: Mapping[str, tuple[int, ...]]
) -> dict[str, Axes]:
    """Return what views show of a picture, whose size the sample tells, or a mask of its own size, or a padded view."""
    own = (
        one.shape
        for name, of_objects in masks.items()
        if recipe.masks[name].size == "own"
        for one in of_objects
    )
    known = [
        sizes[key] for key in ("image_sizes", *(f"{name}_sizes" for name in recipe.images)) if key in sizes
    ]
    size = next(iter(known[:1] if "image_sizes" in sizes else [*own, *known]), None)
    return {
        name: view_axes(view, *(size or view.size))
        for name, view in recipe.images.items()
        # A squashed view has the whole picture, whatever its size.
        if size is not None or view.fit == "squash"
    }


def _draw_view(frame: _Frame, name: str, recipe: Recipe, height: int) -> "Image":
    """Draw one image view with what lies over it."""
    from PIL import Image

    view = recipe.images[name]
    tall, wide = frame.images[name].shape[1:]
    image = Image.fromarray(np.ascontiguousarray(_levels(frame.images[name], view).transpose(1, 2, 0)))
    width = max(1, round(wide * height / tall))
    if (height, width) != (tall, wide):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.array(image)
    prompt = recipe.prompt
    if prompt in frame.masks and recipe.masks[prompt].over == name:
        _fill_cells(pixels, _lay_all(frame, prompt, name, recipe, (height, width)), recipe.masks[prompt].grid)
    outlined = _choose_outlined(frame, name, recipe)
    if outlined is not None:
        _outline(pixels, _lay_all(frame, outlined, name, recipe, (height, width)))
    return Image.fromarray(pixels)


def _levels(image: NDArray[Any], view: ImageView) -> NDArray[np.uint8]:
    """Return an image view as levels: of a normalized one, those that it was made of."""
    if view.values == "uint8":
        return image.astype(np.uint8)
    return np.clip(np.rint(Norm.of(view).to_levels(image)), 0, 255).astype(np.uint8)


def _choose_outlined(frame: _Frame, name: str, recipe: Recipe) -> str | None:
    """Return which mask view's outline is drawn over an image view: the finest of those made for it, or else of all."""

    def rank(mask: str) -> tuple[bool, int]:
        return recipe.masks[mask].over == name, max(one.size for one in frame.masks[mask])

    fitting = [
        mask
        for mask, view in recipe.masks.items()
        if frame.masks.get(mask) and view.role != "prompt" and _axes_of(frame, mask, name, recipe) is not None
    ]
    return max(fitting, key=rank, default=None)


def _axes_of(frame: _Frame, mask: str, name: str, recipe: Recipe) -> tuple[Axes, Axes] | None:
    """Return what an image view and a mask view show of the picture; None where that is not known."""
    view, image = recipe.masks[mask], recipe.images[name]
    tall, wide = frame.masks[mask][0].shape
    over = frame.shown.get(view.over)
    if view.size == "own":
        own = _whole(tall, wide)
        return (frame.shown[name], own) if name in frame.shown else None
    if over is not None and name in frame.shown:
        rows, columns = over
        return frame.shown[name], (rows.over(rows.length, tall), columns.over(columns.length, wide))
    return (_whole(*image.size), _whole(tall, wide)) if view.over == name else None


def _whole(height: int, width: int) -> Axes:
    """Return the axes of what shows a picture as it is; of two such things, whatever they both show."""
    return Axis(height, 0, height, height, 0, height), Axis(width, 0, width, width, 0, width)


def _lay_all(
    frame: _Frame, mask: str, name: str, recipe: Recipe, size: tuple[int, int]
) -> list[NDArray[np.bool_]]:
    """Return the masks of all objects as they lie over a view that is drawn in a size, bool [H, W] each."""
    laid = []
    for one in frame.masks[mask]:
        axes = _axes_of(frame._replace(masks={mask: [one]}), mask, name, recipe)
        assert axes is not None
        edges = [_edges(seen, over, length) for seen, over, length in zip(*axes, size, strict=True)]
        laid.append(_lay(one != 0, *edges))
    return laid


def _edges(seen: Axis, mask: Axis, length: int) -> NDArray[np.float64]:
    """Return where in a mask the borders of pixels lie, [length + 1], of a view that is drawn `length` pixels long."""
    first = mask.place(seen.start)
    last = mask.place(seen.start + seen.size * seen.step)
    return np.linspace(float(first), float(last), length + 1)


def _lay(
    mask: NDArray[np.bool_], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return a mask as pixels with these borders show it: set where any of what they cover is, so that the smallest is seen."""
    laid = mask
    for axis, edges in enumerate((rows, columns)):
        # What was computed may miss a whole number by a rounding.
        starts = np.floor(edges[:-1] + 1e-6).astype(np.int64)
        stop = min(max(ceil(edges[-1] - 1e-6), 0), mask.shape[axis])
        is_inside = (starts >= 0) & (starts < stop)
        shape = list(laid.shape)
        shape[axis] = len(starts)
        spread = np.zeros(shape, np.bool_)
        if is_inside.any():
            seen = laid.take(range(stop), axis)
            reduced = np.logical_or.reduceat(seen, starts[is_inside], axis)
            spread[(slice(None),) * axis + (is_inside,)] = reduced
        laid = spread
    return laid


def _fill_cells(pixels: NDArray[np.uint8], cells: Sequence[NDArray[np.bool_]], grid: tuple[int, int]) -> None:
    """Colour a prompt's cells; the picture shows through, and between them."""
    is_gap = np.zeros(pixels.shape[:2], np.bool_)
    for axis, count in enumerate(grid):
        length = pixels.shape[axis]
        if length >= LEAST_CELL * count:
            borders = np.arange(1, count) * length // count
            is_gap[(slice(None),) * axis + (borders,)] = True
    for number, laid in enumerate(cells):
        filled = laid & ~is_gap
        colour = np.array(COLOURS[number % len(COLOURS)])
        pixels[filled] = np.rint((1 - CELL_SHARE) * pixels[filled] + CELL_SHARE * colour)


def _outline(pixels: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> None:
    """Draw a line in each object's colour just inside of its mask, and a dark one just outside."""
    by = max(1, round(min(pixels.shape[:2]) / 200))
    for mask in masks:
        pixels[_grown(mask, by) & ~mask] = EDGE
    for number, mask in enumerate(masks):
        pixels[mask & _grown(~mask, by, beyond=True)] = COLOURS[number % len(COLOURS)]


def _grown(mask: NDArray[np.bool_], by: int, *, beyond: bool = False) -> NDArray[np.bool_]:
    """Return what lies within some pixels of a mask; `beyond` is whether what is beside the picture belongs to it."""
    grown: NDArray[np.bool_] = np.pad(mask, by, constant_values=beyond)
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(grown, 2 * by + 1, axis)
        grown = np.logical_or.reduce(windows, axis=-1)
    return grown
