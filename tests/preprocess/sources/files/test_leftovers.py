"""What lies beside the data: files of operating systems are passed over, what looks like data is named, both counted."""

import errno
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from miniature.coco import write_coco
from miniature.every import WRITERS
from miniature.npz import write_npz_pairs
from miniature.sa1b import write_sa1b
from miniature.sav import write_sav_train, write_sav_val
from miniature.shapes import picture_of
from stores import CONFIGS, TINY, coco_config, coco_root, make_unfinished, tree_digest

from resizeonce.loader.format.errors import SourceError
from resizeonce.loader.format.metadata import read_attributes
from resizeonce.preprocess.config import Config, load_config
from resizeonce.preprocess.run.convert import RunOptions, convert, convert_range, finish, open_source
from resizeonce.preprocess.run.part_range import PartRange
from resizeonce.preprocess.run.raw_data_guard import RawDataGuard
from resizeonce.preprocess.sources.records import Frame, Reject, Skip
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

SYSTEM = "file of macOS or Windows, no data"


def pictures() -> list[Any]:
    return [picture_of(40, 60, seed) for seed in range(2)]


def config_of(name: str) -> Config:
    return load_config(CONFIGS / f"{name}.toml", TINY)


def read(name: str, root: Path) -> tuple[int, list[Reject], dict[str, int]]:
    """Return the number of images, the rejects, and the counts of what was left out."""
    source = open_source(config_of(name), root)
    records: list[Any] = [*source.rejects, *source.skips]
    for number in range(len(source)):
        records += source[number].read()
    skips: dict[str, int] = {}
    for record in records:
        if isinstance(record, Skip):
            skips[record.reason] = skips.get(record.reason, 0) + record.count
    rejects = [record for record in records if isinstance(record, Reject)]
    return sum(isinstance(record, Frame) for record in records), rejects, skips


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")


MAC_FILES: dict[str, tuple[str, Callable[[Path], object], tuple[str, ...]]] = {
    "coco": ("coco", lambda root: WRITERS["coco"](root, pictures()),
             ("train2017/._000000000001.jpg", "train2017/.DS_Store", "train2017/__MACOSX/x")),
    "refcoco": ("refcoco", lambda root: WRITERS["refcoco"](root, pictures()),
                ("images/mscoco/images/train2014/._COCO_train2014_000000000111.jpg",)),
    "openimages": ("openimages", lambda root: WRITERS["openimages"](root, pictures()),
                   ("train/._a.jpg", "train/Thumbs.db", "train-masks/._a.png", "train-masks/a/._b.png")),
    "folders": ("folders", lambda root: WRITERS["folders"](root, pictures()),
                ("images/._0000.jpg", "images/.DS_Store", "masks/._0000.png", "masks/__MACOSX/0000.png")),
    "npz": ("npz", lambda root: WRITERS["npz"](root, pictures()),
            ("clips/._00000.npz", "__MACOSX/clips/._00000.npz", "desktop.ini")),
    "sav": ("sav", lambda root: WRITERS["sav"](root, pictures()),
            ("sav_000/._sav_000000_manual.json", "sav_000/._sav_000000.mp4", "__MACOSX/._sav_000",
             "JPEGImages_24fps/.DS_Store", "JPEGImages_24fps/sav_000000/._00000.jpg")),
    "vos": ("vos", lambda root: WRITERS["vos"](root, pictures()),
            ("JPEGImages/.DS_Store", "JPEGImages/00000000/._00000.jpg", "Annotations/00000000/._00000.png",
             "Annotations/00000000/__MACOSX/x")),
    "mevis": ("mevis", lambda root: WRITERS["mevis"](root, pictures()),
              ("JPEGImages/.DS_Store", "JPEGImages/00000000/._00000.jpg")),
    "sav_val": ("sav_val", lambda root: write_sav_val(root, [("sav_000001", pictures())]),
                ("JPEGImages_24fps/sav_000001/._00000.jpg", "Annotations_6fps/.DS_Store",
                 "Annotations_6fps/sav_000001/.DS_Store", "Annotations_6fps/sav_000001/000/._00000.png")),
    "sa1b": ("sa1b", lambda root: write_sa1b(root, pictures()),
             ("sa_000000/._sa_1.jpg", "._sa_000000.tar", "._sa_000001.tar.gz", "__MACOSX/sa_1.json")),
}  # fmt: skip


