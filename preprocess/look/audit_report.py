"""What an audit found, as JSON and as lines for people."""

from collections.abc import Iterator

import msgspec


class Example(msgspec.Struct, frozen=True, omit_defaults=True):
    """A picture of the training set and the one that it is."""

    train: str
    """Key of the image."""
    against: str
    distance: int | None = None
    """How many of 256 bits differ, where the two were compared so."""
    mirrored: bool = False


class Found(msgspec.Struct, frozen=True):
    """What one way of looking found of a training set in a validation set."""

    how: str
    """What was compared, or why that is not known and what to do."""
    images: int | None = None
    """Images of the training set; None where it is not known."""
    scenes: int | None = None
    """Images, or videos, that they are of."""
    examples: list[Example] = []


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One training set and one validation set."""

    train: str
    against: str
    exact: Found
    id: Found
    near: Found
    """Those beyond the others."""
    unlike: Found
    """Those of one id that are neither equal nor alike: one of the two is perhaps not what its name says."""

    @property
    def is_blind(self) -> bool:
        """Whether no picture was looked at."""
        return self.exact.images is None and self.near.images is None


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    comparisons: list[Comparison]
    exact_or_id: list[str]
    """Keys of the training sets' scenes that are in a validation set, equal or by id."""
    near: list[str]
    """Keys of further scenes that have a picture like one of a validation set."""

    def lines(self) -> Iterator[str]:
        """Yield the report for people, line by line."""
        for one in self.comparisons:
            yield f"{one.train} against {one.against}"
            yield from _lines("exact", one.exact)
            yield from _lines("by id", one.id)
            yield from _lines("near", one.near)
            if one.unlike.images:
                yield from _lines("unlike", one.unlike)
        yield f"training scenes that are in a validation set: {len(self.exact_or_id):,}"
        if any(one.near.images is not None for one in self.comparisons):
            yield f"further ones with a picture that is like one of a validation set: {len(self.near):,}"


def _lines(name: str, found: Found) -> Iterator[str]:
    if found.images is None:
        yield f"  {name:<7} {found.how}"
        return
    more = "more " if name == "near" else ""
    videos = "" if found.scenes == found.images else f"of {found.scenes:,} video{'s' * (found.scenes != 1)}; "
    yield f"  {name:<7} {found.images:,} {more}image{'s' * (found.images != 1)} ({videos}{found.how})"
    for example in found.examples:
        bits = "" if example.distance is None else f", {example.distance} bits differ"
        turned = ", mirrored" if example.mirrored else ""
        yield f"            {example.train} is {example.against}{bits}{turned}"
