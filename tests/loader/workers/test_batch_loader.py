import gc
import json
import os
import resource
import shutil
import signal
import threading
import time
import warnings
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forks import run_in_forks
from miniature.npz import write_npz_pairs
from miniature.shapes import picture_of
from stores import CONFIGS, TINY
from worker_processes import children

from resizeonce.loader import BatchLoader, Order, OrderOptions, Ranks, SampleIndex, Store
from resizeonce.loader.buffers.slots import Slots
from resizeonce.loader.fill import SampleError
from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.workers.batch_loader import BatchOptions
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

WAYS = [(0, "thread"), (1, "thread"), (3, "thread"), (1, "process"), (2, "process")]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    pictures = [picture_of(60, 90, seed) for seed in range(6)]
    write_npz_pairs(folder / "raw", list(zip(pictures[::2], pictures[1::2], strict=True)))
    convert(load_config(CONFIGS / "npz.toml", TINY), folder / "raw", folder / "pairs.zarr")
    return folder / "pairs.zarr"


def in_order(*stores: Path) -> Order:
    indexes = [SampleIndex(Store(path)) for path in stores]
    return Order(indexes, OrderOptions(shuffle=None, batches_of="store"))


def assert_same(batch: dict[str, Any], expected: dict[str, Any]) -> None:
    assert batch.keys() - {"seed"} == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert batch[key].numpy().dtype == value.dtype
            assert np.array_equal(batch[key].numpy(), value)
        else:
            assert batch[key] == value


@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_batches_are_those_of_the_store_in_the_order_asked_for(store: Path, workers: int, mode: str) -> None:
    loader = BatchLoader(in_order(store), 3, workers, options=BatchOptions(mode=mode, tail="keep"))
    opened = Store(store)
    for _ in range(3):
        batches = list(loader)
        assert [len(batch["key"]) for batch in batches] == [3, 3, 3, 1]
        for number, batch in enumerate(batches):
            assert_same(batch, opened.batch(range(3 * number, min(3 * number + 3, 10))))
    loader.close()


@pytest.mark.parametrize("path", ["pairs", "sentences"])
def test_pairs_and_sentences_come_as_in_the_store(path: str, request: pytest.FixtureRequest) -> None:
    store = request.getfixturevalue(path)
    loader = BatchLoader(in_order(store), 2, 1)
    batch = next(iter(loader))
    assert_same(batch, Store(store).batch([0, 1]))
    assert batch["has_paired_frame"] is (path == "pairs")
    loader.close()


@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_an_epoch_has_every_sample_once_and_the_next_another_order(
    store: Path, workers: int, mode: str
) -> None:
    loader = BatchLoader(store, 2, workers, options=BatchOptions(mode=mode))
    epochs = [[key for batch in loader for key in batch["key"]] for _ in range(3)]
    assert [loader.epoch, len(loader)] == [3, 5]
    assert all(sorted(keys) == sorted(epochs[0]) for keys in epochs)
    assert len(set(epochs[0])) == 10
    assert epochs[0] != epochs[1] != epochs[2]
    loader.close()


@pytest.mark.parametrize(("workers", "mode"), [(0, "thread"), (2, "thread"), (2, "process")])
def test_nothing_is_overwritten_while_any_tensor_of_it_is_held(store: Path, workers: int, mode: str) -> None:
    loader = BatchLoader(in_order(store), 1, workers, prefetch=2, options=BatchOptions(mode=mode))
    opened = Store(store)
    for _ in range(5):
        held = [batch["masks"] for batch in loader]
        views = [batch["g_pixel_values"][0, :1, 5:9].numpy() for batch in loader]
        for number in range(10):
            expected = opened.batch([number])
            assert np.array_equal(held[number].numpy(), expected["masks"])
            assert np.array_equal(views[number], expected["g_pixel_values"][0, :1, 5:9])
    loader.close()


def test_batches_stay_valid_after_close_and_after_the_loader_is_gone(store: Path) -> None:
    loader = BatchLoader(in_order(store), 2, 1)
    batches = list(loader)
    loader.close()
    del loader
    gc.collect()
    for number, batch in enumerate(batches):
        assert_same(batch, Store(store).batch([2 * number, 2 * number + 1]))


def test_buffers_are_used_again(store: Path) -> None:
    loader = BatchLoader(store, 1, 1)
    addresses = {batch["masks"].data_ptr() for _ in range(20) for batch in loader}
    assert len(addresses) <= 4
    loader.close()


