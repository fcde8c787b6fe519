"""Disks that are full, read-only or gone: a clear error, nothing torn, and the same command goes on."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grids import pairs, slow
from stores import USUAL, coco_config, coco_root, coco_store, tree_digest
from trouble import Harm, harm_scenes

from resizeonce.loader.format.errors import PreprocessError, SourceError, StoreError
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.store import filesystem, shard_writer

Patch = pytest.MonkeyPatch


def assert_not_torn(out: Path, whole: dict[str, str]) -> None:
    """What has a final name is as it has to be; leftovers are gone."""
    found = {name: digest for name, digest in tree_digest(out).items() if not name.startswith(".")}
    assert found == {name: whole[name] for name in found}
    assert not (out / "zarr.json").exists()
    assert not (out / ".attempts").exists()


REFUSALS = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "its disk is failing or was taken away: see that .* is mounted",
    errno.ESTALE: "its disk is failing or was taken away",
    errno.EFBIG: "the file would be larger than allowed",
}
"""What is said of each error."""


@pytest.mark.parametrize(("code", "where"), pairs(REFUSALS, ["row", "sync", "rename", "root"]))
def test_a_refused_write_stops_the_run_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: Patch, whole: dict[str, str], code: int, where: str
) -> None:
    out = tmp_path / "coco.zarr"
    calls = 0

    def refuse_after(times: int) -> None:
        nonlocal calls
        calls += 1
        if calls > times:
            raise OSError(code, os.strerror(code))

    with monkeypatch.context() as refusing:
        if where == "row":
            extend = shard_writer.ShardWriter.extend
            refusing.setattr(shard_writer.ShardWriter, "extend", lambda *a: (refuse_after(45), extend(*a))[1])
        elif where == "sync":
            refusing.setattr("resizeonce.preprocess.store.part_writer.sync", lambda *_: refuse_after(120))
        elif where == "rename":
            rename = Path.rename

            def rename_part(source: Path, target: Path) -> Path:
                if target.parent == out:
                    refuse_after(1)
                return rename(source, target)

            refusing.setattr(Path, "rename", rename_part)
        else:
            whole_file = filesystem.write_whole
            refusing.setattr(
                "resizeonce.preprocess.store.root.write_whole",
                lambda *a: (as_store(out, refuse_after), whole_file(*a))[1],
            )
        with pytest.raises(StoreError, match=REFUSALS[code]) as caught:
            coco_store(tmp_path)
        assert str(out) in str(caught.value)
    if where != "root":
        assert_not_torn(out, whole)
    coco_store(tmp_path)
    assert tree_digest(out) == whole


def as_store(out: Path, refuse: Any) -> None:
    with filesystem.writing(out):
        refuse(0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user can't mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("workers", [1, slow(2)])
def test_a_real_disk_that_fills_up_is_told_and_the_run_goes_on_when_there_is_space(
    tmp_path: Path, small_disk: Path, workers: int
) -> None:
    convert(coco_config(*USUAL), coco_root(tmp_path), tmp_path / "whole")
    whole = tree_digest(tmp_path / "whole")
    out = small_disk / "out"
    (small_disk / "ballast").write_bytes(bytes(26 << 20))
    with pytest.raises(StoreError, match=r"No space left on device.*free some space"):
        convert(coco_config(*USUAL), tmp_path / "coco", out, RunOptions(force=True, workers=workers))
    assert_not_torn(out, whole)
    (small_disk / "ballast").unlink()
    convert(coco_config(*USUAL), tmp_path / "coco", out, RunOptions(workers=workers))
    assert tree_digest(out) == whole


def test_a_real_disk_that_can_hold_no_more_files_is_told(tmp_path: Path, small_disk: Path) -> None:
    root = coco_root(tmp_path)
    subprocess.run(["mount", "-o", "remount,nr_inodes=150", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"No space left on device.*can't hold more files.*df -i"):
        convert(coco_config("store.scenes_per_part=1"), root, small_disk / "out")


def test_a_real_read_only_disk_is_told(tmp_path: Path, small_disk: Path) -> None:
    root = coco_root(tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"Read-only file system.*mount it for writing"):
        convert(coco_config(), root, small_disk / "out")


def test_a_target_that_vanishes_is_not_made_anew_elsewhere(
    tmp_path: Path, monkeypatch: Patch, whole: dict[str, str]
) -> None:
    coco_root(tmp_path)
    out, away = tmp_path / "disk" / "out", tmp_path / "away"
    out.parent.mkdir()
    harm_scenes_here(monkeypatch, 2, tmp_path, lambda: out.rename(away))
    with pytest.raises(StoreError, match=r"was taken away: see that .* is mounted"):
        convert(coco_config(), tmp_path / "coco", out)
    assert not out.exists()
    away.rename(out)
    monkeypatch.undo()
    convert(coco_config(), tmp_path / "coco", out)
    assert tree_digest(out) == whole


@pytest.mark.parametrize("empty", [True, False])
def test_a_raw_dataset_that_vanishes_stops_the_run_and_rejects_nothing(
    tmp_path: Path, monkeypatch: Patch, whole: dict[str, str], empty: bool
) -> None:
    root, away = coco_root(tmp_path), tmp_path / "away"

    def unmount() -> None:
        root.rename(away)
        if empty:
            # What is left of a mount is its empty folder.
            root.mkdir()

    harm_scenes_here(monkeypatch, 1, tmp_path, unmount)
    with pytest.raises(SourceError, match=r"was there and is gone: is .* still mounted"):
        convert(coco_config(), root, tmp_path / "coco.zarr")
    shutil.rmtree(root, ignore_errors=True)
    away.rename(root)
    monkeypatch.undo()
    report = convert(coco_config(), root, tmp_path / "coco.zarr")
    assert report.num_rejects == 0
    assert tree_digest(tmp_path / "coco.zarr") == whole


def harm_scenes_here(monkeypatch: Patch, scene: int, folder: Path, action: Any) -> None:
    """Let a scene do something once, in this process; not while the forecast is made."""
    monkeypatch.setattr("resizeonce.preprocess.run.convert.FORECAST_SCENES", 0)
    harm_scenes(monkeypatch, {scene: Harm(folder / "harm", action, times=1, spared=-1)})


def test_every_refusal_is_one_of_the_projects_errors(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(PreprocessError, match=r"can't write .*(Not a directory|File exists)"):
        convert(coco_config(), coco_root(tmp_path), file / "out")
