"""Batches from `DataLoader` workers to the trainer without new shared memory for each: only a slot's number travels.

torch sends every tensor through shared memory that is made for it, and faulting that in costs several times what
filling it does. Here the dataset brings a sparse, unnamed file. Each worker process takes a region of slots in it; a
batch lies in a slot until the trainer has let go of it, and the slot is filled again. Where no slot is free, or the
system has no such files, batches go torch's way: slower, and just as right.

The file begins with a table of states, one for each slot of each region. A process has the region of the number of which it
holds the file's byte locked, which the system lets go with it.

- FREE: the worker may fill it. Only the worker changes that.
- POSTED: filled, on its way or lost on it.
- LENT: the trainer holds tensors of it. Only the trainer sets this, and sets it free again.
"""

import fcntl
import mmap
import os
import weakref
from collections import Counter
from collections.abc import Mapping
from itertools import count
from multiprocessing import context, reduction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from .huge_pages import HUGE_PAGE, join_pages, make_pages, map_shared, new_array
from .slots import ArrayLayout, Pool

FREE, POSTED, LENT = 0, 1, 2

NUM_REGIONS = 256
"""Worker processes that may use one dataset at the same time."""
SLOTS_PER_REGION = 8
"""Batches of one worker that may be under way or held; DataLoader's prefetch_factor is 2 by default."""
JOIN_PAGES_AT = 16
"""Times that a slot is claimed before its pages are joined to huge ones: short runs do without, since that takes a while."""
SLOT_STRIDE = 1 << 33
"""Distance of slots in the sparse file: a larger batch goes torch's way."""

_TABLE_BYTES = HUGE_PAGE

_numbers = count()
_mailboxes: "weakref.WeakValueDictionary[tuple[int, int], Mailbox]" = weakref.WeakValueDictionary()
"""Those made in this process, by its id and a number."""


