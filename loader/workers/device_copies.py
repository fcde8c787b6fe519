"""Copies of batches that go on while the trainer does: a slot is filled again when all that read it are over.

`tensor.to("cuda", non_blocking=True)` of pinned memory returns at once, and the device reads the memory later. When the
last tensor of a batch is gone, an event is recorded behind all that was asked for on the stream that is current there, and
on each stream that the batch was told of. The slot waits for these events, as torch's own pinned memory does.
"""

import os
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..buffers.slots import Slots


class Copies:
    """The slots that copies may still read, in the order in which they were let go; events are those of `torch.cuda`."""

    def __init__(self, new_event: Callable[[], Any]) -> None:
        self._new_event = new_event
        self._under_way: deque[tuple[int, list[Any]]] = deque()

    def let_go(self, slot: int, streams: Sequence[Any]) -> None:
        """Take a slot that nobody holds any more; `streams` are those besides the current one that may have read it."""
        events = []
        for stream in (None, *streams):
            event = self._new_event()
            event.record(stream)
            events.append(event)
        self._under_way.append((slot, events))

    def take(self, *, wait: bool = False) -> int | None:
        """Return the slot that was let go first, once nothing reads it any more; None where there is none yet, and no wait."""
        if not self._under_way:
            return None
        slot, events = self._under_way[0]
        for event in events:
            if wait:
                event.synchronize()
            elif not event.query():
                return None
        self._under_way.popleft()
        return slot

    def wait(self) -> None:
        """Wait until nothing reads any slot that was let go, before their memory goes."""
        while self._under_way:
            _, events = self._under_way.popleft()
            for event in events:
                event.synchronize()


def pin(slots: Slots) -> Callable[[], Any] | None:
    """Pin slots for a CUDA device; return what makes events there, None without one."""
    if not torch.cuda.is_available():
        warnings.warn("pin_memory=True without a CUDA device: the buffers are not pinned", stacklevel=5)
        return None
    cuda: Any = torch.cuda
    status = cuda.cudart().cudaHostRegister(slots.address(), slots.num_slots * slots.slot_bytes, 0)
    if int(status) != 0:
        raise RuntimeError(f"the batch buffers can't be pinned: cudaHostRegister returned {int(status)}")
    weakref.finalize(slots.owner, _unpin, os.getpid(), slots.address()).atexit = False
    return torch.cuda.Event


def _unpin(process: int, address: int) -> None:
    # A process that was forked can't use the device.
    if process == os.getpid():
        cuda: Any = torch.cuda
        cuda.cudart().cudaHostUnregister(address)
