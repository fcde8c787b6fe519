import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from miniature.shapes import ellipse_of, polygon_of
from pycocotools import mask as coco_mask

from resizeonce.preprocess.decode.segmentation import (
    Rle,
    parse_rle,
    parse_segmentation,
    rasterize_polygons,
)
from resizeonce.preprocess.errors import SegmentationError

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


def encode(mask: np.ndarray) -> dict[str, Any]:
    """pycocotools' compressed run lengths, as they stand in JSON."""
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def count_runs(mask: np.ndarray) -> list[int]:
    """Run lengths by walking down the columns, one pixel at a time."""
    runs, value = [0], False
    for column in mask.T:
        for pixel in column:
            if pixel != value:
                runs.append(0)
                value = pixel
            runs[-1] += 1
    return runs


def box_of(mask: np.ndarray) -> list[int]:
    """[x, y, width, height] of the covered pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    return [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]


# ---- the one way to write a mask, and the box around it


@given(MASKS)
def test_the_runs_and_the_box_of_a_mask_are_pycocotools_own_whatever_it_is_held_as(mask: np.ndarray) -> None:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    left, top, width, height = coco_mask.toBbox(rle).tolist()
    for held in (Rle.of_array(mask), parse_rle(encode(mask))):
        assert held.run_lengths.dtype == np.uint32
        assert held.run_lengths.tolist() == count_runs(mask)
        assert held.box == (left, top, left + width, top + height)
        x, y, wide, tall = box_of(mask)
        assert held.box == (x, y, x + wide, y + tall)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 6))
def test_runs_of_no_pixels_do_not_make_another_mask_of_it(runs: list[int], height: int) -> None:
    runs.append(-sum(runs) % height or height)
    rle = Rle(height, sum(runs) // height, np.array(runs, np.int64))
    assert rle.run_lengths.tolist() == count_runs(rle.decode())
    x, y, wide, tall = box_of(rle.decode())
    assert rle.box == (x, y, x + wide, y + tall)


# ---- run lengths worked by hand


@pytest.mark.parametrize(
    ("size", "counts", "rows"),
    [
        ([2, 3], [1, 2, 3], ["010", "100"]),
        ([3, 2], [1, 2, 3], ["00", "10", "10"]),
        ([2, 3], [0, 1, 4, 1], ["100", "001"]),
        ([2, 3], [6], ["000", "000"]),
        ([2, 3], [0, 6], ["111", "111"]),
        ([2, 3], [0, 0, 1, 1, 4], ["000", "100"]),
        ([2, 3], [2, 1, 0, 1, 2], ["010", "010"]),
        ([1, 4], [1, 2, 1], ["0110"]),
        ([4, 1], [1, 2, 1], ["0", "1", "1", "0"]),
        ([2.0, 3.0], [1.0, 2.0, 3.0], ["010", "100"]),
    ],
)
def test_runs_go_down_the_columns_background_first(
    size: list[int], counts: list[int], rows: list[str]
) -> None:
    expected = np.array([[character == "1" for character in row] for row in rows])
    rle = parse_rle({"size": size, "counts": counts})
    np.testing.assert_array_equal(rle.decode(), expected)
    assert rle.decode().dtype == bool
    assert rle.area == expected.sum()
    assert rle.size == expected.shape


def test_compressed_counts_worked_by_hand() -> None:
    # 5 is "5" (48 + 5). 49 = 17 + 1 * 32 is 17 with the flag for more, 48 + 17 + 32 = "a", then "1". From the fourth
    # run on the difference to the run two places earlier: 52 - 49 = 3 is "3"; 3 - 5 = -2 is 30 in 5 bits, 48 + 30 =
    # "N"; 46 - 52 = -6 is 26 in 5 bits, 48 + 26 = "J".
    rle = parse_rle({"size": [10, 16], "counts": "5a153NJ"})
    assert rle.runs.tolist() == [5, 49, 5, 52, 3, 46]


def test_empty_mask_of_the_formats_notes() -> None:
    assert parse_rle({"size": [848, 480], "counts": "P`]<"}).runs.tolist() == [407040]


def test_bytes_and_text_are_the_same() -> None:
    counts = encode(ellipse_of(20, 31, 1))["counts"]
    for spelling in (counts, counts.encode()):
        decoded = parse_rle({"size": [20, 31], "counts": spelling}).decode()
        np.testing.assert_array_equal(decoded, ellipse_of(20, 31, 1))


# ---- against pycocotools


@given(MASKS)
def test_compressed_counts_of_pycocotools_decode_to_the_mask(mask: np.ndarray) -> None:
    rle = parse_rle(encode(mask))
    assert rle.runs.tolist() == count_runs(mask)
    np.testing.assert_array_equal(rle.decode(), mask)
    assert rle.area == mask.sum()


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=12))
def test_long_runs_survive_compression(runs: list[int]) -> None:
    runs = [*runs, 2**24 - sum(runs)]
    compressed = coco_mask.frPyObjects({"size": [4096, 4096], "counts": runs}, 4096, 4096)
    assert parse_rle(compressed).runs.tolist() == runs


@settings(deadline=None)
@given(MASKS, st.data())
def test_sample_is_indexing_of_the_decoded_mask(mask: np.ndarray, data: st.DataObject) -> None:
    height, width = mask.shape
    rows, columns = (
        np.array(sorted(data.draw(st.lists(st.integers(0, side - 1), min_size=1, max_size=60))))
        for side in (height, width)
    )
    expected = mask[rows[:, None], columns]
    for segmentation in (parse_rle(encode(mask)), Rle.of_array(mask)):
        sampled = segmentation.sample(rows, columns)
        np.testing.assert_array_equal(sampled, expected)
        assert sampled.dtype == bool
        assert sampled.flags.c_contiguous


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 9))
def test_sample_copes_with_runs_of_zero(runs: list[int], height: int) -> None:
    runs = [*runs, -sum(runs) % height + height]
    width = sum(runs) // height
    rle = parse_rle({"size": [height, width], "counts": runs})
    flat = [place % 2 == 1 for place, run in enumerate(runs) for _ in range(run)]
    expected = np.array(flat).reshape(width, height).T
    np.testing.assert_array_equal(rle.decode(), expected)
    rows, columns = np.arange(height), np.arange(width)
    np.testing.assert_array_equal(rle.sample(rows, columns), expected)
    np.testing.assert_array_equal(rle.sample(rows[::2], columns[::3]), expected[::2, ::3])


def test_polygons_are_rasterised_as_pycocotools_does() -> None:
    for seed in range(40):
        height, width = 30 + seed, 90 - seed
        polygons = [polygon_of(height, width, seed), polygon_of(height, width, seed + 1000)]
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        np.testing.assert_array_equal(
            parse_segmentation(polygons, height, width).decode(), coco_mask.decode(rle) > 0
        )


def test_overlapping_polygons_are_united() -> None:
    parts = [[2, 2, 8, 2, 8, 8, 2, 8], [5, 5, 12, 5, 12, 9, 5, 9]]
    rle = parse_segmentation(parts, 10, 16)
    expected = np.zeros((10, 16), bool)
    expected[2:8, 2:8] = True
    expected[5:9, 5:12] = True
    np.testing.assert_array_equal(rle.decode(), expected)
    assert rle.area == 36 + 28 - 9


def test_parts_that_are_no_polygon_are_dropped_before_pycocotools_takes_them_for_boxes() -> None:
    square = [2, 2, 8, 2, 8, 8, 2, 8]
    for part in ([1, 1, 14, 9], [1, 1], [], [1, 1, 2, 2, 3, 3, 4]):
        assert parse_segmentation([part, square], 10, 16).area == 36


@pytest.mark.parametrize(
    "part", [None, "text", [1, 1, 2, "x", 3, 3], [1, 1, 2, float("nan"), 3, 3], [[1, 1], [2, 2], [3, 3]]]
)
def test_a_part_that_is_no_list_of_numbers_is_not_dropped_beside_good_ones(part: object) -> None:
    """The rest alone would be a mask that lacks a piece."""
    with pytest.raises(SegmentationError, match="polygon"):
        parse_segmentation([part, [2, 2, 8, 2, 8, 8, 2, 8]], 10, 16)


# ---- damage


def rle(size: object = (4, 6), counts: object = (24,)) -> dict[str, object]:
    return {
        "size": list(size) if isinstance(size, tuple) else size,
        "counts": list(counts) if isinstance(counts, tuple) else counts,
    }


NAN, INFINITY = float("nan"), float("inf")
DAMAGED: dict[str, tuple[object, str]] = {
    "one pixel over": (rle(counts=(20, 5)), "add up to 25 pixels, expected .* = 24"),
    "one pixel short": (rle(counts=(20, 3)), "add up to 23 pixels"),
    "no runs": (rle(counts=()), "add up to 0 pixels"),
    "no characters": (rle(counts=""), "add up to 0 pixels"),
    "negative run": (rle(counts=(25, -1)), "whole numbers"),
    "fraction": (rle(counts=(12.5, 11.5)), "whole numbers"),
    "bool": (rle(counts=(True, 23)), "whole numbers"),
    "nan": (rle(counts=(NAN,)), "whole numbers"),
    "run that wraps round in 64 bits": (rle(counts=(2**64, 24)), "whole numbers"),
    "run of 10**300": (rle(counts=(10**300,)), "whole numbers"),
    "runs that wrap round to 24": (rle(counts=(2**62, 2**62, 2**62, 2**62, 24)), "longer than the mask"),
    "text in runs": (rle(counts=("24",)), "whole numbers"),
    "counts null": (rle(counts=None), "whole numbers"),
    "counts a dict": (rle(counts={}), "whole numbers"),
    "not ASCII": (rle(counts="é"), "not ASCII"),
    "below '0'": (rle(counts="!"), "outside '0'..'o'"),
    "above 'o'": (rle(counts="p"), "outside '0'..'o'"),
    "bytes above ASCII": (rle(counts=b"\xff"), "outside '0'..'o'"),
    "cut in mid-number": (rle(counts="h0X"), "cut short"),
    "number of 11 groups": (rle(counts="P" * 10 + "0"), "more than 50 bits"),
    "negative number": (rle(counts="N"), "negative"),
    "sum of compressed": (rle(counts="40"), "add up to 4 pixels"),
    "transposed": (rle(size=(6, 4)), r"\[6, 4\] \(the transpose\), expected"),
    "other size": (rle(size=(2, 12)), r"\[2, 12\], expected"),
    "size of one": (rle(size=(24,)), "size must be"),
    "size null": (rle(size=None), "size must be"),
    "size of text": (rle(size=("4", "6")), "size must be"),
    "negative size": (rle(size=(-4, -6)), "size must be"),
    "zero size": (rle(size=(0, 6), counts=()), "not between 1 and"),
    "absurd size": (rle(size=(100_000_000, 100_000_000), counts=(10**16,)), "not between 1 and"),
    "size of 10**300": (rle(size=(10**300, 10**300)), "size must be"),
    "no size": ({"counts": [24]}, "expected a dict with size and counts"),
    "no counts": ({"size": [4, 6]}, "expected a dict with size and counts"),
    "empty list": ([], "no segmentation"),
    "null": (None, "no segmentation"),
    "text": ("P`]<", "no segmentation"),
    "number": (5, "no segmentation"),
    "a flat polygon": ([1, 1, 5, 1, 5, 5], "flat lists of numbers in pixels"),
    "a polygon of points": ([[[1, 1], [5, 1], [5, 5]]], "flat lists of numbers in pixels"),
    "points without brackets": ([[1, 1], [5, 1], [5, 5]], "no polygon of at least 3 points"),
    "numbers as text": ([["1", "1", "5", "1", "5", "5"]], "flat lists of numbers in pixels"),
    "points of names": ([{"x": 1, "y": 1}, {"x": 5, "y": 1}, {"x": 5, "y": 5}], "flat lists of numbers in pixels"),
    "two points": ([[1, 1, 5, 5]], "no polygon"),
    "odd count": ([[1, 1, 5, 1, 5, 5, 1]], "no polygon"),
    "nan in a polygon": ([[1, 1, 5, NAN, 5, 5]], "flat lists of numbers in pixels"),
    "infinity in a polygon": ([[1, 1, 5, INFINITY, 5, 5]], "flat lists of numbers in pixels"),
    "huge coordinate": ([[1, 1, 1e300, 1, 5, 5]], "flat lists of numbers in pixels"),
    "integer beyond floats": ([[1, 1, 10**400, 1, 5, 5]], "flat lists of numbers in pixels"),
    "long outline": ([[0, 0, 999_999, 0, 0, 999_999] * 3], "over the limit"),
}  # fmt: skip


@pytest.mark.parametrize(("segmentation", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_segmentation_says_what_was_found(segmentation: object, reason: str) -> None:
    with pytest.raises(SegmentationError, match=reason) as caught:
        parse_segmentation(segmentation, 4, 6)
    assert caught.value.stage == "mask"
    assert len(caught.value.reason) < 300


def test_message_stays_short_for_what_is_deep_or_long() -> None:
    deep: object = []
    for _ in range(2000):
        deep = [deep]
    for value in (deep, ["x" * 10**6] * 10, [list(range(10**6))[:-1]], {"a": "x" * 10**6}):
        with pytest.raises(SegmentationError) as caught:
            parse_segmentation(value, 4, 6)
        assert len(caught.value.reason) < 300


@given(MASKS, st.data())
def test_any_change_of_compressed_counts_gives_a_mask_or_an_error(
    mask: np.ndarray, data: st.DataObject
) -> None:
    encoded = encode(mask)
    counts = list(encoded["counts"])
    place = data.draw(st.integers(0, len(counts) - 1))
    counts[place] = data.draw(st.characters(max_codepoint=130))
    try:
        decoded = parse_rle({"size": encoded["size"], "counts": "".join(counts)}).decode()
    except SegmentationError:
        return
    assert decoded.shape == mask.shape


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5), (10**5, 10**5)])
def test_polygons_on_an_impossible_image_are_an_error(size: tuple[int, int]) -> None:
    with pytest.raises(SegmentationError, match="not between 1 and"):
        rasterize_polygons([[0, 0, 4, 0, 4, 4]], *size)


def test_polygon_outside_the_image_covers_nothing() -> None:
    assert parse_segmentation([[100, 100, 120, 100, 120, 120]], 10, 10).area == 0
    assert parse_segmentation([[-90, -90, -50, -90, -50, -50]], 10, 10).area == 0


# ---- the real samples


def test_real_vectors_have_their_area_box_and_pixels(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "rle_vectors" / "rle_vectors.json").read_text())
    assert len(vectors) == 99
    for vector in vectors:
        rle = parse_segmentation(vector["segmentation"], vector["height"], vector["width"])
        assert isinstance(rle, Rle)
        mask = rle.decode()
        assert rle.area == int(np.count_nonzero(mask)) == vector["area"], vector["source"]
        assert box_of(mask) == vector["bbox_xywh"], vector["source"]
        digest = hashlib.sha256(mask.astype(np.uint8).tobytes()).hexdigest()
        assert digest == vector["sha256_rowmajor_u8"], vector["source"]


def test_a_bitmap_of_other_bytes_than_0_and_1_is_made_of_these() -> None:
    array = np.array([[0, 1, 2], [255, 0, 128]], np.uint8).view(np.bool_)
    assert Rle.of_array(array).decode().tobytes() == bytes([0, 1, 1, 1, 0, 1])
