"""The tables of a part: which of them a sample needs, and that the system reads them before they are asked for."""

import shutil
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from page_cache import evict, pages_in_memory, until_in_memory
from stores import READ_WITH_A_SAMPLE, coco_store, specs_of

from resizeonce.loader import Store
from resizeonce.loader.array import MappedArray
from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.format.layout import ArraySpec
from resizeonce.loader.format.shard import shard_path
from resizeonce.loader.part import INDEX_BYTES

WHOLE = slice(None)


def opened(store: Path) -> set[str]:
    """Return what reading a sample opens, but for rows."""
    opened = set()

    class Seen(MappedArray):
        def __init__(self, path: Path, spec: ArraySpec, *arguments: Any, **options: Any) -> None:
            super().__init__(path, spec, *arguments, **options)
            if not spec.row_chunks:
                opened.add(spec.path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resizeonce.loader.part.MappedArray", Seen)
        Store(store).batch([0])
    return opened


def test_the_tables_of_a_sample_are_those_that_it_needs(store: Path, sentences: Path) -> None:
    assert opened(sentences) == set(READ_WITH_A_SAMPLE)
    needed = {path for path in READ_WITH_A_SAMPLE if not path.startswith("expressions")}
    assert opened(store) == needed


def files_of(store: Store, number: int) -> Iterator[tuple[Path, bool]]:
    """Yield the files of a part that a sample needs, and whether they are rows."""
    folder = store.path / f"part-{number:05}"
    yield folder / "zarr.json", False
    for path, spec in specs_of(store.path).items():
        file = folder / shard_path(spec)
        if file.exists() and (spec.row_chunks or path in READ_WITH_A_SAMPLE):
            yield file, spec.row_chunks


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is in memory")
def test_tables_and_indexes_are_read_before_they_are_asked_for_and_rows_are_not(on_disk: Path) -> None:
    coco_store(on_disk, "recipe.g_pixel_values.size=512", "recipe.masks.size=64", "store.scenes_per_part=4")
    store = Store(on_disk / "coco.zarr")
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
    assert str(store.path) not in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is in memory")
def test_of_a_large_table_only_what_is_needed_is_read(
    store: Path, on_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What others have mapped can't be evicted.
    store = Path(shutil.copytree(store, on_disk / "coco.zarr"))
    opened = Store(store)
    table = store / "part-00000" / shard_path(specs_of(store)["masks/prompt_masks"])
    other = store / "part-00000" / shard_path(specs_of(store)["masks/image"])
    monkeypatch.setattr("resizeonce.loader.part.MOST_BYTES", table.stat().st_size - 1)
    evict(table)
    evict(other)
    opened.expect(0)
    until_in_memory(other, WHOLE)
    assert not pages_in_memory(table).any()


def test_a_part_is_asked_for_once_and_not_when_it_is_open(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Store(store)
    asked: list[Path] = []
    monkeypatch.setattr("resizeonce.loader.open_parts.expect_tables", lambda folder, _: asked.append(folder))
    opened.part(1)
    lengths = [part["rows"]["samples"] for part in opened.attributes["parts"]]
    first_of_each = [0, *accumulate(lengths[:-1])]
    for sample in [*first_of_each, *range(-len(opened), len(opened)), len(opened) + 1]:
        assert opened.expect(sample)
    assert [folder.name for folder in asked] == ["part-00000", "part-00002"]
    # One that was closed to make room is asked for again.
    monkeypatch.setattr("resizeonce.loader.open_parts.MAX_OPEN_PARTS", 1)
    opened.part(0)
    opened.part(2)
    for sample in first_of_each:
        opened.expect(sample)
    assert [folder.name for folder in asked[2:]] == ["part-00000", "part-00001"]


@pytest.mark.parametrize("missing", ["zarr.json", "samples/mask/c/0/0"])
def test_a_part_that_is_not_there_is_told_where_it_is_opened(
    store: Path, tmp_path: Path, missing: str
) -> None:
    opened = Store(shutil.copytree(store, tmp_path / "coco.zarr"))
    (opened.path / "part-00000" / missing).unlink()
    assert opened.expect(0)
    with pytest.raises(StoreError, match=r"is missing.*`resizeonce convert` again"):
        opened.batch([0])