@pytest.mark.parametrize("kind", MAC_FILES)
def test_files_of_operating_systems_are_passed_over_and_counted(tmp_path: Path, kind: str) -> None:
    config, write, names = MAC_FILES[kind]
    write(tmp_path)
    images, rejects, skips = read(config, tmp_path)
    assert rejects == []
    assert SYSTEM not in skips
    put(tmp_path, *names)
    assert read(config, tmp_path) == (images, [], {**skips, SYSTEM: len(names)})


COPIES_IN = {
    "coco": ("train2017",),
    "openimages": ("train", "train-masks", "train-masks/a"),
    "folders": ("images", "masks"),
    "npz": ("clips",),
    "sav": ("sav_000",),
    "vos": ("JPEGImages", "Annotations", "Annotations/00000000"),
    "mevis": ("JPEGImages",),
    "sav_val": ("Annotations_6fps/sav_000001", "Annotations_6fps/sav_000001/000"),
    "sa1b": ("sa_000000",),
}


@pytest.mark.parametrize("kind", COPIES_IN)
def test_jupyters_old_copies_are_no_samples_and_no_rejects_wherever_they_lie(
    tmp_path: Path, kind: str
) -> None:
    config, write, _ = MAC_FILES[kind]
    write(tmp_path)
    before = read(config, tmp_path)
    # What the copies are of: any file of that folder.
    for folder in COPIES_IN[kind]:
        (tmp_path / folder).mkdir(exist_ok=True)
        files = (path for path in sorted((tmp_path / folder).iterdir()) if path.is_file())
        content = next((path.read_bytes() for path in files), b"")
        for name in ("00000-checkpoint.png", "000000000001-checkpoint.jpg"):
            copy = tmp_path / folder / ".ipynb_checkpoints" / name
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(content)
    images, rejects, skips = read(config, tmp_path)
    assert (images, rejects) == before[:2]
    assert all(reason in before[2] or ".ipynb_checkpoints" in reason for reason in skips)


