"""`resizeonce card`."""

from pathlib import Path
from typing import Any

import click

from ..look.card import CardOptions, write_card
from .reporting import SEED_OPTION, Output, with_output


@click.command("card")
@click.argument("store", type=click.Path())
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of the card."
)
@click.option(
    "--parquet",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write a preview for the Hub's viewer, too: into DIR, which is the card's folder or one below it "
    "(pip install 'resizeonce[card]').",
)
@click.option("--count", type=click.IntRange(1), default=100, help="Samples of the preview at most.")
@click.option("--height", type=click.IntRange(16, 1024), default=256, help="Of its thumbnails, in pixels.")
@SEED_OPTION
@click.option(
    "--name", default="", show_default=False, help="The dataset's name, where it is your own or another one."
)
@click.option(
    "--license",
    "licence",
    default="",
    show_default=False,
    metavar="ID",
    help="Its licence, such as cc-by-4.0.",
)
@click.option("--address", default="", show_default=False, metavar="URL", help="Where it is described.")
@click.option("--overwrite", is_flag=True, help="Replace the files of a card that are there.")
@with_output
def command(store: str, out: Path, output: Output, **said: Any) -> None:
    """Write README.md and croissant.json for STORE: a card for the Hugging Face Hub, and the same for machines.

    Both have the licences and citations of the dataset; of data of your own, and of layouts that several datasets come in,
    you are asked for them.

    Example: resizeonce card coco.zarr -o card --parquet card/preview
    """
    files = [str(path) for path in write_card(store, out, CardOptions(**said))]
    output.summary({"files": files}, files)
