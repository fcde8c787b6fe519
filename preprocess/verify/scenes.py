"""Which scenes a store holds, whether they gave rows or not, and which of them are made anew."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...loader.format.errors import StoreError
from ...loader.format.layout import array_specs
from ...loader.format.metadata import ListedFile, Root, read_part_attributes
from ...loader.format.recipe import DEFAULT_RECIPE
from ...loader.format.shard import shard_path
from ..decode.images import OnDamage
from ..sources.base import Scene, Source
from ..sources.files.raw_files import RawPath
from ..store.columns import storable
from .files import stop_where_refused
from .part import PartTask
from .shard_file import ShardFile

# Scenes are stored alike under every recipe.
_SPECS = {spec.path: spec for spec in array_specs(DEFAULT_RECIPE, 1)}


@dataclass(frozen=True, slots=True)
class Anew:
    """What of a part is made anew."""

    scenes: tuple[tuple[int, Scene | None], ...] = ()
    """Numbers in the store; without a scene its images are made of the files that the store keeps."""
    root: RawPath | None = None
    """The raw dataset."""
    damaged: OnDamage = "reject"
    may_be_cut: bool = False
    """Whether a limit may have cut the part's last scene short."""


def read_scene_keys(part: Path) -> list[str]:
    """Return the keys of a part's scenes, in order.

    Raises:
        StoreError: the part is missing or damaged.
    """
    try:
        attributes, _ = read_part_attributes(part)
        count = attributes["rows"]["scenes"]
        offsets = _read_column(part, attributes["files"], "scenes/key_offsets", count + 1).tolist()
        if offsets != sorted([0, *offsets[1:]]):
            raise ValueError("scenes/key_offsets: numbers that do not ascend from 0")
        encoded = _read_column(part, attributes["files"], "scenes/key_bytes", offsets[-1]).tobytes()
        return [str(encoded[start:end], "utf-8") for start, end in pairwise(offsets)]
    except (OSError, ValueError, KeyError, TypeError) as err:
        stop_where_refused(err, part / "zarr.json")
        raise StoreError(
            f"the scenes of {part} can't be read ({err!r}): run `resizeonce verify {part.parent}`"
        ) from err


def _read_column(part: Path, files: Mapping[str, Any], path: str, length: int) -> NDArray[Any]:
    """Return an array of one chunk, once it agrees with its checksums.

    Raises:
        ValueError: it does not.
    """
    shard = ShardFile(part / shard_path(_SPECS[path]), _SPECS[path], length)
    if length:
        for fault in shard.check(ListedFile(**files[shard_path(_SPECS[path])])):
            raise ValueError(f"{path}: {fault.found}")
    return shard.whole()


def find_scenes(
    root: Root, tasks: Iterable[PartTask], source: Source
) -> tuple[Sequence[int], Sequence[int], int]:
    """Return the scenes of a store that a raw dataset has: their numbers in the store, in the dataset, and how many it has not.

    Raises:
        StoreError: the scenes of a part can't be read.
    """
    if not root.appended:
        return range(len(source)), range(len(source)), 0
    # What was appended came from another listing of the dataset; only keys say which scene is which.
    index = {storable(source[number].key): number for number in range(len(source))}
    numbers, indices, unknown = [], [], 0
    for task in tasks:
        for number, key in zip(task.scenes, read_scene_keys(task.folder), strict=False):
            if key in index:
                numbers.append(number)
                indices.append(index[key])
            else:
                unknown += 1
    return numbers, indices, unknown


def choose_scenes(num_scenes: int, sample: int | None) -> list[int]:
    """Return which scenes to make anew: all (None), or up to `sample`, evenly spread, the first and the last in it."""
    if sample is None or sample >= num_scenes:
        return list(range(num_scenes))
    return sorted({round(place) for place in np.linspace(0, num_scenes - 1, sample).tolist()})


def group_by_part(numbers: Iterable[int], parts: Iterable[range]) -> Iterator[list[int]]:
    """Yield for each part, which may hold these scenes, those of `numbers` that it has, ascending."""
    ordered = sorted(numbers)
    for scenes in parts:
        # To ask all numbers for each part would take the square of their number.
        yield ordered[bisect_left(ordered, scenes.start) : bisect_left(ordered, scenes.stop)]
