"""Fits, against the released code that they follow, written out here with Pillow, numpy and torch; and masks over them."""

from fractions import Fraction
from math import floor
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from miniature.shapes import ellipse_of, picture_of
from numpy.typing import NDArray
from PIL import Image

from resizeonce.loader.format.recipe import ImageFilter, ImageView, MaskFilter, MaskView
from resizeonce.preprocess.decode.segmentation import Rle
from resizeonce.preprocess.errors import RecordError
from resizeonce.preprocess.tensors.geometry import place_image
from resizeonce.preprocess.tensors.transforms import resize_image, resize_mask

Mask = NDArray[np.bool_]

COLOUR = (123, 117, 104)
FILTERS = st.sampled_from(get_args(ImageFilter))
SIDES = st.integers(1, 12) | st.integers(1, 120)
PICTURES = st.tuples(SIDES, SIDES)


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def show(mask: Mask) -> list[str]:
    return ["".join("#" if pixel else "." for pixel in row) for row in mask]


def read(*rows: str) -> Mask:
    return np.array([[character == "#" for character in row] for row in rows])


def resize_by(mask_filter: MaskFilter, mask: Mask, height: int, width: int) -> Mask:
    """Resize a whole mask, by whoever the filter is named after."""
    if mask_filter == "pillow-nearest":
        return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    tensor = torch.from_numpy(mask)[None, None]
    if mask_filter == "torch-nearest":
        nearest = torch.nn.functional.interpolate(tensor.float(), (height, width), mode="nearest")
        return nearest[0, 0].numpy() == 1
    resized = torch.nn.functional.interpolate(
        tensor.double(), (height, width), mode="bilinear", antialias=True
    )
    return resized[0, 0].numpy() > 0.5


# ---- pad


def pad_as_sam(side: int, height: int, width: int) -> tuple[int, int]:
    """facebookresearch/segment-anything, segment_anything/utils/transforms.py, get_preprocess_shape."""
    scale = side * 1.0 / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


