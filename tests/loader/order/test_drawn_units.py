import json
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeStore, fake_store, plain_store, video_store
from hypothesis import given
from hypothesis import strategies as some
from miniature.every import WRITERS
from stores import CONFIGS, TINY, pictures

from resizeonce.loader import (
    Batching,
    Clip,
    KeySet,
    Objects,
    Order,
    OrderOptions,
    Ranks,
    SampleIndex,
    Store,
    StoreError,
    Subset,
)
from resizeonce.loader.order.draws import Draw, draw_key, draw_sample
from resizeonce.loader.order.mixture import Mixture
from resizeonce.loader.order.picks import Picks
from resizeonce.loader.order.torch_sampler import BatchSampler
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

LONG = [{"a": 900, "b": 100}, {}, {"b": 900}, {"a": 100}]
"""Four frames, images 0 to 3 where it comes first."""
PARTS = [
    [LONG, [{"a": 900}], [{}, {}, {}]],
    [],
    [[{"a": 100}, {"a": 100}, {"a": 100}], LONG],
]
"""Numbers of the scenes' first images: 0, 4, 5 | | 8, 11. Keys: videos/0 to videos/4."""


@pytest.fixture
def store() -> FakeStore:
    return video_store(PARTS, {"b": 2})


def numbers(index: SampleIndex) -> list[int]:
    return index.samples(np.arange(len(index)), 0).tolist()


@pytest.mark.parametrize(
    ("draw", "subset", "expected", "left_out"),
    [
        (Objects(at_most=3), {}, [0, 2, 3, 4, 8, 9, 10, 11, 13, 14], {"nobody eligible": 5}),
        (Objects(at_most=3), {"min_area": 500}, [0, 2, 4, 11, 13], {"nobody eligible": 10}),
        (Objects(at_most=3), {"min_prompt_cells": 9}, [0, 2, 4, 11, 13], {"nobody eligible": 10}),
        (Objects(at_most=3, of="expressions"), {}, [0, 11], {"nobody eligible": 13}),
        (Objects(at_most=3, of="expressions"), {"min_area": 500}, None, {"nobody eligible": 15}),
        (Clip(frames=3, objects=1), {}, [0, 8, 11], {"too short": 1, "nobody eligible": 1}),
        (Clip(frames=3, objects=1), {"min_area": 500}, [0, 11], {"too short": 1, "nobody eligible": 2}),
        (Clip(frames=3, objects=1), {"keys": KeySet(["videos/0", "videos/1"])}, [0], {"too short": 1}),
        (Clip(frames=3, objects=1), {"without": KeySet(["videos/0", "videos/1"])}, [8, 11], {"nobody eligible": 1}),
        (Clip(frames=3, objects=1), {"key_prefixes": ("videos/3", "videos/4/")}, [8, 11], {}),
        (Clip(frames=4, objects=1), {}, [0, 11], {"too short": 3}),
        (Clip(frames=4, objects=1, short="repeat"), {}, [0, 4, 8, 11], {"nobody eligible": 1}),
        (Clip(frames=3, objects=1, stride=2, reverse=1), {}, [0, 8, 11], {"too short": 1, "nobody eligible": 1}),
        (Clip(frames=3, objects=1, reverse=1), {"min_area": 500}, [0, 11], {"too short": 1, "nobody eligible": 2}),
        (Clip(frames=4, objects=1, reverse=1), {"min_area": 500}, None, {"too short": 3, "nobody eligible": 2}),
        (Clip(frames=2, objects=1, of="expressions"), {}, [0, 11], {"too short": 1, "nobody eligible": 2}),
    ],
)  # fmt: skip
def test_units_that_can_give_a_sample_take_part_and_others_are_counted(
    store: FakeStore,
    draw: Draw,
    subset: dict[str, object],
    expected: list[int] | None,
    left_out: dict[str, int],
) -> None:
    if expected is None:
        with pytest.raises(ValueError, match=f"no sample .*left out: .*{left_out['nobody eligible']}"):
            SampleIndex(store, Subset(**subset), draw=draw)
        return
    index = SampleIndex(store, Subset(**subset), draw=draw)
    assert numbers(index) == expected
    assert index.left_out == left_out
    assert {reason: len(keys) for reason, keys in index.left_out_keys().items()} == left_out
    for number in expected:
        part, row = index.locate(number)
        drawn = draw_sample(store.parts[part], row, 7, draw, index.subset.of_masks)
        assert drawn.images.min() >= row


FRAME = some.dictionaries(some.sampled_from("abc"), some.integers(1, 9), max_size=3)
SCENES = some.lists(some.lists(FRAME, min_size=1, max_size=5), min_size=1, max_size=4)


