import random
from collections import Counter
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from samplers import assert_same_distribution, sa2va, sam3

from resizeonce.loader import Clip
from resizeonce.loader.order.clips import can_draw, choose, draw_frames

DRAWS, FEWER = 20_000, 5000


def drawn(shown: np.ndarray, clip: Clip, count: int = DRAWS) -> list[tuple[int, ...]]:
    return [tuple(draw_frames(shown, clip, key * 0x9E3779B97F4A7C15).tolist()) for key in range(count)]


def clip(frames: int, **options: object) -> Clip:
    return Clip(frames=frames, objects=1, **options)


def assert_even(found: list[tuple[int, ...]], expected: set[tuple[int, ...]]) -> None:
    """Compare draws with equal chances: Pearson's test, at four standard deviations."""
    counts = Counter(found)
    assert counts.keys() == expected
    mean, freedom = len(found) / len(expected), len(expected) - 1
    statistic = sum((count - mean) ** 2 / mean for count in counts.values())
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5 + 2


def test_a_range_of_strides_is_drawn_as_sam3_draws_it() -> None:
    rolls = random.Random(0)
    for num_frames, count in ((20, DRAWS), (11, FEWER), (4, FEWER)):
        ours = drawn(np.ones(num_frames, bool), clip(4, stride=(1, 5), reverse=0.5), count)
        theirs = [sam3([{}] * num_frames, 4, rolls) for _ in range(count)]
        assert_same_distribution(ours, theirs)
        assert_same_distribution(*([one[1] - one[0] for one in side] for side in (ours, theirs)))


@pytest.mark.parametrize("num_frames", [5, 7, 4, 3, 1])
def test_spread_frames_are_drawn_as_sa2va_draws_them(num_frames: int) -> None:
    spread = clip(5, pick="spread", short="repeat", visible="any")
    rolls = random.Random(1)
    count = DRAWS if num_frames in (4, 7) else FEWER
    theirs = [sa2va(num_frames, 5, rolls) for _ in range(count)]
    assert_same_distribution(drawn(np.ones(num_frames, bool), spread, count), theirs)


@pytest.mark.parametrize("visible", ["first", "any"])
@pytest.mark.parametrize("num_frames", [7, 3])
def test_spread_frames_that_show_somebody_are_as_if_drawn_again_until_they_do(
    visible: str, num_frames: int
) -> None:
    shown = np.array([False, True, False, False, True, False, False])[:num_frames]
    rolls = random.Random(2)

    def tried_again() -> tuple[int, ...]:
        while True:
            taken = sa2va(num_frames, 4, rolls)
            taken = taken[::-1] if rolls.random() < 0.3 else taken
            if any(shown[frame] for frame in (taken[:1] if visible == "first" else taken)):
                return taken

    spread = clip(4, pick="spread", short="repeat", visible=visible, reverse=0.3)
    assert_same_distribution(drawn(shown, spread, FEWER), [tried_again() for _ in range(FEWER)])


@pytest.mark.parametrize("visible", ["first", "any"])
@pytest.mark.parametrize("reverse", [0.0, 0.25, 1.0])
def test_strides_that_show_somebody_are_as_if_drawn_again_until_they_do(visible: str, reverse: float) -> None:
    shown = np.zeros(9, bool)
    shown[[1, 2, 6]] = True
    rolls = random.Random(3)

    def tried_again() -> tuple[int, ...]:
        while True:
            stride = min(rolls.randint(2, 5), 4)
            start = rolls.randrange(9 - 2 * stride)
            taken = (start, start + stride, start + 2 * stride)
            taken = taken[::-1] if rolls.random() < reverse else taken
            if any(shown[frame] for frame in (taken[:1] if visible == "first" else taken)):
                return taken

    found = drawn(shown, clip(3, stride=(2, 5), visible=visible, reverse=reverse), FEWER)
    assert_same_distribution(found, [tried_again() for _ in range(FEWER)])


def test_of_one_stride_each_start_and_direction_that_shows_somebody_is_as_likely() -> None:
    shown = np.zeros(12, bool)
    shown[[0, 3, 4, 9]] = True
    forwards = {(start, start + 2, start + 4) for start in range(8) if shown[start]}
    backwards = {(start + 4, start + 2, start) for start in range(8) if shown[start + 4]}
    assert (len(forwards), len(backwards)) == (3, 2)
    assert_even(drawn(shown, clip(3, stride=2, reverse=0.5)), forwards | backwards)
    found = drawn(shown, clip(3, stride=2, reverse=0.25))
    # Tried 3/4 of the time forwards, where 3 of 8 show somebody, and 1/4 backwards, where 2 of 8 do.
    share = sum(one[0] < one[1] for one in found) / len(found)
    assert share == pytest.approx(3 * 0.75 / (3 * 0.75 + 2 * 0.25), abs=0.015)


def test_spread_frames_are_each_set_equally_often() -> None:
    assert_even(drawn(np.ones(8, bool), clip(3, pick="spread"), FEWER), set(combinations(range(8), 3)))


