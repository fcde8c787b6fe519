"""What `resizeonce bench` prints."""

from collections.abc import Iterator
from typing import Any

from ..run.forecast import format_bytes
from .rates import Rates, Step

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
        f"          {rates.samples:,} samples, {format_bytes(rates.bytes)}; each {rates.row_bytes_per_sample / 1e6:.2f} MB "
        f"stored, {rates.batch_bytes_per_sample / 1e6:.2f} MB in a batch"
    )
    stays = "stays in memory" if rates.stays_in_memory else "does not fit in"
    yield f"machine   {rates.cores} cores, {format_bytes(rates.free_bytes)} of memory free: the store {stays}"
    options = rates.options
    parts = f"{rates.parts_read} part{'s' if rates.parts_read > 1 else ''}"
    yield f"read      rows of {parts}, batches of {options.batch_size}, seed {options.seed}; medians of the runs"
    yield ""
    yield f"{'':<26}{'samples/s (lowest - highest)':>28}{'MB/s':>9}{'samples':>11}{'runs':>6}"
    for one in rates.measured:
        found = f"{one.median:,.0f} ({min(one.rates):,.0f} - {max(one.rates):,.0f})"
        moved = one.median * one.bytes_per_sample / 1e6
        yield f"{one.what:<26}{found:>28}{moved:>9,.0f}{one.samples:>11,.0f}{len(one.rates):>6}"
    if rates.bytes < SMALL_BYTES:
        yield "small     of so little, the disk and the copy show what a call takes"
    if any(max(one.rates) > UNSTEADY * min(one.rates) for one in rates.measured):
        yield "unsteady  some runs took less than half of others: is this machine busy?"
    if rates.disk_not_measured:
        yield f"the disk  not measured: {rates.disk_not_measured}"


def step_lines(rates: Rates, step: Step) -> Iterator[str]:
    """Yield whether a step waits for its samples, and how many workers would do."""
    yield ""
    yield (
        f"a step    {step.ranks} rank{'s' if step.ranks > 1 else ''} x {step.batch_size} samples every {1000 * step.seconds:g} ms: "
        f"{step.needed:,.0f} samples/s"
    )
    yield f"{'':<32}{'samples/s':>12}{'limited by':>14}{'waits':>8}{'step':>13}"
    waited_for = set()
    for epoch, limits in rates.limits.items():
        given, limit, waits = step.outlook(limits)
        took = 1000 * step.seconds / (1 - waits)
        yield f"{_EPOCHS[epoch]:<32}{given:>12,.0f}{limit:>14}{waits:>8.0%}{took:>10,.0f} ms"
        if waits:
            waited_for.add(limit)
    enough = rates.workers_for(step.needed)
    if enough is None:
        cores = step.needed / rates.per_core
        yield f"workers   too few cores: filling as many takes {cores:,.1f} of them, and there are {rates.cores}"
    else:
        yield f"workers   {enough} for each rank fill{'s' if enough == 1 else ''} as many"
    for limit in sorted(waited_for - {"processor"}):
        yield f"          but the {limit} gives no more, however many they are"


def step_facts(rates: Rates, step: Step) -> dict[str, Any]:
    """Return the same as JSON values."""
    return {
        "seconds": step.seconds,
        "samples_per_second_needed": step.needed,
        "epochs": {epoch: step.outlook(limits)._asdict() for epoch, limits in rates.limits.items()},
        "workers_enough": rates.workers_for(step.needed),
    }
