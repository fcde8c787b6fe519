"""The loader in other people's training loops, and docs/frameworks.md, which is run as written."""

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from resizeonce.loader import (
    Batch,
    Batching,
    BatchLoader,
    BatchSampler,
    Order,
    OrderOptions,
    SampleDataset,
    SampleIndex,
    Store,
    collate,
)
from resizeonce.loader.buffers.dataloader_slots import LENT, Mailbox

# Every other warning is an error here, too; these are a framework's advice, or of what it calls.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint"),
]

PAGE = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text()
SECTIONS = {
    "Lightning": "lightning",
    "accelerate": "accelerate",
    "torchdata": "torchdata",
    "torch's DistributedSampler": "torch",
}
"""Each section of the page, and the package that its code needs."""

Keys = list[tuple[str, ...]]


def framework(name: str) -> ModuleType:
    module: ModuleType = pytest.importorskip(
        name, reason=f"{name} is not installed: the frameworks extra brings it"
    )
    return module


@pytest.fixture
def lightning() -> Any:
    found = framework("lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return found


@pytest.fixture
def accelerate() -> Any:
    return framework("accelerate")


@pytest.fixture
def stateful() -> Any:
    framework("torchdata")
    return framework("torchdata.stateful_dataloader").StatefulDataLoader


def order_of(store: Path) -> Order:
    return Order([SampleIndex(Store(store))], OrderOptions(seed=3))


def sampler_of(store: Path) -> BatchSampler:
    return BatchSampler(order_of(store), Batching(batch_size=2))


def sampled(store: Path, workers: int, kind: Any = DataLoader, sampler: BatchSampler | None = None) -> Any:
    """Return a loader of 5 batches an epoch, in the order of the project."""
    sampler = sampler or sampler_of(store)
    return kind(SampleDataset(store), batch_sampler=sampler, collate_fn=collate, num_workers=workers)


def keys_of(batches: Iterable[dict[str, Any]]) -> Keys:
    return [tuple(batch["key"]) for batch in batches]


def epochs_of(store: Path, count: int = 4) -> list[Keys]:
    """Return what the epochs are."""
    loader = BatchLoader(order_of(store), 2, 0)
    return [keys_of(loader) for _ in range(count)]


def assert_right(batch: dict[str, Any], store: Path) -> None:
    """Compare with the store, sample by sample."""
    opened = Store(store)
    numbers = {key: number for number, key in enumerate(opened.batch(range(len(opened)))["key"])}
    expected = opened.batch([numbers[key] for key in batch["key"]])
    assert type(batch) is Batch
    # A sample of a BatchLoader has a number of its own besides, which is no part of the store.
    assert batch.keys() - {"seed"} == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(batch[key].numpy(), value)
        else:
            assert batch[key] == value


@pytest.mark.parametrize("loader", ["BatchLoader", "DataLoader"])
def test_who_asks_for_as_many_batches_as_there_are_gets_the_next_epoch_then(store: Path, loader: str) -> None:
    """Lightning never asks for one more."""
    batches: Any = BatchLoader(order_of(store), 2, 0) if loader == "BatchLoader" else sampled(store, 0)
    assert [keys_of(islice(batches, len(batches))) for _ in range(4)] == epochs_of(store)


def test_an_epoch_that_is_over_can_be_gone_back_to(store: Path) -> None:
    first = epochs_of(store, 1)[0]
    loader, sampler = BatchLoader(order_of(store), 2, 0), sampler_of(store)
    for source, batches in ((loader, loader), (sampler, sampled(store, 0, sampler=sampler))):
        for _ in range(3):
            source.set_epoch(0)
            assert keys_of(islice(batches, 5)) == first


def test_the_length_is_the_whole_epochs_also_after_going_on_in_the_middle_of_it(store: Path) -> None:
    state = sampler_of(store).state_after(3)
    loader, sampler = BatchLoader(order_of(store), 2, 0), sampler_of(store)
    for source in (loader, sampler):
        source.load_state_dict(state)
        assert len(source) == 5
        assert len(list(source)) == 2
        assert len(source) == 5


def new_module(lightning: Any) -> Any:
    """Return a module that remembers what it was given: by epoch, the keys of each batch."""

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(256, 1)
            self.epochs: dict[int, Keys] = {}
            self.last: Any = None

        def training_step(self, batch: dict[str, Any], number: int) -> torch.Tensor:
            self.epochs.setdefault(self.current_epoch, []).append(tuple(batch["key"]))
            self.last = batch
            loss: torch.Tensor = self.layer(batch["prompt_masks"].flatten(1)).mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    return Module()


def new_trainer(lightning: Any, **options: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    checkpoints = {"enable_checkpointing": "callbacks" in options}
    return lightning.Trainer(accelerator="cpu", devices=1, **quiet, **checkpoints, **options)


def test_lightning_trains_on_a_data_module_with_workers(store: Path, lightning: Any) -> None:
    class Data(lightning.LightningDataModule):
        def train_dataloader(self) -> DataLoader[Any]:
            dataset = SampleDataset(store)
            return DataLoader(dataset, batch_size=2, shuffle=True, num_workers=2, collate_fn=collate)

    module = new_module(lightning)
    before = module.layer.weight.detach().clone()
    new_trainer(lightning, max_epochs=2).fit(module, datamodule=Data())
    assert len(module.epochs) == 2
    for epoch in module.epochs.values():
        assert len({key for batch in epoch for key in batch}) == 10
    assert_right(module.last, store)
    assert not torch.equal(module.layer.weight, before)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("loader", ["BatchLoader", "DataLoader"])
def test_every_epoch_of_a_lightning_trainer_has_its_own_order(
    store: Path, lightning: Any, loader: str, workers: int
) -> None:
    batches = BatchLoader(order_of(store), 2, workers) if loader == "BatchLoader" else sampled(store, workers)
    module = new_module(lightning)
    new_trainer(lightning, max_epochs=3).fit(module, batches)
    assert list(module.epochs.values()) == epochs_of(store, 3)
    assert_right(module.last, store)


@pytest.mark.parametrize("steps", [3, 5, 7])
@pytest.mark.parametrize("loader", ["BatchLoader", "StatefulDataLoader"])
def test_a_lightning_checkpoint_goes_on_with_exactly_the_rest(
    store: Path, tmp_path: Path, request: pytest.FixtureRequest, lightning: Any, loader: str, steps: int
) -> None:
    def new_loader() -> Any:
        if loader == "BatchLoader":
            return BatchLoader(order_of(store), 2, 0)
        return sampled(store, 0, request.getfixturevalue("stateful"))

    saving = lightning.pytorch.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=steps)
    before, after = new_module(lightning), new_module(lightning)
    new_trainer(lightning, max_steps=steps, callbacks=[saving]).fit(before, new_loader())
    new_trainer(lightning, max_epochs=3).fit(after, new_loader(), ckpt_path=saving.best_model_path)
    found = [before.epochs.get(epoch, []) + after.epochs.get(epoch, []) for epoch in range(3)]
    assert sum(map(len, before.epochs.values())) == steps
    assert found == epochs_of(store, 3)


def test_lightning_on_several_ranks_refuses_a_batch_sampler_until_told_to_leave_it(
    store: Path, lightning: Any
) -> None:
    with mock.patch.dict(os.environ):
        try:
            trainer = new_trainer(lightning, max_epochs=1, strategy="ddp")
            with pytest.raises(TypeError, match="use_distributed_sampler=False"):
                trainer.fit(new_module(lightning), sampled(store, 0))
            module = new_module(lightning)
            trainer = new_trainer(lightning, max_epochs=1, strategy="ddp", use_distributed_sampler=False)
            trainer.fit(module, sampled(store, 0))
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
    assert module.epochs == {0: epochs_of(store, 1)[0]}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_prepared_by_accelerate_gives_the_same_batches(
    store: Path, accelerate: Any, workers: int
) -> None:
    batches = DataLoader(SampleDataset(store), batch_size=4, num_workers=workers, collate_fn=collate)
    found = list(accelerate.Accelerator(cpu=True).prepare(batches))
    assert [len(batch["key"]) for batch in found] == [4, 4, 2]
    for batch in found:
        assert_right(batch, store)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_sampler_prepared_by_accelerate_keeps_its_order_and_goes_on(
    store: Path, accelerate: Any, workers: int
) -> None:
    accelerator, expected = accelerate.Accelerator(cpu=True), epochs_of(store)
    batches = accelerator.prepare(sampled(store, workers))
    assert [keys_of(batches) for _ in range(2)] == expected[:2]
    assert keys_of(islice(batches, 2)) == expected[2][:2]
    assert keys_of(batches) == expected[2]

    before, sampler = sampler_of(store), sampler_of(store)
    before.set_epoch(2)
    sampler.load_state_dict(json.loads(json.dumps(before.state_after(2))))
    batches = accelerator.prepare(sampled(store, workers, sampler=sampler))
    batches.set_epoch(sampler.epoch)
    assert [keys_of(batches) for _ in range(2)] == [expected[2][2:], expected[3]]


def test_accelerate_shares_the_batches_of_a_sampler_out(store: Path, accelerate: Any) -> None:
    prepare = accelerate.data_loader.prepare_data_loader
    ranks = [
        prepare(sampled(store, 0), num_processes=2, process_index=rank, put_on_device=False)
        for rank in (0, 1)
    ]
    for epoch in epochs_of(store):
        first, second = map(keys_of, ranks)
        assert first == epoch[::2]
        # Five batches for two ranks: the last has the first one again.
        assert second == [*epoch[1::2], epoch[0]]


def test_accelerate_leaves_a_batch_loader_alone(store: Path, accelerate: Any) -> None:
    loader, model = BatchLoader(order_of(store), 2, 0), nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    _, _, prepared = accelerate.Accelerator(cpu=True).prepare(model, optimizer, loader)
    assert prepared is loader
    assert keys_of(prepared) == epochs_of(store)[0]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [2, 5, 8])
