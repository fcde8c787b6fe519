"""What a training job does with a loader besides going through it: states, copies, forks, and loops that are left."""

import copy
import gc
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from forks import run_in_forks
from grids import pairs, slow
from worker_processes import children

from resizeonce.loader import BatchLoader, Order, OrderOptions, SampleIndex, Store
from resizeonce.loader.buffers.slots import Slots
from resizeonce.loader.fill import SampleError
from resizeonce.loader.workers.batch_loader import BatchOptions
from resizeonce.loader.workers.handle import Worker
from resizeonce.loader.workers.ring import Ring

WAYS = [(0, "thread"), (2, "thread"), (2, "process")]


def new_loader(store: Path, workers: int = 2, mode: Any = "process", **options: Any) -> BatchLoader:
    """Return a loader of 10 batches an epoch."""
    order = Order([SampleIndex(Store(store))], OrderOptions(seed=5))
    return BatchLoader(order, 1, workers, options=BatchOptions(mode=mode, **options))


def keys(batches: Any) -> list[str]:
    return [key for batch in batches for key in batch["key"]]


def resumed(store: Path, state: dict[str, Any]) -> list[str]:
    """Return what follows a state."""
    loader = new_loader(store, 0)
    loader.load_state_dict(state)
    return keys(loader)


@contextmanager
def handling(number: signal.Signals, handler: Callable[..., None]) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(number, before)


def send(number: signal.Signals) -> None:
    for process in children():
        os.kill(process, number)


def go_through(loader: BatchLoader, got: list[str], interfere: Callable[[], None]) -> None:
    """Go through an epoch, and after two batches interfere."""
    for batch in loader:
        got += batch["key"]
        if len(got) == 2:
            interfere()


def test_the_state_after_a_worker_died_is_after_the_batches_that_were_handed_over(store: Path) -> None:
    whole, loader, got = keys(new_loader(store, 0)), new_loader(store), []
    with pytest.raises(RuntimeError, match=r"died: killed by SIGKILL; for memory\?"):
        go_through(loader, got, lambda: send(signal.SIGKILL))
    assert got + resumed(store, loader.state_dict()) == whole


