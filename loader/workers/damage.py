"""Batches with damaged samples: others of the same batch take their places, which are counted and told.

So a batch keeps its size, every rank has as many as before, and order and state know nothing of it.
"""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ..describe import ChooseExpressions
from ..fill import BatchRows, SampleError


def fill_readable(
    rows: BatchRows, arrays: Mapping[str, NDArray[Any]], choose: ChooseExpressions
) -> tuple[dict[str, Any], list[SampleError]]:
    """Fill a batch, for each damaged sample with the next one of the batch that can be read, going round.

    Damage is rare, and is found where rows are read anyway. A batch with some is read thrice, however many samples have it,
    since a whole part may be gone: once until the first is met, then sample by sample, then with those that stand in.

    Arguments are those of `BatchRows.fill`; a sample that stands in for another is chosen for with its own place.

    Returns:
        The other keys of the batch, and the errors of damaged samples in the order of their places.

    Raises:
        IndexError: there is no such sample.
        SampleError: no sample can be read, or one can't for another reason than damage.
    """
    damaged: dict[int, SampleError] = {}
    num_samples = len(rows)
    try:
        return rows.fill(arrays, choose), []
    except SampleError as err:
        _note(err, err.place, damaged)
        for place in sorted(set(range(num_samples)) - damaged.keys()):
            try:
                rows.with_samples_of([place]).fill(arrays)
            except SampleError as other:
                _note(other, place, damaged)
        if len(damaged) == num_samples:
            raise
    places = [_next_readable(place, num_samples, damaged) for place in range(num_samples)]
    others = rows.with_samples_of(places).fill(arrays, lambda phrases, place: choose(phrases, places[place]))
    return others, [damaged[place] for place in sorted(damaged)]


def _next_readable(place: int, num_samples: int, damaged: Mapping[int, SampleError]) -> int:
    while place in damaged:
        place = (place + 1) % num_samples
    return place


def _note(err: SampleError, place: int, damaged: dict[int, SampleError]) -> None:
    """Note the error of a sample that is damaged; raise it where it is another."""
    err.place = place
    if not err.is_damage:
        raise err
    # Without its traceback, which holds the batch's memory.
    damaged[place] = copy.copy(err)


class SkippedSamples:
    """What was left out of the batches of one loader."""

    def __init__(self) -> None:
        self.count = 0
        """How often a sample was left out."""
        self.samples: dict[tuple[str, int], SampleError] = {}
        """Each of them once, by its store's name and its number there."""
        self._parts: set[tuple[str, str]] = set()

    def add(self, damaged: list[SampleError]) -> None:
        """Count the damaged samples of a batch that is handed over; warn of each part once."""
        self.count += len(damaged)
        for error in damaged:
            self.samples.setdefault((error.store, error.sample), error)
            if (error.store, error.part) not in self._parts:
                self._parts.add((error.store, error.part))
                # At the line that asks for the batch.
                warnings.warn(
                    f"another sample of its batch stands in for a damaged one, and will for others of {error.part} without "
                    f"a word (`BatchLoader.skipped` counts them): {error}",
                    stacklevel=5,
                )
