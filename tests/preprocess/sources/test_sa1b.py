"""SA-1B's samples: which files are a pair, their masks, the filters, and what is wrong with a record."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature.sa1b import masks_of, write_sa1b
from PIL import Image
from pycocotools import mask as coco_mask
from records import of_type
from sa1b_reading import SIZES, keys, open_source, pair_of, pictures, read, write_tar

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources.records import Frame, Reject, Skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_sa1b(tmp_path, pictures())
    return tmp_path


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def test_every_mask_is_read_on_its_own_picture(root: Path) -> None:
    source = open_source(root)
    frames = of_type(Frame, read(source))
    assert [frame.key for frame in frames] == ["sa1b/sa_1", "sa1b/sa_2", "sa1b/sa_3"]
    assert source.dataset_type == "sa1b"
    assert not source.paired
    for number, frame in enumerate(frames, start=1):
        jpg = root / "sa_000000" / f"sa_{number}.jpg"
        assert frame.path == f"sa_000000/sa_{number}.jpg"
        np.testing.assert_array_equal(frame.image, np.asarray(Image.open(jpg)))
        expected = masks_of(*SIZES[number - 1], number)
        assert [mask.object_id for mask in frame.masks] == [
            str(523353700 + number * 10 + place) for place in range(5)
        ]
        for mask, array in zip(frame.masks, expected, strict=True):
            np.testing.assert_array_equal(mask.segmentation.decode(), array)
            assert mask.category == ""


def test_scenes_come_in_the_order_of_their_numbers_from_tars_and_folders_alike(
    tmp_path: Path,
) -> None:
    write_tar(tmp_path / "sa_000001.tar", (10, 9))
    (tmp_path / "deep" / "sa_000000").mkdir(parents=True)
    write_tar(tmp_path / "deep" / "sa_000002.tar", (2,))
    for number in (100, 3):
        jpg, content = pair_of(number)
        (tmp_path / "deep" / "sa_000000" / f"sa_{number}.jpg").write_bytes(jpg)
        (tmp_path / "deep" / "sa_000000" / f"sa_{number}.json").write_bytes(content)
    source = open_source(tmp_path)
    assert keys(source) == [f"sa1b/sa_{number}" for number in (2, 3, 9, 10, 100)]
    assert [frame.path for frame in read(source)] == [
        "deep/sa_000002.tar/sa_2.jpg",
        "deep/sa_000000/sa_3.jpg",
        "sa_000001.tar/sa_9.jpg",
        "sa_000001.tar/sa_10.jpg",
        "deep/sa_000000/sa_100.jpg",
    ]


def test_an_image_in_a_tar_and_in_a_folder_is_used_once(root: Path) -> None:
    write_tar(root / "sa_000000.tar", (2, 7))
    source = open_source(root)
    assert keys(source) == ["sa1b/sa_1", "sa1b/sa_2", "sa1b/sa_3", "sa1b/sa_7"]
    (reject,) = source.rejects
    assert (reject.key, reject.path) == ("sa1b/sa_2", "sa_000000.tar/sa_2.jpg")
    assert "sa_000000/sa_2.jpg" in reject.reason


def test_files_without_partner_are_rejects(root: Path) -> None:
    (root / "sa_000000" / "sa_1.json").unlink()
    (root / "sa_000000" / "sa_3.jpg").unlink()
    source = open_source(root)
    assert keys(source) == ["sa1b/sa_2"]
    assert [(r.key, r.path, r.stage, r.reason) for r in source.rejects] == [
        ("sa1b/sa_1", "sa_000000/sa_1.jpg", "index", "there is no sa_1.json beside it"),
        ("sa1b/sa_3", "sa_000000/sa_3.json", "index", "there is no sa_3.jpg beside it"),
    ]


def write_files(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def test_partners_that_lie_apart_meet_by_their_id(tmp_path: Path) -> None:
    """As a downloader sorts them: images/ and annotations/."""
    for number in (1, 2, 3):
        jpg, content = pair_of(number)
        write_files(tmp_path, {f"images/sa_{number}.jpg": jpg, f"annotations/sa_{number}.json": content})
    write_files(tmp_path, dict(zip(("sa_4.jpg", "sa_4.json"), pair_of(4), strict=True)))
    source = open_source(tmp_path)
    assert keys(source) == ["sa1b/sa_1", "sa1b/sa_2", "sa1b/sa_3", "sa1b/sa_4"]
    assert [frame.path for frame in of_type(Frame, read(source))] == [
        "images/sa_1.jpg", "images/sa_2.jpg", "images/sa_3.jpg", "sa_4.jpg",
    ]  # fmt: skip
    assert not source.rejects


def test_partners_that_lie_apart_do_not_meet_where_there_are_several(tmp_path: Path) -> None:
    jpg, content = pair_of(1)
    write_files(tmp_path, {"a/sa_1.jpg": jpg, "b/sa_1.json": content, "c/sa_1.json": content})
    source = open_source(tmp_path)
    assert len(source) == 0
    assert [reject.path for reject in source.rejects] == ["a/sa_1.jpg", "b/sa_1.json", "c/sa_1.json"]


def test_a_pair_that_lies_together_is_the_one_that_counts(tmp_path: Path) -> None:
    jpg, content = pair_of(1)
    write_files(
        tmp_path, {"a/sa_1.jpg": jpg, "b/sa_1.json": content, "c/sa_1.jpg": jpg, "c/sa_1.json": content}
    )
    source = open_source(tmp_path)
    assert [frame.path for frame in of_type(Frame, read(source))] == ["c/sa_1.jpg"]
    assert [reject.path for reject in source.rejects] == ["a/sa_1.jpg", "b/sa_1.json"]


def test_names_that_are_no_image_number_are_rejects_and_other_files_nothing(root: Path) -> None:
    for name in ("sa_x.jpg", "sa_01.json", "README.txt", "._sa_1.jpg", "._sa_000000.tar"):
        (root / "sa_000000" / name).write_bytes(b"")
    source = open_source(root)
    assert len(source) == 3
    assert [r.path for r in source.rejects] == ["sa_000000/sa_01.json", "sa_000000/sa_x.jpg"]


def test_links_do_not_lead_out_of_the_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    write_tar(outside / "sa_000009.tar", (9,))
    (outside / "sa_8.jpg").write_bytes(pair_of(8)[0])
    (root / "linked").symlink_to(outside)
    (root / "sa_000009.tar").symlink_to(outside / "sa_000009.tar")
    (root / "loop").symlink_to(root / "loop")
    (root / "sa_8.jpg").symlink_to(outside / "sa_8.jpg")
    (root / "sa_8.json").write_bytes(pair_of(8)[1])
    source = open_source(root)
    assert keys(source) == ["sa1b/sa_1", "sa1b/sa_2", "sa1b/sa_3", "sa1b/sa_8"]
    assert [reject.path for reject in source.rejects] == ["linked", "sa_000009.tar"]
    (reject,) = source[3].read()
    assert isinstance(reject, Reject)
    assert "leads out" in reject.reason


def test_a_root_without_any_of_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no sa_<image id>\.jpg"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match="can't list"):
        open_source(tmp_path / "nowhere")


def test_filters_skip_and_say_which(root: Path) -> None:
    # The filters below are worked out by hand from these areas, on 37 x 61 = 2257 pixels.
    assert [int(mask.sum()) for mask in masks_of(*SIZES[0], 1)] == [200, 65, 244, 164, 15]
    for path in list((root / "sa_000000").iterdir()):
        if path.stem != "sa_1":
            path.unlink()

    def ids(**options: Any) -> tuple[list[int], list[tuple[str, int]]]:
        records = read(open_source(root, **options))
        masks = [mask for frame in of_type(Frame, records) for mask in frame.masks]
        skips = of_type(Skip, records)
        return [int(m.object_id) % 10 for m in masks], [(s.reason, s.count) for s in skips]

    assert ids() == ([0, 1, 2, 3, 4], [])
    assert ids(min_area=15) == ([0, 1, 2, 3, 4], [])
    assert ids(min_area=16) == ([0, 1, 2, 3], [("mask under min_area", 1)])
    assert ids(max_area_share=0.08) == ([1, 3, 4], [("mask over max_area_share", 1)] * 2)
    # 0.9 + place / 64 and 0.95 + place / 128
    assert ids(min_predicted_iou=0.93) == ([2, 3, 4], [("mask under min_predicted_iou", 1)] * 2)
    assert ids(min_stability_score=0.98) == ([4], [("mask under min_stability_score", 1)] * 4)
    assert ids(max_masks_per_image=2) == ([0, 2], [("mask beyond max_masks_per_image", 3)])
    assert ids(min_area=5000) == ([], [("mask under min_area", 1)] * 5)


def test_of_equal_masks_the_smallest_ids_are_taken(tmp_path: Path) -> None:
    jpg, content = pair_of(1)
    document = json.loads(content)
    segmentation = document["annotations"][0]["segmentation"]
    document["annotations"] = [{"id": n, "segmentation": segmentation} for n in (12, 9, 100, 8)]
    (tmp_path / "sa_1.jpg").write_bytes(jpg)
    (tmp_path / "sa_1.json").write_text(json.dumps(document))
    records = read(open_source(tmp_path, max_masks_per_image=2))
    assert [mask.object_id for mask in records[-1].masks] == ["9", "8"]


def test_a_mask_without_quality_fields_passes_their_filters(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", (1,))
    (frame,) = read(open_source(tmp_path, min_predicted_iou=1.0, min_stability_score=1.0))
    assert len(frame.masks) == 1


def test_ids_and_sizes_may_be_text(tmp_path: Path) -> None:
    jpg, content = pair_of(1)
    document = json.loads(content)
    for field, value in document["image"].items():
        document["image"][field] = str(value)
    for annotation in document["annotations"]:
        annotation["id"] = str(annotation["id"])
    roots = tmp_path / "text", tmp_path / "numbers"
    for root, text in zip(roots, (json.dumps(document).encode(), content), strict=True):
        root.mkdir()
        (root / "sa_1.jpg").write_bytes(jpg)
        (root / "sa_1.json").write_bytes(text)
    described = [
        [(frame.key, [mask.object_id for mask in frame.masks]) for frame in read(open_source(root))]
        for root in roots
    ]
    assert described[0] == described[1] == [("sa1b/sa_1", ["7"])]


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"id": 5}, "no segmentation"),
        ({"segmentation": {"size": [4, 6], "counts": [24]}}, "missing required field `id`"),
        ({"id": 5.5}, "whole number"),
        ({"id": "five"}, "not an annotation"),
        ({"id": "nan"}, "found nan, expected a whole number"),
        ({"id": "1e999"}, "not an annotation"),
        ({"id": 9, "predicted_iou": "nan"}, "a predicted_iou of nan, expected a number"),
        ({"id": 7, "segmentation": {"size": [4, 6], "counts": [12, 12]}}, "earlier annotation"),
        ({"id": 5, "segmentation": {"size": [4, 6], "counts": [24]}}, "covers no pixel"),
        ({"id": 5, "segmentation": {"size": [6, 4], "counts": [12, 12]}}, "the transpose"),
        ({"id": 5, "segmentation": {"size": [4, 6], "counts": [12, 13]}}, "add up to 25 pixels"),
        ({"id": 5, "predicted_iou": "high"}, "predicted_iou"),
        (None, "not an annotation"),
        ([], "not an annotation"),
    ],
)
def test_one_bad_annotation_is_one_reject(tmp_path: Path, annotation: Any, reason: str) -> None:
    jpg, content = pair_of(1)
    document = json.loads(content)
    document["annotations"].append(annotation)
    (tmp_path / "sa_1.jpg").write_bytes(jpg)
    (tmp_path / "sa_1.json").write_text(json.dumps(document))
    reject, frame = read(open_source(tmp_path))
    assert isinstance(reject, Reject)
    assert reason in reject.reason
    assert reject.key.startswith("sa1b/sa_1/")
    assert reject.path == "sa_1.json"
    assert [mask.object_id for mask in frame.masks] == ["7"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no SA-1B json"),
        (b"[" * 100_000, "no SA-1B json"),
        (b'{"image": {"height": 4, "width": 6}}', "annotations"),
        (b'{"image": {"height": 4}, "annotations": []}', "width"),
        (b'{"image": {"height": 4.5, "width": 6}, "annotations": [1]}', "whole number"),
        (b'{"image": {"height": 4, "width": 6, "image_id": 2}, "annotations": [1]}', "image 2"),
        (b'{"image": {"height": 4, "width": 6}, "annotations": [{"id": 1, "segmentation": {"\xff": 1}}]}', "JSON"),
    ],
)  # fmt: skip
def test_a_json_that_is_none_of_sa1b_is_a_reject(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "sa_1.jpg").write_bytes(pair_of(1)[0])
    (tmp_path / "sa_1.json").write_bytes(content)
    (reject,) = read(open_source(tmp_path))
    assert isinstance(reject, Reject)
    assert reason in reject.reason


def test_numbers_may_be_floats(tmp_path: Path) -> None:
    def as_floats(content: Any) -> None:
        content["image"] = {name: float(value) for name, value in content["image"].items()}
        content["annotations"][0]["id"] = 7.0
        content["annotations"][0]["predicted_iou"] = 1

    jpg, content = pair_of(1)
    (tmp_path / "sa_1.jpg").write_bytes(jpg)
    (tmp_path / "sa_1.json").write_bytes(content)
    change_json(tmp_path / "sa_1.json", as_floats)
    (frame,) = read(open_source(tmp_path))
    assert [mask.object_id for mask in frame.masks] == ["7"]


def test_an_image_of_another_shape_or_damaged_is_a_reject(root: Path) -> None:
    folder = root / "sa_000000"
    (folder / "sa_1.jpg").write_bytes((folder / "sa_2.jpg").read_bytes())
    (folder / "sa_2.jpg").write_bytes((folder / "sa_2.jpg").read_bytes()[:700])
    (folder / "sa_3.jpg").write_bytes(b"<html>")
    records = read(open_source(root))
    assert [(type(r), r.key, r.stage) for r in records] == [
        (Reject, f"sa1b/sa_{number}", "decode") for number in (1, 2, 3)
    ]


def test_the_fingerprint_follows_the_listing(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", (1, 2))
    before = open_source(tmp_path).fingerprint()
    assert open_source(tmp_path, min_area=3).fingerprint() == before
    write_tar(tmp_path / "a.tar", (1, 2, 3))
    more = open_source(tmp_path).fingerprint()
    assert more != before
    (tmp_path / "b").mkdir()
    for suffix, content in zip(("jpg", "json"), pair_of(4), strict=True):
        (tmp_path / "b" / f"sa_4.{suffix}").write_bytes(content)
    assert open_source(tmp_path).fingerprint() not in (before, more)


def test_a_folder_name_that_is_no_text_can_still_be_printed(tmp_path: Path) -> None:
    folder = tmp_path / "b\udcff"
    folder.mkdir()
    for suffix, content in zip(("jpg", "json"), pair_of(4), strict=True):
        (folder / f"sa_4.{suffix}").write_bytes(content)
    (folder / "sa_5.jpg").touch()
    source = open_source(tmp_path)
    reject, frame = read(source)
    assert frame.path == "b\\udcff/sa_4.jpg"
    assert reject.path == "b\\udcff/sa_5.jpg"


def test_the_real_sample(shared_data: Path, tmp_path: Path) -> None:
    root = shared_data / "sa1b"
    source = open_source(root)
    frames = read(source)
    assert [frame.key for frame in frames] == [
        f"sa1b/sa_{number}"
        for number in (
            1, 560, 106235, 166918, 184321, 217285, 357888, 384513, 482585, 547336, 552775, 560256,
        )
    ]  # fmt: skip
    assert sum(len(frame.masks) for frame in frames) == 172
    for frame in frames:
        path = root / frame.path
        document = json.loads(path.with_suffix(".json").read_bytes())
        np.testing.assert_array_equal(frame.image, np.asarray(Image.open(path).convert("RGB")))
        for mask, annotation in zip(frame.masks, document["annotations"], strict=True):
            assert mask.object_id == str(annotation["id"])
            expected = coco_mask.decode(annotation["segmentation"]).astype(bool)
            np.testing.assert_array_equal(mask.segmentation.decode(), expected)
            assert mask.segmentation.area == annotation["area"]
    with tarfile.open(tmp_path / "sa_000000.tar", "w") as archive:
        archive.add(root / "sa_000000", ".")
    for frame, same in zip(frames, read(open_source(tmp_path)), strict=True):
        assert frame.key == same.key
        np.testing.assert_array_equal(frame.image, same.image)
        for mask, other in zip(frame.masks, same.masks, strict=True):
            np.testing.assert_array_equal(mask.segmentation.decode(), other.segmentation.decode())


def test_the_odd_cases(shared_data: Path) -> None:
    records = read(open_source(shared_data / "odd" / "sa1b"))
    assert [frame.key for frame in of_type(Frame, records)] == ["sa1b/sa_800007"]
    assert {Path(r.path).name: r.stage for r in of_type(Reject, records)} == {
        "sa_560.json": "index",
        "sa_800002.json": "mask",
        "sa_800003.json": "decode",
        "sa_800004.json": "index",
        "sa_800005.jpg": "index",
        "sa_800006.json": "mask",
    }
    assert of_type(Skip, records) == [Skip("image without annotations")]


def test_the_genuine_record_with_a_run_too_many(shared_data: Path, tmp_path: Path) -> None:
    name = "sa_560.json"
    content = (shared_data / "odd" / "sa1b" / "sa_000000" / name).read_bytes()
    (tmp_path / name).write_bytes(content)
    Image.new("RGB", (2250, 1500)).save(tmp_path / "sa_560.jpg")
    (reject,) = read(open_source(tmp_path))
    assert "add up to 3375001 pixels" in reject.reason
