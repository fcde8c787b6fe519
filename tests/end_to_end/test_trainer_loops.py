"""The two loops that the batches exist for, as docs/trainer.md has them, on small models with real gradients.

A guard watches every operation: nothing may resize a tensor of the batch or take a normalised picture for one of 0..255.
"""

import copy
import re
import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice, pairwise
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from input_guard import InputGuard, NormalisedImageError, ResizedInputError
from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import CONFIGS
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import ConcatDataset, DataLoader

from resizeonce.loader import (
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
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

DATASETS = ("sav", "coco", "refcoco")
STEPS = 54
WORDS = 8
"""Words of a caption; each is one of `VOCABULARY` numbers."""
VOCABULARY = 32

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "trainer.md"
EXAMPLE = ROOT / "examples" / "train.py"


def documented() -> SimpleNamespace:
    """Return what the page's code defines; the other blocks need stores and are run apart."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    for block in blocks[:2]:
        exec(compile(block, str(DOCUMENT), "exec"), found)
    return SimpleNamespace(**found)


PAGE = documented()


class Model(nn.Module):
    """Stands for the vision-language model: 16 x 16 image tokens of a 448 image, and words about some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Sequential(nn.Conv2d(3, 48, 28, 28), nn.GELU(), nn.Conv2d(48, 48, 1))
        self.words = nn.Linear(48, WORDS * VOCABULARY)
        self.embed = nn.Embedding(VOCABULARY, 48)
        self.join = nn.Linear(96, 48)

    def caption(self, pixel_values: Tensor, prompt_masks: Tensor, tokens: Tensor | None) -> Tensor:
        """Return logits [B, words, vocabulary]; a real one would be fed the words before each (`tokens`)."""
        assert pixel_values.shape[1:] == (3, 448, 448)
        assert prompt_masks.shape[1:] == (16, 16)
        image = self.tokens(pixel_values).flatten(2)
        cells = prompt_masks.flatten(1)[..., None]
        region = torch.bmm(image, cells)[..., 0] / cells.sum(1).clamp(min=1)
        return self.words(region).view(-1, WORDS, VOCABULARY)

    def query(self, pixel_values: Tensor, tokens: Tensor) -> Tensor:
        image = self.tokens(pixel_values).mean((2, 3))
        return self.join(torch.cat([image, self.embed(tokens).mean(1)], 1))


class Segmenter(nn.Module):
    """Stands for SAM2: a 1024 image and a query to logits for each of its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 32, 32, 32), nn.GELU(), nn.Conv2d(32, 48, 3, padding=1))
        self.place = nn.Parameter(torch.zeros(48, 32, 32))
        self.draw = nn.Sequential(nn.GELU(), nn.Conv2d(48, 1, 1))

    def forward(self, image: Tensor, query: Tensor) -> Tensor:
        assert image.shape[1:] == (3, 1024, 1024)
        features = self.encode(image) + self.place
        drawn = self.draw(features * query[..., None, None])
        # A prediction: it may be scaled to its target.
        return functional.interpolate(drawn, (1024, 1024), mode="bilinear")[:, 0]


def caption_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    probability = logits.sigmoid()
    overlap = 2 * (probability * masks).sum((1, 2)) + 1
    dice = 1 - overlap / (probability.sum((1, 2)) + masks.sum((1, 2)) + 1)
    return functional.binary_cross_entropy_with_logits(logits, masks) + dice.mean()


LOSSES = SimpleNamespace(caption=caption_loss, mask=mask_loss)


def words_of(batch: dict[str, Any]) -> Tensor:
    """Return a caption for each sample: its first phrase where there are any, otherwise one by its key."""
    phrases = [said[0] for said in batch["expressions"]] if "expressions" in batch else batch["key"]
    rows = [[sum(word.encode()) % VOCABULARY for word in re.split(r"[ /+]", text)] for text in phrases]
    return torch.tensor([(row + [0] * WORDS)[:WORDS] for row in rows])


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    folder = tmp_path_factory.mktemp("trainer")
    pictures = [picture_of(300, 420, 1), picture_of(512, 340, 2)]
    # A picture for each split of RefCOCO comes before the second one of its training split.
    for name in DATASETS:
        WRITERS[name](
            folder / name, pictures if name != "refcoco" else [*pictures, *pictures[:2], pictures[1]]
        )
        convert(
            load_config(CONFIGS / f"{name}.toml", ["source.pairs_per_object=2"] if name == "sav" else []),
            folder / name,
            folder / f"{name}.zarr",
        )
    return [Store(folder / f"{name}.zarr") for name in DATASETS]


def batches_of(stores: list[Store], batch_size: int) -> Iterator[dict[str, Any]]:
    """Yield batches without end, each of one dataset, paired and single in turn."""
    order = Order([SampleIndex(store) for store in stores], OrderOptions(seed=3, batches_of="store"))
    dataset = ConcatDataset([SampleDataset(store) for store in stores])
    batches = DataLoader(
        dataset, batch_sampler=BatchSampler(order, Batching(batch_size=batch_size)), collate_fn=collate
    )
    while True:
        yield from batches


@pytest.fixture(scope="module")
def training(stores: list[Store]) -> SimpleNamespace:
    """Train for a few steps under the guard; keep what happened."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, segmenter = Model(), Segmenter()
    ema = copy.deepcopy(model).requires_grad_(False)
    before = [parameter.clone() for parameter in ema.parameters()]
    optimiser = torch.optim.AdamW([*model.parameters(), *segmenter.parameters()], lr=5e-3)
    losses, kinds, gradients, seen = [], [], set(), set()
    # Most of one sample, which take half the time, and the last of two.
    for batch in chain(islice(batches_of(stores, 1), STEPS - 9), islice(batches_of(stores, 2), 9)):
        with InputGuard(batch) as guard:
            loss1, loss2 = PAGE.training_step(model, ema, segmenter, batch, words_of(batch), LOSSES)
            optimiser.zero_grad()
            (loss1 + loss2).backward()
        optimiser.step()
        named = [*model.named_parameters(), *segmenter.named_parameters(prefix="segmenter")]
        gradients |= {
            name for name, parameter in named if parameter.grad is not None and parameter.grad.any()
        }
        with torch.no_grad():
            for slow, fast in zip(ema.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.1)
        losses.append((loss1.item(), loss2.item()))
        kinds.append((batch["dataset_type"], batch["has_paired_frame"]))
        seen |= guard.seen
    torch.set_num_threads(threads)
    return SimpleNamespace(
        losses=np.array(losses),
        kinds=kinds,
        gradients=gradients,
        seen=seen,
        parameters={name for name, _ in named},
        ema_moved=[not torch.equal(*both) for both in zip(before, ema.parameters(), strict=True)],
    )


# One test: the training takes its time, and tests that are spread over processes would each have it done anew.
def test_training_works(training: SimpleNamespace) -> None:
    """Losses fall, every weight learns, paired and single batches take turns, each tensor goes where it belongs."""
    first, last = training.losses[:9].mean(0), training.losses[-9:].mean(0)
    assert np.isfinite(training.losses).all()
    assert (last < 0.75 * first).all(), (first, last)

    assert training.gradients == training.parameters
    moved = training.ema_moved
    # All but the embedding of words, of which some never come up, and whose first gradient may be late.
    assert sum(moved) >= len(moved) - 1

    assert set(training.kinds) == {("sav", True), ("coco", False), ("refcoco", False)}
    paired = [is_paired for _, is_paired in training.kinds]
    assert sum(a != b for a, b in pairwise(paired)) >= STEPS // 4

    # The caption is made from frame 1 and the mask drawn in frame 2; of a single image, both are the same.
    single = {"pixel_values", "g_pixel_values", "prompt_masks", "masks"}
    assert training.seen == single | {
        "pixel_values1",
        "prompt_masks1",
        "pixel_values2",
        "g_pixel_values2",
        "masks2",
    }


# Here, where torch's compiler has been imported: an optimiser asks for that, and it takes longer than the training.
def test_the_training_example_is_forty_lines_at_most_and_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    WRITERS["sa1b"](tmp_path / "raw", [picture_of(60, 90, 1)])
    convert("sa1b", tmp_path / "raw", tmp_path / "sa1b.zarr")
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "sa1b.zarr")])
    run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    # Five masks in batches of two, the last left out, twice.
    assert [line.partition(", loss")[0] for line in lines] == [
        f"epoch {epoch}, step {step}: 2 samples" for epoch in range(2) for step in range(2)
    ]
    losses = [float(line.rpartition(" ")[2]) for line in lines]
    assert sum(losses[2:]) < sum(losses[:2])
    assert len(EXAMPLE.read_text().splitlines()) <= 40


