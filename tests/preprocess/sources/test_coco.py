import json
import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature.coco import write_coco
from miniature.shapes import picture_of
from PIL import Image
from pycocotools import mask as coco_mask

from preprocess.errors import SourceError
from preprocess.records import Frame, Record, Reject, Skip
from preprocess.sources.base import Source
from preprocess.sources.coco import CocoSource, Options

SIZES = ((37, 61), (64, 40), (50, 50))
ANNOTATIONS = "annotations/instances_train2017.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_coco(tmp_path, [picture_of(*size, seed) for seed, size in enumerate(SIZES)])
    return tmp_path


def read(source: CocoSource) -> list[Record]:
    return [record for index in range(len(source)) for record in source[index].read()]


def frames_of(records: list[Record]) -> dict[str, Frame]:
    return {record.key: record for record in records if isinstance(record, Frame)}


def rejects_of(records: list[Record]) -> list[Reject]:
    return [record for record in records if isinstance(record, Reject)]


def change(root: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = root / ANNOTATIONS
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def expected_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """pycocotools' own reading, as COCO.annToMask does it."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(segmentation).astype(bool)


# ---- the miniature


def test_each_image_is_a_scene_with_its_annotations(root: Path) -> None:
    source: Source = CocoSource(root, Options())
    assert (len(source), source.dataset_type, source.paired) == (3, "coco", False)
    assert list(source.rejects) == []
    assert [source[index].key for index in range(3)] == ["coco/1", "coco/2", "coco/3"]
    skip, frame = source[1].read()
    assert skip == Skip("crowd annotation", 1)
    assert isinstance(frame, Frame)
    assert (frame.key, frame.path) == ("coco/2", "train2017/000000000002.jpg")
    np.testing.assert_array_equal(frame.image, np.asarray(Image.open(root / frame.path)))
    assert [(mask.object_id, mask.category) for mask in frame.masks] == [
        ("20", "person"),
        ("21", "person"),
    ]


@pytest.mark.parametrize("crowds", [False, True])
def test_masks_are_those_of_pycocotools(root: Path, crowds: bool) -> None:
    content = json.loads((root / ANNOTATIONS).read_text())
    expected = {
        f"coco/{annotation['image_id']}/{annotation['id']}": expected_mask(
            annotation["segmentation"], *SIZES[annotation["image_id"] - 1]
        )
        for annotation in content["annotations"]
        if crowds or not annotation["iscrowd"]
    }
    found = {
        f"{frame.key}/{mask.object_id}": mask.segmentation
        for frame in frames_of(read(CocoSource(root, Options(crowds=crowds)))).values()
        for mask in frame.masks
    }
    assert list(found) == list(expected)
    for key, segmentation in found.items():
        np.testing.assert_array_equal(segmentation.decode(), expected[key])
        assert segmentation.area == expected[key].sum()


def test_crowd_with_an_id_beyond_32_bits_can_be_asked_for(root: Path) -> None:
    records = read(CocoSource(root, Options(crowds=True)))
    assert not [record for record in records if isinstance(record, Skip)]
    assert [mask.object_id for mask in frames_of(records)["coco/1"].masks] == [
        "10",
        "11",
        "900100000001",
    ]


def test_order_is_that_of_the_image_ids(root: Path) -> None:
    before = read(CocoSource(root, Options()))
    change(root, lambda content: content["images"].reverse())
    after = read(CocoSource(root, Options()))
    assert list(frames_of(before)) == list(frames_of(after)) == ["coco/1", "coco/2", "coco/3"]


def test_image_without_annotations_is_a_counted_skip(root: Path) -> None:
    change(root, lambda content: content["annotations"].clear())
    assert read(CocoSource(root, Options())) == 3 * [Skip("image without annotations")]


def test_image_with_nothing_but_crowds_is_not_one_without_annotations(root: Path) -> None:
    change(root, lambda content: content.update(annotations=content["annotations"][2::3]))
    records = read(CocoSource(root, Options()))
    assert records == 3 * [Skip("crowd annotation", 1)]


def test_subset_without_categories_is_read(root: Path) -> None:
    change(root, lambda content: content.pop("categories"))
    masks = frames_of(read(CocoSource(root, Options())))["coco/1"].masks
    assert [mask.category for mask in masks] == ["", ""]


def test_scenes_can_be_pickled(root: Path) -> None:
    scene = CocoSource(root, Options())[0]
    assert len(pickle.dumps(scene)) < 10_000
    [_, copy] = pickle.loads(pickle.dumps(scene)).read()
    [_, frame] = scene.read()
    for mask, other in zip(frame.masks, copy.masks, strict=True):
        np.testing.assert_array_equal(mask.segmentation.decode(), other.segmentation.decode())


def test_fingerprint_changes_with_the_annotations(root: Path) -> None:
    before = CocoSource(root, Options()).fingerprint()
    assert list(before) == [ANNOTATIONS]
    change(root, lambda content: content["annotations"].pop())
    assert CocoSource(root, Options()).fingerprint() != before


# ---- what can't become a sample


@pytest.mark.parametrize(
    ("place", "field", "value", "key", "reason"),
    [
        ("images", "id", "one", "coco/images[1]", "not an image entry"),
        ("images", "id", 1, "coco/1", "images[1] has the id of an earlier image"),
        ("images", "height", 3.5, "coco/images[1]", "not an image entry"),
        ("annotations", "id", None, "coco/annotations[1]", "not an annotation"),
        ("annotations", "id", 10, "coco/1/10", "has the id of an earlier annotation"),
        ("annotations", "image_id", 9, "coco/9/11", "belongs to image 9, which is not listed"),
        ("annotations", "iscrowd", "no", "coco/annotations[1]", "not an annotation"),
    ],
)
def test_bad_element_is_rejected_by_the_index(
    root: Path, place: str, field: str, value: object, key: str, reason: str
) -> None:
    # Without image 2 its annotations would be rejects, too.
    change(root, lambda content: content.update(annotations=content["annotations"][:3]))
    change(root, lambda content: content[place][1].update({field: value}))
    source = CocoSource(root, Options())
    [reject] = source.rejects
    assert (reject.key, reject.path, reject.stage) == (key, ANNOTATIONS, "index")
    assert reason in reject.reason
    assert "coco/1" in frames_of(read(source))


@pytest.mark.parametrize(
    "segmentation",
    [None, [], [[1, 1, 5, 5]], {"size": [61, 37], "counts": [37 * 61]}, {"counts": "P"}, "text", 5],
)
def test_bad_mask_is_rejected_and_the_others_stay(root: Path, segmentation: object) -> None:
    change(root, lambda content: content["annotations"][0].update(segmentation=segmentation))
    records = read(CocoSource(root, Options()))
    [reject] = rejects_of(records)
    assert (reject.key, reject.stage) == ("coco/1/10", "mask")
    assert [mask.object_id for mask in frames_of(records)["coco/1"].masks] == ["11"]


@pytest.mark.parametrize("nested", [100, 600, *range(850, 1000, 10), 100_000])
def test_nested_mask_is_rejected_however_deep(root: Path, nested: int) -> None:
    path = root / ANNOTATIONS
    text = path.read_text().replace('"segmentation": [[', '"segmentation": [["mark", ', 1)
    path.write_text(text.replace('"mark"', "[" * nested + "]" * nested))
    try:
        records = read(CocoSource(root, Options()))
    except SourceError:
        assert nested > 900
        return
    assert [reject.key for reject in rejects_of(records)] == ["coco/1/10"]


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((61, 37), "the image is 37 x 61"),
        ((37, 99), "the image is 37 x 61"),
        ((0, 0), "the image is 37 x 61"),
        ((-37, -61), "the image is 37 x 61"),
        ((10**300, 1), "the image is 37 x 61"),
    ],
)
def test_image_of_another_shape_is_rejected(root: Path, size: tuple[int, int], reason: str) -> None:
    change(root, lambda content: content["images"][0].update(height=size[0], width=size[1]))
    [reject] = rejects_of(read(CocoSource(root, Options())))
    assert (reject.key, reject.stage) == ("coco/1", "decode")
    assert reason in reject.reason


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "x" * 5000, "a\0b", "", ".", "none.jpg", "link.jpg"]
)
def test_name_that_leaves_the_folder_or_is_no_file_is_rejected(root: Path, name: str) -> None:
    (root / "secret.jpg").write_bytes((root / "train2017" / "000000000001.jpg").read_bytes())
    (root / "train2017" / "link.jpg").symlink_to(root / "secret.jpg")
    change(root, lambda content: content["images"][0].update(file_name=name))
    records = read(CocoSource(root, Options()))
    [reject] = rejects_of(records)
    assert (reject.key, reject.stage) == ("coco/1", "read")
    assert list(frames_of(records)) == ["coco/2", "coco/3"]


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff\xd8\xff\xe0 cut"])
def test_damaged_image_is_rejected(root: Path, content: bytes) -> None:
    (root / "train2017" / "000000000001.jpg").write_bytes(content)
    records = read(CocoSource(root, Options()))
    [reject] = rejects_of(records)
    assert (reject.key, reject.stage) == ("coco/1", "decode")
    assert list(frames_of(records)) == ["coco/2", "coco/3"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"images": 5}', b'{"images": [', b"{}", b"[" * 10**5, b"\xff\xff"]
)
def test_file_that_is_no_instances_json_is_an_error_that_names_it(root: Path, content: bytes) -> None:
    (root / ANNOTATIONS).write_bytes(content)
    with pytest.raises(SourceError, match=r"instances_train2017\.json is no COCO instances JSON"):
        CocoSource(root, Options())


def test_missing_file_is_an_error_that_says_what_to_check(root: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.json: the file is missing.*check --root"):
        CocoSource(root, Options(annotations="none.json"))


@pytest.mark.parametrize("what", ["pipe", "device", "folder", "huge"])
def test_instances_that_are_no_plain_file_are_an_error_and_not_read(root: Path, what: str) -> None:
    path = root / ANNOTATIONS
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    with pytest.raises(SourceError, match=r"not a regular file|over the limit"):
        CocoSource(root, Options())


# ---- the real samples


@pytest.mark.parametrize(
    ("split", "crowds", "counts"),
    [
        # (scenes, frames, masks, crowds left out, images without annotations), counted with json alone.
        ("train2017", False, (99, 98, 932, 14, 1)),
        ("train2017", True, (99, 98, 946, 0, 1)),
        ("val2017", False, (20, 20, 112, 0, 0)),
    ],
)
def test_real_samples_are_all_read(
    shared_data: Path, split: str, crowds: bool, counts: tuple[int, ...]
) -> None:
    root = shared_data / "coco"
    options = Options(annotations=f"annotations/instances_{split}.json", images=split, crowds=crowds)
    source = CocoSource(root, options)
    records = read(source)
    frames = frames_of(records)
    skips: Counter[str] = Counter()
    for record in records:
        if isinstance(record, Skip):
            skips[record.reason] += record.count
    assert list(source.rejects) == rejects_of(records) == []
    assert (
        len(source),
        len(frames),
        sum(len(frame.masks) for frame in frames.values()),
        skips["crowd annotation"],
        skips["image without annotations"],
    ) == counts


def test_real_odd_annotations_end_as_expected(shared_data: Path) -> None:
    folder = shared_data / "odd"
    source = CocoSource(
        folder, Options(annotations="annotations/instances_odd.json", images="images", crowds=True)
    )
    records = read(source)
    frames = {frame.path: frame for frame in frames_of(records).values()}
    areas = {mask.object_id: mask.segmentation.area for frame in frames.values() for mask in frame.masks}
    rejected = {reject.key.split("/")[-1] for reject in [*source.rejects, *rejects_of(records)]}
    checked = 0
    for case in json.loads((folder / "cases.json").read_text()):
        if not case["path"].startswith("images/") or case["expect"] == "either":
            continue
        number = str(case.get("annotation_id", ""))
        if case["property"] == "two annotations share one id":
            assert number in rejected
        elif not number or case["path"] not in frames:
            assert (case["path"] in frames) == (case["expect"] == "ok"), case
        else:
            # What covers no pixel is left to the writer, which rejects it.
            assert (areas.get(number, 0) > 0) == (case["expect"] == "ok"), case
        checked += 1
    assert checked == 49
