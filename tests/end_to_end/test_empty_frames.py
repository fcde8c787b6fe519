"""Frames in which nobody is visible: stored where frames are taken one by one, shown by clips, left out by all else."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import attributes_of, write_attributes
from miniature.folders import save_indexed
from miniature.shapes import picture_of
from PIL import Image
from stores import CONFIGS, TINY

from resizeonce.loader import BatchLoader, Clip, Objects, Order, OrderOptions, SampleIndex, Store, check_batch
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

VISIBLE = [True, False, True, False, False]
"""In which frames of the video its one object is."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw files of the video."""
    folder = tmp_path_factory.mktemp("raw")
    for name in ("JPEGImages", "Annotations"):
        (folder / name / "bear").mkdir(parents=True)
    for number, is_visible in enumerate(VISIBLE):
        Image.fromarray(picture_of(40, 60, number)).save(folder / f"JPEGImages/bear/{number:05d}.jpg")
        labels = np.zeros((40, 60), np.uint8)
        labels[5:35, 10:30] = is_visible
        save_indexed(folder / f"Annotations/bear/{number:05d}.png", labels)
    return folder


@pytest.fixture(scope="module")
def store(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stored") / "vos.zarr"
    convert(load_config(CONFIGS / "vos.toml", [*TINY, "source.take=all"]), root, out)
    return out


def test_the_root_says_that_there_may_be_such_frames(store: Path) -> None:
    attributes = Store(store).attributes
    assert (attributes["format_version"], attributes["empty_frames"]) == (3, True)
    assert (attributes["totals"]["images"], attributes["totals"]["masks"]) == (5, 2)


def test_a_store_of_pairs_has_none_and_does_not_speak_of_them(root: Path, tmp_path: Path) -> None:
    convert(load_config(CONFIGS / "vos.toml", list(TINY)), root, tmp_path / "pairs.zarr")
    attributes = Store(tmp_path / "pairs.zarr").attributes
    assert "empty_frames" not in attributes
    assert (attributes["format_version"], attributes["totals"]["images"]) == (1, 2)


def test_clips_show_them_with_zero_masks(store: Path) -> None:
    order = Order([SampleIndex(Store(store), draw=Clip(frames=5, objects=1))], OrderOptions(shuffle=None))
    (batch,) = BatchLoader(order, 1, 0)
    assert batch["times"].tolist() == [[0, 1, 2, 3, 4]]
    assert batch["visible"].tolist() == [VISIBLE]
    assert batch["masks"].flatten(2).any(dim=2).tolist() == [VISIBLE]
    check_batch(batch, Store(store).recipe)


@pytest.mark.parametrize("chosen", [{"masks": "one"}, {"draw": Objects(at_most=3)}])
def test_images_of_which_masks_are_drawn_leave_them_out(store: Path, chosen: dict[str, Any]) -> None:
    (batch,) = BatchLoader(Order([SampleIndex(Store(store), **chosen)]), 2, 0)
    assert sorted(key.split("/")[2] for key in batch["key"]) == ["00000", "00002"]


def test_every_depth_of_verify_finds_nothing_in_such_a_store(store: Path, root: Path) -> None:
    found = verify_store(store, VerifyOptions(values=True, source=root, sample=None)).findings
    assert [finding.line() for finding in found if finding.level == "damage"] == []


def forget(attributes: dict[str, Any]) -> None:
    del attributes["empty_frames"]


def take_pairs(attributes: dict[str, Any]) -> None:
    attributes["job"]["source"]["take"] = "pairs"


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        (forget, "no mask belongs to this image"),
        (forget, "empty_frames is False, and the job's take says otherwise"),
        (take_pairs, "empty_frames is True, and the job's take says otherwise"),
    ],
)
def test_a_root_that_says_otherwise_is_found(
    store: Path, tmp_path: Path, forge: Callable[[dict[str, Any]], None], says: str
) -> None:
    shutil.copytree(store, tmp_path / "store")
    attributes = attributes_of(tmp_path / "store")
    forge(attributes)
    write_attributes(tmp_path / "store", attributes)
    assert says in [one.found for one in verify_store(tmp_path / "store", VerifyOptions()).findings]