@pytest.mark.parametrize("name", ["npz", "sav", "sa1b", "coco"])
def test_a_dataset_at_the_top_of_a_disk_is_read_though_nobody_may_list_its_lost_and_found(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[name](tmp_path, pictures())
    before = read(name, tmp_path)
    (tmp_path / "lost+found").mkdir()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("lost+found"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    images, rejects, skips = read(name, tmp_path)
    assert (images, rejects) == before[:2]
    assert all(reason in before[2] or reason.startswith("lost+found, ") for reason in skips)
    guard = RawDataGuard.of(tmp_path)
    assert tmp_path / "lost+found" in guard.witnesses
    assert len(guard.witnesses) > len(list(tmp_path.iterdir()))
    guard.check()


def test_files_of_macos_in_a_tar_are_passed_over_and_counted(tmp_path: Path) -> None:
    write_sa1b(tmp_path / "made", pictures())
    put(tmp_path / "made/sa_000000", "._sa_1.jpg", "._sa_1.json", "__MACOSX/sa_1.jpg", "__MACOSX/a.zip")
    (tmp_path / "root").mkdir()
    with tarfile.open(tmp_path / "root" / "sa_000000.tar", "w") as archive:
        for path in sorted((tmp_path / "made" / "sa_000000").iterdir()):
            archive.add(path, path.name)
    assert read("sa1b", tmp_path / "root") == (2, [], {SYSTEM: 4})


UNREAD: dict[str, tuple[str, Callable[[Path], object], str, str]] = {
    "an npz that is compressed": ("npz", lambda root: WRITERS["npz"](root, pictures()), "clips/7.npz.gz",
                                  "archive or compressed file, not read: unpack it"),
    "an npy": ("npz", lambda root: WRITERS["npz"](root, pictures()), "clips/7.npy",
               ".npy file, not read: a scene is one .npz"),
    "large letters": ("npz", lambda root: WRITERS["npz"](root, pictures()), "clips/7.NPZ",
                      "file whose name does not end in .npz, not read: rename it"),
    "another video": ("sav", lambda root: WRITERS["sav"](root, pictures()), "sav_000/sav_000009.mov",
                      "video whose name does not end in .mp4, not read"),
    "another json": ("sav", lambda root: WRITERS["sav"](root, pictures()), "sav_000/sav_000000.json",
                     "json that is called neither *_manual.json nor *_auto.json, not read"),
    "a packed folder": ("sav", lambda root: WRITERS["sav"](root, pictures()), "sav_001.tar",
                        "archive or compressed file, not read: unpack it"),
    "a video without json": ("sav", lambda root: WRITERS["sav"](root, pictures()), "JPEGImages_24fps/sav_000077",
                             "entry of JPEGImages_24fps that belongs to no video here, not read"),
    "an sa1b png": ("sa1b", lambda root: write_sa1b(root, pictures()), "sa_000000/sa_9.png",
                    "picture whose name is not sa_<image id>.jpg, not read"),
    "a json of another name": ("sa1b", lambda root: write_sa1b(root, pictures()), "sa_000000/9.json",
                               "json whose name is not sa_<image id>.json, not read"),
    "a mask without a row": ("openimages", lambda root: WRITERS["openimages"](root, pictures()), "train-masks/a.png",
                             "mask without a row in the CSV"),
    "a mask in a hex folder": ("openimages", lambda root: WRITERS["openimages"](root, pictures()),
                               "train-masks/a/a.png", "mask without a row in the CSV"),
    "an image without a mask": ("folders", lambda root: WRITERS["folders"](root, pictures()), "images/9.jpg",
                                "image without a mask"),
    "a mask without an image": ("folders", lambda root: WRITERS["folders"](root, pictures()), "masks/9.png",
                                "mask without an image"),
    "a TIFF": ("folders", lambda root: WRITERS["folders"](root, pictures()), "masks/9.tif",
               "picture of a format that is not read: save it as PNG"),
    "a picture among videos": ("vos", lambda root: WRITERS["vos"](root, pictures()), "JPEGImages/00000.jpg",
                               "file in JPEGImages, where folders of videos are expected, not read"),
    "half a tar": ("sa1b", lambda root: write_sa1b(root, pictures()), "sa_000001.tar.part",
                   "unfinished download, not read"),
    "an unlisted picture": ("coco", lambda root: WRITERS["coco"](root, pictures()), "train2017/9.jpg",
                            "picture that the annotations do not list"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREAD)
def test_what_looks_like_data_and_is_not_read_is_counted_and_named(tmp_path: Path, kind: str) -> None:
    config, write, name, reason = UNREAD[kind]
    write(tmp_path)
    images, _, skips = read(config, tmp_path)
    put(tmp_path, name)
    assert read(config, tmp_path) == (images, [], {**skips, f"{reason}, such as {name}": 1})


def test_frames_and_masks_of_another_kind_are_counted_with_their_video(tmp_path: Path) -> None:
    write_sav_val(tmp_path, [("sav_000001", pictures())])
    put(tmp_path, "JPEGImages_24fps/sav_000001/00000.png", "Annotations_6fps/sav_000001/000/00000.jpg")
    _, rejects, skips = read("sav_val", tmp_path)
    assert rejects == []
    assert skips == {
        "picture in a folder of frames that is not called as 00004.jpg is, not read, such as 00000.png": 1,
        "file in a folder of masks that is no .png": 1,
    }


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("000000.jpg", "000004.jpg"), "picture in a folder of frames that is not called as 00004.jpg is"),
        (("00000000.jpg",), "picture in a folder of frames that is not called as 00004.jpg is"),
        (("0004.jpg", "frame_00000.JPG"), "picture in a folder of frames that is not called as 00004.jpg is"),
        (("frames.txt", "thumbnails"), "entry of a folder of frames that is no picture"),
    ],
)
@pytest.mark.parametrize("config", ["sav", "sav_val"])
def test_every_name_in_a_folder_of_frames_is_read_or_counted(
    tmp_path: Path, config: str, names: tuple[str, ...], kind: str
) -> None:
    (write_sav_val if config == "sav_val" else write_sav_train)(tmp_path, [("sav_000001", pictures())])
    images, _, skips = read(config, tmp_path)
    put(tmp_path, *(f"JPEGImages_24fps/sav_000001/{name}" for name in names))
    expected = {**skips, f"{kind}, not read, such as {names[0]}": len(names)}
    assert read(config, tmp_path) == (images, [], expected)


