"""What the mask files of a dataset mean where nobody says so: told by the values of some of them, or not at all."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ....loader.format.errors import SourceError
from ...decode.images import decode_bitmap
from ...decode.labels import IGNORED, decode_labels
from ...errors import RecordError, SegmentationError
from .raw_files import RawPath, read_file, resolve_inside

MaskMode = Literal["binary", "index", "folder"]

MAX_LOOKED_AT = 32
"""How many mask files are looked at, evenly spread."""

_SAY_SO = 'set source.masks = "binary" (all but 0 is the object) or "index" (an object a value, 255 ignored)'


class MaskKind(NamedTuple):
    """What the mask files of a dataset are."""

    mode: MaskMode
    value: int | None = None
    """Of binary masks that nobody said are binary: the one value beside 0 in those that were looked at."""

    def check(self, value: int) -> None:
        """Raise `RecordError` where a mask's one value beside 0 speaks against what was told by the others."""
        if value == IGNORED and self.value not in (None, IGNORED):
            raise SegmentationError("the mask has 255 alone beside 0, which may be ignored")

    def explain(self, error: RecordError) -> RecordError:
        """Return the error of a mask with what was told by others, if that may be wrong."""
        if self.value is None or error.stage != "mask":
            return error
        told = f"masks were taken as binary, since those looked at have 0 and {self.value} alone: {_SAY_SO}"
        return RecordError(f"{error.reason}; {told}", error.stage)


def tell_kind(folder: RawPath, names: Sequence[str]) -> tuple[MaskKind, str]:
    """Return what mask files are, by the sorted names of all of them in a folder; and an example that shows it, in words.

    Raises:
        SourceError: their values may mean one thing or another.
    """
    chosen = np.unique(np.linspace(0, len(names) - 1, min(MAX_LOOKED_AT, len(names))).astype(int))
    found = dict(_read_areas(folder, [names[int(number)] for number in chosen]))
    values = sorted(set().union(*found.values()))
    for name, areas in found.items():
        rest = sum(area for value, area in areas.items() if value != IGNORED)
        if areas.get(IGNORED, 0) > rest and values != [IGNORED]:
            others = _listed([value for value in values if value != IGNORED])
            raise SourceError(
                f"it can't be told whether 255 is an object in the masks of {folder} or ignored: most of {name} that is not 0 is "
                f"255, and there are {others} as well; {_SAY_SO}"
            )
    shown = next((name for name, areas in found.items() if len(areas) > 1), next(iter(found), ""))
    example = f"{shown} with {_listed([0, *sorted(found.get(shown, ()))])}" if shown else ""
    if len(values) > 1:
        return MaskKind("index"), example
    # Where none can be read, each will be a reject with a reason of its own.
    return MaskKind("binary", max(values, default=None)), example


def _read_areas(folder: RawPath, names: Sequence[str]) -> Iterator[tuple[str, dict[int, int]]]:
    """Yield the values of each file, 0 not among them, with the pixels they have; of colours, that something is covered."""
    for name in names:
        try:
            encoded = read_file(resolve_inside(folder, name))
        except RecordError:
            # Whoever reads its image says what is wrong.
            continue
        try:
            counts = np.bincount(decode_labels(encoded).ravel())
            yield name, {int(value): int(counts[value]) for value in np.flatnonzero(counts) if value}
        except RecordError:
            try:
                yield name, {IGNORED: int(decode_bitmap(encoded).sum())}
            except RecordError:
                continue


def _listed(values: Sequence[int]) -> str:
    """Return values in words, the first of many."""
    return f"{', '.join(map(str, values[:5]))}{', ...' if len(values) > 5 else ''}"
