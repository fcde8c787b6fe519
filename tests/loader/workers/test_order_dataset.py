"""A plain DataLoader of an order: its batches are those of a BatchLoader, which test_drawn.py holds to the stores."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader

from resizeonce.loader import (
    Batching,
    BatchLoader,
    BatchOptions,
    BatchSampler,
    Clip,
    Objects,
    Order,
    OrderDataset,
    SampleDataset,
    SampleError,
    SampleIndex,
    Store,
    collate,
    to_device,
)
from resizeonce.loader.batch import Batch
from resizeonce.loader.buffers.dataloader_slots import LENT, Mailbox
from resizeonce.loader.compact import CompactBatch
from resizeonce.loader.order.draws import Draw

OBJECTS = Objects(at_most=3)
CLIP = Clip(frames=3, objects=2, reverse=0.5, visible="any")


def order_of(*drawn: tuple[Path, Draw | None]) -> Order:
    return Order([SampleIndex(Store(store), draw=draw) for store, draw in drawn])


def batches(order: Order, num_workers: int, options: BatchOptions | None = None) -> DataLoader[Any]:
    sampler: Any = BatchSampler(order, Batching(batch_size=2), picks=True)
    return DataLoader(
        OrderDataset(order, options), batch_sampler=sampler, collate_fn=collate, num_workers=num_workers
    )


def assert_same_value(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same_value(one, other)
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    else:
        assert found == expected


def assert_same(found: Iterable[Batch], expected: Iterable[Batch]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other)
        assert one.object_keys == other.object_keys
        assert one.keys() == other.keys()
        for key in other:
            assert_same_value(one[key], other[key])


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", ["objects", "sentences", "clips", "own size", "plain", "several", "mixed"])
def test_batches_are_those_of_a_batch_loader_in_every_epoch(
    request: pytest.FixtureRequest, kind: str, num_workers: int
) -> None:
    stores = {name: request.getfixturevalue(name) for name in ("store", "sentences", "videos", "whole")}
    spoken = Objects(at_most=3, at_least=3, of="expressions")
    drawn: list[tuple[str, Draw | None]] = {
        "objects": [("store", OBJECTS)],
        "sentences": [("sentences", spoken)],
        "clips": [("videos", CLIP)],
        "own size": [("whole", OBJECTS)],
        "plain": [("sentences", None)],
        "several": [("store", OBJECTS), ("sentences", OBJECTS)],
        "mixed": [("store", OBJECTS), ("store", None), ("videos", CLIP), ("videos", None)],
    }[kind]
    order = order_of(*((stores[name], draw) for name, draw in drawn))
    options = BatchOptions(expressions="drawn")
    expected, found = BatchLoader(order, 2, 0, options=options), batches(order, num_workers, options)
    for _ in range(2):
        assert_same(found, expected)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(("name", "draw"), [("store", OBJECTS), ("videos", CLIP), ("whole", OBJECTS)])
def test_compact_batches_are_completed_on_a_device(
    request: pytest.FixtureRequest, name: str, draw: Draw, num_workers: int
) -> None:
    order = order_of((request.getfixturevalue(name), draw))
    compact = list(batches(order, num_workers, BatchOptions(compact=True)))
    assert all(isinstance(batch, CompactBatch) for batch in compact)
    assert_same((to_device(batch, "cpu") for batch in compact), batches(order, 0))


def test_only_the_views_asked_for_are_read(store: Path) -> None:
    batch = next(iter(batches(order_of((store, OBJECTS)), 0, BatchOptions(tensors=("masks",)))))
    assert "masks" in batch
    assert "pixel_values" not in batch


def test_batches_of_objects_come_in_the_slots_of_workers_cut_to_as_many_as_were_drawn(
    store: Path, mailboxes: list[Mailbox]
) -> None:
    loader = batches(order_of((store, Objects(at_most=64))), 1)
    held = list(loader)
    assert np.count_nonzero(mailboxes[0].states == LENT) == len(held)
    for batch in held:
        assert len(batch["masks"]) == batch["objects"][-1] < 128
    del held, batch
    assert not np.count_nonzero(mailboxes[0].states == LENT)


def test_without_batches_of_its_own_a_dataloader_asks_for_picks_one_by_one(store: Path) -> None:
    order = order_of((store, OBJECTS))
    sampler: Any = BatchSampler(order, Batching(batch_size=2))
    loader = DataLoader(OrderDataset(order), batch_size=None, sampler=sampler, collate_fn=collate)
    assert_same(loader, BatchLoader(order, 2, 0))


def test_a_dataset_counts_the_samples_of_an_epoch(store: Path, videos: Path) -> None:
    assert len(OrderDataset(order_of((store, OBJECTS), (videos, CLIP)))) == 5 + 3


def test_picks_of_an_order_are_no_sample_numbers(store: Path) -> None:
    sampler: Any = BatchSampler(order_of((store, OBJECTS)), Batching(batch_size=2))
    dataset = SampleDataset(store)
    for one in (dataset, ConcatDataset([dataset])):
        with pytest.raises(TypeError, match=r"give the DataLoader an OrderDataset\(order\)"):
            next(iter(DataLoader(one, batch_sampler=sampler, collate_fn=collate)))


def test_sample_numbers_are_no_picks(store: Path) -> None:
    order = order_of((store, None))
    sampler: Any = BatchSampler(order, Batching(batch_size=2))
    with pytest.raises(TypeError, match="picks=True"):
        next(iter(DataLoader(OrderDataset(order), batch_sampler=sampler, collate_fn=collate)))


@pytest.mark.parametrize("wrong", [{"tail": "wrap"}, {"on_damage": "skip"}, {"mode": "thread"}])
def test_options_of_the_sampler_or_of_batch_loader_are_refused(store: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="takes tensors, expressions and compact"):
        OrderDataset(order_of((store, OBJECTS)), BatchOptions(**wrong))


def test_a_damaged_sample_is_an_error_of_the_dataloader_with_its_key(store: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zarr"
    shutil.copytree(store, broken)
    path = broken / "part-00000" / "masks" / "masks" / "c" / "0" / "0" / "0"
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    with pytest.raises(SampleError, match=r"image 0 of .* \(coco/1\): .*row 0 is damaged"):
        list(batches(order_of((broken, Objects(at_most=5))), 1))
