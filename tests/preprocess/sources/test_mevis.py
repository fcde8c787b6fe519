import json
import pickle
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from miniature.folders import save_indexed
from miniature.mevis import write_mevis
from miniature.sav import masks_of, rle_of
from miniature.shapes import ellipse_of, picture_of
from miniature.vos import frame_labels
from numpy.typing import NDArray
from PIL import Image
from records import of_type, read
from stores import CONFIGS, TINY, make_unfinished

from resizeonce.loader import Store
from resizeonce.loader.format.errors import SourceError, StoreError
from resizeonce.loader.format.metadata import read_attributes
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.sources.files.masklets import choose_pairs
from resizeonce.preprocess.sources.mevis import MevisSource, Options
from resizeonce.preprocess.sources.records import Frame, Pair, Reject, Skip
from resizeonce.preprocess.store.root import read_rejects
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

SIZE = (40, 60)
NUM_FRAMES = 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_mevis(tmp_path, [("bear", [picture_of(*SIZE, t) for t in range(NUM_FRAMES)])])
    return tmp_path


def change(root: Path, name: str) -> Any:
    """Return a file's content, and a function that writes it again."""
    content = json.loads((root / name).read_text())
    return content, lambda: (root / name).write_text(json.dumps(content))


def open_source(root: Path, **options: Any) -> MevisSource:
    return MevisSource(root, msgspec.convert(options, Options))


def union_of(t: int, members: Iterable[int]) -> NDArray[np.bool_]:
    masks = masks_of(picture_of(*SIZE, t), t)
    return np.logical_or.reduce([mask for member in members if (mask := masks[member]) is not None])


# ---- objects and what is said


def test_objects_are_what_expressions_are_about(root: Path) -> None:
    records = read(open_source(root, take="all"))
    frames = of_type(Frame, records)
    assert [(frame.key, frame.path, frame.time) for frame in frames] == [
        (f"mevis/bear/{t:05d}", f"JPEGImages/bear/{t:05d}.jpg", t) for t in range(NUM_FRAMES)
    ]
    said = {"0": "the still one", "1": "the one that comes and goes", "0+1": "both of them"}
    for t, frame in enumerate(frames):
        with Image.open(root / frame.path) as picture:
            assert np.array_equal(frame.image, np.asarray(picture))
        # Object 1 is null in frame 1 and empty in frame 2.
        assert [mask.object_id for mask in frame.masks] == (
            ["0", "0+1"] if t in (1, 2) else ["0", "1", "0+1"]
        )
        for mask in frame.masks:
            assert mask.expressions == (said[mask.object_id],)
            assert np.array_equal(
                mask.segmentation.decode(), union_of(t, map(int, mask.object_id.split("+")))
            )
    assert (of_type(Reject, records), of_type(Skip, records)) == ([], [])


def test_pairs_are_of_an_object_in_two_listed_frames(root: Path) -> None:
    records = read(open_source(root, gaps=[1, 3], pairs_per_object=2))
    visible = {"0": range(NUM_FRAMES), "1": (0, 3), "0+1": range(NUM_FRAMES)}
    assert [(pair.object_id, pair.time1, pair.time2) for pair in of_type(Pair, records)] == [
        (name, *pair)
        for name, times in visible.items()
        for pair in choose_pairs(times, f"bear/{name}", Options(gaps=(1, 3), pairs_per_object=2))
    ]


def test_expressions_of_one_object_are_together(root: Path) -> None:
    content, write = change(root, "meta_expressions.json")
    expressions = content["videos"]["bear"]["expressions"]
    expressions["7"] = {"exp": "again", "obj_id": "0", "anno_id": "0"}
    expressions["8"] = {"exp": "both \ud83d", "anno_id": [0, 1, 0]}
    write()
    [scene] = [pickle.loads(pickle.dumps(open_source(root)[0]))]
    assert [(target.object_id, target.phrases) for target in scene.listed.targets] == [
        ("0", ("the still one", "again")),
        ("1", ("the one that comes and goes",)),
        ("0+1", ("both of them", "both ?")),
    ]


