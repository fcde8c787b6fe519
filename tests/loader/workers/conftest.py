"""What a loader makes where nobody sees it: its rings, and what fills batches for them."""

import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from resizeonce.loader.buffers.slots import Slots
from resizeonce.loader.workers import ring
from resizeonce.loader.workers.handle import Worker
from resizeonce.loader.workers.ring import Ring
from resizeonce.loader.workers.worker import Setup, Task


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Ring]]:
    """Every ring that is made, held by nobody here."""
    made: list[weakref.ref[Ring]] = []

    class Seen(Ring):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(weakref.ref(self))

    monkeypatch.setattr("resizeonce.loader.workers.batch_loader.Ring", Seen)
    return made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """What workers are asked to fill, in order."""
    sent: list[Task] = []
    send = Worker.send

    def spy(self: Worker, task: Task, timeout: float | None = None) -> None:
        sent.append(task)
        send(self, task, timeout)

    monkeypatch.setattr(Worker, "send", spy)
    return sent


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Slots, Sequence[Worker]]]:
    """The slots and the workers of every ring that starts some."""
    started: list[tuple[Slots, Sequence[Worker]]] = []
    start_workers = ring.start_workers

    def start(number: int, mode: str, setup: Setup, slots: Slots) -> Sequence[Worker]:
        started.append((slots, start_workers(number, mode, setup, slots)))
        return started[-1][1]

    monkeypatch.setattr(ring, "start_workers", start)
    return started