def test_frames_of_unknown_names_are_counted_where_an_mp4_is_taken_instead(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [("sav_000001", pictures())], video=True)
    images, _, skips = read("sav", tmp_path)
    put(tmp_path, "JPEGImages_24fps/sav_000001/000000.jpg", "JPEGImages_24fps/sav_000001/000004.jpg")
    kind = "picture in a folder of frames that is not called as 00004.jpg is, not read, such as 000000.jpg"
    assert read("sav", tmp_path) == (images, [], {**skips, kind: 2})


@pytest.mark.parametrize("name", ["tar.gz", "tgz", "zip", "tar.bz2", "tar.xz", "tar.zst", "7z", "TAR.GZ"])
def test_an_archive_that_is_no_plain_tar_is_a_reject_beside_the_tars(tmp_path: Path, name: str) -> None:
    write_sa1b(tmp_path, pictures(), tar=True)
    put(tmp_path, f"sa_000001.{name}")
    images, [reject], skips = read("sa1b", tmp_path)
    assert (images, skips) == (2, {})
    assert (reject.path, reject.stage) == (f"sa_000001.{name}", "index")
    assert f"an archive (.{name}) that can't be read by offset: only a plain tar can" in reject.reason


@pytest.mark.parametrize("tar", [False, True])
def test_an_archive_beside_pairs_under_its_name_is_only_counted(tmp_path: Path, tar: bool) -> None:
    write_sa1b(tmp_path / "some", pictures(), tar=tar)
    put(tmp_path, "some/sa_000000.tar.gz")
    reason = (
        "archive, not read: pairs are read beside it from a folder or tar of its name; "
        "unpack it where it holds more, such as some/sa_000000.tar.gz"
    )
    assert read("sa1b", tmp_path) == (2, [], {reason: 1})


@pytest.mark.parametrize(
    "archive", ["packed/sa_000000.tar.gz", "sa_000001.zip", "some.tgz/sa_000000.tgz", "empty.zip"]
)
def test_an_archive_that_lies_elsewhere_or_beside_an_empty_folder_is_a_reject(
    tmp_path: Path, archive: str
) -> None:
    write_sa1b(tmp_path, pictures())
    (tmp_path / "sa_000001").mkdir()
    put(tmp_path, "empty/notes.txt", archive)
    images, [reject], skips = read("sa1b", tmp_path)
    assert (images, reject.path, skips) == (2, archive, {})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sa_2.TAR", ".TAR"),
        (".sa_2.tar", ".tar"),
        ("sa_7.json.gz", ".gz"),
        ("sa_2.tar.00", ".tar.00"),
        ("sa_2.zip.001", ".zip.001"),
        ("sa_2.tar.1", ".tar.1"),
        ("sa_2.tar (1)", ".tar (1)"),
        ("sa_2.tar.lz4", ".tar.lz4"),
    ],
)
def test_an_archive_of_sa1b_that_is_not_read_is_a_reject_that_says_what_to_do(
    tmp_path: Path, name: str, kind: str
) -> None:
    write_sa1b(tmp_path, pictures())
    put(tmp_path, name)
    images, [reject], skips = read("sa1b", tmp_path)
    assert (images, reject.path, skips) == (2, name, {})
    assert (
        f"an archive ({kind}) that can't be read by offset: only a plain tar can, whose name ends in .tar"
        in reject.reason
    )
    for advice in (
        "begins with no dot",
        "join its numbered parts (cat)",
        "decompress it",
        "extract it",
        "remove copies",
    ):
        assert advice in reject.reason