def test_the_same_objects_in_another_order_are_one(root: Path) -> None:
    content, write = change(root, "meta_expressions.json")
    content["videos"]["bear"]["expressions"] |= {
        "3": {"exp": "the two", "anno_id": [1, 0]},
        "4": {"exp": "these", "anno_id": [0, 1, 0]},
    }
    write()
    frame = of_type(Frame, read(open_source(root, take="all")))[0]
    assert [(mask.object_id, mask.expressions) for mask in frame.masks] == [
        ("0", ("the still one",)),
        ("1", ("the one that comes and goes",)),
        ("0+1", ("both of them", "the two", "these")),
    ]


def test_a_store_that_was_begun_when_another_order_was_another_object_is_not_finished(
    root: Path, tmp_path: Path
) -> None:
    content, write = change(root, "meta_expressions.json")
    config, out = load_config(CONFIGS / "mevis.toml", [*TINY]), tmp_path / "out.zarr"
    convert(config, root, out)
    # Of most datasets a store is what it was.
    job = read_attributes(out)["job"]
    assert job["files"].keys() == {"meta_expressions.json", "mask_dict.json", "JPEGImages"}
    content["videos"]["bear"]["expressions"]["3"] = {"exp": "the two", "anno_id": [1, 0]}
    write()
    shutil.rmtree(out)
    convert(config, root, out)
    make_unfinished(out)
    convert(config, root, out)
    make_unfinished(out)
    plan = json.loads((out / ".job.json").read_text())
    # As it was written then.
    plan["job"]["files"].pop("objects named in another order")
    (out / ".job.json").write_text(json.dumps(plan))
    with pytest.raises(StoreError, match=r"objects named in another order was None, is now 'are the same'"):
        convert(config, root, out)


def test_expressions_that_have_no_object_are_counted_or_listed(root: Path) -> None:
    content, write = change(root, "meta_expressions.json")
    content["videos"]["bear"]["expressions"] |= {
        "3": {"exp": "nothing", "anno_id": []},
        "4": {"exp": "kept back"},
        "5": {"exp": "gone", "anno_id": [0, 77]},
        "6": {"exp": " ", "anno_id": [0]},
        "7": {"anno_id": [0]},
    }
    content["videos"]["fox"] = {"frames": 3, "expressions": {}}
    write()
    source = open_source(root)
    assert source.skips == (
        Skip("expression of nothing in its video, such as bear/3"),
        Skip("expression that does not say which object it is of, such as bear/4"),
        Skip("expression without a text, such as bear/6"),
    )
    assert [(reject.key, reject.stage) for reject in source.rejects] == [
        ("mevis/bear/0+77", "index"), ("mevis/bear", "index"), ("mevis/fox", "index"),
    ]  # fmt: skip
    assert source.rejects[0].reason == "expression 5 is of anno_id 77, which there is no mask of"
    assert len(of_type(Frame, read(source))) == NUM_FRAMES


def test_a_split_whose_masks_are_kept_back_stops_the_run(root: Path) -> None:
    content, write = change(root, "meta_expressions.json")
    for expression in content["videos"]["bear"]["expressions"].values():
        del expression["anno_id"]
    write()
    with pytest.raises(
        SourceError, match=r"says which anno_id it is of: is it a split whose masks are kept back\?"
    ):
        open_source(root)


# ---- frames and masks


def test_masks_that_are_more_or_fewer_than_the_listed_frames_are_rejects(root: Path) -> None:
    content, write = change(root, "mask_dict.json")
    content["1"].append(None)
    write()
    records = read(open_source(root, take="all"))
    [reject] = of_type(Reject, records)
    assert (reject.key, reject.path, reject.stage) == ("mevis/bear/1", "mask_dict.json", "mask")
    assert (
        reject.reason == "annotation 1 has 5 masks, its video 4 listed frames: which is of which is not known"
    )
    # What is said about both has lost one of them.
    assert {mask.object_id for frame in of_type(Frame, records) for mask in frame.masks} == {"0"}


