"""What is asked of all parts of a store at once, where there are thousands."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resizeonce.preprocess.verify.scenes import group_by_part
from resizeonce.preprocess.verify.totals import find_repeated


def slowly_repeated(parts: Sequence[NDArray[np.uint64]]) -> list[tuple[int, int]]:
    earlier: set[int] = set()
    found = []
    for number, part in enumerate(parts):
        found += [(number, row) for row, key in enumerate(part.tolist()) if key in earlier]
        earlier.update(part.tolist())
    return found


def test_keys_that_an_earlier_part_has_are_found_and_those_of_their_own_part_are_not() -> None:
    assert list(find_repeated([])) == []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(0, 8, rng.integers(1, 9))
        parts = [rng.integers(0, 40, size, dtype=np.uint64) for size in sizes]
        assert list(find_repeated(parts)) == slowly_repeated(parts)


def test_looking_for_repeated_keys_does_not_take_the_square_of_the_number_of_parts() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 1 << 63, 64, dtype=np.uint64) for _ in range(4000)]
    parts.append(parts[0][:1])
    started = time.process_time()
    assert list(find_repeated(parts)) == [(4000, 0)]
    # To look for the keys of each part in those of all before it took a minute and more.
    assert time.process_time() - started < 2


def test_each_part_gets_its_own_of_the_chosen_scenes() -> None:
    parts = [range(0, 4), range(4, 8), range(8, 8), range(8, 12)]
    assert list(group_by_part([11, 0, 3, 4, 40], parts)) == [[0, 3], [4], [], [11]]


def test_giving_parts_their_scenes_does_not_take_the_product_of_both_numbers() -> None:
    step, count = 8, 20_000
    started = time.process_time()
    grouped = group_by_part(
        range(step * count), [range(first, first + step) for first in range(0, step * count, step)]
    )
    assert all(len(scenes) == step for scenes in grouped)
    # To ask each scene of each part takes minutes.
    assert time.process_time() - started < 2
