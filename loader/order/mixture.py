"""Several stores in one order: how often each is drawn from, and which of its samples come when. numpy only.

The stores of a mixture stand in lanes; a batch is drawn from one lane. A lane is a sequence of samples from its
stores, evenly interleaved: no store is ahead of or behind its share by more than a few samples, at any position.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..format.recipe import delivered_form, read_recipe
from .clips import check_choice
from .index import SampleIndex
from .interleave import Interleaving
from .picks import IMAGE, SEED, SHUFFLE, Picks
from .shuffle import Shuffle, hash_columns, hash_words

_STRETCH = 4096
"""Positions computed at a time: a batch alone would cost nearly as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderOptions:
    """What decides the order of samples, beside the stores themselves."""

    seed: int = 0
    shuffle: Shuffle | None = field(default_factory=Shuffle)
    """None keeps the order of the stores."""
    weights: tuple[float, ...] = ()
    """Shares of the stores in an epoch, in any unit; empty for as many units as each has."""
    epoch_samples: int | None = None
    """Samples in an epoch; None for as many units as the stores have together. With no weights either, an epoch is
    each unit of each store once."""
    batches_of: Literal["kind", "store"] = "kind"
    """Whether a batch mixes stores of one kind (all paired, all single, or all of one draw, with tensors of the same
    sizes), or is of one store."""

    def __post_init__(self) -> None:
        check_choice("batches_of", self.batches_of, ("kind", "store"))
        if not isinstance(self.shuffle, Shuffle | None):
            raise ValueError(
                f"shuffle is a Shuffle, or None for the order of the stores, not {self.shuffle!r:.100}"
            )

    def describe(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        return {
            "shuffle": self.shuffle and asdict(self.shuffle),
            "weights": [float(weight) for weight in self.weights],
            "epoch_samples": self.epoch_samples,
            "batches_of": self.batches_of,
        }


class Mixture:
    """The lanes of some stores.

    Raises:
        ValueError: the options don't fit the stores, or leave a store without a sample.
    """

    def __init__(self, indexes: Sequence[SampleIndex], options: OrderOptions) -> None:
        self.indexes = tuple(indexes)
        self.options = options
        self._draws = _share(options, [len(index) for index in self.indexes])
        kinds: dict[Any, list[int]] = {}
        for number, index in enumerate(self.indexes):
            kinds.setdefault(number if options.batches_of == "store" else _kind(index), []).append(number)
        self.lanes = tuple(tuple(numbers) for numbers in kinds.values())
        """Numbers of the stores of each lane."""
        self._interleavings = [Interleaving.of([self._draws[n] for n in numbers]) for numbers in self.lanes]
        self.lane_sizes = tuple(len(interleaving) for interleaving in self._interleavings)
        """Samples of each lane in an epoch."""
        self._kept: dict[int, tuple[tuple[int, int], NDArray[np.int64]]] = {}

    def pick(self, lane: int, epoch: int, first: int, stop: int) -> Picks:
        """Return the samples at positions first..stop - 1 of a lane, both in 0..lane_sizes[lane]."""
        pieces = [np.zeros((4, 0), np.int64)]
        for number in range(first // _STRETCH, -(-stop // _STRETCH)):
            start = number * _STRETCH
            pieces.append(self._stretch(lane, epoch, number)[:, max(first - start, 0) : stop - start])
        store, unit, lap, seed = np.concatenate(pieces, axis=1)
        laps = set(zip(store.tolist(), lap.tolist(), strict=True))
        if len(laps) == 1:
            return Picks(store, self._samples(*laps.pop(), unit), lap, seed)
        sample = np.empty_like(unit)
        for one, through in laps:
            here = (store == one) & (lap == through)
            sample[here] = self._samples(one, through, unit[here])
        return Picks(store, sample, lap, seed)

    def _samples(self, store: int, lap: int, units: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the samples of a lap's units, int64 [N]."""
        return self.indexes[store].samples(units, hash_words(IMAGE, self.options.seed, store, lap))

    def _stretch(self, lane: int, epoch: int, number: int) -> NDArray[np.int64]:
        """Return store, unit, lap and seed at each position of a stretch: int64 [4, N]. The last one asked for is kept."""
        key = (epoch, number)
        kept = self._kept.get(lane)
        if kept is None or kept[0] != key:
            self._kept[lane] = kept = key, self._compute(lane, epoch, number)
        return kept[1]

    def _compute(self, lane: int, epoch: int, number: int) -> NDArray[np.int64]:
        first, stop = number * _STRETCH, min((number + 1) * _STRETCH, self.lane_sizes[lane])
        members, draws = self._interleavings[lane].items(first, stop)
        stores = np.array(self.lanes[lane], np.int64)[members]
        units, laps = np.empty_like(stores), np.empty_like(stores)
        # `np.unique` would load numpy.ma first, which takes longer than all of this.
        for store in sorted(set(stores.tolist())):
            here = stores == store
            # Laps follow each other without a gap, wherever epochs end.
            drawn = draws[here] + epoch * self._draws[store]
            laps[here], places = np.divmod(drawn, len(self.indexes[store]))
            units[here] = self._shuffle(store, laps[here], places)
        hashes = hash_columns(hash_words(SEED, self.options.seed, epoch, lane), np.arange(first, stop))
        return np.stack([stores, units, laps, (hashes >> np.uint64(1)).astype(np.int64)])

    def _shuffle(self, store: int, laps: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the units at places of laps through one store."""
        shuffle, size = self.options.shuffle, len(self.indexes[store])
        if shuffle is None:
            return places
        units = np.empty_like(places)
        for lap in sorted(set(laps.tolist())):
            here = laps == lap
            key = hash_words(SHUFFLE, self.options.seed, store, lap)
            units[here] = shuffle.place(places[here], size, key)
        return units


def _kind(index: SampleIndex) -> tuple[object, ...]:
    """Return what samples of one batch have in common."""
    views = read_recipe(index.store.attributes["recipe"]).views
    shape = index.store.paired if index.draw is None else str(index.draw.describe())
    return (shape, *((name, *delivered_form(view)) for name, view in views.items()))


def _share(options: OrderOptions, sizes: Sequence[int]) -> list[int]:
    """Return how many samples of an epoch each store gives: whole numbers nearest to the weights (largest remainder)."""
    if not sizes:
        raise ValueError("an order needs at least one store")
    total = sum(sizes) if options.epoch_samples is None else options.epoch_samples
    weights = options.weights or tuple(sizes)
    if len(weights) != len(sizes) or not all(0 < weight < float("inf") for weight in weights):
        raise ValueError(f"weights are one positive number for each of {len(sizes)} stores, not {weights}")
    exact = [Fraction(weight) * total for weight in weights]
    exact = [share / sum(map(Fraction, weights)) for share in exact]
    draws = [int(share) for share in exact]
    by_rest = sorted(range(len(exact)), key=lambda store: draws[store] - exact[store])
    for store in by_rest[: total - sum(draws)]:
        draws[store] += 1
    if min(draws) < 1:
        raise ValueError(f"store {draws.index(min(draws))} gets no sample: an epoch of {total} is too short")
    return draws
