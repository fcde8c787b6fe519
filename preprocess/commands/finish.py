"""`resizeonce finish`."""

import click

from ..cli_text import report_lines
from ..run.convert import finish
from .closing import MAX_REJECTS_OPTION, SCRATCH_HELP, Closing
from .reporting import JSON_OPTION, Output, reported, with_output


@click.command("finish")
@click.argument("store", type=click.Path())
@click.option("--scratch", type=click.Path(), metavar="DIR", help=SCRATCH_HELP.replace("--out", "STORE"))
@MAX_REJECTS_OPTION
@JSON_OPTION
@with_output
@reported
def command(store: str, scratch: str | None, max_rejects: int, as_json: bool, output: Output) -> None:
    """Make STORE of the parts that `convert --part-range` wrote.

    Example: resizeonce finish sa1b.zarr
    """
    report = finish(store, scratch)
    Closing(output, max_rejects, as_json).end(report, report_lines(report))
