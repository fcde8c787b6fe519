import random
from itertools import permutations

import numpy as np
import pytest
from fakes import FakePart, video_store
from hypothesis import given
from hypothesis import strategies as some
from samplers import Taken, assert_same_distribution, lisa, sam2

from resizeonce.loader import Clip, Objects, StoreError, Subset
from resizeonce.loader.order.clips import draw_some
from resizeonce.loader.order.draws import Drawn, draw_key, draw_sample

DRAWS, FEWER = 20_000, 5000

VIDEO = [
    {"a": 900, "b": 100},
    {"b": 900, "c": 100},
    {},
    {"a": 100, "c": 900, "d": 900, "e": 900},
    {"a": 900, "b": 900},
    {"c": 100, "d": 100},
]
"""Images 1 to 6. Rows of masks: a 1, b 2 | b 3, c 4 | | a 5, c 6, d 7, e 8 | a 9, b 10 | c 11, d 12."""
NAMES = "abbcacdeabcd"
FRAMES = [0, 0, 1, 1, 3, 3, 3, 3, 4, 4, 5, 5]
SENTENCES = {"a": 2, "c": 1, "e": 3}
"""Rows of expressions: a 0 1, c 2, e 3 4 5; b and d have none."""

SCENE = [{"z": 900}]
"""Comes before: image 0, mask 0."""


def part(**options: object) -> FakePart:
    return video_store([[SCENE, VIDEO]], SENTENCES, **options).parts[0]


def draw(one: Clip | Objects, key: int, subset: Subset | None = None, unit: int = 1) -> Drawn:
    return draw_sample(part(), unit, draw_key(5, 0, 0, key), one, subset or Subset())


def taken(drawn: Drawn) -> Taken:
    """Return frames of the video and names of objects, and look whether each mask is where it should be."""
    frames = (drawn.images - 1).tolist()
    objects = []
    for masks in drawn.masks.tolist():
        names = {NAMES[mask - 1] for mask in masks if mask >= 0}
        assert len(names) == 1
        (name,) = names
        objects.append(name)
        for frame, mask in zip(frames, masks, strict=True):
            assert (mask >= 0) == (name in VIDEO[frame])
            assert mask < 0 or (NAMES[mask - 1], FRAMES[mask - 1]) == (name, frame)
    return Taken(tuple(frames), tuple(objects))


def test_draws_stay_what_they_are() -> None:
    """Looked at by hand against `VIDEO`: each is what its options allow."""
    found = [
        draw(Clip(frames=3, objects=2), 0),
        draw(Clip(frames=3, objects=2, reverse=0.5), 3),
        draw(Clip(frames=2, objects=3, stride=(1, 5), at_least=3), 2),
        draw(Clip(frames=3, objects=2, pick="spread", visible="any"), 3),
        draw(Clip(frames=8, objects=2, short="repeat", of="expressions"), 4),
        draw(Clip(frames=8, objects=9, short="repeat", pick="spread", visible="any"), 5),
        draw(Objects(at_most=3), 6, unit=4),
        draw(Objects(at_most=4, of="expressions", at_least=4), 7, unit=4),
        draw(Objects(at_most=4, at_least=4), 8, Subset(min_area=500), unit=2),
    ]
    assert [[array.tolist() for array in one] for one in found] == GOLDEN


GOLDEN = [
    [[1, 2, 3], [[2, 3, -1], [1, -1, -1]], [-1, -1]],
    [[6, 5, 4], [[11, -1, 6], [12, -1, 7]], [-1, -1]],
    [[4, 5], [[7, -1], [8, -1], [6, -1]], [-1, -1, -1]],
    [[1, 2, 5], [[1, -1, 9], [2, 3, 10]], [-1, -1]],
    [[1, 1, 2, 3, 4, 4, 5, 6], [[1, 1, -1, -1, 5, 5, 9, -1], [1, 1, -1, -1, 5, 5, 9, -1]], [1, 0]],
    [
        [1, 1, 2, 3, 3, 4, 6, 6],
        [
            [-1, -1, -1, -1, -1, 7, 12, 12],
            [1, 1, -1, -1, -1, 5, -1, -1],
            [-1, -1, 4, -1, -1, 6, 11, 11],
            [2, 2, 3, -1, -1, -1, -1, -1],
            [-1, -1, -1, -1, -1, 8, -1, -1],
        ],
        [-1, -1, -1, -1, -1],
    ],
    [[4], [[6], [7], [5]], [-1, -1, -1]],
    [[4], [[8], [8], [8], [8]], [5, 4, 3, 5]],
    [[2], [[3], [3], [3], [3]], [-1, -1, -1, -1]],
]


