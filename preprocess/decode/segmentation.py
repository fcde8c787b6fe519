"""Masks as run lengths, whatever datasets write them as: COCO run lengths of both kinds, polygons, and bitmaps.

Run lengths follow the COCO convention: `size` is [height, width], runs go down the columns, the first run is
background (and may be 0), and all runs together are exactly height x width pixels. Compressed counts are groups of
5 bits, one ASCII character each from "0" (48) to "o" (111): 0x20 says that more follows, 0x10 of the last group is
the sign, and from the fourth run on the difference to the run two places earlier is written (cocodataset/cocoapi,
common/maskApi.c). Everything is checked before a mask is allocated, since files come from strangers.

Polygons are rasterised by pycocotools: rasterisers disagree on edges, and its result is what COCO means.
"""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ...loader.format.layout import MAX_MASK_PIXELS
from ..errors import SegmentationError
from ..kernels.core import CORE

MAX_POLYGON_LENGTH = 2_000_000
"""Longest outline in pixels, all parts together: pycocotools keeps 5 points for each pixel of it in memory."""


Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of a mask, x1 and y1 behind the last that are covered."""


@dataclass(frozen=True)
class Rle:
    """A mask as run lengths down its columns, background first."""

    height: int
    width: int
    runs: NDArray[np.int64]
    """int64 [R], each >= 0, together height x width."""

    @classmethod
    def of_array(cls, array: NDArray[np.bool_]) -> "Rle":
        """Return the run lengths of a mask, bool [H, W].

        Its bytes may be any: what numpy reads from a stranger's file need not be 0 and 1.
        """
        height, width = array.shape
        pixels = (array.view(np.uint8) != 0).ravel(order="F")
        starts = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
        # The first run is background, if only of no pixel.
        bounds = np.concatenate([[0, 0] if pixels[0] else [0], starts, [pixels.size]])
        return cls(height, width, np.diff(bounds))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @cached_property
    def area(self) -> int:
        """Number of covered pixels."""
        return int(self.runs[1::2].sum())

    @property
    def run_lengths(self) -> NDArray[np.uint32]:
        """The one way to write the mask as run lengths, uint32 [R]: none is 0 but perhaps the first."""
        if self.runs[1:].all():
            return self.runs.astype(np.uint32)
        # Runs of one colour that a run of no pixels parts are one.
        lengths = self.runs[self.runs > 0]
        is_covered = (np.arange(len(self.runs)) % 2 == 1)[self.runs > 0]
        starts = np.flatnonzero(np.diff(is_covered, prepend=~is_covered[:1]))
        joined = np.add.reduceat(lengths, starts)
        return np.concatenate([joined[:0] if not is_covered[0] else [0], joined]).astype(np.uint32)

    @cached_property
    def box(self) -> Box:
        """The box around what is covered; zeros where nothing is."""
        ends = np.cumsum(self.runs)[1::2]
        starts, ends = (ends - self.runs[1::2])[self.runs[1::2] > 0], ends[self.runs[1::2] > 0]
        if not len(ends):
            return (0, 0, 0, 0)
        first, last = starts // self.height, (ends - 1) // self.height
        # A run that goes on in the next column covers the bottom of this one and the top of that.
        is_long = bool((last > first).any())
        top = 0 if is_long else int((starts % self.height).min())
        bottom = self.height if is_long else int(((ends - 1) % self.height).max()) + 1
        return int(first[0]), top, int(last[-1]) + 1, bottom

    def decode(self) -> NDArray[np.bool_]:
        """Return the mask, bool [height, width]."""
        values = np.arange(len(self.runs)) % 2 == 1
        return np.ascontiguousarray(np.repeat(values, self.runs).reshape(self.width, self.height).T)

    def sample(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the mask at the grid of ascending `rows` and `columns`, bool [len(rows), len(columns)].

        Only run boundaries are looked at, so the cost does not grow with the mask's own size.
        """
        columns, repeats = np.unique_counts(columns)
        # Down the columns the samples come in the order of the runs: find the first sample at or after each boundary.
        boundaries = np.cumsum(self.runs)
        column, row = np.divmod(boundaries, self.height)
        place = np.searchsorted(columns, column)
        inside = columns[np.minimum(place, len(columns) - 1)] == column
        first = place * len(rows) + np.where(inside, np.searchsorted(rows, row), 0)
        first = np.minimum(first, len(columns) * len(rows))
        values = np.arange(len(first)) % 2 == 1
        samples = np.repeat(values, np.diff(first, prepend=0)).reshape(len(columns), len(rows))
        return np.ascontiguousarray(np.repeat(samples, repeats, axis=0).T)


