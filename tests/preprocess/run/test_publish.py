"""Stores at URLs: in memory and in a folder that plays the remote, against the same stores on disk."""

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from grids import slow
from miniature.coco import write_coco
from miniature.shapes import picture_of
from remote_disk import register_disk
from stores import CONFIGS, coco_config, options_of, tree_digest

from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.remote import connection
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.run.convert import Report, RunOptions, convert, convert_range, finish
from resizeonce.preprocess.run.part_range import PartRange
from resizeonce.preprocess.run.publish import open_destination, staging_folder
from resizeonce.preprocess.store.root import read_rejects

SMALL = [
    "recipe.g_pixel_values.size=64",
    "recipe.pixel_values.size=32",
    "recipe.masks.size=64",
    "store.scenes_per_part=1",
]
"""Tensors are not what is tested here."""

SUPPORT = Path(__file__).parents[2] / "support"

URL = "memory://bucket/coco.zarr"


@pytest.fixture(autouse=True)
def _no_leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(connection, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    _empty_memory()
    yield
    _empty_memory()


def _empty_memory() -> None:
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def small_root(folder: Path, count: int = 4) -> Path:
    """Write a COCO tree of a few small pictures and return its root."""
    write_coco(folder / "coco", [picture_of(40, 50, seed) for seed in range(count)])
    return folder / "coco"


def publish(tmp_path: Path, *overrides: str, out: str = URL, scratch: str = "scratch", **run: Any) -> Report:
    """Convert the miniature COCO tree in `tmp_path` to a URL."""
    if not (tmp_path / "coco").exists():
        small_root(tmp_path)
    options = RunOptions(scratch=tmp_path / scratch, **run)
    return convert(coco_config(*SMALL, *overrides), tmp_path / "coco", out, options)


def on_disk(tmp_path: Path, *overrides: str, **run: Any) -> dict[str, str]:
    """Return the digests of the same store, made in a folder."""
    shutil.rmtree(tmp_path / "local.zarr", ignore_errors=True)
    convert(coco_config(*SMALL, *overrides), tmp_path / "coco", tmp_path / "local.zarr", RunOptions(**run))
    return tree_digest(tmp_path / "local.zarr")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of the store of the small tree, made in a folder."""
    folder = tmp_path_factory.mktemp("sound")
    small_root(folder)
    return on_disk(folder)


def remote_digest(url: str = URL) -> dict[str, str]:
    """Return the SHA-256 of every file below a URL, by its relative path."""
    filesystem, base = fsspec.url_to_fs(url)
    found = filesystem.find(base)
    return {
        path.removeprefix(f"{base}/"): hashlib.sha256(filesystem.cat_file(path)).hexdigest() for path in found
    }


def staged(tmp_path: Path, url: str = URL) -> dict[str, str]:
    return tree_digest(staging_folder(url, tmp_path / "scratch"))


def harm(monkeypatch: pytest.MonkeyPatch, name: str, before: Callable[[str], None]) -> None:
    """Let `before` be called with the path of what a method of the file system in memory is asked for."""
    unharmed = getattr(MemoryFileSystem, name)

    def harmed(self: MemoryFileSystem, *args: Any, **kwargs: Any) -> Any:
        before(args[1] if name == "put_file" else args[0])
        return unharmed(self, *args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, name, harmed)


def failing_at(ending: str) -> Callable[[str], None]:
    def fail(path: str) -> None:
        if path.endswith(ending):
            raise OSError("the cable is cut")

    return fail


@pytest.mark.parametrize("workers", [slow(1), 2])
def test_a_store_at_a_url_is_to_the_byte_the_one_in_a_folder(tmp_path: Path, workers: int) -> None:
    small_root(tmp_path)
    (tmp_path / "coco" / "train2017" / "000000000002.jpg").write_bytes(b"<html>")
    report = publish(tmp_path, workers=workers)
    assert remote_digest() == on_disk(tmp_path)
    assert report.store == URL
    assert [reject.key for reject in read_rejects(report.root)] == ["coco/2"]
    # Nothing large is left behind.
    assert set(staged(tmp_path)) == {"zarr.json", "rejects.jsonl"}


def test_what_makes_a_part_or_the_store_whole_is_written_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    for name in ("put_file", "pipe_file"):
        harm(monkeypatch, name, written.append)
    publish(tmp_path)
    base = "/bucket/coco.zarr"
    assert written[0].startswith(f"{base}/.")
    assert written[-1] == f"{base}/zarr.json"
    for number in range(4):
        of_part = [path for path in written if path.startswith(f"{base}/part-{number:05d}/")]
        assert of_part[-1] == f"{base}/part-{number:05d}/zarr.json"
        assert len(of_part) == len(set(of_part)) > 30
    assert not [name for name in remote_digest() if name.startswith(".")]


def test_a_complete_store_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path)
    written: list[str] = []
    for name in ("put_file", "pipe_file", "rm"):
        harm(monkeypatch, name, written.append)
    for scratch in ("scratch", "elsewhere"):
        report = publish(tmp_path, scratch=scratch)
        assert report.was_complete
        assert report.attributes["totals"]["samples"] == 8
    assert written == []


def test_trouble_that_passes_is_not_noticed(
    tmp_path: Path, sound: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = iter([OSError("reset"), TimeoutError(), ConnectionError("503")])

    def fail(path: str) -> None:
        if path.endswith("zarr.json") and (trouble := next(troubles, None)) is not None:
            raise trouble

    harm(monkeypatch, "put_file", fail)
    publish(tmp_path)
    assert next(troubles, None) is None
    assert remote_digest() == sound


@pytest.mark.parametrize(
    ("at", "keep_staging"),
    [
        ("part-00000/masks/zarr.json", True),
        ("part-00002/zarr.json", True),
        ("part-00002/zarr.json", False),
        ("coco.zarr/zarr.json", False),
    ],
)
def test_a_connection_that_is_lost_stops_the_run_and_the_next_one_goes_on(
    tmp_path: Path, sound: dict[str, str], monkeypatch: pytest.MonkeyPatch, at: str, keep_staging: bool
) -> None:
    with monkeypatch.context() as trouble:
        for name in ("put_file", "pipe_file"):
            harm(trouble, name, failing_at(at))
        with pytest.raises(
            StoreError, match=r"memory://bucket/.*the cable is cut.*run the same command again"
        ):
            publish(tmp_path)
    assert "zarr.json" not in remote_digest()
    done = {path for path in remote_digest() if path.endswith("/zarr.json") and path.count("/") == 1}
    if not keep_staging:
        shutil.rmtree(tmp_path / "scratch")
    written: list[str] = []
    harm(monkeypatch, "put_file", lambda path: written.append(path.removeprefix("/bucket/coco.zarr/")))
    publish(tmp_path)
    assert not done & set(written)
    assert remote_digest() == sound


@pytest.mark.parametrize(
    "says",
    [
        "[" * 200_000,
        '{"attributes": {"resizeonce": []}}',
        '{"attributes": {"resizeonce": {"files": {"a": {"bytes": 1e308}}}}}',
    ],
)
def test_a_part_at_the_url_whose_metadata_is_none_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: dict[str, str], says: str
) -> None:
    with monkeypatch.context() as patch:
        harm(patch, "pipe_file", failing_at("coco.zarr/zarr.json"))
        with pytest.raises(StoreError, match="the cable is cut"):
            publish(tmp_path)
    fsspec.filesystem("memory").pipe_file("/bucket/coco.zarr/part-00001/zarr.json", says.encode())
    publish(tmp_path, scratch="another")
    assert remote_digest() == sound


def test_denied_access_stops_the_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def deny(path: str) -> None:
        asked.append(path)
        raise PermissionError("AccessDenied")

    harm(monkeypatch, "pipe_file", deny)
    with pytest.raises(StoreError, match=r"access to memory://.* is denied"):
        publish(tmp_path)
    assert len(asked) == 1


def test_a_file_that_arrives_cut_off_is_sent_again(
    tmp_path: Path, sound: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_put = MemoryFileSystem.put_file
    cut: set[str] = set()

    def put_half(self: MemoryFileSystem, lpath: str, rpath: str, **kwargs: Any) -> None:
        whole_put(self, lpath, rpath, **kwargs)
        if rpath not in cut:
            cut.add(rpath)
            self.store[rpath].truncate(10)

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_half)
    publish(tmp_path)
    assert remote_digest() == sound


def test_other_bytes_than_were_sent_are_noticed_where_the_server_tells_a_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_info = MemoryFileSystem.info

    def info(self: MemoryFileSystem, path: str, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = true_info(self, path, **kwargs)
        if found["type"] == "file":
            content = self.store[path].getvalue()
            # As if something were damaged on the way.
            content = content[:-1] + b"?" if path.endswith("part-00002/zarr.json") else content
            found["md5Hash"] = base64.b64encode(hashlib.md5(content).digest()).decode()
        return found

    monkeypatch.setattr(MemoryFileSystem, "info", info)
    with pytest.raises(StoreError, match=r"part-00002/zarr\.json .*other bytes arrived"):
        publish(tmp_path)


def test_a_part_whose_metadata_was_cut_off_is_published_again(
    tmp_path: Path, sound: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as trouble:
        harm(trouble, "put_file", failing_at("part-00002/zarr.json"))
        with pytest.raises(StoreError):
            publish(tmp_path)
    memory = fsspec.filesystem("memory")
    metadata = memory.cat_file("/bucket/coco.zarr/part-00001/zarr.json")
    memory.pipe_file("/bucket/coco.zarr/part-00001/zarr.json", metadata[:100])
    publish(tmp_path)
    assert remote_digest() == sound


@pytest.mark.parametrize("scratch", ["scratch", "elsewhere"])
def test_a_store_of_another_command_is_refused_with_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: str
) -> None:
    refusal = (
        r"^memory://bucket/coco\.zarr was made by another command.*recipe\.masks\.size was 64, is now 128"
    )
    with monkeypatch.context() as trouble:
        harm(trouble, "put_file", failing_at("part-00002/zarr.json"))
        with pytest.raises(StoreError, match="cable"):
            publish(tmp_path)
    with pytest.raises(StoreError, match=refusal):
        publish(tmp_path, "recipe.masks.size=128", scratch=scratch)
    publish(tmp_path)
    whole = remote_digest()
    with pytest.raises(StoreError, match=refusal):
        publish(tmp_path, "recipe.masks.size=128", scratch=scratch)
    assert remote_digest() == whole


def test_overwrite_makes_a_store_anew(tmp_path: Path) -> None:
    publish(tmp_path)
    report = publish(tmp_path, "source.crowds=true", overwrite=True)
    assert report.attributes["totals"]["samples"] == 12
    assert remote_digest() == on_disk(tmp_path, "source.crowds=true")


def test_a_store_that_lost_a_file_is_refused_and_can_be_made_anew(tmp_path: Path) -> None:
    root = small_root(tmp_path)
    (root / "train2017" / "000000000002.jpg").write_bytes(b"")
    publish(tmp_path)
    whole = remote_digest()
    fsspec.filesystem("memory").rm("/bucket/coco.zarr/part-00001/rejects.jsonl")
    with pytest.raises(
        StoreError, match=r"part-00001/rejects\.jsonl is missing, expected \d+ bytes: remove memory://"
    ):
        publish(tmp_path, scratch="elsewhere")
    publish(tmp_path, scratch="elsewhere", overwrite=True)
    assert remote_digest() == whole


def test_a_removal_that_was_stopped_needs_overwrite_again(
    tmp_path: Path, sound: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path)
    with monkeypatch.context() as trouble:
        harm(trouble, "rm", failing_at("part-00002"))
        with pytest.raises(StoreError, match="cable"):
            publish(tmp_path, overwrite=True)
    assert "zarr.json" not in remote_digest()
    with pytest.raises(StoreError, match=r"was to remove memory://bucket/coco\.zarr was stopped"):
        publish(tmp_path, scratch="elsewhere")
    publish(tmp_path, overwrite=True, scratch="elsewhere")
    assert remote_digest() == sound


@pytest.mark.parametrize("name", ["notes.txt", "part-00001/images/notes.txt", "part-00001x"])
def test_overwrite_of_a_store_that_holds_something_else_removes_nothing_and_names_it(
    tmp_path: Path, name: str
) -> None:
    publish(tmp_path)
    fsspec.filesystem("memory").pipe_file(f"/bucket/coco.zarr/{name}", b"what I found out")
    before = remote_digest()
    with pytest.raises(
        StoreError, match=rf"memory://bucket/coco\.zarr holds what is none of the store's.*'{name}'"
    ):
        publish(tmp_path, overwrite=True)
    assert remote_digest() == before


@pytest.mark.parametrize("name", ["thesis.txt", "zarr.json"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_no_store_is_left_alone(tmp_path: Path, name: str, overwrite: bool) -> None:
    fsspec.filesystem("memory").pipe_file(f"/bucket/coco.zarr/{name}", b'{"attributes": {}}')
    with pytest.raises(StoreError, match=r"memory://bucket/coco\.zarr.*(is no store|not of this project)"):
        publish(tmp_path, overwrite=overwrite)
    assert set(remote_digest()) == {name}


def test_rejects_of_parts_that_another_machine_published_are_in_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small_root(tmp_path)
    for number in (1, 3):
        (root / "train2017" / f"{number:012d}.jpg").write_bytes(b"")
    with monkeypatch.context() as trouble:
        harm(trouble, "put_file", failing_at("part-00002/zarr.json"))
        with pytest.raises(StoreError, match="cable"):
            publish(tmp_path)
    report = publish(tmp_path, scratch="elsewhere")
    assert report.num_rejects == 2
    assert remote_digest() == on_disk(tmp_path)


def test_a_part_that_was_removed_is_made_again(tmp_path: Path) -> None:
    publish(tmp_path)
    whole = remote_digest()
    fsspec.filesystem("memory").rm("/bucket/coco.zarr/part-00001", recursive=True)
    assert not publish(tmp_path, scratch="elsewhere").was_complete
    assert remote_digest() == whole


def test_scenes_are_appended(tmp_path: Path) -> None:
    root = small_root(tmp_path, 2)
    publish(tmp_path)
    on_disk(tmp_path)
    shutil.rmtree(root)
    small_root(tmp_path, 4)
    (root / "train2017" / "000000000003.jpg").write_bytes(b"")
    report = publish(tmp_path, append=True, scratch="elsewhere")
    assert len(report.attributes["parts"]) == 4
    convert(coco_config(*SMALL), root, tmp_path / "local.zarr", RunOptions(append=True))
    assert remote_digest() == tree_digest(tmp_path / "local.zarr")


@pytest.mark.parametrize("limit", [3, 4])
def test_a_limited_store_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    with monkeypatch.context() as trouble:
        harm(trouble, "pipe_file", failing_at("coco.zarr/zarr.json"))
        with pytest.raises(StoreError, match="cable"):
            publish(tmp_path, limit=limit)
    publish(tmp_path, limit=limit, scratch="elsewhere")
    assert remote_digest() == on_disk(tmp_path, limit=limit)


def test_shares_are_published_from_several_machines_and_made_a_store(
    tmp_path: Path, sound: dict[str, str]
) -> None:
    root = small_root(tmp_path)
    missing = []
    for number in (2, 1, 3):
        options = RunOptions(scratch=tmp_path / f"machine-{number}")
        report = convert_range(coco_config(*SMALL), root, URL, PartRange(number, 3), options)
        missing.append(len(report.missing))
    assert missing == [3, 2, 0]
    report = finish(URL, tmp_path / "another machine")
    assert not report.was_complete
    assert finish(URL, tmp_path / "another machine").was_complete
    assert remote_digest() == sound


def test_finish_says_which_parts_are_missing(tmp_path: Path) -> None:
    root = small_root(tmp_path)
    convert_range(coco_config(*SMALL), root, URL, PartRange(1, 2), RunOptions(scratch=tmp_path / "scratch"))
    with pytest.raises(StoreError, match=r"2 of 4 parts of memory://bucket/coco\.zarr are missing: 2-3"):
        finish(URL, tmp_path / "scratch")
    with pytest.raises(StoreError, match=r"memory://bucket/none\.zarr is no store"):
        finish("memory://bucket/none.zarr", tmp_path / "scratch")


def test_a_run_stops_when_another_has_taken_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")

    def take(path: str) -> None:
        if path.endswith("part-00001/zarr.json"):
            job = json.loads(memory.cat_file("/bucket/coco.zarr/.job.json"))
            memory.pipe_file("/bucket/coco.zarr/.job.json", json.dumps(job | {"num_scenes": 7}).encode())

    harm(monkeypatch, "put_file", take)
    with pytest.raises(StoreError, match="begun anew by another run"):
        publish(tmp_path)
    assert "zarr.json" not in remote_digest()


@pytest.mark.parametrize("keep_staging", [True, slow(False)])
def test_killed_while_it_uploads_the_same_command_finishes(
    tmp_path: Path, sound: dict[str, str], keep_staging: bool
) -> None:
    root, remote = small_root(tmp_path), tmp_path / "remote"
    remote.mkdir()
    arguments = [
        "convert",
        str(CONFIGS / "coco.toml"),
        "--root",
        str(root),
        "--out",
        f"disk://{remote}/a.zarr",
    ]
    arguments += ["--scratch", str(tmp_path / "scratch")]
    arguments += options_of(SMALL)
    code = (
        "from remote_disk import register_disk; from resizeonce.preprocess.cli import main;"
        "register_disk(deadly='part-00002/masks/masks/c/0/0/0'); main()"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL
    assert (remote / "a.zarr" / "part-00002" / "masks" / "masks" / "c" / "0" / "0" / "0").stat().st_size == 6
    assert not (remote / "a.zarr" / "part-00002" / "zarr.json").exists()
    done = {path: path.stat().st_mtime_ns for path in (remote / "a.zarr" / "part-00000").rglob("*")}
    if not keep_staging:
        shutil.rmtree(tmp_path / "scratch")
    register_disk()
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in (remote / "a.zarr" / "part-00000").rglob("*")} == done
    assert tree_digest(remote / "a.zarr") == sound


def test_few_parts_are_staged_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_root(tmp_path, 9)
    most: list[int] = []

    def count(_path: str) -> None:
        large = staging_folder(URL, tmp_path / "scratch").glob("part-*/images")
        most.append(len(list(large)))

    harm(monkeypatch, "put_file", count)
    publish(tmp_path)
    # One that is made, and those that are uploaded or wait for it.
    assert max(most) <= 4


def test_a_disk_that_can_not_stage_some_parts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_free(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))

    staging = staging_folder(URL, tmp_path)
    with_free(3_900)
    destination = open_destination(URL, tmp_path)
    shortage = destination.shortage(100_000, 100, workers=1, present=0)
    assert shortage is not None
    assert shortage.startswith(
        f"up to 4 parts are staged at a time, about 4.0 kB, and the disk of {staging} has"
    )
    with_free(4_000)
    assert destination.shortage(100_000, 100, workers=1, present=0) is None
    with_free(10)
    with pytest.raises(StoreError, match="choose another --scratch"):
        publish(tmp_path)
    assert remote_digest() == {}


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("https://host/coco.zarr", "on a web server, which takes no files"),
        ("nosuch://bucket/coco.zarr", r"can't open nosuch://bucket/coco\.zarr: .*nosuch"),
        ("memory://", "names no folder"),
    ],
)
def test_a_url_that_can_not_be_written_is_refused(tmp_path: Path, out: str, told: str) -> None:
    with pytest.raises(StoreError, match=told):
        publish(tmp_path, out=out)


def test_what_a_store_is_to_lie_in_is_not_made(tmp_path: Path) -> None:
    register_disk()
    with pytest.raises(StoreError, match="make that bucket or folder first"):
        publish(tmp_path, out=f"disk://{tmp_path}/mistyped/coco.zarr")
    assert not (tmp_path / "mistyped").exists()


def test_info_reads_a_url_and_verify_says_to_copy_it(tmp_path: Path) -> None:
    root = small_root(tmp_path)
    (root / "train2017" / "000000000002.jpg").write_bytes(b"")
    publish(tmp_path)
    on_disk(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        return result.exit_code, result.output

    local = run("info", str(tmp_path / "local.zarr"))[1].replace(str(tmp_path / "local.zarr"), URL)
    assert run("info", URL) == (0, local)
    code, output = run("info", "memory://bucket/none.zarr")
    assert code == 1
    assert (
        "error: memory://bucket/none.zarr is no store: memory://bucket/none.zarr/zarr.json is missing"
        in output
    )
    code, output = run("verify", URL)
    assert code == 1
    assert "copy the store to a disk" in output


def test_too_many_rejects_are_told_with_the_url(tmp_path: Path) -> None:
    root = small_root(tmp_path)
    (root / "train2017" / "000000000002.jpg").write_bytes(b"")
    arguments = ["convert", str(CONFIGS / "coco.toml"), "--root", str(root), "--out", URL]
    arguments += ["--scratch", str(tmp_path / "scratch")]
    arguments += options_of(SMALL)
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 3
    assert f"1 rejects, 0 allowed: see rejects.jsonl in {URL}" in result.output


def test_who_has_neither_a_home_nor_a_folder_for_what_passes_is_told_to_name_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}[0])
    monkeypatch.setattr("tempfile.gettempdir", refuse)
    with pytest.raises(StoreError, match="No usable temporary directory found; give one, --scratch"):
        staging_folder(URL, None)
