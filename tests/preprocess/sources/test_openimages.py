import csv
import io
import os
import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from miniature.openimages import COLUMNS, image_id_of, mask_size_of, write_openimages
from miniature.shapes import ellipse_of, picture_of
from PIL import Image
from records import of_type

from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.sources import openimages
from resizeonce.preprocess.sources.openimages import OpenImagesSource, Options
from resizeonce.preprocess.sources.records import Frame, Reject, Skip

SIZES = ((37, 61), (64, 40), (50, 50))
HEADER = ",".join(COLUMNS) + "\n"
IMAGE_ID = "00e1000000000001"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_openimages(tmp_path, [picture_of(*size, seed) for seed, size in enumerate(SIZES)])
    return tmp_path


def open_source(root: Path, **options: Any) -> OpenImagesSource:
    return OpenImagesSource(root, msgspec.convert(options, Options))


def read(source: OpenImagesSource) -> list[Any]:
    """Everything the source reports, scenes sent through pickle as to a worker."""
    records: list[Any] = list(source.rejects)
    for index in range(len(source)):
        records += pickle.loads(pickle.dumps(source[index])).read()
    return records


def row_of(mask_path: str, image_id: str = IMAGE_ID, label: str = "/m/0bt9lr", box_id: str = "b0") -> str:
    return f"{mask_path},{image_id},{label},{box_id},0,1,0,1,,\n"


def write_one(
    root: Path,
    masks: dict[str, tuple[int, int]],
    rows: str,
    size: tuple[int, int] = (40, 60),
    orientation: int | None = None,
) -> None:
    """Write one image of `size` with half-covered masks of other sizes, and a CSV of `rows`."""
    (root / "train").mkdir()
    (root / "train-masks").mkdir()
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    picture = Image.fromarray(picture_of(*size, 1))
    picture.save(root / "train" / f"{IMAGE_ID}.jpg", quality=95, exif=exif)
    for name, (height, width) in masks.items():
        mask = np.zeros((height, width), np.bool_)
        mask[: height // 2] = True
        Image.fromarray(mask).save(root / "train-masks" / name)
    (root / "train-annotations-object-segmentation.csv").write_text(HEADER + rows)


def test_every_mask_is_read_in_its_own_resolution(root: Path) -> None:
    train, validation = open_source(root), open_source(root, split="validation")
    assert train.dataset_type == "openimage"
    assert not train.paired
    frames = read(train) + read(validation)
    assert [frame.key for frame in frames] == [f"openimages/{image_id_of(n)}" for n in range(3)]
    assert [frame.path.split("/")[0] for frame in frames] == ["train", "train", "validation"]
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, np.asarray(Image.open(root / frame.path)))
        assert [(mask.object_id, mask.category) for mask in frame.masks] == [
            (f"m0bt9lr_{number:04x}0000", "Dog"),
            (f"m0663v_{number:04x}0001", "Pizza"),
        ]
        size = mask_size_of(*SIZES[number], number)
        for place, mask in enumerate(frame.masks):
            assert mask.segmentation.size == size != SIZES[number]
            expected = ellipse_of(*size, number * 10 + place)
            np.testing.assert_array_equal(mask.segmentation.decode(), expected)


def test_masks_are_found_flat_and_by_hex_digit_in_either_case(root: Path) -> None:
    name = f"a{image_id_of(0)[1:]}"
    masks = sorted((root / "train-masks").glob(f"{image_id_of(0)}*"))
    (root / "train" / f"{image_id_of(0)}.jpg").rename(root / "train" / f"{name}.jpg")
    csv_path = root / "train-annotations-object-segmentation.csv"
    csv_path.write_text(csv_path.read_text().replace(image_id_of(0), name))
    for mask, digit in zip(masks, ("a", "A"), strict=True):
        (root / "train-masks" / digit).mkdir()
        mask.rename(root / "train-masks" / digit / mask.name.replace(image_id_of(0), name))
    frames = read(open_source(root))
    assert [(frame.key, len(frame.masks)) for frame in frames] == [
        (f"openimages/{image_id_of(1)}", 2),
        (f"openimages/{name}", 2),
    ]


