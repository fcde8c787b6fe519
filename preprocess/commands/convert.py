"""`resizeonce convert`."""

from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from ..config import load_config
from ..errors import ConfigError
from ..run.convert import convert, convert_range, open_source
from ..run.dask_cluster import open_cluster
from ..run.forecast import Forecast, forecast, format_bytes
from ..run.options import STALL_SECONDS, RunOptions
from ..run.part_range import PartRange
from .closing import MAX_REJECTS_OPTION, SCRATCH_HELP, close
from .config import ConfigName
from .reporting import ROOT_OPTION, SET_OPTION, WORKERS_OPTION, FiniteRange, Output, with_output
from .store_text import arithmetic_warning, forecast_lines

DRY_RUN_SCENES = 64


@click.command("convert")
@click.argument("config", type=ConfigName())
@ROOT_OPTION
@click.option(
    "-o", "--out", required=True, type=click.Path(), help="Store to write, such as coco.zarr, or its URL."
)
@SET_OPTION
@WORKERS_OPTION
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of a Dask scheduler.")
@click.option(
    "--part-range",
    metavar="K/N",
    help="Write the K-th of N shares of the parts, as a task of a job array; then `resizeonce finish`.",
)
@click.option(
    "--scene-timeout",
    "stall_seconds",
    type=FiniteRange(1),
    default=STALL_SECONDS,
    help="Seconds without a finished scene after which a worker process is taken for dead.",
)
@click.option("--limit", type=click.IntRange(1, 1 << 53), help="Samples to write at most.")
@click.option("--append", is_flag=True, help="Add those scenes that a finished store lacks, as new parts.")
@click.option("--dry-run", is_flag=True, help="Count and forecast the disk it takes; write nothing.")
@click.option("--scratch", type=click.Path(), metavar="DIR", help=SCRATCH_HELP)
@click.option("--force", is_flag=True, help="Start although the disk seems too small.")
@click.option(
    "--overwrite", is_flag=True, help="Remove the store first, if there is one and nothing else in it."
)
@click.option(
    "--on-error",
    type=click.Choice(["record", "fail"]),
    default="record",
    help="List bad records and go on, or stop at the first.",
)
@click.option(
    "--engine",
    type=click.Choice(["exact-fast", "pillow"]),
    help="What does the work, to the same bytes; by default the fast one where it is installed.",
)
@MAX_REJECTS_OPTION
@with_output
def command(
    config: str,
    root: str,
    out: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    max_rejects: int,
    scheduler: str | None,
    part_range: str | None,
    output: Output,
    **run: Any,
) -> None:
    """Convert the raw dataset that CONFIG describes into a store.

    CONFIG is a name that `resizeonce config` lists, or a TOML file. Run again after an interruption, it finishes what
    is missing.

    Example: resizeonce convert coco --root /data/coco --out coco.zarr --workers 8
    """
    effective = load_config(config, overrides)
    if dry_run:
        if run["append"] or part_range is not None:
            raise ConfigError(
                "--dry-run looks at the whole dataset: it goes neither with --append nor with --part-range"
            )
        source = open_source(effective, root)
        expected = forecast(source, effective, DRY_RUN_SCENES, run["limit"])
        output.show(asdict(expected), forecast_lines(expected))
        return
    share = None if part_range is None else PartRange.parse(part_range)
    with ExitStack() as stack:
        if scheduler is not None:
            run["executor"], run["workers"] = stack.enter_context(open_cluster(scheduler))
        options = RunOptions(progress=output.progress, announce=partial(_announce, output), **run)
        if share is None:
            close(convert(effective, root, out, options), output, max_rejects)
        else:
            close(convert_range(effective, root, out, share, options), output, max_rejects)


def _announce(output: Output, forecast: Forecast) -> None:
    output.note(
        f"about {forecast.samples:,} samples and {format_bytes(forecast.store_bytes)} on disk, "
        f"judged by {forecast.num_read} of {forecast.num_scenes:,} scenes"
    )
    if forecast.undecided:
        output.note(f"warning: {arithmetic_warning(forecast)}")
