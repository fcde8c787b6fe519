"""Which frames of a video stand in a clip: drawn once, as trainers draw that try again until somebody is there. numpy only.

The clips that a video can give are counted, each as often as a trainer would try it, and one of those is drawn that show
somebody. Counts are whole numbers of any size, so a draw is the same on every machine.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from math import comb, lcm
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .shuffle import hash_columns, hash_words, scale

Drawable = Literal["masks", "expressions"]

_WAY, _FRAME, _OTHERS, _REPEATS = range(4)
"""What a hash is for, so that one key gives unrelated draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A sample is some frames of a scene, with some of its objects.

    A clip that is tried again until somebody is there, as trainers do, is computed here: among the clips that show
    somebody each is as likely as it was among all. With one stride, and reversed half of the time, all are alike.
    """

    frames: int
    """K: how many frames, 1 or more."""
    objects: int
    """N: up to how many objects, without replacement; with of="expressions", sentences."""
    at_least: int = 0
    """Fewer objects are repeated evenly until they are as many: `objects` for batches that are dense."""
    of: Drawable = "masks"
    """"expressions": a sample is of sentences, each with its object. An object may come twice, with two of its own.
    Its sentences are those of its first frame in the scene that has any."""
    stride: int | tuple[int, int] = 1
    """From a frame to the next, or the least and the most, of which each is as likely; lowered to what the scene has room for."""
    pick: Literal["consecutive", "spread"] = "consecutive"
    """"consecutive": frames one stride apart, from a start of which each is as likely. "spread": any, in order of time."""
    reverse: float = 0.0
    """How likely the clip runs backwards, 0..1."""
    visible: Literal["first", "any"] = "first"
    """Where an object's mask must be in the subset, for the object to be drawn: in the first drawn frame, or in any."""
    short: Literal["skip", "repeat"] = "skip"
    """What becomes of scenes of fewer than K frames. "repeat" takes frames again: evenly where they are consecutive, and by
    K free draws in order of time where they are spread."""

    def __post_init__(self) -> None:
        check_counts(self.objects, self.at_least, self.of)
        least, most = self.strides
        if self.frames < 1 or not 1 <= least <= most:
            raise ValueError(
                f"frames and stride are at least 1, and a range of strides ascends; found {self.frames} and {self.stride}"
            )
        check_choice("pick", self.pick, ("consecutive", "spread"))
        check_choice("visible", self.visible, ("first", "any"))
        check_choice("short", self.short, ("skip", "repeat"))
        if self.pick == "spread" and self.strides != (1, 1):
            raise ValueError('stride is for pick="consecutive": leave it out')
        if not 0 <= self.reverse <= 1:
            raise ValueError(f"reverse is a probability, 0..1, not {self.reverse}")

    @property
    def at_most(self) -> int:
        """Up to how many objects, as of `Objects`."""
        return self.objects

    @property
    def strides(self) -> tuple[int, int]:
        """The least and the most stride."""
        return (self.stride, self.stride) if isinstance(self.stride, int) else self.stride

    def describe(self) -> dict[str, Any]:
        """Return the draw as JSON values."""
        return {"unit": "scene", **asdict(self), "stride": list(self.strides), "reverse": float(self.reverse)}