class StopError(Exception):
    """What a trainer's own handler raises."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, StopError])
def test_the_state_after_a_signal_ended_the_wait_is_after_the_batches_that_were_handed_over(
    store: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resizeonce.loader.workers.launch.SECONDS_TO_END", 0.2)
    whole, loader, got = keys(new_loader(store, 0)), new_loader(store), []

    def handle(*_: object) -> None:
        raise error

    def interrupt() -> None:
        send(signal.SIGSTOP)
        signal.setitimer(signal.ITIMER_REAL, 0.3)

    with handling(signal.SIGALRM, handle), pytest.raises(error):
        go_through(loader, got, interrupt)
    assert got + resumed(store, loader.state_dict()) == whole
    # Whatever was left half read went with the workers, which were killed.
    assert not children()
    assert keys(loader) == whole


@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_a_state_in_a_signal_handler_is_exact_at_any_moment(store: Path, workers: int, mode: str) -> None:
    loader = new_loader(store, workers, mode, tensors=("prompt_masks",))
    number, seen, is_over = 0, [], False

    def handle(*_: object) -> None:
        state = loader.state_dict()
        seen.append((state["epoch"] * 10 + sum(state["consumed"]), number))
        if not is_over:
            # Only now: on a busy machine signals would come faster than they are handled, each within the one before.
            signal.setitimer(signal.ITIMER_REAL, 0.0002)

    with handling(signal.SIGALRM, handle):
        signal.setitimer(signal.ITIMER_REAL, 0.0002)
        for _ in range(60):
            for batch in loader:
                number += 1
                # Here, and not where the next one takes its name: what is run then gives signals their turn.
                del batch
        # A signal that came when nobody handles them any more would end this process.
        is_over = True
    assert len(seen) > 30
    assert [place for place, _ in seen] == [count for _, count in seen]
    loader.close()


@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_the_last_iteration_begun_is_valid_and_an_earlier_one_says_why_it_is_not(
    store: Path, workers: int, mode: str
) -> None:
    loader = new_loader(store, workers, mode)
    whole = keys(new_loader(store, 0))
    first = iter(loader)
    assert next(first)["key"] == whole[:1]
    second = iter(loader)
    assert next(second)["key"] == whole[:1]
    for _ in range(2):
        with pytest.raises(
            RuntimeError, match="another iteration over this BatchLoader began during this one"
        ):
            next(first)
    # That did not disturb the valid one.
    assert keys(second) == whole[1:]
    assert loader.epoch == 1
    loader.close()


def test_a_loader_zipped_with_itself_raises(store: Path) -> None:
    loader = new_loader(store, 0)
    with pytest.raises(RuntimeError, match="make a BatchLoader for each"):
        list(zip(loader, loader, strict=True))


@pytest.mark.parametrize("error", [KeyboardInterrupt, StopError])
def test_what_a_handler_raises_while_the_trainers_own_thread_fills_a_batch_is_raised(
    store: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    loader = new_loader(store, 0)
    iterator = iter(loader)
    got = [next(iterator)["key"][0] for _ in range(2)]
    monkeypatch.setattr("resizeonce.loader.fill.BatchRows.fill", fail)
    with pytest.raises(error):
        next(iterator)
    monkeypatch.undo()
    assert got + resumed(store, loader.state_dict()) == keys(new_loader(store, 0))


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_closing_in_a_signal_handler_ends_the_wait_with_a_reason(
    store: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resizeonce.loader.workers.launch.SECONDS_TO_END", 0.2)
    if mode == "thread":
        monkeypatch.setattr("resizeonce.loader.fill.BatchRows.fill", lambda *_: time.sleep(0.5))
    loader = new_loader(store, 1, mode)
    iterator = iter(loader)
    if mode == "process":
        next(iterator)
    opened: list[int] = []

    def handle(*_: object) -> None:
        loader.close()
        # Whatever number the channel had is that of another file now.
        opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(4))

    with handling(signal.SIGALRM, handle):
        send(signal.SIGSTOP)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(RuntimeError, match="was closed during this iteration"):
            keys(iterator)
    for descriptor in opened:
        assert os.read(descriptor, 1) == b""
        os.close(descriptor)
    assert not children()


@pytest.mark.parametrize("how", ["load_state_dict", "set_epoch"])
def test_an_iteration_of_a_loader_that_was_sent_elsewhere_raises(store: Path, how: str) -> None:
    loader = new_loader(store, 0)
    iterator = iter(loader)
    next(iterator)
    if how == "set_epoch":
        loader.set_epoch(3)
    else:
        loader.load_state_dict(loader.state_dict())
    place = loader.state_dict()
    with pytest.raises(RuntimeError, match="was sent to another place during this iteration"):
        next(iterator)
    assert loader.state_dict() == place


def test_an_iteration_that_is_over_stays_over(store: Path) -> None:
    loader = new_loader(store, 0)
    first = iter(loader)
    whole = keys(first)
    second = iter(loader)
    assert len(keys(second)) == len(whole) == 10
    for iterator in (first, second, first):
        with pytest.raises(StopIteration):
            next(iterator)
    assert loader.epoch == 2


def test_after_an_error_an_iteration_does_not_just_end(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise SampleError("sample 3: damaged")

    loader = new_loader(store, 0)
    iterator = iter(loader)
    next(iterator)
    monkeypatch.setattr("resizeonce.loader.fill.BatchRows.fill", fail)
    with pytest.raises(SampleError):
        next(iterator)
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="is over: a sample could not be read: sample 3: damaged"):
        next(iterator)


def pickled(loader: BatchLoader) -> BatchLoader:
    again: BatchLoader = pickle.loads(pickle.dumps(loader))
    return again


@pytest.mark.parametrize(("way", "copied"), pairs(reversed(WAYS), [copy.deepcopy, copy.copy, pickled]))
def test_a_copy_of_a_used_loader_is_at_the_same_place_and_leaves_it_alone(
    store: Path, way: tuple[int, str], copied: Callable[[BatchLoader], BatchLoader]
) -> None:
    workers, mode = way
    loader = new_loader(store, workers, mode)
    whole = keys(loader)
    second = keys(new_loader(store, 0)) and keys(iter_epoch(store, 1))
    iterator = iter(loader)
    got = [next(iterator)["key"][0] for _ in range(3)]
    other = copied(loader)
    assert other.state_dict() == loader.state_dict()
    assert keys(other) == second != whole
    other.close()
    del other
    gc.collect()
    # What the trainer opens next gets whatever numbers are free.
    with Path(os.devnull).open("rb") as one, Path(os.devnull).open("rb") as two:
        assert got + keys(iterator) == second
        assert (one.read(1), two.read(1)) == (b"", b"")
    loader.close()


def iter_epoch(store: Path, epoch: int) -> BatchLoader:
    loader = new_loader(store, 0)
    loader.set_epoch(epoch)
    return loader


def test_what_holds_a_loaders_descriptors_can_not_be_copied(
    store: Path, rings: list[weakref.ref[Ring]], started: list[tuple[Slots, Sequence[Worker]]]
) -> None:
    loader = new_loader(store, 1)
    iterator = iter(loader)
    next(iterator)
    (slots, (worker,)), _ = started
    for one in (iterator, rings[0](), slots, worker):
        with pytest.raises(TypeError, match="can't be copied: copy the BatchLoader"):
            copy.deepcopy(one)
    assert len(keys(iterator)) == 9
    loader.close()


FORK = """
import os, sys, warnings
warnings.simplefilter("error")
from resizeonce.loader import BatchLoader
from resizeonce.loader.workers.batch_loader import BatchOptions
from resizeonce.loader.workers.handle import Worker
from resizeonce.loader.workers.ring import Ring