def test_frames_in_an_order_of_two_meanings_are_a_reject(root: Path) -> None:
    content, write = change(root, "meta_expressions.json")
    content["videos"]["bear"]["frames"] = ["8", "9", "10", "11"]
    write()
    [reject] = open_source(root).rejects
    assert reject.key == "mevis/bear"
    assert "its 4 frames, 10, 11, 8, have no one order as text and by number" in reject.reason


def test_a_listed_frame_may_have_the_ending_of_a_picture_and_must_end_in_a_number(root: Path) -> None:
    expected = read(open_source(root, take="all"))
    content, write = change(root, "meta_expressions.json")
    content["videos"]["bear"]["frames"] = [f"{t:05d}{'.PNG' if t else '.jpg'}" for t in range(NUM_FRAMES)]
    write()
    found = read(open_source(root, take="all"))
    assert [frame.key for frame in of_type(Frame, found)] == [frame.key for frame in of_type(Frame, expected)]
    assert [type(record) for record in found] == [type(record) for record in expected]
    content["videos"]["bear"]["frames"][2] = "00002.mask"
    write()
    [reject] = open_source(root).rejects
    assert reject.reason == "its frame '00002.mask' does not end in a number, as those of pictures do"


def test_listed_frames_and_pictures_that_are_not_matched_are_counted_and_named(root: Path) -> None:
    (root / "JPEGImages/bear/00001.jpg").rename(root / "JPEGImages/bear/00009.jpg")
    Image.fromarray(picture_of(*SIZE, 1)).save(root / "JPEGImages/bear/00002.png")
    (root / "JPEGImages/bear/00002.jpg").unlink()
    records = read(open_source(root, take="all"))
    assert [frame.path.rpartition("/")[2] for frame in of_type(Frame, records)] == [
        "00000.jpg", "00002.png", "00003.jpg",
    ]  # fmt: skip
    assert of_type(Skip, records) == [
        Skip("listed frame without a picture, such as 00001"),
        Skip("picture that is no listed frame, such as 00009.jpg"),
    ]
    assert of_type(Reject, records) == []


def test_a_video_whose_pictures_are_not_there_is_a_reject(root: Path) -> None:
    (root / "JPEGImages/bear").rename(root / "JPEGImages/fox")
    source = open_source(root)
    assert source.skips == (Skip("video without an expression, such as JPEGImages/fox"),)
    [reject] = of_type(Reject, read(source))
    assert (reject.key, reject.path, reject.reason) == (
        "mevis/bear",
        "JPEGImages/bear",
        "there is no such folder",
    )


def test_damaged_masks_leave_their_frame_out_where_frames_are_taken_one_by_one(root: Path) -> None:
    content, write = change(root, "mask_dict.json")
    content["0"][1]["counts"] += "1"
    content["1"][3] = rle_of(ellipse_of(60, 40, 1))
    write()
    records = read(open_source(root, take="all"))
    assert [frame.time for frame in of_type(Frame, records)] == [0, 2]
    assert {reject.key for reject in of_type(Reject, records)} == {
        "mevis/bear/00001/0",
        "mevis/bear/00001/0+1",
        "mevis/bear/00003/0+1",
    }
    assert Skip("annotated frame left out, since a mask of it is a reject", 2) in records


# ---- label maps


def put_label_maps(root: Path) -> None:
    """Make the dataset one of label maps, as Ref-YouTube-VOS is: objects 1 and 2, the second not in frame 2."""
    (root / "mask_dict.json").unlink()
    content, write = change(root, "meta_expressions.json")
    ids = (("one", "1"), ("two", "2"), ("none", "5"))
    content["videos"]["bear"]["expressions"] = {
        str(number): {"exp": text, "obj_id": value} for number, (text, value) in enumerate(ids)
    }
    write()
    (root / "Annotations/bear").mkdir(parents=True)
    for t in range(NUM_FRAMES):
        save_indexed(root / f"Annotations/bear/{t:05d}.png", frame_labels(*SIZE, t))


