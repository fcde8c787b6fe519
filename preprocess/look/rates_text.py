"""What `resizeonce bench` prints."""

from collections.abc import Iterator
from typing import Any

from .rates import Rates
from .step_waits import Step, outlook

_EPOCHS = {
    "first": "first epoch",
    "later": "later epochs, from memory",
    "each": "each epoch",
    "unknown": "but for the disk",
}

SMALL_BYTES = 1 << 26
"""Of a store: below, reading is over before a disk is at its speed."""

UNSTEADY = 2.0
"""Of the runs of one part of the path, how many times as fast the fastest may be as the slowest."""


def rate_lines(rates: Rates) -> Iterator[str]:
    """Yield what was measured, in 80 columns."""
    yield f"store     {rates.store}"
    yield (
        f"          {rates.num_samples:,} samples, {_gigabytes(rates.num_bytes)}; each "
        f"{rates.row_bytes / 1e6:.2f} MB stored, {rates.batch_bytes / 1e6:.2f} MB in a batch"
    )
    stays = "stays in memory" if rates.stays_in_memory else "does not fit in"
    yield f"machine   {rates.cores} cores, {_gigabytes(rates.free_bytes)} of memory free: the store {stays}"
    options = rates.options
    parts = f"{rates.parts} part{'s' if rates.parts > 1 else ''}"
    yield f"read      rows of {parts}, batches of {options.batch_size}, seed {options.seed}; medians of the runs"
    yield ""
    yield f"{'':<26}{'samples/s (lowest - highest)':>28}{'MB/s':>9}{'samples':>11}{'runs':>6}"
    for one in rates.measured:
        found = f"{one.median:,.0f} ({min(one.rates):,.0f} - {max(one.rates):,.0f})"
        moved = one.median * one.bytes_per_sample / 1e6
        yield f"{one.what:<26}{found:>28}{moved:>9,.0f}{one.samples:>11,.0f}{len(one.rates):>6}"
    if rates.num_bytes < SMALL_BYTES:
        yield "small     of so little, the disk and the copy show what a call takes"
    if any(max(one.rates) > UNSTEADY * min(one.rates) for one in rates.measured):
        yield "unsteady  some runs took less than half of others: is this machine busy?"
    if rates.why_no_disk:
        yield f"the disk  not measured: {rates.why_no_disk}"


def step_lines(rates: Rates, step: Step) -> Iterator[str]:
    """Yield whether a step waits for its samples, and how many workers would do."""
    yield ""
    yield (
        f"a step    {step.ranks} rank{'s' if step.ranks > 1 else ''} x {step.batch_size} samples every {1000 * step.seconds:g} ms: "
        f"{step.needed:,.0f} samples/s"
    )
    yield f"{'':<32}{'samples/s':>12}{'limited by':>14}{'waits':>8}{'step':>13}"
    for epoch, limits in rates.limits.items():
        found = outlook(step, limits)
        took = 1000 * step.seconds / (1 - found.waits)
        yield f"{_EPOCHS[epoch]:<32}{found.available:>12,.0f}{found.limit:>14}{found.waits:>8.0%}{took:>10,.0f} ms"
    yield f"workers   {_workers(rates, step)}"
    for limit in _beyond_workers(rates, step):
        yield f"          but the {limit} gives no more, however many they are"


def step_facts(rates: Rates, step: Step) -> dict[str, Any]:
    """Return the same as JSON values."""
    found = {epoch: outlook(step, limits) for epoch, limits in rates.limits.items()}
    return {
        "seconds": step.seconds,
        "samples_per_second_needed": step.needed,
        "epochs": {
            epoch: {"samples_per_second": one.available, "limit": one.limit, "waits": one.waits}
            for epoch, one in found.items()
        },
        "workers_enough": rates.fillers.workers_for(step.needed),
    }


def _workers(rates: Rates, step: Step) -> str:
    fillers = rates.fillers
    enough = fillers.workers_for(step.needed)
    if enough is None:
        cores = step.needed / fillers.per_core
        return f"too few cores: filling as many takes {cores:,.1f} of them, and there are {fillers.cores}"
    return f"{enough} for each rank fill{'s' if enough == 1 else ''} as many"


def _beyond_workers(rates: Rates, step: Step) -> list[str]:
    """Return what makes a step wait whatever fills the batches."""
    found = [outlook(step, limits) for limits in rates.limits.values()]
    return sorted({one.limit for one in found if one.waits} - {"processor"})


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"