@pytest.mark.parametrize("name", ["sa_000001.tar", "a/sa_000001.zip", "sa_000001.tar.gz"])
def test_an_archive_within_a_tar_is_a_reject(tmp_path: Path, name: str) -> None:
    write_sa1b(tmp_path, pictures())
    put(tmp_path / "made", name)
    with tarfile.open(tmp_path / "outer.tar", "w") as archive:
        archive.add(tmp_path / "made" / name, name)
    shutil.rmtree(tmp_path / "made")
    images, [reject], skips = read("sa1b", tmp_path)
    assert (images, skips) == (2, {})
    assert reject.path == f"outer.tar/{name}"
    assert reject.reason.startswith("an archive within a tar, which is not looked into: extract")


ENDINGS = {
    ".a.npz.Ab12cd": "unfinished download, not read",
    "a.mp4.tmp": "unfinished download, not read",
    "a.mp4.001": "numbered part or copy of a file, not read: join parts in order (cat)",
    "a.jpg.1": "numbered part or copy of a file, not read: join parts in order (cat)",
    "a.jsonl": "table or list in a format that this dataset does not come in, not read",
    "a.parquet": "table or list in a format that this dataset does not come in, not read",
}


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        ("npz", "clips"),
        ("sa1b", "sa_000000"),
        ("sav", "sav_000"),
        ("coco", "train2017"),
        ("refcoco", "images/mscoco/images/train2014"),
        ("openimages", "train"),
        ("openimages", "train-masks"),
    ],
)
def test_endings_that_no_dataset_has_are_counted_in_every_folder(
    tmp_path: Path, config: str, folder: str
) -> None:
    WRITERS[config](tmp_path, pictures())
    before = read(config, tmp_path)
    put(tmp_path, *(f"{folder}/{name}" for name in ENDINGS), f"{folder}/.gitattributes", f"{folder}/a.log.1")
    images, rejects, skips = read(config, tmp_path)
    assert (images, rejects) == before[:2]
    firsts = {reason: min(name for name in ENDINGS if ENDINGS[name] == reason) for reason in ENDINGS.values()}
    counted = {f"{reason}, such as {folder}/{name}": 2 for reason, name in firsts.items()}
    assert skips == {**before[2], **counted}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("train-masks/7.zip", "archive or compressed file, not read: unpack it"),
        ("train-masks/0/7.tar.gz", "archive or compressed file, not read: unpack it"),
        ("train/7.zip", "archive or compressed file, not read: unpack it"),
        ("train/train_0/x.jpg", "folder within a folder of files, not looked into: move its files up"),
        ("train-masks/00/x.png", "folder within a folder of files, not looked into: move its files up"),
        ("train-masks/0/1/x.png", "folder within a folder of files, not looked into: move its files up"),
    ],
)
def test_archives_and_folders_in_those_of_openimages_are_named(
    tmp_path: Path, name: str, reason: str
) -> None:
    WRITERS["openimages"](tmp_path, pictures())
    # Links to themselves are no folders, and no fault.
    for folder in ("train", "train-masks"):
        (tmp_path / folder / "loop").symlink_to("loop")
    images, _, skips = read("openimages", tmp_path)
    put(tmp_path, name)
    named = name.rpartition("/")[0] if reason.startswith("folder") else name
    assert read("openimages", tmp_path) == (images, [], {**skips, f"{reason}, such as {named}": 1})


def test_an_empty_folder_beside_an_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    WRITERS["openimages"](tmp_path, pictures())
    for path in (tmp_path / "train-masks").iterdir():
        path.unlink()
    put(tmp_path, "train-masks-0.zip")
    with pytest.raises(
        SourceError, match=r"the folder .*train-masks is empty; train-masks-0\.zip there: unpack"
    ):
        open_source(config_of("openimages"), tmp_path)


@pytest.mark.parametrize(
    ("config", "names"),
    [("npz", ("a.zip", "b.npy")), ("sav", ("sav_000.tar", "clip.mov")), ("sa1b", ("picture.png",))],
)
def test_a_root_with_nothing_but_what_is_not_read_says_what_it_is(
    tmp_path: Path, config: str, names: tuple[str, ...]
) -> None:
    put(tmp_path, *names)
    with pytest.raises(SourceError) as caught:
        open_source(config_of(config), tmp_path)
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize("config", ["coco", "refcoco", "openimages"])
def test_a_folder_that_is_still_packed_is_an_error_that_names_the_archive(
    tmp_path: Path, config: str
) -> None:
    folder = {"coco": "train2017", "refcoco": "images", "openimages": "train-masks"}[config]
    WRITERS[config](tmp_path, pictures())
    (tmp_path / folder).rename(tmp_path.parent / f"{tmp_path.name}-away")
    put(tmp_path, "packed.zip")
    with pytest.raises(SourceError, match=r"there is no folder .*; packed\.zip there: unpack"):
        open_source(config_of(config), tmp_path)


