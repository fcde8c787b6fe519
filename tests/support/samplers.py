"""How trainers draw, written down from what their data code does; and whether two lists of draws have one distribution."""

import random
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

Video = Sequence[Mapping[str, int]]
"""Frames in order of time; of each, the area of each object that is there."""


class Taken(NamedTuple):
    frames: tuple[int, ...]
    objects: tuple[str, ...]


def visible_objects(frame: Mapping[str, int], min_area: int = 0) -> list[str]:
    return [name for name, area in frame.items() if area >= min_area]


def sam2(video: Video, frames: int, objects: int, rolls: random.Random, *, min_area: int = 0) -> Taken:
    """Consecutive frames, half of the time backwards, drawn again until somebody is in the first."""
    while True:
        start = rolls.randrange(len(video) - frames + 1)
        taken = list(range(start, start + frames))
        if rolls.random() < 0.5:
            taken.reverse()
        if there := visible_objects(video[taken[0]], min_area):
            return Taken(tuple(taken), tuple(rolls.sample(there, min(objects, len(there)))))


def sam3(video: Video, frames: int, rolls: random.Random) -> tuple[int, ...]:
    """A stride of 1 to 5, lowered to the largest that fits, half of the time backwards."""
    stride = rolls.randint(1, 5)
    while (frames - 1) * stride >= len(video):
        stride -= 1
    start = rolls.randrange(len(video) - (frames - 1) * stride)
    taken = [start + step * stride for step in range(frames)]
    return tuple(taken[::-1] if rolls.random() < 0.5 else taken)


def sa2va(num_frames: int, frames: int, rolls: random.Random) -> tuple[int, ...]:
    """Any frames in order of time, with repetition where there are too few."""
    if num_frames < frames:
        return tuple(sorted(rolls.choices(range(num_frames), k=frames)))
    return tuple(sorted(rolls.sample(range(num_frames), frames)))


def lisa(pairs: Sequence[Hashable], most: int, rolls: random.Random) -> tuple[Hashable, ...]:
    """Some of all sentences of an image, without replacement; all of them where there are fewer."""
    return tuple(rolls.sample(pairs, min(most, len(pairs))))


def assert_same_distribution(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> None:
    """Compare two lists of draws of one length: Pearson's test of homogeneity, at four standard deviations.

    What was drawn less than ten times in both together is put together.
    """
    assert len(ours) == len(theirs)
    first, second = Counter(ours), Counter(theirs)
    assert first.keys() <= second.keys() or len(second) > 200, first.keys() - second.keys()
    cells: Counter[Hashable] = Counter()
    for one in first | second:
        cells[one if first[one] + second[one] >= 10 else "rare"] += first[one] - second[one]
    totals = {one: first[one] + second[one] for one in cells if one != "rare"}
    totals["rare"] = 2 * len(ours) - sum(totals.values())
    statistic = sum(gap**2 / totals[one] for one, gap in cells.items())
    freedom = max(len(cells) - 1, 1)
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5 + 2, (statistic, freedom)
