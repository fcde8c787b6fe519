"""A diagnosis as lines for a terminal of 80 columns."""

import textwrap
from collections.abc import Iterator

from ..findings import SEVERITIES, Diagnosis, Finding, Severity

WIDTH = 80

_MEANING: dict[Severity, str] = {
    "error": "these become rejects, not samples",
    "warning": "these become samples that are likely not meant",
    "note": "left out, or taken for granted",
}


def diagnosis_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield what was found, by severity; the forecast is printed elsewhere."""
    scenes = diagnosis.scenes
    looked = "all looked at" if scenes.is_whole else f"{scenes.looked_at:,} of them looked at, evenly spread"
    yield f"{diagnosis.config} in {diagnosis.root}: {scenes.total:,} scenes, {looked}"
    for severity in SEVERITIES:
        findings = [finding for finding in diagnosis.findings if finding.severity == severity]
        if findings:
            yield ""
            yield f"{_number(len(findings), severity)}: {_MEANING[severity]}"
            yield from (line for finding in findings for line in _finding_lines(finding))


def verdict_line(diagnosis: Diagnosis) -> str:
    """Return the closing line."""
    counts = {severity: diagnosis.num_of(severity) for severity in SEVERITIES}
    if not any(counts.values()):
        return "nothing was found"
    return ", ".join(_number(count, severity) for severity, count in counts.items() if count)


def _finding_lines(finding: Finding) -> Iterator[str]:
    head = f"{finding.count:>9,}  "
    space = " " * len(head)
    yield f"{head}{finding.check}"
    yield from _wrap(finding.what, space, space)
    for example in finding.examples:
        yield f"{space}- {example}"
    yield from _wrap(f"-> {finding.remedy}", space, f"{space}   ")


def _wrap(text: str, first: str, later: str) -> list[str]:
    # Names and options stay whole, so that they can be copied.
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _number(count: int, severity: Severity) -> str:
    return f"{count:,} {severity}{'' if count == 1 else 's'}"
