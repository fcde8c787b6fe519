"""`resizeonce diff`."""

import sys

import click

from ..look.diff import SAMPLE, DiffOptions, diff_stores
from .reporting import EXIT_FOUND, SEED_OPTION, Output, with_output


@click.command("diff")
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=SAMPLE,
    help="Images whose pixels and masks are compared, of those that are not known to be the same; keys and tables are "
    "compared of all.",
)
@click.option("--all", "every", is_flag=True, help="Compare the pixels and masks of all images.")
@SEED_OPTION
@with_output
def command(a: str, b: str, sample: int, every: bool, seed: int, output: Output) -> None:
    """Compare the stores A and B: how they were made, which samples each has, by how much their tensors differ.

    Samples go by their keys, in whichever parts and order they stand. Of a store at a URL, parts that are compared are
    fetched whole, and those with the same digests in both not at all. The exit code is 4 where samples, rejects or tensors
    differ, 1 where one that is read is damaged, and 0 where what was compared is the same, however it was made.

    Example: resizeonce diff old.zarr new.zarr --sample 5000
    """
    options = DiffOptions(sample=None if every else sample, seed=seed, progress=output.bar)
    found = diff_stores(a, b, options)
    output.show(found, found.lines())
    if not found.is_same:
        sys.exit(EXIT_FOUND)
