"""`resizeonce preview`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click

from ...loader.store import Store
from ..errors import ConfigError
from ..look.choose import Worst, choose_by_chance, choose_by_key, choose_worst
from ..look.output_file import check_picture_name, write_picture
from ..look.sheet import draw_sheet
from ..printable import printable
from .reporting import EXIT_FAILED, SEED_OPTION, Output, with_output


@click.command("preview")
@click.argument("store", type=click.Path())
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The sheet to write: .png, .jpg or .webp.",
)
@SEED_OPTION
@click.option(
    "--key", "keys", multiple=True, help="Show this sample, or all of this image; several times for several."
)
@click.option(
    "--worst",
    type=click.Choice(get_args(Worst)),
    help="Show the worst by this. For least-agreement, image views are compared, for the other two columns of all samples.",
)
@click.option(
    "--sample",
    "most_compared",
    type=click.IntRange(1),
    default=1000,
    help="Samples that least-agreement compares, drawn by chance.",
)
@click.option("--count", type=click.IntRange(1, 1000), default=12, help="Samples to show at most.")
@click.option(
    "--columns", type=click.IntRange(1, 100), help="Of the sheet; by default about 1600 pixels wide."
)
@click.option(
    "--height", type=click.IntRange(32, 2048), default=256, help="Of a sample's picture, in pixels."
)
@with_output
def command(
    store: str,
    out: Path,
    seed: int,
    keys: tuple[str, ...],
    worst: Worst | None,
    most_compared: int,
    count: int,
    columns: int | None,
    height: int,
    output: Output,
) -> None:
    """Draw samples of STORE, a folder or a URL, as a sheet: each image view as the model sees it, with mask and prompt over it.

    Samples are drawn by chance, or are those of --key, or the worst by --worst. One that can't be read is a tile that says so;
    then the exit code is 1, as it is where --worst could not look at a part.

    Example: resizeonce preview coco.zarr -o sheet.png, or resizeonce preview coco.zarr -o worst.png --worst smallest-prompts
    """
    check_picture_name(out)
    if keys and worst:
        raise ConfigError("--key and --worst each say which samples to show: give one of them")
    opened = Store(store)
    if not len(opened):
        raise ConfigError(f"{opened.name} has no sample to show")
    if keys:
        choice = choose_by_key(opened, keys, count)
    elif worst:
        choice = choose_worst(opened, worst, count, seed, most_compared, output.bar)
    else:
        choice = choose_by_chance(opened, count, seed)
    sheet = draw_sheet(opened, choice, height, columns, output.bar)
    write_picture(sheet.image, out)
    for note in sheet.notes:
        # Also where little is to be said: something of the store can't be read, or shown as it is.
        click.echo(printable(note), err=True)
    samples = [asdict(one) | {"difference": choice.differences.get(one.sample)} for one in sheet.facts]
    facts = {
        "sheet": str(out),
        "store": opened.name,
        "how": choice.how,
        "samples": samples,
        "notes": sheet.notes,
    }
    output.summary(facts, [f"{out}: {len(choice.samples)} of {len(opened):,} samples, {choice.how}"])
    # What keys name was found elsewhere, and all samples of an image stand in one part.
    is_partial = bool(choice.unread) and not keys
    if is_partial or len(samples) < len(choice.samples):
        sys.exit(EXIT_FAILED)