def test_caption_comes_from_frame_1_and_mask_from_frame_2(stores: list[Store]) -> None:
    batch = SampleDataset(stores[0]).__getitems__([0, 1])
    described, drawn = PAGE.frames_of(batch)
    assert described["prompt_masks"] is batch["prompt_masks1"]
    assert drawn["masks"] is batch["masks2"]
    assert not torch.equal(described["pixel_values"], drawn["pixel_values"])
    single = SampleDataset(stores[1]).__getitems__([0])
    described, drawn = PAGE.frames_of(single)
    assert described["pixel_values"] is drawn["pixel_values"] is single["pixel_values"]


def test_the_segmenters_arithmetic_starts_from_0_to_255(stores: list[Store]) -> None:
    stored = SampleDataset(stores[1]).__getitems__([0, 1])["g_pixel_values"]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    by_hand = (stored.numpy().transpose(0, 2, 3, 1) / 255 - mean) / std
    found = PAGE.segmenter_input(stored)
    assert found.shape == (2, 3, 1024, 1024)
    np.testing.assert_allclose(found.numpy().transpose(0, 2, 3, 1), by_hand, atol=1e-5)


def test_the_mixture_of_the_page_gives_batches(stores: list[Store], monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[2]
    monkeypatch.chdir(stores[0].path.parent)
    found: dict[str, Any] = {}
    exec(compile(block.replace("batch_size=8", "batch_size=2"), str(DOCUMENT), "exec"), found)
    kinds = {(batch["dataset_type"], batch["has_paired_frame"]) for batch in found["batches"]}
    assert ("sav", True) in kinds
    assert len(kinds) > 1


def test_the_drawn_samples_of_the_page_come_with_their_objects(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mixture, drawn, _ = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[2:]
    monkeypatch.chdir(stores[0].path.parent)
    imports = [line for line in mixture.splitlines() if line.startswith("from ")]
    exec(compile("\n".join(["import torch", *imports, drawn]), str(DOCUMENT), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("refcoco/") and line.endswith("torch.Size([1024, 1024])") for line in lines)
    assert any(line.startswith("sav/") and line.endswith("torch.Size([2, 1024, 1024])") for line in lines)


def test_the_dataloader_of_the_page_gives_drawn_samples_and_goes_on_where_it_was(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[2:]
    monkeypatch.chdir(stores[0].path.parent)
    imports = [line for block in code[:2] for line in block.splitlines() if line.startswith("from ")]
    found: dict[str, Any] = {}
    exec(compile("\n".join([*imports, code[2]]), str(DOCUMENT), "exec"), found)
    whole = list(BatchLoader(found["order"], 1, 0))
    seeds = [batch["seed"].item() for batch in whole]
    object_ids = [batch["object_ids"] for batch in whole]
    assert len(seeds) == 4
    assert capsys.readouterr().out == f"{seeds[:2]} {object_ids[0] + object_ids[1]}\n"
    rest = list(found["rest"])
    assert [batch["seed"].item() for batch in rest] == seeds[2:]
    assert [batch["object_ids"] for batch in rest] == object_ids[2:]
    assert "g_pixel_values" not in rest[0]


# ---- what the guard is there for


def founding_bug(batch: dict[str, Any]) -> Tensor:
    stretched = functional.interpolate(batch["pixel_values"], (1024, 1024), mode="bilinear")
    return (stretched * 255).clamp(0, 255).byte()


RESIZES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "the founding bug": founding_bug,
    "the founding bug, backwards": lambda b: functional.interpolate(
        b["g_pixel_values"].float() / 255, (448, 448), mode="bilinear", antialias=True
    ),
    "bytes": lambda b: functional.interpolate(b["g_pixel_values"], (512, 512), mode="bilinear"),
    "nearest": lambda b: functional.interpolate(b["masks"][:, None], (256, 256), mode="nearest"),
    "prompt of the large mask": lambda b: functional.adaptive_max_pool2d(b["masks"][:, None], 16),
    "upsample": lambda b: nn.Upsample(scale_factor=2)(b["pixel_values"]),
    "bicubic": lambda b: nn.Upsample(size=(1024, 1024), mode="bicubic")(b["pixel_values"] + 0),
    "average": lambda b: functional.avg_pool2d(b["pixel_values"], 2),
    "sampled": lambda b: functional.grid_sample(
        b["pixel_values"], torch.zeros(2, 64, 64, 2), align_corners=False
    ),
    "every second pixel": lambda b: b["masks"][:, ::2, ::2],
    "some rows": lambda b: b["g_pixel_values"].index_select(2, torch.arange(0, 1024, 4)),
    "some columns": lambda b: b["pixel_values"][..., torch.arange(0, 448, 2)],
    "a view": lambda b: functional.interpolate(
        b["pixel_values"][:1].detach().permute(0, 1, 3, 2), (224, 224)
    ),
}

NORMALISED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "times 255": lambda b: b["pixel_values"] * 255,
    "times 255, the other way round": lambda b: 255 * b["pixel_values"],
    "times 255 in place": lambda b: b["pixel_values"].clone().mul_(255.0),
    "times a tensor": lambda b: b["pixel_values"] * torch.full((3, 1, 1), 255.0),
    "over 1/255": lambda b: b["pixel_values"] / (1 / 255),
    "clamped": lambda b: b["pixel_values"].clamp(0, 255),
    "clipped at 0": lambda b: torch.clip(b["pixel_values"], min=0),
    "as bytes": lambda b: b["pixel_values"].byte(),
    "back, then times 255": lambda b: (b["pixel_values"] * PAGE.STD + PAGE.MEAN) * 255,
}


@pytest.fixture(scope="module")
def batch(stores: list[Store]) -> dict[str, Any]:
    found: dict[str, Any] = SampleDataset(stores[1]).__getitems__([0, 1])
    return found


@pytest.mark.parametrize("name", RESIZES)
def test_resizing_a_tensor_of_the_batch_is_found(batch: dict[str, Any], name: str) -> None:
    with InputGuard(batch), pytest.raises(ResizedInputError, match="resized"):
        RESIZES[name](batch)


@pytest.mark.parametrize("name", NORMALISED)
def test_taking_a_normalised_picture_for_0_to_255_is_found(batch: dict[str, Any], name: str) -> None:
    with InputGuard(batch), pytest.raises(NormalisedImageError, match="pixel_values"):
        NORMALISED[name](batch)


def test_the_founding_bug_in_a_training_step_is_found(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step of the page, with the segmenter's picture made from the normalised one, as it once was."""
    monkeypatch.setitem(
        PAGE.training_step.__globals__,
        "frames_of",
        lambda batch: [dict(batch), dict(batch) | {"g_pixel_values": founding_bug(batch)}],
    )
    batch = SampleDataset(stores[1]).__getitems__([0, 1])
    model = Model()
    with (
        InputGuard(batch),
        pytest.raises(ResizedInputError, match="pixel_values is resized by upsample_bilinear2d"),
    ):
        PAGE.training_step(model, copy.deepcopy(model), Segmenter(), batch, words_of(batch), LOSSES)


def test_what_the_model_makes_of_a_picture_may_be_resized(batch: dict[str, Any]) -> None:
    with InputGuard(batch):
        features = nn.Conv2d(3, 4, 32, 32)(PAGE.segmenter_input(batch["g_pixel_values"]))
        functional.interpolate(features, (1024, 1024))
        functional.max_pool2d(features * 255, 2).clamp(0, 255)
        region = torch.bmm(batch["prompt_masks"].flatten(1)[:, None], torch.ones(2, 256, 8))
        assert region.shape == (2, 1, 8)
