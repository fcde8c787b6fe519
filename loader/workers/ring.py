"""The ring: slots that workers fill and the trainer empties, and who holds which."""

import os
import weakref
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from itertools import count
from typing import Any

import torch

from ..batch import Batch
from ..buffers.slots import JOIN_PAGES_AFTER, Slots
from ..fill import BatchRows, ReadAhead, SampleError
from ..order.plan import EpochPlan
from ..own_size import MaskRoom
from ..readahead.free_memory import total_bytes
from .damage import SkippedSamples
from .device_copies import Copies, pin
from .handle import Worker
from .launch import end_workers, start_workers
from .make_batch import make_batch
from .worker import Filled, Setup, Task, fill_slot

MAX_LENT = 2
"""Batches of the ring that the trainer may hold at once: the one it works on, and the next while it is handed over."""

WORKER_BYTES = {"process": 4 << 20, "thread": 1 << 20}
"""What a worker takes of memory at least, beside what it shares with the others: each has its own stores."""


class Ring:
    """Slots, the workers that fill them, and which of them the trainer holds; options are those of `BatchLoader`.

    Without workers, the trainer's thread fills each batch when it asks for it.

    Raises:
        RuntimeError: slots and workers need more memory than there is, or the system refuses it.
    """

    def __init__(
        self,
        setup: Setup,
        skipped: SkippedSamples,
        num_workers: int,
        mode: str,
        *,
        pin_memory: bool,
        timeout: float | None = None,
    ) -> None:
        self._setup = setup
        self._skipped = skipped
        self._process = os.getpid()
        self._timeout = timeout
        # Pinned memory stays where it is in a process that forks only if it is shared.
        is_shared = pin_memory or (num_workers > 0 and mode == "process")
        _check_memory(setup, num_workers, mode)
        self._slots = Slots(setup.num_slots, setup.slot_bytes, shared=is_shared)
        self._room = MaskRoom(MAX_LENT, torch.from_numpy)
        self._ahead = ReadAhead()
        self._free = deque(range(setup.num_slots))
        # One for each slot that the trainer holds.
        self._lent: set[object] = set()
        # Of pinned slots that were let go, those that the device may still read.
        self._copies: Copies | None = None
        self._in_flight: deque[tuple[Task, Worker | BatchRows]] = deque()
        self._tasks: Iterator[Task] = iter(())
        # The epoch of which batches are filled already, while none is under way.
        self._coming: EpochPlan | None = None
        self._is_new = True
        self._num_filled = 0
        self._pin_memory = pin_memory
        self.is_closed = False
        self._start_workers = partial(start_workers, num_workers, mode, setup, self._slots)
        self._workers: Sequence[Worker] = ()
        # Processes take a while to start. Meanwhile a thread fills a batch for each of them, and ends; not where it would
        # have to fetch parts: it would hold up the trainer's thread with that.
        is_local = all(store.is_local for store in setup.stores)
        self._left_to_starter = num_workers if mode == "process" and is_local else 0
        self._start_starter = partial(start_workers, 1, "thread", setup, self._slots)
        self._starter: Sequence[Worker] = ()

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was made here: in a process that was forked from that one it has neither threads nor workers."""
        return self._process == os.getpid()

    def fill(self, plan: EpochPlan) -> Generator[Batch, None, None]:
        """Yield each batch of an epoch in order, while the ones to come are filled, also those of the next epoch."""
        if plan != self._coming:
            self._drain()
            if self._is_new:
                self._begin()
            self._tasks = self._all_tasks(plan)
        self._coming = None
        self._start()
        for left in reversed(range(len(plan))):
            # A list gives the batch away: a name would hold it until the next one.
            ready = [self._finish()]
            self._start()
            self._num_filled += 1
            if self._num_filled == JOIN_PAGES_AFTER and not self._pin_memory:
                self._slots.join_pages()
            if not left:
                # Nobody may ask for more than there is.
                self._coming = self._after(plan)
            yield ready.pop()

    def _all_tasks(self, plan: EpochPlan | None) -> Iterator[Task]:
        """Yield the batches of an epoch and of those after it."""
        numbers = count()
        # A rank may have no batch at all, or none of what is left of an epoch.
        while plan is not None and len(plan):
            for picks in plan:
                yield Task(next(numbers), -1, picks)
            plan = self._after(plan)

    def _after(self, plan: EpochPlan) -> EpochPlan | None:
        """Return the next epoch; None where it can't be, and whoever asks for it learns why.

        None also for stores at a URL: nobody would fetch a part for an epoch that may not come.
        """
        with suppress(ValueError):
            return plan.next_epoch() if all(store.is_local for store in self._setup.stores) else None
        return None

    def _begin(self) -> None:
        """Start workers, and do what can be done meanwhile; they fill nothing before they are asked to."""
        self._is_new = False
        self._workers = self._start_workers()
        if self._left_to_starter:
            try:
                self._starter = self._start_starter()
            except RuntimeError:
                # Where no thread can be started, processes fill the first batches as well.
                self._left_to_starter = 0
        self._slots.make_pages()
        if self._pin_memory:
            # Before that: pages that are pinned stay as they are.
            joining = self._slots.join_pages()
            if joining.ident is not None:
                joining.join()
            new_event = pin(self._slots)
            self._copies = None if new_event is None else Copies(new_event)

    def close(self) -> None:
        """End the workers; memory stays as long as a batch of it is held.

        In a process that was forked from the one that has the ring, nobody but this process notices.
        """
        if self.is_closed:
            return
        self.is_closed = True
        workers = (*self._workers, *self._starter)
        self._workers = self._starter = ()
        self._in_flight.clear()
        # What comes next knows this ring: memory would stay until that circle is found.
        self._tasks = iter(())
        with ExitStack() as stack:
            # Whatever one of them raises, the others are closed.
            stack.callback(self._slots.close)
            if not self.is_of_this_process:
                for worker in workers:
                    worker.forget()
                return
            if self._copies is not None:
                stack.callback(self._copies.wait)
            stack.callback(end_workers, workers)

    def _start(self) -> None:
        """Ask for further batches, as many as are filled ahead and have a slot that is free."""
        while len(self._in_flight) < self._setup.num_slots - MAX_LENT and self._find_slot():
            if (task := next(self._tasks, None)) is None:
                return
            task = Task(task.number, self._free.popleft(), task.picks)
            if (worker := self._choose_worker()) is not None:
                self._in_flight.append((task, worker))
                worker.send(task, self._timeout)
            else:
                # It is filled when it is asked for; the disk begins now.
                rows = self._setup.rows_of(task.picks)
                self._in_flight.append((task, rows))
                self._ahead.prefetch(rows)

    def _choose_worker(self) -> Worker | None:
        """Return who fills the next batch, None for the trainer's thread."""
        if self._left_to_starter:
            self._left_to_starter -= 1
            return self._starter[0]
        # Whoever has least to do: one that shares its core with the trainer fills fewer batches than the others.
        return min(self._workers, key=lambda one: one.count_unfinished(), default=None)

    def _find_slot(self) -> bool:
        """Whether a slot is free; where none is, and nothing is being filled, after a wait for copies to a device."""
        if self._copies is not None:
            while (slot := self._copies.take(wait=not self._free and not self._in_flight)) is not None:
                self._free.append(slot)
        return bool(self._free)

    def _finish(self) -> Batch:
        """Wait for the batch that is next; errors are those of `_receive`."""
        task, filler = self._in_flight.popleft()
        try:
            others, damaged = self._receive(task, filler)
        except SampleError:
            self._free.append(task.slot)
            raise
        slot = self._slots.slot(task.slot)
        arrays = self._setup.layout_of(task.picks).views(slot, len(task.picks))
        streams: list[Any] | None = None
        if len(self._lent) < MAX_LENT:
            lent = object()
            self._lent.add(lent)
            if self._copies is not None:
                streams = []
            # Every tensor below keeps the slot's array alive; with the last of them it goes.
            weakref.finalize(slot, self._give_back, task.slot, lent, streams).atexit = False
        else:
            arrays = {name: array.copy() for name, array in arrays.items()}
            self._free.append(task.slot)
        # Here, and not by a worker: what would come from its process is a thousand times as large as the run lengths.
        self._room.expand(others)
        batch = make_batch(self._setup, task.picks, arrays, others)
        batch.streams = streams
        self._skipped.add(damaged)
        return batch

    def _receive(self, task: Task, filler: Worker | BatchRows) -> Filled:
        """Return what belongs to a batch beside its arrays, of the worker that was asked for it, or filled here.

        Raises:
            SampleError: a sample can't be read.
            RuntimeError: the worker died, or timed out, or could not fill it for any other reason.
        """
        if isinstance(filler, BatchRows):
            return fill_slot(task, filler, self._setup, self._slots)
        # It fills in the order in which it was asked, so this is the next that comes from it.
        number, filled = filler.receive(self._timeout)
        if number != task.number and not isinstance(filled, Exception):
            raise RuntimeError(f"a worker of the BatchLoader sent batch {number}, not {task.number}")
        if filler in self._starter and not self._left_to_starter and not filler.count_unfinished():
            end_workers(self._starter)
            self._starter = ()
        if isinstance(filled, Exception):
            try:
                raise filled
            finally:
                # Its traceback holds this frame, and with it all memory of the ring.
                del filled
        return filled

    def _give_back(self, slot: int, lent: object, streams: Sequence[Any] | None) -> None:
        """Take a slot that the trainer let go of, in whichever thread that was."""
        if not self.is_of_this_process:
            return
        if self._copies is None or streams is None:
            self._free.append(slot)
        else:
            self._copies.let_go(slot, streams)
            if self.is_closed:
                # Nobody fills it again, but its memory goes.
                self._copies.wait()
        self._lent.discard(lent)

    def _drain(self) -> None:
        """Wait for what an iteration that was broken off had asked for."""
        while self._in_flight:
            task, filler = self._in_flight.popleft()
            if isinstance(filler, Worker):
                # Whatever was wrong with it, nobody wants it any more.
                with suppress(SampleError):
                    self._receive(task, filler)
            self._free.append(task.slot)


def _check_memory(setup: Setup, num_workers: int, mode: str) -> None:
    """Raise `RuntimeError` where there is not so much memory: a shared file has any size, until it is written to and a process is killed."""
    needed, total = setup.num_slots * setup.slot_bytes + num_workers * WORKER_BYTES[mode], total_bytes()
    if total is not None and needed > total:
        raise RuntimeError(
            f"{setup.num_slots} batches of {setup.slot_bytes:,} bytes, as many as are filled ahead and may be held, and "
            f"{num_workers} workers take {needed:,} bytes of memory, and this machine has, or this container may "
            f"take, {total:,}: give a smaller batch_size, fewer workers or a smaller prefetch"
        )
