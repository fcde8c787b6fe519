"""RefCOCO's records that can't become samples, and datasets that can't be opened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from miniature.refcoco import IMAGES, write_refcoco
from miniature.shapes import picture_of
from refcoco_reading import SIZES, change_refs, expressions_of, open_source, read

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources.records import Frame, Reject, Skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_refcoco(tmp_path, [picture_of(*size, seed) for seed, size in enumerate(SIZES)])
    return tmp_path


def without(ref: dict[str, Any], key: str) -> None:
    del ref[key]


def blank(ref: dict[str, Any]) -> None:
    ref["sentences"][0]["raw"] = "  "
    del ref["sentences"][1:]


BAD_REFS: dict[str, tuple[Callable[[dict[str, Any]], object], str, str]] = {
    "annotation": (lambda ref: ref.update(ann_id=77), "111/77", "refers to annotation 77, which"),
    "other image": (lambda ref: ref.update(ann_id=20), "111/20", "annotation 20 is of image 222"),
    "image": (lambda ref: ref.update(image_id=8), "8/10", "belongs to image 8, which"),
    "blank": (blank, "111/10", "no sentence with a text under 'raw'"),
    "ref_id": (lambda ref: ref.update(ref_id=1), "111/11", "has the ref_id 1 of an earlier ref"),
    "key": (lambda ref: without(ref, "image_id"), "refs[0]", "missing required field `image_id`"),
    "split": (lambda ref: without(ref, "split"), "refs[0]", "missing required field `split`"),
    "empty split": (lambda ref: ref.update(split=""), "refs[0]", "length >= 1"),
    "type": (lambda ref: ref.update(ann_id="ten"), "refs[0]", "Expected `int | array`, got `str`"),
    "bool": (lambda ref: ref.update(ann_id=True), "refs[0]", "got `bool`"),
    "float": (lambda ref: ref.update(image_id=1.5), "refs[0]", "Expected `int`, got `float`"),
    "huge": (lambda ref: ref.update(image_id=10**200), "refs[0]", "Expected `int` <="),
    "negative": (lambda ref: ref.update(ann_id=-7), "refs[0]", "Expected `int` >= -1"),
    "sentence": (lambda ref: ref.update(sentences=["a"]), "refs[0]", "Expected `object`"),
    "long": (
        lambda ref: ref["sentences"][0].update(raw="x" * 10001),
        "refs[0]",
        "length <= 10000",
    ),
    "surrogate": (
        lambda ref: ref["sentences"][0].update(raw="\ud83d"),
        "refs[0]",
        "surrogates not allowed",
    ),
    "no ids": (lambda ref: ref.update(ann_id=[]), "refs[0]", "ann_id is empty"),
    "both": (lambda ref: ref.update(ann_id=[10, -1]), "refs[0]", "beside others"),
    "contradiction": (lambda ref: ref.update(no_target=True), "refs[0]", "no_target is set"),
}


@pytest.mark.parametrize(("change", "key", "reason"), BAD_REFS.values(), ids=BAD_REFS)
def test_bad_ref_is_rejected_and_the_others_stay(
    root: Path, change: Callable[[dict[str, Any]], object], key: str, reason: str
) -> None:
    change_refs(root / "refcoco" / "refs(unc).p", lambda refs: change(refs[0]) and None)
    source = open_source(root)
    [reject] = source.rejects
    assert (reject.path, reject.stage) == ("refcoco/refs(unc).p", "index")
    assert reason in reject.reason
    assert "refs[" in reject.key + reject.reason
    # Where two refs have the same id, the second is the one too many.
    assert reject.key == f"refcoco/{key}"
    assert len(expressions_of(source)) == 3


def test_a_damaged_ref_whose_split_is_damaged_too_is_a_reject_of_each_split(root: Path) -> None:
    def damage(refs: list[Any]) -> None:
        refs[0].update(split="tr\x00in", ann_id="none")

    change_refs(root / "refcoco" / "refs(unc).p", damage)
    for split in ("train", "val"):
        assert [reject.key for reject in open_source(root, split=split).rejects] == ["refcoco/refs[0]"]


def test_a_ref_of_a_split_that_nobody_publishes_is_counted_with_its_name(root: Path) -> None:
    undamaged = open_source(root)
    assert not any("split" in skip.reason for skip in undamaged.skips)
    change_refs(root / "refcoco" / "refs(unc).p", lambda refs: refs[0].update(split="tra1n"))
    (skip,) = (skip for skip in open_source(root).skips if "split" in skip.reason)
    assert skip == Skip("ref of a split that none of the datasets has, not read, such as refs[0], 'tra1n'")
    # Whoever asks for it has it.
    own = open_source(root, split="tra1n")
    assert len(own) == 1
    assert not any("split" in skip.reason for skip in own.skips)


@pytest.mark.parametrize("element", [None, 5, "ref", [1, 2], {}, {"split": "train"}])
def test_element_that_is_no_ref_is_rejected_with_its_place(root: Path, element: object) -> None:
    change_refs(root / "refcoco" / "refs(unc).p", lambda refs: refs.insert(3, element))
    source = open_source(root)
    [reject] = source.rejects
    assert reject.key == "refcoco/refs[3]"
    assert reject.reason.startswith("not a ref: ")
    assert len(expressions_of(source)) == 4


@pytest.mark.parametrize("change", [{"\ud800": 1}, {"ref_id": "\udcff"}, {"ann_id": ["\ud800"]}])
def test_half_a_character_in_a_pickled_ref_is_rejected_and_the_others_stay(
    root: Path, change: dict[str, Any]
) -> None:
    change_refs(root / "refcoco" / "refs(unc).p", lambda refs: refs[0].update(change))
    source = open_source(root)
    assert [reject.key for reject in source.rejects] == ["refcoco/refs[0]"]
    assert len(expressions_of(source)) == 3


def test_gref_that_is_no_utf8_is_rejected_and_the_others_stay(root: Path) -> None:
    path = root / "grefcoco" / "grefs(unc).json"
    path.write_bytes(path.read_bytes().replace(b'"split": "train"', b'"split": "\xff\xfe"', 1))
    source = open_source(root, "grefcoco")
    assert [reject.key for reject in source.rejects] == ["grefcoco/refs[0]"]
    assert expressions_of(source)


def test_bad_ref_of_another_split_is_not_this_ones_reject(root: Path) -> None:
    change_refs(root / "refcoco" / "refs(unc).p", lambda refs: refs[0].pop("ref_id"))
    assert list(open_source(root, split="val").rejects) == []


@pytest.mark.parametrize("sentences", [[], None, [{"raw": " ", "sent": ""}]])
@pytest.mark.parametrize("dataset", ["refcoco", "grefcoco"])
def test_a_ref_without_any_sentence_is_left_out_and_counted(
    root: Path, dataset: str, sentences: list[Any]
) -> None:
    """The published gRefCOCO has some; the object's other refs keep the names they have."""
    before = expressions_of(open_source(root, dataset))
    extra = {"ref_id": 999, "image_id": 111, "ann_id": 10, "split": "train", "sentences": sentences}
    if dataset == "refcoco":
        change_refs(root / "refcoco" / "refs(unc).p", lambda refs: refs.insert(0, extra))
    else:
        path = root / "grefcoco" / "grefs(unc).json"
        path.write_text(json.dumps([extra, *json.loads(path.read_text())]))
    source = open_source(root, dataset)
    assert list(source.rejects) == []
    assert source.skips == (Skip("ref without sentence", 1),)
    assert expressions_of(source) == before


