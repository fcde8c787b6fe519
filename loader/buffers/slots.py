"""Memory for batches: a few slots of equal size, made once and filled again and again, shared between processes or not.

Fresh memory for each batch costs as much as filling it: every page is faulted in and zeroed first. The file behind
shared slots has no name, so nothing of it outlives the processes that hold it, however they end.
"""

import fcntl
import math
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..format.limits import describe_limit
from .huge_pages import HUGE_PAGE, join_pages, make_pages, map_shared, new_array

MAX_STANDARD = 2
"""Highest descriptor of standard input, output and errors."""

JOIN_PAGES_AFTER = 64
"""Batches: a third more a second come out of huge pages, but making them takes up to a second of a processor, which the first
batches of a process need for themselves."""

ALIGNMENT = 4096
"""Arrays in a slot begin at pages."""


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """Where the arrays of a batch lie in a slot."""

    arrays: Mapping[str, tuple[tuple[int, ...], str, int]]
    """Shape, dtype and offset in bytes, by name."""
    slot_bytes: int
    batch_size: int = 1
    """Samples of the whole batch; of a smaller one each array has as many rows less."""

    @classmethod
    def of(cls, arrays: Mapping[str, tuple[tuple[int, ...], str]], batch_size: int = 1) -> "ArrayLayout":
        """Return the layout of the arrays of a batch, given by shape and dtype."""
        placed: dict[str, tuple[tuple[int, ...], str, int]] = {}
        end = 0
        for name, (shape, dtype) in arrays.items():
            placed[name] = (shape, dtype, end)
            size = math.prod(shape) * np.dtype(dtype).itemsize
            end += -(-size // ALIGNMENT) * ALIGNMENT
        return cls(placed, end, batch_size)

    def views(self, slot: NDArray[np.uint8], num_samples: int | None = None) -> dict[str, NDArray[Any]]:
        """Return the arrays in a slot, cut to `num_samples` where that is given; all of them keep `slot` alive."""
        num_samples = self.batch_size if num_samples is None else num_samples
        views = {}
        for name, (shape, dtype, start) in self.arrays.items():
            shape = (shape[0] // self.batch_size * num_samples, *shape[1:])
            size = math.prod(shape) * np.dtype(dtype).itemsize
            views[name] = slot[start : start + size].view(dtype).reshape(shape)
        return views


class Slots:
    """Slots in one unnamed file, mapped here and by whoever is given the file's descriptor; or in memory of this process.

    Args:
        num_slots: how many.
        slot_bytes: size of each, a multiple of `ALIGNMENT`.
        descriptor: the file, made by another `Slots`; None makes one.
        shared: whether another process is going to map it.

    Raises:
        RuntimeError: the system refuses the memory.
    """

    def __init__(
        self, num_slots: int, slot_bytes: int, descriptor: int | None = None, *, shared: bool = True
    ) -> None:
        self.num_slots = num_slots
        self.slot_bytes = slot_bytes
        size = max(-(-num_slots * slot_bytes // HUGE_PAGE), 1) * HUGE_PAGE
        self.descriptor = -1
        if shared:
            self.descriptor = _shared_file(size) if descriptor is None else descriptor
        try:
            if shared:
                self._memory = map_shared(self.descriptor, size)
            else:
                private = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                if hasattr(mmap, "MADV_HUGEPAGE"):
                    # Where the setting is "madvise" huge pages are for those who ask, and a first write makes them.
                    with suppress(OSError):
                        private.madvise(mmap.MADV_HUGEPAGE)
                self._memory = np.frombuffer(private, np.uint8)
        except OSError as err:
            self.close()
            raise RuntimeError(
                f"the batches can't have {size} bytes of memory: {describe_limit(err) or err}"
            ) from err

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy would close the descriptor, or fill the memory, of this one.
        raise TypeError("slots can't be copied: copy the BatchLoader")

    def make_pages(self) -> None:
        """Let shared slots have pages that can be joined, before anything is written to them."""
        if self.descriptor >= 0:
            make_pages(self._memory)

    def join_pages(self) -> threading.Thread:
        """Have the system put pages together to huge ones, in the thread that is returned; see `JOIN_PAGES_AFTER`.

        Where no thread can be started they stay small: nobody's batch fails for that.
        """
        thread = threading.Thread(
            target=join_pages, args=(self._memory,), name="resizeonce-huge-pages", daemon=True
        )
        with suppress(RuntimeError):
            thread.start()
        return thread

    def slot(self, number: int) -> NDArray[np.uint8]:
        """Return a slot as a new array object, which lives as long as any view of it."""
        start = number * self.slot_bytes
        return new_array(self._memory[start : start + self.slot_bytes])

    @property
    def owner(self) -> NDArray[np.uint8]:
        """The array that lives as long as any of a slot, and goes just before the memory does."""
        base = self._memory.base
        return base if isinstance(base, np.ndarray) else self._memory

    def address(self) -> int:
        """Return where the first slot is mapped in this process."""
        return self._memory.ctypes.data

    def close(self) -> None:
        """Close the file; memory stays mapped as long as an array of it lives."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Pool:
    """Memory for batches of this process, which is filled again when nothing of a batch is left.

    Args:
        num_slots: how many batches may be held before others get memory of their own.
    """

    def __init__(self, num_slots: int) -> None:
        self._num_slots = num_slots
        self._current = Slots(0, 0, shared=False), deque[int]()

    def __reduce__(self) -> tuple[Any, ...]:
        return Pool, (self._num_slots,)

    def take(self, slot_bytes: int) -> NDArray[np.uint8] | None:
        """Return memory that is free for as long as an array of it lives; None where there is none."""
        # Both at once: a number is never taken for a slot of other memory, whatever other threads do meanwhile.
        slots, free = self._current
        if slot_bytes != slots.slot_bytes:
            # Batches of another size: those that are held keep their memory.
            slots, free = Slots(self._num_slots, slot_bytes, shared=False), deque(range(self._num_slots))
            self._current = slots, free
        try:
            number = free.popleft()
        except IndexError:
            return None
        slot = slots.slot(number)
        weakref.finalize(slot, free.append, number).atexit = False
        return slot


def unnamed_file() -> int:
    """Return the descriptor of a new, empty file without a name: it goes with the last process that has it open."""
    if hasattr(os, "memfd_create"):
        return above_standard(os.memfd_create("resizeonce"))
    # Loaded where it is needed: with all that it loads it takes as long as the rest of this module.
    from tempfile import TemporaryFile

    with TemporaryFile() as file:
        return above_standard(os.dup(file.fileno()))


def above_standard(descriptor: int) -> int:
    """Return a descriptor as one above 2, in place of one that a daemon has closed: a new process has its own of those."""
    if descriptor > MAX_STANDARD:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, MAX_STANDARD + 1)
    finally:
        os.close(descriptor)


def _shared_file(size: int) -> int:
    descriptor = -1
    try:
        descriptor = unnamed_file()
        os.ftruncate(descriptor, size)
    except OSError as err:
        if descriptor >= 0:
            os.close(descriptor)
        raise RuntimeError(
            f"the batches of worker processes can't have a shared file of {size} bytes: {describe_limit(err) or err}"
        ) from err
    return descriptor
