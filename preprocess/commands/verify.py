"""`resizeonce verify`."""

import sys

import click

from ..verify.check_store import VerifyOptions, verify_store
from .reporting import EXIT_FOUND, WORKERS_OPTION, Output, with_output


@click.command("verify")
@click.argument("store", type=click.Path())
@click.option(
    "--values", is_flag=True, help="Look at every pixel, too: what the tensors show, and whether they agree."
)
@click.option(
    "--source",
    type=click.Path(),
    metavar="ROOT",
    help="Make scenes anew from the raw dataset in ROOT and compare them bit for bit. STORE itself, where it keeps the files "
    "of its images: then these alone are made anew.",
)
@click.option("--sample", type=click.IntRange(1), default=64, help="Scenes to make anew, evenly spread.")
@click.option("--all", "every", is_flag=True, help="Make every scene anew.")
@WORKERS_OPTION
@with_output
def command(
    store: str, values: bool, source: str | None, sample: int, every: bool, workers: int, output: Output
) -> None:
    """Check that STORE is what its format, its recipe and its raw dataset say.

    Findings go to stdout, one a line; the exit code is 4 where one of them is damage. docs/verify.md says which depth
    finds what.

    Example: resizeonce verify coco.zarr --values --source /data/coco --sample 200
    """
    options = VerifyOptions(
        values=values,
        source=source,
        sample=None if every else sample,
        workers=workers,
        progress=output.progress,
    )
    report = verify_store(store, options)
    output.show(report.facts(), report.lines())
    if report.is_damaged:
        sys.exit(EXIT_FOUND)