def test_a_split_without_any_sentence_is_an_error(root: Path) -> None:
    change_refs(
        root / "refcoco" / "refs(unc).p", lambda refs: [ref.update(sentences=[]) for ref in refs] and None
    )
    with pytest.raises(SourceError, match=r"no ref of split 'train' .* has a sentence"):
        open_source(root)


def test_ids_may_be_whole_floats(root: Path) -> None:
    before = expressions_of(open_source(root))
    change_refs(
        root / "refcoco" / "refs(unc).p",
        lambda refs: (
            [
                ref.update({name: float(ref[name]) for name in ("ref_id", "image_id", "ann_id")})
                for ref in refs
            ]
            and None
        ),
    )
    assert expressions_of(open_source(root)) == before


def test_annotations_with_one_id_are_rejected_with_the_remedy(root: Path) -> None:
    """A ref names its annotation by the id alone."""
    path = root / "refcoco" / "instances.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["id"] = 0
    path.write_text(json.dumps(content))
    rejects = [reject for reject in open_source(root).rejects if reject.path == "refcoco/instances.json"]
    assert len(rejects) == len(content["annotations"]) - 1
    assert all("of an earlier annotation: renumber the annotations" in reject.reason for reject in rejects)


def test_polygons_of_the_turned_picture_are_rejected(root: Path) -> None:
    """Image 111 is 61 wide and 37 high; annotation 11, run lengths, says its size itself."""
    path = root / "refcoco" / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = [[5, 40, 30, 40, 30, 58, 5, 58]]
    path.write_text(json.dumps(content))
    reject, frame = open_source(root)[0].read()
    assert reject.key == "refcoco/111/10"
    assert "fit the turned picture" in reject.reason
    assert [mask.object_id for mask in frame.masks] == ["11"]


