"""SA-V's frames against the annotation: no sample's mask lies beside its object, whatever was done to the frames."""

from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from bar import (
    COUNT,
    HEIGHT,
    VIDEO_ID,
    WIDTH,
    at_rate,
    bar_of,
    is_on_bar,
    picture_with_bar,
    shown,
    write_bar_jpegs,
    write_bar_json,
    write_bar_pngs,
)
from miniature.sav import rle_of, write_mp4
from PIL import Image

from resizeonce.preprocess.sources.files import video_frames
from resizeonce.preprocess.sources.records import Frame, Pair, Record, Reject, Skip
from resizeonce.preprocess.sources.sav import Options, SavSource

EVERY = list(range(COUNT))
FOURTH = list(range(0, COUNT, 4))
USUAL = "video of a frame or two more or less than its annotation says"
BEYOND = "mask beyond the last frame"
FOLDER = f"JPEGImages_24fps/{VIDEO_ID}"
VIDEO = f"sav_000/{VIDEO_ID}.mp4"

Names = list[tuple[int, int]]
"""The number in each file's name, and the number of the frame it shows."""


def read(root: Path, **options: Any) -> list[Record]:
    records = list(SavSource(root, Options(**{"pairs_per_object": 1000, **options}))[0].read())
    beside = [
        frame.key
        for frame in records
        if isinstance(frame, Frame)
        for mask in frame.masks
        if not is_on_bar(frame.image, mask.segmentation.decode())
    ]
    assert not beside
    return records


def times_in(records: list[Record]) -> list[int]:
    return [record.time for record in records if isinstance(record, Frame)]


def rejects_in(records: list[Record]) -> list[Reject]:
    return [record for record in records if isinstance(record, Reject)]


def skips_in(records: list[Record]) -> dict[str, int]:
    return dict(Counter({record.reason: record.count for record in records if isinstance(record, Skip)}))


def the_only_reject(records: list[Record]) -> Reject:
    (reject,) = records
    assert isinstance(reject, Reject)
    assert reject.key == f"sav/{VIDEO_ID}"
    return reject


def write_bar_mp4(root: Path, numbers: list[int], **options: Any) -> None:
    write_mp4(root / "sav_000" / f"{VIDEO_ID}.mp4", shown(numbers), **options)


def dropped(*lost: int) -> list[int]:
    return [number for number in EVERY if number not in lost]


def test_the_oracle_sees_a_mask_that_is_one_frame_off() -> None:
    assert is_on_bar(picture_with_bar(8), bar_of(8))
    assert not is_on_bar(picture_with_bar(8), bar_of(9))


def test_an_mp4_of_as_many_frames_as_its_json_says_is_taken(tmp_path: Path) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, EVERY)
    records = read(tmp_path)
    assert times_in(records) == FOURTH
    assert not rejects_in(records)
    assert not skips_in(records)


@pytest.mark.parametrize(("rate", "length"), [(30, 61), (12, 24), (6, 12)])
def test_an_mp4_at_another_rate_is_refused_with_both_lengths(tmp_path: Path, rate: int, length: int) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, at_rate(rate), rate=rate)
    reject = the_only_reject(read(tmp_path))
    assert reject.path == VIDEO
    assert f"the video has {length} frames, but its json says 49 (video_frame_count)" in reject.reason
    assert "Take the original mp4" in reject.reason


def test_an_mp4_at_another_rate_is_refused_where_its_length_is_within_the_usual(tmp_path: Path) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, at_rate(25), rate=25)
    reject = the_only_reject(read(tmp_path))
    assert "the video has 51 frames, 25.00 a second, but its json says 49" in reject.reason
    assert "24.00 a second" in reject.reason


def test_an_mp4_at_another_rate_is_refused_where_the_json_tells_no_duration(tmp_path: Path) -> None:
    write_bar_json(tmp_path, video_duration=None)
    write_bar_mp4(tmp_path, at_rate(25), rate=25)
    reason = the_only_reject(read(tmp_path)).reason
    assert "the video has 51 frames, 25.00 a second, but its json says 49 (video_frame_count)" in reason
    assert "24.00 a second" in reason