@given(
    SCENES,
    some.integers(1, 4),
    some.sampled_from([1, 2, (1, 3)]),
    some.sampled_from(["first", "any"]),
    some.sampled_from(["skip", "repeat"]),
    some.sampled_from(["masks", "expressions"]),
    some.sampled_from([0.0, 0.5]),
)
def test_the_index_has_exactly_the_units_that_something_can_be_drawn_of(
    scenes: list[list[dict[str, int]]],
    frames: int,
    stride: int,
    visible: str,
    short: str,
    of: str,
    reverse: float,
) -> None:
    store, subset = video_store([scenes], {"a": 1, "c": 2}), Subset(min_area=4)
    clip = Clip(frames=frames, objects=2, stride=stride, visible=visible, short=short, of=of, reverse=reverse)
    firsts = np.cumsum([0, *map(len, scenes)])
    for draw, rows in ((clip, firsts[:-1]), (Objects(at_most=2, of=of), np.arange(firsts[-1]))):
        expected = []
        for row in rows.tolist():
            with suppress(StoreError):
                draw_sample(store.parts[0], row, 5, draw, subset)
                expected.append(row)
        if expected:
            index = SampleIndex(store, subset, draw=draw)
            assert numbers(index) == expected
            assert len(index) + sum(index.left_out.values()) == len(rows)
        else:
            with pytest.raises(ValueError, match="no sample of"):
                SampleIndex(store, subset, draw=draw)


def test_units_that_are_left_out_are_named(store: FakeStore) -> None:
    clips = SampleIndex(store, Subset(min_area=500), draw=Clip(frames=3, objects=1))
    assert clips.left_out_keys() == {"too short": ["videos/1"], "nobody eligible": ["videos/2", "videos/3"]}
    stills = SampleIndex(store, Subset(min_area=500), draw=Objects(at_most=3))
    assert stills.left_out_keys()["nobody eligible"][:3] == ["videos/0/001", "videos/0/003", "videos/2/000"]
    everybody = SampleIndex(fake_store([[2, 3]]), draw=Objects(at_most=9))
    assert (everybody.left_out, everybody.left_out_keys()) == ({}, {})
    assert SampleIndex(store).left_out == SampleIndex(store, masks="one").left_out == {}


def test_one_mask_an_image_leaves_images_without_masks_out(store: FakeStore) -> None:
    assert len(SampleIndex(store, masks="one")) == 10
    assert numbers(SampleIndex(store)) == list(range(12))


