"""Names as other systems write them, and links: found where nothing else is meant, pointed to where it may be."""

import json
import pickle
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from miniature.coco import write_coco
from miniature.every import WRITERS
from miniature.npz import write_npz_pairs
from miniature.sa1b import write_sa1b
from miniature.shapes import picture_of
from stores import CONFIGS

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.errors import RecordError
from resizeonce.preprocess.run.convert import open_source
from resizeonce.preprocess.sources.base import Source
from resizeonce.preprocess.sources.files.names import read_named
from resizeonce.preprocess.sources.files.raw_files import LinkedPath, resolve_inside
from resizeonce.preprocess.sources.records import Frame, Reject, Skip

COMPOSED = "bücher/café_ジ.jpg"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
MIXED = f"{unicodedata.normalize('NFD', 'bücher')}/café_ジ.jpg"


def pictures() -> list[Any]:
    return [picture_of(40, 60, seed) for seed in range(2)]


def put(folder: Path, name: str, content: bytes = b"content") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def read(source: Source) -> tuple[dict[str, str], list[str]]:
    """Return the path of each image by its key, and the reasons of all rejects; scenes go as to a worker."""
    records: list[Any] = list(source.rejects)
    for number in range(len(source)):
        records += pickle.loads(pickle.dumps(source[number])).read()
    frames = {record.key: record.path for record in records if isinstance(record, Frame)}
    return frames, [record.reason for record in records if isinstance(record, Reject)]


def open_linked(config: str, root: Path) -> Source:
    return open_source(load_config(CONFIGS / f"{config}.toml", ["source.follow_links=true"]), root)


@pytest.mark.parametrize("listed", [COMPOSED, DECOMPOSED, MIXED])
@pytest.mark.parametrize("on_disk", [COMPOSED, DECOMPOSED, MIXED])
def test_a_name_is_found_in_every_unicode_form(tmp_path: Path, listed: str, on_disk: str) -> None:
    put(tmp_path, on_disk)
    assert read_named(tmp_path, listed) == (on_disk, b"content")


def test_a_file_of_the_very_name_comes_before_other_spellings(tmp_path: Path) -> None:
    put(tmp_path, "a\\b.jpg", b"backslash")
    put(tmp_path, "a/b.jpg", b"slash")
    assert read_named(tmp_path, "a\\b.jpg") == ("a\\b.jpg", b"backslash")
    (tmp_path / "a\\b.jpg").unlink()
    assert read_named(tmp_path, "a\\b.jpg") == ("a/b.jpg", b"slash")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "images\\7/001.jpg",
            r"holds a backslash, as paths of Windows do, and 'images/7/001.jpg' is not there",
        ),
        ("C:\\data\\000.jpg", "holds a backslash"),
        ("..\\..\\secret.jpg", "holds a backslash"),
        ("https://example.org/000.jpg", "an address; download the picture"),
        ("with%20blank.jpg", "'with blank.jpg' is there, with percent-encoding undone"),
        ("000.JPG", "'000.jpg' is there, with another ending or in other letter case"),
        ("000.jpeg", "'000.jpg' is there"),
        ("IMG.jpg", "'img.jpg' is there"),
        ("images/000.jpg", "'000.jpg' is there, without the folders before it"),
        ("D:\\data\\000.jpg", "a backslash.* '000.jpg' is there, without the folders before it"),
        ("404.jpg", "the file is missing$"),
    ],
)
def test_of_a_missing_file_it_is_said_what_is_odd_about_its_name(
    tmp_path: Path, name: str, words: str
) -> None:
    for there in ("folder/000.jpg", "folder/with blank.jpg", "folder/img.jpg", "secret.jpg"):
        put(tmp_path, there)
    with pytest.raises(RecordError, match=words):
        read_named(tmp_path / "folder", name)


def rename(root: Path, old: str, new: str) -> None:
    """Change a picture's name in COCO's annotations, not on the disk."""
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        if image["file_name"] == old:
            image["file_name"] = new
    path.write_text(json.dumps(content))


def test_the_path_in_the_store_is_that_of_the_file_that_was_read(tmp_path: Path) -> None:
    write_coco(tmp_path, pictures())
    put(tmp_path / "train2017", DECOMPOSED, (tmp_path / "train2017" / "000000000001.jpg").read_bytes())
    rename(tmp_path, "000000000001.jpg", COMPOSED.replace("/", "\\"))
    frames, reasons = read(open_source(load_config(CONFIGS / "coco.toml", []), tmp_path))
    assert frames == {"coco/1": f"train2017/{DECOMPOSED}", "coco/2": "train2017/000000000002.jpg"}
    assert reasons == []


# ---- links


def cached(root: Path, pattern: str) -> None:
    """Move files away and leave links, as the caches of Hugging Face, DVC and git-annex do."""
    blobs = root.parent / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(root.glob(pattern))):
        path.rename(blobs / f"{number:040d}")
        path.symlink_to(blobs / f"{number:040d}")


LINKED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "coco": ("train2017/*", lambda root: WRITERS["coco"](root, pictures())),
    "refcoco": ("images/**/*.jpg", lambda root: WRITERS["refcoco"](root, pictures())),
    "openimages": ("train*/*.*", lambda root: WRITERS["openimages"](root, pictures())),
    "folders": ("*/*.*", lambda root: WRITERS["folders"](root, pictures())),
    "vos": ("*/*/*.*", lambda root: WRITERS["vos"](root, pictures())),
    "mevis": ("JPEGImages/*/*", lambda root: WRITERS["mevis"](root, pictures())),
    "npz": ("clips/*", lambda root: WRITERS["npz"](root, pictures())),
    "sav": ("**/*.jp*", lambda root: WRITERS["sav"](root, pictures())),
    "sa1b": ("sa_000000.tar", lambda root: write_sa1b(root, pictures(), tar=True)),
}


