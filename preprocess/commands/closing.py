"""How a conversion ends: its summary and its exit code."""

import sys
from typing import Any

import click

from ..run.report import RangeReport, Report
from .reporting import EXIT_EMPTY, EXIT_REJECTS, Output
from .store_text import range_lines, report_lines

SCRATCH_HELP = "Where parts wait to be published, if --out is a URL; by default in the user's cache folder."

MAX_REJECTS_OPTION = click.option(
    "--max-rejects", type=click.IntRange(0), default=0, help="More give exit code 3."
)


def close(report: Report | RangeReport, output: Output, max_rejects: int) -> None:
    """Print the closing summary and exit with what it amounts to; of a range, that it has no sample says nothing."""
    lines = report_lines(report) if isinstance(report, Report) else range_lines(report)
    output.summary(_facts(report), lines)
    if report.num_rejects > max_rejects:
        click.echo(
            f"{report.num_rejects:,} rejects, {max_rejects:,} allowed: see rejects.jsonl in {report.store}",
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
