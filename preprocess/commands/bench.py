"""`resizeonce bench`."""

from typing import Any, Literal

import click

from ..look.rates import BenchOptions, Step
from ..look.rates_text import rate_lines, step_facts, step_lines
from ..look.read_rates import measure
from .reporting import SEED_OPTION, FiniteRange, Output, with_output

_MODES: dict[str, Literal["process", "thread"]] = {"processes": "process", "threads": "thread"}


@click.command("bench")
@click.argument("store", type=click.Path())
@click.option(
    "--step-ms",
    type=FiniteRange(0.001),
    help="Milliseconds of a training step, without waiting for samples: then say whether it waits.",
)
@click.option(
    "--ranks", type=click.IntRange(1, 1024), default=1, help="Processes of the training on this machine."
)
@click.option("--batch-size", type=click.IntRange(1), default=8, help="Samples in a batch of a rank.")
@click.option("--workers", type=click.IntRange(0, 256), default=2, help="Of a rank's BatchLoader.")
@click.option("--mode", type=click.Choice(list(_MODES)), default="processes", help="What the workers are.")
@click.option("--seconds", type=FiniteRange(0.05, 600), default=3.0, help="Of each of the four measurements.")
@SEED_OPTION
@with_output
def command(store: str, step_ms: float | None, mode: str, output: Output, **reading: Any) -> None:
    """Measure how fast this machine reads STORE, a folder or a URL, and whether training waits for it.

    From the disk to batches: rows read from the disk, after a few parts were dropped from memory; the same rows copied from
    memory; batches filled by one core, and by the workers. At a URL whole parts are fetched first, and removed again.

    Example: resizeonce bench coco.zarr --step-ms 400 --ranks 8
    """
    options = BenchOptions(mode=_MODES[mode], **reading)
    rates = measure(store, options, lambda what: output.note(f"measuring {what} ..."))
    facts, lines = rates.facts(), [*rate_lines(rates)]
    if step_ms is not None:
        step = Step(step_ms / 1000, options.ranks, options.batch_size)
        facts["step"] = step_facts(rates, step)
        lines += step_lines(rates, step)
    output.show(facts, lines)
