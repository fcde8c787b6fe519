"""The block of docs/augmentation.md that takes torchvision: `make test-recipes` installs it; without it this is skipped."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from stores import coco_store

from resizeonce.loader import Batch, BatchLoader, Objects, Order, OrderOptions, SampleIndex, Store

# It lets a torchvision be imported whose operators are of another build.
pytest.importorskip("released", reason="`make test-recipes` installs what it imports")

PAGE = Path(__file__).parents[2] / "docs" / "augmentation.md"


def batches_of(store: Path, batch_size: int, workers: int) -> list[Batch]:
    index = SampleIndex(Store(store), draw=Objects(at_most=4))
    return list(BatchLoader(Order([index], OrderOptions(seed=5)), batch_size, workers))


def test_the_block_of_the_page_is_seeded_by_the_samples_number(tmp_path: Path) -> None:
    coco_store(tmp_path, "store.boxes=true")
    found: dict[str, Any] = {}
    functions, _, block = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(functions + block, str(PAGE), "exec"), found)
    state = torch.get_rng_state()
    (batch,) = batches_of(tmp_path / "coco.zarr", 5, 0)
    together = found["augment_by_torchvision"](batch)
    assert torch.equal(torch.get_rng_state(), state)
    one_by_one = [
        found["augment_by_torchvision"](batch)[0] for batch in batches_of(tmp_path / "coco.zarr", 1, 2)
    ]
    for first, second in zip(together, one_by_one, strict=True):
        assert all(torch.equal(*both) for both in zip(first, second, strict=True))
    for (picture, masks, boxes), (start, end) in zip(
        together, pairwise(batch["objects"].tolist()), strict=True
    ):
        assert picture.shape == (3, 48, 48)
        assert len(masks) == len(boxes) == end - start
        for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
            # A pixel of the view may be set though the object only begins within it.
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            assert left - 1 <= columns.min() <= columns.max() + 1 <= right + 1
            assert top - 1 <= rows.min() <= rows.max() + 1 <= bottom + 1
