"""SA-V's videos: which frame of an mp4 is annotated, damaged ones, and a decoder that is missing."""

import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from miniature.sav import frame_of, write_mp4, write_sav_train
from miniature.shapes import picture_of
from sav_reading import ALL_PAIRS, LENGTH, clip, difference, edit, frames_in, read, rejects_in

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources import sav
from resizeonce.preprocess.sources.files import video_frames
from resizeonce.preprocess.sources.records import Reject, Skip
from resizeonce.preprocess.sources.sav import Options, SavSource


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
    assert reject.reason == video_frames.MISSING_DECODER


def test_real_video_frames_are_the_extracted_frames(shared_data: Path) -> None:
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


def test_frames_one_by_one_come_from_an_mp4_as_well(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [("sav_000001", [picture_of(64, 96, t) for t in range(5)])], video=True)
    frames = list(SavSource(tmp_path, Options(take=3))[0].read())
    assert [(frame.path, frame.time) for frame in frames] == [
        ("sav_000/sav_000001.mp4", time) for time in (0, 12)
    ]
