"""Copies of batches that go on while the trainer does: a slot is filled again when all that read it are over.

`tensor.to("cuda", non_blocking=True)` of pinned memory returns at once, and the device reads the memory later. When the
last tensor of a batch is gone, an event is recorded behind all that was asked for on the stream that is current there, and
on each stream that the batch was told of. The slot waits for these events, as torch's own pinned memory does.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Event(Protocol):
    """A mark in a stream of a device; `torch.cuda.Event` is one."""

    def record(self, stream: Any = None) -> None:
        """Set the mark behind all that was asked for on a stream so far; None is the current one."""

    def query(self) -> bool:
        """Whether all before the mark is over."""

    def synchronize(self) -> None:
        """Wait until it is."""


class Copies:
    """The slots that copies may still read, in the order in which they were let go.

    Args:
        new_event: makes an event.
    """

    def __init__(self, new_event: Callable[[], Event]) -> None:
        self._new_event = new_event
        self._under_way: deque[tuple[int, list[Event]]] = deque()

    def let_go(self, slot: int, streams: Sequence[Any]) -> None:
        """Take a slot that nobody holds any more.

        Args:
            slot: its number.
            streams: those besides the current one that may have read it.
        """
        events = []
        for stream in (None, *streams):
            event = self._new_event()
            event.record(stream)
            events.append(event)
        self._under_way.append((slot, events))

    def take(self, *, wait: bool = False) -> int | None:
        """Return the slot that was let go first, once nothing reads it any more; None where there is none yet.

        Args:
            wait: whether to wait for it.
        """
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
