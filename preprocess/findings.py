"""What `resizeonce doctor` says of a raw dataset: findings, each with a count, examples and a remedy; written and read as JSON."""

from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from ..loader.format.regular_files import read_document
from .errors import ConfigError

Severity = Literal["error", "warning", "note"]
"""What a conversion does of it: a reject; samples that are likely not meant; something left out, or taken for granted."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)

MAX_EXAMPLES = 3

MAX_BYTES = 16 << 20
"""Of a file of them: a finding takes a few hundred bytes."""


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


def read_diagnosis(path: Path) -> Diagnosis:
    """Return what a file holds that `resizeonce doctor --json` printed, the worst findings first.

    Raises:
        ConfigError: it can't be read, or is none of these.
    """
    try:
        diagnosis = msgspec.json.decode(read_document(path, MAX_BYTES), type=Diagnosis)
    except OSError as err:
        raise ConfigError(f"can't read {path}: {err.strerror or err}") from err
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ConfigError(
            f"{path} is not what `resizeonce doctor --json` prints ({err}): save its output to a file and give that"
        ) from err
    diagnosis.findings.sort(key=lambda finding: (SEVERITIES.index(finding.severity), -finding.count))
    return diagnosis
