"""What is read before workers are up: the first batches in their order, no more than allowed, and no thread stays."""

import dataclasses
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import coco_store
from worker_processes import children

from resizeonce.loader import BatchLoader, CacheOptions, Order, OrderOptions, SampleIndex, Store
from resizeonce.loader.buffers.slots import Slots
from resizeonce.loader.order.picks import Picks
from resizeonce.loader.part import Part
from resizeonce.loader.workers import first_batches
from resizeonce.loader.workers.batch_loader import BatchOptions, make_setup
from resizeonce.loader.workers.first_batches import FirstBatchesReader
from resizeonce.loader.workers.launch import Worker
from resizeonce.loader.workers.worker import Setup, Task


class Asked:
    """Stands in for `prefetch`; waits in each call until it may go on."""

    def __init__(self) -> None:
        self.samples: list[list[int]] = []
        self.stores: list[Store] = []
        self.may_go_on = threading.Event()
        self.came = threading.Event()

    def __call__(self, task: Any, setup: Any) -> None:
        self.samples.append(task.picks.sample.tolist())
        self.stores += setup.stores
        self.came.set()
        self.may_go_on.wait(60)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(first_batches, "prefetch", asked)
    return asked


@pytest.fixture
def unended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch ends nothing: all that was asked for comes, however fast the workers are."""
    monkeypatch.setattr(FirstBatchesReader, "end", lambda _: None)


def one_pick(sample: int) -> Picks:
    return Picks(*(np.array([number]) for number in (0, sample, 0, 0)))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "resizeonce-first-batches"]


def order_of(store: Store) -> Order:
    return Order([SampleIndex(store)], OrderOptions(shuffle=None))


def make_loader(store: Path | str, **options: Any) -> BatchLoader:
    return BatchLoader(order_of(Store(store, **options)), 2, workers=1, options=BatchOptions(mode="process"))


def setup_of(store: Path) -> Setup:
    """Return what the worker of such a loader knows."""
    return make_setup(order_of(Store(store)), 2, BatchOptions(), 4)


@pytest.mark.usefixtures("unended")
def test_the_first_batches_are_asked_for_once_in_their_order(store: Path, asked: Asked) -> None:
    asked.may_go_on.set()
    loader = make_loader(store)
    for _ in range(3):
        assert len(list(loader)) == 5
    loader.close()
    assert asked.samples == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


@pytest.mark.usefixtures("unended")
def test_no_more_is_asked_for_than_is_allowed(
    store: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.may_go_on.set()
    loader = make_loader(store)
    monkeypatch.setattr(first_batches, "FIRST_BYTES_THAT_STAY", 2 * setup_of(store).slot_bytes + 1)
    list(loader)
    loader.close()
    assert asked.samples == [[0, 1], [2, 3]]


def test_the_first_batch_that_comes_ends_it(store: Path, asked: Asked) -> None:
    loader = make_loader(store)
    iterator = iter(loader)
    next(iterator)
    asked.may_go_on.set()
    assert len(list(iterator)) == 4
    loader.close()
    # It may come before anything was asked for.
    assert asked.samples in ([], [[0, 1]])


def test_more_is_read_early_of_stores_that_stay_in_memory(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = dataclasses.replace(setup_of(store), slot_bytes=first_batches.FIRST_BYTES // 3)
    assert first_batches.count_first_batches(setup) == 24
    monkeypatch.setattr(setup.stores[0], "stays_in_memory", False)
    assert first_batches.count_first_batches(setup) == 3


@pytest.mark.usefixtures("unended")
def test_it_waits_while_much_waits_for_the_disk(
    store: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(first_batches.DISK_THREADS, "wait", waited.append)
    asked.may_go_on.set()
    loader = make_loader(store)
    list(loader)
    loader.close()
    assert waited == [first_batches.MAX_WAITING] * 5


def test_closing_ends_it_after_the_batch_that_it_is_at(store: Path, asked: Asked) -> None:
    tasks = [Task(number, -1, one_pick(number)) for number in range(3)]
    reader = FirstBatchesReader(setup_of(store), tasks)
    assert asked.came.wait(60)
    assert threads()
    timer = threading.Timer(0.2, asked.may_go_on.set)
    timer.start()
    reader.close()
    timer.join()
    assert not threads()
    assert asked.samples == [[0]]


@pytest.mark.usefixtures("unended")
def test_it_has_a_store_of_its_own(store: Path, asked: Asked) -> None:
    asked.may_go_on.set()
    trainers = Store(store)
    loader = BatchLoader(order_of(trainers), 2, workers=1, options=BatchOptions(mode="process"))
    list(loader)
    loader.close()
    assert asked.stores
    assert not any(one is trainers for one in asked.stores)


def test_parts_at_a_url_are_not_fetched_by_it(store: Path, asked: Asked, tmp_path: Path) -> None:
    loader = make_loader(store.as_uri(), cache=CacheOptions(folder=tmp_path))
    assert len(list(loader)) == 5
    loader.close()
    assert not asked.samples


def test_a_damaged_part_is_met_by_who_reads_it(tmp_path: Path) -> None:
    coco_store(tmp_path)
    for path in (tmp_path / "coco.zarr").glob("part-*/samples/mask/c/0/0"):
        path.write_bytes(b"")
    loader = make_loader(tmp_path / "coco.zarr")
    with pytest.raises(Exception, match="bytes, expected"):
        list(loader)
    loader.close()
    assert not threads()


def test_it_may_be_closed_in_its_own_thread_where_loaders_are_collected_too(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[FirstBatchesReader] = []
    is_there, closed = threading.Event(), []

    def close(*_: object) -> None:
        assert is_there.wait(60)
        readers[0].close()
        closed.append(1)

    monkeypatch.setattr(first_batches, "prefetch", close)
    task = Task(0, 0, one_pick(0))
    readers.append(FirstBatchesReader(setup_of(store), [task, task]))
    is_there.set()
    for thread in threading.enumerate():
        if thread.name == "resizeonce-first-batches":
            thread.join(60)
    assert closed == [1]


def test_a_ring_closes_its_workers_and_memory_whatever_goes_wrong(
    store: Path,
    asked: Asked,
    started: list[tuple[Slots, Sequence[Worker]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked.may_go_on.set()
    loader = make_loader(store)
    list(loader)
    ((slots, _),) = started
    assert len(children()) == 1

    def fail(_: FirstBatchesReader) -> None:
        raise RuntimeError("cannot close")

    monkeypatch.setattr(FirstBatchesReader, "close", fail)
    with pytest.raises(RuntimeError, match="cannot close"):
        loader.close()
    assert not children()
    assert slots.descriptor == -1


@pytest.mark.usefixtures("unended")
def test_where_no_thread_can_be_started_nothing_is_read_early(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        reader = FirstBatchesReader(setup_of(store), [])
    reader.close()


def test_it_keeps_no_part_open(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[weakref.ref[Part]] = []
    seen: list[int] = []
    prefetch = first_batches.prefetch

    class Seen(Part):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if threads() == [threading.current_thread().name]:
                opened.append(weakref.ref(self))

    def spy(task: Any, setup: Any) -> None:
        prefetch(task, setup)
        assert opened[-1]() is not None
        seen.append(task.number)

    monkeypatch.setattr("resizeonce.loader.open_parts.Part", Seen)
    monkeypatch.setattr(first_batches, "prefetch", spy)
    loader = make_loader(store)
    list(loader)
    loader.close()
    assert len(seen) == 5
    assert not any(part() for part in opened)


def test_tiny_batches_do_not_keep_the_trainer_waiting(store: Path) -> None:
    setup = setup_of(store)
    assert (
        first_batches.count_first_batches(dataclasses.replace(setup, slot_bytes=4096))
        == first_batches.MAX_BATCHES
    )
