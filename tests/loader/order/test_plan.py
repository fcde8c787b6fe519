import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import fake_store, plain_store
from stores import coco_store
from torch.utils.data import ConcatDataset, DataLoader

from resizeonce.loader import SampleDataset, Store, collate
from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.order.index import SampleIndex
from resizeonce.loader.order.mixture import OrderOptions
from resizeonce.loader.order.picks import Picks
from resizeonce.loader.order.plan import Batching, EpochPlan, Order, Ranks
from resizeonce.loader.order.shuffle import Shuffle
from resizeonce.loader.order.subset import KeySet, Subset
from resizeonce.loader.order.torch_sampler import BatchSampler

Sample = tuple[int, int]


def single(**options: Any) -> Order:
    return Order([SampleIndex(plain_store(103))], OrderOptions(**options))


def mixed(**options: Any) -> Order:
    """Two lanes: 103 + 40 single samples, 57 pairs."""
    stores = [plain_store(103), fake_store([[2] * 20], pairs=[57]), plain_store(40, name="more")]
    return Order([SampleIndex(store) for store in stores], OrderOptions(**options))


def batching(size: int, rank: int = 0, world: int = 1, tail: Any = "drop") -> Batching:
    return Batching(batch_size=size, tail=tail, ranks=Ranks(rank, world))


def samples(picks: Picks) -> list[Sample]:
    return list(zip(picks.store.tolist(), picks.sample.tolist(), strict=True))


def plans(order: Order, size: int, world: int, tail: str = "drop", epoch: int = 0) -> list[EpochPlan]:
    return [order.plan(batching(size, rank, world, tail), epoch) for rank in range(world)]


def everything(order: Order) -> list[Sample]:
    sizes = [len(index) for index in order.mixture.indexes]
    return [(store, number) for store, size in enumerate(sizes) for number in range(size)]


@pytest.mark.parametrize("make", [single, mixed])
@pytest.mark.parametrize(("size", "world"), [(1, 1), (8, 1), (4, 2), (2, 4), (5, 3)])
def test_the_global_sequence_of_each_lane_is_the_same_for_any_batch_size_and_world(
    make: Any, size: int, world: int
) -> None:
    order = make(seed=3)
    sequences: dict[int, list[Sample]] = {lane: [] for lane in range(len(order.mixture.lanes))}
    for step in zip(*plans(order, size, world), strict=True):
        together = [sample for picks in step for sample in samples(picks)]
        (lane,) = {lane for lane, stores in enumerate(order.mixture.lanes) if together[0][0] in stores}
        sequences[lane] += together
    for lane, sequence in sequences.items():
        assert sequence == samples(order.mixture.pick(lane, 0, 0, len(sequence)))
        assert order.mixture.lane_sizes[lane] - len(sequence) < size * world


@pytest.mark.parametrize("make", [single, mixed])
@pytest.mark.parametrize("tail", ["drop", "wrap"])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_in_training_ranks_have_equally_many_full_batches_of_the_same_lane(
    make: Any, tail: str, world: int
) -> None:
    order = make()
    ranks = [list(plan) for plan in plans(order, 4, world, tail)]
    assert len({len(batches) for batches in ranks}) == 1
    for step in zip(*ranks, strict=True):
        assert {len(picks) for picks in step} == {4}
        assert len({order.mixture.indexes[store].store.paired for p in step for store in p.store}) == 1
    counts = Counter(sample for batches in ranks for picks in batches for sample in samples(picks))
    if tail == "drop":
        assert max(counts.values()) == 1
    else:
        assert set(counts) == set(everything(order))
        assert sum(counts.values()) - len(counts) < 4 * world * len(order.mixture.lanes)


def test_a_step_larger_than_the_store_wraps_around_more_than_once() -> None:
    order = Order([SampleIndex(plain_store(3))])
    counts = Counter(s for plan in plans(order, 5, 2, "wrap") for picks in plan for s in samples(picks))
    assert sorted(counts.values()) == [3, 3, 4]
    with pytest.raises(ValueError, match=r'3 samples of a kind, too few for batches of 5 .*tail="wrap"'):
        order.plan(batching(5, 0, 2))


