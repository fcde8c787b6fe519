"""Which worker fills what, and what is filled ahead: also of the next epoch, where it is the one that comes."""

import gc
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from stores import coco_store

from resizeonce.loader import BatchLoader, CacheOptions, Order, OrderOptions, SampleIndex, Store
from resizeonce.loader.buffers.slots import Slots
from resizeonce.loader.fill import SampleError
from resizeonce.loader.order.plan import Batching
from resizeonce.loader.workers import launch, ring
from resizeonce.loader.workers.batch_loader import BatchOptions
from resizeonce.loader.workers.handle import Worker
from resizeonce.loader.workers.ring import Ring
from resizeonce.loader.workers.worker import Reply, Setup, Task, fill_slot

WAYS = [(0, "thread"), (2, "thread"), (2, "process")]
PREFETCH = 3


def order_of(store: Path | str, **cache: Any) -> Order:
    return Order([SampleIndex(Store(store, **cache))], OrderOptions(seed=5))


def make_loader(store: Path | str, workers: int = 2, mode: Any = "thread", **cache: Any) -> BatchLoader:
    return BatchLoader(order_of(store, **cache), 2, workers, PREFETCH, options=BatchOptions(mode=mode))


def samples(tasks: Sequence[Task]) -> list[list[int]]:
    return [task.picks.sample.tolist() for task in tasks]


def expected(store: Path, epoch: int, batch_size: int = 2) -> list[list[str]]:
    """Return the keys of each batch of an epoch, as the order itself has them."""
    opened = Store(store)
    plan = order_of(store).plan(Batching(batch_size=batch_size), epoch)
    return [[opened.key(sample) for sample in picks.sample.tolist()] for picks in plan]


def keys(batches: Any) -> list[list[str]]:
    return [batch["key"] for batch in batches]


def test_the_next_epoch_is_filled_while_the_last_batches_are_worked_on(store: Path, sent: list[Task]) -> None:
    loader = make_loader(store)
    last = list(loader)[-1]
    assert len(sent) == 5 + PREFETCH
    opened = Store(store)
    ahead = [[opened.key(sample) for sample in batch] for batch in samples(sent[5:])]
    assert ahead == expected(store, 1)[:PREFETCH]
    assert last["key"] == expected(store, 0)[-1]
    for epoch in range(1, 4):
        assert keys(loader) == expected(store, epoch)
    # Nothing was asked for twice.
    assert len(sent) == 4 * 5 + PREFETCH
    loader.close()


@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_each_epoch_has_its_own_batches_whatever_was_filled_for_it(
    store: Path, workers: int, mode: str
) -> None:
    loader = make_loader(store, workers, mode)
    assert keys(loader) == expected(store, 0)
    assert keys(loader) == expected(store, 1)
    # Another epoch than the one that comes.
    loader.set_epoch(7)
    assert keys(loader) == expected(store, 7)
    # The one that comes, named as Lightning does.
    loader.set_epoch(8)
    assert keys(loader) == expected(store, 8)
    # The one that comes, broken off.
    iterator = iter(loader)
    assert [next(iterator)["key"] for _ in range(2)] == expected(store, 9)[:2]
    state = loader.state_dict()
    assert keys(loader) == expected(store, 9)
    loader.load_state_dict(state)
    assert keys(loader) == expected(store, 9)[2:]
    assert keys(loader) == expected(store, 10)
    loader.close()


def test_an_epoch_of_fewer_batches_than_are_filled_ahead(store: Path, sent: list[Task]) -> None:
    loader = BatchLoader(order_of(store), 10, 2, 7, options=BatchOptions(mode="thread"))
    for epoch in range(5):
        assert keys(loader) == expected(store, epoch, batch_size=10)
        assert len(sent) == epoch + 1 + 7
    loader.close()