def parse_segmentation(segmentation: object, height: int, width: int) -> Rle:
    """Return what a COCO `segmentation` value covers in an image of `height` x `width`.

    A list of lists is polygons, a dict is run lengths; `iscrowd` does not decide it.

    Raises:
        SegmentationError: the value is no mask, is damaged, or does not fit the image.
    """
    if isinstance(segmentation, dict):
        rle = parse_rle(segmentation)
        if rle.size != (height, width):
            turned = " (the transpose)" if rle.size == (width, height) else ""
            raise SegmentationError(
                f"run lengths have size {list(rle.size)}{turned}, expected [height, width] = {[height, width]}"
            )
        return rle
    if isinstance(segmentation, list) and segmentation:
        return rasterize_polygons(segmentation, height, width)
    raise SegmentationError(
        f"no segmentation: found {_shorten(segmentation)}, expected polygons or run lengths"
    )


def parse_rle(rle: object) -> Rle:
    """Return the run lengths of `{"size": [height, width], "counts": list, str or bytes}`.

    Raises:
        SegmentationError: a field is missing or of another type, or the runs do not fill the mask exactly.
    """
    if not isinstance(rle, dict) or "size" not in rle or "counts" not in rle:
        raise SegmentationError(f"expected a dict with size and counts, found {_shorten(rle)}")
    size, counts = rle["size"], rle["counts"]
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(_is_count(side) for side in size)):
        raise SegmentationError(f"size must be [height, width], two whole numbers, found {_shorten(size)}")
    height, width = (int(side) for side in size)
    check_mask_size(height, width)
    if isinstance(counts, str | bytes):
        runs = _runs_of(counts)
    elif isinstance(counts, list) and all(_is_count(run) for run in counts):
        if any(run > height * width for run in counts):
            raise SegmentationError(f"a run is longer than the mask of {height} x {width} pixels")
        runs = np.array(counts, np.int64)
    else:
        raise SegmentationError(f"counts must be whole numbers or a string, found {_shorten(counts)}")
    if runs.size and int(runs.min()) < 0:
        raise SegmentationError(f"a run length is negative ({int(runs.min())}): the counts are damaged")
    # Each run is capped before they are summed, so the sum can't wrap around.
    total = int(np.minimum(runs, height * width + 1).sum())
    if total != height * width:
        raise SegmentationError(
            f"run lengths add up to {total} pixels, expected height x width = {height} x {width} = {height * width}"
        )
    return Rle(height, width, runs)


def rasterize_polygons(polygons: Sequence[object], height: int, width: int) -> Rle:
    """Return the union of `[x1, y1, x2, y2, ...]` polygons, in pixels, on an image of `height` x `width`.

    Parts of fewer than three points or with an odd count are dropped first: pycocotools takes four numbers for a box.

    Raises:
        SegmentationError: no part is a polygon, or one is something else than numbers.
    """
    check_mask_size(height, width)
    outlines = [part for part in polygons if _is_outline(part)]
    if len(outlines) < len(polygons):
        raise SegmentationError(
            "expected polygons as flat lists of numbers in pixels (none of them NaN, Infinity, or a million and more) within a "
            f"list, [[x1, y1, x2, y2, ...]], found {_shorten(polygons)}"
        )
    parts = [outline for outline in outlines if _is_area(outline)]
    if not parts:
        raise SegmentationError(
            "no polygon of at least 3 points (6 numbers, an even count, in one list: [[x1, y1, x2, y2, ...]]) among "
            f"{_shorten(polygons)}"
        )
    if (length := sum(_outline_length(part) for part in parts)) > MAX_POLYGON_LENGTH:
        raise SegmentationError(
            f"the polygons' outlines are {length:.0f} pixels long, over the limit of {MAX_POLYGON_LENGTH}"
        )
    compressed = coco_mask.merge(coco_mask.frPyObjects(parts, height, width))
    return Rle(height, width, _runs_of(compressed["counts"]))