def test_a_stride_is_lowered_to_what_fits() -> None:
    for num_frames, stride in ((8, 1), (14, 1), (15, 2), (21, 2), (22, 3), (36, 5), (99, 5)):
        for frames in drawn(np.ones(num_frames, bool), clip(8, stride=5), 50):
            assert np.diff(frames).tolist() == [stride] * 7
    found = drawn(np.ones(7, bool), clip(4, stride=(3, 9)), 50)
    assert set(found) == {(0, 2, 4, 6)}


def test_too_few_frames_are_skipped_or_repeated_evenly() -> None:
    assert not can_draw(np.ones(3, bool), clip(8))
    with pytest.raises(ValueError, match="no clip of the scene shows anybody"):
        draw_frames(np.ones(3, bool), clip(8), 0)
    repeat = clip(8, short="repeat", reverse=0.5)
    assert set(drawn(np.ones(3, bool), clip(8, short="repeat"), 20)) == {(0, 0, 0, 1, 1, 1, 2, 2)}
    assert set(drawn(np.ones(3, bool), repeat, 100)) == {(0, 0, 0, 1, 1, 1, 2, 2), (2, 2, 2, 1, 1, 1, 0, 0)}
    assert set(drawn(np.array([True]), clip(2, short="repeat", stride=3), 5)) == {(0, 0)}


def test_one_frame_is_any_in_which_somebody_is() -> None:
    shown = np.zeros(9, bool)
    shown[[2, 5, 8]] = True
    for options in ({}, {"pick": "spread"}, {"visible": "any"}, {"stride": (1, 7), "reverse": 0.5}):
        assert_even(drawn(shown, clip(1, **options), 3000), {(2,), (5,), (8,)})


def test_where_nobody_is_in_time_nothing_is_drawn() -> None:
    late = np.array([False, False, False, True])
    assert not can_draw(late, clip(3))
    assert can_draw(late, clip(3, visible="any"))
    assert set(drawn(late, clip(3, reverse=0.001), 20)) == {(3, 2, 1)}
    assert not can_draw(late, clip(2, pick="spread"))
    assert not can_draw(np.zeros(9, bool), clip(2, visible="any"))
    # With a stride of 2 only frames 0, 2 and 4 can be in a clip of three.
    assert not can_draw(np.array([False, True, False, True, False]), clip(3, stride=2, visible="any"))


@given(
    some.lists(some.booleans(), min_size=1, max_size=9),
    some.integers(1, 6),
    some.sampled_from(["consecutive", "spread"]),
    some.sampled_from(["first", "any"]),
    some.sampled_from(["skip", "repeat"]),
    some.sampled_from([0.0, 0.5, 1.0]),
    some.integers(0, 2**64 - 1),
)
def test_a_clip_is_of_k_frames_one_way_or_the_other_and_shows_somebody(
    shown: list[bool], frames: int, pick: str, visible: str, short: str, reverse: float, key: int
) -> None:
    options = clip(frames, pick=pick, visible=visible, short=short, reverse=reverse)
    there = np.array(shown)
    length = len(shown)
    if length >= frames and pick == "consecutive":
        possible = {tuple(range(start, start + frames)) for start in range(length - frames + 1)}
    elif length >= frames:
        possible = set(combinations(range(length), frames))
    elif short == "skip":
        possible = set()
    elif pick == "consecutive":
        possible = {tuple(step * length // frames for step in range(frames))}
    else:
        possible = {tuple(sorted(one)) for one in product(range(length), repeat=frames)}
    turned = {one[::-1] for one in possible}
    if pick == "consecutive" and length < frames:
        turned = {tuple(length - 1 - frame for frame in one) for one in possible}
    possible = (possible if reverse < 1 else set()) | (turned if reverse else set())
    possible = {one for one in possible if any(shown[f] for f in (one[:1] if visible == "first" else one))}
    assert can_draw(there, options) == bool(possible)
    if possible:
        assert tuple(draw_frames(there, options, key).tolist()) in possible


def test_weights_are_whole_numbers_of_any_size() -> None:
    weights = [0, comb(500, 250), 0, 3 * comb(500, 250), 0]
    found = Counter(choose(weights, word) for word in range(0, 2**64, 2**64 // 1000))
    assert found.keys() == {1, 3}
    assert found[3] / 1001 == pytest.approx(0.75, abs=0.01)
    assert choose([1, 0], 2**64 - 1) == 0
    assert choose([0, 1], 0) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 0}, {"objects": 0}, {"at_least": 4}, {"at_least": -1}, {"stride": 0}, {"stride": (3, 2)}, {"stride": (0, 2)},
        {"pick": "all"}, {"pick": "spread", "stride": 2}, {"reverse": 1.5}, {"reverse": -0.5}, {"reverse": float("nan")},
        {"visible": "last"}, {"short": "wrap"}, {"of": "boxes"},
    ],
)  # fmt: skip
def test_a_clip_that_means_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="|".join(wrong)):
        Clip(**{"frames": 8, "objects": 3} | wrong)
