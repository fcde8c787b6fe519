"""What two stores differ in, as it is counted, printed and written as JSON."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_DIGEST = re.compile("[0-9a-f]{64}")

EXAMPLES = 3
"""Keys that are named of each kind of difference."""


class Fact(msgspec.Struct, frozen=True):
    """Something that the roots of both stores say, and say differently; None where one says nothing of it."""

    name: str
    a: Any
    b: Any

    def line(self) -> str:
        """Return it in words, after what it is about."""
        about, _, name = self.name.partition(".")
        return f"{about:<9} {name}: {_shown(self.a)} -> {_shown(self.b)}"


class OnlyIn(msgspec.Struct):
    """What only one of the stores has."""

    count: int = 0
    examples: list[str] = []

    def line(self, store: str) -> str:
        """Return it in words."""
        return f"{self.count:,} only in {store}" + _named(self.examples)

    def add(self, count: int, keys: Iterator[str]) -> None:
        """Count some more, of which as many are named as there is room for."""
        self.count += count
        while count and len(self.examples) < EXAMPLES and (key := next(keys, None)) is not None:
            self.examples.append(key)


class Sides(msgspec.Struct):
    """How many of something both stores have, and what only one has."""

    common: int = 0
    only_a: OnlyIn = msgspec.field(default_factory=OnlyIn)
    only_b: OnlyIn = msgspec.field(default_factory=OnlyIn)

    @property
    def is_same(self) -> bool:
        """Whether neither has more than the other."""
        return not (self.only_a.count or self.only_b.count)

    def lines(self) -> Iterator[str]:
        """Yield it in words."""
        yield f"{self.common:,} in both"
        for only, store in ((self.only_a, "A"), (self.only_b, "B")):
            if only.count:
                yield only.line(store)


class Worst(msgspec.Struct, frozen=True):
    """A row that differs more than most."""

    key: str
    by: float


class Rows(msgspec.Struct, kw_only=True, tag_field="kind"):
    """Rows of a view or of a table that were compared, and how many differ."""

    name: str
    compared: int = 0
    differing: int = 0
    worst: list[Worst] = []

    def add(self, key: str, by: float) -> None:
        """Count a row that differs."""
        self.differing += 1
        self.name_worst(key, by)

    def name_worst(self, key: str, by: float) -> None:
        """Keep the key of a row that differs where it is among those that differ most."""
        self.worst = sorted([*self.worst, Worst(key, by)], key=lambda one: -one.by)[:EXAMPLES]

    def line(self) -> str:
        """Return it in words."""
        if not self.differing:
            return f"the same in {self.compared:,}"
        first = _named([one.key for one in self.worst])
        return f"{self.differing:,} of {self.compared:,} differ{self._by_how_much()}{first}"

    def _by_how_much(self) -> str:
        return ""


class PixelRows(Rows, kw_only=True, tag="pixels"):
    """Rows of an image view: in levels of 0..255, or as normalised values where both stores have those."""

    unit: str = "levels"
    values: int = 0
    """Compared."""
    changed: int = 0
    total: float = 0.0
    """Sum of the absolute differences."""
    largest: float = 0.0

    def count(self, key: str, a: NDArray[Any], b: NDArray[Any]) -> None:
        """Count a row of both stores: [3, H, W], uint8 or float32."""
        self.compared += 1
        self.values += a.size
        if np.array_equal(a.view(np.uint8), b.view(np.uint8)):
            return
        with np.errstate(invalid="ignore"):
            # What is no number in one of them is as far from the other as can be.
            difference = np.nan_to_num(np.maximum(a, b) - np.minimum(a, b), nan=np.inf)
        largest = float(difference.max())
        self.changed += int(np.count_nonzero(difference))
        self.total += float(difference.sum(dtype=np.float64))
        self.largest = max(self.largest, largest)
        self.add(key, largest)

    def _by_how_much(self) -> str:
        share, mean = self.changed / self.values, self.total / self.values
        return f" by up to {self.largest:g} {self.unit}, in {share:.3%} of all values, {mean:.3g} on average"


class MaskRows(Rows, kw_only=True, tag="masks"):
    """Rows of a mask view; `by` of the worst is one less the intersection over union."""

    pixels: int = 0
    """Compared."""
    changed: int = 0
    other_sizes: int = 0
    """Masks at their own size that have another one in the other store; of these no pixel is compared."""
    overlaps: float = 0.0
    """Sum of the intersection over union of the masks that differ."""

    def count(self, key: str, a: NDArray[Any], b: NDArray[Any]) -> None:
        """Count a row of both stores: bool [H, W]."""
        self.compared += 1
        if a.shape != b.shape:
            self.other_sizes += 1
            self.add(key, 1.0)
            return
        self.pixels += a.size
        if changed := int(np.count_nonzero(a != b)):
            overlap = int(np.count_nonzero(a & b)) / int(np.count_nonzero(a | b))
            self.changed += changed
            self.overlaps += overlap
            self.add(key, 1.0 - overlap)

    def _by_how_much(self) -> str:
        parts = [f" in {self.changed:,} pixels"]
        if alike := self.differing - self.other_sizes:
            parts.append(f"IoU of those {self.overlaps / alike:.4f} on average")
        if self.other_sizes:
            parts.append(f"{self.other_sizes:,} of another size")
        return ", ".join(parts)


class ColumnRows(Rows, kw_only=True, tag="column"):
    """Rows of a table: sizes, areas, boxes, phrases; `largest` is None where they are no numbers."""

    largest: float | None = None

    def count(self, key: str, a: bytes, b: bytes) -> None:
        """Count a row of bytes of both stores."""
        self.compared += 1
        if a != b:
            self.add(key, 1.0)

    def _by_how_much(self) -> str:
        return "" if self.largest is None else f" by up to {self.largest:g}"


AnyRows = PixelRows | MaskRows | ColumnRows


class Diff(msgspec.Struct, kw_only=True):
    """What two stores differ in.

    `a` and `b` name them; `made` is what their roots say of how they were made, and `delivered` says which of it a batch shows;
    `uncompared` says by the name of a view why its rows can't be compared; `drawn` is how many images' pixels were compared,
    and `known` how many more are the same by the digests of their parts.
    """

    a: str
    b: str
    is_same: bool = True
    made: list[Fact] = []
    delivered: list[Fact] = []
    images: Sides = msgspec.field(default_factory=Sides)
    samples: Sides = msgspec.field(default_factory=Sides)
    rejects: Sides = msgspec.field(default_factory=Sides)
    is_in_order: bool = True
    known: int = 0
    drawn: int = 0
    views: list[AnyRows] = []
    columns: list[AnyRows] = []
    uncompared: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """Yield it in words, one line each."""
        yield f"A         {self.a}"
        yield f"B         {self.b}"
        for fact in self.made:
            yield fact.line()
        for label, sides in (("images", self.images), ("samples", self.samples), ("rejects", self.rejects)):
            for line in sides.lines():
                yield f"{label:<9} {line}"
        if not self.is_in_order:
            yield "order     the images that both have stand in another one"
        for rows in self.columns:
            if rows.differing:
                yield f"column    {rows.name:<15} {rows.line()}"
        yield from self._pixel_lines()
        yield f"found     {self._verdict()}"

    def _pixel_lines(self) -> Iterator[str]:
        left = self.images.common - self.known - self.drawn
        if self.known:
            yield f"compared  {self.known:,} images by the digests of their parts, which are the same"
        if self.drawn or left:
            drawn = f", drawn of {self.drawn + left:,}: --all compares them all" if left else ""
            yield f"compared  {self.drawn:,} images pixel by pixel, with their masks{drawn}"
        for rows in self.views if self.drawn else []:
            yield f"view      {rows.name:<15} {rows.line()}"
        for name, reason in self.uncompared.items():
            yield f"view      {name:<15} not compared: {reason}"

    def _verdict(self) -> str:
        if not self.is_same:
            return "they differ"
        if self.known + self.drawn < self.images.common:
            return "no difference in what was compared"
        order = "" if self.is_in_order else ", in another order"
        if self.known:
            # Of those nothing was fetched.
            return f"the same samples{order}, unless files changed since: `resizeonce verify` reads them"
        return f"the same samples, to the last bit{order}"


def _named(keys: list[str]) -> str:
    return f": {', '.join(keys)}" if keys else ""


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:16] if _DIGEST.fullmatch(text) else text
