import io
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from miniature.refcoco import IMAGES, write_refcoco
from miniature.shapes import picture_of
from PIL import Image
from pycocotools import mask as coco_mask

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources.base import Source
from resizeonce.preprocess.sources.files.refer_refs import load_pickle
from resizeonce.preprocess.sources.records import Frame, Mask, Reject, Skip
from resizeonce.preprocess.sources.refcoco import Options, RefcocoSource

SIZES = ((37, 61), (64, 40), (50, 50), (33, 90), (41, 77))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_refcoco(tmp_path, [picture_of(*size, seed) for seed, size in enumerate(SIZES)])
    return tmp_path


def open_source(root: Path, dataset: str = "refcoco", **options: str) -> RefcocoSource:
    return RefcocoSource(root, msgspec.convert({"dataset": dataset} | options, Options))


def read(source: RefcocoSource) -> list[Any]:
    return [record for index in range(len(source)) for record in source[index].read()]


def frames_of(source: RefcocoSource) -> dict[str, Frame]:
    return {record.key: record for record in read(source) if isinstance(record, Frame)}


def expressions_of(source: RefcocoSource) -> dict[str, tuple[str, ...]]:
    """Expressions by key of the sample."""
    return {
        f"{frame.key}/{mask.object_id}": mask.expressions
        for frame in frames_of(source).values()
        for mask in frame.masks
    }


def change_refs(path: Path, change: Callable[[list[Any]], None]) -> None:
    refs = pickle.loads(path.read_bytes())
    change(refs)
    path.write_bytes(pickle.dumps(refs, 2))