def test_an_epoch_left_after_its_last_batch_is_over(store: Path, sent: list[Task]) -> None:
    loader = make_loader(store)
    iterator = iter(loader)
    for _ in range(5):
        next(iterator)
    # Lightning knows the length, and asks for no further batch.
    assert keys(loader) == expected(store, 1)
    assert len(sent) == 2 * 5 + PREFETCH
    loader.close()


def test_nothing_is_fetched_for_an_epoch_that_may_not_come(
    store: Path, sent: list[Task], tmp_path: Path
) -> None:
    loader = make_loader(store.as_uri(), cache=CacheOptions(folder=tmp_path))
    for epoch in range(3):
        assert keys(loader) == expected(store, epoch)
        assert len(sent) == 5 * (epoch + 1)
    loader.close()


def test_a_sample_of_the_next_epoch_that_can_not_be_read_is_an_error_there(tmp_path: Path) -> None:
    coco_store(tmp_path)
    opened = Store(tmp_path / "coco.zarr")
    order = Order([SampleIndex(opened)], OrderOptions(shuffle=None))
    loader = BatchLoader(order, 2, 1, PREFETCH, options=BatchOptions(mode="thread"))
    iterator = iter(loader)
    next(iterator)
    path = next((tmp_path / "coco.zarr/part-00000/images/g_pixel_values").glob("c/0/0/0/0"))
    with path.open("r+b") as file:
        file.write(b"\xaa\x55" * 500)
    assert len(list(iterator)) == 4
    with pytest.raises(SampleError, match="checksum is wrong"):
        next(iter(loader))
    loader.close()


def test_closing_while_the_next_epoch_is_filled_leaves_nothing(store: Path) -> None:
    loader = make_loader(store)
    list(loader)
    loader.close()
    assert "BatchLoader" not in [thread.name for thread in threading.enumerate()]
    assert keys(loader) == expected(store, 1)
    loader.close()


@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_a_closed_loader_lets_go_of_its_memory_at_once(
    store: Path, rings: list[weakref.ref[Ring]], workers: int, mode: str
) -> None:
    loader = make_loader(store, workers, mode)
    for batch in loader:
        del batch
    (gone,) = rings
    # Without looking for circles, which may take long to happen.
    gc.disable()
    try:
        loader.close()
        assert gone() is None
    finally:
        gc.enable()


def test_closed_in_mid_epoch_it_lets_go_as_soon_as_nobody_iterates(
    store: Path, rings: list[weakref.ref[Ring]]
) -> None:
    loader = make_loader(store)
    iterator = iter(loader)
    next(iterator)
    (gone,) = rings
    loader.close()
    del iterator
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_ctrl_c_while_a_batch_is_waited_for_spoils_nothing(
    store: Path, workers: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = make_loader(store, workers, mode)
    iterator = iter(loader)
    next(iterator)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "receive", interrupt)
        patch.setattr(ring, "fill_slot", interrupt)
        with pytest.raises(KeyboardInterrupt):
            next(iterator)
    for epoch in range(2):
        assert keys(loader) == expected(store, epoch)
    loader.close()


