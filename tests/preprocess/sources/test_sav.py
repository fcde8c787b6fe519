import json
import os
import pickle
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from miniature.sav import Clip, frame_of, masks_of, write_mp4, write_sav_train, write_sav_val
from miniature.shapes import picture_of
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources import sav
from resizeonce.preprocess.sources.files import mp4_frames
from resizeonce.preprocess.sources.files.masklets import choose_pairs
from resizeonce.preprocess.sources.records import Frame, Pair, Record, Reject, Skip
from resizeonce.preprocess.sources.sav import Options, SavSource

HEIGHT, WIDTH, LENGTH = 64, 96, 12
ALL_PAIRS = Options(pairs_per_object=1000)


def clip(video_id: str = "sav_000001", length: int = LENGTH) -> Clip:
    return video_id, [picture_of(HEIGHT, WIDTH, seed) for seed in range(length)]


def read(root: Path, options: Options, index: int = 0) -> list[Record]:
    return list(SavSource(root, options)[index].read())


def frames_in(records: list[Record]) -> list[Frame]:
    return [record for record in records if isinstance(record, Frame)]


def pairs_in(records: list[Record]) -> list[Pair]:
    return [record for record in records if isinstance(record, Pair)]


def rejects_in(records: list[Record]) -> list[Reject]:
    return [record for record in records if isinstance(record, Reject)]


def edit(root: Path, change: Any, video_id: str = "sav_000001") -> None:
    path = root / "sav_000" / f"{video_id}_manual.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def difference(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(image.astype(np.int16) - other).mean())


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


def test_mp4_frame_4t_belongs_to_annotation_t(tmp_path: Path) -> None:
    name, pictures = clip()
    write_sav_train(tmp_path, [(name, pictures)], video=True)
    records = read(tmp_path, ALL_PAIRS)
    assert [frame.time for frame in frames_in(records)] == list(range(0, 4 * LENGTH, 4))
    for frame in frames_in(records):
        assert frame.path == "sav_000/sav_000001.mp4"
        distances = [difference(frame.image, frame_of(pictures, number)) for number in range(4 * LENGTH)]
        assert int(np.argmin(distances)) == frame.time
        assert min(distances) < 12


def test_extracted_frames_are_preferred_unless_told_otherwise(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()])
    write_sav_train(tmp_path, [clip()], video=True)
    paths = {
        frames: {frame.path[-4:] for frame in frames_in(read(tmp_path, Options(frames=frames)))}
        for frames in ("auto", "jpeg", "mp4")
    }
    assert paths == {"auto": {".jpg"}, "jpeg": {".jpg"}, "mp4": {".mp4"}}


def test_damaged_mp4_gives_the_frames_before_the_damage(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()], video=True)
    path = tmp_path / "sav_000" / "sav_000001.mp4"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    path.write_bytes(content)
    records = read(tmp_path, ALL_PAIRS)
    times = [frame.time for frame in frames_in(records)]
    lost = [int(reject.key[-5:]) for reject in rejects_in(records)]
    assert times
    assert lost
    assert times + lost == list(range(0, 4 * LENGTH, 4))
    assert {reject.stage for reject in rejects_in(records)} == {"decode"}
    path.write_bytes(content[:1000])
    (reject,) = read(tmp_path, ALL_PAIRS)
    assert isinstance(reject, Reject)
    assert reject.path == "sav_000/sav_000001.mp4"


def test_a_frame_that_the_header_drops_can_not_shift_the_ones_after_it(tmp_path: Path) -> None:
    """Decoders leave it out without a word, and each later mask would be on the frame before its own."""
    write_sav_train(tmp_path, [clip()], video=True)
    path = tmp_path / "sav_000" / "sav_000001.mp4"
    header = bytearray(path.read_bytes())
    if (box := header.find(b"ctts")) < 0:
        pytest.skip("this encoder gives no times of display")
    # The time of display of the fifth run of frames: far beyond the end, which the edit list cuts off.
    at = box + 12 + 8 * 4 + 4
    header[at : at + 4] = (1 << 30).to_bytes(4, "big")
    path.write_bytes(header)
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) < 4 * LENGTH
    records = read(tmp_path, ALL_PAIRS)
    pictures = clip()[1]
    for frame in frames_in(records):
        expected = frame_of(pictures, frame.time)
        apart = [difference(frame.image, frame_of(pictures, frame.time + step)) for step in (1, 2)]
        assert difference(frame.image, expected) < min(apart)
    assert {reject.reason for reject in rejects_in(records) if reject.stage == "decode"}
    assert "drops a frame" in rejects_in(records)[0].reason


