"""Masks at their own size: from run lengths to pixels, as pycocotools does it, and from runs that are none."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from levels import at_level, levels_of
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from rows import assert_guarded, before_a_hole, place

from resizeonce.loader.kernels.core import CORE, Core
from resizeonce.loader.kernels.mask_runs import RunLengths, expand_all

LEVELS = [*levels_of(CORE), "numpy"]

SHAPES = [(1, 1), (1, 200), (200, 1), (5, 63), (5, 64), (5, 65), (64, 128), (37, 129), (300, 190)]


@pytest.fixture(params=LEVELS)
def core(request: pytest.FixtureRequest) -> Iterator[Core | None]:
    """The core at each level that this processor has, and numpy."""
    if request.param == "numpy":
        yield None
    else:
        with at_level(CORE, request.param) as at_that:
            yield at_that


def runs_of(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Run lengths as pycocotools writes them, uncompressed by walking along its pixels."""
    flat = coco_mask.decode(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))).T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges.tolist(), flat.size])
    return np.array([0, *runs] if flat[0] else runs, np.uint32)


def masks_of(shape: tuple[int, int]) -> Iterator[NDArray[np.bool_]]:
    rng = np.random.default_rng(shape[0] * 1000 + shape[1])
    yield np.zeros(shape, bool)
    yield np.ones(shape, bool)
    for share in (0.02, 0.5, 0.98):
        yield rng.random(shape) < share
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    yield (rows - shape[0] / 2) ** 2 + (columns - shape[1] / 3) ** 2 < max(shape) ** 2 / 16
    yield np.broadcast_to(columns % 70 < 35, shape).copy()
    yield np.broadcast_to(rows == shape[0] - 1, shape).copy()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_mask_is_the_one_that_pycocotools_decodes(shape: tuple[int, int], core: Core | None) -> None:
    for mask in masks_of(shape):
        made = RunLengths(*shape, runs_of(mask)).expand(core=core)
        assert made.dtype == np.bool_
        assert made.flags.c_contiguous
        assert set(np.unique(made.view(np.uint8))) <= {0, 1}
        rle = coco_mask.frPyObjects({"size": list(shape), "counts": runs_of(mask).tolist()}, *shape)
        assert np.array_equal(made, coco_mask.decode(rle) != 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_memory_that_held_another_mask_is_filled_and_nothing_around_it(
    shape: tuple[int, int], core: Core | None
) -> None:
    for offset, mask in enumerate(masks_of(shape)):
        out, memory = place(shape, np.bool_, 7 * offset)
        RunLengths(*shape, runs_of(mask)).expand(out, core=core)
        assert np.array_equal(out, mask)
        assert_guarded(out, memory)


def test_runs_of_no_pixels_change_nothing(core: Core | None) -> None:
    runs = np.array([2, 0, 1, 3, 0, 0, 0, 2, 4, 0], np.uint32)
    assert RunLengths(3, 4, runs).expand(core=core).astype(int).tolist() == [
        [0, 1, 1, 0],
        [0, 1, 1, 0],
        [0, 1, 0, 0],
    ]


@pytest.mark.parametrize("runs", [[], [11], [13], [3, 10], [12, 1], [4294967295, 4294967295], [0, 12, 1]])
def test_runs_that_do_not_fill_the_mask_are_told(runs: list[int]) -> None:
    with pytest.raises(ValueError, match=f"its runs are {sum(runs):,} pixels together, and it has 3 x 4"):
        RunLengths(3, 4, np.array(runs, np.uint32))


@pytest.mark.parametrize("level", levels_of(CORE))
def test_the_core_writes_no_pixel_outside_of_a_mask_whatever_the_runs_are(level: str) -> None:
    assert CORE is not None
    rng = np.random.default_rng(3)
    with at_level(CORE, level) as core:
        for _ in range(300):
            height, width = rng.integers(1, 90, 2).tolist()
            runs = rng.integers(0, 2 * height, rng.integers(0, 40)).astype(np.uint32)
            runs[rng.random(len(runs)) < 0.02] = 2**32 - 1
            # Nothing may be read behind the runs either: there the process would end.
            stored = before_a_hole(runs.tobytes())
            out, memory = place((height, width), np.bool_, int(rng.integers(64)))
            out[:] = False
            fills = int(runs.sum(dtype=np.uint64)) == height * width
            places = np.array([(height, width, 0)], np.int64)
            assert core.expand_runs([stored], places, out, bool(rng.integers(2))) == fills
            assert_guarded(out, memory)


def test_the_core_looks_at_sizes_first() -> None:
    if CORE is None:
        pytest.skip("for want of the compiled core")
    runs, out = np.array([12], np.uint32), np.zeros((3, 4), np.bool_)
    whole = np.array([(3, 4, 0)], np.int64)
    for wrong in ((0, 12, 0), (-3, -4, 0), (3, 5, 0), (2**62, 4, 0), (3, 4, 1), (3, 4, -1), (1, 1, 2**62)):
        with pytest.raises(ValueError, match=r"no mask of such a size|is not within the 12 bytes of out"):
            CORE.expand_runs([runs], np.array([wrong], np.int64), out, False)
    with pytest.raises(ValueError, match="not whole numbers"):
        CORE.expand_runs([runs.view(np.uint8)[:3]], whole, out, False)
    with pytest.raises(ValueError, match="places has 24 bytes, expected 48"):
        CORE.expand_runs([runs, runs], whole, out, False)
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        CORE.expand_runs([runs], whole, out, False)


def test_masks_of_several_sizes_go_each_to_its_place_and_nothing_between_them(core: Core | None) -> None:
    rng = np.random.default_rng(7)
    masks = [rng.random(shape) < 0.5 for shape in ((3, 5), (70, 1), (1, 130), (64, 64))]
    starts = [2, 20, 100, 300]
    out = np.ones(4500, np.bool_)
    expand_all([RunLengths(*mask.shape, runs_of(mask)) for mask in masks], starts, out, core=core)
    expected = np.ones(4500, np.bool_)
    for mask, start in zip(masks, starts, strict=True):
        expected[start : start + mask.size] = mask.reshape(-1)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("level", [level for level in levels_of(CORE) if level != "plain"])
def test_masks_larger_than_the_caches_go_to_their_places_and_nothing_between_them(level: str) -> None:
    height, width = 5001, 7003
    # Every other column; together above 64 MiB, from which on memory is cleared another way.
    large = RunLengths(height, width, np.full(width, height, np.uint32))
    small = RunLengths(1, 3, np.array([1, 1, 1], np.uint32))
    starts = [3, 20, 20 + height * width + 1]
    out = np.ones(starts[-1] + height * width + 5, np.bool_)
    with at_level(CORE, level) as core:
        expand_all([small, large, large], starts, out, core=core)
    columns = np.arange(width) % 2 == 1
    assert out[:20].tolist() == [True] * 3 + [False, True, False] + [True] * 14
    for start in starts[1:]:
        assert (out[start : start + height * width].reshape(height, width) == columns).all()
    assert out[starts[2] - 1]
    assert out[-5:].all()


def test_a_mask_that_changed_since_it_was_looked_at_is_an_error() -> None:
    if CORE is None:
        pytest.skip("for want of the compiled core")
    sound, changed = (RunLengths(3, 4, np.array([5, 7], np.uint32)) for _ in range(2))
    changed.runs[1] = 3
    with pytest.raises(ValueError, match="changed while it was made"):
        expand_all([sound, changed], [0, 12], np.zeros(24, np.bool_))


def test_a_mask_is_not_put_into_memory_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"out is \[4, 3\], expected \[3, 4\]"):
        RunLengths(3, 4, np.array([12], np.uint32)).expand(np.zeros((4, 3), np.bool_))


def test_masks_are_made_while_other_threads_run() -> None:
    if CORE is None:
        pytest.skip("for want of the compiled core")
    mask = np.random.default_rng(0).random((2000, 2000)) < 0.5
    runs = RunLengths(2000, 2000, runs_of(mask))
    made: list[NDArray[np.bool_]] = []
    threads = [threading.Thread(target=lambda: made.append(runs.expand())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, mask) for one in made)
