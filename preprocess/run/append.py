"""Scenes that a store lacks: what is converted when more is appended to it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...loader.format.metadata import read_attributes
from ..sources.base import Scene, Source
from ..sources.files.leftovers import split_example
from ..sources.records import Skip
from ..store.columns import storable
from ..store.root import read_rejects
from ..verify.scenes import read_scene_keys


class NewScenes(Source):
    """Those scenes of a dataset that are not in a store yet, as a dataset of their own.

    A scene is known by its key. One that is in the store stays as it is there, also where its files have changed.

    Raises:
        StoreError: the list of scenes of a part can't be read.
    """

    def __init__(self, source: Source, store: Path, parts: Sequence[str]) -> None:
        self._source = source
        known = _hashes(key for part in parts for key in read_scene_keys(store / part))
        found = _hashes(storable(source[number].key) for number in range(len(source)))
        self._numbers = np.flatnonzero(~np.isin(found, known))
        listed = set(read_rejects(store))
        self.dataset_type = source.dataset_type
        self.paired = source.paired
        self.rejects = [reject for reject in source.rejects if reject not in listed]
        self.skips = tuple(_not_counted(source.skips, read_attributes(store)["totals"]["skips"]))

    def __len__(self) -> int:
        """Return the number of new scenes."""
        return len(self._numbers)

    def __getitem__(self, index: int) -> Scene:
        """Return one scene, without opening its files."""
        return self._source[int(self._numbers[index])]

    def fingerprint(self) -> dict[str, str]:
        """Return what identifies the whole raw dataset."""
        return self._source.fingerprint()


def _not_counted(skips: Iterable[Skip], counted: Mapping[str, int]) -> Iterator[Skip]:
    """Yield how many more there are of each kind than a store has counted."""
    known = Counter[str]()
    for reason, count in counted.items():
        known[split_example(reason)[0]] += count
    for skip in skips:
        if (more := skip.count - known[split_example(skip.reason)[0]]) > 0:
            yield Skip(skip.reason, more)


def _hashes(keys: Iterator[str]) -> NDArray[np.uint64]:
    """Return 64 bits for each key: eleven million keys as text would take a gigabyte."""
    digests = (blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(b"".join(digests), np.uint64)
