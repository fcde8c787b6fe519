"""Masks at their own size, boxes and files: nothing is found in a sound store, and damage of their structure is."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import attributes_of, flip_bit, parts_of, read_array, rewrite, write_attributes
from numpy.typing import NDArray
from stores import coco_store, specs_of

from resizeonce.loader.format.shard import shard_path
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

ALL = ("recipe.masks.size=own", "store.boxes=true", "store.keep_source=true")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    coco_store(folder, *ALL)
    return folder / "coco.zarr"


@pytest.mark.parametrize("overrides", [*((one,) for one in ALL), ALL], ids=" ".join)
def test_nothing_is_found_in_a_sound_store(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    coco_store(tmp_path, *overrides)
    options = VerifyOptions(values=True, source=tmp_path / "coco", sample=None)
    assert verify_store(tmp_path / "coco.zarr", options).findings == []


@pytest.mark.parametrize(
    ("name", "place", "row"),
    [
        ("images/source_bytes", (1 << 16) + 4 + 9, 1),
        ("masks/masks_runs", 100, 0),
        ("masks/box", 5, None),
        ("images/source_offsets", 9, None),
        ("masks/masks_size", 9, None),
    ],
)
def test_a_flipped_bit_is_found_where_it_is(
    sound: Path, tmp_path: Path, name: str, place: int, row: int | None
) -> None:
    shutil.copytree(sound, tmp_path / "store")
    flip_bit(tmp_path / "store/part-00000" / shard_path(specs_of(sound)[name]), 8 * place)
    findings = verify_store(tmp_path / "store", VerifyOptions()).findings
    assert [(one.check, one.array, one.row) for one in findings] == [("row-checksum", name, row)]


@pytest.mark.parametrize(
    ("array", "change", "check"),
    [
        ("masks/box", lambda boxes: boxes + np.float32(1), "box"),
        ("masks/box", lambda boxes: boxes[:, [1, 0, 3, 2]], "box"),
        ("masks/area", lambda areas: areas + 1, "mask-area"),
        ("masks/masks_size", lambda sizes: sizes[:, ::-1], "box"),
        ("masks/masks_size", lambda sizes: sizes + 1, "mask-runs"),
        ("images/size", lambda sizes: sizes[:, ::-1], "source-file"),
    ],
    ids=[
        "a pixel off",
        "turned",
        "another area",
        "height for width",
        "another size",
        "a file of another size",
    ],
)
def test_columns_that_contradict_each_other_are_found_by_their_values(
    sound: Path, tmp_path: Path, array: str, change: Callable[[NDArray[Any]], NDArray[Any]], check: str
) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "store"))
    for part in parts_of(store):
        rewrite(part, array, np.ascontiguousarray(change(read_array(part, array))))
    assert not verify_store(store).is_damaged
    assert check in {one.check for one in verify_store(store, VerifyOptions(values=True)).findings}


def test_boxes_of_other_masks_are_found_by_the_raw_files(sound: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "store"))
    part = parts_of(store)[0]
    rewrite(part, "masks/box", np.roll(read_array(part, "masks/box"), 1, axis=0))
    findings = verify_store(store, VerifyOptions(source=sound.parent / "coco", sample=None)).findings
    assert {one.check for one in findings} == {"box"}


def forget_columns(root: dict[str, object]) -> None:
    del root["columns"]


def lose_boxes(root: dict[str, object]) -> None:
    root["columns"] = ["sources"]


@pytest.mark.parametrize("forge", [forget_columns, lose_boxes], ids=lambda forge: forge.__name__)
def test_columns_that_are_not_those_of_the_job_are_found(
    sound: Path, tmp_path: Path, forge: Callable[[dict[str, object]], None]
) -> None:
    shutil.copytree(sound, tmp_path / "store")
    root = attributes_of(tmp_path / "store")
    forge(root)
    write_attributes(tmp_path / "store", root)
    found = [one.found for one in verify_store(tmp_path / "store", VerifyOptions()).findings]
    assert "the job asks for other columns than the store's" in found
