"""Batches of DataLoader workers: right under every way of starting, holding, stopping and dying."""

import copy
import fcntl
import gc
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grids import slow
from torch.utils.data import DataLoader

from resizeonce.loader import Batch, SampleDataset, Store, collate
from resizeonce.loader.buffers.dataloader_slots import FREE, LENT, NUM_REGIONS, SLOTS_PER_REGION, Mailbox


def load(dataset: SampleDataset, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, **{"batch_size": 2, "num_workers": 2, "collate_fn": collate, **options})


def states(mailbox: Mailbox) -> list[int]:
    return mailbox.states.ravel().tolist()


def assert_right(batches: list[Batch], store: Path) -> None:
    opened = Store(store)
    for number, batch in enumerate(batches):
        for key, value in opened.batch([2 * number, 2 * number + 1]).items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(batch[key].numpy(), value), (number, key)
            else:
                assert batch[key] == value


@pytest.fixture(params=["fork", "spawn", slow("forkserver")])
def context(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_batches_come_through_slots_and_are_right(
    store: Path, mailboxes: list[Mailbox], context: str
) -> None:
    dataset = SampleDataset(store)
    # Each spawned worker imports torch, so one has to do.
    num_workers = 2 if context == "fork" else 1
    loader = load(dataset, multiprocessing_context=context, persistent_workers=True, num_workers=num_workers)
    for _ in range(3):
        batches = list(loader)
        assert states(mailboxes[0]).count(LENT) > 0
        assert_right(batches, store)
    del batches
    gc.collect()
    assert states(mailboxes[0]).count(LENT) == 0


def test_every_batch_may_be_kept(store: Path, mailboxes: list[Mailbox]) -> None:
    """More batches than there are slots: the rest goes torch's way, and nothing is overwritten."""
    dataset = SampleDataset(store)
    loader = load(dataset, persistent_workers=True, num_workers=1)
    epochs = [list(loader) for _ in range(4)]
    assert states(mailboxes[0]).count(LENT) == SLOTS_PER_REGION
    for batches in epochs:
        assert_right(batches, store)


def test_batches_that_are_kept_hold_no_descriptor_for_what_is_small(store: Path) -> None:
    dataset = SampleDataset(store, ["prompt_masks"])
    loader = load(dataset, num_workers=1, persistent_workers=True)
    first = list(loader)
    before = len(list(Path("/proc/self/fd").iterdir()))
    epochs = [first, *(list(loader) for _ in range(5))]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    opened = Store(store)
    for batches in epochs:
        for number, batch in enumerate(batches):
            expected = opened.batch([2 * number, 2 * number + 1], ["prompt_masks"])
            assert np.array_equal(batch["prompt_masks"].numpy(), expected["prompt_masks"])
            assert np.array_equal(batch["prompt_cells"].numpy(), expected["prompt_cells"])
            assert batch["key"] == expected["key"]


def changed(batch: Batch) -> Batch:
    batch["masks"] = torch.full((1,), 7.0)
    del batch["prompt_masks"]
    batch["more"] = torch.arange(3)
    return batch


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_collate_function_changes_in_a_batch_is_changed_for_the_trainer(
    store: Path, workers: int
) -> None:
    dataset = SampleDataset(store)
    batch = next(iter(load(dataset, num_workers=workers, collate_fn=changed)))
    assert batch["masks"].tolist() == [7.0]
    assert "prompt_masks" not in batch
    assert batch["more"].tolist() == [0, 1, 2]
    assert np.array_equal(batch["pixel_values"].numpy(), Store(store).batch([0, 1])["pixel_values"])


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_whatever_a_trainer_puts_into_a_batch_comes_out_of_a_pickle_and_a_copy_as_it_was() -> None:
    tensor = torch.arange(3)
    batch = Batch(
        one=tensor,
        same=tensor,
        array=np.zeros(3),
        words=np.array(["a"]),
        objects=np.array([{}], object),
        sparse=torch.eye(3).to_sparse(),
        negative=torch.ones(3, dtype=torch.complex64).conj().imag,
        parameter=torch.nn.Parameter(torch.zeros(3), requires_grad=False),
        turned=torch.arange(6.0).reshape(2, 3).T,
    )
    for again in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch)):
        assert [type(value) for value in again.values()] == [type(value) for value in batch.values()]
        for key, value in batch.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value.to_dense(), again[key].to_dense())
            else:
                assert np.array_equal(value, again[key])
    again = copy.deepcopy(batch)
    assert again["one"] is again["same"]
    batch["me"] = batch
    again = copy.deepcopy(batch)
    assert again["me"] is again


def test_a_batch_is_pickled_with_what_the_trainer_added(store: Path) -> None:
    batch = SampleDataset(store)[0:2]
    batch["loss"] = torch.ones(2, requires_grad=True)
    batch["half"] = torch.ones(3, dtype=torch.bfloat16)
    for again in (pickle.loads(pickle.dumps(batch)), copy.copy(batch), copy.deepcopy(batch)):
        assert type(again) is Batch
        assert again.keys() == batch.keys()
        assert all(
            torch.equal(value, again[key]) for key, value in batch.items() if isinstance(value, torch.Tensor)
        )
        assert again["loss"].requires_grad
    again = copy.deepcopy(batch)
    again["prompt_masks"].fill_(3)
    assert batch["prompt_masks"].max() <= 1


def test_batches_outlive_their_loader_and_dataset(store: Path) -> None:
    loader = load(SampleDataset(store))
    batches = list(loader)
    del loader
    gc.collect()
    assert_right(batches, store)


