"""Copies to a device that go on after a batch was let go, with events that are done when the test says so."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resizeonce.loader import Batch, BatchLoader, Order, OrderOptions, SampleIndex, Store
from resizeonce.loader.workers import ring
from resizeonce.loader.workers.batch_loader import BatchOptions
from resizeonce.loader.workers.device_copies import Copies
from resizeonce.loader.workers.worker import Task


class Device:
    """A device whose streams stand still until they are let run."""

    def __init__(self) -> None:
        self.events: list[FakeEvent] = []
        self.copies: list[Copies] = []
        self.waits = 0

    def new_event(self) -> "FakeEvent":
        event = FakeEvent(self)
        self.events.append(event)
        return event

    def run(self) -> None:
        """Finish all that was asked for."""
        for event in self.events:
            event.is_done = True


class FakeEvent:
    def __init__(self, device: Device) -> None:
        self.device = device
        self.stream: Any = "not recorded"
        self.is_done = False

    def record(self, stream: Any = None) -> None:
        self.stream = stream

    def query(self) -> bool:
        assert self.stream != "not recorded"
        return self.is_done

    def synchronize(self) -> None:
        self.device.waits += 1
        self.is_done = True


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """In place of pinning: what makes events, and for each loader what is copied."""
    device = Device()

    def copies(new_event: Any) -> Copies:
        device.copies.append(Copies(new_event))
        return device.copies[-1]

    monkeypatch.setattr(ring, "Copies", copies)
    monkeypatch.setattr(ring, "pin", lambda _: device.new_event)
    return device


def new_loader(store: Path, workers: int = 1, prefetch: int = 2, mode: Any = "thread") -> BatchLoader:
    order = Order([SampleIndex(Store(store))], OrderOptions(shuffle=None))
    options = BatchOptions(mode=mode, tensors=("masks",))
    return BatchLoader(order, 1, workers, prefetch, pin_memory=True, options=options)


def test_no_slot_is_filled_again_before_the_copy_from_it_is_over(
    store: Path, device: Device, sent: list[Task]
) -> None:
    loader = new_loader(store)
    iterator = iter(loader)
    # Four slots: two that are filled ahead, and two that may be held.
    for _ in range(2):
        next(iterator)
    assert [task.slot for task in sent] == [0, 1, 2, 3]
    assert [event.stream for event in device.events] == [None, None]
    assert not device.waits
    # Both copies are under way still, and the two that are filled are all there is.
    next(iterator)
    assert len(sent) == 4
    device.events[0].is_done = True
    next(iterator)
    # Slot 0 alone, though 2 was let go, too.
    assert [task.slot for task in sent[4:]] == [0]
    device.run()
    assert len(list(iterator)) == 6
    loader.close()


def test_where_nothing_else_is_left_the_loader_waits_for_the_device(
    store: Path, device: Device, sent: list[Task]
) -> None:
    loader = new_loader(store, prefetch=1)
    opened = Store(store)
    for number, batch in enumerate(loader):
        assert np.array_equal(batch["masks"].numpy(), opened.batch([number], ("masks",))["masks"])
        del batch
    assert device.waits > 0
    assert len(sent) >= 10
    loader.close()


def test_a_batch_waits_also_for_the_streams_it_was_told_of(store: Path, device: Device) -> None:
    loader = new_loader(store)
    iterator = iter(loader)
    batch = next(iterator)
    batch.record_stream("side")
    masks = batch["masks"]
    del batch
    # Not let go as long as any tensor of it is held.
    assert not device.events
    del masks
    assert [event.stream for event in device.events] == [None, "side"]
    (copies,) = device.copies
    device.events[0].is_done = True
    assert copies.take() is None
    device.events[1].is_done = True
    assert copies.take() == 0
    loader.close()


def test_a_batch_may_be_let_go_by_another_thread(store: Path, device: Device) -> None:
    loader = new_loader(store)
    held = [next(iter(loader))]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert [event.stream for event in device.events] == [None]
    loader.close()


def test_closing_waits_for_copies_before_the_memory_goes(store: Path, device: Device) -> None:
    loader = new_loader(store)
    iterator = iter(loader)
    held = next(iterator)
    next(iterator)
    loader.close()
    assert device.events[0].is_done
    # What is held until after that is waited for when it is let go: its memory goes with it.
    del held
    assert [event.is_done for event in device.events] == [True, True]


def test_batches_that_lie_in_memory_of_their_own_wait_for_nothing(store: Path, device: Device) -> None:
    loader = new_loader(store)
    held = list(loader)
    # Two lie in the ring, the others were copied out of it.
    for batch in held:
        batch.record_stream("side")
    held.clear()
    assert [event.stream for event in device.events] == 2 * [None, "side"]
    loader.close()


def test_a_batch_that_is_let_go_while_all_are_waited_for_is_waited_for_as_well() -> None:
    class LettingGo(FakeEvent):
        def synchronize(self) -> None:
            super().synchronize()
            if len(device.events) < 3:
                copies.let_go(len(device.events), [])

    device = Device()

    def new_event() -> FakeEvent:
        device.events.append(LettingGo(device))
        return device.events[-1]

    copies = Copies(new_event)
    copies.let_go(0, [])
    copies.wait()
    assert [event.is_done for event in device.events] == [True, True, True]


def test_slots_come_back_in_the_order_in_which_they_were_let_go() -> None:
    device = Device()
    copies = Copies(device.new_event)
    assert copies.take(wait=True) is None
    copies.let_go(3, [])
    copies.let_go(1, [])
    device.events[1].is_done = True
    assert copies.take() is None
    assert copies.take(wait=True) == 3
    assert copies.take() == 1
    assert copies.take() is None


def test_a_batch_of_another_place_takes_a_stream_and_needs_none() -> None:
    batch = Batch(masks=torch.zeros(1))
    batch.record_stream("side")
    assert batch.streams is None