# ---- counted once, whatever way a store comes about


def skips_of(store: Path) -> dict[str, int]:
    found: dict[str, int] = read_attributes(store)["totals"]["skips"]
    return found


def test_it_is_counted_once_by_shares_and_by_a_run_that_was_killed(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    put(root, "train2017/._a.jpg", "train2017/b.jpg", "train2017/c.jpg")
    expected = {
        "crowd annotation": 5,
        SYSTEM: 1,
        "picture that the annotations do not list, such as train2017/b.jpg": 2,
    }
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    convert(coco_config(), root, whole)
    assert skips_of(whole) == expected
    for number in (2, 3, 1):
        convert_range(coco_config(), root, shared, PartRange(number, 3))
    finish(shared)
    assert tree_digest(shared) == tree_digest(whole)
    before = tree_digest(whole)
    make_unfinished(whole)
    convert(coco_config(), root, whole, RunOptions(workers=2))
    assert tree_digest(whole) == before
    assert not verify_store(whole, VerifyOptions(values=False, source=root, sample=None)).findings


def test_a_dataset_that_lists_nothing_names_what_lies_unread_in_it(tmp_path: Path) -> None:
    root, out, shared = coco_root(tmp_path), tmp_path / "out", tmp_path / "shared"
    path = root / "annotations" / "instances_train2017.json"
    listed = path.read_text()
    path.write_text('{"images": []}')
    report = convert(coco_config(), root, out)
    [(reason, count)] = report.attributes["totals"]["skips"].items()
    assert reason.startswith("picture that the annotations do not list, such as train2017/")
    assert count == 5
    assert convert(coco_config(), root, out).attributes == report.attributes
    for share in (1, 2):
        convert_range(coco_config(), root, shared, PartRange(share, 2))
    finish(shared)
    assert tree_digest(shared) == tree_digest(out)
    path.write_text(listed)
    grown = convert(coco_config(), root, out, RunOptions(append=True)).attributes["totals"]
    assert (grown["images"], grown["skips"]) == (5, {reason: 5, "crowd annotation": 5})
    assert verify_store(out, VerifyOptions(source=root)).findings == []


def test_only_what_is_new_is_counted_when_a_store_is_appended_to(tmp_path: Path) -> None:
    root, out = tmp_path / "npz", tmp_path / "out"
    pairs = [(picture, picture) for picture in pictures()]
    write_npz_pairs(root, pairs)
    put(root, "._a.npz", "m.npy")
    convert(config_of("npz"), root, out)
    assert skips_of(out) == {SYSTEM: 1, ".npy file, not read: a scene is one .npz, such as m.npy": 1}
    write_npz_pairs(root / "more", pairs)
    # One that comes first in the order of names is not all of them anew.
    put(root, "a.npy", "b.zip")
    convert(config_of("npz"), root, out, RunOptions(append=True))
    assert skips_of(out) == {
        SYSTEM: 1,
        ".npy file, not read: a scene is one .npz, such as m.npy": 1,
        ".npy file, not read: a scene is one .npz, such as a.npy": 1,
        "archive or compressed file, not read: unpack it, such as b.zip": 1,
    }
    assert not verify_store(out, VerifyOptions(values=False)).findings


def test_what_lies_beside_the_data_does_not_change_what_a_store_is_made_of(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", pictures())
    WRITERS["npz"](tmp_path / "npz", pictures())
    for config in ("coco", "npz"):
        before = open_source(config_of(config), tmp_path / config).fingerprint()
        put(tmp_path / config, ".DS_Store", "train2017/._a.jpg", "clips/._00000.npz", "clips/labels.npy")
        assert open_source(config_of(config), tmp_path / config).fingerprint() == before
