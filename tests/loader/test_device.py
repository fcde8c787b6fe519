"""Batches on a CUDA device: the same bits there, and copies that go on while slots are filled again. `make test-device`."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from miniature.shapes import picture_of
from miniature.vos import write_vos
from stores import CONFIGS, USUAL
from torch.utils.data import DataLoader

from resizeonce.loader import (
    Batch,
    Batching,
    BatchLoader,
    BatchSampler,
    Clip,
    Objects,
    Order,
    OrderDataset,
    OrderOptions,
    SampleIndex,
    Store,
    check_batch,
    collate,
    to_device,
)
from resizeonce.loader.workers.batch_loader import BatchOptions
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device, or this torch is built without CUDA"
)

Copy = Callable[[Batch], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def whole(coco_of: Callable[..., Path]) -> Path:
    """A store of ten masks with tensors of the usual sizes: copies of them take their time."""
    return coco_of(*USUAL)


def new_loader(store: Path, mode: Any, **options: Any) -> BatchLoader:
    order = Order([SampleIndex(Store(store))], OrderOptions(seed=3))
    return BatchLoader(order, 2, 2, pin_memory=True, options=BatchOptions(mode=mode, **options))


def keep_busy(stream: Any) -> None:
    """Have the device work for a while before it comes to what is asked for next."""
    with torch.cuda.stream(stream):
        numbers = torch.randn(4096, 4096, device="cuda")
        for _ in range(20):
            numbers = numbers @ numbers * 1e-3


def move_by_hand(batch: Batch) -> dict[str, torch.Tensor]:
    """As Lightning does."""
    keep_busy(torch.cuda.current_stream())
    return {k: v.to("cuda", non_blocking=True) for k, v in batch.items() if isinstance(v, torch.Tensor)}


def move(batch: Batch) -> dict[str, torch.Tensor]:
    keep_busy(torch.cuda.current_stream())
    return dict(to_device(batch, "cuda", non_blocking=True))


def move_aside(batch: Batch) -> dict[str, torch.Tensor]:
    side = torch.cuda.Stream()
    keep_busy(side)
    moved = to_device(batch, "cuda", non_blocking=True, stream=side)
    torch.cuda.current_stream().wait_stream(side)
    return dict(moved)


def record_by_hand(batch: Batch) -> dict[str, torch.Tensor]:
    side = torch.cuda.Stream()
    keep_busy(side)
    with torch.cuda.stream(side):
        moved = {k: v.to("cuda", non_blocking=True) for k, v in batch.items() if isinstance(v, torch.Tensor)}
    batch.record_stream(side)
    torch.cuda.current_stream().wait_stream(side)
    return moved


def assert_right(keys: list[str], moved: dict[str, Any], store: Store) -> None:
    numbers = {store.key(number): number for number in range(len(store))}
    expected = store.batch([numbers[key] for key in keys])
    tensors = [key for key, value in expected.items() if isinstance(value, np.ndarray)]
    assert len(tensors) == 5
    for key in tensors:
        assert moved[key].device.type == "cuda"
        assert np.array_equal(moved[key].cpu().numpy(), expected[key]), key


@pytest.mark.parametrize("mode", ["thread", "process"])
@pytest.mark.parametrize("copy", [move_by_hand, move, move_aside, record_by_hand])
def test_copies_that_do_not_block_arrive_whole_though_their_batch_is_let_go_at_once(
    whole: Path, mode: str, copy: Copy
) -> None:
    loader, arrived = new_loader(whole, mode), []
    for _ in range(8):
        for batch in loader:
            arrived.append((batch["key"], copy(batch)))
            del batch
    torch.cuda.synchronize()
    opened = Store(whole)
    for keys, moved in arrived:
        assert_right(keys, moved, opened)
    loader.close()


@pytest.mark.parametrize("aside", [False, True])
@pytest.mark.parametrize("non_blocking", [False, True])
def test_compact_batches_are_completed_to_the_same_bits(whole: Path, aside: bool, non_blocking: bool) -> None:
    loader, opened = new_loader(whole, "process", compact=True), Store(whole)
    for batch in loader:
        stream = torch.cuda.Stream() if aside else None
        moved = to_device(batch, "cuda", non_blocking=non_blocking, stream=stream)
        if stream is not None and non_blocking:
            torch.cuda.current_stream().wait_stream(stream)
        keys = batch["key"]
        del batch
        assert_right(keys, moved, opened)
        check_batch(moved)
    loader.close()


OWN_SIZE = 'recipe.own_masks={kind="mask", over="g_pixel_values", size="own"}'


@pytest.fixture(scope="module")
def drawn(coco_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Order]:
    """Orders of some objects of images, and of clips in which objects come and go, some of their masks at their own size."""
    folder = tmp_path_factory.mktemp("drawn")
    write_vos(
        folder / "raw", [(f"v{seed}", [picture_of(60, 90, seed + t) for t in range(7)]) for seed in (0, 9)]
    )
    convert(
        load_config(CONFIGS / "vos.toml", ["source.take=all", OWN_SIZE, *USUAL]),
        folder / "raw",
        folder / "vos.zarr",
    )
    draws = {
        "objects": (coco_of(OWN_SIZE, *USUAL), Objects(at_most=4)),
        "clips": (folder / "vos.zarr", Clip(frames=3, objects=2, visible="any", reverse=0.5)),
    }
    return {
        name: Order([SampleIndex(Store(path), draw=draw)], OrderOptions(seed=3))
        for name, (path, draw) in draws.items()
    }


def is_same(moved: Any, expected: Any) -> bool:
    """Whether what was moved is on the device, and has the same bits, dtypes and lists."""
    if isinstance(expected, torch.Tensor):
        return (
            moved.device.type == "cuda"
            and moved.dtype == expected.dtype
            and torch.equal(moved.cpu(), expected)
        )
    if isinstance(expected, list):
        return len(moved) == len(expected) and all(map(is_same, moved, expected))
    return bool(moved == expected)


def assert_same_samples(moved: Batch, expected: Batch) -> None:
    differing = [key for key in expected if not is_same(moved[key], expected[key])]
    assert not differing
    assert moved.keys() == expected.keys()
    for place in range(len(expected["key"])):
        assert moved.of(place)["object_ids"] == expected.of(place)["object_ids"]
        assert is_same(moved.of(place)["own_masks"], expected.of(place)["own_masks"])


@pytest.mark.parametrize("aside", [False, True])
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("mode", ["thread", "process"])
@pytest.mark.parametrize("what", ["objects", "clips"])
def test_drawn_samples_arrive_whole_though_their_batch_is_let_go_at_once(
    drawn: dict[str, Order], what: str, mode: Any, compact: bool, aside: bool
) -> None:
    order = drawn[what]
    loader = BatchLoader(
        order, 1, 2, pin_memory=True, options=BatchOptions(mode=mode, compact=compact, tail="keep")
    )
    plain = BatchLoader(order, 1, 0, options=BatchOptions(tail="keep"))
    for _ in range(3):
        arrived = []
        for batch in loader:
            stream = torch.cuda.Stream() if aside else torch.cuda.current_stream()
            keep_busy(stream)
            arrived.append(to_device(batch, "cuda", non_blocking=True, stream=stream))
            del batch
            torch.cuda.current_stream().wait_stream(stream)
        for moved, expected in zip(arrived, plain, strict=True):
            assert_same_samples(moved, expected)
            check_batch(moved)
    loader.close()


@pytest.mark.parametrize("what", ["objects", "clips"])
def test_a_plain_dataloader_pins_drawn_samples(drawn: dict[str, Order], what: str) -> None:
    order = drawn[what]
    sampler = BatchSampler(order, Batching(batch_size=1), picks=True)
    batches = DataLoader(
        OrderDataset(order), batch_sampler=sampler, collate_fn=collate, num_workers=2, pin_memory=True
    )
    for batch, expected in zip(batches, BatchLoader(order, 1, 0), strict=True):
        assert batch["masks"].is_pinned()
        assert batch["objects"].is_pinned()
        assert_same_samples(to_device(batch, "cuda", non_blocking=True), expected)


def test_lightning_moves_every_batch_whole(whole: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="the frameworks extra brings it")
    arrived: list[tuple[list[str], dict[str, Any]]] = []

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(256, 1)

        def training_step(self, batch: Batch, number: int) -> Any:
            keep_busy(torch.cuda.current_stream())
            arrived.append((batch["key"], {k: v for k, v in batch.items() if isinstance(v, torch.Tensor)}))
            return self.layer(batch["prompt_masks"].flatten(1)).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with warnings.catch_warnings():
        # A framework's advice, or of what it calls.
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="gpu", devices=1, max_epochs=4, enable_checkpointing=False, **quiet
        )
        loader = new_loader(whole, "process")
        trainer.fit(Module(), loader)
    opened = Store(whole)
    assert len(arrived) == 4 * 5
    for keys, moved in arrived:
        assert_right(keys, moved, opened)
    loader.close()


def test_pinned_memory_is_let_go_with_the_loader(whole: Path) -> None:
    for _ in range(3):
        # Memory that stayed registered could not be registered again at the same address.
        loader = new_loader(whole, "process")
        batch = next(iter(loader))
        assert batch["masks"].is_pinned()
        masks = batch["masks"].to("cuda", non_blocking=True)
        loader.close()
        expected = batch["masks"].clone()
        del batch
        torch.cuda.synchronize()
        assert torch.equal(masks.cpu(), expected)