@pytest.mark.parametrize("make", [single, mixed])
@pytest.mark.parametrize("world", [1, 2, 3, 5, 16, 64])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_in_evaluation_no_sample_comes_twice_and_none_is_lost(make: Any, world: int, size: int) -> None:
    order = make(shuffle=None)
    ranks = [[samples(picks) for picks in plan] for plan in plans(order, size, world, "keep")]
    together = sorted(sample for batches in ranks for batch in batches for sample in batch)
    assert together == everything(order)
    lanes = len(order.mixture.lanes)
    totals = [sum(map(len, batches)) for batches in ranks]
    lengths = [len(batches) for batches in ranks]
    assert max(totals) - min(totals) <= lanes
    assert max(lengths) - min(lengths) <= lanes
    assert all(1 <= len(batch) <= size for batches in ranks for batch in batches)


def test_lanes_alternate_in_proportion_over_the_whole_epoch() -> None:
    kinds = [int(picks.store[0]) == 1 for picks in mixed().plan(batching(2))]
    assert sum(kinds) == 28
    for part in np.array_split(kinds, 5):
        assert abs(part.mean() - 28 / 99) < 0.1


@pytest.mark.parametrize("make", [single, mixed])
@pytest.mark.parametrize("tail", ["drop", "wrap", "keep"])
def test_a_run_resumed_at_any_batch_goes_on_as_if_never_stopped(make: Any, tail: str) -> None:
    order = make(seed=5, shuffle=Shuffle(32, 4))
    for rank in (0, 2):
        cut = batching(3, rank, 3, tail)
        whole = [samples(picks) for epoch in (0, 1) for picks in order.plan(cut, epoch)]
        plan = order.plan(cut)
        for done in range(len(plan) + 1):
            state = json.loads(json.dumps(plan.state_after(done)))
            resumed = make(seed=5, shuffle=Shuffle(32, 4)).resume(state, cut)
            rest = [samples(picks) for picks in resumed]
            assert rest == whole[done:][: len(rest)]
            assert resumed.epoch == (1 if done == len(plan) else 0)
            if tail != "keep":
                assert len(rest) == (len(plan) - done or len(plan))


@pytest.mark.parametrize("make", [single, mixed])
def test_several_resumes_with_other_worlds_and_batch_sizes_miss_and_repeat_nothing(make: Any) -> None:
    order, seen = make(seed=1), []
    state = order.state(0, (0,) * len(order.mixture.lanes))
    for size, world, steps in ((4, 2, 3), (1, 1, 2), (7, 1, 2), (2, 5, 1), (3, 3, 2), (1, 2, 1)):
        ranks = [order.resume(state, batching(size, rank, world)) for rank in range(world)]
        seen += [sample for plan in ranks for step in range(steps) for sample in samples(plan.batch(step))]
        states = [plan.state_after(steps) for plan in ranks]
        assert all(other == states[0] for other in states)
        state = states[0]
    seen += [sample for picks in order.resume(state, batching(1)) for sample in samples(picks)]
    assert sorted(seen) == everything(order)


def test_states_of_all_ranks_agree_in_evaluation_too() -> None:
    for world in (2, 3, 50):
        order = mixed()
        ranks = plans(order, 2, world, "keep")
        for plan in ranks:
            done: list[Sample] = []
            for number in range(len(plan)):
                consumed = plan.state_after(number)["consumed"]
                step = [
                    lane for lane in range(2) if int(plan.batch(number).store[0]) in order.mixture.lanes[lane]
                ]
                first = consumed[step[0]]
                sequence = order.mixture.pick(
                    step[0], 0, first, min(first + 2 * world, order.mixture.lane_sizes[step[0]])
                )
                assert set(samples(plan.batch(number))) <= set(samples(sequence))
                done += samples(plan.batch(number))
            assert len(done) == len(set(done))
            assert plan.state_after(len(plan)) == order.state(1, (0, 0))


def test_a_state_after_the_last_batch_is_the_next_epochs_beginning_even_for_smaller_batches() -> None:
    order = single()
    plan = order.plan(batching(20), 6)
    state = plan.state_after(len(plan))
    assert (state["epoch"], state["consumed"]) == (7, [0])
    assert order.resume(state, batching(1)).epoch == 7


