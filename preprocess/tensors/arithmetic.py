"""Whose of Pillow's versions resizes: which axis goes first, which shows, for values are rounded in between.

What the versions do (python-pillow/Pillow, `Image.resize` in Image.py and ImagingResampleInner in Resample.c):

- 11.0 to 12.1: the width first, always.
- 12.2 and 12.3: the height first where it shrinks, and is over a hundred times the width (pull request 9524).
- 13.0: the height first where it shrinks by over twice what the width does (pull request 9549).

"pillow-12" is the first two, "pillow-13" the last. They agree wherever only one axis changes, and on most landscape
pictures. Of slivers of over 1 : 100, on which versions of the first kind differ, "pillow-12" is what the installed one
makes of them; 12.3's where 13 is installed.
"""

from typing import get_args

import PIL

from ...loader.format.recipe import Arithmetic, ImageView
from ..errors import EngineError
from .geometry import Placement, place_image

_VERSION = tuple(int(number) for number in PIL.__version__.split(".")[:2])

INSTALLED: Arithmetic = "pillow-13" if _VERSION >= (13, 0) else "pillow-12"
"""Whose arithmetic the installed Pillow has."""

SLIVERS_VERTICALLY = _VERSION >= (12, 2)
"""Whether "pillow-12" shrinks the height of slivers first."""


def arithmetic_of(version: str) -> Arithmetic | None:
    """Return whose arithmetic a version of Pillow has, None where it is no version."""
    major, _, minor = version.partition(".")
    if not (major.isdecimal() and minor):
        return None
    return "pillow-13" if int(major) >= 13 else "pillow-12"


def check_installed(arithmetic: Arithmetic) -> None:
    """Raise `EngineError` where an arithmetic is not the installed Pillow's."""
    if arithmetic != INSTALLED:
        raise EngineError(
            f"the recipe's arithmetic is {arithmetic}, and that of the installed Pillow {PIL.__version__} is {INSTALLED}: "
            "install the other Pillow, or use the engine exact-fast, which has both where its compiled core is there and "
            "repeats the installed Pillow"
        )


def is_vertical_first(arithmetic: Arithmetic, rows: Placement, columns: Placement) -> bool:
    """Whether a canvas has its height resized before its width."""
    lower = rows.canvas - rows.resized
    if arithmetic == "pillow-13":
        return lower > max(0, 2 * (columns.canvas - columns.resized))
    return SLIVERS_VERTICALLY and lower > 0 and rows.canvas > 100 * columns.canvas


def depends_on_arithmetic(view: ImageView, height: int, width: int) -> bool:
    """Whether the two arithmetics resize a picture in another order, and so may give other bytes.

    Raises:
        RecordError: as in `place_image`.
    """
    if view.filter == "nearest":
        return False
    rows, columns = place_image(view, height, width)
    changes_both = rows.canvas != rows.resized and columns.canvas != columns.resized
    orders = {is_vertical_first(arithmetic, rows, columns) for arithmetic in get_args(Arithmetic)}
    return changes_both and len(orders) > 1
