"""What `verify` found: one record for each fault, and the lines and the JSON it is printed as."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

MAX_LINES = 20
"""How many findings of one kind are printed as text; JSON holds all."""

REDO_PART = "remove that part's folder and run the same `resizeonce convert` again: it makes what is missing"
REDO_STORE = "don't train on it: remove the store and convert again"
REDO_TENSORS = (
    "don't train on it: convert again with --overwrite, by a version whose `verify --source` is clean"
)
RESTORE = "restore the file from a copy, or remove the store and convert again"


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault, or one harmless thing worth knowing."""

    check: str
    """Short name of the rule that does not hold, such as "row-checksum"; stable, for programs."""
    level: Literal["damage", "note"] = "damage"
    part: str = ""
    """Folder of the part, "" where the finding is about the whole store."""
    array: str = ""
    """Array or file below the part, or below the store."""
    row: int | None = None
    """Row of the array."""
    key: str = ""
    """Key of the image, followed by the object's id where the row is a mask's."""
    path: str = ""
    """The raw file it was made from, relative to the dataset's root."""
    found: str
    expected: str = ""
    advice: str = ""
    """What to do."""

    @property
    def kind(self) -> tuple[str, str, str]:
        """What is counted together."""
        return self.level, self.check, self.array

    def line(self) -> str:
        """Return the finding as one line."""
        place = "/".join(step for step in (self.part, self.array) if step) or "store"
        if self.row is not None:
            place += f" row {self.row}"
        if self.key or self.path:
            place += f" ({', '.join(name for name in (self.key, self.path) if name)})"
        expected = f"; expected {self.expected}" if self.expected else ""
        advice = f" -> {self.advice}" if self.advice else ""
        return f"{self.level:<7} {place}: {self.check}: {self.found}{expected}{advice}"


def tensor_fault(check: str, array: str, row: int | None, found: str, expected: str = "") -> Finding:
    """Return what is wrong with what a conversion computes."""
    return Finding(check=check, array=array, row=row, found=found, expected=expected, advice=REDO_TENSORS)


def part_fault(check: str, array: str, found: str, row: int | None = None, expected: str = "") -> Finding:
    """Return what is wrong with the files or the tables of a part."""
    return Finding(check=check, array=array, row=row, found=found, expected=expected, advice=REDO_PART)


class VerifyReport(msgspec.Struct, kw_only=True):
    """What was checked and what was found."""

    store: str
    depth: str
    """ "structure", "values", "source" or "values+source"."""
    findings: list[Finding] = []
    counts: dict[str, int] = {}
    """How much was looked at: parts, files, bytes, images, masks, and scenes made anew."""
    seconds: float = 0.0

    @property
    def is_damaged(self) -> bool:
        """Whether there is a finding that is no mere note."""
        return any(finding.level == "damage" for finding in self.findings)

    def facts(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {"damaged": self.is_damaged, **msgspec.to_builtins(self)}

    def lines(self) -> Iterator[str]:
        """Yield the report as text: up to `MAX_LINES` findings of a kind, then a closing line."""
        yield from _finding_lines(self.findings)
        levels = Counter(finding.level for finding in self.findings)
        checked = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        verdict = f"{levels['damage']:,} findings of damage" if self.is_damaged else "no damage"
        notes = f", {levels['note']:,} notes" if levels["note"] else ""
        yield f"{verdict}{notes} ({self.depth}: {checked}; {self.seconds:.1f} s)"


def _finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    kinds = Counter(finding.kind for finding in findings)
    printed: Counter[tuple[str, str, str]] = Counter()
    for finding in findings:
        printed[finding.kind] += 1
        if printed[finding.kind] <= MAX_LINES:
            yield finding.line()
        if printed[finding.kind] == kinds[finding.kind] > MAX_LINES:
            rest = kinds[finding.kind] - MAX_LINES
            place = f" in {finding.array}" if finding.array else ""
            yield f"{finding.level:<7} {rest:,} more of {finding.check}{place}: --json lists them"