@pytest.mark.parametrize(
    ("annotations", "images", "masks", "classes"),
    [
        (
            "annotations/{split}-annotations-object-segmentation.csv",
            "images/{split}",
            "masks/{split}",
            "annotations/class-descriptions.csv",
        ),
        (
            "{split}/labels/segmentations.csv",
            "{split}/data",
            "{split}/labels/masks",
            "{split}/metadata/classes.csv",
        ),
    ],
)
def test_other_trees_are_a_matter_of_options(
    root: Path, annotations: str, images: str, masks: str, classes: str
) -> None:
    expected = read(open_source(root, split="validation"))
    options = {"annotations": annotations, "images": images, "masks": masks, "classes": classes}
    for found, option in (
        ("validation-annotations-object-segmentation.csv", annotations),
        ("validation", images),
        ("validation-masks", masks),
        ("class-descriptions-boxable.csv", classes),
    ):
        path = root / "other" / option.replace("{split}", "validation")
        path.parent.mkdir(parents=True, exist_ok=True)
        (root / found).rename(path)
    (frame,) = read(open_source(root / "other", split="validation", **options))
    assert frame.key == expected[0].key
    np.testing.assert_array_equal(frame.image, expected[0].image)
    assert [mask.category for mask in frame.masks] == ["Dog", "Pizza"]


def test_without_class_names_a_category_is_its_label(root: Path) -> None:
    (root / "class-descriptions-boxable.csv").unlink()
    frame = read(open_source(root))[0]
    assert [mask.category for mask in frame.masks] == ["/m/0bt9lr", "/m/0663v"]
    classes = 'LabelName,DisplayName\n/m/0bt9lr,"Dog, or ""hound"""\n\nodd\n'
    (root / "class-descriptions-boxable.csv").write_text(classes)
    frame = read(open_source(root))[0]
    assert [mask.category for mask in frame.masks] == ['Dog, or "hound"', "/m/0663v"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("/m/0bt9lr,Dog\n/m/0bt9lr,Cat\n", "calls '/m/0bt9lr' both 'Dog' and 'Cat'"),
        ("/m/0bt9lr;Dog\n", "has no line of a label and its name"),
    ],
)
def test_class_names_that_are_none_or_two_stop_the_run(root: Path, content: str, fault: str) -> None:
    (root / "class-descriptions-boxable.csv").write_text(content)
    with pytest.raises(SourceError, match=fault):
        open_source(root)


def test_rows_of_an_image_need_not_be_adjacent_and_columns_stand_anywhere(root: Path) -> None:
    expected = read(open_source(root))
    path = root / "train-annotations-object-segmentation.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    rows = [rows[place] for place in (2, 0, 3, 1)]
    columns = ["Clicks", "BoxID", "Extra", "ImageID", "LabelName", "MaskPath"]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    found = read(open_source(root))
    for one, two in zip(expected, found, strict=True):
        assert one.key == two.key
        assert [mask.object_id for mask in one.masks] == [mask.object_id for mask in two.masks]


@pytest.mark.parametrize(("missing", "kind"), [("reject", Reject), ("skip", Skip)], ids=["reject", "skip"])
def test_rows_without_files_are_rejected_or_skipped(root: Path, missing: str, kind: type) -> None:
    (root / "train" / f"{image_id_of(0)}.jpg").unlink()
    next((root / "train-masks").glob(f"{image_id_of(1)}_m0663v*")).unlink()
    absent_image, absent_mask, frame = read(open_source(root, missing=missing))
    assert isinstance(absent_image, kind)
    assert isinstance(absent_mask, kind)
    assert [mask.category for mask in frame.masks] == ["Dog"]
    if kind is Skip:
        assert absent_image == Skip("row whose image is absent", 2)
        assert absent_mask == Skip("row whose mask is absent", 1)
    else:
        assert absent_image.key == f"openimages/{image_id_of(0)}"
        assert absent_mask.key == f"openimages/{image_id_of(1)}/m0663v_00010001"
        assert "missing" in absent_mask.reason


