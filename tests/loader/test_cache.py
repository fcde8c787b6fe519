"""Stores at URLs: what arrives, what is kept, and who waits for whom."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from damage import attributes_of, reseal
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from publishing import Publisher, published
from stores import coco_store
from torch.utils.data import DataLoader

from loader import BatchLoader, CacheOptions, Order, OrderOptions, SampleDataset, SampleIndex, Store, Subset
from loader import collate as collate_batch
from loader import remote as remote_module
from loader.batches import BatchOptions
from loader.filling import SampleError
from preprocess.errors import FormatVersionError, StoreError
from preprocess.layout import attributes_digest

SMALL = ["recipe.pixel_values.size=32", "recipe.g_pixel_values.size=48", "recipe.masks.size=48"]
PARTS = ["part-00000", "part-00001", "part-00002"]
PIXELS = "images/g_pixel_values/c/0/0/0/0"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    coco_store(folder, *SMALL)
    return folder / "coco.zarr"


@pytest.fixture
def web(store: Path) -> Iterator[Publisher]:
    with published(store.parent) as publisher:
        publisher.url += "/coco.zarr"
        yield publisher


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "PAUSES", (0.0, 0.0))


@pytest.fixture
def cache(tmp_path: Path) -> CacheOptions:
    return CacheOptions(folder=tmp_path / "cache")


def in_memory(store: Path, name: str) -> str:
    MemoryFileSystem().put(str(store), f"/{name}", recursive=True)
    return f"memory://{name}"


def bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def largest_part(store: Path) -> int:
    return max(bytes_of(store / part) for part in PARTS)


def cached_parts(cache: CacheOptions) -> list[str]:
    return sorted(path.name for path in cache.path().glob("*/part-*"))


def hidden(cache: CacheOptions) -> list[str]:
    return sorted(path.name for path in cache.path().rglob(".*"))


def as_arrays(batch: dict[str, Any]) -> dict[str, Any]:
    return {key: np.asarray(value) if hasattr(value, "shape") else value for key, value in batch.items()}


def assert_same(batch: dict[str, Any], expected: dict[str, Any]) -> None:
    found = as_arrays(batch)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            assert found[key].dtype == value.dtype
            assert np.array_equal(found[key], value)
        else:
            assert found[key] == value


# Reading


@pytest.mark.parametrize("protocol", ["memory", "http", "file"])
def test_a_store_at_a_url_gives_the_batches_of_the_same_store_on_a_disk(
    store: Path, web: Publisher, cache: CacheOptions, protocol: str
) -> None:
    url = {"memory": in_memory(store, "plain"), "http": web.url, "file": store.as_uri()}[protocol]
    opened, local = Store(url, cache=cache), Store(store)
    assert len(opened) == len(local) == 10
    assert_same(opened.batch(range(10)), local.batch(range(10)))
    assert cached_parts(cache) == PARTS
    assert hidden(cache) == []


def test_nothing_but_the_root_is_read_before_a_sample_is(web: Publisher, cache: CacheOptions) -> None:
    opened = Store(web.url, cache=cache)
    assert dict(web.requests) == {"coco.zarr/zarr.json": 1}
    _ = opened[0]
    assert dict(web.parts_sent()) == {"part-00000": 1}


def test_a_cached_part_is_the_published_one_byte_for_byte(
    store: Path, web: Publisher, cache: CacheOptions
) -> None:
    opened = Store(web.url, cache=cache)
    _ = opened[0]
    for file in (store / "part-00000").rglob("*"):
        if file.is_file():
            assert (opened.path / file.relative_to(store)).read_bytes() == file.read_bytes()


def test_what_is_in_the_cache_is_not_fetched_again(web: Publisher, cache: CacheOptions) -> None:
    for _ in range(3):
        Store(web.url, cache=cache).batch(range(10))
    assert dict(web.parts_sent()) == dict.fromkeys(PARTS, 1)


def test_rows_can_be_checked_whenever_they_are_read(store: Path, web: Publisher, cache: CacheOptions) -> None:
    opened = Store(web.url, check_rows=True, cache=cache)
    assert_same(opened.batch([3]), Store(store).batch([3]))
    spoilt = opened.path / "part-00000" / PIXELS
    content = bytearray(spoilt.read_bytes())
    content[5] ^= 1
    spoilt.write_bytes(content)
    with pytest.raises(SampleError, match="checksum"):
        Store(web.url, check_rows=True, cache=cache).batch(range(10))


def test_a_filter_fetches_columns_and_no_parts(store: Path, web: Publisher, cache: CacheOptions) -> None:
    subset = Subset(min_prompt_cells=4, key_range=(0.1, 0.9))
    found = SampleIndex(Store(web.url, cache=cache), subset)
    expected = SampleIndex(Store(store), subset)
    assert 0 < len(found) == len(expected) < 10
    units = np.arange(len(found))
    assert np.array_equal(found.samples(units, 0), expected.samples(units, 0))
    assert cached_parts(cache) == []
    assert not any(PIXELS in path for path in web.requests)


def test_drawing_one_mask_an_image_fetches_columns_and_no_parts(
    store: Path, web: Publisher, cache: CacheOptions
) -> None:
    found, expected = (
        SampleIndex(opened, masks="one") for opened in (Store(web.url, cache=cache), Store(store))
    )
    for key in (1, 2, 3):
        units = np.arange(len(expected))
        assert np.array_equal(found.samples(units, key), expected.samples(units, key))
    assert cached_parts(cache) == []
    assert not any(PIXELS in path for path in web.requests)


# Where a URL can stand


def test_a_dataset_takes_a_url_and_a_cache(store: Path, web: Publisher, cache: CacheOptions) -> None:
    dataset = SampleDataset(web.url, cache=cache)
    assert_same(dataset.__getitems__([4, 9, 0]), Store(store).batch([4, 9, 0]))


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_dataloader_workers_read_a_url(
    store: Path, web: Publisher, cache: CacheOptions, context: str
) -> None:
    dataset = SampleDataset(web.url, cache=cache)
    # Read here first, so that what a fork must not share is there.
    assert_same(dataset.__getitems__([0]), Store(store).batch([0]))
    batches = DataLoader(
        dataset, batch_size=4, collate_fn=collate_batch, num_workers=2, multiprocessing_context=context
    )
    for number, batch in enumerate(batches):
        assert_same(batch, Store(store).batch(range(4 * number, min(4 * number + 4, 10))))
    assert dict(web.parts_sent()) == dict.fromkeys(PARTS, 1)


@pytest.mark.parametrize(("workers", "mode"), [(0, "thread"), (2, "thread"), (2, "process")])
def test_a_batch_loader_reads_a_url(
    store: Path, web: Publisher, cache: CacheOptions, workers: int, mode: str
) -> None:
    batches = BatchLoader(web.url, 2, workers, options=BatchOptions(mode=mode), cache=cache)
    expected = BatchLoader(store, 2, 0)
    for _ in range(2):
        for found, local in zip(batches, expected, strict=True):
            assert_same(found, as_arrays(local))
    batches.close()
    assert dict(web.parts_sent()) == dict.fromkeys(PARTS, 1)


def test_urls_and_paths_mix(store: Path, web: Publisher, cache: CacheOptions) -> None:
    batches = BatchLoader([Store(store), Store(web.url, cache=cache)], 2, 0)
    assert sum(len(batch["key"]) for batch in batches) == 20


def test_a_place_in_the_order_is_the_same_for_the_url_and_the_path(
    store: Path, web: Publisher, cache: CacheOptions
) -> None:
    batches = BatchLoader(store, 2, 0)
    iterator = iter(batches)
    next(iterator), next(iterator)
    resumed = BatchLoader(web.url, 2, 0, cache=cache)
    resumed.load_state_dict(batches.state_dict())
    assert [batch["key"] for batch in resumed] == [batch["key"] for batch in iterator]


def test_a_store_at_a_url_pickles_without_maps_and_connections(
    store: Path, web: Publisher, cache: CacheOptions
) -> None:
    opened = Store(web.url, cache=cache)
    _ = opened[0]
    again = pickle.loads(pickle.dumps(opened))
    assert_same(again.batch([0, 5]), Store(store).batch([0, 5]))


def test_a_cache_where_there_is_nothing_to_cache_is_refused(store: Path, cache: CacheOptions) -> None:
    with pytest.raises(ValueError, match="only a URL is cached"):
        Store(store, cache=cache)
    for take in (SampleDataset, BatchLoader):
        with pytest.raises(ValueError, match="open already"):
            take(Store(store), cache=cache)
    order = Order([SampleIndex(Store(store))], OrderOptions())
    with pytest.raises(ValueError, match="open already"):
        BatchLoader(order, cache=cache)


def test_the_default_folder_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert CacheOptions().path() == tmp_path / "resizeonce"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert CacheOptions().path() == tmp_path / "home" / ".cache" / "resizeonce"
    assert CacheOptions().max_bytes == 100e9


@pytest.mark.parametrize("max_bytes", [0, -1, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_refused(max_bytes: float) -> None:
    with pytest.raises(ValueError, match="max_bytes is a number of bytes above 0"):
        CacheOptions(max_bytes=max_bytes)


def test_options_do_not_show_what_opens_the_bucket() -> None:
    assert "secret" not in repr(CacheOptions(storage_options={"key": "secret"}))


def test_messages_do_not_show_a_password(web: Publisher, cache: CacheOptions) -> None:
    url = web.url.replace("http://", "http://somebody:secret@")
    assert "secret" not in repr(Store(url, cache=cache))
    with pytest.raises(StoreError) as error:
        Store(url + "x", cache=cache)
    assert "secret" not in str(error.value)


# What is no store


def test_a_url_without_a_store_is_refused(web: Publisher, cache: CacheOptions) -> None:
    for url in (web.url + "x", "memory://nothing-here"):
        with pytest.raises(StoreError, match=rf"{url} is no store: {url}/zarr\.json is missing"):
            Store(url, cache=cache)


def test_an_unfinished_store_is_refused(store: Path, tmp_path: Path, cache: CacheOptions) -> None:
    unfinished = Path(shutil.copytree(store, tmp_path / "unfinished.zarr"))
    (unfinished / "zarr.json").rename(unfinished / ".job.json")
    with pytest.raises(StoreError, match=r"unfinished\.zarr is not finished"):
        Store(unfinished.as_uri(), cache=cache)


def test_a_server_that_is_not_there_is_an_error_that_names_it(cache: CacheOptions, store: Path) -> None:
    with published(store.parent) as publisher:
        url = publisher.url
    with pytest.raises(StoreError, match=rf"can't read {url}/coco\.zarr/zarr\.json: \w+"):
        Store(f"{url}/coco.zarr", cache=cache)


def test_a_protocol_that_nobody_knows_is_an_error_that_names_it(cache: CacheOptions) -> None:
    with pytest.raises(StoreError, match=r"nosuch://bucket/coco\.zarr can't be opened: .*nosuch"):
        Store("nosuch://bucket/coco.zarr", cache=cache)


def test_without_fsspec_the_error_says_what_to_install(
    cache: CacheOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(StoreError, match=r"pip install 'resizeonce\[remote\]'"):
        Store("https://example.org/coco.zarr", cache=cache)


def test_a_store_on_a_disk_is_read_without_fsspec(store: Path) -> None:
    command = (
        "import sys; from loader import SampleDataset; SampleDataset(sys.argv[1])[0]; print(*sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", command, str(store)], capture_output=True, check=True)
    modules = set(found.stdout.decode().split())
    assert "loader.cache" in modules
    assert not modules & {"fsspec", "aiohttp"}


def rewritten(store: Path, folder: Path, change: Any) -> Path:
    """Copy a store and change its root attributes."""
    copy = Path(shutil.copytree(store, folder / "rewritten.zarr"))
    content = json.loads((copy / "zarr.json").read_text())
    attributes = content["attributes"]["resizeonce"]
    change(attributes)
    attributes["sha256"] = attributes_digest(attributes)
    (copy / "zarr.json").write_text(json.dumps(content))
    return copy


def test_another_format_version_is_refused_at_once(store: Path, tmp_path: Path, cache: CacheOptions) -> None:
    copy = rewritten(store, tmp_path, lambda root: root.update(format_version=3))
    with pytest.raises(FormatVersionError, match="has format version 3"):
        Store(copy.as_uri(), cache=cache)


def test_a_part_outside_of_the_store_is_refused(store: Path, tmp_path: Path, cache: CacheOptions) -> None:
    copy = rewritten(store, tmp_path, lambda root: root["parts"][0].update(name="../part-00000"))
    with pytest.raises(StoreError, match=r"lists a part '\.\./part-00000'"):
        Store(copy.as_uri(), cache=cache)


def test_a_file_outside_of_its_part_is_refused(store: Path, tmp_path: Path, cache: CacheOptions) -> None:
    copy = Path(shutil.copytree(store, tmp_path / "outside.zarr"))
    attributes = attributes_of(copy / "part-00000")
    attributes["files"]["../../escaped"] = {"bytes": 1, "sha256": "0" * 64}
    reseal(copy / "part-00000", attributes)
    with pytest.raises(SampleError, match=r"lists '\.\./\.\./escaped', outside of the part"):
        Store(copy.as_uri(), cache=cache).batch([0])
    assert not list(tmp_path.rglob("escaped"))


# Damage on the way


def flipped(content: bytes, place: int = 9) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


SPOILT = {
    "raw row": PIXELS,
    "compressed row": "masks/masks/c/0/0/0",
    "column": "masks/image/c/0",
    "metadata of an array": "images/g_pixel_values/zarr.json",
    "metadata of the part": "zarr.json",
}


@pytest.mark.parametrize("file", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("place", [9, -1], ids=["at the front", "at the end"])
def test_a_file_that_is_damaged_on_the_way_once_is_fetched_again(
    store: Path, web: Publisher, cache: CacheOptions, file: str, place: int
) -> None:
    def spoil(path: str, number: int, content: bytes) -> bytes:
        is_hit = path == f"coco.zarr/part-00001/{file}" and number == 1
        return flipped(content, place % len(content)) if is_hit else content

    web.fault = spoil
    assert_same(Store(web.url, cache=cache).batch(range(10)), Store(store).batch(range(10)))
    assert web.requests[f"coco.zarr/part-00001/{file}"] == 2


@pytest.mark.parametrize("file", SPOILT.values(), ids=SPOILT)
def test_a_file_that_always_arrives_damaged_is_an_error_and_never_in_the_cache(
    web: Publisher, cache: CacheOptions, file: str
) -> None:
    hit = f"part-00001/{file}"
    web.fault = lambda path, _, content: flipped(content) if path.endswith(hit) else content
    opened = Store(web.url, cache=cache)
    with pytest.raises(SampleError) as error:
        opened.batch(range(10))
    assert f"{web.url}/{hit} arrived damaged 3 times: " in str(error.value)
    assert "expected " in str(error.value)
    assert web.requests[f"coco.zarr/{hit}"] % 3 == 0
    assert "part-00001" not in cached_parts(cache)
    # What is sound can be read all the same.
    assert opened.batch([0])["key"] == ["coco/1/10"]


@pytest.mark.parametrize("cut", [lambda content: content[:-1], lambda content: content + b"x", lambda _: b""])
def test_a_file_of_another_size_is_not_taken(web: Publisher, cache: CacheOptions, cut: Any) -> None:
    web.fault = lambda path, _, content: cut(content) if path.endswith(PIXELS) else content
    with pytest.raises(SampleError, match=r"g_pixel_values.* it has \d+ bytes, expected \d+"):
        Store(web.url, cache=cache).batch([0])
    assert cached_parts(cache) == []


def test_a_sound_file_of_another_part_is_not_taken(store: Path, web: Publisher, cache: CacheOptions) -> None:
    other = (store / "part-00001" / PIXELS).read_bytes()
    web.fault = lambda path, _, content: other if path.endswith(f"part-00000/{PIXELS}") else content
    # Its own checksums agree, so only the digest of the file can tell.
    with pytest.raises(SampleError, match=r"its SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}"):
        Store(web.url, cache=cache).batch([0])


def test_the_root_is_read_again_when_it_arrives_damaged(web: Publisher, cache: CacheOptions) -> None:
    def spoil(content: bytes) -> bytes:
        assert b'"dataset_type": "coco"' in content
        return content.replace(b'"dataset_type": "coco"', b'"dataset_type": "sa1b"')

    web.fault = lambda _, number, content: spoil(content) if number == 1 else content
    assert len(Store(web.url, cache=cache)) == 10
    web.fault = lambda _, __, content: spoil(content)
    with pytest.raises(
        StoreError, match=r"zarr\.json arrived damaged 3 times: .*not those that were written"
    ):
        Store(web.url, cache=cache)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_fails_twice_is_asked_again(
    store: Path, web: Publisher, cache: CacheOptions, status: int
) -> None:
    web.status = lambda path, number: status if path.endswith(PIXELS) and number < 3 else 200
    assert_same(Store(web.url, cache=cache).batch([0]), Store(store).batch([0]))
    assert web.requests[f"coco.zarr/part-00000/{PIXELS}"] == 3


@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_refuses_is_an_error_with_its_status_and_without_the_password(
    web: Publisher, cache: CacheOptions, status: int
) -> None:
    url = web.url.replace("http://", "http://somebody:secret@")
    opened = Store(url, cache=cache)
    web.status = lambda _, __: status
    with pytest.raises(
        SampleError, match=rf"can't read {web.url}/part-00000/zarr\.json: .*{status}"
    ) as error:
        opened.batch([0])
    assert "secret" not in str(error.value)


def test_a_filter_does_not_believe_a_damaged_column(web: Publisher, cache: CacheOptions) -> None:
    hit = "masks/prompt_cells/c/0"
    web.fault = lambda path, _, content: flipped(content) if path.endswith(hit) else content
    with pytest.raises(StoreError, match=f"{hit} arrived damaged 3 times"):
        SampleIndex(Store(web.url, cache=cache), Subset(min_prompt_cells=1))


def test_a_part_that_was_removed_after_opening_is_an_error_that_says_so(
    store: Path, tmp_path: Path, cache: CacheOptions
) -> None:
    copy = Path(shutil.copytree(store, tmp_path / "copy.zarr"))
    opened = Store(copy.as_uri(), cache=cache)
    shutil.rmtree(copy / "part-00000")
    with pytest.raises(SampleError, match="is missing: the store there was removed, changed"):
        opened.batch([0])


def test_a_store_published_anew_never_mixes_with_the_old_one(
    store: Path, tmp_path: Path, cache: CacheOptions
) -> None:
    place = tmp_path / "coco.zarr"
    shutil.copytree(store, place)
    old = Store(place.as_uri(), cache=cache)
    _ = old[0]
    shutil.rmtree(place)
    coco_store(tmp_path, *SMALL, "recipe.name=sa2va")
    new = Store(place.as_uri(), cache=cache)
    assert_same(new.batch([0, 9]), Store(place).batch([0, 9]))
    assert not np.array_equal(new[0]["g_pixel_values"], Store(store)[0]["g_pixel_values"])
    # Its first part is in the cache, its last one would be the new store's.
    assert_same(old.batch([0]), Store(store).batch([0]))
    with pytest.raises(SampleError, match="SHA-256"):
        old.batch([9])


# The limit


def test_parts_used_least_recently_make_room(store: Path, web: Publisher, cache: CacheOptions) -> None:
    limited = replace(cache, max_bytes=sum(bytes_of(store / part) for part in PARTS) - 1)
    opened = Store(web.url, cache=limited)
    for sample in (0, 4, 0, 9):
        assert_same(opened.batch([sample]), Store(store).batch([sample]))
        # Each batch as if it were another process: what is open is used, too, but noted only now and then.
        opened = pickle.loads(pickle.dumps(opened))
    assert cached_parts(cache) == ["part-00000", "part-00002"]


@pytest.mark.parametrize("parts", [1, 2])
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
    coco_store(tmp_path, *SMALL, "recipe.name=sa2va")
    limited = replace(cache, max_bytes=3 * largest_part(store))
    for url in (web.url, (tmp_path / "coco.zarr").as_uri()) * 2:
        Store(url, cache=limited).batch(range(10))
        assert bytes_of(cache.path()) <= limited.max_bytes


def test_a_limit_below_one_part_is_an_error_at_once(web: Publisher, cache: CacheOptions) -> None:
    with pytest.raises(
        StoreError, match=r"has [\d,]+ bytes, more than the 1,000 that the cache in .* may hold"
    ):
        Store(web.url, cache=replace(cache, max_bytes=1000))


@pytest.mark.parametrize("mode", ["thread", "process"])
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


# Several processes

READ = """
import sys
from loader import CacheOptions, Store
print("ready", flush=True)
sys.stdin.readline()
batch = Store(sys.argv[1], cache=CacheOptions(folder=sys.argv[2])).batch(range(10))
print(int(batch["g_pixel_values"].astype("int64").sum()))
"""


def start_reader(url: str, cache: CacheOptions) -> "subprocess.Popen[str]":
    """Start a process that reads all samples once it is told to, and prints a sum over their pixels."""
    process = subprocess.Popen(
        [sys.executable, "-c", READ, url, str(cache.path())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def let_go(reader: "subprocess.Popen[str]") -> None:
    assert reader.stdin is not None
    reader.stdin.write("go\n")
    reader.stdin.flush()


def pixel_sum(store: Path) -> int:
    return int(Store(store).batch(range(10))["g_pixel_values"].astype(np.int64).sum())


def test_processes_at_once_fetch_a_part_once(store: Path, web: Publisher, cache: CacheOptions) -> None:
    together = threading.Barrier(2)

    def meet(path: str, _: int, content: bytes) -> bytes:
        # No process gets the root before the other one asks for it, too.
        if path == "coco.zarr/zarr.json":
            together.wait(timeout=60)
        return content

    web.fault = meet
    readers = [start_reader(web.url, cache) for _ in range(2)]
    for reader in readers:
        let_go(reader)
    assert [int(reader.communicate(timeout=120)[0]) for reader in readers] == [pixel_sum(store)] * 2
    assert dict(web.parts_sent()) == dict.fromkeys(PARTS, 1)
    assert web.requests[f"coco.zarr/part-00001/{PIXELS}"] == 1
    assert hidden(cache) == []


def test_a_process_killed_while_it_fetches_leaves_nothing_that_the_next_one_minds(
    store: Path, web: Publisher, cache: CacheOptions
) -> None:
    is_fetching, go_on = threading.Event(), threading.Event()

    def stall(path: str, number: int, content: bytes) -> bytes:
        if path.endswith(f"part-00001/{PIXELS}") and number == 1:
            is_fetching.set()
            go_on.wait(timeout=60)
        return content

    web.fault = stall
    reader = start_reader(web.url, cache)
    let_go(reader)
    assert is_fetching.wait(timeout=60)
    os.kill(reader.pid, signal.SIGKILL)
    reader.communicate(timeout=60)
    assert "part-00001" not in cached_parts(cache)
    assert any(name.endswith(".partial") for name in hidden(cache))
    go_on.set()
    assert_same(Store(web.url, cache=cache).batch(range(10)), Store(store).batch(range(10)))
    assert cached_parts(cache) == PARTS
    assert hidden(cache) == []


def test_what_a_killed_process_left_of_another_part_is_removed_when_room_is_made(
    web: Publisher, cache: CacheOptions
) -> None:
    opened = Store(web.url, cache=cache)
    for name in (".part-00002.0123abcd.partial", ".part-00002.4567cdef.gone"):
        (opened.path / name / "images").mkdir(parents=True)
        (opened.path / name / "images" / "half").write_bytes(bytes(100))
    opened.batch([0])
    assert hidden(cache) == []


# The cache's disk


def test_a_folder_that_cannot_be_made_is_an_error_with_advice(web: Publisher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    opened = Store(web.url, cache=CacheOptions(folder=tmp_path / "file" / "cache"))
    with pytest.raises(SampleError, match=r"can't be kept in .*another folder: cache=CacheOptions\(folder="):
        opened.batch([0])


def refuse_to_write(path: Path, *_: Any) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


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