def test_a_draw_is_a_function_of_its_key_alone() -> None:
    clip = Clip(frames=3, objects=2, reverse=0.5)
    forwards = [draw(clip, key) for key in range(50)]
    backwards = [draw(clip, key) for key in reversed(range(50))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert all((a == b).all() for a, b in zip(one, other, strict=True))
    assert len({str(one) for one in forwards}) > 15
    keys = {draw_key(seed, store, lap, number) for seed, store, lap, number in permutations(range(6), 4)}
    assert len(keys) == 360


@pytest.mark.parametrize("min_area", [0, 500])
def test_clips_are_drawn_as_sam2_draws_them(min_area: int) -> None:
    tables, rolls, count = part(), random.Random(0), DRAWS if min_area else FEWER
    clip, subset = Clip(frames=2, objects=3, reverse=0.5), Subset(min_area=min_area)
    ours = [taken(draw_sample(tables, 1, draw_key(0, 0, 0, key), clip, subset)) for key in range(count)]
    theirs = [sam2(VIDEO, 2, 3, rolls, min_area=min_area) for _ in range(count)]
    assert_same_distribution(ours, theirs)
    assert_same_distribution([one.frames for one in ours], [one.frames for one in theirs])
    assert_same_distribution(
        [sorted(one.objects)[0] for one in ours], [sorted(one.objects)[0] for one in theirs]
    )


def test_sentences_of_an_image_are_drawn_as_lisa_draws_them() -> None:
    tables, rolls = part(is_each_mask_described=True), random.Random(1)
    owners = tables.columns["expressions/mask"]
    pairs = [(row, int(owners[row])) for row in np.flatnonzero((owners >= 5) & (owners <= 8)).tolist()]
    assert len(pairs) == 6
    ours = []
    for key in range(DRAWS):
        drawn = draw_sample(tables, 4, draw_key(0, 0, 0, key), Objects(at_most=3, of="expressions"), Subset())
        ours.append(tuple(zip(drawn.expressions.tolist(), drawn.masks[:, 0].tolist(), strict=True)))
    assert_same_distribution(ours, [lisa(pairs, 3, rolls) for _ in range(DRAWS)])


def test_each_order_of_some_of_a_few_is_as_likely() -> None:
    found = [tuple(draw_some(5, 3, draw_key(1, 0, 0, key)).tolist()) for key in range(DRAWS)]
    rolls = random.Random(2)
    assert_same_distribution(found, [lisa(range(5), 3, rolls) for _ in range(DRAWS)])
    assert len(set(found)) == 60
    assert draw_some(2, 5, 0).shape == (2,)


def test_fewer_objects_are_repeated_in_turn_until_they_are_enough() -> None:
    for key in range(20):
        clip = Clip(frames=2, objects=5, at_least=5)
        names = taken(draw(clip, key, unit=1)).objects
        distinct = len(set(names))
        assert names == tuple(names[place % distinct] for place in range(5))
        texts = draw(Objects(at_most=7, at_least=7, of="expressions"), key, unit=2).expressions
        assert texts.tolist() == [2] * 7
    assert draw(Objects(at_most=5, at_least=3), 0, unit=4).masks.shape == (4, 1)
    assert draw(Objects(at_most=5, at_least=2), 0, unit=1).masks.shape == (2, 1)


def test_an_object_of_a_clip_has_the_sentences_of_its_first_frame_that_has_any() -> None:
    for each in (False, True):
        tables = part(is_each_mask_described=each)
        owners = tables.columns["expressions/mask"].tolist()
        for key in range(60):
            clip = Clip(frames=2, objects=9, of="expressions", visible="any")
            drawn = draw_sample(tables, 1, draw_key(1, 0, 0, key), clip, Subset())
            names = taken(drawn).objects
            # All sentences of all who are there, each once, and of nobody else.
            there = {name for frame in (drawn.images - 1).tolist() for name in VIDEO[frame]}
            first = {name: NAMES.index(name) + 1 for name in SENTENCES}
            expected = [
                row for row, mask in enumerate(owners) if mask in {first[n] for n in there & first.keys()}
            ]
            assert sorted(drawn.expressions.tolist()) == expected
            assert [NAMES[owners[row] - 1] for row in drawn.expressions.tolist()] == list(names)


def test_who_may_be_drawn_is_decided_in_the_first_frame_and_who_is_too_small_later_is_still_there() -> None:
    subset = Subset(min_area=500)
    for key in range(100):
        frames, names = taken(draw(Clip(frames=2, objects=9, reverse=0.5), key, subset))
        assert set(names) == {name for name, area in VIDEO[frames[0]].items() if area >= 500}
        frames, names = taken(draw(Clip(frames=2, objects=9, visible="any"), key, subset))
        assert set(names) == {n for frame in frames for n, area in VIDEO[frame].items() if area >= 500}
        drawn = draw(Objects(at_most=9), key, subset, unit=4)
        assert sorted(drawn.masks[:, 0].tolist()) == [6, 7, 8]
        assert drawn.images.tolist() == [4]


Video = list[dict[str, int]]

VIDEOS: some.SearchStrategy[Video] = some.lists(
    some.dictionaries(some.sampled_from(["a", "b", "manual-17", "a rather long name"]), some.integers(1, 9)),
    min_size=1,
    max_size=7,
)


@given(
    VIDEOS,
    VIDEOS,
    some.integers(1, 4),
    some.integers(1, 3),
    some.sampled_from(["first", "any"]),
    some.sampled_from(["consecutive", "spread"]),
    some.integers(1, 6),
    some.integers(0, 10**6),
)
def test_nobody_is_drawn_twice_or_who_may_not_be(
    before: Video, video: Video, frames: int, objects: int, visible: str, pick: str, area: int, key: int
) -> None:
    tables = video_store([[before, video, before]]).parts[0]
    clip = Clip(frames=frames, objects=objects, visible=visible, pick=pick, reverse=0.5, short="repeat")
    try:
        drawn = draw_sample(tables, len(before), key, clip, Subset(min_area=area))
    except StoreError:
        assert (
            visible == "first"
            or all(here < area for frame in video for here in frame.values())
            or pick == "consecutive"
        )
        return
    rows = [(time, name) for time, frame in enumerate(video) for name in frame]
    start = sum(map(len, before))
    times = (drawn.images - len(before)).tolist()
    assert times in (sorted(times), sorted(times)[::-1])
    names = []
    for masks in drawn.masks.tolist():
        found = {rows[mask - start] for mask in masks if mask >= 0}
        (name,) = {name for _, name in found}
        names.append(name)
        decisive = times[:1] if visible == "first" else times
        assert any(video[time].get(name, 0) >= area for time in decisive)
        for time, mask in zip(times, masks, strict=True):
            assert (mask == -1) == (name not in video[time])
            assert mask == -1 or rows[mask - start] == (time, name)
    assert len(set(names)) == len(names) <= objects
    decisive = times[:1] if visible == "first" else times
    eligible = {name for time in decisive for name, size in video[time].items() if size >= area}
    assert len(names) == min(objects, len(eligible))


def test_a_unit_that_gives_nothing_any_more_is_an_error() -> None:
    for one, unit in (
        (Objects(at_most=3), 3),
        (Objects(at_most=3, of="expressions"), 6),
        (Clip(frames=9, objects=1), 1),
    ):
        with pytest.raises(StoreError, match="can't give the sample that the index found there"):
            draw(one, 0, unit=unit)
    with pytest.raises(StoreError, match="can't give the sample"):
        draw(Clip(frames=1, objects=1), 0, unit=2)
    for path, one in (
        ("images/scene", Clip(frames=1, objects=1)),
        ("masks/image", Clip(frames=1, objects=1)),
        ("expressions/mask", Clip(frames=1, objects=1, of="expressions")),
        ("masks/image", Objects(at_most=1)),
        ("expressions/mask", Objects(at_most=1, of="expressions")),
    ):
        tables = part()
        column = tables.columns[path]
        for damaged in (column[::-1], np.roll(column, 3), np.where(np.arange(len(column)) == 2, 0, column)):
            tables.columns[path] = damaged
            try:
                drawn = draw_sample(tables, 1, 0, one, Subset())
            except StoreError:
                continue
            assert drawn.masks.max() <= 12
    tables = part()
    tables.columns["masks/object_id_offsets"] = np.array([0, 0, *[1 << 40] * 12])
    with pytest.raises(StoreError, match="a key of more than"):
        draw_sample(tables, 1, 0, Clip(frames=1, objects=1), Subset())


def test_options_that_mean_nothing_are_refused() -> None:
    for wrong in ({"at_most": 0}, {"at_most": 3, "at_least": 4}, {"at_most": 3, "of": "boxes"}):
        with pytest.raises(ValueError, match=r"objects are 1 or more|of is 'masks' or 'expressions'"):
            Objects(**wrong)