def expected_mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """pycocotools' own reading of an annotation, as COCO.annToMask does it."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(segmentation).astype(bool)


def annotations_of(root: Path, dataset: str = "refcoco") -> dict[int, dict[str, Any]]:
    content = json.loads((root / dataset / "instances.json").read_text())
    return {annotation["id"]: annotation for annotation in content["annotations"]}


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


# ---- records that can't become samples


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


@pytest.mark.parametrize("protocol", [0, 2])
def test_a_pickle_with_line_ends_of_windows_says_so(root: Path, protocol: int) -> None:
    refs = [{"ref_id": 10, "image_id": 111, "ann_id": 10, "split": "train", "sentences": [{"raw": "a\nb"}]}]
    path = root / "refcoco" / "refs(unc).p"
    path.write_bytes(pickle.dumps(refs, protocol).replace(b"\n", b"\r\n"))
    with pytest.raises(SourceError, match="ends in CR LF, as after a transfer in text mode"):
        open_source(root)


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


class _Pickled:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_that_calls_a_function_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    content = pickle.dumps([_Pickled(Path.touch, mark)], protocol)
    with pytest.raises(SourceError, match=r"wants to import|instruction"):
        load_pickle(content, tmp_path / "refs.p")
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickle_with_numpy_scalars_says_how_to_convert_it(protocol: int) -> None:
    with pytest.raises(SourceError, match=r"wants to import 'numpy.*\.item\(\)"):
        load_pickle(pickle.dumps([{"ann_id": np.int64(5)}], protocol), Path("refs.p"))


LONG_TEXT = b"X" + struct.pack("<I", 2**32 - 1)
PICKLES: dict[str, tuple[bytes, str]] = {
    "empty list of opcodes": (b".", "damaged"),
    "memo bomb": (b"\x80\x02]r" + struct.pack("<I", 10**9) + b".", "place 1000000000 of the memo"),
    "text memo bomb": (b"]p1000000000\n.", "place 1000000000 of the memo"),
    "memo place of 10,000 digits": (b"]p" + b"9" * 10_000 + b"\n.", "damaged"),
    "negative memo place": (b"]p-1\n.", "damaged"),
    "text longer than the file": (LONG_TEXT + b"abc.", "breaks off"),
    "frame longer than the file": (b"\x80\x04\x95" + b"\xff" * 8 + b"].", "damaged"),
    "bytearray longer than the file": (b"\x80\x05\x96" + struct.pack("<Q", 2**40), "BYTEARRAY8"),
    "nested tuples": (b")" + b"\x85" * 1_000_000 + b".", "EMPTY_TUPLE"),
    "persistent id": (b"\x80\x02X\x01\x00\x00\x00xQ.", "BINPERSID"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "unknown opcode": (b"\x80\x02\xff.", "0xff"),
    "protocol 200": (b"\x80\xc8].", "damaged"),
    "append to text": (b"\x80\x02X\x01\x00\x00\x00xK\x01a.", "damaged"),
    "list as a key": (b"\x80\x02}]K\x01s.", "damaged"),
    "memo place without a value": (b"\x80\x02h\x07.", "damaged"),
    "no mark": (b"\x80\x02e.", "damaged"),
    "integer of 10,000 digits": (b"L" + b"9" * 10_000 + b"L\n.", "damaged"),
    "no integer": (b"Iabc\n.", "damaged"),
    "a dict": (pickle.dumps({"refs": []}, 2), "holds a dict, expected a list"),
    "text": (pickle.dumps("refs", 0), "holds a str, expected a list"),
    "HTML": (b"<!DOCTYPE html><html></html>", "0x3c"),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "instruction"),
}


@pytest.mark.parametrize(("content", "reason"), PICKLES.values(), ids=PICKLES)
def test_hostile_or_damaged_pickle_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        load_pickle(content, Path("refs.p"))
    assert len(str(caught.value)) < 400


def test_shared_lists_are_not_multiplied(tmp_path: Path) -> None:
    sentences = [{"raw": "a"}] * 2000
    refs = [{"ref_id": number, "sentences": sentences} for number in range(2000)]
    with pytest.raises(SourceError, match="share their lists"):
        load_pickle(pickle.dumps(refs, 2), tmp_path / "refs.p")


def test_nested_lists_are_no_danger() -> None:
    content = b"]" * 200_000 + b"a" * 199_999 + b"."
    assert len(load_pickle(content, Path("refs.p"))) == 1


def test_count_of_instructions_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resizeonce.preprocess.sources.files.refer_refs.MAX_OPCODES", 1000)
    assert len(load_pickle(b"(" + b"}" * 998 + b"l.", Path("refs.p"))) == 998
    with pytest.raises(SourceError, match="over the limit of 1000"):
        load_pickle(b"(" + b"}" * 999 + b"l.", Path("refs.p"))


def test_damage_anywhere_gives_a_list_or_a_source_error(root: Path) -> None:
    rng = np.random.default_rng(7)
    contents = [path.read_bytes() for path in sorted(root.glob("*/refs*.p"))]
    outcomes = set()
    for number in range(3000):
        content = bytearray(contents[number % len(contents)])
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(0, 256)
        if number % 3 == 0:
            del content[rng.integers(0, len(content)) :]
        try:
            outcomes.add(type(load_pickle(bytes(content), Path("refs.p"))))
        except SourceError:
            outcomes.add(SourceError)
    assert outcomes == {list, SourceError}


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[", b"[{]", b'"refs"', b"[" * 100_000, b"\xff\xfe", b"null", b"[1] [2]"],
)
def test_grefs_that_are_no_json_list_are_refused(root: Path, content: bytes) -> None:
    (root / "grefcoco" / "grefs(unc).json").write_bytes(content)
    with pytest.raises(SourceError, match=r"grefs\(unc\)\.json"):
        open_source(root, "grefcoco")


def python2_pickle(value: object, encoding: str) -> bytes:
    """Pickle as Python 2's protocol 2 does: text is a byte string without an encoding."""
    stream = io.BytesIO()

    def write(value: object) -> None:
        if isinstance(value, dict):
            stream.write(b"}(")
            for key, field in value.items():
                write(key)
                write(field)
            stream.write(b"u")
        elif isinstance(value, list):
            stream.write(b"](")
            for element in value:
                write(element)
            stream.write(b"e")
        elif isinstance(value, str):
            encoded = value.encode(encoding)
            stream.write(b"U" + bytes([len(encoded)]) + encoded)
        else:
            assert isinstance(value, int)
            stream.write(b"J" + struct.pack("<i", value))

    stream.write(b"\x80\x02")
    write(value)
    return stream.getvalue() + b"."


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_text_of_python_2_is_read_in_both_encodings(root: Path, encoding: str) -> None:
    path = root / "refcoco" / "refs(unc).p"
    path.write_bytes(python2_pickle(pickle.loads(path.read_bytes()), encoding))
    assert expressions_of(open_source(root))["refcoco/111/10"][1] == "le garçon à gauche"


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


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hostile_global", "wants to import 'posix' 'getcwd'"),
        ("hostile_stack_global", "wants to import 'posix' 'getcwd'"),
        ("inst", "wants to import 'os' 'getcwd'"),
        ("truncated", "damaged pickle"),
        ("empty", "is empty"),
        ("not_a_list", "holds a dict, expected a list"),
        ("persid", "BINPERSID"),
    ],
)
def test_real_odd_pickles_are_refused(shared_data: Path, name: str, reason: str) -> None:
    refs = f"../odd/pickles/refs({name}).p"
    with pytest.raises(SourceError, match=reason):
        open_source(shared_data / "refcoco", "refcocog", refs=refs)


def test_real_dangling_refs_are_rejected_one_by_one(shared_data: Path) -> None:
    source = open_source(shared_data / "refcoco", "refcocog", refs="../odd/pickles/refs(dangling).p")
    assert [reject.key for reject in source.rejects] == ["refcocog/329219/123456789"]
    assert source.skips == (Skip("ref without sentence", 1),)
    # A ref's file name is not read, so the record without one is good.
    assert list(expressions_of(source)) == ["refcocog/397133/1902971"]
