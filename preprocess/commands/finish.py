"""`resizeonce finish`."""

import click

from ..run.convert import finish
from .closing import MAX_REJECTS_OPTION, SCRATCH_HELP, close
from .reporting import Output, with_output


@click.command("finish")
@click.argument("store", type=click.Path())
@click.option("--scratch", type=click.Path(), metavar="DIR", help=SCRATCH_HELP.replace("--out", "STORE"))
@MAX_REJECTS_OPTION
@with_output
def command(store: str, scratch: str | None, max_rejects: int, output: Output) -> None:
    """Make STORE of the parts that `convert --part-range` wrote.

    Example: resizeonce finish sa1b.zarr
    """
    close(finish(store, scratch), output, max_rejects)
