"""Whether two mask views show the same object, as far as the finer one's own pixels can tell.

The original mask is not in the store. But what a cell of the coarser view samples is seen, within a pixel of it, in the
finer one, which samples the same original more densely.
"""

from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...loader.format.geometry import Axes, Axis, describe_fit, other_geometries
from ...loader.format.recipe import ImageView, MaskFilter, MaskView

COVER_TOLERANCE = 0.06
"""How far a cell's coverage as the finer mask has it may lie from that of the original mask. Measured: 0.010,
on 1,310 masks."""

TELLING_PIXELS = 16
"""Pixels of the finer mask along a side of a cell from which on that tolerance is enough."""

UNSEEN_CELLS = 2
"""Cells that may differ where the original is larger than the finer mask: parts too thin to be seen in it. Measured: 0."""

SAME_RESOLUTION = 0.2
"""How far area and share may disagree while the original mask can still have its image's resolution."""

MIN_AREA_SEEN = 64
"""Pixels of a mask, or cells where they are larger, that can't all be missed when it is resized."""

MIN_CELLS = 64
"""Cells along a side of a mask view from which on an area is told by it."""

_POINT: dict[MaskFilter, float] = {"pillow-nearest": 0.5, "torch-nearest": 0.0}
"""Where in a cell the nearest filters look; others look at all of it."""


class Shape(NamedTuple):
    """A mask view of a row."""

    name: str
    view: MaskView
    over: ImageView
    values: NDArray[np.uint8]
    """uint8 [H, W], 0 or 1."""
    axes: Axes
    """What it should show of the picture."""


def choose_finest(views: dict[str, MaskView]) -> str | None:
    """Return the name of the view with the most cells, None where there is none of a size."""
    cells = {name: view.grid[0] * view.grid[1] for name, view in views.items() if view.size != "own"}
    return max(cells, key=lambda name: cells[name], default=None)


def set_beside(shape: Shape) -> int:
    """Return how many cells are set of which no part lies on the picture."""
    (top, bottom), (left, right) = (axis.picture for axis in shape.axes)
    on_picture = shape.values[floor(top) : ceil(bottom), floor(left) : ceil(right)]
    return int(np.count_nonzero(shape.values)) - int(np.count_nonzero(on_picture))


def count_wrong(coarse: Shape, fine: Shape) -> tuple[int, int]:
    """Return how many cells of one mask view a finer one contradicts, of those that it has all of; and how many of them are set."""
    # What has more cells may be the coarser one along a side: then it does not tell what a cell of the other samples.
    if any(axis.step > other.step for axis, other in zip(fine.axes, coarse.axes, strict=True)):
        return 0, 0
    rows, columns = (_judged(*axes, coarse.view.filter) for axes in zip(coarse.axes, fine.axes, strict=True))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return 0, 0
    values = coarse.values[rows, columns] != 0
    must, may = _expect(coarse, fine, rows, columns)
    return int(((must & ~values) | (~may & values)).sum()), int(values.sum())


def _judged(coarse: Axis, fine: Axis, rule: MaskFilter) -> slice:
    """Return the cells of which the finer view has all, and which lie on the picture as a whole."""
    first = coarse.place(max(Fraction(0), fine.start))
    last = coarse.place(min(Fraction(1), fine.start + fine.size * fine.step))
    # This filter looks as far as into the next cell.
    reach = 1 if rule == "half" else 0
    return slice(max(0, ceil(first)) + reach, min(coarse.size, floor(last)) - reach)


