"""Batches filled by compiled loops, against the same filled row by row."""

import gc
import shutil
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stores import COMPACT_IMAGES, SIZES

from resizeonce.loader import Store, fill
from resizeonce.loader.fill import BatchRows, SampleError
from resizeonce.loader.format.recipe import DEFAULT_VIEWS
from resizeonce.loader.kernels.batch_kernels import KERNELS, fill_rows
from resizeonce.loader.kernels.core import CORE
from resizeonce.loader.part import Part

FORMS: dict[str, tuple[str, ...]] = {
    "raw": (),
    "float32": ("recipe.pixel_values.stored=float32",),
    "compact": COMPACT_IMAGES,
}


@pytest.fixture
def loops_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the compiled loops leave to be done row by row fails the test."""
    if CORE is None:
        pytest.skip("the install had no compiler")

    def fail(*_: object) -> None:
        raise AssertionError("a row was left")

    monkeypatch.setattr(fill, "KERNELS", {form: (action, fail) for form, (action, _) in KERNELS.items()})


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_is_the_same_as_row_by_row(
    coco_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    store = Store(coco_of(*FORMS[form]))
    samples = [*range(len(store)), 0, len(store) - 1]
    batch = store.batch(samples)
    monkeypatch.setattr(fill, "fill_rows", partial(fill_rows, core=None))
    expected = store.batch(samples)
    assert batch.keys() == expected.keys()
    for key, value in expected.items():
        same = np.array_equal(batch[key], value) if isinstance(value, np.ndarray) else batch[key] == value
        assert same, key


@pytest.mark.usefixtures("loops_only")
def test_a_batch_of_stores_of_several_forms_is_filled_by_loops_all_the_same(
    coco_of: Callable[..., Path],
) -> None:
    stores = [Store(coco_of(*overrides)) for overrides in FORMS.values()]
    picks = [(store, sample) for sample in (0, 5, 9) for store in stores]
    images = ("pixel_values", "g_pixel_values")
    layout = stores[0].array_layout(len(picks), images)
    arrays = {name: np.empty(shape, dtype) for name, (shape, dtype) in layout.items()}
    BatchRows([store for store, _ in picks], [sample for _, sample in picks], tuple(DEFAULT_VIEWS)).fill(
        arrays
    )
    for tensor in images:
        for place, (_, sample) in enumerate(picks):
            assert np.array_equal(arrays[tensor][place], stores[0].batch([sample], [tensor])[tensor][0])


@pytest.mark.usefixtures("loops_only")
@pytest.mark.parametrize("form", ["raw", "compact"])
def test_images_and_masks_leave_nothing_to_be_done_row_by_row(
    coco_of: Callable[..., Path], form: str
) -> None:
    # In masks much smaller than this, so many pixels differ from those above that libzstd packs them.
    store = Store(coco_of("recipe.masks.size=512", *FORMS[form]))
    assert set(DEFAULT_VIEWS) <= set(store.batch(range(4)))


@pytest.mark.parametrize("tensor", ["masks/masks", "images/pixel_values", "images/g_pixel_values"])
def test_one_damaged_row_is_named_and_nothing_else(store: Path, tmp_path: Path, tensor: str) -> None:
    broken = shutil.copytree(store, tmp_path / "broken.zarr")
    opened = Store(broken)
    keys = [opened.key(sample) for sample in range(len(opened))]
    part, masks = opened.locate(3)
    row = int(masks[0]) if tensor.startswith("masks") else int(part.column("masks/image")[masks[0]])
    start, _ = part.array(tensor).span(row)
    path = part.array(tensor).path
    content = bytearray(path.read_bytes())
    content[start + 8] ^= 255
    path.write_bytes(content)
    with pytest.raises(SampleError, match=f"sample 3 .*{keys[3]}.*checksum"):
        Store(broken).batch([0, 1, 3, 2])


def test_parts_of_one_group_of_samples_are_open_at_once_and_no_more(
    coco_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = coco_of("store.scenes_per_part=1")
    store = Store(path)
    expected = store.batch(range(len(store)))
    monkeypatch.setattr("resizeonce.loader.open_parts.MAX_OPEN_PARTS", 2)
    opened: list[weakref.ref[Part]] = []
    most = 0

    class Counted(Part):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            nonlocal most
            super().__init__(*arguments, **options)
            opened.append(weakref.ref(self))
            gc.collect()
            most = max(most, sum(one() is not None for one in opened))

    monkeypatch.setattr("resizeonce.loader.open_parts.Part", Counted)
    found = Store(path).batch(range(len(store)))
    assert len(opened) == len(SIZES)
    # The two of a group, and the one that is just being opened, before the oldest is let go.
    assert most == 3
    assert np.array_equal(found["masks"], expected["masks"])


@pytest.mark.parametrize("column", ["samples/mask", "masks/image"])
def test_a_column_that_points_nowhere_names_the_sample(
    store: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    opened = Store(store)
    part, _ = opened.locate(1)
    broken = part.column(column).copy()
    broken[:] = 0x7FFFFFF
    sound = part.column
    monkeypatch.setattr(part, "column", lambda path: broken if path == column else sound(path))
    with pytest.raises(SampleError, match="sample 1 of"):
        opened.batch([1])


def test_batches_that_are_always_in_memory_are_looked_for_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    class Looked(BatchRows):
        def __init__(self, number: int) -> None:
            self.number = number

        def prefetch(self) -> bool:
            looked.append(self.number)
            return self.number not in (9, 11)

    monkeypatch.setattr(fill, "SURE_AFTER", 3)
    monkeypatch.setattr(fill, "SKIPPED", 2)
    ahead = fill.ReadAhead()
    for number in range(18):
        ahead.prefetch(Looked(number))
    # After three that were there, every third. Nobody looked for 9; after 11, which was not there, for each again.
    assert looked == [0, 1, 2, 5, 8, 11, 12, 13, 14, 17]
