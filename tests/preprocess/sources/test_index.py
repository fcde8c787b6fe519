"""An index is read once, where the source is opened: what a worker gets is scenes, and they carry what they need."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import CONFIGS

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import open_source
from resizeonce.preprocess.sources.base import Source
from resizeonce.preprocess.sources.records import Frame, Record

INDEX_FILES = {
    "coco": ("annotations/instances_train2017.json",),
    "refcoco": ("refcoco/refs(unc).p", "refcoco/instances.json"),
    "mevis": ("meta_expressions.json", "mask_dict.json"),
    "vos": ("meta.json",),
    "openimages": ("train-annotations-object-segmentation.csv", "class-descriptions-boxable.csv"),
}


def write_and_open(name: str, root: Path, num_pictures: int = 3) -> Source:
    WRITERS[name](root, [picture_of(60, 80 + number, number) for number in range(num_pictures)])
    return open_source(load_config(CONFIGS / f"{name}.toml"), root)


def plain(record: Record) -> Any:
    if not isinstance(record, Frame):
        return record
    masks = [
        (mask.object_id, mask.category, mask.expressions, mask.segmentation.decode().tobytes())
        for mask in record.masks
    ]
    return record.key, record.path, record.image.tobytes(), masks


def read(pickled: bytes) -> list[Any]:
    return [plain(record) for scene in pickle.loads(pickled) for record in scene.read()]


@pytest.mark.parametrize("name", sorted(INDEX_FILES))
def test_scenes_are_read_without_the_index(name: str, tmp_path: Path) -> None:
    source = write_and_open(name, tmp_path)
    pickled = pickle.dumps([source[number] for number in range(len(source))])
    expected = read(pickled)
    for file in INDEX_FILES[name]:
        (tmp_path / file).unlink()
    assert any(isinstance(record, tuple) for record in expected)
    assert read(pickled) == expected


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_what_a_worker_gets_of_a_scene_does_not_grow_with_the_dataset(name: str, tmp_path: Path) -> None:
    few, many = (
        write_and_open(name, tmp_path / folder, num_pictures)
        for folder, num_pictures in (("a", 3), ("b", 24))
    )
    assert len(many) > len(few)
    # A little: numbers and names may have a digit more.
    assert len(pickle.dumps(many[0])) <= len(pickle.dumps(few[0])) + 64