@pytest.mark.parametrize("config", LINKED)
def test_links_out_of_the_folder_are_followed_where_the_user_says_so(tmp_path: Path, config: str) -> None:
    pattern, write = LINKED[config]
    write(tmp_path / "root")
    expected, _ = read(open_source(load_config(CONFIGS / f"{config}.toml", []), tmp_path / "root"))
    cached(tmp_path / "root", pattern)
    frames, reasons = read(open_source(load_config(CONFIGS / f"{config}.toml", []), tmp_path / "root"))
    assert len(frames) < len(expected)
    assert any(
        f"-> {tmp_path / 'blobs'}" in reason and "source.follow_links=true" in reason for reason in reasons
    )
    assert read(open_linked(config, tmp_path / "root")) == (expected, [])


def test_a_link_to_nothing_says_that_the_file_has_to_be_fetched(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.jpg").symlink_to(tmp_path / "annex" / "a")
    with pytest.raises(RecordError, match="where nothing is: fetch it first"):
        read_named(tmp_path / "root", "a.jpg")
    with pytest.raises(RecordError, match="the file is missing"):
        read_named(LinkedPath(tmp_path / "root"), "a.jpg")


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "a\0b"])
def test_a_name_itself_never_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    put(tmp_path, "secret.jpg")
    (tmp_path / "root").mkdir()
    with pytest.raises(RecordError, match=r"leads out of 'root'|can't be a file name"):
        resolve_inside(LinkedPath(tmp_path / "root"), name)


def test_folders_are_links_and_circles_end(tmp_path: Path) -> None:
    write_npz_pairs(tmp_path / "elsewhere", [(pictures()[0], pictures()[1])])
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "far").symlink_to(tmp_path / "elsewhere")
    (root / "inner" / "back").symlink_to(root)
    (root / "inner" / "above").symlink_to(tmp_path)
    source = open_linked("npz", root)
    assert [source[number].key for number in range(len(source))] == ["npz/far/clips/00000"]
    assert [reject.path for reject in source.rejects] == ["inner/above", "inner/back"]
    assert all("a link in a circle" in reject.reason for reject in source.rejects)
    closed = open_source(load_config(CONFIGS / "npz.toml", []), root)
    assert [reject.path for reject in closed.rejects] == ["far", "inner/above", "inner/back"]
    assert all("source.follow_links=true" in reject.reason for reject in closed.rejects)


def test_two_links_that_lead_to_each_other_are_looked_into_once(tmp_path: Path) -> None:
    write_sa1b(tmp_path, pictures())
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / one).mkdir()
        (tmp_path / one / "link").symlink_to(tmp_path / other)
    shutil.move(tmp_path / "sa_000000", tmp_path / "a" / "sa_000000")
    source = open_linked("sa1b", tmp_path)
    frames, reasons = read(source)
    assert (sorted(frames), reasons) == (["sa1b/sa_1", "sa1b/sa_2"], [])
    again = "link to a folder that is read under another name, such as a/link"
    assert source.skips == (Skip(again, 2),)


@pytest.mark.parametrize("name", ["npz", "sa1b"])
def test_links_that_double_at_each_level_are_looked_into_once(tmp_path: Path, name: str) -> None:
    """Two links a level, 12 levels: 2 ** 12 ways lead to the pictures."""
    root, far = tmp_path / "root", tmp_path / "far"
    root.mkdir()
    for level in range(12):
        (far / f"{level}").mkdir(parents=True)
        for link in ("a", "b"):
            (far / f"{level}" / link).symlink_to(far / f"{level + 1}")
    WRITERS[name](far / "12", pictures())
    (root / "z").symlink_to(far / "0")
    source = open_linked(name, root)
    assert len(source) == len(pictures())
    assert source.rejects == []
    # One link a level adds nothing.
    [skip] = source.skips
    assert (skip.count, skip.reason) == (
        12,
        "link to a folder that is read under another name, such as z/a/a/a/a/a/a/a/a/a/a/a/b",
    )


def test_folders_that_are_nested_deeper_than_16_are_a_reject_of_sa1b(tmp_path: Path) -> None:
    write_sa1b(tmp_path, pictures())
    deep = "/".join(["d"] * 17)
    shutil.copytree(tmp_path / "sa_000000", tmp_path / deep / "sa_000000")
    [reject] = open_source(load_config(CONFIGS / "sa1b.toml", []), tmp_path).rejects
    assert (reject.path, reject.reason) == (deep, "folders are nested deeper than the limit of 16")


@pytest.mark.parametrize("name", ["coco", "openimages", "sa1b"])
def test_a_link_to_nowhere_says_where_it_leads_and_to_fetch_it(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path, pictures())
    before, _ = read(open_linked(name, tmp_path))
    picture = min(tmp_path.rglob("*.jpg"))
    picture.unlink()
    picture.symlink_to(tmp_path.parent / "store" / "key")
    frames, [reason] = read(open_linked(name, tmp_path))
    assert len(frames) == len(before) - 1
    assert reason.startswith("the file is missing")
    assert (
        f"{picture.name} is a link to {tmp_path.parent}/store/key, where nothing is: fetch it first (git annex get, dvc pull)"
        in reason
    )
