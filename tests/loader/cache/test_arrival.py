"""Files that arrive damaged, late or not at all."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caches import PIXELS, assert_same, cached_parts
from grids import pairs, slow
from publishing import Publisher
from stores import coco_store

from resizeonce.loader import CacheOptions, SampleIndex, Store, Subset
from resizeonce.loader.fill import SampleError
from resizeonce.loader.format.errors import StoreError


def flipped(content: bytes, place: int = 9) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


SPOILT = {
    "raw row": PIXELS,
    "compressed row": "masks/masks/c/0/0/0",
    "column": "masks/image/c/0",
    "metadata of an array": "images/g_pixel_values/zarr.json",
    "metadata of the part": "zarr.json",
}


@pytest.mark.parametrize(("kind", "place"), pairs(SPOILT, [9, -1]))
def test_a_file_that_is_damaged_on_the_way_once_is_fetched_again(
    store: Path, web: Publisher, cache: CacheOptions, kind: str, place: int
) -> None:
    file = SPOILT[kind]

    def spoil(path: str, number: int, content: bytes) -> bytes:
        is_hit = path == f"coco.zarr/part-00001/{file}" and number == 1
        return flipped(content, place % len(content)) if is_hit else content

    web.fault = spoil
    assert_same(Store(web.url, cache=cache).batch(range(10)), Store(store).batch(range(10)))
    assert web.requests[f"coco.zarr/part-00001/{file}"] == 2


@pytest.mark.parametrize("file", [PIXELS, *map(slow, list(SPOILT.values())[1:-1]), "zarr.json"])
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


def test_a_server_that_always_fails_is_asked_no_more_for_the_sake_of_the_message(
    store: Path, web: Publisher, cache: CacheOptions
) -> None:
    path = f"coco.zarr/part-00000/{PIXELS}"
    web.status = lambda asked, _: 500 if asked == path else 200
    # For a cache of two parts, nothing is fetched ahead.
    cache = replace(cache, max_bytes=2 * Store(store).attributes["parts"][0]["bytes"])
    with pytest.raises(SampleError, match="answers 500"):
        Store(web.url, cache=cache).batch([0])
    assert web.requests[path] == 3


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
    coco_store(tmp_path, "recipe.name=sa2va")
    new = Store(place.as_uri(), cache=cache)
    assert_same(new.batch([0, 9]), Store(place).batch([0, 9]))
    assert not np.array_equal(new[0]["g_pixel_values"], Store(store)[0]["g_pixel_values"])
    # Its first part is in the cache, its last one would be the new store's.
    assert_same(old.batch([0]), Store(store).batch([0]))
    with pytest.raises(SampleError, match="SHA-256"):
        old.batch([9])
