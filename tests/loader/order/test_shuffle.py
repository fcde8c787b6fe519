from collections import Counter
from itertools import permutations
from math import factorial

import numpy as np
import pytest
from numpy.typing import NDArray

from resizeonce.loader.order.shuffle import MAX_SIZE, Shuffle, hash_columns, hash_words, mix, permute, scale

GOLDEN_10 = [8, 9, 3, 4, 6, 0, 1, 5, 7, 2]
GOLDEN_BILLION = [311755093, 923030262, 984529238, 717993506, 440740510]
GOLDEN_MAX = [3429392865140007877, 1502953648553396208, 500991524910379175]
GOLDEN_WINDOW = [91, 7, 86, 60, 76, 13, 99, 38, 21, 68, 49, 92]
GOLDEN_HASH = 2711551329624082386


def shuffled(size: int, key: int) -> NDArray[np.int64]:
    return permute(np.arange(size), size, key)


def shuffled_by(size: int, keys: list[int]) -> NDArray[np.int64]:
    """Return the order of each key, [keys, size]: at once, as calls for a few indexes each take most of their time."""
    positions, of_each = np.tile(np.arange(size), len(keys)), np.repeat(np.array(keys, np.uint64), size)
    found = permute(positions, size, of_each).reshape(len(keys), size)
    for key, order in zip(keys[:20], found[:20], strict=True):
        assert np.array_equal(order, shuffled(size, key))
    return found


def chi_square(counts: NDArray[np.int64]) -> float:
    """Return how many standard deviations the statistic is above what even chances give."""
    expected = counts.mean()
    freedom = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5)


def test_any_size_gives_each_index_once() -> None:
    for size in (*range(1, 700), *range(1000, 1050), *range(2030, 2070)):
        assert np.array_equal(np.sort(shuffled(size, 31 * size)), np.arange(size)), size


def test_a_window_gives_each_index_once_for_any_size_window_and_block() -> None:
    for size in (*range(1, 70), 99, 100, 127, 128, 129, 149):
        for window, block in ((1, 1), (7, 3), (16, 8), (50, 50), (64, 5), (500, 1)):
            places = Shuffle(window, block).place(np.arange(size), size, size)
            assert np.array_equal(np.sort(places), np.arange(size)), (size, window, block)


@pytest.mark.parametrize("shuffle", [Shuffle(), Shuffle(8192, 64)])
def test_a_billion_samples_need_no_table_and_a_million_of_them_are_distinct(shuffle: Shuffle) -> None:
    size = 1_100_000_000
    positions = np.concatenate([np.arange(500_000), np.arange(size - 500_000, size)])
    places = shuffle.place(positions, size, 7)
    assert len(np.unique(places)) == len(positions)
    assert places.min() >= 0
    assert places.max() < size


def test_a_position_gives_the_same_index_alone_as_among_others() -> None:
    for shuffle in (Shuffle(), Shuffle(1000, 10)):
        together = shuffle.place(np.arange(70_000), 70_000, 3)
        for position in (0, 999, 1000, 32_767, 32_768, 69_999):
            assert shuffle.place(np.array([position]), 70_000, 3) == together[position]


def test_the_order_never_changes_from_version_to_version() -> None:
    assert shuffled(10, 1).tolist() == GOLDEN_10
    assert permute(np.arange(5), 1_100_000_000, hash_words(1, 2, 3)).tolist() == GOLDEN_BILLION
    assert permute(np.arange(3), MAX_SIZE, 2**64 - 1).tolist() == GOLDEN_MAX
    assert Shuffle(20, 4).place(np.arange(0, 100, 9), 100, 5).tolist() == GOLDEN_WINDOW
    assert hash_words() == 0
    assert hash_words(1, 2, 3) == GOLDEN_HASH


