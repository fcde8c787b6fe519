"""What can't be opened at a URL, and the options that are refused."""

import json
import pwd
import shutil
import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest
from damage import attributes_of, reseal
from publishing import Publisher, published

from resizeonce.loader import (
    BatchLoader,
    CacheOptions,
    Order,
    OrderOptions,
    SampleDataset,
    SampleIndex,
    Store,
)
from resizeonce.loader.fill import SampleError
from resizeonce.loader.format.errors import FormatVersionError, StoreError
from resizeonce.loader.format.metadata import attributes_digest


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


@pytest.mark.parametrize("fault", [ConnectionRefusedError("busy"), EOFError("busy")])
def test_a_server_that_refuses_the_connection_at_first_is_asked_again(
    store: Path, cache: CacheOptions, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    connect, tries = fsspec.url_to_fs, 0

    def connect_later(url: str, **options: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries % 3:
            # As file systems do that connect when they are made: those of sftp, ftp, smb.
            raise fault
        return connect(url, **options)

    monkeypatch.setattr(fsspec, "url_to_fs", connect_later)
    assert len(Store(store.as_uri(), cache=cache)) == 10
    assert tries == 3


def test_a_protocol_that_nobody_knows_is_an_error_that_names_it(cache: CacheOptions) -> None:
    with pytest.raises(StoreError, match=r"can't open nosuch://bucket/coco\.zarr: .*nosuch"):
        Store("nosuch://bucket/coco.zarr", cache=cache)


def test_without_fsspec_the_error_says_what_to_install(
    cache: CacheOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StoreError, match=r"pip install 'resizeonce\[remote\]'"):
        Store("https://example.org/coco.zarr", cache=cache)


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
    copy = rewritten(store, tmp_path, lambda root: root.update(format_version=4))
    with pytest.raises(FormatVersionError, match="has format version 4"):
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


def test_who_has_no_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(
        StoreError, match=r"no home directory .*give CacheOptions\(folder=\.\.\.\), or set XDG_CACHE_HOME"
    ):
        CacheOptions().path()
    assert CacheOptions(folder=tmp_path).path() == tmp_path
