"""`resizeonce audit`."""

import sys
from pathlib import Path
from typing import Any

import click

from ..errors import ConfigError
from ..look.audit import AuditOptions, audit
from ..look.output_file import check_output, write_output
from ..look.perceptual import BITS, DISTANCE
from .reporting import EXIT_FAILED, EXIT_FOUND, Output, with_output


@click.command("audit")
@click.argument("train", nargs=-1, required=True, type=click.Path())
@click.option(
    "--against",
    multiple=True,
    required=True,
    type=click.Path(),
    metavar="STORE",
    help="A validation set; may be given several times.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Path(),
    metavar="ROOT",
    help="A raw dataset that stores were made from: pictures of those without hashes (store.hashes) are then decoded once more, "
    "each from the one that it was made from.",
)
@click.option(
    "--near/--no-near",
    default=True,
    help="Look for pictures that are alike, too: reads a view of every picture.",
)
@click.option(
    "--distance",
    type=click.IntRange(0, BITS),
    default=DISTANCE,
    help=f"How many of {BITS} bits of the hashes of such pictures differ at most.",
)
@click.option(
    "--count-near",
    is_flag=True,
    help="Take such pictures for found: in the keys written, and in the exit code.",
)
@click.option(
    "--write-keys",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the keys of TRAIN's scenes that were found, one a line, for Subset(without=KeySet.read(FILE)).",
)
@click.option("--examples", type=click.IntRange(0), default=3, help="Pairs to print of each kind.")
@with_output
def command(
    train: tuple[str, ...],
    against: tuple[str, ...],
    write_keys: Path | None,
    count_near: bool,
    output: Output,
    **looking: Any,
) -> None:
    """Find pictures of the training sets TRAIN that are in validation sets as well.

    Pictures are the same exactly, by the ids that datasets share, or nearly (re-encoded, resized, mirrored, slightly
    cropped). The exit code is 4 where one is found exactly or by id. docs/audit.md says what each way finds.

    Example: resizeonce audit coco.zarr --against refcoco-val.zarr --write-keys leaked.txt
    """
    if count_near and not looking["near"]:
        raise ConfigError("--count-near and --no-near contradict each other: give one of them")
    # Known before hours of reading.
    if write_keys is not None:
        check_output(write_keys)
    report = audit(train, against, AuditOptions(progress=output.bar, **looking))
    keys = [*report.exact_or_id, *(report.near if count_near else [])]
    if write_keys is not None:
        _write_keys(write_keys, keys)
    output.show(report, report.lines())
    if keys:
        sys.exit(EXIT_FOUND)
    if blind := [one for one in report.comparisons if one.is_blind]:
        click.echo(
            f"error: of {len(blind)} of {len(report.comparisons)} comparisons no picture was looked at, so that nothing was found "
            "says nothing",
            err=True,
        )
        sys.exit(EXIT_FAILED)


def _write_keys(path: Path, keys: list[str]) -> None:
    """Write keys, one a line, as `KeySet.read` takes them."""
    if odd := [key for key in keys if key != key.strip() or len(key.splitlines()) > 1]:
        raise ConfigError(
            f"the key {odd[0]!r:.200} can't stand on a line of its own: rename the raw file and convert again"
        )
    write_output(path, "".join(f"{key}\n" for key in keys).encode())
