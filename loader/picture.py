"""Samples as people look at them: image views as the model gets them, masks and prompts over them. numpy; Pillow when it draws."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .format.geometry import Axes, Axis, shown_axes
from .format.norms import Norm
from .format.recipe import ImageView, Recipe
from .overlay import draw_outlines, fill_cells, lay_over

if TYPE_CHECKING:
    from PIL.Image import Image

GAP = 2
"""Pixels between pictures that stand side by side."""

THUMBNAIL_FRAMES = 4
"""How many frames of a clip a notebook shows."""

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
            objects = {
                name: [_to_numpy(_take(one, at)) for one in (value if is_drawn else [value])]
                for name in recipe.masks
                if (value := of_frames.get(name)) is not None
            }
            masks = {name: [one for one in several if one.ndim == 2] for name, several in objects.items()}
            sizes = {
                key: tuple(map(int, _take(value, at)))
                for key, value in of_frames.items()
                if key.endswith("_sizes")
            }
            own = [one for name in masks if recipe.masks[name].size == "own" for one in masks[name]]
            if own:
                # A mask of its own size has that of its picture.
                sizes.setdefault("image_sizes", own[0].shape)
            yield _Frame(images, masks, shown_axes(recipe.images, sizes))


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


def _draw_view(frame: _Frame, name: str, recipe: Recipe, height: int) -> "Image":
    """Draw one image view with what lies over it."""
    from PIL import Image

    tall, wide = frame.images[name].shape[1:]
    levels = _levels(frame.images[name], recipe.images[name])
    image = Image.merge("RGB", [Image.fromarray(channel) for channel in levels])
    width = max(1, round(wide * height / tall))
    if (height, width) != (tall, wide):
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    pixels = np.array(image)

    def lay(mask: str) -> list[NDArray[np.bool_]]:
        """Return the masks of all objects as they lie over the view, bool [height, width]."""
        axes = ((one, _axes_of(frame.shown, mask, one.shape, name, recipe)) for one in frame.masks[mask])
        return [lay_over(one != 0, *known, (height, width)) for one, known in axes if known is not None]

    prompt, outlined = recipe.prompt, _choose_outlined(frame, name, recipe)
    if prompt in frame.masks and recipe.masks[prompt].over == name:
        fill_cells(pixels, lay(prompt), recipe.masks[prompt].grid)
    if outlined is not None:
        draw_outlines(pixels, lay(outlined))
    return Image.fromarray(pixels)


def _levels(image: NDArray[Any], view: ImageView) -> NDArray[np.uint8]:
    """Return an image view as levels: of a normalized one, those that it was made of."""
    if view.values == "uint8":
        return image.astype(np.uint8)
    return Norm.of(view).to_whole_levels(image)


def _choose_outlined(frame: _Frame, name: str, recipe: Recipe) -> str | None:
    """Return which mask view's outline is drawn over an image view: the finest of those made for it, or else of all."""

    def rank(mask: str) -> tuple[bool, int]:
        return recipe.masks[mask].over == name, max(one.size for one in frame.masks[mask])

    fitting = [
        mask
        for mask, of_objects in frame.masks.items()
        if mask != recipe.prompt
        and of_objects
        and _axes_of(frame.shown, mask, of_objects[0].shape, name, recipe) is not None
    ]
    return max(fitting, key=rank, default=None)


def _axes_of(
    shown: Mapping[str, Axes], mask: str, shape: tuple[int, ...], name: str, recipe: Recipe
) -> tuple[Axes, Axes] | None:
    """Return what an image view and a mask of a shape show of the picture; None where that is not known."""
    over = recipe.masks[mask].over
    if recipe.masks[mask].size == "own":
        return (shown[name], _whole(*shape)) if name in shown else None
    if name in shown and over in shown:
        rows, columns = (axis.over(axis.length, size) for axis, size in zip(shown[over], shape, strict=True))
        return shown[name], (rows, columns)
    # Of what it was made for it shows the same, whatever that is.
    return (_whole(*recipe.images[name].size), _whole(*shape)) if over == name else None


def _whole(height: int, width: int) -> Axes:
    """Return the axes of what shows all of a picture."""
    return Axis(height, 0, height, height, 0, height), Axis(width, 0, width, width, 0, width)
