"""Batches filled by tensor, against the same filled row by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import COMPACT_IMAGES, coco_store

from loader import Store, filling
from loader.filling import SampleError
from loader.rows import fill_rows
from loader.tensors import TENSORS

SMALL = ["recipe.pixel_values.size=32", "recipe.g_pixel_values.size=48", "recipe.masks.size=48"]
FORMS: dict[str, tuple[str, ...]] = {
    "raw": (),
    "float32": ("recipe.pixel_values.stored=float32",),
    "compact": COMPACT_IMAGES,
}


def leave_everything(tensor: str, rows: list[Any], out: Any) -> range:
    del tensor, out
    return range(len(rows))


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_is_the_same_as_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    coco_store(tmp_path, *SMALL, *FORMS[form])
    store = Store(tmp_path / "coco.zarr")
    samples = [*range(len(store)), 0, len(store) - 1]
    batch = store.batch(samples)
    monkeypatch.setattr(filling, "fill_rows", leave_everything)
    expected = store.batch(samples)
    assert batch.keys() == expected.keys()
    for key, value in expected.items():
        same = np.array_equal(batch[key], value) if isinstance(value, np.ndarray) else batch[key] == value
        assert same, key


def test_raw_images_and_masks_leave_nothing_to_be_done_row_by_row(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    # In masks much smaller than this, so many pixels differ from those above that libzstd packs them.
    coco_store(tmp_path, *SMALL[:2], "recipe.masks.size=512")
    store = Store(tmp_path / "coco.zarr")
    located = [store.locate(sample) for sample in range(4)]
    rows = [(part, int(masks[0])) for part, masks in located]
    for tensor in TENSORS:
        shape, dtype = store.array_layout(4, [tensor])[tensor]
        left = fill_rows(tensor, rows, np.empty(shape, dtype))
        assert list(left) == ([0, 1, 2, 3] if tensor == "prompt_masks" else [])


@pytest.mark.parametrize("tensor", ["masks/masks", "images/pixel_values", "images/g_pixel_values"])
def test_one_damaged_row_is_named_and_nothing_else(tmp_path: Path, tensor: str) -> None:
    coco_store(tmp_path, *SMALL)
    store = Store(tmp_path / "coco.zarr", check_rows=True)
    keys = [store.key(sample) for sample in range(len(store))]
    part, masks = store.locate(3)
    row = int(masks[0]) if tensor.startswith("masks") else int(part.column("masks/image")[masks[0]])
    start, _ = part.array(tensor).span(row)
    path = part.array(tensor).path
    content = bytearray(path.read_bytes())
    content[start + 8] ^= 255
    path.write_bytes(content)
    opened = Store(tmp_path / "coco.zarr", check_rows=True)
    with pytest.raises(SampleError, match=f"sample 3 .*{keys[3]}.*checksum"):
        opened.batch([0, 1, 3, 2])
