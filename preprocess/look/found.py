"""What `resizeonce doctor --json` printed of a raw dataset, as a report takes it in."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from ...loader.format.regular_files import read_document
from ..errors import ConfigError

MAX_BYTES = 16 << 20
"""Of such a file: a finding takes a few hundred bytes."""

_SEVERITIES = ("error", "warning", "note")


class FoundScenes(msgspec.Struct):
    """Scenes of the dataset."""

    total: int
    looked_at: int


class Found(msgspec.Struct):
    """One thing that the doctor found."""

    check: str
    severity: Literal["error", "warning", "note"]
    count: int
    what: str
    examples: list[str]
    remedy: str


class DoctorReport(msgspec.Struct):
    """All that it found, and where."""

    config: str
    root: str
    scenes: FoundScenes
    findings: list[Found]
    forecast: dict[str, Any] = {}


def read_doctor_report(path: Path) -> DoctorReport:
    """Return what a file holds, the worst findings first.

    Raises:
        ConfigError: it can't be read, or is none of these.
    """
    try:
        report = msgspec.json.decode(read_document(path, MAX_BYTES), type=DoctorReport)
    except OSError as err:
        raise ConfigError(f"can't read {path}: {err.strerror or err}") from err
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ConfigError(
            f"{path} is not what `resizeonce doctor --json` prints ({err}): save its output to a file and give that"
        ) from err
    report.findings.sort(key=lambda found: (_SEVERITIES.index(found.severity), -found.count))
    return report
