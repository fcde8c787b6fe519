from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from fakes import fake_store, plain_store

from resizeonce.loader.order.index import SampleIndex
from resizeonce.loader.order.interleave import Interleaving
from resizeonce.loader.order.mixture import Mixture, OrderOptions
from resizeonce.loader.order.picks import Picks, draw_expression
from resizeonce.loader.order.shuffle import Shuffle


def mixture(*sizes: int, **options: object) -> Mixture:
    indexes = [SampleIndex(plain_store(size, name=f"store{number}")) for number, size in enumerate(sizes)]
    return Mixture(indexes, OrderOptions(**options))


def pairs(picks: Picks) -> list[tuple[int, int]]:
    return list(zip(picks.store.tolist(), picks.sample.tolist(), strict=True))


def slow_merge(counts: list[int], lengths: list[int], starts: list[int], step: int) -> list[tuple[int, int]]:
    """Merge by exact times."""
    items = [
        (Fraction(2 * starts[sequence] + (2 * item + 1) * step, 2 * lengths[sequence]), sequence, item)
        for sequence, count in enumerate(counts)
        for item in range(count)
    ]
    return [(sequence, item) for _, sequence, item in sorted(items)]


@pytest.mark.parametrize(
    ("counts", "lengths", "starts", "step"),
    [
        ([5], [5], [0], 1),
        ([7, 3], [7, 3], [0, 0], 1),
        ([4, 4, 4], [4, 4, 4], [0, 0, 0], 1),
        ([100, 1, 37, 0, 12], [100, 1, 37, 5, 12], [0] * 5, 1),
        ([10, 3, 0], [97, 60, 31], [17, 33, 31], 8),
    ],
)
def test_sequences_are_merged_by_their_exact_times(
    counts: list[int], lengths: list[int], starts: list[int], step: int
) -> None:
    merged = Interleaving(tuple(counts), tuple(lengths), tuple(starts), step)
    expected = slow_merge(counts, lengths, starts, step)
    assert len(merged) == len(expected)
    for first in range(len(expected) + 1):
        before = Counter(sequence for sequence, _ in expected[:first])
        assert merged.before(first) == [before[sequence] for sequence in range(len(counts))]
        stop = min(first + 7, len(expected))
        sequences, items = merged.items(first, stop)
        assert list(zip(sequences.tolist(), items.tolist(), strict=True)) == expected[first:stop]


def test_a_place_among_billions_is_found_without_walking_there() -> None:
    merged = Interleaving.of([1_100_000_000, 3, 600_000_001, 599_999_999])
    for place in (0, 1, 12_345, 1_150_000_002, len(merged) - 1, len(merged)):
        counts = merged.before(place)
        assert sum(counts) == place
        for count, length in zip(counts, merged.counts, strict=True):
            assert abs(count - place * length / len(merged)) < 2
    assert merged.before(len(merged)) == list(merged.counts)


@pytest.mark.parametrize("shuffle", [None, Shuffle(), Shuffle(16, 4)])
def test_without_weights_an_epoch_is_each_sample_of_each_store_once(shuffle: Shuffle | None) -> None:
    mixed = mixture(100, 37, 1, shuffle=shuffle)
    orders = [pairs(mixed.pick(0, epoch, 0, 138)) for epoch in (0, 1)]
    for order in orders:
        assert sorted(order) == [(s, n) for s, size in enumerate((100, 37, 1)) for n in range(size)]
    assert (orders[0] == orders[1]) == (shuffle is None)
    assert mixed.pick(0, 3, 0, 138).lap.tolist() == [3] * 138


def test_any_stretch_of_an_epoch_is_the_same_asked_for_alone() -> None:
    mixed = mixture(100, 37, 11, weights=(1, 5, 2), epoch_samples=300)
    whole = pairs(mixed.pick(0, 4, 0, 300))
    assert all(pairs(mixed.pick(0, 4, first, first + 9)) == whole[first : first + 9] for first in range(291))
    assert pairs(mixed.pick(0, 4, 3, 3)) == []