def _expect(
    coarse: Shape, fine: Shape, rows: slice, columns: slice
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of these cells must be set, and which may be."""
    rule = coarse.view.filter
    if rule in _POINT:
        near = _near(coarse, fine)[rows, :, columns]
        must, may = near.min(axis=(1, 3)) > 0, near.max(axis=(1, 3)) > 0
    elif rule == "touch":
        must, may = (_covered(coarse.axes, fine, margin)[rows, columns] > 0 for margin in (-1.0, 2.0))
    else:
        if rule == "cover":
            covered = _covered(coarse.axes, fine)[rows, columns]
        else:
            covered = _weighed(coarse.axes, fine, rows, columns)
        tolerance = _tolerance(coarse.axes, fine.axes)
        must, may = covered >= 0.5 + tolerance, covered >= 0.5 - tolerance
        if rule == "cover" and coarse.values.sum() == 1 and not must.any():
            # No cell was half covered, so the most covered one was set.
            may = covered >= covered.max() - 2 * tolerance
    # What touches a cell of the finer view need not be what a point of it, or half of it, shows.
    return must & (fine.view.filter != "touch" or rule == "touch"), may


def _tolerance(coarse: Axes, fine: Axes) -> float:
    """Return how far a cell's coverage may lie from the original's: further where it has few of the finer view's pixels."""
    pixels = min(float(one.step / other.step) for one, other in zip(coarse, fine, strict=True))
    return COVER_TOLERANCE * max(1.0, TELLING_PIXELS / pixels)


def _near(coarse: Shape, fine: Shape) -> NDArray[np.uint8]:
    """Return the fine pixels nearest to what each cell samples, uint8 [rows, 4, columns, 4]; 0 beside the finer view."""
    places = []
    for axis, other in zip(coarse.axes, fine.axes, strict=True):
        points = np.arange(axis.size, dtype=np.float64) + _POINT[coarse.view.filter]
        middle = _places(axis, other, points) - _POINT.get(fine.view.filter, 0.5)
        near = np.floor(middle).astype(np.int64)[:, None] + np.arange(-1, 3)
        places.append(np.clip(near, 0, other.size - 1))
    rows, columns = places
    taken: NDArray[np.uint8] = fine.values[rows.ravel()[:, None], columns.ravel()]
    return taken.reshape(len(rows), 4, len(columns), 4)


def _places(coarse: Axis, fine: Axis, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where in the finer view points of the coarser one lie."""
    share = float(coarse.step / fine.step)
    return points * share + float(fine.place(coarse.start))


def _covered(axes: Axes, fine: Shape, margin: float = 0.0) -> NDArray[np.float64]:
    """Return how much of each cell, made wider by `margin` fine pixels to each side, is covered, 0..1."""
    lines: NDArray[np.float64] = fine.values.astype(np.float64)
    for axis, other in zip(axes, fine.axes, strict=True):
        edges = _places(axis, other, np.arange(axis.size + 1.0))
        before = np.zeros((len(lines) + 1, lines.shape[1]))
        np.cumsum(lines, axis=0, out=before[1:])
        first, last = edges[:-1] - margin, np.maximum(edges[1:] + margin, edges[:-1] - margin)
        lines = ((_sums(before, last) - _sums(before, first)) / (edges[1] - edges[0])).T
    return lines


def _sums(before: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums of lines up to places between them, from the sums before each line."""
    places = np.clip(places, 0, len(before) - 1)
    whole = np.minimum(places.astype(np.int64), len(before) - 2)
    share = (places - whole)[:, None]
    # Written so that between equal sums there is nothing.
    sums: NDArray[np.float64] = before[whole] + (before[whole + 1] - before[whole]) * share
    return sums


def _weighed(axes: Axes, fine: Shape, rows: slice, columns: slice) -> NDArray[np.float64]:
    """Return the shares of these cells under a triangle of twice their width, 0..1, by Pillow's BILINEAR."""
    (top, bottom), (left, right) = (
        tuple(_places(axis, other, np.array([cells.start, cells.stop], np.float64)))
        for axis, other, cells in zip(axes, fine.axes, (rows, columns), strict=True)
    )
    size = (columns.stop - columns.start, rows.stop - rows.start)
    picture = Image.fromarray(fine.values * np.uint8(255))
    resized = picture.resize(size, Image.Resampling.BILINEAR, (left, top, right, bottom))
    return np.asarray(resized, np.float64) / 255


def explain(coarse: Shape, fine: Shape) -> str:
    """Return in words, followed by a colon, which mistake makes two views contradict each other; "" where none is known."""
    is_square = coarse.values.shape[0] == coarse.values.shape[1]
    if is_square and not count_wrong(coarse._replace(values=coarse.values.T), fine)[0]:
        return "transposed: "
    # Which of the two is wrong may not show: of each, the geometry is told in which most of the object agrees.
    found = []
    for one in (fine, coarse):
        height, width = one.values.shape
        agreeing = {}
        for words, (rows, columns) in other_geometries(one.over, *(axis.length for axis in one.axes)).items():
            other = one._replace(axes=(rows.over(rows.length, height), columns.over(columns.length, width)))
            wrong, seen = count_wrong(*((coarse, other) if one is fine else (other, fine)))
            agreeing[words] = seen if wrong <= UNSEEN_CELLS else 0
        words = max(agreeing, key=lambda words: agreeing[words], default="")
        if words and agreeing[words]:
            found.append(f"{one.name} lies over a picture that is {words}, not {describe_fit(one.over)}")
    return " or ".join(found) + ": " if found else ""


def count_origins(coarse: Shape, fine: Shape) -> tuple[int, int]:
    """Return how many of the cells that tell are as the original mask has them, and how many as sampling the finer view gives."""
    if coarse.view.filter not in _POINT or fine.view.filter not in _POINT:
        return 0, 0
    known, seen, taken = [], [], []
    for axis, other in zip(coarse.axes, fine.axes, strict=True):
        points = np.arange(axis.size, dtype=np.float64) + _POINT[coarse.view.filter]
        resized = np.floor(_places(axis, other, points)).astype(np.int64)
        shares = float(axis.start) + points * float(axis.step)
        showing = _seen_at(shares, resized, other, _POINT[fine.view.filter])
        known.append((showing >= 0) & (resized >= 0) & (resized < other.size))
        seen.append(showing)
        taken.append(np.clip(resized, 0, other.size - 1))
    from_original = fine.values[seen[0][:, None], seen[1]]
    from_resized = fine.values[taken[0][:, None], taken[1]]
    telling = known[0][:, None] & known[1] & (from_original != from_resized)
    same = int((telling & (coarse.values == from_original)).sum())
    return same, int(telling.sum()) - same


def _seen_at(
    shares: NDArray[np.float64], resized: NDArray[np.int64], fine: Axis, point: float
) -> NDArray[np.int64]:
    """Return a fine pixel that shows the very original pixel which lies at each share of the picture, -1 where none does."""
    wanted = np.floor(shares * fine.length).astype(np.int64)
    seen = np.full(len(shares), -1, np.int64)
    for offset in (1, -1, 0):
        place = np.clip(resized + offset, 0, fine.size - 1)
        shown = (float(fine.start) + (place + point) * float(fine.step)) * fine.length
        seen = np.where(np.floor(shown).astype(np.int64) == wanted, place, seen)
    return seen


def area_ratio(shape: Shape, area: int) -> tuple[float, float] | None:
    """Return area over what the mask's share of the picture says, and how far that may lie from 1; None if it is empty.

    The ratio is 1 where the mask had its picture's own resolution; it is more where it was finer.
    """
    mask = shape.values
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    down, across = _cell_of(shape)
    height = (rows[-1] - rows[0] + 1) * down
    width = (columns[-1] - columns[0] + 1) * across
    # Rows and columns, of the picture or of the view, whichever are wider, are repeated, or left out, unevenly: by one at
    # each edge of the object.
    seen = float(np.count_nonzero(mask)) * down * across
    uneven = 2 * max(down, 1.0) / max(height, 1.0) + 2 * max(across, 1.0) / max(width, 1.0)
    return area / seen, 0.05 + uneven


def most_unseen(shape: Shape) -> float:
    """Return the largest area that a view may show nothing of, in the picture's pixels.

    What is thinner than a cell, such as a line across the picture, may lie between the points that a nearest filter takes, or
    be under one half everywhere.
    """
    if shape.view.filter in ("cover", "touch"):
        return 0.0
    down, across = _cell_of(shape)
    if shape.view.filter == "half":
        down, across = max(1.0, down), max(1.0, across)
    height, width = (axis.length for axis in shape.axes)
    line = max(down * width if down >= 1 else 0.0, across * height if across >= 1 else 0.0)
    return max(line, _telling_area(shape))


def _telling_area(shape: Shape) -> float:
    """Return how many pixels of the picture an object has at least that is seen wherever it lies, if it is not thin."""
    down, across = _cell_of(shape)
    return MIN_AREA_SEEN * max(1.0, down) * max(1.0, across)


def tells_area(shape: Shape) -> bool:
    """Whether a view is fine enough to tell the area of what it shows, and its rule does not make each object larger."""
    down, across = _cell_of(shape)
    is_seen = np.count_nonzero(shape.values) * down * across >= _telling_area(shape)
    is_fine = min(shape.values.shape) >= MIN_CELLS and shape.view.filter != "touch"
    return is_fine and bool(is_seen) and not may_be_cut(shape)


def _cell_of(shape: Shape) -> tuple[float, float]:
    """Return height and width of a cell in pixels of the picture."""
    rows, columns = shape.axes
    return float(rows.step * rows.length), float(columns.step * columns.length)


def may_be_cut(shape: Shape) -> bool:
    """Whether a part of the object may lie where its view shows nothing of the picture."""
    rows, columns = shape.axes
    mask = shape.values
    borders = ((rows, mask[0], mask[-1]), (columns, mask[:, 0], mask[:, -1]))
    return any(
        (axis.start > 0 and (first.any() or not mask.any()))
        or (axis.start + axis.size * axis.step < 1 and (last.any() or not mask.any()))
        for axis, first, last in borders
    )
