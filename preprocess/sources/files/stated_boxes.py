"""Boxes as COCO, SA-1B and OpenImages state them beside masks: never trusted, only compared."""

from collections.abc import Sequence

import msgspec

from .json_files import JSON_ERRORS

StatedBox = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""


def read_box(bbox: msgspec.Raw) -> StatedBox | None:
    """Return the corners of a `bbox`, `[x, y, width, height]`; None of what is no box, or has no size.

    >>> read_box(msgspec.Raw(b"[10, 20, 5, 6.5]"))
    (10.0, 20.0, 15.0, 26.5)
    """
    try:
        x, y, width, height = msgspec.json.decode(bbox, type=StatedBox, strict=False)
    except JSON_ERRORS:
        return None
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def join_boxes(boxes: Sequence[StatedBox | None]) -> StatedBox | None:
    """Return the box around some boxes; None where one is not stated, or there is none."""
    stated = [box for box in boxes if box is not None]
    if not stated or len(stated) < len(boxes):
        return None
    left, top, right, bottom = zip(*stated, strict=True)
    return min(left), min(top), max(right), max(bottom)


def scale_box(shares: StatedBox, size: tuple[int, int]) -> StatedBox:
    """Return a box in pixels that is given in shares of a size, height and width.

    >>> scale_box((0.5, 0.25, 1.0, 0.5), (40, 10))
    (5.0, 10.0, 10.0, 20.0)
    """
    (x0, y0, x1, y1), (height, width) = shares, size
    return x0 * width, y0 * height, x1 * width, y1 * height