def test_masks_beyond_the_end_of_an_mp4_are_skipped(tmp_path: Path) -> None:
    name, pictures = clip()
    write_sav_train(tmp_path, [(name, pictures)])
    edit(tmp_path, lambda content: content.update(video_frame_count=45.0))
    write_mp4(tmp_path / "sav_000" / f"{name}.mp4", [frame_of(pictures, number) for number in range(43)])
    records = read(tmp_path, Options(frames="mp4", pairs_per_object=1000))
    assert not rejects_in(records)
    # Annotated frame 11, which is video frame 44, has no picture; both objects are in it.
    skipped = Counter({record.reason: record.count for record in records if isinstance(record, Skip)})
    assert skipped == {
        "mask beyond the last frame": 1,
        "video of a frame or two more or less than its annotation says": 1,
    }
    assert [frame.time for frame in frames_in(records)] == list(range(0, 44, 4))


def test_mp4_of_another_size_is_rejected(tmp_path: Path) -> None:
    name, pictures = clip()
    write_sav_train(tmp_path, [(name, pictures)], video=True)
    write_sav_train(tmp_path / "turned", [(name, [p.swapaxes(0, 1) for p in pictures])])
    turned = tmp_path / "turned" / "sav_000" / "sav_000001_manual.json"
    turned.replace(tmp_path / "sav_000" / "sav_000001_manual.json")
    records = read(tmp_path, Options())
    assert not frames_in(records)
    assert {reject.stage for reject in rejects_in(records)} == {"decode"}
    assert "64 x 96 (height x width)" in rejects_in(records)[0].reason


def test_playlist_named_mp4_opens_nothing_else(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()], video=True)
    path = tmp_path / "sav_000" / "sav_000001.mp4"
    path.rename(tmp_path / "other.ts")
    path.write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/other.ts\n#EXT-X-ENDLIST\n")
    (reject,) = read(tmp_path, Options())
    assert isinstance(reject, Reject)
    assert reject.reason.startswith("no readable mp4")


def test_mp4_to_be_shown_turned_is_rejected(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [clip()], video=True)
    path = tmp_path / "sav_000" / "sav_000001.mp4"
    content = bytearray(path.read_bytes())
    # The 3 x 3 matrix of the track header, from the identity to a half turn.
    place = content.index(b"tkhd") + 4 + 40
    one, minus_one = (65536).to_bytes(4, "big"), (-65536).to_bytes(4, "big", signed=True)
    assert content[place : place + 4] == one
    content[place : place + 4] = minus_one
    content[place + 16 : place + 20] = minus_one
    path.write_bytes(content)
    records = read(tmp_path, Options())
    assert not frames_in(records)
    assert "turned by" in rejects_in(records)[0].reason


def test_missing_decoder_is_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sav_train(tmp_path, [clip()], video=True)
    monkeypatch.setattr(sav, "can_decode_video", lambda: False)
    with pytest.raises(SourceError, match=r"pip install resizeonce\[video\]"):
        SavSource(tmp_path, Options())


def test_missing_decoder_in_a_worker_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sav_train(tmp_path, [clip()], video=True)
    scene = SavSource(tmp_path, Options())[0]
    monkeypatch.setitem(sys.modules, "av", None)
    (reject,) = scene.read()
    assert isinstance(reject, Reject)
    assert reject.reason == mp4_frames.MISSING_DECODER


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


def test_real_mp4_frames_are_the_extracted_frames(shared_data: Path) -> None:
    root = shared_data / "sav" / "sav_train"
    with av.open(str(root / "sav_000" / "sav_090001.mp4")) as container:
        every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(every) == 50
    frames = {
        choice: frames_in(read(root, Options(frames=choice, pairs_per_object=1000), index=1))
        for choice in ("jpeg", "mp4")
    }
    assert len(frames["jpeg"]) == len(frames["mp4"]) == 13
    for extracted, decoded in zip(frames["jpeg"], frames["mp4"], strict=True):
        assert extracted.key == decoded.key
        np.testing.assert_array_equal(decoded.image, every[decoded.time])
        distances = [difference(extracted.image, frame) for frame in every]
        assert int(np.argmin(distances)) == decoded.time
        assert min(distances) < 4


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
"""Usable pairs, rejects and reasons of skips. 094001 is visible in one frame only, which is paired with itself.

Their jsons are of 50 frames, of which they annotate 3 or 5.
"""


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


def test_frames_one_by_one_come_from_an_mp4_as_well(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [("sav_000001", [picture_of(64, 96, t) for t in range(5)])], video=True)
    frames = list(SavSource(tmp_path, Options(take=3))[0].read())
    assert [(frame.path, frame.time) for frame in frames] == [
        ("sav_000/sav_000001.mp4", time) for time in (0, 12)
    ]


def test_what_an_annotation_stops_short_of_is_not_taken(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [("sav_000001", [picture_of(64, 96, t) for t in range(8)])])
    path = tmp_path / "sav_000/sav_000001_manual.json"
    content = json.loads(path.read_text())
    content["masklet"] = content["masklet"][:3]
    path.write_text(json.dumps(content))
    records = list(SavSource(tmp_path, Options(take="all"))[0].read())
    assert [record.time for record in records if isinstance(record, Frame)] == [0, 4, 8]
