"""Parts in a cache are shared by stores of one origin, and a stranger's copy is never served for the true one."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from caches import PARTS, PIXELS, assert_same, bytes_of, cached_parts
from google_crc32c import value as crc32c
from publishing import Publisher, published

from resizeonce.loader import CacheOptions, Store
from resizeonce.loader.remote.origin import normalized, origin_of


def with_the_same_checksum(row: bytes) -> bytes:
    """Return other bytes of the same length and CRC-32C: a CRC is linear, so some change of its last 33 bits is not seen."""
    size = len(row)
    base = crc32c(bytes(size))
    # What each of the last 33 bits does to the checksum; 33 numbers of 32 bits are never independent.
    effects: list[tuple[int, int]] = []
    for number in range(33):
        flipped = bytearray(size)
        flipped[size - 1 - number // 8] = 1 << number % 8
        effect, bits = crc32c(bytes(flipped)) ^ base, 1 << number
        for other, others in effects:
            if effect ^ other < effect:
                effect, bits = effect ^ other, bits ^ others
        if effect == 0:
            return (int.from_bytes(row, "big") ^ bits).to_bytes(size, "big")
        effects = sorted([*effects, (effect, bits)], reverse=True)
    raise AssertionError("33 numbers of 32 bits are dependent")


@pytest.fixture
def forged(store: Path, tmp_path: Path) -> Path:
    """A copy of the store in which some pixels are others, and all checksums and digests are right."""
    copy = Path(shutil.copytree(store, tmp_path / "forged" / "coco.zarr"))
    shard = copy / PARTS[0] / PIXELS
    content = shard.read_bytes()
    row = content[: 3 * 48 * 48]
    shard.write_bytes(with_the_same_checksum(row) + content[len(row) :])
    assert shard.read_bytes() != content
    assert crc32c(shard.read_bytes()[: len(row)]) == crc32c(row)
    return copy


def test_what_a_stranger_published_under_the_same_digests_is_not_served_for_the_true_store(
    store: Path, forged: Path, web: Publisher, cache: CacheOptions
) -> None:
    true = Store(store).batch(range(10))
    with published(forged.parent) as stranger:
        found = Store(f"{stranger.url}/coco.zarr", cache=cache).batch(range(10))
    # It is taken for what it says it is: digests are against accidents.
    assert not np.array_equal(found["g_pixel_values"], true["g_pixel_values"])
    assert_same(Store(web.url, cache=cache).batch(range(10)), true)
    assert dict(web.parts_sent()) == dict.fromkeys(PARTS, 1)


def test_a_signed_url_hits_whoever_signed_it(store: Path, cache: CacheOptions) -> None:
    with published(store.parent) as server:
        for query in ("?signature=1", "?signature=2", "", "#x"):
            assert_same(
                Store(f"{server.url}/coco.zarr{query}", cache=cache).batch(range(10)),
                Store(store).batch(range(10)),
            )
        assert dict(server.parts_sent()) == dict.fromkeys(PARTS, 1)
        assert set(server.queries) == {"signature=1", "signature=2", ""}
        assert "signature" not in repr(Store(f"{server.url}/coco.zarr?signature=1", cache=cache))


def test_mirrors_are_joined_by_one_origin(store: Path, web: Publisher, cache: CacheOptions) -> None:
    joined = replace(cache, origin="https://example.org/coco.zarr")
    Store(web.url, cache=joined).batch(range(10))
    with published(store.parent) as mirror:
        again = replace(joined, origin="HTTPS://Example.org:443/coco.zarr/")
        assert_same(
            Store(f"{mirror.url}/coco.zarr", cache=again).batch(range(10)), Store(store).batch(range(10))
        )
        assert dict(mirror.parts_sent()) == {}
    Store(web.url, cache=cache).batch(range(10))
    assert dict(web.parts_sent()) == dict.fromkeys(PARTS, 2)


def test_an_origin_is_not_empty() -> None:
    with pytest.raises(ValueError, match="origin is a URL or a name, not empty"):
        CacheOptions(origin="")


def test_parts_under_the_key_of_before_are_not_served_but_counted_and_removed_first(
    store: Path, forged: Path, web: Publisher, cache: CacheOptions
) -> None:
    opened = Store(web.url, cache=cache)
    old = cache.path() / opened.attributes["sha256"]
    for part in PARTS:
        shutil.copytree(forged / part, old / part)
    limit = sum(bytes_of(store / part) for part in PARTS) + 1
    assert_same(
        Store(web.url, cache=replace(cache, max_bytes=limit)).batch(range(10)), Store(store).batch(range(10))
    )
    assert bytes_of(cache.path()) <= limit
    assert cached_parts(cache) == PARTS
    assert not list(old.glob("part-*"))


SAME = [
    ("https://example.org/a/coco.zarr", "HTTPS://EXAMPLE.org:443/a/coco.zarr/"),
    ("https://example.org/a/coco.zarr", "https://me:secret@example.org/a/coco.zarr?sig=1&x=/y#z"),
    ("http://example.org:80/coco.zarr", "http://example.org/coco.zarr"),
    ("http://example.org/~a/coco.zarr", "http://example.org/%7Ea/coco.zarr"),
    ("http://example.org/a%2fb.zarr", "http://example.org/a%2Fb.zarr"),
    ("http://example.org/ü b.zarr", "http://example.org/%C3%BC%20b.zarr"),
    ("http://[::1]:80/coco.zarr", "http://[::1]/coco.zarr"),
    ("sftp://me@host/coco.zarr", "sftp://you:secret@HOST/coco.zarr/"),
    ("s3://bucket/coco.zarr", "S3://bucket/coco.zarr/"),
    ("simplecache::https://example.org/x", "simplecache::https://Example.org:443/x?sig=1"),
    ("zip://in.zarr::https://example.org/x.zip", "zip://in.zarr::https://example.org/x.zip?sig=1"),
]

OTHER = [
    ("https://example.org/coco.zarr", "http://example.org/coco.zarr"),
    ("https://example.org/coco.zarr", "https://example.org:8443/coco.zarr"),
    ("https://example.org/coco.zarr", "https://example.org.evil.net/coco.zarr"),
    ("https://example.org/coco.zarr", "https://evil.net/@example.org/coco.zarr"),
    ("https://example.org/coco.zarr", "https://example.org@evil.net/coco.zarr"),
    ("https://example.org/coco.zarr", "https://evil.net?@example.org/coco.zarr"),
    ("https://example.org/coco.zarr", "https://example.org/COCO.zarr"),
    ("https://example.org/a%2Fb", "https://example.org/a/b"),
    ("https://example.org/a%3Fb", "https://example.org/a?b"),
    ("https://example.org/a%25b", "https://example.org/a%b"),
    ("s3://bucket/a%41", "s3://bucket/aA"),
    ("s3://bucket/a?x", "s3://bucket/a?y"),
    ("s3://bucket/coco.zarr", "s3://Bucket/coco.zarr"),
    ("s3://bucket/coco.zarr", "gs://bucket/coco.zarr"),
    ("abfs://one@account/coco.zarr", "abfs://two@account/coco.zarr"),
    ("github://org:one@main/x", "github://org:two@main/x"),
    ("zip://a.zarr::https://example.org/x.zip", "zip://b.zarr::https://example.org/x.zip"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_urls_of_one_origin(first: str, second: str) -> None:
    assert normalized(first) == normalized(second)


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_urls_of_different_origins(first: str, second: str) -> None:
    assert normalized(first) != normalized(second)


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ({"endpoint_url": "https://one"}, {"endpoint_url": "https://two"}, False),
        ({"endpoint_url": "https://one"}, {}, False),
        (
            {"client_kwargs": {"endpoint_url": "https://one"}},
            {"client_kwargs": {"endpoint_url": "https://two"}},
            False,
        ),
        ({"headers": {"Host": "one"}}, {"headers": {"Host": "two"}}, False),
        ({"account_name": "one"}, {"account_name": "two"}, False),
        ({"key": "a", "secret": "b", "token": "c", "anon": False}, {"anon": True}, True),
        ({"endpoint_url": "https://one", "key": "a"}, {"key": "b", "endpoint_url": "https://one"}, True),
        ({"client_kwargs": {"timeout": 5}}, {}, True),
    ],
)
def test_storage_options_that_say_where_files_are_belong_to_the_origin(
    first: dict[str, object], second: dict[str, object], is_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "FSSPEC_S3_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    url = "s3://bucket/coco.zarr"
    assert (origin_of(url, first) == origin_of(url, second)) is is_one
    before = origin_of(url, first)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example")
    assert origin_of(url, first) != before
    assert "minio" not in origin_of("gs://bucket/coco.zarr", first)