def unite(masks: Sequence[Rle]) -> Rle:
    """Return what any of some masks of one size covers.

    Raises:
        SegmentationError: they are not of one size.
    """
    if len({mask.size for mask in masks}) > 1:
        sizes = ", ".join(f"{mask.height} x {mask.width}" for mask in masks)
        raise SegmentationError(f"masks of {sizes} (height x width) can't be one: expected one size")
    # Where each mask begins to cover and where it ends; between those some mask covers as long as more began than ended.
    bounds = [np.cumsum(mask.runs)[: len(mask.runs) // 2 * 2] for mask in masks]
    places, inverse = np.unique(np.concatenate(bounds), return_inverse=True)
    steps = np.concatenate([np.resize([1, -1], len(bound)) for bound in bounds])
    depth = np.cumsum(np.bincount(inverse, steps, len(places)))
    changes = places[np.diff(depth > 0, prepend=False)]
    total = masks[0].height * masks[0].width
    return Rle(*masks[0].size, np.diff(np.append(changes, total), prepend=0).astype(np.int64))


def polygon_extent(segmentation: object) -> tuple[float, float] | None:
    """Return how far down and how far to the right polygons reach, in pixels; None of what is no polygons."""
    outlines = segmentation if isinstance(segmentation, list) else []
    if not outlines or not all(_is_outline(part) and _is_area(part) for part in outlines):
        return None
    return max(max(part[1::2]) for part in outlines), max(max(part[0::2]) for part in outlines)


def check_mask_size(height: int, width: int) -> None:
    """Raise `SegmentationError` unless the size is positive and within `MAX_MASK_PIXELS`, before memory is taken."""
    if height < 1 or width < 1 or height * width > MAX_MASK_PIXELS:
        raise SegmentationError(
            f"a mask of {height} x {width} pixels is not between 1 and the limit of {MAX_MASK_PIXELS} pixels"
        )


def _runs_of(counts: str | bytes) -> NDArray[np.int64]:
    """Do what `decompress_counts` does, by the core where there is one; what is damaged it leaves to that."""
    if CORE is None:
        return decompress_counts(counts)
    try:
        encoded = counts.encode("ascii") if isinstance(counts, str) else counts
        runs = np.empty(len(encoded), np.int64)
        return runs[: CORE.decompress_counts(encoded, runs)].copy()
    except ValueError:
        return decompress_counts(counts)


def decompress_counts(counts: str | bytes) -> NDArray[np.int64]:
    """Return the run lengths of a compressed counts string, int64 [R]; they are not summed or checked here."""
    try:
        groups = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, np.uint8)
    except UnicodeEncodeError as err:
        raise SegmentationError("compressed counts hold a character that is not ASCII") from err
    if groups.size == 0:
        return np.zeros(0, np.int64)
    if int(groups.min()) < 48 or int(groups.max()) > 111:
        raise SegmentationError("compressed counts hold a character outside '0'..'o': the string is damaged")
    groups = groups - np.uint8(48)
    last = (groups & 0x20) == 0
    if not last[-1]:
        raise SegmentationError("compressed counts end in the middle of a number: the string is cut short")
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if int(lengths.max()) > 10:
        raise SegmentationError("compressed counts hold a number of more than 50 bits: the string is damaged")
    place = np.arange(groups.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((groups & 0x1F).astype(np.int64) << (5 * place), starts)
    runs -= np.where(groups[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    # Differences to the run two places earlier begin at the fourth run: runs 1 and 2 start the two chains.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _is_count(value: object) -> bool:
    """Whether a JSON value is a whole number >= 0 (SA-1B writes some as 2.0)."""
    if isinstance(value, float):
        return value.is_integer() and 0 <= value < 2**53
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _outline_length(part: Sequence[float]) -> float:
    """Return the length of a closed polygon, each edge by its longer side."""
    points = np.array(part, np.float64).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _is_coordinate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _is_outline(part: object) -> TypeGuard[Sequence[float]]:
    return isinstance(part, list | tuple) and all(map(_is_coordinate, part))


def _is_area(outline: Sequence[float]) -> bool:
    return len(outline) >= 6 and len(outline) % 2 == 0


def _shorten(value: object) -> str:
    # A plain repr would walk through all of it, and give up on a list that is nested too deeply.
    text = reprlib.repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