def test_an_mp4_at_another_rate_is_refused_where_the_json_tells_no_length(tmp_path: Path) -> None:
    """Its 51 frames are within the 49 to 52 that 13 masks can be of."""
    write_bar_json(tmp_path, video_duration=None, video_frame_count=None)
    write_bar_mp4(tmp_path, at_rate(25), rate=25)
    assert "51 frames, 25.00 a second" in the_only_reject(read(tmp_path)).reason


def test_frames_that_are_only_shown_faster_are_taken_where_there_are_exactly_as_many(tmp_path: Path) -> None:
    """Another tool's video of 30 a second, annotated in every 4th frame, its duration unsaid."""
    write_bar_json(tmp_path, video_duration=None)
    write_bar_mp4(tmp_path, EVERY, rate=30)
    records = read(tmp_path)
    assert times_in(records) == FOURTH
    assert not rejects_in(records)


@pytest.mark.parametrize("lost", [(0,), (0, 1)])
def test_frames_dropped_at_the_beginning_of_an_mp4_are_found_by_its_first_time(
    tmp_path: Path, lost: tuple[int, ...]
) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, dropped(*lost), times=dropped(*lost))
    reason = the_only_reject(read(tmp_path)).reason
    assert f"the video has {COUNT - len(lost)} frames, the first at 0.0{4 * len(lost)}" in reason
    assert "but its json says 49" in reason


def test_an_mp4_that_begins_late_is_taken_where_no_frame_is_missing(tmp_path: Path) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, EVERY, times=[number + 2 for number in EVERY])
    records = read(tmp_path)
    assert times_in(records) == FOURTH
    assert not rejects_in(records)


@pytest.mark.parametrize("difference", [-2, -1, 1, 2])
def test_a_frame_or_two_more_or_less_are_counted(tmp_path: Path, difference: int) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, list(range(COUNT + difference)))
    records = read(tmp_path)
    assert not rejects_in(records)
    beyond = {BEYOND: 1} if difference < 0 else {}
    assert skips_in(records) == {USUAL: 1, **beyond}
    assert times_in(records) == (FOURTH[:-1] if difference < 0 else FOURTH)


@pytest.mark.parametrize("difference", [-3, 3])
def test_three_frames_more_or_less_are_refused(tmp_path: Path, difference: int) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, list(range(COUNT + difference)))
    assert f"has {COUNT + difference} frames" in the_only_reject(read(tmp_path)).reason


@pytest.mark.parametrize("lost", [(6,), (5, 6), (7, 30), tuple(range(5, 49, 5))])
def test_frames_dropped_from_an_mp4_are_found_by_its_length_or_its_times(
    tmp_path: Path, lost: tuple[int, ...]
) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, dropped(*lost), times=dropped(*lost))
    reject = the_only_reject(read(tmp_path))
    assert reject.path == VIDEO
    assert f"has {COUNT - len(lost)} frames" in reject.reason
    assert ("from frame" in reject.reason) == (len(lost) <= 2)


def test_a_lost_frame_is_found_where_a_further_one_makes_up_for_it(tmp_path: Path) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, [*dropped(6), COUNT], times=[*dropped(6), COUNT])
    assert "from frame 5 to the next are 0.083 s" in the_only_reject(read(tmp_path)).reason


def test_an_mp4_of_varying_rate_is_taken_where_length_and_duration_are_the_jsons(tmp_path: Path) -> None:
    """Another tool's video, filmed so and annotated by the number of the frame."""
    write_bar_json(tmp_path, video_duration=59 / 24)
    write_bar_mp4(tmp_path, EVERY, times=[number + 5 * (number > 10) + 5 * (number > 20) for number in EVERY])
    records = read(tmp_path)
    assert times_in(records) == FOURTH
    assert not rejects_in(records)