def test_writing_into_a_batch_changes_no_later_one(store: Path) -> None:
    loader = BatchLoader(in_order(store), 2, 2)
    opened = Store(store)
    for _ in range(5):
        for number, batch in enumerate(loader):
            assert_same(batch, opened.batch([2 * number, 2 * number + 1]))
            for value in batch.values():
                if isinstance(value, torch.Tensor):
                    value.zero_()
    loader.close()


@pytest.mark.parametrize(("workers", "mode"), [(0, "thread"), (2, "thread"), (2, "process")])
def test_an_epoch_that_is_broken_off_begins_again(store: Path, workers: int, mode: str) -> None:
    loader = BatchLoader(store, 1, workers, options=BatchOptions(mode=mode))
    first = [batch["key"][0] for batch in loader][:3]
    loader.set_epoch(0)
    for _ in range(4):
        keys = []
        for batch in loader:
            keys += batch["key"]
            if len(keys) == 3:
                break
        assert keys == first
    loader.close()


def test_resuming_from_json_gives_exactly_the_rest_with_other_workers_batch_size_and_ranks(
    store: Path,
) -> None:
    order = Order([SampleIndex(Store(store))], OrderOptions(seed=3))
    whole = [key for batch in BatchLoader(order, 2, 0) for key in batch["key"]]
    loader = BatchLoader(order, 2, 2)
    taken = []
    for batch in loader:
        taken += batch["key"]
        if len(taken) == 4:
            break
    state = json.loads(json.dumps(loader.state_dict()))
    loader.close()
    rest: list[str] = []
    for rank in range(2):
        options = BatchOptions(ranks=Ranks(rank, 2), mode="thread")
        other = BatchLoader(order, 1, 1, options=options)
        other.load_state_dict(state)
        rest += [key for batch in other for key in batch["key"]]
        other.close()
    assert taken == whole[:4]
    assert sorted(rest) == sorted(whole[4:])


def test_a_state_at_the_end_of_an_epoch_begins_the_next(store: Path) -> None:
    loader = BatchLoader(store, 5, 0)
    for batch in loader:
        last = loader.state_dict()
        del batch
    other = BatchLoader(store, 5, 0)
    other.load_state_dict(last)
    assert other.epoch == 1
    assert [b["key"] for b in other] == [b["key"] for b in loader]


def test_a_state_of_another_store_is_refused(store: Path, sentences: Path) -> None:
    loader = BatchLoader(store, 2, 0)
    with pytest.raises((StoreError, ValueError)):
        BatchLoader(sentences, 2, 0).load_state_dict(loader.state_dict())


@pytest.mark.parametrize(("workers", "mode"), [(0, "thread"), (2, "thread"), (2, "process")])
def test_a_damaged_sample_is_an_error_in_the_trainers_thread_with_its_key(
    store: Path, tmp_path: Path, workers: int, mode: str
) -> None:
    broken = Path(shutil.copytree(store, tmp_path / "broken.zarr"))
    path = broken / "part-00001" / "masks" / "masks" / "c" / "0" / "0" / "0"
    content = bytearray(path.read_bytes())
    content[8] ^= 0xFF
    path.write_bytes(content)
    order = Order([SampleIndex(Store(broken))], OrderOptions(shuffle=None))
    loader = BatchLoader(order, 1, workers, options=BatchOptions(mode=mode))
    with pytest.raises(SampleError, match=r"coco/3/30.*part-00001.*checksum"):
        list(loader)
    # The workers are still there, and the rest can be read.
    assert next(iter(loader))["key"] == ["coco/1/10"]
    loader.close()


@pytest.mark.parametrize(("workers", "mode"), [(0, "thread"), (2, "thread"), (2, "process")])
def test_whatever_else_a_worker_raises_is_told_in_the_trainers_thread(
    store: Path, monkeypatch: pytest.MonkeyPatch, workers: int, mode: str
) -> None:
    monkeypatch.setattr(Store, "array_layout", lambda *_, **__: {"unknown": ((1, 3), "uint8")})
    loader = BatchLoader(store, 1, workers, options=BatchOptions(mode=mode))
    # In the trainer's own thread it is what it is: it may come of a signal handler of the trainer's.
    error = RuntimeError if workers else KeyError
    text = r"can't be filled: KeyError\('unknown'\)\nTraceback" if workers else "unknown"
    with pytest.raises(error, match=text):
        list(loader)
    loader.close()


