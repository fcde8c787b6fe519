"""The blocks of docs/augmentation.md that take torchvision and kornia, which `make test-recipes` installs."""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from stores import coco_store

from resizeonce.loader import Batch, BatchLoader, Objects, Order, OrderOptions, SampleIndex, Store

# It lets a torchvision be imported whose operators are of another build.
pytest.importorskip("released", reason="`make test-recipes` installs what it imports")
pytest.importorskip("kornia", reason="`make test-recipes` installs it")

PAGE = Path(__file__).parents[2] / "docs" / "augmentation.md"

Samples = list[list[torch.Tensor]]
Augment = Callable[[Batch], Samples]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO store of five images with two objects each, and with boxes."""
    folder = tmp_path_factory.mktemp("coco")
    coco_store(folder, "store.boxes=true")
    return folder / "coco.zarr"


@pytest.fixture(params=["torchvision", "kornia"])
def augment(request: pytest.FixtureRequest) -> Augment:
    """The function of the page that takes this package."""
    functions, _, *blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (block,) = (block for block in blocks if f"augment_by_{request.param}" in block)
    found: dict[str, Any] = {}
    exec(compile(functions + block, str(PAGE), "exec"), found)
    augment: Augment = found[f"augment_by_{request.param}"]
    return augment


def loader_of(store: Path, batch_size: int, workers: int) -> BatchLoader:
    index = SampleIndex(Store(store), draw=Objects(at_most=4))
    return BatchLoader(Order([index], OrderOptions(seed=5)), batch_size, workers)


def is_same(first: Samples, second: Samples) -> bool:
    return len(first) == len(second) and all(
        torch.equal(*both) for pair in zip(first, second, strict=True) for both in zip(*pair, strict=True)
    )


def test_two_runs_and_one_that_goes_on_elsewhere_are_changed_alike(store: Path, augment: Augment) -> None:
    together = [sample for batch in loader_of(store, 5, 0) for sample in augment(batch)]
    # Whatever was drawn before.
    torch.rand(7)
    assert is_same(together, [sample for batch in loader_of(store, 1, 2) for sample in augment(batch)])

    first = loader_of(store, 2, 2)
    changed = augment(next(iter(first)))
    rest = loader_of(store, 3, 1)
    rest.load_state_dict(first.state_dict())
    for batch in rest:
        changed += augment(batch)
    assert is_same(together, changed)


def test_each_sample_and_epoch_is_changed_otherwise_and_the_trainers_own_draws_go_on(
    store: Path, augment: Augment
) -> None:
    state = torch.get_rng_state()
    loader = loader_of(store, 5, 0)
    epochs = [next(iter(loader)) for _ in range(2) if loader.set_epoch(loader.epoch + 1) is None]
    pictures = [
        (key, sample[0]) for batch in epochs for key, sample in zip(batch["key"], augment(batch), strict=True)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    assert len(pictures) == 10
    for key in epochs[0]["key"]:
        first, second = (picture for name, picture in pictures if name == key)
        assert not torch.equal(first, second)


def test_masks_and_boxes_move_with_the_picture(store: Path, augment: Augment) -> None:
    (batch,) = loader_of(store, 5, 0)
    changed = augment(batch)
    for (picture, masks, boxes), (start, end) in zip(
        changed, pairwise(batch["objects"].tolist()), strict=True
    ):
        assert picture.shape == (3, 48, 48)
        assert len(masks) == len(boxes) == end - start
        assert set(masks.unique().tolist()) == {0, 1}
        assert not torch.equal(masks, batch["masks"][start:end])
        for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
            # A pixel of the view may be set though the object only begins within it; kornia's flips are another one off.
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            assert left - 2 <= columns.min() <= columns.max() + 1 <= right + 2
            assert top - 2 <= rows.min() <= rows.max() + 1 <= bottom + 2


def test_what_is_in_the_picture_and_its_mask_stay_on_one_another(store: Path, augment: Augment) -> None:
    (batch,) = loader_of(store, 5, 0)
    # In the place of each picture its first object, white on black.
    batch["g_pixel_values"] = (batch["masks"][batch["objects"][:-1]] * 255).byte()[:, None].repeat(1, 3, 1, 1)
    for picture, masks, _ in augment(batch):
        shown = picture.float().mean(0) > picture.float().mean(0).max() / 2
        assert (shown & (masks[0] > 0)).sum() / (shown | (masks[0] > 0)).sum() > 0.9
