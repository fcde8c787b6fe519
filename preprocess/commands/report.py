"""`resizeonce report`."""

from pathlib import Path

import click

from ..errors import ConfigError
from ..findings import read_diagnosis
from ..look.output_file import check_output, write_output
from ..look.page import render_report, require_packages
from ..look.samples import draw_gallery
from ..look.statistics import measure_store
from ..run.forecast import format_bytes
from .reporting import SEED_OPTION, Output, with_output


@click.command("report")
@click.argument("store", type=click.Path())
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Page to write; by default report.html.")
@SEED_OPTION
@click.option("--count", type=click.IntRange(0, 200), default=12, help="Samples to show at most.")
@click.option(
    "--doctor",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Show what `resizeonce doctor CONFIG --json` printed of the raw dataset, too.",
)
@with_output
def command(store: str, out: Path | None, seed: int, count: int, doctor: Path | None, output: Output) -> None:
    """Write one page about STORE, a folder or a URL, that holds all of itself: no server, nothing loaded from elsewhere.

    It has counts by table and class, how areas, prompts, sizes and expressions are spread, what was left out, bytes, how
    the store was made, and some samples. The same store and seed give the same page. With --json, print the numbers.

    Example: resizeonce report coco.zarr -o report.html
    """
    if output.as_json:
        if doctor is not None or out is not None:
            option = "--doctor goes onto" if out is None else "--out names"
            raise ConfigError(f"{option} the page, and --json writes none: give one of them")
        output.show(measure_store(store, seed, output.bar), ())
        return
    out = out or Path("report.html")
    # Before the store is measured: that may take an hour.
    require_packages()
    check_output(out)
    found = None if doctor is None else read_diagnosis(doctor)
    statistics = measure_store(store, seed, output.bar)
    page = render_report(statistics, draw_gallery(store, count, seed), found).encode()
    write_output(out, page)
    output.summary({}, [f"{out} has {format_bytes(len(page))}: open it in a browser"])
