"""What is said of a raw dataset: findings, each with a count, examples and a remedy, and the JSON they are written as."""

from typing import Any, Literal, get_args

import msgspec

Severity = Literal["error", "warning", "note"]
"""What a conversion does of it: a reject; samples that are likely not meant; something left out, or taken for granted."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)

MAX_EXAMPLES = 3


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or worth knowing, and how often."""

    check: str
    """Short name, such as "run-lengths"; stable, for programs."""
    severity: Severity
    count: int
    what: str
    """What was found, in words."""
    examples: list[str] = []
    """The first few: key and file of each."""
    remedy: str
    """What to do."""


class Scenes(msgspec.Struct, frozen=True, kw_only=True):
    """How many scenes there are, and how many were looked at."""

    total: int
    looked_at: int

    @property
    def is_whole(self) -> bool:
        """Whether all were looked at."""
        return self.looked_at == self.total


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a raw dataset, and what a conversion would give."""

    config: str
    root: str
    scenes: Scenes
    findings: list[Finding]
    forecast: dict[str, Any]
    """The fields of `preprocess.run.forecast.Forecast`."""

    def num_of(self, severity: Severity) -> int:
        """Return how many findings are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> bytes:
        """Return it as one JSON document."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)