@settings(max_examples=150, deadline=None)
@given(PICTURES, st.integers(1, 90), FILTERS)
def test_pad_is_sams_longest_side_and_the_rest_below_and_to_the_right(
    size: tuple[int, int], side: int, name: ImageFilter
) -> None:
    shown = pad_as_sam(side, *size)
    assume(min(shown) > 0)  # SAM's own rounding leaves nothing of longer slivers
    image = picture(*size)
    resized = Image.fromarray(image).resize(shown[::-1], Image.Resampling[name.upper()])
    expected = np.full((side, side, 3), COLOUR, np.uint8)
    expected[: shown[0], : shown[1]] = np.asarray(resized)
    view = ImageView(size=(side, side), fit="pad", filter=name, values="uint8", pad=COLOUR)
    np.testing.assert_array_equal(resize_image(image, view), expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("size", "view_size", "shown"),
    [
        ((30, 40), (100, 300), (100, 133)),
        ((30, 40), (300, 100), (75, 100)),
        ((7, 10), (5, 10), (5, 7)),
        ((1, 3000), (16, 16), (1, 16)),  # SAM's rounding would leave none
    ],
)
def test_pad_of_other_sides_fits_both(
    size: tuple[int, int], view_size: tuple[int, int], shown: tuple[int, int]
) -> None:
    image = picture(*size)
    view = ImageView(size=view_size, fit="pad", values="uint8", pad=COLOUR)
    expected = np.full((*view_size, 3), COLOUR, np.uint8)
    expected[: shown[0], : shown[1]] = Image.fromarray(image).resize(shown[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize_image(image, view), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("mask_filter", ["pillow-nearest", "torch-nearest", "half"])
@settings(max_examples=100, deadline=None)
@given(PICTURES, st.integers(2, 90))
def test_a_mask_over_pad_is_resized_to_what_is_shown_and_padded_with_0(
    mask_filter: MaskFilter, size: tuple[int, int], side: int
) -> None:
    shown = pad_as_sam(side, *size)
    assume(shown[0] > 0 and shown[1] > 1)
    mask = ellipse_of(*size, 3)
    expected = np.zeros((side, side), bool)
    expected[: shown[0], : shown[1]] = resize_by(mask_filter, mask, *shown)
    view = MaskView(over="image", size=(side, side), filter=mask_filter)
    resized = resize_mask(Rle.of_array(mask), view, ImageView(size=(side, side), fit="pad"), size)
    np.testing.assert_array_equal(resized, expected)


def test_a_mask_over_pad_by_hand() -> None:
    # A picture of 3 x 4 fills the upper three rows of a view of 4 x 4, as it is.
    over = ImageView(size=(4, 4), fit="pad")
    mask = read("#...", "....", "##.#")

    def resize(side: int, mask_filter: MaskFilter) -> list[str]:
        view = MaskView(over="image", size=(side, side), filter=mask_filter)
        return show(resize_mask(Rle.of_array(mask), view, over, (3, 4)))

    for mask_filter in get_args(MaskFilter):
        assert resize(4, mask_filter) == ["#...", "....", "##.#", "...."]
    # Cells of 2 x 2 pixels: of the lower two, the lower half lies beside the picture, and so does the middle.
    assert resize(2, "cover") == ["..", "#."]
    assert resize(2, "touch") == ["#.", "##"]
    assert resize(2, "torch-nearest") == ["#.", "#."]
    assert resize(2, "pillow-nearest") == ["..", ".."]
    # Each pixel becomes 2 x 2 cells.
    for mask_filter in ("pillow-nearest", "torch-nearest", "cover", "touch"):
        assert (
            resize(8, mask_filter)
            == ["##......"] * 2 + ["........"] * 2 + ["####..##"] * 2 + ["........"] * 2
        )


# ---- crop


def crop_as_clip(picture: Image.Image, side: int, name: str) -> NDArray[np.uint8]:
    """huggingface/transformers, image_transforms.py: get_resize_output_image_size, not to a square, and center_crop."""
    short, long = sorted(picture.size)
    rest = int(side * long / short)
    size = (side, rest) if picture.width <= picture.height else (rest, side)
    resized = np.asarray(picture.resize(size, Image.Resampling[name.upper()]))
    top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
    return resized[top : top + side, left : left + side]


@settings(max_examples=150, deadline=None)
@given(PICTURES, st.integers(1, 60), FILTERS)
def test_crop_is_clips_shortest_side_and_the_middle_of_it(
    size: tuple[int, int], side: int, name: ImageFilter
) -> None:
    image = picture(*size)
    expected = crop_as_clip(Image.fromarray(image), side, name)
    view = ImageView(size=(side, side), fit="crop", filter=name)
    np.testing.assert_array_equal(resize_image(image, view), expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("size", "view_size", "resized", "skipped"),
    [
        ((480, 640), (224, 224), (224, 298), (0, 37)),
        ((640, 480), (224, 224), (298, 224), (37, 0)),
        # Other sides than a square's: the picture fills the view, and one side fits.
        ((480, 640), (100, 300), (225, 300), (62, 0)),
        ((480, 640), (300, 100), (300, 400), (0, 150)),
        ((3, 4), (6, 8), (6, 8), (0, 0)),
    ],
)
def test_crop_fills_the_view(
    size: tuple[int, int], view_size: tuple[int, int], resized: tuple[int, int], skipped: tuple[int, int]
) -> None:
    rows, columns = place_image(ImageView(size=view_size, fit="crop"), *size)
    assert ((rows.resized, columns.resized), (rows.skipped, columns.skipped)) == (resized, skipped)
    assert ((rows.before, columns.before), (rows.canvas, columns.canvas)) == ((0, 0), size)
    assert (rows.shown, columns.shown) == view_size


@pytest.mark.parametrize("mask_filter", ["pillow-nearest", "torch-nearest", "half"])
@settings(max_examples=100, deadline=None)
@given(PICTURES, PICTURES)
def test_a_mask_over_crop_is_resized_whole_and_cut(
    mask_filter: MaskFilter, size: tuple[int, int], view_size: tuple[int, int]
) -> None:
    over = ImageView(size=view_size, fit="crop")
    rows, columns = place_image(over, *size)
    assume(columns.resized > 1)
    mask = ellipse_of(*size, 3)
    expected = resize_by(mask_filter, mask, rows.resized, columns.resized)
    expected = expected[rows.skipped :, columns.skipped :][: view_size[0], : view_size[1]]
    view = MaskView(over="image", size=view_size, filter=mask_filter)
    np.testing.assert_array_equal(resize_mask(Rle.of_array(mask), view, over, size), expected)


def test_a_mask_over_crop_by_hand() -> None:
    # A picture of 4 x 8 becomes 2 x 4, of which the middle 2 x 2 are kept: pixels 2 to 5 of each row.
    over = ImageView(size=(2, 2), fit="crop")
    mask = read("##.#..##", "##.##.##", "........", "##.#.#.#")

    def resize(side: int, mask_filter: MaskFilter) -> list[str]:
        view = MaskView(over="image", size=(side, side), filter=mask_filter)
        return show(resize_mask(Rle.of_array(mask), view, over, (4, 8)))

    for mask_filter in get_args(MaskFilter):
        assert resize(4, mask_filter) == [".#..", ".##.", "....", ".#.#"]
    # Cells of 2 x 2 pixels: Pillow takes the lower right of each, torch the upper left.
    assert resize(2, "pillow-nearest") == ["#.", "##"]
    assert resize(2, "torch-nearest") == ["..", ".."]
    assert resize(2, "cover") == ["#.", ".."]
    assert resize(2, "touch") == ["##", "##"]
    # One cell of all 16, of which 5 are covered; what is covered beside the view counts for nothing.
    assert resize(1, "touch") == ["#"]
    assert resize(1, "cover") == ["#"]  # the only one, and so the most covered
    everything_but = read("##....##", "##....##", "##....##", "##....##")
    for mask_filter in get_args(MaskFilter):
        view = MaskView(over="image", size=(2, 2), filter=mask_filter)
        assert not resize_mask(Rle.of_array(everything_but), view, over, (4, 8)).any()


# ---- pad-first


def expand_to_square(picture: Image.Image, colour: tuple[int, int, int], align: str) -> Image.Image:
    """haotian-liu/LLaVA, llava/mm_utils.py, expand2square; or in the corner."""
    side = max(picture.size)
    square = Image.new("RGB", (side, side), colour)
    left, top = ((side - length) // 2 if align == "centre" else 0 for length in picture.size)
    square.paste(picture, (left, top))
    return square


ALIGNS = st.sampled_from(["centre", "corner"])


@settings(max_examples=150, deadline=None)
@given(PICTURES, PICTURES, FILTERS, ALIGNS)
def test_pad_first_is_llavas_square_squashed(
    size: tuple[int, int], view_size: tuple[int, int], name: ImageFilter, align: str
) -> None:
    image = picture(*size)
    square = expand_to_square(Image.fromarray(image), COLOUR, align)
    expected = np.asarray(square.resize(view_size[::-1], Image.Resampling[name.upper()]))
    view = ImageView(
        size=view_size, fit="pad-first", align=align, filter=name, values="uint8", pad=COLOUR
    )  # fmt: skip
    np.testing.assert_array_equal(resize_image(image, view), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("mask_filter", ["pillow-nearest", "torch-nearest", "half"])
@settings(max_examples=100, deadline=None)
@given(PICTURES, PICTURES, PICTURES, ALIGNS)
def test_a_mask_over_pad_first_is_put_on_the_square_and_resized(
    mask_filter: MaskFilter,
    size: tuple[int, int],
    mask_view: tuple[int, int],
    over_size: tuple[int, int],
    align: str,
) -> None:
    assume(mask_view[1] > 1)
    mask, side = ellipse_of(*size, 3), max(size)
    square = np.zeros((side, side), bool)
    top, left = ((side - length) // 2 if align == "centre" else 0 for length in size)
    square[top : top + size[0], left : left + size[1]] = mask
    view = MaskView(over="image", size=mask_view, filter=mask_filter)
    over = ImageView(size=over_size, fit="pad-first", align=align)
    resized = resize_mask(Rle.of_array(mask), view, over, size)
    np.testing.assert_array_equal(resized, resize_by(mask_filter, square, *mask_view))


# ---- masks of any resolution, at any size, in exact fractions


def shown_span(over: ImageView, axis: int, size: tuple[int, int]) -> tuple[Fraction, Fraction]:
    """Return where the view begins and ends, in fractions of the picture's side."""
    rows_columns, length, view_side = place_image(over, *size)[axis], size[axis], over.size[axis]
    pixel = Fraction(rows_columns.canvas, rows_columns.resized)
    begin = rows_columns.skipped * pixel - rows_columns.before
    return begin / length, (begin + view_side * pixel) / length


def measure_cells(mask: Mask, view: MaskView, over: ImageView, size: tuple[int, int]) -> list[list[Fraction]]:
    """Return which share of each cell is covered."""
    overlaps = []
    for axis, length in enumerate(mask.shape):
        begin, end = (part * length for part in shown_span(over, axis, size))
        step = (end - begin) / view.size[axis]
        starts = [begin + i * step for i in range(view.size[axis])]
        overlaps.append(
            [
                [max(Fraction(0), min(at + step, p + 1) - max(at, p)) / step for p in range(length)]
                for at in starts
            ]
        )
    covered = np.argwhere(mask).tolist()
    return [
        [sum((down[y] * across[x] for y, x in covered), Fraction(0)) for across in overlaps[1]]
        for down in overlaps[0]
    ]


SMALL = st.tuples(st.integers(1, 6), st.integers(1, 6))
FITTED = st.builds(
    ImageView, size=SMALL, fit=st.sampled_from(["squash", "pad", "pad-first", "crop"]), align=ALIGNS
)


@settings(max_examples=200, deadline=None)
@given(SMALL, SMALL, FITTED, SMALL, st.integers(0, 99))
def test_cover_and_touch_of_any_fit_and_resolution_are_exact_fractions(
    size: tuple[int, int], mask_size: tuple[int, int], over: ImageView, cells: tuple[int, int], seed: int
) -> None:
    mask = np.random.default_rng(seed).random(mask_size) < 0.4

    def touched(shares: list[list[Fraction]]) -> Mask:
        return np.array([[share > 0 for share in row] for row in shares])

    def covered(shares: list[list[Fraction]]) -> Mask:
        result = np.array([[2 * share >= 1 for share in row] for row in shares])
        flat = [share for row in shares for share in row]
        if not result.any() and max(flat) > 0:
            result.flat[flat.index(max(flat))] = True
        return result

    for mask_filter, decide in (("touch", touched), ("cover", covered)):
        view = MaskView(over="image", size=cells, filter=mask_filter)
        expected = decide(measure_cells(mask, view, over, size))
        np.testing.assert_array_equal(resize_mask(Rle.of_array(mask), view, over, size), expected)


@settings(max_examples=200, deadline=None)
@given(SMALL, SMALL, FITTED, SMALL, st.sampled_from(["pillow-nearest", "torch-nearest"]))
def test_nearest_of_any_fit_and_resolution_takes_the_pixel_under_the_point(
    size: tuple[int, int],
    mask_size: tuple[int, int],
    over: ImageView,
    cells: tuple[int, int],
    name: MaskFilter,
) -> None:
    mask = np.random.default_rng(0).random(mask_size) < 0.5
    view = MaskView(over="image", size=cells, filter=name)
    point = Fraction(1, 2) if name == "pillow-nearest" else Fraction(0)
    places = []
    for axis, length in enumerate(mask.shape):
        begin, end = (part * length for part in shown_span(over, axis, size))
        places.append([begin + (i + point) * (end - begin) / cells[axis] for i in range(cells[axis])])
    resized = resize_mask(Rle.of_array(mask), view, over, size)
    for (i, j), shown in np.ndenumerate(resized):
        y, x = places[0][i], places[1][j]
        if y.denominator == 1 or x.denominator == 1:
            continue  # on the border of two pixels rounding decides, as it does in Pillow and torch
        inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
        assert shown == (inside and mask[floor(y), floor(x)])


def test_a_mask_of_another_resolution_shows_the_same_part_of_the_picture() -> None:
    mask = read("#.", ".#")
    for factor in (1, 2, 3):
        finer = np.kron(mask, np.ones((factor, factor), bool))
        for fit in ("squash", "pad", "pad-first", "crop"):
            over = ImageView(size=(8, 6), fit=fit)
            for mask_filter in ("pillow-nearest", "cover", "touch"):
                view = MaskView(over="image", size=(4, 8), filter=mask_filter)
                resized = resize_mask(Rle.of_array(finer), view, over, (10, 4))
                np.testing.assert_array_equal(resized, resize_mask(Rle.of_array(mask), view, over, (10, 4)))


# ---- what is refused


@pytest.mark.parametrize("fit", ["crop", "pad-first"])
def test_a_picture_too_extreme_for_a_canvas_is_a_record_that_is_refused(fit: str) -> None:
    view = ImageView(size=(224, 224), fit=fit)
    assert resize_image(picture_of(2, 3000, 1), view).shape == (3, 224, 224)
    with pytest.raises(RecordError, match=f"2 x 20000000 pixels takes .* for a view of fit '{fit}'"):
        place_image(view, 2, 20_000_000)


def test_a_mask_at_its_own_size_is_not_resized() -> None:
    view = MaskView(over="image", size="own")
    with pytest.raises(ValueError, match="own size"):
        resize_mask(Rle.of_array(read("#")), view, ImageView(size=(2, 2)), (1, 1))
