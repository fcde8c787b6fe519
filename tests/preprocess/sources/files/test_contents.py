"""What lies in a raw file's place and is no such file is named, whatever kind of file it should be."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from miniature.every import WRITERS
from miniature.sa1b import write_sa1b
from miniature.sav import write_sav_train, write_sav_val
from miniature.shapes import picture_of
from stores import CONFIGS

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import open_source
from resizeonce.preprocess.sources.records import Reject

LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 132735\n"
)
HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>nginx</body></html>\n"

Writer = Callable[[Path], object]


def pictures() -> list:
    return [picture_of(40, 60, seed) for seed in range(2)]


def frames() -> list:
    return [("sav_000001", [picture_of(40, 60, t) for t in range(3)])]


EVERY_KIND: dict[str, tuple[str, Writer, str, tuple[str, ...]]] = {
    "coco json": ("coco", lambda root: WRITERS["coco"](root, pictures()), "annotations/*.json", ()),
    "coco image": ("coco", lambda root: WRITERS["coco"](root, pictures()), "train2017/*1.jpg", ()),
    "refs pickle": ("refcoco", lambda root: WRITERS["refcoco"](root, pictures()), "refcoco/refs(unc).p", ()),
    "instances": ("refcoco", lambda root: WRITERS["refcoco"](root, pictures()), "refcoco/instances.json", ()),
    "grefs json": ("grefcoco", lambda root: WRITERS["refcoco"](root, pictures()), "grefcoco/grefs*.json", ()),
    "refcoco image": ("refcoco", lambda root: WRITERS["refcoco"](root, pictures()), "images/**/*111.jpg", ()),
    "sa1b json": ("sa1b", lambda root: write_sa1b(root, pictures()), "sa_000000/sa_1.json", ()),
    "sa1b image": ("sa1b", lambda root: write_sa1b(root, pictures()), "sa_000000/sa_1.jpg", ()),
    "sa1b tar": ("sa1b", lambda root: write_sa1b(root, pictures(), tar=True), "sa_000000.tar", ()),
    "csv": ("openimages", lambda root: WRITERS["openimages"](root, pictures()), "train-annot*.csv", ()),
    "class names": ("openimages", lambda root: WRITERS["openimages"](root, pictures()), "class-*.csv", ()),
    "openimages image": ("openimages", lambda root: WRITERS["openimages"](root, pictures()), "train/*.jpg", ()),
    "openimages mask": ("openimages", lambda root: WRITERS["openimages"](root, pictures()), "train-masks/*9lr*", ()),
    "folders image": ("folders", lambda root: WRITERS["folders"](root, pictures()), "images/0000.jpg", ()),
    "folders mask": ("folders", lambda root: WRITERS["folders"](root, pictures()), "masks/0000.png", ()),
    "vos frame": ("vos", lambda root: WRITERS["vos"](root, pictures()), "JPEGImages/*/00000.jpg", ()),
    "vos mask": ("vos", lambda root: WRITERS["vos"](root, pictures()), "Annotations/*/00000.png", ()),
    "vos objects": ("vos", lambda root: WRITERS["vos"](root, pictures()), "meta.json", ()),
    "mevis frame": ("mevis", lambda root: WRITERS["mevis"](root, pictures()), "JPEGImages/*/00000.jpg", ()),
    "expressions": ("mevis", lambda root: WRITERS["mevis"](root, pictures()), "meta_expressions.json", ()),
    "run lengths": ("mevis", lambda root: WRITERS["mevis"](root, pictures()), "mask_dict.json", ()),
    "npz": ("npz", lambda root: WRITERS["npz"](root, pictures()), "clips/00000.npz", ()),
    "sav json": ("sav", lambda root: write_sav_train(root, frames()), "sav_000/*_manual.json", ()),
    "sav frame": ("sav", lambda root: write_sav_train(root, frames()), "JPEG*/*/00000.jpg", ()),
    "mp4": ("sav", lambda root: write_sav_train(root, frames(), video=True), "sav_000/*.mp4", ("source.frames=mp4",)),
    "video list": ("sav_val", lambda root: write_sav_val(root, frames()), "sav_val.txt", ()),
    "sav mask": ("sav_val", lambda root: write_sav_val(root, frames()), "Annotations_6fps/*/000/00000.png", ()),
}  # fmt: skip


def reasons(config: str, root: Path, overrides: tuple[str, ...]) -> list[str]:
    """Return what a conversion would say of a dataset: why it can't be opened, or each reject's reason."""
    try:
        source = open_source(load_config(CONFIGS / f"{config}.toml", overrides), root)
    except SourceError as err:
        return [str(err)]
    found = list(source.rejects)
    for number in range(len(source)):
        found += [record for record in source[number].read() if isinstance(record, Reject)]
    return [reject.reason for reject in found]


@pytest.mark.parametrize("content", [LFS, HTML], ids=["lfs", "html"])
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_pointer_or_a_page_in_the_place_of_any_file_is_named(
    tmp_path: Path, kind: str, content: bytes
) -> None:
    config, write, pattern, overrides = EVERY_KIND[kind]
    write(tmp_path)
    assert reasons(config, tmp_path, overrides) == []
    next(iter(sorted(tmp_path.glob(pattern)))).write_bytes(content)
    expected = "a Git LFS pointer: run git lfs pull" if content is LFS else "an HTML page"
    assert any(expected in reason for reason in reasons(config, tmp_path, overrides))


def test_a_pointer_within_a_tar_is_named(tmp_path: Path) -> None:
    write_sa1b(tmp_path / "made", pictures())
    (tmp_path / "made" / "sa_000000" / "sa_1.json").write_bytes(LFS)
    (tmp_path / "root").mkdir()
    with tarfile.open(tmp_path / "root" / "sa_000000.tar", "w") as archive:
        for path in sorted((tmp_path / "made" / "sa_000000").iterdir()):
            archive.add(path, path.name)
    [reason] = reasons("sa1b", tmp_path / "root", ())
    assert "run git lfs pull" in reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"/annex/objects/SHA256E-s83--0f3a.jpg\n", "git annex get"),
        (b"../../blobs/4d7a2146", "a link that was copied as text, to '../../blobs/4d7a2146'"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "an XML document"),
    ],
)
def test_other_things_in_the_place_of_a_picture_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    WRITERS["coco"](tmp_path, pictures())
    (tmp_path / "train2017" / "000000000001.jpg").write_bytes(content)
    [reason] = reasons("coco", tmp_path, ())
    assert words in reason


@pytest.mark.parametrize(
    "kind", ["coco json", "grefs json", "sa1b json", "csv", "class names", "sav json", "video list"]
)
def test_text_in_utf_16_is_named(tmp_path: Path, kind: str) -> None:
    config, write, pattern, overrides = EVERY_KIND[kind]
    write(tmp_path)
    path = next(iter(sorted(tmp_path.glob(pattern))))
    path.write_bytes(path.read_text().encode("utf-16"))
    assert any("UTF-16, expected UTF-8" in reason for reason in reasons(config, tmp_path, overrides))


@pytest.mark.parametrize(
    "kind",
    ["coco json", "instances", "grefs json", "sa1b json", "csv", "class names", "sav json", "video list"],
)
def test_a_byte_order_mark_is_passed_over(tmp_path: Path, kind: str) -> None:
    config, write, pattern, overrides = EVERY_KIND[kind]
    write(tmp_path)
    path = next(iter(sorted(tmp_path.glob(pattern))))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert reasons(config, tmp_path, overrides) == []
