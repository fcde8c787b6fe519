"""What a view shows of its picture, worked by hand."""

from fractions import Fraction
from typing import Any

import pytest

from resizeonce.loader.format.geometry import (
    box_of,
    choose_reference,
    describe_fit,
    mask_axes,
    other_geometries,
    shared,
    view_axes,
)
from resizeonce.loader.format.recipe import ImageView, MaskView


def view(fit: Any, *size: int, align: Any = "centre") -> ImageView:
    return ImageView(size=(size[0], size[-1]), fit=fit, align=align)


@pytest.mark.parametrize(
    ("one", "rows", "columns"),
    [
        # Of a picture of 300 x 400: what share of it the first pixel begins at, and how many pixels all of it would have.
        (view("squash", 100), (0, 100), (0, 100)),
        (view("squash", 50, 80), (0, 50), (0, 80)),
        (view("pad", 100), (0, 75), (0, 100)),
        (view("pad", 100, 50), (0, 38), (0, 50)),
        # 100 x 133 pixels, of which 16 are cut off on the left and 17 on the right.
        (view("crop", 100), (0, 100), (Fraction(16, 133), 133)),
        # On a square of 400 the picture begins at row 50, which is a sixth of it.
        (view("pad-first", 100), (Fraction(-1, 6), 75), (0, 100)),
        (view("pad-first", 100, align="corner"), (0, 75), (0, 100)),
    ],
)
def test_fits_by_hand(
    one: ImageView, rows: tuple[Fraction | int, int], columns: tuple[Fraction | int, int]
) -> None:
    axes = view_axes(one, 300, 400)
    assert [(axis.start, 1 / axis.step) for axis in axes] == [rows, columns]


def test_a_mask_shows_what_its_image_shows() -> None:
    rows, columns = mask_axes(MaskView(over="image", size=(25, 20)), view("crop", 100), 300, 400)
    image = view_axes(view("crop", 100), 300, 400)
    assert (rows.start, columns.start) == (image[0].start, image[1].start)
    assert (rows.step, columns.step) == (4 * image[0].step, 5 * image[1].step)


def test_what_a_crop_and_a_padded_view_share_lies_in_the_middle_of_the_padded_one() -> None:
    crop, pad = view_axes(view("crop", 100), 200, 400), view_axes(view("pad", 80), 200, 400)
    both = shared(crop, pad)
    assert both == ((0, 1), (Fraction(1, 4), Fraction(3, 4)))
    assert box_of(crop, both) == (0, 0, 100, 100)
    assert box_of(pad, both) == (20, 0, 60, 40)


def test_beside_a_picture_that_is_padded_first_some_pixels_are_mixed() -> None:
    # Rows 25 to 75 of 100 are picture; the widest filter looks at three pixels to either side.
    rows, columns = view_axes(view("pad-first", 100), 200, 400)
    assert (rows.picture, rows.mixed) == ((25, 75), (22, 78))
    assert rows.unmixed == (Fraction(3, 50), Fraction(47, 50))
    assert (columns.mixed, columns.unmixed) == ((0, 100), (0, 1))
    padded, _ = view_axes(view("pad", 100), 200, 400)
    assert (padded.mixed, padded.unmixed) == ((0, 50), (0, 1))


@pytest.mark.parametrize("fit", ["squash", "pad", "pad-first", "crop"])
def test_other_geometries_of_a_square_picture_are_none(fit: str) -> None:
    assert other_geometries(view(fit, 100), 300, 300) == {}
    assert describe_fit(view(fit, 100)) not in other_geometries(view(fit, 100), 300, 400)


def test_the_reference_has_all_of_the_picture_where_one_view_has() -> None:
    assert choose_reference({"a": view("crop", 4), "b": view("pad", 4), "c": view("squash", 4)}) == "b"
    assert choose_reference({"a": view("crop", 4), "b": view("crop", 8)}) == "a"