class Mailbox:
    """The slots of one dataset, shared by the trainer and its workers.

    Args:
        descriptor: the file, as another process has it; None makes one.
        name: what the trainer knows it by; None gives it one here.
    """

    def __init__(self, descriptor: int | None = None, name: tuple[int, int] | None = None) -> None:
        if descriptor is None:
            descriptor = os.memfd_create("resizeonce-mailbox")
            try:
                os.ftruncate(descriptor, _TABLE_BYTES + NUM_REGIONS * SLOTS_PER_REGION * SLOT_STRIDE)
            except OSError:
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        table = np.frombuffer(mmap.mmap(descriptor, _TABLE_BYTES), np.uint8)
        self.states = table[: NUM_REGIONS * SLOTS_PER_REGION].reshape(NUM_REGIONS, SLOTS_PER_REGION)
        """Of the slots of each region."""
        self._region: tuple[int, int] | None = None
        self._maps: dict[int, NDArray[np.uint8]] = {}
        self._times_claimed: Counter[int] = Counter()
        self.name = name or (os.getpid(), next(_numbers))
        _mailboxes[self.name] = self
        weakref.finalize(self, os.close, descriptor).atexit = False

    @classmethod
    def make(cls) -> "Mailbox | None":
        """Return a new one; None where this system has no unnamed shared files, or not so large ones (ulimit -f)."""
        try:
            return cls() if hasattr(os, "memfd_create") else None
        except OSError:
            return None

    def __reduce__(self) -> tuple[Any, ...]:
        # A descriptor can be handed over only while a process is being started.
        if context.get_spawning_popen() is None:
            return _nothing, ()
        return _open_copy, (reduction.DupFd(self._descriptor), self.name)

    def claim(self, slot_bytes: int) -> int | None:
        """Return a slot that this worker may fill, None where there is none."""
        if slot_bytes > SLOT_STRIDE:
            return None
        region = self._own_region()
        if region is None:
            return None
        free = np.flatnonzero(self.states[region] == FREE)
        if not len(free):
            return None
        slot = region * SLOTS_PER_REGION + int(free[0])
        try:
            if not self._is_mapped(slot, slot_bytes):
                make_pages(self.memory(slot, slot_bytes))
        except OSError:
            return None
        self._times_claimed[slot] += 1
        if self._times_claimed[slot] == JOIN_PAGES_AT:
            join_pages(self.memory(slot, slot_bytes))
        self.set_state(slot, POSTED)
        return slot

    def memory(self, slot: int, slot_bytes: int) -> NDArray[np.uint8]:
        """Return a slot's memory as a new array object."""
        if not self._is_mapped(slot, slot_bytes):
            # In place of a map of another size, which stays as long as a batch lies in it.
            self._maps[slot] = map_shared(self._descriptor, slot_bytes, _TABLE_BYTES + slot * SLOT_STRIDE)
        return new_array(self._maps[slot])

    def _is_mapped(self, slot: int, slot_bytes: int) -> bool:
        return slot in self._maps and self._maps[slot].size == slot_bytes

    def set_state(self, slot: int, state: int) -> None:
        """Say whose a slot is."""
        self.states[divmod(slot, SLOTS_PER_REGION)] = state

    def _own_region(self) -> int | None:
        """Return this process's region, taken when it is first asked for: after a fork, the child's own."""
        pid = os.getpid()
        if self._region is None or self._region[0] != pid:
            region = next(filter(self._lock_region, range(NUM_REGIONS)), None)
            if region is None:
                return None
            # What a dead worker had posted was never received; what the trainer still holds stays lent.
            states = self.states[region]
            states[states == POSTED] = FREE
            self._region = (pid, region)
        return self._region[1]

    def _lock_region(self, region: int) -> bool:
        """Take a region unless another process has it."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, region)
        except OSError:
            return False
        return True


class Posted:
    """A slot that a worker fills: to the trainer goes only where its tensors lie, as far as the batch still has these."""

    def __init__(self, mailbox: Mailbox, slot: int, layout: ArrayLayout) -> None:
        memory = mailbox.memory(slot, layout.slot_bytes)
        self.arrays = layout.views(memory)
        self.tensors: dict[str, torch.Tensor] = {}
        """Those of the batch that was made of the arrays."""
        self._name, self._slot, self._layout = mailbox.name, slot, layout
        # A batch that is not sent after all, but taken apart in the worker, gives its slot back here.
        self._unsent = weakref.finalize(memory, mailbox.set_state, slot, FREE)
        self._unsent.atexit = False

    def send(self, batch: Mapping[str, Any]) -> tuple[tuple[int, int], int, ArrayLayout] | None:
        """Return what `receive` takes; None where the batch has none of the tensors any more, or a copy of it was sent.

        Others were put in their place, or they were taken out, by whoever collates. A slot has one holder: it would be filled
        again as soon as the first of two is done with it.
        """
        there = {
            key: (tuple(tensor.shape), *self._layout.arrays[key][1:])
            for key, tensor in self.tensors.items()
            if batch.get(key) is tensor
        }
        if not there or not self._unsent.alive:
            return None
        self._unsent.detach()
        return self._name, self._slot, ArrayLayout(there, self._layout.slot_bytes)


class BatchMemory:
    """Memory for a dataset's batches: slots of a mailbox in a DataLoader's worker, else memory of a `Pool`."""

    def __init__(self, num_batches: int) -> None:
        self._pool = Pool(num_batches)
        self._mailbox = Mailbox.make()

    def take(self, layout: ArrayLayout) -> tuple[dict[str, NDArray[Any]], Posted | None]:
        """Return the arrays of a batch, and the slot that they are in."""
        if self._mailbox is not None and get_worker_info() is not None:
            slot = self._mailbox.claim(layout.slot_bytes)
            if slot is not None:
                posted = Posted(self._mailbox, slot, layout)
                return posted.arrays, posted
        memory = self._pool.take(layout.slot_bytes)
        if memory is not None:
            return layout.views(memory), None
        return {name: np.empty(shape, dtype) for name, (shape, dtype, _) in layout.arrays.items()}, None


def receive(name: tuple[int, int], slot: int, layout: ArrayLayout) -> dict[str, torch.Tensor]:
    """Return the tensors of a batch that a worker posted; the slot is theirs until the last of them is gone.

    Raises:
        RuntimeError: this is not the process that made the dataset.
    """
    mailbox = _mailboxes.get(name)
    if mailbox is None:
        raise RuntimeError("a batch of a DataLoader worker can only be received where its dataset was made")
    mailbox.set_state(slot, LENT)
    memory = mailbox.memory(slot, layout.slot_bytes)
    weakref.finalize(memory, mailbox.set_state, slot, FREE).atexit = False
    return tensors_of(layout.views(memory))


def tensors_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Return arrays as tensors that share their memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _open_copy(descriptor: Any, name: tuple[int, int]) -> Mailbox:
    return Mailbox(descriptor.detach(), name)


def _nothing() -> None:
    return None
