"""A process that may open no more files, or not read one: neither a record nor a store is at fault, and nobody is told to remove it."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from miniature.npz import write_npz_pairs
from miniature.sa1b import write_sa1b
from miniature.sav import write_sav_train
from miniature.shapes import picture_of
from stores import coco_config, coco_root, coco_store, make_unfinished

from resizeonce.loader.format.errors import SourceError, StoreError
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.sources.files.folder_tree import scan_folder
from resizeonce.preprocess.sources.files.npz_arrays import open_arrays
from resizeonce.preprocess.sources.files.raw_files import read_file
from resizeonce.preprocess.sources.files.tar_members import read_member, scan_tar
from resizeonce.preprocess.sources.files.video_frames import _open_container
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

PICTURES = [picture_of(60, 90, seed) for seed in range(2)]

LIMIT = r"this process may not open more files: raise the limit \(ulimit -n\)"


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no more files within the block."""
    lowest = os.dup(0)
    os.close(lowest)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of each kind that a source opens."""
    folder = tmp_path_factory.mktemp("raw")
    write_npz_pairs(folder / "npz", [(PICTURES[0], PICTURES[1])])
    write_sa1b(folder / "tar", PICTURES, tar=True)
    write_sav_train(folder / "mp4", [("sav_000001", PICTURES)], video=True)
    return folder


def open_npz(path: Path) -> None:
    with open_arrays(path):
        pass


@pytest.mark.parametrize(
    ("pattern", "opened"),
    [
        ("npz/**/*.npz", open_npz),
        ("npz/**/*.npz", read_file),
        ("npz", lambda path: list(scan_folder(path))),
        ("tar/**/*.tar", lambda path: list(scan_tar(path))),
        ("tar/**/*.tar", lambda path: read_member(path, 0, 512, 1024)),
        ("mp4/**/*.mp4", _open_container),
    ],
)
def test_a_raw_file_that_can_not_be_opened_for_a_limit_is_no_bad_record(
    raw: Path, pattern: str, opened: Callable[[Path], Any]
) -> None:
    (path, *_) = raw.glob(pattern)
    opened(path)
    with (
        no_more_files(),
        pytest.raises(SourceError, match=f"can't read .*{path.name}: {LIMIT}.*same command"),
    ):
        opened(path)


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, code: int, function: str = "open") -> None:
    """Let files, or folders, whose path ends so be refused to this process by a function of `os`."""
    allowed = getattr(os, function)

    def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith(name):
            raise OSError(code, os.strerror(code), str(path))
        return allowed(path, *arguments, **options)

    monkeypatch.setattr(os, function, refusing)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a reject."""
    folder = tmp_path_factory.mktemp("store")
    (coco_root(folder) / "train2017" / "000000000002.jpg").write_bytes(b"")
    coco_store(folder)
    return folder / "coco.zarr"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize(
    "name",
    [
        "coco.zarr/zarr.json",
        "coco.zarr/rejects.jsonl",
        "part-00001/zarr.json",
        "part-00001/images/zarr.json",
        "part-00001/masks/area/zarr.json",
        "part-00001/masks/area/c/0",
        "part-00001/images/g_pixel_values/c/0/0/0/0",
        "part-00000/rejects.jsonl",
    ],
)
def test_what_verify_may_not_read_is_an_error_and_no_damage(
    store: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    refuse(monkeypatch, name, code)
    with pytest.raises(StoreError, match=f"{name} can't be checked: this (process|user) may not"):
        verify_store(store, VerifyOptions(values=True))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("name", ["coco.zarr", "part-00001", "part-00001/masks", "part-00001/masks/area/c"])
def test_a_folder_that_verify_may_not_list_is_an_error_and_no_damage(
    store: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    for function in ("scandir", "listdir"):
        refuse(monkeypatch, name, code, function)
    with pytest.raises(StoreError, match=f"{name} can't be checked: this (process|user) may not"):
        verify_store(store)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES])
def test_scenes_that_verify_may_not_read_are_not_called_damaged(
    store: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    refuse(monkeypatch, "part-00001/zarr.json", code)
    with pytest.raises(
        StoreError, match=r"part-00001/zarr.json can't be checked: this (process|user) may not"
    ):
        verify_store(store, VerifyOptions(source=store.parent / "coco"))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("name", [".job.json", "part-00001/zarr.json"])
def test_nobody_is_told_to_throw_away_what_a_conversion_may_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    coco_store(tmp_path)
    make_unfinished(tmp_path / "coco.zarr")
    refuse(monkeypatch, name, code)
    with pytest.raises(StoreError, match=f"can't read .*{name}.* this (process|user) may not") as caught:
        convert(coco_config(), tmp_path / "coco", tmp_path / "coco.zarr")
    assert "remove" not in str(caught.value)
    assert "--overwrite" not in str(caught.value)
