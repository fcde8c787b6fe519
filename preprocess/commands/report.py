"""`resizeonce report`."""

from pathlib import Path

import click

from ..errors import ConfigError
from ..findings import read_diagnosis
from ..look.gallery import draw_gallery
from ..look.output_file import check_output, replacing
from ..look.page import render_report, require_packages
from ..look.statistics import measure_store
from ..run.forecast import format_bytes
from .reporting import JSON_OPTION, SEED_OPTION, Output, echo_json, reported, with_output


@click.command("report")
@click.argument("store", type=click.Path())
@click.option(
    "-o", "--out", type=click.Path(), default="report.html", show_default=True, help="Page to write."
)
@SEED_OPTION
@click.option(
    "--count",
    type=click.IntRange(0, 200),
    default=12,
    show_default=True,
    help="Samples to show at most.",
)
@click.option(
    "--doctor",
    type=click.Path(),
    metavar="FILE",
    help="Show what `resizeonce doctor CONFIG --json` printed of the raw dataset, too.",
)
@JSON_OPTION
@with_output
@reported
def command(
    store: str, out: str, seed: int, count: int, doctor: str | None, as_json: bool, output: Output
) -> None:
    """Write one page about STORE, a folder or a URL, that holds all of itself: no server, nothing loaded from elsewhere.

    It has counts by table and class, how areas, prompts, sizes and expressions are spread, what was left out, bytes, how
    the store was made, and some samples. The same store and seed give the same page. With --json, print the numbers.

    Example: resizeonce report coco.zarr -o report.html
    """
    if as_json and doctor is not None:
        raise ConfigError("--doctor goes onto the page, and --json writes none: give one of them")
    if not as_json:
        # Before the store is measured: that may take an hour.
        require_packages()
        check_output(Path(out))
    found = None if doctor is None else read_diagnosis(Path(doctor))
    statistics = measure_store(store, seed, output.bar)
    if as_json:
        echo_json(statistics)
        return
    page = render_report(statistics, draw_gallery(store, count, seed), found).encode()
    with replacing(Path(out)) as partial:
        partial.write_bytes(page)
    output.summary([f"{out} has {format_bytes(len(page))}: open it in a browser"])
