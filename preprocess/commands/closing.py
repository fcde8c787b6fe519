"""How a conversion ends: its summary and its exit code."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from ..run.report import RangeReport, Report
from .reporting import EXIT_EMPTY, EXIT_REJECTS, Output, echo_json

SCRATCH_HELP = "Where parts wait to be published, if --out is a URL; by default in the user's cache folder."

MAX_REJECTS_OPTION = click.option(
    "--max-rejects",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="More give exit code 3.",
)


@dataclass(frozen=True, slots=True)
class Closing:
    """What to say of a conversion when it is done, and how many rejects it may have."""

    output: Output
    max_rejects: int
    as_json: bool

    def end(self, report: Report | RangeReport, lines: Iterator[str]) -> None:
        """Print the closing summary and exit with what it amounts to; of a range, that it has no sample says nothing."""
        if self.as_json:
            echo_json(_facts(report))
        else:
            self.output.summary(lines)
        if report.num_rejects > self.max_rejects:
            click.echo(
                f"{report.num_rejects:,} rejects, {self.max_rejects:,} allowed: see rejects.jsonl in {report.store}",
                err=True,
            )
            sys.exit(EXIT_REJECTS)
        if isinstance(report, Report) and not report.totals["samples"]:
            sys.exit(EXIT_EMPTY)


def _facts(report: Report | RangeReport) -> dict[str, Any]:
    facts = {
        "store": str(report.store),
        "was_complete": report.was_complete,
        "totals": report.totals,
        "num_rejects": report.num_rejects,
        "seconds": round(report.seconds, 3),
        "engine": report.engine,
    }
    if isinstance(report, RangeReport):
        facts |= {"parts": list(report.parts), "missing_parts": list(report.missing)}
    return facts
