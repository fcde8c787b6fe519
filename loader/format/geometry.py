"""What a view shows of its picture, in exact fractions: told from the recipe and the picture's size, for whoever checks views.

Nothing that makes views takes part: `preprocess.tensors.geometry` says the same for itself, so that either can be wrong alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from typing import NamedTuple, TypeAlias

from .recipe import ImageView, MaskView, View

Number: TypeAlias = int | Fraction

SUPPORT = 3
"""Pixels to either side that the widest filter looks at (lanczos)."""

MAX_PIXELS = 1 << 26
"""Of a canvas, or what it is resized to, above which a geometry is not tried as an explanation."""


class Axis(NamedTuple):
    """Rows or columns of a view. The picture lies on a canvas, which is resized; of that the view has a stretch."""

    length: int
    """Of the picture, in its pixels."""
    before: Number
    """Of the canvas before the picture, in pixels of the picture."""
    canvas: Number
    """Of the canvas, likewise."""
    resized: Number
    """Of what the canvas becomes, in pixels of the view."""
    offset: Number
    """Where the view has its first pixel of that; negative where the first pixels are cut off."""
    size: int
    """Of the view, in pixels."""

    @property
    def step(self) -> Fraction:
        """What share of the picture a pixel of the view has."""
        return Fraction(self.canvas) / self.resized / self.length

    @property
    def start(self) -> Fraction:
        """Where in the picture the view begins, as a share of it; negative where it begins beside it."""
        return -self.offset * self.step - Fraction(self.before) / self.length

    @property
    def picture(self) -> tuple[Fraction, Fraction]:
        """Between which pixels of the view the picture lies, as far as it is in the view."""
        first, last = self.place(0), self.place(1)
        return max(first, Fraction(0)), min(last, Fraction(self.size))

    @property
    def margin(self) -> Fraction:
        """To how many pixels from its border the picture is mixed with what lies beside it: where it is padded first."""
        if self.canvas == self.length:
            return Fraction(0)
        return SUPPORT * max(Fraction(1), Fraction(self.resized) / self.canvas)

    @property
    def mixed(self) -> tuple[int, int]:
        """From and to which pixel the view has any of the picture, pixels that are mixed among them."""
        first, last = self.place(0) - self.margin, self.place(1) + self.margin
        return max(0, floor(first)), min(self.size, ceil(last))

    @property
    def unmixed(self) -> "Stretch":
        """What the view shows of the picture and of nothing else."""
        first, last = self.picture
        if first > 0:
            first += self.margin
        if last < self.size:
            last -= self.margin
        return self.start + first * self.step, self.start + last * self.step

    def place(self, share: Number) -> Fraction:
        """Return where in the view a point of the picture lies, which is given as a share of it."""
        return (share - self.start) / self.step

    def over(self, length: int, size: int) -> "Axis":
        """Return the axis of a mask of `length` pixels that covers the picture, in a view of `size` over this one."""
        pixels, cells = Fraction(length, self.length), Fraction(size, self.size)
        scaled = self.before * pixels, self.canvas * pixels, self.resized * cells, self.offset * cells
        before, canvas, resized, offset = (int(n) if n.denominator == 1 else n for n in scaled)
        return Axis(length, before, canvas, resized, offset, size)


Axes: TypeAlias = tuple[Axis, Axis]
"""Rows and columns."""
Stretch: TypeAlias = tuple[Fraction, Fraction]
"""Of a picture, from and to a share of it."""
Stretches: TypeAlias = tuple[Stretch, Stretch]
"""Of its rows and of its columns."""
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of a view, as Pillow's `resize` takes it."""


@lru_cache(maxsize=256)
def view_axes(view: ImageView, height: int, width: int) -> Axes:
    """Return what a view shows of a picture of `height` x `width` pixels."""
    return next(axes for text, axes in _geometries(view, height, width) if text == describe_fit(view))


def mask_axes(view: MaskView, over: ImageView, height: int, width: int) -> Axes:
    """Return what a mask view of a size shows of a picture, told as for a mask that has the picture's resolution."""
    rows, columns = view_axes(over, height, width)
    return rows.over(height, view.grid[0]), columns.over(width, view.grid[1])


def shown_axes(views: Mapping[str, ImageView], sizes: Mapping[str, Sequence[int]]) -> dict[str, Axes]:
    """Return what views show of a picture, as far as a batch's `image_sizes` and `NAME_sizes`, heights and widths, tell it."""
    keys = ("image_sizes", *(f"{name}_sizes" for name in views))
    size = next((sizes[key] for key in keys if key in sizes), None)
    shown = {}
    for name, view in views.items():
        own = sizes.get(f"{name}_sizes", size) if view.fit == "pad" else size
        # A squashed view has all of the picture, whatever its size.
        if own is not None or view.fit == "squash":
            height, width = view.size if own is None else own
            shown[name] = view_axes(view, int(height), int(width))
    return shown


