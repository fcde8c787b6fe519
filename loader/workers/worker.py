"""What a worker does: it fills slots, in a process of its own or in a thread of the trainer's. It imports no torch.

How workers are started and ended is in `loader.workers.launch`.
"""

import os
import resource
import signal
import sys
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from numpy.typing import NDArray

from ..buffers.slots import ArrayLayout, Slots
from ..fill import BatchRows, Drawing, ReadAhead, SampleError
from ..format.limits import describe_limit
from ..order.draws import Draw, draw_key
from ..order.picks import Picks, draw_expression
from ..order.subset import Subset
from ..store import Store
from .channel import Channel, SocketChannel
from .damage import fill_readable


class Task(NamedTuple):
    """One batch to fill."""

    number: int
    slot: int
    picks: Picks


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker needs to know, once."""

    stores: tuple[Store, ...]
    layouts: tuple[ArrayLayout, ...]
    """Of a batch of each store; those of one kind are the same."""
    views: tuple[tuple[str, ...], ...]
    """Names of those to read of each store."""
    draws: tuple[tuple[Draw | None, Subset], ...]
    """What samples of each store are drawn by, None where they are the store's own; and which masks may be."""
    expressions: str
    compact: bool
    skip_damage: bool
    seed: int
    num_slots: int
    slot_bytes: int

    def layout_of(self, picks: Picks) -> ArrayLayout:
        """Return where the arrays of a batch lie in its slot."""
        return self.layouts[picks.store.item(0)]

    def rows_of(self, picks: Picks) -> BatchRows:
        """Return the samples of a batch."""
        numbers, samples = picks.store.tolist(), picks.sample.tolist()
        stores = [self.stores[number] for number in numbers]
        each = zip(numbers, picks.lap.tolist(), samples, strict=True)
        drawings = [self._drawing(*pick) for pick in each] if self.draws[numbers[0]][0] else None
        return BatchRows(stores, samples, self.views[numbers[0]], drawings)

    def _drawing(self, store: int, lap: int, number: int) -> Drawing:
        draw, subset = self.draws[store]
        # Stores of which samples are drawn and others are never in one batch.
        assert draw is not None
        return Drawing(draw, subset, draw_key(self.seed, store, lap, number))


def layout_for(
    store: Store, num_samples: int, views: Sequence[str], draw: Draw | None, *, compact: bool
) -> ArrayLayout:
    """Return where the arrays of a batch of a store lie."""
    arrays = store.array_layout(num_samples, views, compact=compact, draw=draw)
    return ArrayLayout.of(arrays, num_samples)


class Filled(NamedTuple):
    """What belongs to a batch beside its arrays."""

    others: dict[str, Any]
    """Its other keys."""
    damaged: list[SampleError]
    """Of the samples that others of the batch stand in for."""


Reply = tuple[int, Filled | Exception]
"""Number of the batch, and what became of it: an exception is raised in the trainer's thread."""


def serve(channel: Channel, setup: Setup, slots: Slots) -> None:
    """Fill what the trainer asks for, in order, until it closes the channel."""
    tasks: deque[tuple[Task, BatchRows]] = deque()
    ahead = ReadAhead()
    # The trainer is gone, or has closed this loader.
    with suppress(EOFError):
        while True:
            # Whatever is asked for already is read ahead before the first of it is filled.
            while not tasks or channel.has_message():
                message = channel.receive()
                if message is None:
                    return
                rows = setup.rows_of(message.picks)
                tasks.append((message, rows))
                ahead.prefetch(rows)
            task, rows = tasks.popleft()
            channel.send((task.number, _try_to_fill(task, rows, setup, slots)))


def fill_slot(task: Task, rows: BatchRows, setup: Setup, slots: Slots) -> Filled:
    """Fill the slot of a batch with its samples; return what else belongs to it; errors are those of `fill_arrays`."""
    arrays = setup.layout_of(task.picks).views(slots.slot(task.slot), len(task.picks))
    return fill_arrays(task.picks, rows, setup, arrays)


def fill_arrays(picks: Picks, rows: BatchRows, setup: Setup, arrays: Mapping[str, NDArray[Any]]) -> Filled:
    """Fill the arrays of a batch with its samples; return what else belongs to it.

    Raises:
        SampleError: a sample can't be read.
    """

    def choose(phrases: list[str], place: int) -> list[str]:
        if not phrases or setup.expressions == "all":
            return phrases
        if setup.expressions == "first":
            return phrases[:1]
        lap, sample = picks.lap.item(place), picks.sample.item(place)
        return [phrases[draw_expression(setup.seed, lap, sample, len(phrases))]]

    if setup.skip_damage:
        return Filled(*fill_readable(rows, arrays, choose))
    return Filled(rows.fill(arrays, choose), [])


def _try_to_fill(task: Task, rows: BatchRows, setup: Setup, slots: Slots) -> Filled | Exception:
    """Do what `fill_slot` does; return whatever it raises."""
    try:
        return fill_slot(task, rows, setup, slots)
    except SampleError as err:
        return err
    except Exception as err:
        # As text: not every exception can be sent, and its frames would keep the slots.
        return RuntimeError(f"a batch can't be filled: {err!r}\n{traceback.format_exc()}")


def main(slots_descriptor: int, stderr_descriptor: int, ends_descriptor: int, *descriptors: int) -> NoReturn:
    """Fork into a worker for each channel, and tell the trainer how each of them ended.

    What is printed before goes to a file: it tells the trainer why workers could not start.
    """
    # Each mapped file keeps a descriptor open, and systems that allow half a million begin with 1,024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if hasattr(os, "SCHED_BATCH"):
        # A worker that wakes up waits for a free core rather than take that of the trainer's thread from it.
        with suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    # Where the trainer ignores it, no child of this process could be waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    numbers: dict[int, int] = {}
    for number, descriptor in enumerate(descriptors):
        try:
            process = os.fork()
        except OSError as err:
            raise SystemExit(f"worker {number} can't be started: {describe_limit(err) or err}") from err
        if not process:
            # Whoever else held the end of a channel would keep its other end from being told that this one is closed.
            for other in (ends_descriptor, *descriptors[number + 1 :]):
                os.close(other)
            os.dup2(stderr_descriptor, 2)
            os.close(stderr_descriptor)
            _work(SocketChannel(descriptor), slots_descriptor)
            _end()
        os.close(descriptor)
        numbers[process] = number
    os.close(slots_descriptor)
    _print_to(stderr_descriptor)
    ends = SocketChannel(ends_descriptor)
    # The trainer may be gone.
    with suppress(EOFError):
        while numbers:
            process, status = os.wait()
            ends.send((numbers.pop(process), os.waitstatus_to_exitcode(status)))
    _end()


def _work(channel: SocketChannel, slots_descriptor: int) -> None:
    """Serve as a process of its own."""
    try:
        setup: Setup = channel.receive()
    except EOFError:
        return
    slots = Slots(setup.num_slots, setup.slot_bytes, slots_descriptor)
    # The map keeps the memory; the descriptor is not needed any more.
    slots.close()
    serve(channel, setup, slots)


def _end() -> NoReturn:
    """End at once: Python's own end takes its modules apart, and would copy the memory that workers share for that."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    os._exit(0)


def _print_to(descriptor: int) -> None:
    """Print there from now on, and there first what was printed until now, into a file."""
    printed = os.pread(2, os.fstat(2).st_size, 0)
    os.ftruncate(2, 0)
    os.dup2(descriptor, 2)
    # Who reads it may be gone.
    with suppress(OSError):
        os.write(2, printed)
    os.close(descriptor)