@pytest.mark.parametrize(("workers", "mode"), [(0, "thread"), (2, "thread"), (2, "process")])
def test_after_an_error_memory_goes_with_the_loader(
    store: Path, monkeypatch: pytest.MonkeyPatch, workers: int, mode: str
) -> None:
    made: list[weakref.ref[Slots]] = []

    class Seen(Slots):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(weakref.ref(self))

    monkeypatch.setattr("resizeonce.loader.workers.ring.Slots", Seen)
    monkeypatch.setattr(Store, "array_layout", lambda *_, **__: {"unknown": ((1, 3), "uint8")})
    loader = BatchLoader(store, 1, workers, options=BatchOptions(mode=mode))
    gc.collect()
    gc.disable()
    try:
        with suppress(RuntimeError, KeyError):
            next(iter(loader))
        del loader
        assert [slots() for slots in made] == [None]
    finally:
        gc.enable()


def test_a_worker_that_is_killed_is_an_error_and_not_a_wait(store: Path) -> None:
    loader = BatchLoader(store, 1, 2)
    iterator = iter(loader)
    next(iterator)
    for process in children():
        os.kill(process, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="died"):
        list(iterator)
    # A new epoch starts new workers.
    assert len(list(loader)) == 10
    loader.close()


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_nothing_is_left_behind(store: Path, mode: str) -> None:
    gc.collect()
    before = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        loader = BatchLoader(store, 2, 2, options=BatchOptions(mode=mode))
        for batch in loader:
            del batch
            break
        del loader
        gc.collect()
    # What reads ahead ends with the rows that it was asked for.
    while any(thread.name == "resizeonce-disk" for thread in threading.enumerate()):
        time.sleep(0.001)
    assert (threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))) == before
    assert not children()


def test_hundreds_of_epochs_leak_nothing(store: Path) -> None:
    loader = BatchLoader(store, 10, 1, options=BatchOptions(mode="thread", tensors=("prompt_masks",)))

    def run(epochs: int) -> tuple[int, int, int]:
        for _ in range(epochs):
            for batch in loader:
                del batch
        gc.collect()
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return size, threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    first, last = run(100), run(250)
    assert last[1:] == first[1:]
    assert last[0] - first[0] < 2_000
    loader.close()


TRAINERS = """
import os, signal, sys
from contextlib import suppress
from pathlib import Path
from resizeonce.loader import BatchLoader

def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

def train(writing):
    for number, batch in enumerate(BatchLoader(sys.argv[1], 2, 2)):
        # Two came from a thread, and one from each worker.
        if number == 3:
            [first] = children(os.getpid())
            os.write(writing, " ".join([first, *children(first)]).encode())
            signal.pause()

started = []
for how in map(int, sys.argv[2:]):
    # Each a fork of one that has imported torch.
    reading, writing = os.pipe()
    trainer = os.fork()
    if not trainer:
        train(writing)
    started.append((how, trainer, reading))
for how, trainer, reading in started:
    workers = [int(pid) for pid in os.read(reading, 1000).split()]
    os.kill(trainer, how)
    # A scheduler sends its signal to every process of a job, of which some may have ended by then.
    for worker in workers if how == signal.SIGTERM else ():
        with suppress(ProcessLookupError):
            os.kill(worker, how)
    print("ended", how, os.waitstatus_to_exitcode(os.waitpid(trainer, 0)[1]), *workers)
"""


def test_workers_end_with_the_trainer_however_it_ends(store: Path, tmp_path: Path) -> None:
    ways = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
    [(status, said)] = run_in_forks(tmp_path, [(TRAINERS, [store, *map(int, ways)])])
    assert status == 0, said
    assert said.count("\nKeyboardInterrupt") == 1
    lines = [line.removeprefix("ended ") for line in said.splitlines() if line.startswith("ended ")]
    for way, line in zip(ways, lines, strict=True):
        how, code, *workers = map(int, line.split())
        assert (how, code, len(workers)) == (way, -way, 3)
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline, "a worker outlived its trainer"
            time.sleep(0.02)


def test_several_stores_make_batches_of_one_kind_each(store: Path, pairs: Path, sentences: Path) -> None:
    loader = BatchLoader([store, pairs, sentences], 2, 2)
    types = [(batch["dataset_type"], batch["has_paired_frame"]) for batch in loader]
    assert {("coco", False), ("sav", True), ("refcoco", False)} == set(types)
    assert types.count(("coco", False)) == 5
    loader.close()


