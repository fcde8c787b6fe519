"""`resizeonce doctor`."""

import sys
from dataclasses import replace

import click

from ..doctor.diagnose import DoctorOptions, diagnose
from ..doctor.text import diagnosis_lines, verdict_line
from ..run.forecast import Forecast
from .config import ConfigName
from .reporting import EXIT_EMPTY, EXIT_FOUND, ROOT_OPTION, SET_OPTION, WORKERS_OPTION, Output, with_output
from .store_text import forecast_lines


@click.command("doctor")
@click.argument("config", type=ConfigName())
@ROOT_OPTION
@SET_OPTION
@click.option(
    "--sample",
    type=click.IntRange(1),
    help="Scenes to look at, evenly spread, and to say what they amount to in all; by default every one.",
)
@WORKERS_OPTION
@with_output
def command(
    config: str, root: str, overrides: tuple[str, ...], sample: int | None, workers: int, output: Output
) -> None:
    """Look at the raw dataset that CONFIG describes, and say what is wrong with it before it is converted.

    Everything is read as `resizeonce convert` reads it, and nothing is written. Errors are what a conversion rejects: with
    any, the exit code is 4. Warnings become samples that are likely not meant. Notes are left out, or taken for granted.
    Data that gives no sample at all has exit code 5.

    Example: resizeonce doctor coco --root /data/coco --sample 2000 --workers 8
    """
    options = DoctorOptions(sample=sample, workers=workers, progress=output.progress)
    diagnosis = diagnose(config, root, options, overrides)
    # What a forecast says of Pillow's versions is a finding already.
    forecast = replace(Forecast(**diagnosis.forecast), undecided=0)
    summary = [] if output.quiet else ["", *forecast_lines(forecast), ""]
    output.show(diagnosis, [*diagnosis_lines(diagnosis), *summary, verdict_line(diagnosis)])
    if diagnosis.num_of("error"):
        sys.exit(EXIT_FOUND)
    if not diagnosis.forecast["samples"]:
        sys.exit(EXIT_EMPTY)
