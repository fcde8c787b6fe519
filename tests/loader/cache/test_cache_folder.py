"""A cache that is smaller than what is read, or on a disk that can't take it."""

import errno
import json
import os
import pickle
import threading
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import fsspec
import numpy as np
import pytest
from caches import PARTS, PIXELS, as_arrays, assert_same, bytes_of, cached_parts, hidden, largest_part
from fsspec.implementations.local import LocalFileSystem
from grids import slow
from publishing import Publisher
from stores import coco_store, tree_digest

from resizeonce.loader import BatchLoader, CacheOptions, Store
from resizeonce.loader.fill import SampleError
from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.workers.batch_loader import BatchOptions


def test_parts_used_least_recently_make_room(store: Path, web: Publisher, cache: CacheOptions) -> None:
    limited = replace(cache, max_bytes=sum(bytes_of(store / part) for part in PARTS) - 1)
    opened = Store(web.url, cache=limited)
    for sample in (0, 4, 0, 9):
        assert_same(opened.batch([sample]), Store(store).batch([sample]))
        # Each batch as if it were another process: what is open is used, too, but noted only now and then.
        opened = pickle.loads(pickle.dumps(opened))
    assert cached_parts(cache) == ["part-00000", "part-00002"]


@pytest.mark.parametrize("parts", [1, slow(2)])
def test_batches_stay_right_in_a_cache_smaller_than_the_store(
    store: Path, web: Publisher, cache: CacheOptions, parts: int
) -> None:
    limited = replace(cache, max_bytes=parts * largest_part(store))
    opened, local = Store(web.url, cache=limited), Store(store)
    # The parts by turns: in a cache that removes what was used least recently, the next one is never there.
    for samples in ([0, 5, 9], [3, 6, 8], [1, 4, 9], [2]):
        assert_same(opened.batch(samples), local.batch(samples))
        assert bytes_of(cache.path()) <= limited.max_bytes
    assert dict(web.parts_sent()) == dict(zip(PARTS, (4, 3, 3), strict=True))


def test_what_was_removed_is_not_kept_mapped(store: Path, web: Publisher, cache: CacheOptions) -> None:
    opened = Store(web.url, cache=replace(cache, max_bytes=largest_part(store)))
    opened.batch(range(10))
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not list maps")
    mapped = {line.split(None, 5)[5] for line in maps.read_text().splitlines() if str(cache.path()) in line}
    assert mapped
    assert not [path for path in mapped if "part-00002" not in path]


def test_views_of_a_removed_part_stay_valid(store: Path, web: Publisher, cache: CacheOptions) -> None:
    opened = Store(web.url, cache=replace(cache, max_bytes=largest_part(store)))
    part = opened.part(0)
    opened.part(1)
    assert cached_parts(cache) == ["part-00001"]
    local = Store(store).part(0)
    for path in ("images/g_pixel_values", "masks/masks"):
        assert np.array_equal(part.array(path).row(1), local.array(path).row(1))


def test_the_limit_holds_for_all_stores_of_a_folder(
    store: Path, tmp_path: Path, web: Publisher, cache: CacheOptions
) -> None:
    coco_store(tmp_path, "recipe.name=sa2va")
    limited = replace(cache, max_bytes=3 * largest_part(store))
    for url in (web.url, (tmp_path / "coco.zarr").as_uri()) * 2:
        Store(url, cache=limited).batch(range(10))
        assert bytes_of(cache.path()) <= limited.max_bytes


def test_a_limit_below_one_part_is_an_error_at_once(web: Publisher, cache: CacheOptions) -> None:
    with pytest.raises(
        StoreError, match=r"has [\d,]+ bytes, more than the 1,000 that the cache in .* may hold"
    ):
        Store(web.url, cache=replace(cache, max_bytes=1000))


@pytest.mark.parametrize("mode", [slow("thread"), "process"])
def test_workers_share_a_cache_smaller_than_the_store(
    store: Path, web: Publisher, cache: CacheOptions, mode: str
) -> None:
    limited = replace(cache, max_bytes=largest_part(store))
    batches = BatchLoader(web.url, 2, 3, options=BatchOptions(mode=mode), cache=limited)
    expected = BatchLoader(store, 2, 0)
    for _ in range(2):
        for found, local in zip(batches, expected, strict=True):
            assert_same(found, as_arrays(local))
    batches.close()
    assert bytes_of(cache.path()) <= limited.max_bytes