def test_a_json_without_a_length_still_tells_it_by_its_masks(tmp_path: Path) -> None:
    unsaid = {
        "video_frame_count": None,
        "video_duration": "?",
        "video_height": [],
        "video_width": float(2**40),
    }
    write_bar_json(tmp_path / "right", **unsaid)
    write_bar_mp4(tmp_path / "right", list(range(52)))
    assert times_in(read(tmp_path / "right")) == FOURTH
    write_bar_json(tmp_path / "wrong", **unsaid)
    write_bar_mp4(tmp_path / "wrong", at_rate(30), rate=30)
    reason = the_only_reject(read(tmp_path / "wrong")).reason
    assert "has 61 frames, but its json annotates 13, every 4th of 49 to 52" in reason


def test_a_json_annotated_in_every_frame_is_refused(tmp_path: Path) -> None:
    write_bar_json(tmp_path, masklet=[[rle_of(bar_of(number))] for number in EVERY])
    write_bar_mp4(tmp_path, EVERY)
    reject = the_only_reject(read(tmp_path))
    assert reject.path == f"sav_000/{VIDEO_ID}_manual.json"
    assert "masklet has 49 annotated frames, but of the video's 49 frames" in reject.reason


def test_the_header_of_an_mp4_is_not_believed(tmp_path: Path) -> None:
    """A file that is cut short still has a header of all its frames, where that lies at the beginning."""
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, EVERY, options={"movflags": "faststart"})
    path = tmp_path / VIDEO
    assert times_in(read(tmp_path)) == FOURTH
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2])
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == COUNT
    assert "but its json says 49" in the_only_reject(read(tmp_path)).reason


def test_frames_beyond_the_limit_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bar_json(tmp_path)
    write_bar_mp4(tmp_path, EVERY)
    monkeypatch.setattr(video_frames, "MAX_FRAMES", 40)
    assert the_only_reject(read(tmp_path)).reason == "the video has over 40 frames, the limit"


@pytest.mark.parametrize(
    "names",
    [
        [(number, number) for number in EVERY],
        [(number, number) for number in FOURTH],
        [(number, number) for number in FOURTH if number not in (0, 16)],
        [(number, number) for number in FOURTH if number != 44],
        [(number, number) for number in EVERY if number not in (5, 16, 17)],
        [(number, number) for number in EVERY[20:]],
        [(number, number) for number in EVERY[::2]],
    ],
    ids=["all", "every 4th", "holes", "a hole near the end", "holes in all", "a late start", "every 2nd"],
)
def test_folders_with_the_numbers_of_the_video_are_taken(tmp_path: Path, names: Names) -> None:
    write_bar_json(tmp_path)
    write_bar_jpegs(tmp_path, names)
    records = read(tmp_path)
    assert times_in(records) == [number for number in FOURTH if (number, number) in names]
    assert USUAL not in skips_in(records)


@pytest.mark.parametrize(("last", "counted"), [(46, 1), (47, 1), (48, 0), (49, 1), (50, 1)])
def test_folders_of_a_frame_or_two_more_or_less_are_counted(tmp_path: Path, last: int, counted: int) -> None:
    write_bar_json(tmp_path)
    write_bar_jpegs(tmp_path, [(number, number) for number in range(last + 1)])
    records = read(tmp_path)
    assert not rejects_in(records)
    assert skips_in(records).get(USUAL, 0) == counted


@pytest.mark.parametrize(
    ("length", "last", "counted"),
    [(49, 44, 1), (50, 44, 1), (49, 48, 0), (52, 48, 0), (53, 48, 1), (54, 48, 1)],
)
def test_every_4th_frame_may_end_as_early_as_a_video_of_two_frames_less(
    tmp_path: Path, length: int, last: int, counted: int
) -> None:
    """Of 47 or 48 frames the last one that is extracted is 44, of 49 to 52 it is 48."""
    write_bar_json(tmp_path, video_frame_count=float(length), video_duration=length / 24)
    write_bar_jpegs(tmp_path, [(number, number) for number in range(0, last + 1, 4)])
    records = read(tmp_path)
    assert not rejects_in(records)
    assert skips_in(records).get(USUAL, 0) == counted


