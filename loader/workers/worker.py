"""What a worker does: it fills slots, in a process of its own or in a thread of the trainer's. It imports no torch.

How they are started and ended is in `loader.workers.launch`, and of processes in `loader.workers.fork_server`.
"""

import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..buffers.slots import ArrayLayout, Slots
from ..fill import BatchRows, Drawing, ReadAhead, SampleError
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
        return _in_words("a batch can't be filled", err)


def _in_words(what: str, error: Exception) -> RuntimeError:
    # As text: not every exception can be sent, and its frames would keep the slots.
    return RuntimeError(f"{what}: {error!r}\n{''.join(traceback.format_exception(error))}")


def work(channel: SocketChannel, slots_descriptor: int) -> None:
    """Serve as a process of its own; where that can't begin, the trainer is told why in the place of a batch."""
    try:
        setup: Setup = channel.receive()
        slots = Slots(setup.num_slots, setup.slot_bytes, slots_descriptor)
        # The map keeps the memory; the descriptor is not needed any more.
        slots.close()
    except EOFError:
        return
    except Exception as err:
        with suppress(EOFError):
            channel.send((-1, _in_words("a worker process of the BatchLoader can't begin", err)))
        return
    serve(channel, setup, slots)