def test_parts_that_cannot_be_removed_are_an_error_and_not_a_wait(
    store: Path, web: Publisher, cache: CacheOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Store(web.url, cache=replace(cache, max_bytes=largest_part(store)))
    opened.batch([0])

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(SampleError, match="belongs to another user; give a larger max_bytes"):
        opened.batch([9])


@pytest.mark.parametrize("place", ["0" * 64, f"{'0' * 64}/part-00000"])
def test_what_links_in_a_shared_cache_lead_to_is_not_removed(
    store: Path, web: Publisher, cache: CacheOptions, tmp_path: Path, place: str
) -> None:
    coco_store(tmp_path)
    somebody = tmp_path / "coco.zarr"
    before = tree_digest(somebody)
    link = cache.path() / place
    link.parent.mkdir(parents=True)
    link.symlink_to(somebody / "part-00000" if "/" in place else somebody)
    Store(web.url, cache=replace(cache, max_bytes=largest_part(store))).batch(range(10))
    assert tree_digest(somebody) == before


@pytest.mark.parametrize("says", [None, -(10**15), 10**15])
def test_a_part_that_lies_about_its_size_makes_room_like_any_other(
    store: Path, web: Publisher, cache: CacheOptions, says: int | None
) -> None:
    limited = replace(cache, max_bytes=largest_part(store))
    other = cache.path() / ("0" * 64) / "part-00000"
    copytree(store / "part-00000", other)
    if says is None:
        (other / "zarr.json").unlink()
    else:
        metadata = json.loads((other / "zarr.json").read_text())
        metadata["attributes"]["resizeonce"]["bytes"] = says
        (other / "zarr.json").write_text(json.dumps(metadata))
    assert_same(Store(web.url, cache=limited).batch([0]), Store(store).batch([0]))
    assert not other.exists()
    assert bytes_of(cache.path()) <= limited.max_bytes


@pytest.mark.parametrize("parts_in_the_cache", [4, 100])
def test_parts_expected_are_fetched_while_others_are_read_where_the_cache_is_large(
    store: Path, web: Publisher, cache: CacheOptions, parts_in_the_cache: int
) -> None:
    is_fetched = threading.Event()

    def note(path: str, _: int, content: bytes) -> bytes:
        if "part-00001" in path:
            is_fetched.set()
        return content

    web.fault = note
    opened = Store(web.url, cache=replace(cache, max_bytes=parts_in_the_cache * largest_part(store)))
    assert opened.expect(6) is False
    opened.batch([0])
    if parts_in_the_cache == 100:
        assert is_fetched.wait(timeout=60)
    else:
        assert dict(web.parts_sent()) == {"part-00000": 1}


@pytest.mark.parametrize("at", ["part-00000/zarr.json", f"part-00000/{PIXELS}", "masks/area/c/0"])
def test_a_folder_that_is_removed_while_a_part_is_fetched_is_filled_again(
    store: Path, web: Publisher, cache: CacheOptions, at: str
) -> None:
    def remove(path: str, number: int, content: bytes) -> bytes:
        if path.endswith(at) and number == 1:
            # What arrives meanwhile may stand in the way.
            rmtree(cache.path(), ignore_errors=True)
        return content

    web.fault = remove
    assert_same(Store(web.url, cache=cache).batch([0]), Store(store).batch([0]))
    assert cached_parts(cache) == ["part-00000"]
    (part,) = cache.path().glob("*/part-00000")
    assert tree_digest(part) == tree_digest(store / "part-00000")


def test_a_folder_that_is_removed_time_and_again_is_told_and_not_taken_for_the_server_s_fault(
    web: Publisher, cache: CacheOptions
) -> None:
    def remove(path: str, _: int, content: bytes) -> bytes:
        if path.endswith(PIXELS):
            rmtree(cache.path(), ignore_errors=True)
        return content

    web.fault = remove
    opened = Store(web.url, cache=cache)
    with pytest.raises(StoreError, match=r"can't be kept in .*something removes what is there"):
        opened.part(0)
    assert web.parts_sent()["part-00000"] == 3


def test_a_folder_that_cannot_be_made_is_an_error_with_advice(web: Publisher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    opened = Store(web.url, cache=CacheOptions(folder=tmp_path / "file" / "cache"))
    with pytest.raises(SampleError, match=r"can't be kept in .*another folder: cache=CacheOptions\(folder="):
        opened.batch([0])


def refuse_to_write(path: Path, flags: int, *mode: Any, opened: Any = os.open) -> int:
    if flags & (os.O_WRONLY | os.O_RDWR):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return int(opened(path, flags, *mode))


def test_a_read_only_folder_gives_the_parts_that_are_in_it(
    store: Path, web: Publisher, cache: CacheOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(web.url, cache=cache).batch([0])
    folders = [cache.path(), *cache.path().rglob("*")]
    try:
        for path in folders:
            path.chmod(0o555 if path.is_dir() else 0o444)
        if os.access(cache.path(), os.W_OK):
            # This user may write anywhere, so the system's answer to others is given here.
            monkeypatch.setattr(os, "open", refuse_to_write)
        opened = Store(web.url, cache=cache)
        assert_same(opened.batch([0]), Store(store).batch([0]))
        with pytest.raises(SampleError, match="can't be kept in"):
            opened.batch([9])
    finally:
        for path in folders:
            path.chmod(0o755 if path.is_dir() else 0o644)


class FullDisk(LocalFileSystem):
    """A filesystem of which the second file does not fit on this machine's disk."""

    protocol = "full-disk"
    is_full = True

    def get_file(self, rpath: str, lpath: str, *args: Any, **options: Any) -> None:
        if self.is_full and "g_pixel_values/c" in rpath:
            Path(lpath).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device", lpath)
        super().get_file(rpath, lpath, *args, **options)


def test_a_full_disk_is_an_error_with_advice_and_leaves_nothing(store: Path, cache: CacheOptions) -> None:
    fsspec.register_implementation("full-disk", FullDisk, clobber=True)
    opened = Store(f"full-disk://{store}", cache=cache)
    with pytest.raises(StoreError, match=r"No space left on device.*smaller max_bytes"):
        opened.part(0)
    assert [*cached_parts(cache), *hidden(cache)] == []
    FullDisk.is_full = False
    try:
        assert_same(opened.batch([0]), Store(store).batch([0]))
    finally:
        FullDisk.is_full = True