def test_two_loaders_over_one_dataset_do_not_disturb_each_other(store: Path) -> None:
    dataset = SampleDataset(store)
    pairs = list(zip(load(dataset), load(dataset), strict=True))
    for side in (0, 1):
        assert_right([pair[side] for pair in pairs], store)


def test_an_epoch_that_is_broken_off_leaves_no_slot_behind(store: Path, mailboxes: list[Mailbox]) -> None:
    dataset = SampleDataset(store)
    for _ in range(SLOTS_PER_REGION + 2):
        for batch in load(dataset):
            del batch
            break
    assert_right(list(load(dataset)), store)
    gc.collect()
    # New workers take the regions of dead ones, and what these had posted is free again.
    assert sum(state != FREE for state in states(mailboxes[0])) <= 4 * SLOTS_PER_REGION
    used = {number // SLOTS_PER_REGION for number, state in enumerate(states(mailboxes[0])) if state != FREE}
    assert used <= set(range(8))


def test_a_worker_that_is_killed_is_an_error_and_its_region_is_taken_again(store: Path) -> None:
    dataset = SampleDataset(store)
    iterator: Any = iter(load(dataset, batch_size=1))
    next(iterator)
    # torch finds a dead worker by its own SIGCHLD handler, which may raise at any line from here on, or by its queue.
    with pytest.raises(RuntimeError, match=r"is killed by signal|exited unexpectedly"):
        kill_workers_and_read(iterator)
    del iterator
    assert_right(list(load(dataset)), store)


def kill_workers_and_read(iterator: Any) -> None:
    for worker in iterator._workers:
        os.kill(worker.pid, signal.SIGKILL)
    # Until all are dead the handler may yet raise, and then it would do so in whatever runs after this.
    for worker in iterator._workers:
        worker.join()
    list(iterator)


def test_a_collate_function_that_takes_batches_apart_works_too(store: Path) -> None:
    dataset = SampleDataset(store)
    batches = list(load(dataset, collate_fn=just_masks))
    opened = Store(store)
    for number, batch in enumerate(batches):
        expected = opened.batch([2 * number, 2 * number + 1])["masks"]
        assert np.array_equal(batch["flipped"].numpy(), 1 - expected)
        assert np.array_equal(batch["masks"].numpy(), expected)


def just_masks(batch: Batch) -> dict[str, torch.Tensor]:
    return {"masks": batch["masks"], "flipped": 1 - batch["masks"]}


def test_a_batch_and_its_copy_are_each_held_for_itself(store: Path) -> None:
    opened = Store(store)
    kept = [both.pop("copy") for both in load(SampleDataset(store), collate_fn=twice)]
    gc.collect()
    for number, batch in enumerate(kept):
        expected = opened.batch([2 * number, 2 * number + 1])
        assert np.array_equal(batch["g_pixel_values"].numpy(), expected["g_pixel_values"])


def twice(batch: Batch) -> dict[str, Batch]:
    return {"batch": batch, "copy": copy.copy(batch)}


def test_a_posted_batch_is_a_plain_one_for_the_trainer(store: Path) -> None:
    batch = next(iter(load(SampleDataset(store))))
    assert type(batch) is Batch
    batch["masks"].zero_()
    again = pickle.loads(pickle.dumps(batch))
    assert torch.equal(again["g_pixel_values"], batch["g_pixel_values"])


def test_a_dataset_pickles_without_its_mailbox(store: Path, mailboxes: list[Mailbox]) -> None:
    copy = pickle.loads(pickle.dumps(SampleDataset(store)))
    batches = list(load(copy))
    assert_right(batches, store)
    assert [set(states(mailbox)) for mailbox in mailboxes] == [{FREE}]


def test_without_a_free_region_batches_go_torchs_way(store: Path, mailboxes: list[Mailbox]) -> None:
    dataset = SampleDataset(store)
    fcntl.lockf(mailboxes[0]._descriptor, fcntl.LOCK_EX, NUM_REGIONS)
    assert_right(list(load(dataset)), store)
    assert set(states(mailboxes[0])) == {FREE}


def test_a_batch_larger_than_a_slot_goes_torchs_way() -> None:
    assert Mailbox().claim((1 << 33) + 1) is None


def test_nothing_has_a_name_that_could_be_left_behind(store: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    dataset = SampleDataset(store)
    iterator = iter(load(dataset, batch_size=1))
    next(iterator)
    assert not {path for path in set(Path("/dev/shm").iterdir()) - before if "resizeonce" in path.name}


def test_where_nothing_can_be_mapped_no_slot_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Mailbox()

    def fail(*_: object) -> None:
        raise OSError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("resizeonce.loader.buffers.dataloader_slots.map_shared", fail)
        assert [mailbox.claim(4096) for _ in range(SLOTS_PER_REGION + 1)] == [None] * (SLOTS_PER_REGION + 1)
    slots = [mailbox.claim(4096) for _ in range(SLOTS_PER_REGION)]
    assert None not in slots
    assert mailbox.claim(4096) is None


def test_batches_of_many_sizes_keep_one_map_of_a_slot() -> None:
    gc.collect()
    mailbox = Mailbox()
    before = count_maps()
    for size in range(4096, 40 * 4096, 4096):
        slot = mailbox.claim(size)
        assert slot is not None
        assert mailbox.memory(slot, size).size == size
        mailbox.set_state(slot, FREE)
    assert count_maps() == before + 1


def count_maps() -> int:
    return Path("/proc/self/maps").read_text().count("resizeonce-mailbox")