def test_masks_may_be_label_maps_and_objects_their_values(root: Path) -> None:
    put_label_maps(root)
    records = read(open_source(root, take="all"))
    frames = of_type(Frame, records)
    assert [frame.time for frame in frames] == list(range(NUM_FRAMES))
    for frame in frames:
        labels = frame_labels(*SIZE, frame.time)
        assert [mask.object_id for mask in frame.masks] == [
            str(value) for value in np.unique(labels) if value
        ]
        for mask in frame.masks:
            assert np.array_equal(mask.segmentation.decode(), labels == int(mask.object_id))
            assert mask.expressions == (("one", "two")[int(mask.object_id) - 1],)
            assert mask.path == f"Annotations/bear/{frame.time:05d}.png"
    assert of_type(Reject, records) == [
        Reject(
            "mevis/bear/5",
            "meta_expressions.json",
            "index",
            "expressions are of object 5, which no mask has that could be read",
        )
    ]


def test_of_a_listed_frame_without_a_label_map_nothing_is_known(root: Path) -> None:
    put_label_maps(root)
    (root / "Annotations/bear/00001.png").rename(root / "Annotations/bear/00009.png")
    records = read(open_source(root, take="all"))
    assert [frame.time for frame in of_type(Frame, records)] == [0, 2, 3]
    assert {(skip.reason, skip.count) for skip in of_type(Skip, records)} == {
        ("listed frame without a mask, such as 00001", 1),
        ("mask without its frame, such as 00009.png", 1),
        ("annotated frame left out, since a mask of it is a reject", 1),
    }


# ---- all of it


@pytest.mark.parametrize("take", ["pairs", "all"])
def test_a_store_is_what_its_videos_say(tmp_path: Path, take: str) -> None:
    root, out = tmp_path / "raw", tmp_path / "out.zarr"
    write_mevis(root, [(name, [picture_of(*SIZE, t) for t in range(4)]) for name in ("bear", "fox")])
    convert(
        load_config(CONFIGS / "mevis.toml", [*TINY, f"source.take={take}", "source.gaps=[1, 3]"]), root, out
    )
    store = Store(out)
    assert list(read_rejects(out)) == []
    said = {text for number in range(len(store)) for text in store.expressions(number)}
    assert said == {"the still one", "the one that comes and goes", "both of them"}
    # Annotations count through the dataset, so that the second video's are 2 and 3.
    assert {store.key(number).rpartition("/")[2] for number in range(len(store))} == {
        "0", "1", "0+1", "2", "3", "2+3",
    }  # fmt: skip
    report = verify_store(out, VerifyOptions(source=root, sample=None))
    assert [finding.line() for finding in report.findings if finding.level == "damage"] == []


def test_files_that_are_something_else_are_named(root: Path) -> None:
    (root / "mask_dict.json").write_text("[]")
    with pytest.raises(SourceError, match=r"mask_dict\.json has no list of masks for each annotation"):
        open_source(root)
    (root / "mask_dict.json").unlink()
    with pytest.raises(
        SourceError, match=r"has no masks, since there is no mask_dict\.json and no Annotations"
    ):
        open_source(root)
    (root / "meta_expressions.json").write_text('{"bear": {}}')
    with pytest.raises(SourceError, match=r"meta_expressions\.json lists no expressions of videos"):
        open_source(root)
    (root / "meta_expressions.json").unlink()
    with pytest.raises(
        SourceError, match=r"can't read .*meta_expressions\.json: the file is missing; check --root"
    ):
        open_source(root)


def test_the_fingerprint_tells_of_each_file_and_video(root: Path) -> None:
    before = open_source(root).fingerprint()
    assert before.keys() == {"meta_expressions.json", "mask_dict.json", "JPEGImages"}
    (root / "JPEGImages/fox").mkdir()
    content, write = change(root, "mask_dict.json")
    content["9"] = []
    write()
    after = open_source(root).fingerprint()
    assert {name for name in before if before[name] != after[name]} == {"mask_dict.json", "JPEGImages"}