def test_expressions_are_all_the_first_or_one_drawn(sentences: Path) -> None:
    order = in_order(sentences)
    every = [words for batch in BatchLoader(order, 1, 0) for words in batch["expressions"]]
    first = BatchLoader(order, 1, 1, options=BatchOptions(expressions="first", mode="thread"))
    assert [words for batch in first for words in batch["expressions"]] == [words[:1] for words in every]
    assert max(map(len, every)) > 1
    drawn = BatchLoader(order, 1, 1, options=BatchOptions(expressions="drawn", mode="thread"))
    epochs = [[words for batch in drawn for words in batch["expressions"]] for _ in range(30)]
    for place, words in enumerate(every):
        assert {epoch[place][0] for epoch in epochs} == set(words)
    again = BatchLoader(order, 1, 0, options=BatchOptions(expressions="drawn"))
    assert [words for batch in again for words in batch["expressions"]] == epochs[0]
    first.close()
    drawn.close()


def test_only_the_tensors_asked_for_are_read(store: Path) -> None:
    loader = BatchLoader(store, 2, 1, options=BatchOptions(tensors=("pixel_values", "prompt_masks")))
    batch = next(iter(loader))
    assert {"pixel_values", "prompt_masks"} == {k for k, v in batch.items() if getattr(v, "ndim", 0) > 1}
    loader.close()


def test_pin_memory_without_a_device_warns_and_goes_on(store: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(list(BatchLoader(store, 5, 0, pin_memory=True))) == 2
    assert "not pinned" in str(caught[0].message)


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"prefetch": 0}, {"batch_size": 0}])
def test_options_out_of_range_are_refused(store: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        BatchLoader(store, **wrong)


@pytest.mark.parametrize("kind", [np.int64, torch.tensor])
def test_whole_numbers_may_be_those_of_numpy_and_torch(store: Path, kind: Any) -> None:
    loader = BatchLoader(store, kind(2), kind(1), kind(2))
    batches = iter(loader)
    assert [len(next(batches)["key"]) for _ in range(2)] == [2, 2]
    assert json.loads(json.dumps(loader.state_dict())) == loader.state_dict()
    with pytest.raises(TypeError, match="integer"):
        BatchLoader(store, 2.0)


@pytest.mark.parametrize(
    "much",
    [
        {"prefetch": 10**9},
        {"prefetch": 10**20, "workers": 0},
        {"prefetch": 10**9, "options": BatchOptions(mode="thread")},
        {"batch_size": 10**9, "options": BatchOptions(tail="wrap")},
        {"workers": 10**6, "prefetch": 1},
        {"workers": 10**8, "prefetch": 1, "options": BatchOptions(mode="thread")},
    ],
)
def test_more_memory_than_there_is_is_refused_before_any_is_taken(store: Path, much: dict[str, Any]) -> None:
    loader = BatchLoader(store, **{"batch_size": 2, **much})
    with pytest.raises(
        RuntimeError, match=r"batches of [\d,]+ bytes.* take .* memory.*: give a smaller batch_size"
    ):
        next(iter(loader))
    assert not children()


def test_a_batch_that_may_be_larger_than_the_store_takes_no_more_memory_than_that(store: Path) -> None:
    (batch,) = BatchLoader(store, 10**9, 1, options=BatchOptions(tail="keep"))
    assert len(batch["key"]) == 10


def test_closing_during_an_iteration_ends_it_with_a_reason(store: Path) -> None:
    loader = BatchLoader(store, 1, 2)
    iterator = iter(loader)
    next(iterator)
    loader.close()
    with pytest.raises(RuntimeError, match="was closed during this iteration"):
        next(iterator)
    assert len(list(loader)) == 10
    loader.close()


@pytest.mark.parametrize("wrong", [{"mode": "threads"}, {"expressions": "frist"}])
def test_options_that_do_not_exist_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not"):
        BatchOptions(**wrong)


def test_a_view_that_the_recipe_has_not_is_refused_with_those_it_has(store: Path) -> None:
    with pytest.raises(ValueError, match="are pixel_values, g_pixel_values, prompt_masks, masks; not foo"):
        BatchLoader(store, options=BatchOptions(tensors=("masks", "foo")))


def test_a_relative_path_means_the_same_store_from_any_folder(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store.parent)
    loader = BatchLoader(store.name, 5, 1)
    monkeypatch.chdir(tmp_path)
    assert len(list(loader)) == 2
    loader.close()


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="other systems have no such scheduling")
def test_workers_let_the_trainer_run_first(store: Path) -> None:
    loader = BatchLoader(store, 2, workers=2)
    list(loader)
    workers = children()
    assert len(workers) == 2
    assert {os.sched_getscheduler(pid) for pid in workers} == {os.SCHED_BATCH}
    assert os.sched_getscheduler(0) != os.SCHED_BATCH
    loader.close()