def test_too_few_samples_left_for_larger_batches_lead_to_the_next_epoch_on_every_rank() -> None:
    order = single()
    state = order.plan(batching(2)).state_after(50)
    for rank in range(4):
        assert order.resume(state, batching(8, rank, 4)).epoch == 1
        assert order.resume(state, batching(8, rank, 4, "keep")).epoch == 0


def test_states_are_small_and_json() -> None:
    state = mixed(weights=(1, 2, 3)).plan(batching(2)).state_after(3)
    assert json.loads(json.dumps(state)) == state
    assert len(json.dumps(state)) < 1500


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"seed": 2}, "seed was 0, now it is 2"),
        ({"shuffle": None}, "options was"),
        ({"shuffle": Shuffle(100)}, "options was"),
        ({"weights": (2.0,)}, "options was"),
        ({"epoch_samples": 50}, "options was"),
        ({"batches_of": "store"}, "options was"),
    ],
)
def test_a_state_of_another_order_is_refused(options: dict[str, Any], name: str) -> None:
    state = single().plan(batching(2)).state_after(3)
    with pytest.raises(ValueError, match=name):
        single(**options).resume(state, batching(2))


def test_an_order_without_some_scenes_goes_on_and_states_of_before_there_was_that_are_as_they_were() -> None:
    store = plain_store(103)
    without = Order([SampleIndex(store, Subset(without=KeySet(["fake/000002", "fake/000070"])))])
    plan = without.plan(batching(2))
    rest = without.resume(json.loads(json.dumps(plan.state_after(3))), batching(2))
    expected = [batch.sample.tolist() for batch in islice(plan, 3, None)]
    assert [batch.sample.tolist() for batch in rest] == expected
    assert not {2, 70} & {sample for batch in plan for sample in batch.sample.tolist()}
    (selection,) = Order([SampleIndex(store)]).state(0, (0,))["selections"]
    assert selection["subset"].keys() == {"min_prompt_cells", "min_area", "key_prefixes", "keys", "key_range"}


def test_a_state_of_another_selection_store_or_version_is_refused() -> None:
    store = plain_store(103)
    state = Order([SampleIndex(store)]).plan(batching(2)).state_after(3)
    with pytest.raises(ValueError, match="selections was"):
        Order([SampleIndex(store, Subset(min_area=100))]).resume(state, batching(2))
    with pytest.raises(ValueError, match="selections was"):
        Order([SampleIndex(store, Subset(without=KeySet(["fake/000002"])))]).resume(state, batching(2))
    with pytest.raises(ValueError, match="selections was"):
        Order([SampleIndex(store, masks="one")]).resume(state, batching(2))
    with pytest.raises(StoreError, match=r"FakeStore.* changed since the state was saved"):
        Order([SampleIndex(plain_store(103, seed=9))]).resume(state, batching(2))
    for damaged in (
        state | {"version": 2},
        {},
        state | {"consumed": [104]},
        state | {"consumed": ["1"]},
        state | {"consumed": None},
        state | {"consumed": 5},
        state | {"epoch": None},
        state | {"stores": 1},
        state | {"epoch": 1.5},
        state | {"epoch": "1"},
        state | {"epoch": float("nan")},
        None,
    ):
        with pytest.raises(ValueError, match="state"):
            Order([SampleIndex(store)]).resume(damaged, batching(2))


def test_what_can_not_be_is_refused() -> None:
    for rank, world in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="ranks"):
            Ranks(rank, world)
    with pytest.raises(ValueError, match="batch_size"):
        Batching(batch_size=0)
    wrong: Any
    for wrong in ("Keep", "", None):
        with pytest.raises(ValueError, match="tail is 'drop' or 'wrap' or 'keep', not"):
            Batching(batch_size=1, tail=wrong)
    for wrong in ("stores", None):
        with pytest.raises(ValueError, match="batches_of is 'kind' or 'store', not"):
            OrderOptions(batches_of=wrong)
    for wrong in (False, "no"):
        with pytest.raises(
            ValueError, match="shuffle is a Shuffle, or None for the order of the stores, not"
        ):
            OrderOptions(shuffle=wrong)
    with pytest.raises(ValueError, match="epochs are counted from 0"):
        single().plan(batching(1), -1)
    with pytest.raises(IndexError, match="batch 51 of a plan of 51"):
        single().plan(batching(2)).batch(51)