def check_counts(most: int, least: int, of: str) -> None:
    """Raise `ValueError` where no such number of objects can be asked for."""
    if most < 1 or not 0 <= least <= most:
        raise ValueError(f"objects are 1 or more, and at_least 0 up to as many; found {most} and {least}")
    check_choice("of", of, ("masks", "expressions"))


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise `ValueError` where an option is none of its choices."""
    if value not in choices:
        raise ValueError(f"{name} is {' or '.join(map(repr, choices))}, not {value!r:.100}")


def can_draw(shown: NDArray[np.bool_], clip: Clip) -> bool:
    """Return whether a scene can give a clip: bool [F] says in which of its frames somebody is."""
    return bool(shown.any()) and any(way.weight for way in _ways(shown, clip))


def draw_frames(shown: NDArray[np.bool_], clip: Clip, key: int) -> NDArray[np.int64]:
    """Return the frames of a clip.

    Args:
        shown: in which frames of the scene somebody is who may be drawn: bool [F], in order of time.
        clip: what is drawn.
        key: decides which.

    Returns:
        int64 [K], in the order drawn, each in 0..F - 1.

    Raises:
        ValueError: there is no such clip.
    """
    ways = list(_ways(shown, clip))
    if not any(way.weight for way in ways):
        raise ValueError("no clip of the scene shows anybody")
    way = ways[choose([way.weight for way in ways], hash_words(_WAY, key))]
    first = int(way.firsts[choose(way.counts, hash_words(_FRAME, key))])
    if way.steps is None:
        frames = _spread_from(first, shown[::-1] if way.is_reversed else shown, clip, key)
    else:
        frames = first + way.steps
    return len(shown) - 1 - frames if way.is_reversed else frames


def choose(weights: Sequence[int], word: int) -> int:
    """Return a place among weights, each as likely as its weight: whole numbers of any size, at least one above 0.

    `word` is a hash, 0..2 ** 64 - 1.
    """
    ends = list(accumulate(weights))
    return bisect_right(ends, word * ends[-1] >> 64)


class _Way(NamedTuple):
    """Clips of one direction, and of one stride where there is one. Frames are counted in that direction."""

    weight: int
    """How likely they are together, next to the others."""
    is_reversed: bool
    firsts: NDArray[np.int64]
    """Consecutive: first frames of those that show somebody. Spread: frames that can be the first in which somebody counts."""
    counts: list[int]
    """How many clips there are with each of these."""
    steps: NDArray[np.int64] | None
    """Consecutive: from the first frame to each, int64 [K]. None: spread."""


def _ways(shown: NDArray[np.bool_], clip: Clip) -> Iterator[_Way]:
    """Yield all clips of a scene that show somebody."""
    if len(shown) < clip.frames and clip.short == "skip":
        return
    backwards, whole = float(clip.reverse).as_integer_ratio()
    for is_reversed, share in ((False, whole - backwards), (True, backwards)):
        seen = shown[::-1] if is_reversed else shown
        if share and clip.pick == "spread":
            firsts = np.flatnonzero(seen)
            counts = _count_spread(len(seen), firsts, clip)
            yield _Way(share * sum(counts), is_reversed, firsts, counts, None)
        elif share:
            yield from _consecutive(seen, clip, share, is_reversed=is_reversed)


def _consecutive(seen: NDArray[np.bool_], clip: Clip, share: int, *, is_reversed: bool) -> Iterator[_Way]:
    steps = _steps(len(seen), clip)
    # Each stride is as likely as the others, so each of its starts is the likelier the fewer it has.
    starts = [len(seen) - int(apart[-1]) for apart, _ in steps]
    whole = lcm(*starts)
    for (apart, times), count in zip(steps, starts, strict=True):
        if clip.visible == "first":
            good = seen[:count]
        else:
            good = seen[apart[:, None] + np.arange(count)].any(axis=0)
        firsts = np.flatnonzero(good)
        weight = share * times * (whole // count) * len(firsts)
        yield _Way(weight, is_reversed, firsts, [1] * len(firsts), apart)


def _steps(num_frames: int, clip: Clip) -> list[tuple[NDArray[np.int64], int]]:
    """Return for each stride how far the frames are from the first, int64 [K], and how many strides are lowered to it."""
    frames = np.arange(clip.frames)
    if num_frames < clip.frames:
        return [(frames * num_frames // clip.frames, 1)]
    least, most = clip.strides
    longest = most if clip.frames == 1 else min(most, (num_frames - 1) // (clip.frames - 1))
    strides = range(min(least, longest), longest + 1)
    return [
        (frames * stride, 1 if stride < longest else most - max(least, longest) + 1) for stride in strides
    ]


def _count_spread(num_frames: int, firsts: NDArray[np.int64], clip: Clip) -> list[int]:
    """Return how many spread clips there are of which each of `firsts` is the first frame in which somebody counts."""
    if clip.visible == "first":
        others = (num_frames - 1 - firsts).tolist()
    else:
        others = range(num_frames - 1, num_frames - 1 - len(firsts), -1)
    if num_frames < clip.frames:
        return [(count + 1) ** clip.frames - count**clip.frames for count in others]
    return [comb(count, clip.frames - 1) for count in others]


def _spread_from(first: int, shown: NDArray[np.bool_], clip: Clip, key: int) -> NDArray[np.int64]:
    """Return the frames of a spread clip, ascending, by the first in which somebody counts."""
    others = np.arange(len(shown)) > first
    if clip.visible == "any":
        others[:first] = ~shown[:first]
    pool = np.flatnonzero(others)
    if len(shown) >= clip.frames:
        drawn = pool[draw_some(len(pool), clip.frames - 1, hash_words(_OTHERS, key))]
        return np.sort(np.append(drawn, first))
    # K free draws, of which at least one is `first`: how many others there are, and which.
    ways = [comb(clip.frames, count) * len(pool) ** count for count in range(clip.frames)]
    count = choose(ways, hash_words(_REPEATS, key))
    hashes = hash_columns(hash_words(_OTHERS, key), np.arange(count))
    return np.sort(np.append(pool[scale(hashes, len(pool))], np.full(clip.frames - count, first)))


def draw_some(count: int, most: int, key: int) -> NDArray[np.int64]:
    """Return up to `most` of `range(count)` without replacement, in any order: each order is as likely."""
    return np.argsort(hash_columns(key, np.arange(count)), kind="stable")[:most]
