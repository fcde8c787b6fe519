"""`resizeonce report`."""

from functools import partial
from pathlib import Path

import click
import msgspec
from tqdm import tqdm

from ..errors import ConfigError
from ..look.found import read_doctor_report
from ..look.gallery import draw_gallery
from ..look.page import render_report, require_packages
from ..look.statistics import measure_store
from ..run.forecast import format_bytes
from .reporting import JSON_OPTION, Output, echo_json, reported, with_output


@click.command("report")
@click.argument("store", type=click.Path())
@click.option(
    "-o", "--out", type=click.Path(), default="report.html", show_default=True, help="Page to write."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn at random."
)
@click.option(
    "--samples",
    type=click.IntRange(0, 200),
    default=12,
    show_default=True,
    help="Samples to show as pictures.",
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
    store: str, out: str, seed: int, samples: int, doctor: str | None, as_json: bool, output: Output
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
        if Path(out).is_dir() or not Path(out).parent.is_dir():
            raise ConfigError(f"can't write {out}: give --out the name of a file in a folder that is there")
    found = None if doctor is None else read_doctor_report(Path(doctor))
    over = partial(tqdm, unit="part", disable=not output.progress)
    statistics = measure_store(store, seed, over)
    if as_json:
        echo_json(msgspec.to_builtins(statistics))
        return
    page = render_report(statistics, draw_gallery(store, samples, seed), found).encode()
    try:
        Path(out).write_bytes(page)
    except OSError as err:
        raise ConfigError(f"can't write {out}: {err.strerror or err}") from err
    output.summary([f"{out} has {format_bytes(len(page))}: open it in a browser"])
