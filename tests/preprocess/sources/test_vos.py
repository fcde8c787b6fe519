import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from miniature.folders import save_indexed
from miniature.shapes import picture_of
from miniature.vos import frame_labels, write_vos
from numpy.typing import NDArray
from PIL import Image
from records import masks_by_key, of_type, read
from stores import CONFIGS, TINY

from resizeonce.loader import Store
from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.sources.files.masklets import choose_pairs
from resizeonce.preprocess.sources.records import Frame, Pair, Reject, Skip
from resizeonce.preprocess.sources.vos import Options, VosSource
from resizeonce.preprocess.store.root import read_rejects
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

SIZE = (40, 60)


def box(value: int, left: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Return a label map with one upright bar."""
    labels = np.zeros(size, np.uint8)
    labels[5 : size[0] - 5, left : left + 8] = value
    return labels


def put_frame(root: Path, name: str, size: tuple[int, int] = SIZE, seed: int = 1) -> None:
    path = root / "JPEGImages" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture_of(*size, seed)).save(path)


def put_mask(root: Path, name: str, labels: NDArray[np.uint8]) -> None:
    path = root / "Annotations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_indexed(path, labels)


def put_video(root: Path, labels: Iterable[NDArray[np.uint8]], video_id: str = "bear") -> None:
    for number, mask in enumerate(labels):
        put_frame(root, f"{video_id}/{number:05d}.jpg", mask.shape, number)
        put_mask(root, f"{video_id}/{number:05d}.png", mask)


def open_source(root: Path, **options: Any) -> VosSource:
    return VosSource(root, msgspec.convert(options, Options))


# ---- samples


def test_pairs_are_of_an_object_in_two_annotated_frames(tmp_path: Path) -> None:
    write_vos(tmp_path, [("bear", [picture_of(*SIZE, t) for t in range(8)])])
    records = read(open_source(tmp_path, gaps=[1, 2]))
    # Frames 0, 2, 4 and 6 are annotated, and object 2 is not in frame 2.
    expected = {
        "1": choose_pairs(range(4), "bear/1", Options(gaps=(1, 2))),
        "2": choose_pairs({0, 2, 3}, "bear/2", Options(gaps=(1, 2))),
    }
    found = [(pair.object_id, pair.time1, pair.time2) for pair in of_type(Pair, records)]
    assert found == [(name, 2 * a, 2 * b) for name, pairs in expected.items() for a, b in pairs]
    assert {pair.keys for pair in of_type(Pair, records)} <= {
        (f"vos/bear/{a:05d}", f"vos/bear/{b:05d}") for a in (0, 2, 4) for b in (2, 4, 6)
    }
    for frame in of_type(Frame, records):
        labels = frame_labels(*SIZE, frame.time)
        with Image.open(tmp_path / frame.path) as picture:
            assert np.array_equal(frame.image, np.asarray(picture))
        for mask in frame.masks:
            assert np.array_equal(mask.segmentation.decode(), labels == int(mask.object_id))
            assert mask.category == {"1": "person", "2": "dog"}[mask.object_id]
            assert mask.path == f"Annotations/bear/{frame.time:05d}.png"
    assert Skip("frame without a mask, not used, such as 00001.jpg", 4) in records
    assert of_type(Reject, records) == []


@pytest.mark.parametrize(("take", "times"), [("all", [0, 2, 4, 6]), (1, [0, 2, 4, 6]), (2, [0, 4]), (9, [0])])
def test_annotated_frames_are_taken_one_by_one(tmp_path: Path, take: object, times: list[int]) -> None:
    write_vos(tmp_path, [("bear", [picture_of(*SIZE, t) for t in range(8)])])
    source = open_source(tmp_path, take=take)
    assert not source.paired
    records = read(source)
    assert [frame.time for frame in of_type(Frame, records)] == times
    for frame in of_type(Frame, records):
        labels = frame_labels(*SIZE, frame.time)
        assert {mask.object_id for mask in frame.masks} == {
            str(value) for value in np.unique(labels) if value
        }
    assert of_type(Pair, records) == []


def test_frames_without_anybody_belong_to_the_video_where_frames_are_taken_one_by_one(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(0, 5), box(1, 9)])
    frames = of_type(Frame, read(open_source(tmp_path, take="all")))
    assert [(frame.time, len(frame.masks)) for frame in frames] == [(0, 1), (1, 0), (2, 1)]
    assert [frame.time for frame in of_type(Frame, read(open_source(tmp_path)))] == [0, 2]


def test_a_frame_of_which_a_mask_is_a_reject_is_left_out_of_those_taken_one_by_one(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(1, 9), box(1, 13), box(1, 17)])
    (tmp_path / "Annotations/bear/00001.png").write_bytes(b"")
    put_mask(tmp_path, "bear/00002.png", box(1, 13, (60, 40)))
    records = read(open_source(tmp_path, take="all"))
    assert [frame.time for frame in of_type(Frame, records)] == [0, 3]
    assert [reject.key for reject in of_type(Reject, records)] == ["vos/bear/00001", "vos/bear/00002"]


# ---- names


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "bmp", "JPG"])
def test_frames_are_read_whatever_their_ending(tmp_path: Path, suffix: str) -> None:
    """In facebookresearch/sam2 issue 457 a video of .png frames had "0 annotated frames"."""
    for number in range(2):
        put_frame(tmp_path, f"bear/{number:05d}.{suffix}")
        put_mask(tmp_path, f"bear/{number:05d}.png", box(1, 5 + number))
    records = read(open_source(tmp_path))
    assert [frame.path for frame in of_type(Frame, records)] == [
        f"JPEGImages/bear/0000{number}.{suffix}" for number in range(2)
    ]
    assert of_type(Reject, records) == []


def test_frames_and_masks_go_together_by_their_numbers(tmp_path: Path) -> None:
    for number in (8, 9, 10):
        put_frame(tmp_path, f"bear/frame_{number}.jpg", seed=number)
        put_mask(tmp_path, f"bear/{number:05d}.png", box(3, number))
    records = read(open_source(tmp_path, take="all"))
    assert [(frame.key, frame.time) for frame in of_type(Frame, records)] == [
        ("vos/bear/frame_8", 8), ("vos/bear/frame_9", 9), ("vos/bear/frame_10", 10),
    ]  # fmt: skip
    for key, masks in masks_by_key(records).items():
        assert np.array_equal(masks["3"], box(3, int(key.rpartition("_")[2])) == 3)


def test_numbers_that_never_meet_are_shown(tmp_path: Path) -> None:
    for number in range(2):
        put_frame(tmp_path, f"bear/{number:05d}.jpg")
        put_mask(tmp_path, f"bear/{number + 7:05d}.png", box(1, 5))
    [reject] = read(open_source(tmp_path))
    assert (reject.key, reject.path, reject.stage) == ("vos/bear", "Annotations/bear", "read")
    assert reject.reason == (
        "Annotations/bear has 2 masks, 00007.png, 00008.png, but JPEGImages/bear has 2 frames, 00000.jpg, 00001.jpg: "
        "expected the same numbers"
    )


def test_a_folder_of_masks_for_each_object_is_none_of_label_maps(tmp_path: Path) -> None:
    put_frame(tmp_path, "bear/00000.jpg")
    put_mask(tmp_path, "bear/000/00000.png", box(1, 5))
    [reject] = read(open_source(tmp_path))
    assert (
        "Annotations/bear has no masks, but folders such as 000, but JPEGImages/bear has 1 frames"
        in reject.reason
    )


def test_what_has_no_counterpart_is_counted_and_named(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(1, 9), box(1, 13)])
    put_mask(tmp_path, "bear/00007.png", box(1, 5))
    (tmp_path / "Annotations/bear/00001.png").unlink()
    put_frame(tmp_path, "bear/cover.jpg")
    put_frame(tmp_path, "fox/00000.jpg")
    put_mask(tmp_path, "owl/00000.png", box(1, 5))
    counted = {(skip.reason, skip.count) for skip in of_type(Skip, read(open_source(tmp_path)))}
    assert counted == {
        ("video without masks, such as JPEGImages/fox", 1),
        ("masks of a video without frames, such as Annotations/owl", 1),
        ("picture whose name does not end in the number of its frame, not read, such as cover.jpg", 1),
        ("mask without its frame, such as 00007.png", 1),
        ("frame without a mask, not used, such as 00001.jpg", 1),
    }  # fmt: skip


def test_two_files_of_one_number_are_both_rejects(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(1, 9), box(1, 13)])
    put_frame(tmp_path, "bear/1.png")
    records = read(open_source(tmp_path, take="all"))
    assert [(reject.path, reject.reason) for reject in of_type(Reject, records)] == [
        ("JPEGImages/bear/00001.jpg", "1.png has the same number, 1: which is meant is not known"),
        ("JPEGImages/bear/1.png", "00001.jpg has the same number, 1: which is meant is not known"),
    ]
    assert [frame.time for frame in of_type(Frame, records)] == [0, 2]


def test_a_mask_of_another_dataset_that_lies_in_the_folder_is_a_reject(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(1, 9), box(1, 13), box(1, 9)])
    for number in (0, 1):
        put_mask(tmp_path, f"bear/sa_{number}.png", box(1, 5))
    (tmp_path / "Annotations/bear/00001.png").unlink()
    records = read(open_source(tmp_path, take="all"))
    reason = "its name is of another form than others here, such as 00000.png: is it of this video?"
    assert [(reject.path, reject.reason) for reject in of_type(Reject, records)] == [
        ("Annotations/bear/sa_0.png", reason),
        ("Annotations/bear/sa_1.png", reason),
    ]
    # 00000.png is the mask of its frame all the same.
    assert [frame.key for frame in of_type(Frame, records)] == [
        "vos/bear/00000",
        "vos/bear/00002",
        "vos/bear/00003",
    ]


def test_of_names_of_several_forms_none_is_taken_where_none_is_usual(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(1, 9)])
    (tmp_path / "Annotations/bear/00001.png").rename(tmp_path / "Annotations/bear/sa_1.png")
    records = read(open_source(tmp_path, take="all"))
    paths = {reject.path for reject in of_type(Reject, records)}
    assert {"Annotations/bear/00000.png", "Annotations/bear/sa_1.png"} <= paths
    assert not of_type(Frame, records)


def test_names_of_one_form_may_differ_in_their_numbers(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(1, 9)])
    for number in (0, 1):
        for folder, ending in ("JPEGImages", "jpg"), ("Annotations", "png"):
            file = tmp_path / folder / f"bear/{number:05d}.{ending}"
            file.rename(file.with_name(f"cam2_2024010{number}_{number:05d}.{ending}"))
    records = read(open_source(tmp_path, take="all"))
    assert [frame.time for frame in of_type(Frame, records)] == [0, 1]


def test_davis_has_a_folder_more_which_the_config_names(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(1, 9)], "480p/bear")
    put_video(tmp_path, [box(1, 5), box(1, 9)], "480p/fox")
    with pytest.raises(
        SourceError, match=r'folders such as bear: .* set source\.jpeg_folder = "JPEGImages/480p"'
    ):
        open_source(tmp_path)
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/train.txt").write_text("fox\nowl\n../bear\n")
    source = open_source(
        tmp_path,
        jpeg_folder="JPEGImages/480p",
        mask_folder="Annotations/480p",
        video_list="ImageSets/train.txt",
    )
    records = read(source)
    assert {frame.key.rpartition("/")[0] for frame in of_type(Frame, records)} == {"vos/fox"}
    assert [(reject.key, reject.stage) for reject in of_type(Reject, records)] == [
        ("vos/../bear", "index"),
        ("vos/owl", "read"),
    ]


def test_a_list_may_name_videos_with_spaces_and_as_folders(tmp_path: Path) -> None:
    for video_id in ("my cat 1", "fox", "owl"):
        put_video(tmp_path, [box(1, 5), box(1, 9)], video_id)
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfmy cat 1/\r\nowl/ fox/\r\n")
    records = read(open_source(tmp_path, video_list="train.txt"))
    keys = {frame.key.rpartition("/")[0] for frame in of_type(Frame, records)}
    assert keys == {"vos/my cat 1", "vos/owl", "vos/fox"}
    assert not of_type(Reject, records)


def test_folders_without_a_video_in_common_stop_the_run(tmp_path: Path) -> None:
    put_frame(tmp_path, "bear/00000.jpg")
    with pytest.raises(SourceError, match=r"no folder .*Annotations"):
        open_source(tmp_path)
    put_mask(tmp_path, "fox/00000.png", box(1, 5))
    with pytest.raises(
        SourceError, match=r"no video has a folder in both.*1 x video without masks, such as JPEGI"
    ):
        open_source(tmp_path)


# ---- objects


def write_meta(root: Path, objects: dict[str, Any]) -> None:
    (root / "meta.json").write_text(json.dumps({"videos": {"bear": {"objects": objects}}}))


def test_a_value_that_no_listed_object_has_is_part_of_no_mask(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5) + box(4, 30), box(1, 5) + box(255, 30)])
    assert masks_by_key(read(open_source(tmp_path)))["vos/bear/00000"].keys() == {"1", "4"}
    write_meta(tmp_path, {"1": {"category": "bear", "frames": ["00000"]}, "2": {}})
    records = read(open_source(tmp_path))
    assert {tuple(masks) for masks in masks_by_key(records).values()} == {("1",)}
    assert {(skip.reason, skip.count) for skip in of_type(Skip, records)} == {
        ("mask with pixels of the value 255, which are ignored", 1),
        ("value in a mask that no listed object has", 1),
    }
    assert of_type(Reject, records) == [
        Reject("vos/bear/2", "Annotations/bear", "mask", "the object is absent in every frame")
    ]


def test_a_meta_json_of_something_else_is_named(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(1, 9)])
    (tmp_path / "meta.json").write_text('{"fps": 24}')
    with pytest.raises(
        SourceError, match=r'lists no objects of videos .* set source\.meta = "" to go without'
    ):
        open_source(tmp_path)
    assert len(of_type(Frame, read(open_source(tmp_path, meta="")))) == 2
    with pytest.raises(SourceError, match=r"can't read .*xxx.*: File name too long"):
        open_source(tmp_path, meta="x" * 300)


def test_a_video_without_any_object_is_a_reject(tmp_path: Path) -> None:
    put_video(tmp_path, [box(0, 5), box(255, 5)])
    [reject] = of_type(Reject, read(open_source(tmp_path)))
    assert reject.key == "vos/bear"
    assert "has an object: all is 0, or 255, which source.ignored leaves out" in reject.reason
    write_meta(tmp_path, {})
    [reject] = of_type(Reject, read(open_source(tmp_path, ignored=0)))
    assert reject.reason.endswith("or none of the values is an object of the video in meta.json")
    (tmp_path / "meta.json").unlink()
    # As DAVIS of 2016 has its one object.
    [frame] = of_type(Frame, read(open_source(tmp_path, ignored=0)))
    assert [mask.object_id for mask in frame.masks] == ["255"]


def test_a_mask_of_another_size_is_used_where_both_can_be_one_picture_and_counted(tmp_path: Path) -> None:
    put_video(tmp_path, [box(1, 5), box(1, 9), box(1, 9)])
    put_mask(tmp_path, "bear/00001.png", box(1, 9, (80, 120)))
    put_mask(tmp_path, "bear/00002.png", box(1, 9, (80, 60)))
    records = read(open_source(tmp_path, gaps=[1, 2]))
    [reject] = of_type(Reject, records)
    assert (reject.key, reject.path) == ("vos/bear/00002", "Annotations/bear/00002.png")
    assert "annotation describes 80 x 60" in reject.reason
    scaled = "noted: mask in another size than its image, which can be one picture with it"
    assert Skip(scaled, 1) in records


# ---- all of it


def test_a_store_of_frames_one_by_one_has_those_without_anybody(tmp_path: Path) -> None:
    root, out = tmp_path / "raw", tmp_path / "out.zarr"
    put_video(root, [box(1, 5), box(0, 5), box(1, 9), box(0, 5)])
    report = convert(load_config(CONFIGS / "vos.toml", [*TINY, "source.take=all"]), root, out)
    totals = report.attributes["totals"]
    assert (report.attributes["format_version"], totals["images"], totals["masks"]) == (3, 4, 2)
    assert totals["skips"] == {}
    store = Store(out)
    part = store.part(0)
    assert part.column("images/time").tolist() == [0, 1, 2, 3]
    assert part.column("masks/image").tolist() == [0, 2]
    assert [store.key(number) for number in range(len(store))] == ["vos/bear/00000/1", "vos/bear/00002/1"]
    with Image.open(root / "JPEGImages/bear/00001.jpg") as picture:
        resized = np.asarray(picture.resize((48, 48), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(part.array("images/g_pixel_values").row(1), resized)
    found = verify_store(out, VerifyOptions(source=root, sample=None)).findings
    assert [finding.line() for finding in found if finding.level == "damage"] == []


def test_a_store_of_pairs_has_no_image_without_a_mask(tmp_path: Path) -> None:
    root, out = tmp_path / "raw", tmp_path / "out.zarr"
    put_video(root, [box(1, 5), box(0, 5), box(1, 9)])
    report = convert(load_config(CONFIGS / "vos.toml", [*TINY]), root, out)
    assert report.attributes["format_version"] == 1
    assert report.attributes["totals"]["images"] == 2


@pytest.mark.parametrize("take", ["pairs", "all", "2"])
def test_a_store_is_what_its_videos_say(tmp_path: Path, take: str) -> None:
    root, out = tmp_path / "raw", tmp_path / "out.zarr"
    write_vos(root, [(name, [picture_of(*SIZE, t) for t in range(7)]) for name in ("bear", "fox")])
    config = load_config(CONFIGS / "vos.toml", [*TINY, f"source.take={take}"])
    convert(config, root, out)
    store = Store(out)
    assert list(read_rejects(out)) == []
    assert store.paired is (take == "pairs")
    if take != "pairs":
        times = {"all": (0, 2, 4, 6), "2": (0, 4)}[take]
        assert [store.key(number) for number in range(len(store))] == [
            f"vos/{name}/{time:05d}/{value}"
            for name in ("bear", "fox")
            for time in times
            for value in ((1,) if time == 2 else (1, 2))
        ]
    report = verify_store(out, VerifyOptions(source=root, sample=None))
    assert [finding.line() for finding in report.findings if finding.level == "damage"] == []


def test_the_fingerprint_tells_of_each_video_and_list(tmp_path: Path) -> None:
    write_vos(tmp_path, [("bear", [picture_of(*SIZE, t) for t in range(3)])])
    before = open_source(tmp_path).fingerprint()
    assert before.keys() == {"JPEGImages", "Annotations", "meta.json"}
    write_meta(tmp_path, {"1": {}})
    put_frame(tmp_path, "fox/00000.jpg")
    after = open_source(tmp_path).fingerprint()
    assert {name for name in before if before[name] != after[name]} == {"JPEGImages", "meta.json"}