def test_skipping_absent_files_does_not_skip_damaged_ones(root: Path) -> None:
    (root / "train" / f"{image_id_of(0)}.jpg").write_bytes(b"")
    next((root / "train-masks").glob(f"{image_id_of(1)}_m0663v*")).write_bytes(b"<html>")
    image, mask, frame = read(open_source(root, missing="skip"))
    assert (image.key, image.stage) == (f"openimages/{image_id_of(0)}", "decode")
    assert (mask.key, mask.stage) == (f"openimages/{image_id_of(1)}/m0663v_00010001", "decode")
    assert len(frame.masks) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (row_of("../train-masks/good.png"), "MaskPath is '../train-masks/good.png'"),
        (row_of("/etc/passwd"), "MaskPath is '/etc/passwd'"),
        (row_of("a\\good.png"), "bare name"),
        (row_of(".."), "bare name"),
        (row_of(""), "MaskPath is ''"),
        (row_of("x" * 5000), "bare name"),
        (row_of("other.png", box_id=""), "BoxID is ''"),
        (row_of("other.png", box_id="../b"), "BoxID is '../b'"),
        (row_of("other.png", label=""), "LabelName is ''"),
        (row_of("other.png", IMAGE_ID + "/.."), "ImageID is"),
        (row_of("other.png", "../" + IMAGE_ID), "ImageID is"),
        (row_of("other.png", ""), "line 3: ImageID is ''"),
        ("other.png," + IMAGE_ID + "\n", "line 3: 2 fields, expected at least 4"),
        ('"other.png,' + IMAGE_ID + ",/m/0,b\n", "line 3: no CSV"),
        ("\0" * 20 + "\n", "NUL"),
        ("x" * (1 << 21) + "\n", "over 1048575 characters"),
        (row_of("good.png", box_id="b2"), "an earlier row has 'good.png' already"),
        (row_of("other.png"), "an earlier row has 'm0bt9lr_b0' already"),
        (row_of("absent.png", box_id="b2"), "the file is missing"),
        (
            row_of("turned.png", box_id="b2"),
            "the image is 40 x 60 (height x width) but its annotation describes 90 x 60",
        ),
        (row_of("link.png", box_id="b2"), "leads out"),
    ],
)
def test_one_bad_row_is_one_reject(tmp_path: Path, row: str, reason: str) -> None:
    # A good row before and one after it: the damage stays where it is.
    rows = row_of("good.png") + row + row_of("last.png", label="/m/1", box_id="b9")
    sizes = {"good.png": (80, 120), "other.png": (40, 60), "last.png": (20, 30), "turned.png": (90, 60)}
    write_one(tmp_path, sizes, rows)
    (tmp_path / "train-masks" / "link.png").symlink_to(tmp_path / "train" / f"{IMAGE_ID}.jpg")
    reject, frame = read(open_source(tmp_path))
    assert isinstance(reject, Reject)
    assert reason in reject.reason
    assert [mask.object_id for mask in frame.masks] == ["m0bt9lr_b0", "m1_b9"]


def test_an_id_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    write_one(tmp_path, {"good.png": (80, 120)}, row_of("good.png", box_id="00000010"))
    (frame,) = read(open_source(tmp_path))
    assert frame.key == "openimages/00e1000000000001"
    assert frame.masks[0].object_id == "m0bt9lr_00000010"


def test_a_rounded_side_is_the_same_picture(tmp_path: Path) -> None:
    # As in the original: 1024 x 683 and 1600 x 1066.
    write_one(tmp_path, {"good.png": (1066, 1600)}, row_of("good.png"), size=(683, 1024))
    (frame,) = read(open_source(tmp_path))
    assert frame.masks[0].segmentation.size == (1066, 1600)


@pytest.mark.parametrize(
    ("mask_size", "image_size"),
    [((120, 80), (60, 40)), ((80, 120), (40, 60))],
    ids=["as EXIF turns it", "as it is stored"],
)
def test_the_mask_tells_which_way_round_the_picture_is(
    tmp_path: Path, mask_size: tuple[int, int], image_size: tuple[int, int]
) -> None:
    write_one(tmp_path, {"good.png": mask_size}, row_of("good.png"), orientation=6)
    (frame,) = read(open_source(tmp_path))
    assert not frame.unsure_turn
    stored = np.asarray(Image.open(tmp_path / "train" / f"{IMAGE_ID}.jpg"))
    # Orientation 6: the stored picture has to be turned clockwise to stand upright.
    expected = stored if image_size == (40, 60) else np.rot90(stored, -1)
    np.testing.assert_array_equal(frame.image, expected)


def test_a_half_turn_can_not_be_told_from_the_mask_and_is_marked(tmp_path: Path) -> None:
    write_one(tmp_path, {"good.png": (80, 120)}, row_of("good.png"), orientation=3)
    (frame,) = read(open_source(tmp_path))
    assert frame.unsure_turn


