"""The core's run lengths, against the plain functions and pycocotools."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from resizeonce.preprocess.decode import segmentation
from resizeonce.preprocess.decode.segmentation import Rle, parse_rle
from resizeonce.preprocess.errors import SegmentationError
from resizeonce.preprocess.kernels.core import CORE, Cells
from resizeonce.preprocess.tensors.nearest import pillow_positions

if CORE is None:
    pytest.skip("there is no core here", allow_module_level=True)

Runs = NDArray[np.int64]

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


def decompress(counts: bytes) -> Runs:
    runs = np.full(len(counts), -1)
    return runs[: CORE.decompress_counts(counts, runs)]


def sample(runs: Runs, height: int, width: int, rows: Any, columns: Any) -> NDArray[np.bool_]:
    out = np.zeros((len(rows), len(columns)), np.uint8)
    CORE.sample_runs(runs, height, width, np.asarray(rows, np.int64), np.asarray(columns, np.int64), out)
    assert out.max(initial=0) <= 1
    return out.view(np.bool_)


def cover_cells(runs: Runs, rows: Cells, columns: Cells, least: int) -> NDArray[np.bool_]:
    # Whatever the memory holds, all of it is written.
    out = np.full((rows.size, columns.size), 7, np.uint8)
    CORE.cover_runs(runs, rows, columns, least, out)
    assert out.max() <= 1
    return out.view(np.bool_)


def cover(runs: Runs, height: int, width: int, size: int) -> NDArray[np.bool_]:
    """Of a mask that is squashed to `size`: a cell has `height` units, and a pixel `size`."""
    rows, columns = Cells(height, size, size, height, 0), Cells(width, size, size, width, 0)
    return cover_cells(runs, rows, columns, height * width)


def measure(mask: NDArray[np.bool_], rows: Cells, columns: Cells) -> NDArray[np.int64]:
    """Return the covered units of each cell, by drawing every unit."""
    drawn = np.kron(mask, np.ones((rows.pixel, columns.pixel), np.int64))
    tall, wide = (np.arange(axis.size * axis.cell) + axis.start for axis in (rows, columns))
    inside = ((tall >= 0) & (tall < len(drawn)))[:, None] & ((wide >= 0) & (wide < drawn.shape[1]))[None]
    units = np.where(inside, drawn[tall.clip(0, len(drawn) - 1)][:, wide.clip(0, drawn.shape[1] - 1)], 0)
    return units.reshape(rows.size, rows.cell, columns.size, columns.cell).sum(axis=(1, 3))


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, SIDES, PARTS, st.integers(0, 999))
def test_samples_are_the_masks_pixels(height: int, width: int, size: int, part: float, seed: int) -> None:
    mask = draw(height, width, part, seed)
    runs = decompress(encode(mask))
    rows, columns = pillow_positions(height, size), pillow_positions(width, size)
    sampled = sample(runs, height, width, rows, columns)
    assert np.array_equal(sampled, mask[rows[:, None], columns])
    assert np.array_equal(sampled, Rle(height, width, runs).sample(rows, columns))


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, PARTS, st.integers(0, 999), st.data())
def test_a_grid_is_any_rows_and_columns_in_order_also_the_same_again(
    height: int, width: int, part: float, seed: int, data: st.DataObject
) -> None:
    mask = draw(height, width, part, seed)
    rows, columns = (
        sorted(data.draw(st.lists(st.integers(0, length - 1), max_size=150))) for length in mask.shape
    )
    sampled = sample(decompress(encode(mask)), height, width, rows, columns)
    expected = mask[np.array(rows, int)[:, None], np.array(columns, int)]
    assert np.array_equal(sampled, expected)


@st.composite
def cells_over(draw: st.DrawFn, length: int) -> Cells:
    pixel, cell, size = draw(st.integers(1, 5)), draw(st.integers(1, 12)), draw(st.integers(1, 12))
    return Cells(length, size, pixel, cell, draw(st.integers(-3 * cell, pixel * length + cell)))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), PARTS, st.integers(0, 999), st.data())
def test_cells_anywhere_are_told_by_the_units_that_are_covered(
    height: int, width: int, part: float, seed: int, data: st.DataObject
) -> None:
    mask = draw(height, width, part, seed)
    runs = decompress(encode(mask))
    rows, columns = data.draw(cells_over(height)), data.draw(cells_over(width))
    covered = measure(mask, rows, columns)
    assert np.array_equal(cover_cells(runs, rows, columns, 1), covered > 0)
    expected = 2 * covered >= rows.cell * columns.cell
    if covered.any() and not expected.any():
        expected.flat[covered.argmax()] = True
    assert np.array_equal(cover_cells(runs, rows, columns, rows.cell * columns.cell), expected)


def test_cover_of_equally_small_parts_takes_the_first_row_by_row() -> None:
    mask = np.zeros((40, 40), np.bool_)
    # By columns, the one in the last row of cells would come first.
    mask[35, 2] = mask[3, 30] = True
    assert np.argwhere(cover(decompress(encode(mask)), 40, 40, 4)).tolist() == [[0, 3]]


def test_empty_runs_between_long_ones_change_nothing() -> None:
    runs = np.array([0, 0, 5, 3, 0, 4, 0, 0, 8])
    mask = Rle(5, 4, runs)
    assert np.array_equal(sample(runs, 5, 4, np.arange(5), np.arange(4)), mask.decode())
    rows, columns = Cells(5, 3, 3, 5, 0), Cells(4, 3, 3, 4, 0)
    assert np.array_equal(cover(runs, 5, 4, 3), 2 * measure(mask.decode(), rows, columns) >= 5 * 4)


def test_runs_in_any_memory_are_taken() -> None:
    memory = np.zeros(3 * 8 + 1, np.uint8)
    memory[1:].view(np.int64)[:] = [5, 4, 3]
    runs = memory[1:].view(np.int64)
    runs.setflags(write=False)
    assert np.array_equal(sample(runs, 4, 3, range(4), range(3)), Rle(4, 3, runs).decode())


HUGE = 1 << 31


def test_the_longest_masks_are_sampled_and_averaged_without_overflow() -> None:
    runs = np.array([HUGE - 2, 1, 1])
    assert sample(runs, 1, HUGE, [0], [0, HUGE - 3, HUGE - 2, HUGE - 1]).tolist() == [
        [False, False, True, False]
    ]
    assert np.argwhere(cover(runs, 1, HUGE, 3)).tolist() == [[0, 2]]
    assert np.argwhere(cover(runs, HUGE, 1, 3)).tolist() == [[2, 0]]
    side = 1 << 30
    assert np.argwhere(cover(np.array([side * side - 1, 1]), side, side, 2)).tolist() == [[1, 1]]
    assert not cover(np.array([side * side]), side, side, 2).any()


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [19],
        [21],
        [0, 21],
        [20, 1],
        [-1, 21],
        [30, -10],
        [5, -5, 20],
        [2**63 - 1, 2**63 - 1, 22],
        [2**62] * 4 + [20],
        [-(2**63), 20],
        [10, 5, 4],
    ],
)
def test_runs_that_do_not_fill_the_mask_are_refused(runs: list[int]) -> None:
    damaged = np.array(runs, np.int64)
    with pytest.raises(ValueError, match="runs must be >= 0, and together"):
        sample(damaged, 5, 4, range(5), range(4))
    with pytest.raises(ValueError, match="runs must be >= 0, and together"):
        cover(damaged, 5, 4, 2)


@pytest.mark.parametrize("rows", [[-1, 0], [0, 5], [3, 2], [4, 0, 1], [2**62], [-(2**63)]])
def test_positions_outside_or_out_of_order_are_refused(rows: list[int]) -> None:
    runs = np.array([0, 20])
    with pytest.raises(ValueError, match="ascending within the mask"):
        sample(runs, 5, 4, rows, range(4))
    with pytest.raises(ValueError, match="ascending within the mask"):
        sample(runs, 4, 5, range(4), rows)


@pytest.mark.parametrize("size", [(-1, 4), (4, -1), (1 << 32, 1 << 32), (-(1 << 32), -(1 << 32))])
def test_impossible_sizes_are_refused(size: tuple[int, int]) -> None:
    runs = np.array([0, 20])
    with pytest.raises(ValueError, match="must be"):
        sample(runs, *size, [0], [0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 0},
        {"length": -5},
        {"length": 1 << 62},
        {"pixel": 0},
        {"pixel": 1 << 60},
        {"size": 0},
        {"size": -4},
        {"size": 1 << 62},
        {"cell": 0},
        {"cell": 1 << 60},
        {"cell": -5},
        {"start": 1 << 62},
        {"start": -(1 << 62)},
        {"start": -(1 << 63)},
    ],
)
def test_grids_whose_places_are_no_numbers_are_refused(wrong: dict[str, int]) -> None:
    runs, good = np.array([0, 25]), Cells(5, 4, 4, 5, 0)
    out = np.full((4, 4), 7, np.uint8)
    for rows, columns in ((good._replace(**wrong), good), (good, good._replace(**wrong))):
        with pytest.raises(ValueError, match="lengths must be"):
            CORE.cover_runs(runs, rows, columns, 25, out)
    for least in (0, -1):
        with pytest.raises(ValueError, match="lengths must be"):
            CORE.cover_runs(runs, good, good, least, out)
    large = good._replace(cell=1 << 31)
    with pytest.raises(ValueError, match="lengths must be"):
        CORE.cover_runs(runs, large, large, 1, out)
    assert (out == 7).all()


def test_results_that_do_not_fit_are_refused() -> None:
    runs, places = np.array([0, 20]), np.arange(4)
    grid = Cells(5, 4, 4, 5, 0), Cells(4, 4, 4, 4, 0)
    for out in (np.zeros(15, np.bool_), np.zeros(17, np.bool_)):
        with pytest.raises(ValueError, match="out rows x columns"):
            CORE.sample_runs(runs, 5, 4, places, places, out)
        with pytest.raises(ValueError, match="out rows x columns"):
            CORE.cover_runs(runs, *grid, 20, out)
    with pytest.raises(ValueError, match="runs must be as many"):
        CORE.decompress_counts(b"0000", np.zeros(3, np.int64))
    with pytest.raises((TypeError, ValueError)):
        CORE.cover_runs(runs, *grid, 20, np.zeros((4, 8), np.bool_)[:, ::2])
    with pytest.raises((TypeError, ValueError)):
        CORE.cover_runs(runs[::2], *grid, 20, np.zeros((4, 4), np.bool_))


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, PARTS, st.integers(0, 999))
def test_counts_are_decompressed_as_pycocotools_means_them(
    height: int, width: int, part: float, seed: int
) -> None:
    mask = draw(height, width, part, seed)
    runs = decompress(encode(mask))
    assert np.array_equal(runs, segmentation.decompress_counts(encode(mask)))
    assert np.array_equal(Rle(height, width, runs).decode(), mask)


@settings(max_examples=500, deadline=None)
@given(
    st.text(st.characters(min_codepoint=46, max_codepoint=113), max_size=30)
    | st.text(max_size=5)
    | st.binary(max_size=12)
)
def test_parsing_says_the_same_of_any_counts_with_and_without_a_core(counts: str | bytes) -> None:
    def parse() -> tuple[list[int], str]:
        try:
            return segmentation._runs_of(counts).tolist(), ""
        except SegmentationError as err:
            return [], str(err)

    with pytest.MonkeyPatch.context() as patch:
        found = parse()
        patch.setattr(segmentation, "CORE", None)
        assert parse() == found


@pytest.mark.parametrize(
    "counts",
    [b"P", b"/", b"p", b"\xff", b"0" * 3 + b"o" * 10 + b"0", b"P" * 11, b"O", b"oooooooooo"],
)
def test_damaged_counts_are_refused(counts: bytes) -> None:
    with pytest.raises(ValueError, match="the counts are damaged"):
        decompress(counts)


def test_differences_that_add_up_past_64_bits_are_refused() -> None:
    # Ten characters, the largest positive number of 50 bits; then enough of them for a sum of 2**63.
    counts = (b"o" * 9 + b"?") * 40_000
    with pytest.raises(ValueError, match="the counts are damaged"):
        decompress(counts)
    assert decompress(counts[:70]).tolist() == [2**49 - 1] * 3 + [2 * (2**49 - 1)] * 2 + [3 * (2**49 - 1)] * 2


def test_parsing_takes_the_core_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = draw(50, 60, 0.3, 1)
    asked: list[bytes] = []

    class Asked:
        def decompress_counts(self, counts: bytes, runs: Runs) -> int:
            asked.append(counts)
            return CORE.decompress_counts(counts, runs)

    monkeypatch.setattr(segmentation, "CORE", Asked())
    counts = encode(mask)
    for given_counts in (counts, counts.decode()):
        assert np.array_equal(parse_rle({"size": [50, 60], "counts": given_counts}).decode(), mask)
    with pytest.raises(SegmentationError, match="cut short"):
        parse_rle({"size": [50, 60], "counts": "P"})
    assert asked == [counts, counts, b"P"]