def test_the_mix_is_that_of_splitmix64() -> None:
    # The first outputs for seed 1234567 that the generator's authors and others publish.
    words = np.array([1234567 + n * 0x9E3779B97F4A7C15 & 2**64 - 1 for n in (1, 2, 3)], np.uint64)
    mix(words)
    assert words.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_every_order_of_a_few_is_equally_likely(size: int) -> None:
    keys = [hash_words(key) for key in range(10 * factorial(size))]
    found = Counter(map(tuple, shuffled_by(size, keys).tolist()))
    counts = np.array([found[order] for order in permutations(range(size))])
    assert abs(chi_square(counts)) < 4


@pytest.mark.parametrize("size", [7, 50, 256, 600])
def test_every_index_is_equally_likely_at_every_position(size: int) -> None:
    orders = shuffled_by(size, [hash_words(key, 9) for key in range(min(40 * size, 1200))])
    table = np.stack([np.bincount(orders[:, place], minlength=size) for place in range(size)])
    # Rows and columns have fixed sums: (size - 1) ** 2 degrees of freedom.
    expected = table.sum() / size**2
    freedom = (size - 1) ** 2
    assert abs(((table - expected) ** 2 / expected).sum() - freedom) / (2 * freedom) ** 0.5 < 4.5


def test_it_is_as_random_as_numpys() -> None:
    size, rounds = 100_000, 20
    ours = [statistics(shuffled(size, hash_words(key))) for key in range(rounds)]
    numpys = [statistics(np.random.default_rng(key).permutation(size)) for key in range(rounds)]
    for mine, reference in zip(np.mean(ours, axis=0), np.mean(numpys, axis=0), strict=True):
        assert mine == pytest.approx(reference, abs=0.01)


def statistics(order: NDArray[np.int64]) -> tuple[float, ...]:
    """Return serial correlations at some lags, the mean displacement, and how often an index is above the last."""
    correlations = [float(np.corrcoef(order[:-lag], order[lag:])[0, 1]) for lag in (1, 2, 8, 316, 317)]
    displacement = float(np.abs(order - np.arange(len(order))).mean() / len(order))
    return (*correlations, displacement, float((np.diff(order) > 0).mean()))


def test_two_epochs_have_nothing_in_common() -> None:
    size = 100_000
    first, second = shuffled(size, hash_words(0, 0)), shuffled(size, hash_words(0, 1))
    assert (first == second).sum() < 10
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.015


def test_a_window_touches_no_more_blocks_than_fit_in_it() -> None:
    size, window, block = 100_003, 1600, 16
    places = Shuffle(window, block).place(np.arange(size), size, 11)
    for first in range(0, size - 2 * window, window):
        ordered = np.sort(places[first : first + window])
        runs = 1 + np.count_nonzero(np.diff(ordered) != 1)
        assert runs <= window // block + 1


def test_a_window_as_large_as_the_store_is_a_free_shuffle() -> None:
    assert np.array_equal(Shuffle(100, 10).place(np.arange(100), 100, 4), shuffled(100, 4))


def test_block_borders_move_from_epoch_to_epoch() -> None:
    shuffle = Shuffle(16, 8)
    borders = {int(shuffle.place(np.arange(1000), 1000, key)[:16].min() % 8) for key in range(60)}
    assert borders == set(range(8))


def test_hashes_scale_to_every_count_evenly() -> None:
    hashes = hash_columns(5, np.arange(60_000))
    for count in (1, 2, 7, 100):
        found = np.bincount(scale(hashes, count), minlength=count)
        assert len(found) == count
        assert count == 1 or abs(chi_square(found)) < 4


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="places, not 0"):
        permute(np.arange(1), 0, 1)
    with pytest.raises(ValueError, match=r"positions are 0\.\.4; found 0\.\.5"):
        permute(np.arange(6), 5, 1)
    with pytest.raises(ValueError, match="at least a block"):
        Shuffle(4, 8)
    with pytest.raises(ValueError, match="at least a block"):
        Shuffle(None, 0)