def test_of_masks_that_disagree_the_first_decides(tmp_path: Path) -> None:
    rows = row_of("upright.png") + row_of("stored.png", box_id="b1") + row_of("wide.png", box_id="b2")
    sizes = {"upright.png": (120, 80), "stored.png": (80, 120), "wide.png": (10, 90)}
    write_one(tmp_path, sizes, rows, orientation=6)
    stored, wide, frame = read(open_source(tmp_path))
    assert (stored.key, wide.key) == (
        f"openimages/{IMAGE_ID}/m0bt9lr_b1",
        f"openimages/{IMAGE_ID}/m0bt9lr_b2",
    )
    assert frame.image.shape == (60, 40, 3)
    assert [mask.object_id for mask in frame.masks] == ["m0bt9lr_b0"]


def test_a_first_mask_of_another_picture_does_not_cost_the_others(tmp_path: Path) -> None:
    rows = row_of("wide.png") + row_of("upright.png", box_id="b1")
    sizes = {"wide.png": (10, 90), "upright.png": (120, 80)}
    write_one(tmp_path, sizes, rows, orientation=6)
    reject, frame = read(open_source(tmp_path))
    assert "the image is 60 x 40 (height x width) but its annotation describes 10 x 90" in reject.reason
    assert [mask.object_id for mask in frame.masks] == ["m0bt9lr_b1"]


def test_masks_that_fit_no_way_round_are_each_rejected(tmp_path: Path) -> None:
    rows = row_of("wide.png") + row_of("tall.png", box_id="b1")
    write_one(tmp_path, {"wide.png": (10, 90), "tall.png": (90, 10)}, rows)
    records = read(open_source(tmp_path))
    assert [type(record) for record in records] == [Reject, Reject]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16", "0/1"])
def test_a_mask_of_any_mode_covers_what_is_not_zero(tmp_path: Path, mode: str) -> None:
    write_one(tmp_path, {}, row_of("good.png"))
    covered = ellipse_of(80, 120, 1)
    if mode == "0/1":
        picture = Image.fromarray(covered.astype(np.uint8))
    elif mode == "I;16":
        picture = Image.fromarray(covered.astype(np.uint16) * 3)
    elif mode == "P":
        picture = Image.fromarray(covered.astype(np.uint8))
        picture = picture.convert("P")
        # Label 1 is drawn black: the label counts, not its colour.
        picture.putpalette([0, 0, 0] * 256)
    else:
        picture = Image.fromarray(covered).convert(mode)
    picture.save(tmp_path / "train-masks" / "good.png")
    (frame,) = read(open_source(tmp_path))
    np.testing.assert_array_equal(frame.masks[0].segmentation.decode(), covered)


def test_the_masks_of_one_image_have_a_limit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(row_of(f"{n}.png", box_id=f"b{n}") for n in range(4))
    sizes = {"0.png": (40, 60), "1.png": (80, 120), "2.png": (40, 60), "3.png": (40, 60)}
    write_one(tmp_path, sizes, rows)
    monkeypatch.setattr(openimages, "MAX_BITMAP_PIXELS", 3 * 40 * 60)
    reject, frame = read(open_source(tmp_path))
    assert reject.key.endswith("b1")
    assert [mask.object_id for mask in frame.masks] == ["m0bt9lr_b0", "m0bt9lr_b2", "m0bt9lr_b3"]


@pytest.mark.parametrize("what", ["pipe", "device", "huge"])
def test_a_csv_that_is_no_plain_file_is_an_error_and_not_read(root: Path, what: str) -> None:
    path = root / "train-annotations-object-segmentation.csv"
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    with pytest.raises(SourceError, match=r"not a regular file|over the limit"):
        open_source(root)


def test_a_csv_that_is_none_is_an_error_that_says_what_is_lacking(tmp_path: Path) -> None:
    path = tmp_path / "train-annotations-object-segmentation.csv"
    with pytest.raises(SourceError, match="the file is missing"):
        open_source(tmp_path)
    path.write_text(HEADER.replace("MaskPath", "Mask").replace("BoxID", "Box"))
    with pytest.raises(SourceError, match="lacks the column MaskPath, BoxID"):
        open_source(tmp_path)
    path.write_text("")
    with pytest.raises(SourceError, match="lacks the column"):
        open_source(tmp_path)
    path.write_text(f"{HEADER.strip()},ImageID\n")
    with pytest.raises(SourceError, match="has the column ImageID twice"):
        open_source(tmp_path)
    path.write_bytes(HEADER.encode("utf-16"))
    with pytest.raises(SourceError, match="text in UTF-16, expected UTF-8"):
        open_source(tmp_path)
    path.write_text(HEADER)
    assert len(open_source(tmp_path)) == 0