loader = BatchLoader(sys.argv[1], 1, int(sys.argv[2]), options=BatchOptions(mode=sys.argv[3]))
running = iter(loader)
whole = [next(running)["key"] for _ in range(3)]
pid = os.fork()
if not pid:
    try:
        next(running)
    except RuntimeError as err:
        assert "forked" in str(err), err
    else:
        sys.exit(1)
    assert len(loader) == 10
    again = [batch["key"] for batch in loader]
    assert again[:3] == whole and len(again) == 10
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
pid = os.fork()
if not pid:
    # It never looks at the loader, and at its end does nothing to it either.
    sys.exit(8)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 8
rest = [batch["key"] for batch in running]
assert len(rest) == 7
print("the same" if [batch["key"] for batch in loader] != whole + rest else "no new epoch")
"""


@pytest.mark.parametrize(("workers", "mode"), [slow(2, "thread"), (1, "process")])
def test_a_loader_in_a_forked_process_has_workers_of_its_own_and_leaves_the_others_alone(
    store: Path, tmp_path: Path, workers: int, mode: str
) -> None:
    assert run_in_forks(tmp_path, [(FORK, [store, workers, mode])]) == [(0, "the same\n")]


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_loop_that_is_left_leaves_no_worker_and_no_memory(store: Path, mode: str) -> None:
    def look() -> None:
        for number, _ in enumerate(new_loader(store, 2, mode)):
            if number == 2:
                return

    gc.collect()
    gc.disable()
    try:
        before = len(list(Path("/proc/self/fd").iterdir())), mapped()
        for _ in range(3):
            look()
            assert not children()
        names = {thread.name for thread in threading.enumerate()}
        assert "BatchLoader" not in names
        assert (len(list(Path("/proc/self/fd").iterdir())), mapped()) == before
    finally:
        gc.enable()


def mapped() -> int:
    """Return how many maps of batches this process has."""
    return Path("/proc/self/maps").read_text().count("resizeonce")