def test_a_video_lies_on_one_side_of_a_split_whatever_is_drawn() -> None:
    store = video_store([[[{"a": 1}] * 3 for _ in range(300)]])
    sides = [(0.0, 0.5), (0.5, 1.0)]
    stills = [SampleIndex(store, Subset(key_range=side), draw=Objects(at_most=1)) for side in sides]
    clips = [SampleIndex(store, Subset(key_range=side), draw=Clip(frames=2, objects=1)) for side in sides]
    masks = [SampleIndex(store, Subset(key_range=side)) for side in sides]
    for still, clip, mask in zip(stills, clips, masks, strict=True):
        assert {number // 3 * 3 for number in numbers(still)} == set(numbers(clip))
        assert len(still) == len(mask) == 3 * len(clip)
    assert sum(map(len, clips)) == 300
    assert 100 < len(clips[0]) < 200


def test_objects_of_stores_whose_images_all_have_masks_read_no_column() -> None:
    for store in (fake_store([[3, 1], [], [2]]), fake_store([[3, 1], [2]], pairs=[4, 1])):
        index = SampleIndex(store, draw=Objects(at_most=64))
        assert numbers(index) == [0, 1, 2]
        assert store.opened == []
    assert SampleIndex(fake_store([[3, 1], [], [2]]), draw=Objects(at_most=2)).locate(2) == (2, 0)


def test_stills_are_scenes_of_one_frame() -> None:
    store = plain_store(5)
    for part in store.parts:
        part.columns |= {"images/scene": np.arange(5), **video_store([[[{"a": 1}]] * 5]).parts[0].columns}
    index = SampleIndex(store, draw=Clip(frames=8, objects=1, short="repeat"))
    assert numbers(index) == [0, 1, 2, 3, 4]
    alone = SampleIndex(store, Subset(keys=KeySet(["videos/3/000"])), draw=Clip(frames=1, objects=1))
    assert numbers(alone) == [3]


def test_a_number_the_store_has_not_is_an_error(store: FakeStore) -> None:
    index = SampleIndex(store, draw=Objects(at_most=3))
    assert [index.locate(number) for number in (0, 7, 8, 14)] == [(0, 0), (0, 7), (2, 0), (2, 6)]
    assert SampleIndex(store).locate(11) == (2, 6)
    for number in (-1, 15):
        with pytest.raises(IndexError, match="of a store of 15"):
            index.locate(number)


def test_masks_and_a_draw_together_are_refused(store: FakeStore) -> None:
    for masks in ("every", "one"):
        with pytest.raises(ValueError, match=r"masks='(every|one)' or draw=, not both"):
            SampleIndex(store, masks=masks, draw=Objects(at_most=3))


@pytest.mark.parametrize("draw", [Objects(at_most=3), Clip(frames=3, objects=1)])
def test_a_cached_index_spares_reading_and_is_of_one_draw(
    store: FakeStore, tmp_path: Path, draw: Draw
) -> None:
    cache, subset = tmp_path / "index", Subset(min_area=500)
    made = SampleIndex(store, subset, draw=draw, cache=cache)
    store.opened.clear()
    read = SampleIndex(store, subset, draw=draw, cache=cache)
    assert store.opened == []
    assert (numbers(read), read.left_out) == (numbers(made), made.left_out)
    assert read.left_out_keys() == made.left_out_keys()
    for other in (Objects(at_most=4), Clip(frames=3, objects=2), None):
        with pytest.raises(StoreError, match="the index of another store or subset"):
            SampleIndex(store, subset, draw=other, cache=cache)
    content = cache.read_bytes()
    cache.write_bytes(content[:-8] + b"\xff" * 8)
    with pytest.raises(StoreError, match=r"is no index, or damaged .*fewer than none.*: remove it"):
        SampleIndex(store, subset, draw=draw, cache=cache)
    cache.write_bytes(content[:-8])
    with pytest.raises(StoreError, match="is no index, or damaged"):
        SampleIndex(store, subset, draw=draw, cache=cache)


def test_stores_of_one_draw_share_a_lane_and_others_never_do() -> None:
    stills = [fake_store([[5] * 6], name=f"stills{number}") for number in range(4)]
    videos = [video_store(PARTS, name=f"videos{number}") for number in range(4)]
    draws: list[Draw | None] = [
        Objects(at_most=3), Objects(at_most=3), Objects(at_most=4), None,
        Clip(frames=2, objects=3), Clip(frames=3, objects=3), Clip(frames=2, objects=3), Objects(at_most=3),
    ]  # fmt: skip
    indexes = [SampleIndex(store, draw=draw) for store, draw in zip(stills + videos, draws, strict=True)]
    assert Mixture(indexes, OrderOptions()).lanes == ((0, 1, 7), (2,), (3,), (4, 6), (5,))
    a_range = [SampleIndex(store, draw=Clip(frames=2, objects=3, stride=(1, 1))) for store in videos[:1]]
    assert Mixture([indexes[4], *a_range], OrderOptions()).lanes == ((0, 1),)


def order(**options: object) -> Order:
    """Return clips, objects, sentences and single masks, mixed."""
    many = [[LONG, LONG[:2], LONG * 2] * 9]
    draws = [
        Clip(frames=2, objects=2, reverse=0.5),
        Objects(at_most=3),
        Objects(at_most=3, of="expressions"),
        None,
    ]
    stores = [video_store(many, {"a": 2, "b": 1}, name=f"store{number}") for number in range(4)]
    indexes = [SampleIndex(store, draw=draw) for store, draw in zip(stores, draws, strict=True)]
    return Order(indexes, OrderOptions(seed=11, **options))


def drawn(one: Order, picks: Picks) -> list[str]:
    """Return everything about a batch's samples."""
    found = []
    for store, number, lap, seed in zip(picks.store, picks.sample, picks.lap, picks.seed, strict=True):
        index = one.mixture.indexes[store]
        part, row = index.locate(int(number))
        text = f"{store} {number} {lap} {seed}"
        if index.draw is not None:
            key = draw_key(11, int(store), int(lap), int(number))
            text += str(
                [
                    array.tolist()
                    for array in draw_sample(index.store.tables(part), row, key, index.draw, index.subset)
                ]
            )
        found.append(text)
    return found


@pytest.mark.parametrize("options", [{}, {"weights": (4, 2, 1, 1), "epoch_samples": 240}])
def test_a_run_goes_on_with_other_batches_and_ranks_exactly(options: dict[str, object]) -> None:
    one = order(**options)
    whole = one.plan(Batching(batch_size=2, tail="keep"), epoch=1)
    expected = Counter(text for picks in whole for text in drawn(one, picks))
    for done in (0, 7, 20):
        before = Counter(text for number in range(done) for text in drawn(one, whole.batch(number)))
        state = json.loads(json.dumps(whole.state_after(done)))
        again = order(**options)
        after: Counter[str] = Counter()
        for rank in range(3):
            plan = again.resume(state, Batching(batch_size=5, tail="keep", ranks=Ranks(rank, 3)))
            after.update(text for picks in plan for text in drawn(again, picks))
        assert before + after == expected


def test_a_lap_draws_anew_and_a_state_of_another_draw_is_refused(store: FakeStore) -> None:
    one = order(shuffle=None)
    first, second = (
        [
            text.partition("[")[2]
            for picks in one.plan(Batching(batch_size=4), epoch=epoch)
            for text in drawn(one, picks)
        ]
        for epoch in (0, 1)
    )
    assert len(first) == len(second)
    assert first != second
    state = (
        Order([SampleIndex(store, draw=Clip(frames=2, objects=3))])
        .plan(Batching(batch_size=1))
        .state_after(2)
    )
    assert "draw" in state["selections"][0]
    for other in (
        Clip(frames=2, objects=3, reverse=0.5),
        Clip(frames=2, objects=3, stride=2),
        Objects(at_most=3),
    ):
        with pytest.raises(ValueError, match="its selections was"):
            Order([SampleIndex(store, draw=other)]).resume(state, Batching(batch_size=1))


def test_without_a_draw_states_are_what_they_were(store: FakeStore) -> None:
    assert SampleIndex(store).describe().keys() == {"subset", "masks"}
    assert SampleIndex(store).describe()["masks"] == "every"


def test_a_samples_own_number_is_of_seed_epoch_lane_and_position_alone() -> None:
    one = Mixture(
        [SampleIndex(plain_store(5000)), SampleIndex(plain_store(40, side=224))], OrderOptions(seed=3)
    )
    whole = one.pick(0, 2, 0, 5000)
    assert whole.seed.dtype == np.int64
    assert whole.seed.min() >= 0
    assert len(set(whole.seed.tolist())) == 5000
    for first, stop in ((0, 1), (17, 25), (4090, 4100)):
        assert one.pick(0, 2, first, stop).seed.tolist() == whole.seed[first:stop].tolist()
    other = Mixture([SampleIndex(plain_store(5000))], OrderOptions(seed=3, shuffle=None))
    assert other.pick(0, 2, 0, 50).seed.tolist() == whole.seed[:50].tolist()
    others = [one.pick(0, 3, 0, 40), one.pick(1, 2, 0, 40)]
    others.append(Mixture([SampleIndex(plain_store(40))], OrderOptions(seed=4)).pick(0, 2, 0, 40))
    assert not set(whole.seed.tolist()) & {seed for picks in others for seed in picks.seed.tolist()}
    assert whole.seed[:3].tolist() == [3033689322325393752, 4654783599477142014, 7621327883278224100]


def test_a_batch_sampler_gives_picks_where_samples_are_drawn(store: FakeStore) -> None:
    order = Order([SampleIndex(store, draw=Objects(at_most=3)), SampleIndex(store)])
    batching = Batching(batch_size=4)
    found = list(BatchSampler(order, batching))
    for one, expected in zip(found, order.plan(batching), strict=True):
        assert isinstance(one, Picks)
        for name in ("store", "sample", "lap", "seed"):
            assert np.array_equal(getattr(one, name), getattr(expected, name))
    with pytest.raises(ValueError, match="leave out picks=False"):
        BatchSampler(order, batching, picks=False)


def test_a_batch_sampler_of_stores_own_samples_gives_numbers_or_picks(store: FakeStore) -> None:
    order, batching = Order([SampleIndex(store)]), Batching(batch_size=4)
    numbered, picked = (list(BatchSampler(order, batching, picks=picks)) for picks in (None, True))
    assert all(isinstance(one, list) for one in numbered)
    assert [one.sample.tolist() for one in picked if isinstance(one, Picks)] == numbered


def test_a_real_store_of_videos_is_drawn_from(tmp_path: Path) -> None:
    WRITERS["sav"](tmp_path / "raw", pictures())
    config = load_config(CONFIGS / "sav.toml", ["store.scenes_per_part=2", *TINY])
    convert(config, tmp_path / "raw", tmp_path / "sav.zarr")
    store = Store(tmp_path / "sav.zarr")
    for subset, draw in (
        (Subset(), Clip(frames=2, objects=3, reverse=0.5)),
        (Subset(min_area=1), Objects(at_most=9)),
    ):
        index = SampleIndex(store, subset, draw=draw)
        assert len(index) > 2
        for number in numbers(index):
            place, row = index.locate(number)
            part = store.part(place)
            drawn = draw_sample(part, row, 3, draw, subset)
            keys = [part.text("images/key", image) for image in drawn.images.tolist()]
            assert len({key.rpartition("/")[0] for key in keys}) == 1
            assert len(set(keys)) == len(keys)
            names = []
            for masks in drawn.masks.tolist():
                names.append({part.text("masks/object_id", mask) for mask in masks if mask >= 0})
                owners = [part.column("masks/image")[mask] for mask in masks if mask >= 0]
                assert owners == [
                    image for image, mask in zip(drawn.images.tolist(), masks, strict=True) if mask >= 0
                ]
            assert all(len(name) == 1 for name in names)
            assert len(set.union(*names)) == len(names)
