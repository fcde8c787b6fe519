"""Stores at URLs give what they give on a disk, and fetch no more than that."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from caches import PARTS, PIXELS, as_arrays, assert_same, cached_parts, hidden
from fsspec.implementations.memory import MemoryFileSystem
from grids import slow
from publishing import Publisher
from torch.utils.data import DataLoader

from resizeonce.loader import BatchLoader, CacheOptions, SampleDataset, SampleIndex, Store, Subset
from resizeonce.loader import collate as collate_batch
from resizeonce.loader.fill import SampleError
from resizeonce.loader.workers.batch_loader import BatchOptions


def in_memory(store: Path, name: str) -> str:
    MemoryFileSystem().put(str(store), f"/{name}", recursive=True)
    return f"memory://{name}"


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


def test_a_part_in_the_cache_waits_for_no_more_than_a_disk(web: Publisher, cache: CacheOptions) -> None:
    store = Store(web.url, cache=cache)
    assert not store.expect(0)
    store.batch([0])
    store.close_parts()
    assert store.expect(0)


def test_rows_in_the_cache_are_checked_whenever_they_are_read(
    store: Path, web: Publisher, cache: CacheOptions
) -> None:
    opened = Store(web.url, cache=cache)
    assert_same(opened.batch([3]), Store(store).batch([3]))
    spoilt = opened.path / "part-00000" / PIXELS
    content = bytearray(spoilt.read_bytes())
    content[5] ^= 1
    spoilt.write_bytes(content)
    with pytest.raises(SampleError, match="checksum"):
        Store(web.url, cache=cache).batch(range(10))


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


def test_a_dataset_takes_a_url_and_a_cache(store: Path, web: Publisher, cache: CacheOptions) -> None:
    dataset = SampleDataset(web.url, cache=cache)
    assert_same(dataset.__getitems__([4, 9, 0]), Store(store).batch([4, 9, 0]))


@pytest.mark.parametrize("context", ["fork", slow("spawn"), "forkserver"])
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


@pytest.mark.parametrize(("workers", "mode"), [(0, "thread"), slow(2, "thread"), (2, "process")])
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