def test_a_long_stretch_is_its_pieces_one_after_the_other() -> None:
    mixed = mixture(9000, 4000, weights=(1, 1), epoch_samples=20_000)
    whole = pairs(mixed.pick(0, 1, 0, 20_000))
    cuts = [0, 4000, 4097, 8192, 8193, 16_000, 20_000]
    assert [pair for first, stop in pairwise(cuts) for pair in pairs(mixed.pick(0, 1, first, stop))] == whole
    assert pairs(mixed.pick(0, 1, 4095, 4097)) == whole[4095:4097]


def test_weighted_stores_give_their_exact_share_and_no_sample_twice_before_each_came_once() -> None:
    sizes, weights = (100, 37, 11), (1.0, 2.5, 0.5)
    mixed = mixture(*sizes, weights=weights, epoch_samples=250)
    epochs = [mixed.pick(0, epoch, 0, 250) for epoch in range(12)]
    for picks in epochs:
        assert np.bincount(picks.store).tolist() == [63, 156, 31]
    drawn = [pair for picks in epochs for pair in pairs(picks)]
    laps = np.concatenate([picks.lap for picks in epochs])
    for store, size in enumerate(sizes):
        samples = [sample for number, sample in drawn if number == store]
        for first in range(0, len(samples) - size, size):
            assert sorted(samples[first : first + size]) == list(range(size))
        numbered = [lap for (number, _), lap in zip(drawn, laps.tolist(), strict=True) if number == store]
        assert numbered == [draw // size for draw in range(len(samples))]


def test_every_stretch_has_nearly_the_share_of_each_store() -> None:
    mixed = mixture(1000, 300, 50, weights=(6, 3, 1), epoch_samples=5000)
    stores = mixed.pick(0, 0, 0, 5000).store
    for first in range(0, 4900, 7):
        found = np.bincount(stores[first : first + 100], minlength=3)
        assert np.abs(found - np.array([60, 30, 10])).max() <= 2


def test_pairs_singles_and_other_sizes_stand_in_lanes_of_their_own() -> None:
    stores = [
        plain_store(10),
        fake_store([[2, 2]], pairs=[7]),
        plain_store(5, name="more"),
        plain_store(6, side=224),
    ]
    indexes = [SampleIndex(store) for store in stores]
    assert Mixture(indexes, OrderOptions()).lanes == ((0, 2), (1,), (3,))
    assert Mixture(indexes, OrderOptions()).lane_sizes == (15, 7, 6)
    assert Mixture(indexes, OrderOptions(batches_of="store")).lanes == ((0,), (1,), (2,), (3,))


def test_one_mask_an_image_is_drawn_anew_in_every_lap() -> None:
    index = SampleIndex(fake_store([[50] * 40]), masks="one")
    mixed = Mixture([index], OrderOptions(shuffle=None))
    first, second = (mixed.pick(0, epoch, 0, 40).sample for epoch in (0, 1))
    assert (first // 50).tolist() == (second // 50).tolist() == list(range(40))
    assert (first != second).any()


def test_the_seed_and_the_place_in_the_mixture_change_a_stores_order() -> None:
    orders = [mixture(50, 50, seed=seed).pick(0, 0, 0, 100) for seed in (0, 1)]
    ours = [picks.sample[picks.store == store].tolist() for picks in orders for store in (0, 1)]
    assert len({tuple(order) for order in ours}) == 4


def test_an_expression_is_drawn_evenly_and_anew_in_every_lap() -> None:
    for count in (1, 2, 5):
        drawn = Counter(draw_expression(3, lap, sample, count) for lap in range(50) for sample in range(100))
        assert sorted(drawn) == list(range(count))
        assert min(drawn.values()) > 5000 / count * 0.9
    assert len({draw_expression(0, lap, 7, 1000) for lap in range(20)}) > 15
    with pytest.raises(ValueError, match="no expressions"):
        draw_expression(0, 0, 7, 0)


def test_options_that_do_not_fit_the_stores_are_refused() -> None:
    for weights in ((1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, float("inf")), (1.0, float("nan"))):
        with pytest.raises(ValueError, match="weights"):
            mixture(5, 5, weights=weights)
    with pytest.raises(ValueError, match="store 1 gets no sample"):
        mixture(1000, 5, epoch_samples=10)
    with pytest.raises(ValueError, match="at least one store"):
        Mixture([], OrderOptions())
