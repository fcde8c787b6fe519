"""A reject leads to the file at fault, under the key that the sample would have: whole conversions with one bad file."""

import os
from pathlib import Path

import numpy as np
import pytest
from bar import VIDEO_ID, write_bar_jpegs, write_bar_pngs
from miniature.every import WRITERS
from miniature.npz import write_npz_single
from miniature.openimages import write_openimages
from miniature.sav import write_sav_train
from miniature.shapes import ellipse_of, picture_of
from PIL import Image
from stores import CONFIGS, TINY

from resizeonce.loader import Store
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.store.root import read_rejects


def rejected(root: Path, config: str, out: Path, *overrides: str) -> list[tuple[str, str]]:
    convert(load_config(CONFIGS / f"{config}.toml", [*TINY, *overrides]), root, out, RunOptions())
    return [(reject.key, reject.path) for reject in read_rejects(out)]


def keys_in(store: Path) -> list[str]:
    opened = Store(store)
    return [opened.key(sample) for sample in range(len(opened))]


def test_a_pair_of_an_npz_is_named_by_its_frames_1_and_2(tmp_path: Path) -> None:
    masks = np.stack([ellipse_of(20, 30, 1), ellipse_of(20, 30, 2)])
    later = masks.copy()
    later[1] = False
    (tmp_path / "raw").mkdir()
    image = picture_of(20, 30, 1)
    np.savez(tmp_path / "raw" / "a.npz", image1=image, mask1=masks, image2=image, mask2=later)
    assert rejected(tmp_path / "raw", "npz", tmp_path / "out.zarr") == [
        ("npz/a/2/1", "a.npz"),
        ("npz/a/1+2/1", "a.npz"),
    ]
    assert keys_in(tmp_path / "out.zarr") == ["npz/a/1+2/0"]


def test_a_pair_that_lost_its_second_frame_names_that_frames_file(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_bar_jpegs(root, [(0, 0), (4, 4), (8, 8)])
    write_bar_pngs(root, [(0, 0), (4, 4), (8, 8)])
    frame = f"JPEGImages_24fps/{VIDEO_ID}/00004.jpg"
    (root / frame).write_bytes(b"\xff\xd8\xff")
    assert rejected(root, "sav_val", tmp_path / "out.zarr", "source.gaps=[1, 2]") == [
        (f"sav/{VIDEO_ID}/00004", frame),
        (f"sav/{VIDEO_ID}/00000+00004/000", frame),
        (f"sav/{VIDEO_ID}/00004+00008/000", frame),
    ]
    assert keys_in(tmp_path / "out.zarr") == [f"sav/{VIDEO_ID}/00000+00008/000"]


def test_text_that_is_none_stops_no_run(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_npz_single(root, [picture_of(20, 30, seed) for seed in range(2)])
    file = root / "stills" / "00000.npz"
    with np.load(file) as members:
        arrays = dict(members)
    arrays["expressions"].view(np.uint32)[3] = 0x110000
    np.savez(file, **arrays)
    assert rejected(root, "npz", tmp_path / "out.zarr", "source.paired=false") == [
        ("npz/stills/00000", "stills/00000.npz")
    ]
    assert keys_in(tmp_path / "out.zarr") == ["npz/stills/00001/0", "npz/stills/00001/1"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        # 300 letters are more than a file's name may have.
        ("x" * 300, "File name too long"),
        (os.fsdecode(b"/nowhere/\xff\xfe"), r"/nowhere/\udcff\udcfe, where nothing is"),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "coco", "sav", "openimages"])
def test_a_file_that_links_to_a_name_nobody_can_give_is_a_reject(
    tmp_path: Path, kind: str, target: str, words: str
) -> None:
    root, out = tmp_path / "raw", tmp_path / "out.zarr"
    pictures = [picture_of(40, 60, seed) for seed in range(2)]
    if kind == "sav":
        write_sav_train(root, [("sav_000001", pictures * 2)], video=True)
    else:
        WRITERS[kind](root, pictures)
    suffix = {"npz": "npz", "sav": "mp4"}.get(kind, "jpg")
    file = min(root.rglob(f"*.{suffix}"))
    file.unlink()
    file.symlink_to(target)
    found = rejected(root, kind, out)
    assert [path for _, path in found] == [file.relative_to(root).as_posix()] * len(found)
    assert words in next(iter(read_rejects(out))).reason


def test_an_empty_mask_file_is_named_and_not_the_picture_beside_it(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    write_openimages(root, [picture_of(40, 60, seed) for seed in range(4)])
    (mask, *_) = sorted((root / "train-masks").rglob("*.png"))
    with Image.open(mask) as picture:
        size = picture.size
    Image.new("1", size).save(mask)
    ((key, path),) = rejected(root, "openimages", tmp_path / "out.zarr")
    assert path == mask.relative_to(root).as_posix()
    assert key not in keys_in(tmp_path / "out.zarr")
    assert key.rpartition("/")[0] in {other.rpartition("/")[0] for other in keys_in(tmp_path / "out.zarr")}
