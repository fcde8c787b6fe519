"""`resizeonce preview`."""

from pathlib import Path
from typing import get_args

import click

from ..look.choose import Worst
from ..look.picture_file import check_picture_name, write_picture
from ..look.preview import PreviewOptions, draw_preview
from ..printable import printable
from .reporting import JSON_OPTION, SEED_OPTION, Output, echo_json, reported, with_output


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
    show_default=True,
    help="Samples that least-agreement compares, drawn by chance.",
)
@click.option(
    "--count", type=click.IntRange(1, 1000), default=12, show_default=True, help="Samples to show at most."
)
@click.option(
    "--columns", type=click.IntRange(1, 100), help="Of the sheet; by default about 1600 pixels wide."
)
@click.option(
    "--height",
    type=click.IntRange(32, 2048),
    default=256,
    show_default=True,
    help="Of a sample's picture, in pixels.",
)
@JSON_OPTION
@with_output
@reported
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
    as_json: bool,
    output: Output,
) -> None:
    """Draw samples of STORE, a folder or a URL, as a sheet: each image view as the model sees it, with mask and prompt over it.

    Samples are drawn by chance, or are those of --key, or the worst by --worst.

    Example: resizeonce preview coco.zarr -o sheet.png, or resizeonce preview coco.zarr -o worst.png --worst smallest-prompts
    """
    check_picture_name(out)
    options = PreviewOptions(
        seed=seed,
        keys=keys,
        worst=worst,
        most_compared=most_compared,
        count=count,
        columns=columns,
        height=height,
        progress=output.bar,
    )
    preview = draw_preview(store, options)
    write_picture(preview.image, out)
    for note in preview.notes:
        # Also where little is to be said: something of the store can't be read, or shown as it is.
        click.echo(printable(note), err=True)
    if as_json:
        echo_json({"sheet": str(out)} | preview.facts)
    else:
        output.summary([f"{out}: {preview.summary}"])
