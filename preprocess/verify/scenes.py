"""Which scenes a store holds, whether they gave rows or not, and which scenes of a raw dataset they are."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...loader.format.errors import StoreError
from ...loader.format.layout import array_specs
from ...loader.format.metadata import Root, read_part_attributes
from ...loader.format.recipe import DEFAULT_RECIPE
from ...loader.format.shard import shard_path
from ..sources.base import Source
from ..store.columns import storable
from .shard_file import ShardFile

# Scenes are stored alike under every recipe.
_SPECS = {spec.path: spec for spec in array_specs(DEFAULT_RECIPE, 1)}


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
        raise StoreError(
            f"the scenes of {part} can't be read ({err!r}): run `resizeonce verify {part.parent}`"
        ) from err


def find_scenes(
    root: Root, parts: Sequence[tuple[Path, range]], source: Source
) -> tuple[Sequence[int], Sequence[int], int]:
    """Return which scenes of a store a raw dataset has.

    Args:
        root: the store's attributes.
        parts: folder and scene numbers of each part.
        source: the raw dataset.

    Returns:
        The number in the store of each, its number in the dataset; and how many of the store's it does not have.

    Raises:
        StoreError: the scenes of a part can't be read.
    """
    if not root.appended:
        return range(len(source)), range(len(source)), 0
    # What was appended came from another listing of the dataset; only keys say which scene is which.
    index = {storable(source[number].key): number for number in range(len(source))}
    numbers, indices, unknown = [], [], 0
    for folder, scenes in parts:
        for number, key in zip(scenes, read_scene_keys(folder), strict=False):
            if key in index:
                numbers.append(number)
                indices.append(index[key])
            else:
                unknown += 1
    return numbers, indices, unknown


def group_by_part(numbers: Iterable[int], parts: Iterable[range]) -> Iterator[list[int]]:
    """Yield for each part which of `numbers` it has, ascending; to ask all of them for each part takes the square.

    Args:
        numbers: of scenes.
        parts: which scenes each part may hold.
    """
    ordered = sorted(numbers)
    for scenes in parts:
        yield ordered[bisect_left(ordered, scenes.start) : bisect_left(ordered, scenes.stop)]


def _read_column(part: Path, files: Mapping[str, Any], path: str, length: int) -> NDArray[Any]:
    """Return an array of one chunk, once it agrees with its checksums.

    Raises:
        ValueError: it does not.
    """
    shard = ShardFile(part / shard_path(_SPECS[path]), _SPECS[path], length)
    if length:
        listed = files[shard_path(_SPECS[path])]
        for fault in shard.check(listed["bytes"], listed["sha256"], lambda _: None):
            raise ValueError(f"{path}: {fault.found}")
    return shard.whole()