def test_blank_sentence_beside_others_is_a_counted_skip(root: Path) -> None:
    path = root / "refcoco" / "refs(unc).p"
    change_refs(path, lambda refs: refs[0]["sentences"][0].update(raw="\t"))
    records = list(open_source(root)[0].read())
    assert records[0] == Skip("blank sentence", 1)
    assert records[1].masks[0].expressions == ("le garçon à gauche",)


def test_grefs_are_checked_one_by_one(root: Path) -> None:
    path = root / "grefcoco" / "grefs(unc).json"
    refs = json.loads(path.read_text())
    refs[0]["ann_id"] = "ten"
    refs[1] |= {"ann_id": [11, 9999]}
    path.write_text(json.dumps(refs))
    source = open_source(root, "grefcoco")
    assert [reject.key for reject in source.rejects] == ["grefcoco/refs[0]", "grefcoco/111/11+9999"]


def test_missing_picture_is_rejected_and_named(root: Path) -> None:
    (root / IMAGES / "COCO_train2014_000000000111.jpg").unlink()
    reject, *others = read(open_source(root))
    assert isinstance(reject, Reject)
    assert (reject.key, reject.stage) == ("refcoco/111", "read")
    assert reject.path == f"{IMAGES}/COCO_train2014_000000000111.jpg"
    assert "missing" in reject.reason
    assert "000000000111.jpg" in reject.reason
    assert [type(record) for record in others] == [Frame]


@pytest.mark.parametrize(
    "name", ["../../secret.jpg", "/etc/passwd", "x" * 5000, "a\0b", "", ".", "sub/none.jpg"]
)
def test_no_listed_name_leaves_the_folder_or_raises(root: Path, name: str) -> None:
    path = root / "refcoco" / "instances.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    (root / "secret.jpg").write_bytes((root / IMAGES / "COCO_train2014_000000000222.jpg").read_bytes())
    (root / IMAGES / "COCO_train2014_000000000111.jpg").unlink()
    first, *_ = open_source(root)[0].read()
    assert isinstance(first, Reject)


@pytest.mark.parametrize("content", [b"", b"<html>404 not found</html>", b"\xff\xd8\xff\xe0 cut"])
def test_damaged_picture_is_rejected(root: Path, content: bytes) -> None:
    (root / IMAGES / "COCO_train2014_000000000111.jpg").write_bytes(content)
    [reject] = list(open_source(root)[0].read())
    assert isinstance(reject, Reject)
    assert reject.stage == "decode"


def test_bad_mask_of_one_of_several_targets_rejects_that_ref_alone(root: Path) -> None:
    path = root / "grefcoco" / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = []
    path.write_text(json.dumps(content))
    *rejects, frame = [
        record for record in open_source(root, "grefcoco")[0].read() if not isinstance(record, Skip)
    ]
    assert [(reject.key, reject.stage) for reject in rejects] == [
        ("grefcoco/111/10", "mask"),
        ("grefcoco/111/11+10", "mask"),
    ]
    assert [mask.object_id for mask in frame.masks] == ["11"]


# ---- datasets that can't be opened


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"split_by": "umd"}, ["refs(umd).p", "refs(google).p, refs(unc).p"]),
        ({"dataset": "refcocog"}, ["refs(unc).p", "refs(google).p, refs(umd).p"]),
        ({"dataset": "grefcoco", "split_by": "x"}, ["grefs(x).json", "grefs(unc).json"]),
        ({"split": "test"}, ["'test'", "'testA', 'testB', 'train', 'val'"]),
        ({"split_by": "x" * 5000}, ["File name too long"]),
        ({"instances": "none.json"}, ["none.json"]),
        ({"refs": "nowhere/refs(unc).p"}, ["the file is missing; refs files there: none"]),
    ],
)
def test_wrong_option_names_what_there_is(root: Path, options: dict[str, str], parts: list[str]) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(root, **options)
    for part in parts:
        assert part in str(caught.value)


def test_real_dangling_refs_are_rejected_one_by_one(shared_data: Path) -> None:
    source = open_source(shared_data / "refcoco", "refcocog", refs="../odd/pickles/refs(dangling).p")
    assert [reject.key for reject in source.rejects] == ["refcocog/329219/123456789"]
    assert source.skips == (Skip("ref without sentence", 1),)
    # A ref's file name is not read, so the record without one is good.
    assert list(expressions_of(source)) == ["refcocog/397133/1902971"]