def test_bytes_that_are_no_text_are_spelt_out(tmp_path: Path) -> None:
    write_one(tmp_path, {"good.png": (80, 120)}, "")
    path = tmp_path / "train-annotations-object-segmentation.csv"
    path.write_bytes(
        HEADER.encode() + row_of("good.png").encode() + row_of("b.png").encode().replace(b"b.", b"\xff.")
    )
    reject, frame = read(open_source(tmp_path))
    assert reject.path == "train-masks/\\xff.png"
    assert len(frame.masks) == 1


def test_the_fingerprint_follows_both_tables(root: Path) -> None:
    before = open_source(root).fingerprint()
    assert sorted(before) == ["class-descriptions-boxable.csv", "train-annotations-object-segmentation.csv"]
    (root / "class-descriptions-boxable.csv").write_text("/m/0bt9lr,Hound\n")
    assert open_source(root).fingerprint() != before
    (root / "class-descriptions-boxable.csv").unlink()
    assert sorted(open_source(root).fingerprint()) == ["train-annotations-object-segmentation.csv"]


def test_the_real_sample(shared_data: Path) -> None:
    root = shared_data / "openimages"
    records = read(open_source(root)) + read(open_source(root, split="validation"))
    frames = of_type(Frame, records)
    assert [(frame.key.split("/")[1], len(frame.masks)) for frame in frames] == [
        ("00a1ab47b5439e8c", 1),
        ("00b20c960e6e82c2", 1),
        ("00b68ff0919c939a", 1),
        ("00bd3f67d6e5d850", 2),
        ("000bd0b4fa27644c", 3),
        ("000c6c92c80213ff", 1),
    ]
    assert [reject.key for reject in of_type(Reject, records)] == [
        "openimages/05529ae018130c68",
        "openimages/677c122b0eaa5d16",
    ]
    assert frames[0].masks[0].object_id == "m0bt9lr_ece6d8d8"
    assert {mask.category for frame in frames for mask in frame.masks} == {"Dog", "Taxi"}
    assert frames[0].image.shape == (683, 1024, 3)
    assert frames[0].masks[0].segmentation.size == (1066, 1600)
    for frame in frames:
        np.testing.assert_array_equal(frame.image, np.asarray(Image.open(root / frame.path)))
        for mask in frame.masks:
            (path,) = root.glob(f"*-masks/**/*_{mask.object_id}.png")
            expected = np.asarray(Image.open(path).convert("L")) > 0
            np.testing.assert_array_equal(mask.segmentation.decode(), expected)


def test_a_partial_download_can_be_skipped(shared_data: Path) -> None:
    records = read(open_source(shared_data / "openimages", missing="skip"))
    assert of_type(Skip, records) == [Skip("row whose image is absent", 1)] * 2
    assert not of_type(Reject, records)


def test_the_odd_cases(shared_data: Path) -> None:
    empty, colour, grey, cut = read(open_source(shared_data / "odd" / "openimages"))
    # The empty mask is handed on: that an empty mask is no sample is the writer's rule.
    assert empty.masks[0].segmentation.area == 0
    np.testing.assert_array_equal(colour.masks[0].segmentation.decode(), grey.masks[0].segmentation.decode())
    assert colour.masks[0].segmentation.area == 32825
    assert isinstance(cut, Reject)
    assert (cut.key, cut.stage) == ("openimages/a000000000000004/m0bt9lr_00000003", "decode")


def test_masks_carry_the_boxes_of_their_rows_in_pixels_of_the_mask(root: Path) -> None:
    frames = of_type(Frame, read(open_source(root)))
    masks = [mask for frame in frames for mask in frame.masks]
    assert masks
    for mask in masks:
        y, x = np.nonzero(mask.segmentation.decode())
        # Rows state six digits.
        assert mask.stated_box == pytest.approx((x.min(), y.min(), x.max() + 1, y.max() + 1), abs=0.01)


@pytest.mark.parametrize("text", ["", "wide", "nan", "0.9"])
def test_what_is_no_box_is_not_compared(root: Path, text: str) -> None:
    path = root / "train-annotations-object-segmentation.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    for row in rows:
        row["BoxXMin"] = text
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**row, "BoxXMax": "0.5"} for row in rows)
    masks = [mask for frame in of_type(Frame, read(open_source(root))) for mask in frame.masks]
    assert masks
    assert {mask.stated_box for mask in masks} == {None}