def describe_fit(view: ImageView) -> str:
    """Return in words how a view has its picture."""
    if view.fit == "pad-first":
        return _PAD_FIRST[view.align]
    return {"squash": "squashed", "pad": _PAD, "crop": _CROP}[view.fit]


def describe_size(view: View, own: str = "own size") -> str:
    """Return a view's height and width in words, `own` where each mask has its own."""
    return own if view.size == "own" else f"{view.size[0]} x {view.size[1]}"


def other_geometries(view: ImageView, height: int, width: int) -> dict[str, Axes]:
    """Return what a view would show if its picture were fitted in another way, by the words for that way."""
    right = view_axes(view, height, width)
    found: dict[str, Axes] = {}
    for text, axes in _geometries(view, height, width):
        rows, columns = axes
        pixels = max(rows.canvas * columns.canvas, rows.resized * columns.resized)
        if axes != right and axes not in found.values() and pixels <= MAX_PIXELS:
            found[text] = axes
    return found


def choose_reference(views: Mapping[str, ImageView]) -> str:
    """Return the name of the view that others are compared with: the first that has all of the picture, or else the first."""
    return next((name for name, view in views.items() if view.fit != "crop"), next(iter(views)))


def shared(first: Axes, second: Axes) -> Stretches | None:
    """Return what both views show of a picture, unmixed with what lies around it; None if that is nothing."""
    rows, columns = (
        (max(one.unmixed[0], other.unmixed[0]), min(one.unmixed[1], other.unmixed[1]))
        for one, other in zip(first, second, strict=True)
    )
    return (rows, columns) if rows[0] < rows[1] and columns[0] < columns[1] else None


def box_of(axes: Axes, seen: Stretches) -> Box:
    """Return where in a view a part of the picture lies."""
    (top, bottom), (left, right) = (
        (float(axis.place(first)), float(axis.place(last)))
        for axis, (first, last) in zip(axes, seen, strict=True)
    )
    return left, top, right, bottom


_PAD = "padded below or to the right"
_PAD_FIRST = {
    "centre": "padded to a square, centred, and resized",
    "corner": "padded to a square, at the corner, and resized",
}
_CROP = "cropped in the middle"


def _geometries(view: ImageView, height: int, width: int) -> Iterator[tuple[str, Axes]]:
    """Yield all ways to fit a picture that are known, right or wrong for the view."""
    tall, wide = view.size
    yield "squashed", (Axis(height, 0, height, tall, 0, tall), Axis(width, 0, width, wide, 0, wide))
    yield from _padded(view, height, width)
    yield from _padded_first(view, height, width)
    yield from _cropped(view, height, width)


def _padded(view: ImageView, height: int, width: int) -> Iterator[tuple[str, Axes]]:
    tall, wide = view.size
    # In floating point, as whoever is followed computes it: segment_anything/utils/transforms.py, get_preprocess_shape.
    scale = min(tall / height, wide / width)
    rows, columns = (
        min(max(int(length * scale + 0.5), 1), side) for length, side in ((height, tall), (width, wide))
    )
    for text, share in ((_PAD, 0), ("padded, centred", 1), ("padded above or to the left", 2)):
        top, left = (tall - rows) * share // 2, (wide - columns) * share // 2
        yield text, (Axis(height, 0, height, rows, top, tall), Axis(width, 0, width, columns, left, wide))


def _padded_first(view: ImageView, height: int, width: int) -> Iterator[tuple[str, Axes]]:
    tall, wide = view.size
    side = max(height, width)
    for align, text in _PAD_FIRST.items():
        top, left = ((side - length) // 2 if align == "centre" else 0 for length in (height, width))
        yield text, (Axis(height, top, side, tall, 0, tall), Axis(width, left, side, wide, 0, wide))


def _cropped(view: ImageView, height: int, width: int) -> Iterator[tuple[str, Axes]]:
    tall, wide = view.size
    # The side that is relatively shorter fits; the other one is cut to a whole number (transformers, image_transforms.py).
    rows, columns = tall, wide
    if Fraction(height, tall) <= Fraction(width, wide):
        columns = int(tall * width / height)
    else:
        rows = int(wide * height / width)
    for text, share in ((_CROP, 1), ("cropped at the top left", 0), ("cropped at the bottom right", 2)):
        top, left = (rows - tall) * share // 2, (columns - wide) * share // 2
        yield text, (Axis(height, 0, height, rows, -top, tall), Axis(width, 0, width, columns, -left, wide))