def test_a_stateful_loader_goes_on_with_exactly_the_rest(
    store: Path, stateful: Any, workers: int, taken: int
) -> None:
    before, after = sampled(store, workers, stateful), sampled(store, workers, stateful)
    for _ in range(taken // 5):
        list(before)
    assert len(keys_of(islice(before, taken % 5))) == taken % 5
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    epoch, done = divmod(taken, 5)
    expected = epochs_of(store)
    assert [keys_of(after) for _ in range(2)] == [expected[epoch][done:], expected[epoch + 1]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_with_its_own_shuffle_goes_on_with_exactly_the_rest(
    store: Path, stateful: Any, workers: int
) -> None:
    def new_loader() -> Any:
        generator = torch.Generator().manual_seed(1)
        dataset = SampleDataset(store)
        options = {"shuffle": True, "generator": generator, "num_workers": workers, "collate_fn": collate}
        return stateful(dataset, batch_size=2, **options)

    whole, before, after = keys_of(new_loader()), new_loader(), new_loader()
    assert keys_of(islice(before, 2)) == whole[:2]
    after.load_state_dict(before.state_dict())
    assert keys_of(after) == whole[2:]


def test_batches_of_a_stateful_loaders_workers_come_through_slots(
    store: Path, stateful: Any, mailboxes: list[Mailbox]
) -> None:
    batches = sampled(store, 2, stateful)
    for batch in batches:
        assert_right(batch, store)
        assert LENT in mailboxes[0].states


@pytest.mark.parametrize("workers", [0, 2])
def test_a_distributed_sampler_deals_every_sample_to_one_rank(store: Path, workers: int) -> None:
    dataset = SampleDataset(store)
    samplers = [DistributedSampler(dataset, num_replicas=2, rank=rank, seed=7) for rank in (0, 1)]
    options: dict[str, Any] = {"batch_size": 2, "num_workers": workers, "collate_fn": collate}
    loaders = [DataLoader(dataset, sampler=sampler, **options) for sampler in samplers]
    epochs = []
    for epoch in range(2):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        batches = [list(loader) for loader in loaders]
        for batch in batches[0] + batches[1]:
            assert_right(batch, store)
        epochs.append([key for batch in batches[0] + batches[1] for key in batch["key"]])
        assert len(set(epochs[-1])) == len(epochs[-1]) == 10
    assert epochs[0] != epochs[1]


def test_the_page_has_code_for_each_framework() -> None:
    assert re.findall(r"^## (.*)$", PAGE, re.MULTILINE) == list(SECTIONS)


@pytest.mark.filterwarnings("ignore:.*tensorboard")
@pytest.mark.parametrize("section", SECTIONS)
def test_the_code_of_the_page_runs_as_written(
    section: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = framework(SECTIONS[section])
    shutil.copytree(store, tmp_path / "coco.zarr")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"```python\n(.*?)```", PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0], re.DOTALL
    )
    assert blocks
    for block in blocks:
        model = new_module(package) if section == "Lightning" else nn.Linear(256, 1)
        found: dict[str, Any] = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1)}
        exec(compile(block, "docs/frameworks.md", "exec"), found)
        if section == "Lightning":
            assert [len(epoch) for epoch in model.epochs.values()] == [2, 2]
        elif "batches" in found:
            assert len(list(found["batches"])) > 0
        else:
            assert_right(found["batch"], store)
