"""What a conversion says when it is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """What a conversion did."""

    store: Path | str
    """Its folder or URL."""
    root: Path
    """The folder that has the root's files: the store's own or, of one with a URL, where it was staged."""
    attributes: dict[str, Any]
    """The store's root attributes; "totals" has the counts."""
    seconds: float
    engine: str
    """What did the work, and why not the fastest where that is so; "" where none was done."""
    was_complete: bool
    """Whether the store was there already, made by the same command."""

    @property
    def totals(self) -> dict[str, Any]:
        """Counts, by the names in the root attributes."""
        found: dict[str, Any] = self.attributes["totals"]
        return found

    @property
    def num_rejects(self) -> int:
        """How many records could not be converted."""
        return sum(self.totals["rejects"].values())


@dataclass(frozen=True, slots=True)
class RangeReport:
    """What the conversion of a range of parts did."""

    store: Path | str
    """Its folder or URL."""
    parts: range
    """The numbers of the parts in the range; all are there."""
    totals: dict[str, Any]
    """Counts of these parts, by the names in the root attributes; of all parts, where the store was complete."""
    missing: Sequence[int]
    """Which parts of the whole store are not there yet."""
    seconds: float
    engine: str
    """What did the work."""
    prompt: str | None
    """Name of the view that is the prompt, where the recipe has one."""
    was_complete: bool = False
    """Whether the store was finished already, so that there was nothing to do."""

    @property
    def num_rejects(self) -> int:
        """How many records of these parts could not be converted."""
        return sum(self.totals["rejects"].values())
