"""`resizeonce bench`."""

from typing import Literal

import click

from ..look.rates import BenchOptions
from ..look.rates_text import rate_lines, step_facts, step_lines
from ..look.read_rates import measure
from ..look.step_waits import Step
from .reporting import (
    JSON_OPTION,
    SEED_OPTION,
    FiniteRange,
    Output,
    echo_json,
    echo_lines,
    reported,
    with_output,
)

_MODES: dict[str, Literal["process", "thread"]] = {"processes": "process", "threads": "thread"}


@click.command("bench")
@click.argument("store", type=click.Path())
@click.option(
    "--step-ms",
    type=FiniteRange(0.001),
    help="Milliseconds of a training step, without waiting for samples: then say whether it waits.",
)
@click.option(
    "--ranks",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Processes of the training on this machine.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Samples in a batch of a rank.",
)
@click.option(
    "--workers", type=click.IntRange(0, 256), default=2, show_default=True, help="Of a rank's BatchLoader."
)
@click.option(
    "--mode",
    type=click.Choice(list(_MODES)),
    default="processes",
    show_default=True,
    help="What the workers are.",
)
@click.option(
    "--seconds",
    type=FiniteRange(0.05, 600),
    default=3.0,
    show_default=True,
    help="Of each of the four measurements.",
)
@SEED_OPTION
@JSON_OPTION
@with_output
@reported
def command(
    store: str,
    step_ms: float | None,
    ranks: int,
    batch_size: int,
    workers: int,
    mode: str,
    seconds: float,
    seed: int,
    as_json: bool,
    output: Output,
) -> None:
    """Measure how fast this machine reads STORE, a folder or a URL, and whether training waits for it.

    From the disk to batches: rows read from the disk, after a few parts were dropped from memory; the same rows copied from
    memory; batches filled by one core, and by the workers. At a URL whole parts are fetched first, and removed again.

    Example: resizeonce bench coco.zarr --step-ms 400 --ranks 8
    """
    options = BenchOptions(
        batch_size=batch_size, workers=workers, mode=_MODES[mode], ranks=ranks, seconds=seconds, seed=seed
    )
    rates = measure(store, options, lambda what: output.note(f"measuring {what} ..."))
    step = None if step_ms is None else Step(step_ms / 1000, ranks, batch_size)
    if as_json:
        echo_json(rates.facts() | ({"step": step_facts(rates, step)} if step else {}))
        return
    echo_lines(rate_lines(rates))
    if step:
        echo_lines(step_lines(rates, step))
