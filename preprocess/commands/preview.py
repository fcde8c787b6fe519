"""`resizeonce preview`."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click
from tqdm import tqdm

from ...loader.store import Store
from ..errors import ConfigError
from ..look.choose import Worst, choose_by_chance, choose_by_key, choose_worst
from ..look.picture_file import check_picture_name, write_picture
from ..look.sheet import draw_sheet
from .reporting import JSON_OPTION, Output, echo_json, reported, with_output


@click.command("preview")
@click.argument("store", type=click.Path())
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The sheet to write: .png, .jpg or .webp.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn by chance."
)
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
    if keys and worst:
        raise ConfigError("--key and --worst each say which samples to show: give one of them")
    check_picture_name(out)
    opened = Store(store)
    if not len(opened):
        raise ConfigError(f"{opened.name} has no sample to show")
    progress: Callable[..., Any] = partial(tqdm, disable=not output.progress, leave=False)
    if keys:
        choice = choose_by_key(opened, keys, count)
    elif worst:
        choice = choose_worst(
            opened, worst, count, seed, most_compared, partial(progress, desc="looking", unit="")
        )
    else:
        choice = choose_by_chance(opened, count, seed)
    sheet = draw_sheet(opened, choice, height, columns, partial(progress, desc="drawing", unit="samples"))
    write_picture(sheet.image, out)
    for note in sheet.notes:
        output.note(note)
    if as_json:
        samples = [
            asdict(facts) | {"difference": choice.differences.get(facts.sample)} for facts in sheet.facts
        ]
        echo_json(
            {
                "sheet": str(out),
                "store": opened.name,
                "how": choice.how,
                "samples": samples,
                "notes": sheet.notes,
            }
        )
    else:
        output.summary([f"{out}: {len(choice.samples)} of {len(opened):,} samples, {choice.how}"])
