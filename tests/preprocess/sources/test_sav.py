"""SA-V's samples: masklets and frames of both layouts, pairs, and what is wrong with an annotation."""

import json
import os
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature.sav import masks_of, write_sav_train, write_sav_val
from miniature.shapes import picture_of
from PIL import Image
from pycocotools import mask as coco_mask
from sav_reading import ALL_PAIRS, HEIGHT, LENGTH, WIDTH, clip, edit, frames_in, pairs_in, read, rejects_in

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources.files.masklets import choose_pairs
from resizeonce.preprocess.sources.records import Frame, Pair, Reject, Skip
from resizeonce.preprocess.sources.sav import Options, SavSource


def test_masks_and_frames_of_the_train_layout_go_together(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    records = read(tmp_path, ALL_PAIRS)
    content = json.loads((tmp_path / "sav_000" / "sav_000001_manual.json").read_text())
    assert {type(record) for record in records} == {Frame, Pair}
    for frame in frames_in(records):
        assert frame.key == f"sav/sav_000001/{frame.time:05d}"
        assert frame.path == f"JPEGImages_24fps/sav_000001/{frame.time:05d}.jpg"
        with Image.open(tmp_path / frame.path) as picture:
            np.testing.assert_array_equal(frame.image, np.asarray(picture))
        for mask in frame.masks:
            masklet_id = int(mask.object_id.removeprefix("manual-"))
            expected = coco_mask.decode(content["masklet"][frame.time // 4][masklet_id])
            np.testing.assert_array_equal(mask.segmentation.decode(), expected.astype(bool))


def test_records_come_as_frames_in_time_order_then_pairs(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    records = read(tmp_path, Options())
    times = [frame.time for frame in frames_in(records)]
    assert times == sorted(set(times))
    assert records == [*frames_in(records), *pairs_in(records)]


def test_every_pair_of_visible_frames_a_gap_apart_is_possible(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    found = Counter((p.object_id, p.time1, p.time2) for p in pairs_in(read(tmp_path, ALL_PAIRS)))
    # Object 1 is absent in frames 1, 2, 5, 6, 9 and 10: 1 apart are 3-4, 7-8; 4 apart 0-4, 3-7, 4-8, 7-11; 8 apart 0-8, 3-11.
    second = [(12, 16), (28, 32), (0, 16), (12, 28), (16, 32), (28, 44), (0, 32), (12, 44)]
    first = [(4 * t, 4 * (t + gap)) for gap in (1, 2, 4, 8) for t in range(LENGTH - gap)]
    expected = [("manual-0", *pair) for pair in first] + [("manual-1", *pair) for pair in second]
    assert found == Counter(expected)


def test_only_what_a_pair_needs_is_read(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    records = read(tmp_path, Options(pairs_per_object=1))
    needed = {(p.object_id, t) for p in pairs_in(records) for t in (p.time1, p.time2)}
    given = [(mask.object_id, frame.time) for frame in frames_in(records) for mask in frame.masks]
    assert len(pairs_in(records)) == 2
    assert sorted(given) == sorted(needed)


def test_choice_of_pairs_is_fixed() -> None:
    chosen = choose_pairs(range(121), "sav_000001/manual-0", Options())
    assert chosen == choose_pairs(reversed(range(121)), "sav_000001/manual-0", Options(gaps=(8, 4, 2, 1)))
    assert chosen == ((48, 52), (52, 60), (53, 61), (99, 101))
    assert chosen != choose_pairs(range(121), "sav_000001/manual-1", Options())
    assert chosen != choose_pairs(range(121), "sav_000002/manual-0", Options())
    assert chosen != choose_pairs(range(121), "sav_000001/manual-0", Options(seed=1))


def test_a_frame_that_no_pair_uses_does_not_change_the_choice() -> None:
    chosen = choose_pairs(range(121), "v/o", Options())
    unused = set(range(121)) - {t for pair in chosen for t in pair}
    assert choose_pairs(set(range(121)) - set(list(unused)[::2]), "v/o", Options()) == chosen


def test_choice_does_not_depend_on_other_videos(tmp_path: Path) -> None:
    write_sav_train(tmp_path / "one", [clip("sav_000007")])
    write_sav_train(tmp_path / "two", [clip("sav_000003"), clip("sav_000007")])
    source = SavSource(tmp_path / "two", Options())
    assert [source[index].key for index in range(2)] == ["sav/sav_000003", "sav/sav_000007"]
    alone = pairs_in(read(tmp_path / "one", Options()))
    assert pairs_in(list(source[1].read())) == alone
    assert pairs_in(list(source[0].read())) != alone


def test_scene_survives_pickling(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    scene = SavSource(tmp_path, Options())[0]
    assert len(pickle.dumps(scene)) < 2000
    copy = list(pickle.loads(pickle.dumps(scene)).read())
    assert pairs_in(copy) == pairs_in(list(scene.read()))


def test_val_layout_reads_png_masks(tmp_path: Path) -> None:
    name, pictures = clip()
    write_sav_val(tmp_path, [(name, pictures)])
    source = SavSource(tmp_path, Options(layout="val", pairs_per_object=1000))
    records = list(source[0].read())
    assert not rejects_in(records)
    assert {pair.object_id for pair in pairs_in(records)} == {"000", "001"}
    for frame in frames_in(records):
        t = frame.time // 4
        for mask in frame.masks:
            expected = masks_of(pictures[t], t)[int(mask.object_id)]
            np.testing.assert_array_equal(mask.segmentation.decode(), expected)
    assert len(pairs_in(records)) == 33 + 8


def test_val_list_names_may_not_leave_the_root(tmp_path: Path) -> None:
    write_sav_val(tmp_path, [clip()])
    with (tmp_path / "sav_val.txt").open("a") as file:
        file.write("../elsewhere\n..\nsav_000404\n")
    source = SavSource(tmp_path, Options(layout="val"))
    assert [reject.key for reject in source.rejects] == ["sav/../elsewhere", "sav/.."]
    (missing,) = source[1].read()
    assert isinstance(missing, Reject)
    assert "JPEGImages_24fps/sav_000404" in missing.path


def test_misnamed_png_is_rejected_and_the_rest_goes_on(tmp_path: Path) -> None:
    write_sav_val(tmp_path, [clip()])
    folder = tmp_path / "Annotations_6fps" / "sav_000001" / "000"
    (folder / "00000.png").rename(folder / "00002.png")
    (folder / "00008.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    records = read(tmp_path, Options(layout="val"))
    assert [reject.path[-9:] for reject in rejects_in(records)] == ["00002.png", "00008.png"]
    assert rejects_in(records)[1].key == "sav/sav_000001/00008/000"
    assert len(pairs_in(records)) == 8


def test_names_that_are_no_utf8_are_rejected_and_the_rest_goes_on(tmp_path: Path) -> None:
    write_sav_val(tmp_path, [clip()])
    folder = tmp_path / "Annotations_6fps" / "sav_000001"
    (folder / os.fsdecode(b"\xff")).mkdir()
    (folder / "000" / os.fsdecode(b"\xfe.png")).touch()
    records = read(tmp_path, Options(layout="val"))
    assert sorted(reject.path for reject in rejects_in(records)) == [
        "Annotations_6fps/sav_000001/000/\\udcfe.png",
        "Annotations_6fps/sav_000001/\\udcff",
    ]
    assert len(pairs_in(records)) == 8


def test_absent_objects_are_no_samples(tmp_path: Path) -> None:
    def hide_second(content: Any) -> None:
        for row in content["masklet"]:
            row[1] = None

    write_sav_train(tmp_path, [clip()])
    edit(tmp_path, hide_second)
    records = read(tmp_path, Options())
    (reject,) = rejects_in(records)
    assert (reject.key, reject.stage) == ("sav/sav_000001/manual-1", "mask")
    assert {pair.object_id for pair in pairs_in(records)} == {"manual-0"}


def test_object_visible_once_is_skipped_or_paired_with_itself(tmp_path: Path) -> None:
    def show_once(content: Any) -> None:
        content["masklet"] = [row[:1] if t else row for t, row in enumerate(content["masklet"])]

    write_sav_train(tmp_path, [clip()])
    edit(tmp_path, show_once)
    assert Skip("object visible in one frame only") in read(tmp_path, Options(lone_frames="skip"))
    repeated = pairs_in(read(tmp_path, Options()))
    assert [pair for pair in repeated if pair.object_id == "manual-1"] == [
        Pair("manual-1", 0, 0, ("sav/sav_000001/00000", "sav/sav_000001/00000"))
    ]


def test_damaged_mask_spoils_only_that_frame(tmp_path: Path) -> None:
    def damage(content: Any) -> None:
        content["masklet"][3][0]["counts"] = "~~~"
        content["masklet"][4].append({"size": [HEIGHT, WIDTH], "counts": "0"})

    write_sav_train(tmp_path, [clip()])
    edit(tmp_path, damage)
    records = read(tmp_path, ALL_PAIRS)
    assert [(r.key, r.stage) for r in rejects_in(records)] == [
        ("sav/sav_000001/00016", "mask"),
        ("sav/sav_000001/00012/manual-0", "mask"),
    ]
    times = {t for p in pairs_in(records) if p.object_id == "manual-0" for t in (p.time1, p.time2)}
    assert times == set(range(0, 4 * LENGTH, 4)) - {12, 16}


def test_frames_and_masks_go_together_by_number(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    edit(tmp_path, lambda content: content.update(video_frame_count=46.0))
    folder = tmp_path / "JPEGImages_24fps" / "sav_000001"
    (folder / "00016.jpg").unlink()
    (folder / "00044.jpg").unlink()
    records = read(tmp_path, ALL_PAIRS)
    # Objects 0 and 1 are visible in both; 16 is a hole, 44 was the last.
    assert [r.key[-14:] for r in rejects_in(records)] == ["00016/manual-0", "00016/manual-1"]
    skipped = Counter({r.reason: r.count for r in records if isinstance(r, Skip)})
    usual = "video of a frame or two more or less than its annotation says"
    assert skipped == {"mask beyond the last frame": 1, usual: 1}
    assert {frame.time for frame in frames_in(records)} == set(range(0, 44, 4)) - {16}


def test_damaged_frame_is_rejected_and_its_pairs_are_left_to_the_writer(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    (tmp_path / "JPEGImages_24fps" / "sav_000001" / "00016.jpg").write_bytes(b"")
    records = read(tmp_path, ALL_PAIRS)
    (reject,) = rejects_in(records)
    assert (reject.key, reject.stage) == ("sav/sav_000001/00016", "decode")
    assert Pair("manual-0", 16, 32, ("sav/sav_000001/00016", "sav/sav_000001/00032")) in records


def test_whole_numbers_may_be_floats_and_extra_fields_may_be_odd(tmp_path: Path) -> None:
    def as_floats(content: Any) -> None:
        content["masklet_id"] = [5.0, 7.0]
        content["masklet_num"] = "two"
        for row in content["masklet"]:
            row[0]["size"] = [float(side) for side in row[0]["size"]]

    write_sav_train(tmp_path, [clip()])
    edit(tmp_path, as_floats)
    records = read(tmp_path, Options())
    assert not rejects_in(records)
    assert {pair.object_id for pair in pairs_in(records)} == {"manual-5", "manual-7"}


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"[" * 100_000, b'{"masklet": [], "masklet_id": []}', b'{"masklet_id": "\xff"}'],
)
def test_broken_json_is_one_reject(tmp_path: Path, content: bytes) -> None:
    write_sav_train(tmp_path, [clip()])
    (tmp_path / "sav_000" / "sav_000001_manual.json").write_bytes(content)
    (reject,) = read(tmp_path, Options())
    assert isinstance(reject, Reject)
    assert reject.path == "sav_000/sav_000001_manual.json"


def test_an_annotation_of_another_video_is_a_reject(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    edit(tmp_path, lambda content: content.update(video_id="sav_000002"))
    (reject,) = read(tmp_path, Options())
    assert isinstance(reject, Reject)
    assert reject.reason == "the json describes video 'sav_000002', expected sav_000001 as in its file name"
    # Other tools leave it out, or number.
    for given in ("", None, 1):
        edit(tmp_path, lambda content, given=given: content.update(video_id=given))
        assert not rejects_in(read(tmp_path, Options()))


def test_manual_and_automatic_objects_are_different_objects(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    folder = tmp_path / "sav_000"
    content = (folder / "sav_000001_manual.json").read_bytes()
    no_auto = read(tmp_path, Options(annotations="both"))
    assert Skip("video without automatic annotation") in no_auto
    (folder / "sav_000001_auto.json").write_bytes(content)
    both = read(tmp_path, Options(annotations="both"))
    assert {p.object_id for p in pairs_in(both)} == {"manual-0", "manual-1", "auto-0", "auto-1"}
    (folder / "sav_000001_manual.json").unlink()
    (reject,) = rejects_in(read(tmp_path, Options(annotations="both")))
    assert reject.path == "sav_000/sav_000001_manual.json"
    assert reject.reason == "sav_000001_manual.json is missing"


def test_doubled_folders_are_found_and_duplicates_reported(tmp_path: Path) -> None:
    write_sav_train(tmp_path / "sav_000" / "sav_train", [clip()])
    (tmp_path / "sav_000" / "sav_train" / "JPEGImages_24fps").rename(tmp_path / "JPEGImages_24fps")
    assert len(pairs_in(read(tmp_path, Options()))) == 8
    write_sav_train(tmp_path / "again", [clip()])
    source = SavSource(tmp_path, Options())
    assert len(source) == 1
    (reject,) = source.rejects
    assert reject.path == "sav_000/sav_train/sav_000/sav_000001_manual.json"
    assert "again/sav_000/sav_000001_manual.json" in reject.reason


def test_links_out_of_the_root_are_not_followed(tmp_path: Path) -> None:
    write_sav_train(tmp_path / "root", [clip()])
    write_sav_train(tmp_path / "outside", [clip("sav_000002")])
    folder = tmp_path / "root" / "sav_000"
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "outside")
    (folder / "sav_000003_manual.json").symlink_to(
        tmp_path / "outside" / "sav_000" / "sav_000002_manual.json"
    )
    (tmp_path / "root" / "JPEGImages_24fps" / "sav_000003").symlink_to(
        tmp_path / "root" / "JPEGImages_24fps" / "sav_000001"
    )
    source = SavSource(tmp_path / "root", Options())
    assert [reject.path for reject in source.rejects] == ["linked"]
    (reject,) = source[1].read()
    assert isinstance(reject, Reject)
    assert "leads out of" in reject.reason


def test_folder_without_videos_can_not_be_opened(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--root"):
        SavSource(tmp_path, Options())
    with pytest.raises(SourceError, match=r"sav_val\.txt"):
        SavSource(tmp_path, Options(layout="val"))
    with pytest.raises(SourceError, match="--root"):
        SavSource(tmp_path / "absent", Options())


def test_fingerprint_tells_changed_annotations(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    before = SavSource(tmp_path, Options()).fingerprint()
    assert before == SavSource(tmp_path, Options()).fingerprint()
    edit(tmp_path, lambda content: content["masklet"].pop())
    assert before != SavSource(tmp_path, Options()).fingerprint()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), {"sav_000001": (32, 20, 37), "sav_090001": (6, 4, 6), "sav_090002": (7, 4, 7)}),
        (
            Options(annotations="both"),
            {"sav_000001": (48, 36, 66), "sav_090001": (6, 4, 6), "sav_090002": (7, 4, 7)},
        ),
        (
            Options(layout="val"),
            {"sav_091001": (6, 4, 6), "sav_091002": (6, 4, 6), "sav_091003": (16, 16, 25)},
        ),
    ],
)
def test_real_samples(shared_data: Path, options: Options, expected: dict[str, tuple[int, int, int]]) -> None:
    source = SavSource(shared_data / "sav" / f"sav_{options.layout}", options)
    found = {}
    for index in range(len(source)):
        records = list(source[index].read())
        assert not rejects_in(records)
        frames = frames_in(records)
        num_masks = sum(len(frame.masks) for frame in frames)
        found[source[index].video_id] = (len(frames), len(pairs_in(records)), num_masks)
        assert all(mask.segmentation.area > 0 for frame in frames for mask in frame.masks)
        sizes = {mask.segmentation.size for frame in frames for mask in frame.masks}
        assert {frame.image.shape[:2] for frame in frames} == sizes
    assert found == expected


def test_real_masks_agree_with_pycocotools(shared_data: Path) -> None:
    root = shared_data / "sav" / "sav_train"
    content = json.loads((root / "sav_000" / "sav_000001_manual.json").read_text())
    records = read(root, Options(pairs_per_object=1000))
    # Object 3 is absent until annotated frame 113: of 8 frames, 7 + 6 + 4 pairs.
    third = [pair for pair in pairs_in(records) if pair.object_id == "manual-3"]
    assert len(third) == 17
    assert min(pair.time1 for pair in third) == 452
    for frame in frames_in(records)[::10]:
        for mask in frame.masks:
            rle = content["masklet"][frame.time // 4][int(mask.object_id[-1])]
            np.testing.assert_array_equal(mask.segmentation.decode(), coco_mask.decode(rle) == 1)


SHORTENED = "annotation of fewer frames than every 4th of its video"


ODD_CASES = {
    "sav_094001": (1, 0, {SHORTENED}),
    "sav_094002": (0, 3, {SHORTENED}),
    "sav_094003": (1, 1, {SHORTENED}),
    "sav_094004": (3, 0, {SHORTENED, "mask beyond the last frame"}),
    "sav_094005": (1, 0, {SHORTENED}),
    "sav_094006": (0, 1, set()),
    "sav_094007": (0, 1, {SHORTENED}),
}


def test_odd_samples(shared_data: Path) -> None:
    source = SavSource(shared_data / "odd" / "sav" / "sav_train", Options())
    found = {}
    for index in range(len(source)):
        records = list(source[index].read())
        given = {(mask.object_id, frame.time) for frame in frames_in(records) for mask in frame.masks}
        usable = [
            pair
            for pair in pairs_in(records)
            if {(pair.object_id, pair.time1), (pair.object_id, pair.time2)} <= given
        ]
        skips = {record.reason for record in records if isinstance(record, Skip)}
        found[source[index].video_id] = (len(usable), len(rejects_in(records)), skips)
    assert found == ODD_CASES


# ---- frames one by one


@pytest.mark.parametrize(("take", "times"), [("all", [0, 4, 8, 12, 16, 20]), (2, [0, 8, 16]), (5, [0, 20])])
def test_annotated_frames_are_taken_one_by_one(tmp_path: Path, take: Any, times: list[int]) -> None:
    pictures = [picture_of(64, 96, t) for t in range(6)]
    write_sav_train(tmp_path, [("sav_000001", pictures)])
    source = SavSource(tmp_path, Options(take=take))
    assert not source.paired
    records = list(source[0].read())
    assert [(type(record), record.key) for record in records] == [
        (Frame, f"sav/sav_000001/{time:05d}") for time in times
    ]
    for frame in records:
        masks = masks_of(pictures[frame.time // 4], frame.time // 4)
        expected = {
            f"manual-{number}": mask for number, mask in enumerate(masks) if mask is not None and mask.any()
        }
        assert {mask.object_id for mask in frame.masks} == expected.keys()
        for mask in frame.masks:
            assert np.array_equal(mask.segmentation.decode(), expected[mask.object_id])


def test_what_an_annotation_stops_short_of_is_not_taken(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [("sav_000001", [picture_of(64, 96, t) for t in range(8)])])
    path = tmp_path / "sav_000/sav_000001_manual.json"
    content = json.loads(path.read_text())
    content["masklet"] = content["masklet"][:3]
    path.write_text(json.dumps(content))
    records = list(SavSource(tmp_path, Options(take="all"))[0].read())
    assert [record.time for record in records if isinstance(record, Frame)] == [0, 4, 8]