REFUSED_FOLDERS: dict[str, tuple[Names, str]] = {
    "every 4th, renumbered": (
        list(enumerate(FOURTH)),
        "Rename them to 00000.jpg, 00004.jpg, ..., 00048.jpg",
    ),
    "every 4th but the last, renumbered": (list(enumerate(FOURTH[:-1])), "Rename them to 00000.jpg"),
    "every 4th, renumbered from 1": (list(enumerate(FOURTH, start=1)), "numbered from 1?"),
    "every 4th, renumbered, one lost": (
        [pair for pair in enumerate(FOURTH) if pair[0] != 5],
        "Rename them to 00000.jpg",
    ),
    "all, numbered from 1": ([(number + 1, number) for number in EVERY], "numbered from 1?"),
    "12 a second": (list(enumerate(at_rate(12))), "extracted at another rate"),
    "2 a second": (list(enumerate(EVERY[::12])), "extracted at another rate"),
    "30 a second": (list(enumerate(at_rate(30))), "extracted at another rate?"),
    "every 4th of 30 a second": (list(enumerate(at_rate(30)))[::4], "extracted at another rate?"),
    "every 4th of 12 a second": (list(enumerate(at_rate(12)))[::4], "re-encoded at another rate"),
    "every 4th, broken off": ([(number, number) for number in FOURTH[:-2]], "goes on to 00048.jpg"),
    "every 8th, numbered as every 4th": (
        [(number // 2, number) for number in EVERY[::8]],
        "goes on to 00048.jpg",
    ),
    "the first half": ([(number, number) for number in EVERY[:25]], "keep only 00000.jpg, 00004.jpg"),
}


@pytest.mark.parametrize("case", REFUSED_FOLDERS)
def test_folders_with_other_numbers_are_refused_with_both_lengths(tmp_path: Path, case: str) -> None:
    names, remedy = REFUSED_FOLDERS[case]
    write_bar_json(tmp_path)
    write_bar_jpegs(tmp_path, names)
    reject = the_only_reject(read(tmp_path))
    assert reject.path == FOLDER
    assert (
        f"the folder has {len(names)} frames, {names[0][0]:05d}.jpg to {names[-1][0]:05d}.jpg"
        in reject.reason
    )
    assert "its json says 49" in reject.reason
    assert remedy in reject.reason
    assert "ffmpeg -i VIDEO.mp4" in reject.reason


@pytest.mark.parametrize("length", [51.0, 52.0, None])
def test_every_4th_frame_numbered_from_4_is_refused(tmp_path: Path, length: float | None) -> None:
    write_bar_json(tmp_path, video_frame_count=length)
    write_bar_jpegs(tmp_path, [(number + 4, number) for number in FOURTH])
    assert "numbered from 4?" in the_only_reject(read(tmp_path)).reason


@pytest.mark.parametrize(("last", "is_taken"), [(48, True), (16, True), (8, True), (4, False)])
def test_every_4th_frame_may_end_near_an_annotation_that_itself_ends_early(
    tmp_path: Path, last: int, is_taken: bool
) -> None:
    """Annotated are 00000 to 00016, and two annotated frames may be missing."""
    write_bar_json(tmp_path, masklet=[[rle_of(bar_of(number))] for number in FOURTH[:5]])
    write_bar_jpegs(tmp_path, [(number, number) for number in range(0, last + 1, 4)])
    records = read(tmp_path)
    assert times_in(records) == ([number for number in FOURTH[:5] if number <= last] if is_taken else [])
    assert [reject.path for reject in rejects_in(records)] == ([] if is_taken else [FOLDER])
    assert USUAL not in skips_in(records)


VAL_FOLDERS: dict[str, tuple[Names, Names, list[int]]] = {
    "all frames": (list(zip(EVERY, EVERY, strict=True)), list(zip(FOURTH, FOURTH, strict=True)), FOURTH),
    "masks that end early": (
        list(zip(EVERY, EVERY, strict=True)),
        list(zip(FOURTH[:3], FOURTH[:3], strict=True)),
        FOURTH[:3],
    ),
    "every 4th frame": (
        list(zip(FOURTH, FOURTH, strict=True)),
        list(zip(FOURTH, FOURTH, strict=True)),
        FOURTH,
    ),
    "frames numbered from 1": (
        [(number + 1, number) for number in EVERY],
        list(zip(FOURTH, FOURTH, strict=True)),
        [],
    ),
    "frames renumbered": (list(enumerate(FOURTH)), list(zip(FOURTH, FOURTH, strict=True)), []),
    "frames at 12 a second": (list(enumerate(at_rate(12))), list(zip(FOURTH, FOURTH, strict=True)), []),
    "every 4th frame at 12 a second": (
        list(enumerate(at_rate(12)))[::4],
        list(zip(FOURTH, FOURTH, strict=True)),
        [],
    ),
    "masks renumbered": (list(zip(EVERY, EVERY, strict=True)), list(enumerate(FOURTH)), []),
    "few masks renumbered": (list(zip(EVERY, EVERY, strict=True)), list(enumerate(FOURTH))[3:5], []),
}


@pytest.mark.parametrize("case", VAL_FOLDERS)
def test_frames_of_the_val_layout_are_compared_with_the_masks(tmp_path: Path, case: str) -> None:
    frames, masks, expected = VAL_FOLDERS[case]
    write_bar_jpegs(tmp_path, frames)
    write_bar_pngs(tmp_path, masks)
    records = read(tmp_path, layout="val")
    assert times_in(records) == expected
    if expected:
        assert not rejects_in(records)
    else:
        path = f"Annotations_6fps/{VIDEO_ID}" if "masks" in case else FOLDER
        assert the_only_reject(records).path == path


def test_an_mp4_may_have_another_scale_but_not_be_turned(tmp_path: Path) -> None:
    write_bar_json(tmp_path / "scaled")
    half = [picture[::2, ::2] for picture in shown(EVERY)]
    write_mp4(tmp_path / "scaled" / VIDEO, half)
    scene = SavSource(tmp_path / "scaled", Options())[0]
    assert not rejects_in(list(scene.read()))
    write_bar_json(tmp_path / "turned")
    write_mp4(tmp_path / "turned" / VIDEO, [np.rot90(picture) for picture in shown(EVERY)])
    reject = the_only_reject(read(tmp_path / "turned"))
    assert (reject.path, reject.stage) == (VIDEO, "decode")
    assert f"{WIDTH} x {HEIGHT} (height x width)" in reject.reason
    assert f"describes {HEIGHT} x {WIDTH}, the sides exchanged" in reject.reason


@pytest.mark.parametrize(("height", "width"), [(HEIGHT, WIDTH), (60, 61)])
def test_turned_jpegs_are_rejected_however_near_they_are_to_a_square(
    tmp_path: Path, height: int, width: int
) -> None:
    mask = np.zeros((height, width), np.bool_)
    mask[5:20, 5:30] = True
    masks = [[rle_of(mask)] for _ in FOURTH]
    write_bar_json(tmp_path, masklet=masks, video_height=float(height), video_width=float(width))
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for number in FOURTH:
        Image.new("RGB", (height, width)).save(folder / f"{number:05d}.jpg")
    rejects = rejects_in(read(tmp_path))
    assert [reject.path for reject in rejects] == [f"{FOLDER}/{number:05d}.jpg" for number in FOURTH]
    assert all("the sides exchanged" in reject.reason for reject in rejects)


def test_masks_turned_against_their_json_are_rejected_under_its_path(tmp_path: Path) -> None:
    write_bar_json(tmp_path, masklet=[[rle_of(bar_of(number).T)] for number in FOURTH])
    write_bar_jpegs(tmp_path, list(zip(FOURTH, FOURTH, strict=True)))
    rejects = rejects_in(read(tmp_path))
    assert len(rejects) == len(FOURTH)
    assert {(reject.path, reject.stage) for reject in rejects} == {
        (f"sav_000/{VIDEO_ID}_manual.json", "mask")
    }
    assert rejects[1].key == f"sav/{VIDEO_ID}/00004/manual-0"
    assert f"the mask is {WIDTH} x {HEIGHT}" in rejects[1].reason


def test_a_damaged_mask_and_a_missing_frame_are_rejected_under_their_own_paths(tmp_path: Path) -> None:
    write_bar_jpegs(tmp_path, [(number, number) for number in EVERY if number != 16])
    write_bar_pngs(tmp_path, list(zip(FOURTH, FOURTH, strict=True)))
    mask = f"Annotations_6fps/{VIDEO_ID}/000/00008.png"
    (tmp_path / mask).write_bytes(b"\x89PNG\r\n\x1a\n")
    records = read(tmp_path, layout="val")
    assert [(reject.key, reject.path) for reject in rejects_in(records)] == [
        (f"sav/{VIDEO_ID}/00008/000", mask),
        (f"sav/{VIDEO_ID}/00016/000", f"{FOLDER}/00016.jpg"),
    ]


def rewrite_masks(root: Path, numbers: list[int], change: Any) -> None:
    for number in numbers:
        path = root / f"Annotations_6fps/{VIDEO_ID}/000/{number:05d}.png"
        Image.fromarray(np.ascontiguousarray(change(bar_of(number)))).save(path)


@pytest.mark.parametrize("numbers", [FOURTH, [0], [8, 16]])
@pytest.mark.parametrize("change", [np.rot90, lambda mask: mask[:40, :100]], ids=["turned", "cropped"])
def test_a_mask_of_another_size_is_rejected_under_its_own_path(
    tmp_path: Path, numbers: list[int], change: Any
) -> None:
    write_bar_jpegs(tmp_path, [(number, number) for number in EVERY])
    write_bar_pngs(tmp_path, list(zip(FOURTH, FOURTH, strict=True)))
    rewrite_masks(tmp_path, numbers, change)
    records = read(tmp_path, layout="val")
    assert [(reject.key, reject.path) for reject in rejects_in(records)] == [
        (f"sav/{VIDEO_ID}/{number:05d}", f"Annotations_6fps/{VIDEO_ID}/000/{number:05d}.png")
        for number in numbers
    ]
    assert f"the image is {HEIGHT} x {WIDTH} (height x width)" in rejects_in(records)[0].reason
    assert times_in(records) == [number for number in FOURTH if number not in numbers]


def test_a_picture_of_another_size_among_others_that_fit_is_rejected_under_its_own_path(
    tmp_path: Path,
) -> None:
    write_bar_jpegs(tmp_path, [(number, number) for number in EVERY])
    write_bar_pngs(tmp_path, list(zip(FOURTH, FOURTH, strict=True)))
    Image.fromarray(np.rot90(picture_with_bar(8)).copy()).save(tmp_path / FOLDER / "00008.jpg")
    (reject,) = rejects_in(read(tmp_path, layout="val"))
    assert (reject.key, reject.path) == (f"sav/{VIDEO_ID}/00008", f"{FOLDER}/00008.jpg")


def test_pairs_are_named_by_their_video_frames(tmp_path: Path) -> None:
    write_bar_json(tmp_path)
    write_bar_jpegs(tmp_path, [(number, number) for number in FOURTH])
    pairs = [record for record in read(tmp_path, gaps=(1,)) if isinstance(record, Pair)]
    assert [pair.key for pair in pairs[:2]] == [
        f"sav/{VIDEO_ID}/00000+00004/manual-0",
        f"sav/{VIDEO_ID}/00004+00008/manual-0",
    ]


@pytest.mark.parametrize(
    ("present", "frames", "path"),
    [("mp4", "jpeg", FOLDER), ("jpeg", "mp4", VIDEO), ("", "auto", FOLDER)],
)
def test_missing_frames_are_named_by_where_they_were_looked_for(
    tmp_path: Path, present: str, frames: str, path: str
) -> None:
    write_bar_json(tmp_path)
    if present == "mp4":
        write_bar_mp4(tmp_path, EVERY)
    elif present == "jpeg":
        write_bar_jpegs(tmp_path, [(0, 0)])
    assert the_only_reject(read(tmp_path, frames=frames)).path == path
