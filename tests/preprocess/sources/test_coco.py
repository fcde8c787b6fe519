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

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources.base import Source
from resizeonce.preprocess.sources.coco import CocoSource, Options
from resizeonce.preprocess.sources.records import Frame, Record, Reject, Skip

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


def test_annotations_of_an_id_that_two_images_have_are_rejected(root: Path) -> None:
    """They could be of either: with all image ids 0, the first picture would get every mask of the dataset."""
    change(root, lambda content: content["images"][1].update(id=1))
    source = CocoSource(root, Options())
    assert [reject.key for reject in source.rejects][:4] == [
        "coco/1",
        "coco/1/10",
        "coco/1/11",
        "coco/1/900100000001",
    ]
    assert all("renumber the images" in reject.reason for reject in source.rejects[:4])
    assert list(frames_of(read(source))) == ["coco/3"]


def test_an_image_entry_that_stands_there_twice_is_one_image(root: Path) -> None:
    change(root, lambda content: content["images"].append(content["images"][0]))
    source = CocoSource(root, Options())
    assert [reject.key for reject in source.rejects] == ["coco/1"]
    assert list(frames_of(read(source))) == ["coco/1", "coco/2", "coco/3"]


# ---- what other tools write


def test_numbers_may_be_whole_floats_or_text_and_iscrowd_a_bool(root: Path) -> None:
    before = frames_of(read(CocoSource(root, Options())))

    def rewrite(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image |= {
                "id": float(image["id"]),
                "width": float(image["width"]),
                "height": str(image["height"]),
            }
        for annotation in content["annotations"]:
            annotation |= {name: float(annotation[name]) for name in ("id", "image_id", "category_id")}
            annotation["iscrowd"] = bool(annotation["iscrowd"])
        content["categories"][0]["id"] = 1.0

    change(root, rewrite)
    source = CocoSource(root, Options())
    assert source.rejects == []
    records = read(source)
    assert [record for record in records if isinstance(record, Skip)] == 3 * [Skip("crowd annotation")]
    after = frames_of(records)
    assert list(after) == list(before)
    for key, frame in after.items():
        assert [(mask.object_id, mask.category) for mask in frame.masks] == [
            (mask.object_id, mask.category) for mask in before[key].masks
        ]


def test_a_bad_category_is_one_reject(root: Path) -> None:
    change(root, lambda content: content["categories"].append({"id": 2, "name": None}))
    source = CocoSource(root, Options())
    assert [reject.key for reject in source.rejects] == ["coco/categories[1]"]
    assert [mask.category for mask in frames_of(read(source))["coco/1"].masks] == ["person", "person"]


def test_a_category_that_two_have_for_their_id_is_a_reject_and_no_class(root: Path) -> None:
    def add(content: dict[str, Any]) -> None:
        content["categories"] += [content["categories"][0], content["categories"][0] | {"name": "dog"}]

    change(root, add)
    source = CocoSource(root, Options())
    assert [(reject.key, reject.reason) for reject in source.rejects] == [
        ("coco/categories[2]", "'dog' has the id of an earlier category, 'person': renumber the categories")
    ]
    assert {mask.category for mask in frames_of(read(source))["coco/1"].masks} == {""}


def test_annotation_ids_need_to_be_unique_within_their_image_only(root: Path) -> None:
    def renumber(content: dict[str, Any]) -> None:
        content["annotations"] = content["annotations"][::3]
        for annotation in content["annotations"]:
            annotation["id"] = 0

    change(root, renumber)
    source = CocoSource(root, Options())
    assert source.rejects == []
    found = {key: [mask.object_id for mask in frame.masks] for key, frame in frames_of(read(source)).items()}
    assert found == {"coco/1": ["0"], "coco/2": ["0"], "coco/3": ["0"]}


def test_two_annotations_of_an_image_with_one_id_are_rejected_with_the_remedy(root: Path) -> None:
    change(root, lambda content: [annotation.update(id=0) for annotation in content["annotations"]] and None)
    source = CocoSource(root, Options())
    assert [reject.key for reject in source.rejects] == ["coco/1/0"] * 2 + ["coco/2/0"] * 2 + ["coco/3/0"] * 2
    assert all("of this image: renumber the annotations" in reject.reason for reject in source.rejects)


def test_an_image_whose_annotations_were_rejected_is_not_one_without_annotations(root: Path) -> None:
    change(root, lambda content: content["annotations"][0].update(id=None))
    change(root, lambda content: content.update(annotations=content["annotations"][:1]))
    assert read(CocoSource(root, Options())) == 2 * [Skip("image without annotations")]


def test_a_file_under_two_image_ids_is_counted_and_both_are_kept(root: Path) -> None:
    change(root, lambda content: content["images"][1].update(content["images"][0] | {"id": 2}))
    source = CocoSource(root, Options())
    assert Skip("image with the same file as an earlier one; both are kept", 1) in source.skips
    assert [frame.path for frame in frames_of(read(source)).values()][:2] == 2 * [
        "train2017/000000000001.jpg"
    ]


@pytest.mark.parametrize("owner", ["000000000001.jpg", None, {}])
def test_an_annotation_that_names_no_image_may_be_of_any(root: Path, owner: object) -> None:
    def change_owner(content: dict[str, Any]) -> None:
        content["annotations"] = [content["annotations"][0] | {"image_id": owner}]

    change(root, change_owner)
    source = CocoSource(root, Options())
    [reject] = source.rejects
    assert "not an annotation" in reject.reason
    assert Skip("image without annotations") not in read(source)


# ---- another orientation


def drawn(root: Path, *polygons: list[float]) -> list[str]:
    """Give image 1, 61 wide and 37 high, these polygons; return the reasons of the rejects."""

    def draw(content: dict[str, Any]) -> None:
        content["annotations"] = [
            {"id": number, "image_id": 1, "category_id": 1, "segmentation": [polygon]}
            for number, polygon in enumerate(polygons)
        ]

    change(root, draw)
    return [reject.reason for reject in rejects_of(read(CocoSource(root, Options())))]


LOW = [5, 40, 30, 40, 30, 58, 5, 58]
WIDE = [40, 5, 58, 5, 58, 30, 40, 30]
BOTH = [5, 5, 30, 5, 30, 30, 5, 30]
CUT = [5, 20, 30, 20, 30, 45, 5, 45]
BY_ROUNDING = [5, 5, 62.4, 5, 62.4, 38.2, 5, 38.2]


def test_polygons_of_the_turned_picture_are_rejected_also_those_that_would_fit_both(root: Path) -> None:
    reasons = drawn(root, BOTH, LOW)
    assert len(reasons) == 2
    assert all("61 x 37 (width x height) but fit the turned picture" in reason for reason in reasons)


@pytest.mark.parametrize("polygons", [[BOTH], [WIDE], [WIDE, CUT], [BY_ROUNDING], [BY_ROUNDING, BOTH]])
def test_polygons_that_leave_their_picture_by_rounding_or_where_an_object_is_cut_off_are_masks(
    root: Path, polygons: list[list[float]]
) -> None:
    assert drawn(root, *polygons) == []


def test_polygons_relative_to_the_picture_are_rejected(root: Path) -> None:
    """As YOLO has them."""
    reasons = drawn(root, [0.1, 0.1, 0.5, 0.1, 0.5, 1.0], [0.2, 0.2, 0.9, 0.2, 0.9, 0.9])
    assert len(reasons) == 2
    assert all(
        "relative to the picture? Then multiply them by its width and height" in reason for reason in reasons
    )


def test_polygons_of_the_picture_in_twice_its_size_are_rejected_also_those_that_would_fit(root: Path) -> None:
    reasons = drawn(root, BOTH, [60, 20, 120, 20, 120, 70], [80, 50, 120, 50, 120, 72])
    assert len(reasons) == 3
    assert all("up to 120 x 72, far beyond its 61 x 37" in reason for reason in reasons)


def test_run_lengths_beside_polygons_of_the_turned_picture_are_masks(root: Path) -> None:
    """They say their size themselves."""
    change(root, lambda content: content["annotations"][0].update(segmentation=[LOW]))
    records = read(CocoSource(root, Options()))
    assert [reject.key for reject in rejects_of(records)] == ["coco/1/10"]
    assert [mask.object_id for mask in frames_of(records)["coco/1"].masks] == ["11"]


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
        ((61, 37), "the sides exchanged"),
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
