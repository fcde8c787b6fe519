"""The tables of a part: which of them a sample needs, and that the system reads them before they are asked for."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_cache import evict, pages_in_memory, until_in_memory
from stores import coco_store

from resizeonce.loader import Store
from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.format.layout import TENSORS
from resizeonce.loader.format.shard import shard_path
from resizeonce.loader.part import INDEX_BYTES, READ_WITH_A_SAMPLE

WHOLE = slice(None)


def opened(store: Path) -> set[str]:
    """Return what reading a sample opens, but for rows."""
    found = Store(store)
    found.batch([0])
    part = found.part(0)
    return {path for path in part._arrays if not found._specs[path].row_chunks}


def test_the_tables_of_a_sample_are_those_that_it_needs(tmp_path: Path, sentences: Path) -> None:
    assert opened(sentences) == set(READ_WITH_A_SAMPLE)
    coco_store(tmp_path)
    needed = {path for path in READ_WITH_A_SAMPLE if not path.startswith("expressions")}
    assert opened(tmp_path / "coco.zarr") == needed


def files_of(store: Store, number: int) -> Iterator[tuple[Path, bool]]:
    """Yield the files of a part that a sample needs, and whether they are rows."""
    folder = store.path / f"part-{number:05}"
    yield folder / "zarr.json", False
    for path, spec in store._specs.items():
        file = folder / shard_path(spec)
        if file.exists() and (spec.row_chunks or path in READ_WITH_A_SAMPLE):
            yield file, spec.row_chunks


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is in memory")
def test_tables_and_indexes_are_read_before_they_are_asked_for_and_rows_are_not(tmp_path: Path) -> None:
    coco_store(tmp_path, "recipe.g_pixel_values.size=512", "recipe.masks.size=64", "store.scenes_per_part=4")
    store = Store(tmp_path / "coco.zarr")
    first, other = dict(files_of(store, 0)), dict(files_of(store, 1))
    for path in first | other:
        evict(path)
    store.expect(0)
    for path, are_rows in first.items():
        until_in_memory(path, slice(-1, None) if are_rows else WHOLE)
    rows = next(path for path in first if path.parts[-6] == "g_pixel_values")
    assert rows.stat().st_size > 4 * INDEX_BYTES
    assert not pages_in_memory(rows)[: -INDEX_BYTES // 4096 - 1].any()
    assert not any(pages_in_memory(path).any() for path in other)
    assert not store._open_parts


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is in memory")
def test_of_a_large_table_only_what_is_needed_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coco_store(tmp_path)
    store = Store(tmp_path / "coco.zarr")
    table = store.path / "part-00000" / shard_path(store._specs["masks/prompt_masks"])
    other = store.path / "part-00000" / shard_path(store._specs["masks/image"])
    monkeypatch.setattr("resizeonce.loader.part.MOST_BYTES", table.stat().st_size - 1)
    evict(table)
    evict(other)
    store.expect(0)
    until_in_memory(other, WHOLE)
    assert not pages_in_memory(table).any()


def test_a_part_is_asked_for_once_and_not_when_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coco_store(tmp_path)
    store = Store(tmp_path / "coco.zarr")
    asked: list[Path] = []
    monkeypatch.setattr("resizeonce.loader.open_parts.expect_tables", lambda folder, _: asked.append(folder))
    store.part(1)
    first_of_each = [0, *store._sample_ends[:-1]]
    for sample in [*first_of_each, *range(-len(store), len(store)), len(store) + 1]:
        assert store.expect(sample)
    assert [folder.name for folder in asked] == ["part-00000", "part-00002"]
    # One that was closed to make room is asked for again.
    monkeypatch.setattr(Store, "_max_open_parts", lambda _: 1)
    store.part(0)
    store.part(2)
    for sample in first_of_each:
        store.expect(sample)
    assert [folder.name for folder in asked[2:]] == ["part-00000", "part-00001"]


@pytest.mark.parametrize("missing", ["zarr.json", "samples/mask/c/0/0"])
def test_a_part_that_is_not_there_is_told_where_it_is_opened(tmp_path: Path, missing: str) -> None:
    coco_store(tmp_path)
    store = Store(tmp_path / "coco.zarr")
    (store.path / "part-00000" / missing).unlink()
    assert store.expect(0)
    with pytest.raises(StoreError, match=r"is missing.*convert again"):
        store.batch([0], TENSORS)