# What a group of torch's own says of them: tests/loader/workers/test_ranks.py.
def test_a_rank_that_can_not_be_told_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for alone in ("1", "", "many"):
        monkeypatch.setenv("WORLD_SIZE", alone)
        assert Ranks.current() == Ranks(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        RuntimeError, match=r"WORLD_SIZE is 2, .*call init_process_group before the first iteration"
    ):
        Ranks.current()
    assert Ranks.of_group() is None


@pytest.mark.parametrize("ahead", [0, 1, 4, 10, 50])
def test_a_samplers_states_are_of_the_batches_trained_on_however_many_were_asked_for(ahead: int) -> None:
    """As a `DataLoader` with workers does: some batches are asked for ahead, and the end is seen early."""
    sampler, plan = BatchSampler(single(), batching(10)), single().plan(batching(10))
    for _ in range(2):
        asked = iter(sampler)
        under_way = list(islice(asked, ahead))
        for count in range(1, len(plan) + 1):
            under_way += islice(asked, 1)
            assert under_way.pop(0) == plan.batch(count - 1).sample.tolist()
            assert sampler.state_after(count) == plan.state_after(count)
        assert not list(asked)
        assert sampler.epoch == plan.epoch + 1
        plan = plan.next_epoch()


def test_a_sampler_that_was_sent_elsewhere_has_that_place() -> None:
    sampler, plan = BatchSampler(single(), batching(10)), single().plan(batching(10))
    list(sampler)
    sampler.load_state_dict(plan.state_after(3))
    assert sampler.state_after(0) == plan.state_after(3)
    list(sampler)
    # Where the epoch before led already, and as every trainer says all the same.
    sampler.set_epoch(1)
    assert sampler.state_after(0) == plan.state_after(len(plan))
    sampler.set_epoch(5)
    assert sampler.state_after(1) == single().plan(batching(10), 5).state_after(1)


def test_a_rank_without_a_batch_goes_to_the_next_epoch_with_the_others() -> None:
    order = Order([SampleIndex(plain_store(3))])
    sampler = BatchSampler(order, batching(1, rank=0, world=5, tail="keep"))
    assert list(sampler) == []
    assert sampler.epoch == 1


def test_a_sampler_goes_from_epoch_to_epoch_and_back_to_where_it_began_after_a_break() -> None:
    sampler = BatchSampler(single(), batching(10))
    assert len(sampler) == 10
    first, second = list(sampler), list(sampler)
    assert sampler.epoch == 2
    assert first != second
    sampler.set_epoch(0)
    for number, batch in enumerate(sampler):
        assert batch == first[number]
        if number == 3:
            break
    state = sampler.state_dict()
    assert list(sampler) == first
    assert list(sampler) == second
    sampler.load_state_dict(state)
    sampler.set_epoch(0)
    assert len(sampler) == 10
    assert sampler.state_dict() == state
    assert list(sampler) == first[4:]
    assert list(sampler) == second


def test_a_plain_dataloader_takes_the_sampler_for_one_store_and_for_several(tmp_path: Path) -> None:
    for name in ("a", "b"):
        coco_store(tmp_path / name)
    stores = [Store(tmp_path / name / "coco.zarr") for name in ("a", "b")]
    datasets = [SampleDataset(store, ["prompt_masks"]) for store in stores]
    one = BatchSampler(Order([SampleIndex(stores[0])]), batching(2))
    keys = [
        key
        for batch in DataLoader(datasets[0], batch_sampler=one, collate_fn=collate)
        for key in batch["key"]
    ]
    assert sorted(keys) == sorted(map(stores[0].key, range(len(stores[0]))))
    both = BatchSampler(Order([SampleIndex(store) for store in stores]), batching(4))
    loader = DataLoader(ConcatDataset(datasets), batch_sampler=both, collate_fn=collate, num_workers=1)
    keys = [key for batch in loader for key in batch["key"]]
    assert Counter(keys) == dict.fromkeys(map(stores[0].key, range(len(stores[0]))), 2)
