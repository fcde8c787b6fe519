"""Masks from run lengths, against the plain functions and pycocotools."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

pytest.importorskip("numba")

from resizeonce.preprocess.decode import segmentation
from resizeonce.preprocess.decode.counts_loops import decompress_counts
from resizeonce.preprocess.decode.segmentation import Bitmap, Rle, parse_rle
from resizeonce.preprocess.errors import SegmentationError
from resizeonce.preprocess.tensors.rle import cover_runs, make_grid, sample_grid
from resizeonce.preprocess.tensors.transforms import pillow_positions, resize_mask, torch_positions

SIDES = st.integers(1, 12) | st.integers(1, 90)
PARTS = st.sampled_from([0.0, 0.02, 0.3, 0.7, 0.98, 1.0])


def draw(height: int, width: int, part: float, seed: int) -> NDArray[np.bool_]:
    """Return rectangles of 1 to 8 pixels, `part` of them covered: runs of all lengths, also over column ends."""
    rng = np.random.default_rng(seed)
    cell = int(rng.integers(1, 9))
    cells = rng.random((height // cell + 1, width // cell + 1)) < part
    return np.kron(cells, np.ones((cell, cell), np.bool_))[:height, :width]


def encode(mask: NDArray[np.bool_]) -> bytes:
    counts: bytes = coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
    return counts


def runs_of(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    runs = decompress_counts(encode(mask))
    assert runs is not None
    return runs


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, SIDES, PARTS, st.integers(0, 999))
def test_samples_are_the_masks_pixels(height: int, width: int, size: int, part: float, seed: int) -> None:
    mask = draw(height, width, part, seed)
    runs = runs_of(mask)
    for positions in (pillow_positions, torch_positions):
        rows, columns = positions(height, size), positions(width, size)
        sampled = sample_grid(runs, make_grid(height, width, rows, columns))
        assert np.array_equal(sampled, mask[rows[:, None], columns])
        assert np.array_equal(sampled, Rle(height, width, runs).sample(rows, columns))


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, SIDES, PARTS, st.integers(0, 999))
def test_cover_is_the_plain_cover(height: int, width: int, size: int, part: float, seed: int) -> None:
    mask = draw(height, width, part, seed)
    assert np.array_equal(
        cover_runs(runs_of(mask), height, width, size), resize_mask(Bitmap(mask), size, "cover")
    )


def test_cover_of_equally_small_parts_takes_the_first_row_by_row() -> None:
    mask = np.zeros((40, 40), np.bool_)
    # By columns, the one in the last row of cells would come first.
    mask[35, 2] = mask[3, 30] = True
    cells = cover_runs(runs_of(mask), 40, 40, 4)
    assert np.argwhere(cells).tolist() == [[0, 3]]


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, PARTS, st.integers(0, 999))
def test_counts_are_decompressed_as_pycocotools_means_them(
    height: int, width: int, part: float, seed: int
) -> None:
    mask = draw(height, width, part, seed)
    counts = encode(mask)
    assert np.array_equal(runs_of(mask), segmentation.decompress_counts(counts))
    assert np.array_equal(Rle(height, width, runs_of(mask)).decode(), mask)


@settings(max_examples=500, deadline=None)
@given(
    st.text(st.characters(min_codepoint=46, max_codepoint=113), max_size=30)
    | st.text(max_size=5)
    | st.binary(max_size=12)
)
def test_damaged_counts_are_damaged_for_both(counts: str | bytes) -> None:
    runs = decompress_counts(counts)
    try:
        expected = segmentation.decompress_counts(counts)
    except SegmentationError:
        assert runs is None
    else:
        assert runs is not None
        assert np.array_equal(runs, expected)


def test_parsing_takes_the_compiled_loops_where_they_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = draw(50, 60, 0.3, 1)
    asked: list[str | bytes] = []

    def decompress(counts: str | bytes) -> NDArray[np.int64] | None:
        asked.append(counts)
        return decompress_counts(counts)

    loops = SimpleNamespace(decompress_counts=decompress)
    monkeypatch.setattr(segmentation, "loaded", lambda _: loops)
    rle = {"size": [50, 60], "counts": encode(mask)}
    assert np.array_equal(parse_rle(rle).decode(), mask)
    with pytest.raises(SegmentationError, match="cut short"):
        parse_rle({"size": [50, 60], "counts": "P"})
    assert asked == [rle["counts"], "P"]
    monkeypatch.setattr(segmentation, "loaded", lambda _: None)
    assert np.array_equal(parse_rle(rle).decode(), mask)
    assert len(asked) == 2


def test_empty_runs_between_long_ones_change_nothing() -> None:
    runs = np.array([0, 0, 5, 3, 0, 4, 0, 0, 8])
    mask = Rle(5, 4, runs)
    rows, columns = np.arange(5), np.arange(4)
    assert np.array_equal(sample_grid(runs, make_grid(5, 4, rows, columns)), mask.decode())
    assert np.array_equal(cover_runs(runs, 5, 4, 3), resize_mask(mask, 3, "cover"))


@pytest.mark.parametrize("rows", [[-1, 0], [0, 5], [3, 2], [4, 0, 1]])
def test_positions_outside_or_out_of_order_are_refused(rows: list[int]) -> None:
    runs = np.array([0, 20])
    with pytest.raises(ValueError, match=r"ascending within 0\.\.4"):
        sample_grid(runs, make_grid(5, 4, np.array(rows), np.arange(4)))