def test_stores_that_are_read_together_stay_in_memory_together(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [Store(store), Store(store)]
    assert all(one.stays_in_memory for one in stores)
    free = 2 * stores[0].num_bytes
    monkeypatch.setattr("resizeonce.loader.readahead.free_memory.available_bytes", lambda: free)
    assert Store(store).stays_in_memory
    loader = BatchLoader(stores, 2, 0)
    assert not any(one.stays_in_memory for one in stores)
    monkeypatch.setattr("resizeonce.loader.readahead.free_memory.available_bytes", lambda: 2 * free)
    BatchLoader(stores, 2, 0)
    assert all(one.stays_in_memory for one in stores)
    loader.close()


class FakeWorker(Worker):
    """Fills a batch only when it is waited for; says of a share of them only that they are not filled."""

    def __init__(self, setup: Setup, slots: Slots, share: int) -> None:
        self._setup, self._slots, self._share = setup, slots, share
        self.tasks: deque[Task] = deque()
        self.filled: list[int] = []

    def send(self, task: Task, timeout: float | None = None) -> None:
        self.tasks.append(task)
        self.filled.append(task.number)

    def count_unfinished(self) -> int:
        return len(self.tasks) * self._share

    def receive(self, timeout: float | None = None) -> Reply:
        task = self.tasks.popleft()
        return task.number, fill_slot(task, self._setup.rows_of(task.picks), self._setup, self._slots)

    def ask_to_end(self) -> None:
        self.tasks.clear()

    def kill(self) -> None:
        raise AssertionError

    def forget(self) -> None:
        raise AssertionError

    def join(self, seconds: float) -> None:
        pass


def test_who_has_least_to_do_fills_the_next(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers: list[FakeWorker] = []

    def start(_: int, __: str, setup: Setup, slots: Slots) -> list[FakeWorker]:
        # The first is slow: what it was asked for is never done before it is waited for.
        workers.extend(FakeWorker(setup, slots, share) for share in (1, 0))
        return workers

    monkeypatch.setattr(ring, "start_workers", start)
    loader = make_loader(store)
    assert keys(loader) == expected(store, 0)
    slow, fast = (worker.filled for worker in workers)
    assert sorted(slow + fast) == list(range(5 + PREFETCH))
    # It gets one whenever it has none; batches come in order all the same.
    assert slow == [0, 3, 6]
    loader.close()


def test_while_processes_start_a_thread_fills_the_first_batches_and_ends(
    store: Path, started: list[tuple[Slots, Sequence[Worker]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    fillers: list[Worker] = []
    receive = Worker.receive

    def spy(self: Worker, timeout: float | None = None) -> Any:
        fillers.append(self)
        return receive(self, timeout)

    monkeypatch.setattr(Worker, "receive", spy)
    loader = make_loader(store, 2, "process")
    iterator = iter(loader)
    got = [next(iterator)["key"] for _ in range(2)]
    assert not [thread for thread in threading.enumerate() if thread.name == "BatchLoader"]
    assert got + keys(iterator) + keys(loader) == expected(store, 0) + expected(store, 1)
    (_, processes), (_, [starter]) = started
    assert [filler is starter for filler in fillers] == [True] * 2 + [False] * 8
    assert set(fillers[2:]) <= set(processes)
    loader.close()


def test_where_no_thread_can_be_started_processes_fill_the_first_batches(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    loader = make_loader(store, 2, "process")
    monkeypatch.setattr(launch, "_start_thread", refuse)
    assert keys(loader) == expected(store, 0)
    loader.close()


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_worker_tells_how_many_batches_it_has_not_filled(
    store: Path, started: list[tuple[Slots, Sequence[Worker]]], mode: str
) -> None:
    loader = make_loader(store, 1, mode)
    iterator = iter(loader)
    next(iterator)
    (_, (worker,)), *_ = started
    counts = {worker.count_unfinished() for _ in range(100)}
    assert counts <= {0, 1, 2, 3}
    while worker.count_unfinished():
        threading.Event().wait(0.001)
    # What has arrived by then is delivered none the less, in order.
    assert keys(iterator) == expected(store, 0)[1:]
    loader.close()


def test_a_ring_closes_its_memory_whatever_goes_wrong_with_its_workers(
    store: Path, started: list[tuple[Slots, Sequence[Worker]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = make_loader(store, 1, "process")
    next(iter(loader))
    (slots, _), *_ = started
    end_workers = ring.end_workers

    def fail(workers: Sequence[Worker]) -> None:
        end_workers(workers)
        raise RuntimeError("cannot close")

    monkeypatch.setattr(ring, "end_workers", fail)
    with pytest.raises(RuntimeError, match="cannot close"):
        loader.close()
    assert slots.descriptor == -1
