"""RefCOCO's samples: which refs a split has, their masks, sentences and pictures."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from miniature.refcoco import IMAGES, write_refcoco
from miniature.shapes import picture_of
from PIL import Image
from refcoco_reading import (
    SIZES,
    annotations_of,
    change_refs,
    expected_mask,
    expressions_of,
    frames_of,
    open_source,
    read,
)

from resizeonce.preprocess.sources.base import Source
from resizeonce.preprocess.sources.records import Frame, Mask, Reject, Skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_refcoco(tmp_path, [picture_of(*size, seed) for seed, size in enumerate(SIZES)])
    return tmp_path


# ---- the miniature, split by split


@pytest.mark.parametrize(
    ("dataset", "split_by", "split", "keys"),
    [
        ("refcoco", "unc", "train", ["111/10", "111/11", "555/50", "555/51"]),
        ("refcoco", "unc", "val", ["222/20", "222/21"]),
        ("refcoco", "unc", "testA", ["333/30", "333/31"]),
        ("refcoco", "unc", "testB", ["444/40", "444/41"]),
        ("refcoco", "google", "test", ["333/30", "333/31"]),
        ("refcoco+", "unc", "testA", ["333/30", "333/31"]),
        ("refcocog", "umd", "test", ["333/30", "333/31"]),
        ("refcocog", "umd", "val", ["222/20", "222/21", "555/50", "555/51"]),
        ("refcocog", "google", "val", ["222/20", "222/21", "444/40", "444/41"]),
        ("grefcoco", "unc", "val", ["222/20", "222/21", "222/21+20"]),
    ],
)
def test_every_dataset_and_split_has_its_refs(
    root: Path, dataset: str, split_by: str, split: str, keys: list[str]
) -> None:
    source: Source = open_source(root, dataset, split_by=split_by, split=split)
    assert (source.dataset_type, source.paired, list(source.rejects)) == ("refcoco", False, [])
    found = [
        f"{record.key}/{mask.object_id}"
        for index in range(len(source))
        for record in source[index].read()
        if isinstance(record, Frame)
        for mask in record.masks
    ]
    assert found == [f"{dataset}/{key}" for key in keys]


def test_frame_holds_the_picture_and_the_masks_of_its_refs(root: Path) -> None:
    frame = frames_of(open_source(root))["refcoco/111"]
    assert frame.path == f"{IMAGES}/COCO_train2014_000000000111.jpg"
    np.testing.assert_array_equal(frame.image, np.asarray(Image.open(root / frame.path)))
    annotations = annotations_of(root)
    for mask, (annotation_id, category) in zip(frame.masks, ((10, "person"), (11, "dog")), strict=True):
        assert (mask.object_id, mask.category) == (str(annotation_id), category)
        np.testing.assert_array_equal(
            mask.segmentation.decode(), expected_mask(annotations[annotation_id], 37, 61)
        )


def test_all_sentences_are_kept_as_typed(root: Path) -> None:
    assert expressions_of(open_source(root))["refcoco/111/10"] == (
        "The person, LEFT of picture 1",
        "le garçon à gauche",
    )


def test_cleaned_sentences_can_be_chosen(root: Path) -> None:
    assert expressions_of(open_source(root, sentence="sent"))["refcoco/111/10"] == (
        "the person left of picture 1",
        "le garçon à gauche",
    )


def test_second_ref_of_an_object_has_its_ref_id_in_the_object_id(root: Path) -> None:
    source = open_source(root, "refcocog", split_by="google")
    expressions = expressions_of(source)
    assert list(expressions)[:3] == ["refcocog/111/10", "refcocog/111/11", "refcocog/111/10#10"]
    assert expressions["refcocog/111/10#10"] == ("whoever stands there",)


def test_several_targets_are_united_not_summed(root: Path) -> None:
    annotations = annotations_of(root)
    # Let the two overlap.
    annotations[21]["segmentation"] = [[5, 5, 30, 5, 30, 50, 5, 50]]
    annotations[20]["segmentation"] = [[20, 20, 38, 20, 38, 60, 20, 60]]
    path = root / "grefcoco" / "instances.json"
    content = json.loads(path.read_text()) | {"annotations": list(annotations.values())}
    path.write_text(json.dumps(content))
    frame = frames_of(open_source(root, "grefcoco", split="val"))["grefcoco/222"]
    both = next(mask for mask in frame.masks if mask.object_id == "21+20")
    one, other = (expected_mask(annotations[number], 64, 40) for number in (21, 20))
    assert (one & other).any()
    np.testing.assert_array_equal(both.segmentation.decode(), one | other)
    assert both.segmentation.area == int(np.count_nonzero(one | other))
    assert both.category == "dog+person"


def test_no_target_refs_are_counted_skips(root: Path) -> None:
    source = open_source(root, "grefcoco", split="train")
    assert [record for record in read(source) if isinstance(record, Skip)] == 2 * [Skip("no-target ref", 1)]


def test_no_target_refs_become_empty_masks_where_asked_for(root: Path) -> None:
    frame = frames_of(open_source(root, "grefcoco", no_target="keep"))["grefcoco/111"]
    mask = frame.masks[-1]
    assert mask.object_id == "no-target"
    assert mask.may_be_empty
    assert (mask.segmentation.size, mask.segmentation.area, mask.category) == ((37, 61), 0, "")
    assert not mask.segmentation.decode().any()
    assert mask.expressions == ("the green elephant",)
    assert not any(other.may_be_empty for other in frame.masks[:-1])


def test_picture_with_nothing_but_skips_is_not_read(root: Path) -> None:
    path = root / "grefcoco" / "grefs(unc).json"
    refs = [ref for ref in json.loads(path.read_text()) if ref["no_target"]]
    path.write_text(json.dumps(refs))
    for image in (root / IMAGES).iterdir():
        image.unlink()
    assert read(open_source(root, "grefcoco", split="val")) == [Skip("no-target ref", 1)]


def test_crowds_may_be_referred_to(root: Path) -> None:
    change_refs(root / "refcoco" / "refs(unc).p", lambda refs: refs[0].update(ann_id=900100000001))
    mask = frames_of(open_source(root))["refcoco/111"].masks[0]
    assert mask.object_id == "900100000001"
    assert mask.segmentation.area == 37


@pytest.mark.parametrize("name", ["{:012d}.jpg", "COCO_train2014_{:012d}.jpg"])
@pytest.mark.parametrize("listed", ["COCO_train2014_000000000111.jpg", "000000000111.jpg", "x.jpg"])
def test_picture_is_found_under_its_name_of_2014_and_2017(root: Path, name: str, listed: str) -> None:
    instances = root / "refcoco" / "instances.json"
    official = "COCO_train2014_000000000111.jpg"
    instances.write_text(instances.read_text().replace(official, listed))
    (root / IMAGES / official).rename(root / IMAGES / name.format(111))
    assert frames_of(open_source(root))["refcoco/111"].path == f"{IMAGES}/{name.format(111)}"


def test_scenes_can_be_pickled(root: Path) -> None:
    scene = open_source(root)[0]
    [copy] = list(pickle.loads(pickle.dumps(scene)).read())
    [frame] = list(scene.read())
    assert isinstance(copy, Frame)
    np.testing.assert_array_equal(copy.masks[0].segmentation.decode(), frame.masks[0].segmentation.decode())


def test_scenes_come_in_the_order_of_image_ids(root: Path) -> None:
    change_refs(root / "refcoco" / "refs(unc).p", lambda refs: refs.reverse())
    source = open_source(root)
    assert [source[index].key for index in range(len(source))] == ["refcoco/111", "refcoco/555"]


def test_fingerprint_tells_each_file_apart(root: Path) -> None:
    before = open_source(root).fingerprint()
    assert list(before) == ["refcoco/refs(unc).p", "refcoco/instances.json"]
    change_refs(root / "refcoco" / "refs(unc).p", lambda refs: refs.pop())
    after = open_source(root).fingerprint()
    assert [before[name] == after[name] for name in before] == [False, True]


def test_files_may_have_other_names(root: Path) -> None:
    (root / "refcoco" / "refs(unc).p").rename(root / "mine.p")
    (root / "refcoco" / "instances.json").rename(root / "mine.json")
    assert len(open_source(root, refs="mine.p", instances="mine.json")) == 2


# ---- the real samples


@pytest.mark.parametrize(
    ("dataset", "split_by", "splits"),
    [
        # (scenes, samples, sentences) of each split, counted in the files with pickle and json alone.
        ("refcoco", "unc", {"train": (8, 7, 8), "val": (1, 1, 1), "testA": (1, 1, 1), "testB": (3, 4, 4)}),
        ("refcoco", "google", {"train": (8, 7, 8), "val": (1, 1, 1), "test": (4, 5, 5)}),
        ("refcoco+", "unc", {"train": (7, 7, 8), "val": (1, 1, 1), "testA": (1, 1, 1), "testB": (3, 4, 4)}),
        ("refcocog", "umd", {"train": (7, 7, 8), "val": (1, 1, 1), "test": (4, 5, 5)}),
        ("refcocog", "google", {"train": (7, 7, 8), "val": (5, 6, 6)}),
        ("grefcoco", "unc", {"train": (7, 7, 8), "val": (3, 2, 2), "testA": (1, 1, 1), "testB": (3, 4, 4)}),
    ],
)  # fmt: skip
def test_real_samples_are_all_read(
    shared_data: Path, dataset: str, split_by: str, splits: dict[str, tuple[int, int, int]]
) -> None:
    root = shared_data / "refcoco"
    annotations = annotations_of(root, dataset)
    for split, counts in splits.items():
        source = open_source(root, dataset, split_by=split_by, split=split)
        assert list(source.rejects) == []
        records = read(source)
        masks = [(frame, mask) for frame in records if isinstance(frame, Frame) for mask in frame.masks]
        assert (
            len(source),
            len(masks),
            sum(len(mask.expressions) for _, mask in masks),
        ) == counts
        for frame, mask in masks:
            expected = np.zeros(frame.image.shape[:2], bool)
            for number in mask.object_id.split("+"):
                expected |= expected_mask(annotations[int(number)], *expected.shape)
            np.testing.assert_array_equal(mask.segmentation.decode(), expected)
        rejects = [record for record in records if isinstance(record, Reject)]
        # The genuine record's picture is not among the samples.
        missing = ["refcoco/581857"] if dataset == "refcoco" and split == "train" else []
        assert [reject.key for reject in rejects] == missing
        skips = [record for record in records if isinstance(record, Skip)]
        assert len(skips) == (dataset == "grefcoco" and split == "val")


def test_real_two_target_ref_is_the_union(shared_data: Path) -> None:
    source = open_source(shared_data / "refcoco", "grefcoco", split="val", no_target="keep")
    masks: dict[str, Mask] = {
        f"{frame.key}/{mask.object_id}": mask for frame in frames_of(source).values() for mask in frame.masks
    }
    assert sorted(masks) == [
        "grefcoco/139/no-target",
        "grefcoco/239627/707087",
        "grefcoco/475678/2081743+1446824",
    ]
    assert masks["grefcoco/475678/2081743+1446824"].category == "suitcase"
    assert masks["grefcoco/139/no-target"].segmentation.area == 0


def test_real_curly_quotes_survive(shared_data: Path) -> None:
    source = open_source(shared_data / "refcoco", split="testB")
    assert expressions_of(source)["refcoco/275791/1378045"] == (
        "the boat with a top that is neither green nor blue and doesn\u2019t have a \u201cDUSTY\u201d sign on its side",
    )
