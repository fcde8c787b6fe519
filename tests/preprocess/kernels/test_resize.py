"""The compiled resize by itself: arrays between pages that may not be touched, and what it refuses."""

import ctypes
import mmap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from levels import at_level, levels_of
from numpy.typing import NDArray
from PIL import Image

from resizeonce.preprocess.kernels.core import CORE, Core, Target
from resizeonce.preprocess.tensors.resample_weights import make_axis

WEIGHT_LIMIT = (1 << 23) - (1 << 16)


@pytest.fixture(params=levels_of(CORE))
def loops(request: pytest.FixtureRequest) -> Iterator[Core]:
    with at_level(CORE, request.param) as core:
        yield core


class Fenced:
    """Memory between two pages that end the process when they are touched."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, self.size + 2 * mmap.PAGESIZE)
        self.everything = np.frombuffer(self.memory, np.uint8)
        for page in (0, mmap.PAGESIZE + self.size):
            fence = ctypes.c_void_p(self.everything.ctypes.data + page)
            assert ctypes.CDLL(None).mprotect(fence, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0

    def place(self, content: NDArray[Any], *, at_end: bool) -> NDArray[Any]:
        """Return a copy right behind the first fence, or right before the second."""
        start = mmap.PAGESIZE + (self.size - content.nbytes if at_end else 0)
        copy = self.everything[start : start + content.nbytes].view(content.dtype).reshape(content.shape)
        copy[:] = content
        return copy


def make_target(height: int, width: int, size: int) -> Target:
    columns, rows = make_axis(width, size, "bicubic"), make_axis(height, size, "bicubic")
    return Target(size, size, size, size, *columns, *rows, np.zeros((3, size, size), np.uint8))


SHAPES = [(1, 1), (1, 5), (2, 6), (5, 1), (15, 4), (16, 5), (17, 7), (31, 21), (33, 22), (48, 23), (50, 64)]


@pytest.mark.parametrize("at_end", [False, True])
def test_nothing_outside_of_the_arrays_is_touched(loops: Core, at_end: bool) -> None:
    fences = [Fenced(50 * 64 * 3), Fenced(3 * 70 * 70), Fenced(3 * 70 * 70)]
    rng = np.random.default_rng(0)
    for height, width in SHAPES:
        drawn = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = fences[0].place(drawn, at_end=at_end)
        for sizes in ((1, 2), (3, 8), (16, 17), (31, 33), (64, 70)):
            targets = [make_target(height, width, size) for size in sizes]
            targets = [
                target._replace(out=fence.place(target.out, at_end=at_end))
                for target, fence in zip(targets, fences[1:], strict=True)
            ]
            loops.resize(image, height, width, tuple(targets))
            lines = fences[1].place(np.zeros((sizes[0], width, 3), np.uint8), at_end=at_end)
            loops.resize_lines(
                image, height, 3 * width, sizes[0], targets[0].first_rows, targets[0].row_weights, lines
            )
            resized = Image.fromarray(drawn).resize((width, sizes[0]), Image.Resampling.BICUBIC)
            assert np.array_equal(lines, np.asarray(resized))


@pytest.mark.parametrize("height", range(1, 40))
def test_any_windows_within_the_image_are_summed_as_they_stand(loops: Core, height: int) -> None:
    rng = np.random.default_rng(height)
    for _ in range(20):
        line, size = (int(number) for number in rng.integers(1, 100, 2))
        taps = int(rng.integers(1, height + 1))
        first = np.sort(rng.integers(0, height - taps + 1, size))
        weights = rng.integers(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (size, taps), dtype=np.int32)
        lines = rng.integers(0, 256, (height, line), dtype=np.uint8)
        windows = lines[first[:, None] + np.arange(taps)].astype(np.int64)
        # As in C, sums keep 32 bits.
        sums = ((windows * weights[..., None]).sum(1) + (1 << 21)).astype(np.int32)
        out = np.empty((size, line), np.uint8)
        loops.resize_lines(lines, height, line, size, first, weights, out)
        assert np.array_equal(out, (sums >> 22).clip(0, 255))


TABLE = make_target(12, 9, 8)
REFUSED: dict[str, dict[str, Any]] = {
    "out of another size": {"out": np.zeros((3, 8, 7), np.uint8)},
    "a window that ends behind the image": {"first_rows": TABLE.first_rows + 1},
    "a window that begins before the image": {"first_columns": TABLE.first_columns - 1},
    "windows that go back": {"first_rows": TABLE.first_rows[::-1].copy()},
    "a window at the largest number": {"first_rows": np.full_like(TABLE.first_rows, 2**63 - 1)},
    "windows for fewer rows": {"first_rows": TABLE.first_rows[:-1]},
    "weights that are no table": {"row_weights": TABLE.row_weights.ravel()[:-1].copy()},
    "no weights": {"row_weights": TABLE.row_weights[:0]},
    "more weights than the image has rows": {"row_weights": np.zeros((8, 13), np.int32)},
    "a weight that is too large": {"row_weights": np.full_like(TABLE.row_weights, WEIGHT_LIMIT + 1)},
    "a weight that is too small": {"column_weights": np.full_like(TABLE.column_weights, -(2**31))},
    "a height of 0": {"height": 0},
    "a width below 0": {"width": -8},
    "more rows than out has": {"height": 9},
    "more columns than out has": {"width": 9},
    "an out of more rows than it has": {"out_height": 9},
    "an out of fewer columns than it has": {"width": 7, "out_width": 7},
    "an out that is too large for a number": {"out_height": 1 << 32, "out_width": 1 << 32},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_nothing_is_written(loops: Core, case: str) -> None:
    image = np.full((12, 9, 3), 200, np.uint8)
    good, bad = make_target(12, 9, 5), make_target(12, 9, 8)._replace(**REFUSED[case])
    with pytest.raises(ValueError, match=r"bytes, expected|no table|no size of"):
        loops.resize(image, 12, 9, (good, bad))
    assert not good.out.any()
    assert not bad.out.any()


@pytest.mark.parametrize(
    ("height", "width"), [(0, 9), (12, 0), (-12, -9), (12, 10), (1 << 40, 1 << 40), (1 << 62, 3), (13, 9)]
)
def test_shapes_that_are_not_the_images_are_refused(loops: Core, height: int, width: int) -> None:
    target = make_target(12, 9, 8)
    with pytest.raises(ValueError, match=r"pixels and|bytes, expected"):
        loops.resize(np.full((12, 9, 3), 200, np.uint8), height, width, (target,))
    with pytest.raises(ValueError, match=r"lines of|bytes, expected"):
        loops.resize_lines(
            np.full((12, 9, 3), 200, np.uint8),
            height,
            width,
            8,
            target.first_rows,
            target.row_weights,
            target.out,
        )
    assert not target.out.any()


def test_arrays_that_are_strided_or_read_only_are_refused(loops: Core) -> None:
    image, target = np.full((12, 9, 3), 200, np.uint8), make_target(12, 9, 8)
    with pytest.raises((ValueError, BufferError)):
        loops.resize(image[:, ::-1], 12, 9, (target,))
    with pytest.raises((ValueError, BufferError)):
        loops.resize(image, 12, 9, (target._replace(out=np.zeros((8, 8, 3), np.uint8).transpose(2, 0, 1)),))
    target.out.setflags(write=False)
    with pytest.raises((ValueError, BufferError)):
        loops.resize(image, 12, 9, (target,))
    assert not target.out.any()


def test_more_than_sixteen_targets_are_refused(loops: Core) -> None:
    target = make_target(12, 9, 8)
    loops.resize(np.zeros((12, 9, 3), np.uint8), 12, 9, (target,) * 16)
    with pytest.raises(ValueError, match="17 targets"):
        loops.resize(np.zeros((12, 9, 3), np.uint8), 12, 9, (target,) * 17)


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (17, 3), (60, 41)])
def test_a_part_of_the_result_is_written_to_the_corner_of_out(
    loops: Core, at_end: bool, top: int, left: int
) -> None:
    fence = Fenced(3 * 50 * 40)
    image = np.random.default_rng(0).integers(0, 256, (90, 50, 3), dtype=np.uint8)
    columns, rows = make_axis(50, 70, "bicubic", left, 29), make_axis(90, 77, "bicubic", top, 17)
    for out_height, out_width in ((17, 29), (17, 40), (50, 29), (50, 40)):
        out = fence.place(np.full((3, out_height, out_width), 7, np.uint8), at_end=at_end)
        loops.resize(image, 90, 50, (Target(17, 29, out_height, out_width, *columns, *rows, out),))
        first_rows = np.asarray(Image.fromarray(image).resize((70, 90), Image.Resampling.BICUBIC))
        whole = np.asarray(Image.fromarray(first_rows).resize((70, 77), Image.Resampling.BICUBIC))
        expected = np.full((3, out_height, out_width), 7, np.uint8)
        expected[:, :17, :29] = whole[top : top + 17, left : left + 29].transpose(2, 0, 1)
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("top", [0, 1, 5, 17, 60])
def test_a_part_of_lines_is_what_the_whole_has_there(loops: Core, top: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 31), dtype=np.uint8)
    rows = make_axis(90, 77, "lanczos", top, 17)
    part = np.empty((17, 31), np.uint8)
    loops.resize_lines(image, 90, 31, 17, *rows, part)
    whole = np.asarray(Image.fromarray(image).resize((31, 77), Image.Resampling.LANCZOS))
    assert np.array_equal(part, whole[top : top + 17])


def test_threads_resize_at_once(loops: Core) -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    targets = [make_target(300, 200, size) for size in (64, 64, 65, 65) * 4]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda target: loops.resize(image, 300, 200, (target,)), targets))
    for target in targets:
        resized = Image.fromarray(image).resize((target.width, target.height), Image.Resampling.BICUBIC)
        assert np.array_equal(target.out, np.asarray(resized).transpose(2, 0, 1))
