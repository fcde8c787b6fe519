import json
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from miniature.folders import labels_of, save_indexed, write_folders
from miniature.shapes import ellipse_of, picture_of
from numpy.typing import NDArray
from PIL import Image
from records import masks_by_key, of_type, read

from resizeonce.loader import Store
from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.sources.folders import FoldersSource, Options
from resizeonce.preprocess.sources.records import Frame, Reject, Skip

SIZE = (40, 60)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    return tmp_path


def put_image(root: Path, name: str, size: tuple[int, int] = SIZE, seed: int = 1) -> NDArray[np.uint8]:
    path = root / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture := picture_of(*size, seed)).save(path)
    return picture


def put_mask(root: Path, name: str, labels: NDArray[Any], **options: Any) -> None:
    path = root / "masks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path, **options)


def ellipse(value: int = 255, size: tuple[int, int] = SIZE, seed: int = 3) -> NDArray[np.uint8]:
    return ellipse_of(*size, seed).astype(np.uint8) * np.uint8(value)


def labels(size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    found = np.zeros(size, np.uint8)
    found[5:20, 5:30], found[22:35, 20:50], found[2:4, 40:55] = 1, 7, 255
    return found


def open_source(root: Path, **options: Any) -> FoldersSource:
    return FoldersSource(root, msgspec.convert(options, Options))


def assert_same(found: dict[str, NDArray[np.bool_]], expected: dict[str, NDArray[Any]]) -> None:
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert np.array_equal(found[name], mask != 0)


# ---- what masks are


def test_an_object_a_value_is_a_mask_and_255_is_none(root: Path) -> None:
    picture = put_image(root, "a.png")
    put_mask(root, "a.png", labels())
    records = read(open_source(root, masks="index"))
    [frame] = of_type(Frame, records)
    assert np.array_equal(frame.image, picture)
    assert (frame.key, frame.path, {mask.path for mask in frame.masks}) == (
        "folders/a", "images/a.png", {"masks/a.png"},
    )  # fmt: skip
    assert_same(masks_by_key(records)["folders/a"], {"1": labels() == 1, "7": labels() == 7})
    assert of_type(Skip, records) == [Skip("mask with pixels of the value 255, which are ignored")]


def test_another_value_may_be_the_ignored_one(root: Path) -> None:
    put_image(root, "a.png")
    put_mask(root, "a.png", labels())
    assert masks_by_key(read(open_source(root, masks="index", ignored=7)))["folders/a"].keys() == {"1", "255"}
    assert masks_by_key(read(open_source(root, masks="index", ignored=0)))["folders/a"].keys() == {
        "1",
        "7",
        "255",
    }


def test_16_bits_may_hold_thousands_of_objects(root: Path) -> None:
    many = np.arange(1, 2401, dtype=np.uint16).reshape(SIZE).repeat(4, axis=0).repeat(4, axis=1)
    put_image(root, "a.png", many.shape)
    put_mask(root, "a.png", many)
    found = masks_by_key(read(open_source(root, masks="index", ignored=65535)))["folders/a"]
    assert list(map(int, found)) == list(range(1, 2401))
    assert np.array_equal(found["700"], many == 700)


def test_binary_is_all_but_0(root: Path) -> None:
    for number, mask in enumerate((ellipse(1), ellipse(255), ellipse_of(*SIZE, 3))):
        put_image(root, f"{number}.png")
        put_mask(root, f"{number}.png", mask)
    put_image(root, "3.png")
    save_indexed(root / "masks" / "3.png", labels_of(*SIZE, 4))
    found = masks_by_key(read(open_source(root, masks="binary")))
    for number in range(3):
        assert_same(found[f"folders/{number}"], {"1": ellipse()})
    assert_same(found["folders/3"], {"1": labels_of(*SIZE, 4)})


def test_a_folder_of_masks_has_an_object_a_file(root: Path) -> None:
    put_image(root, "a.jpg")
    put_mask(root, "a/cup.png", ellipse())
    put_mask(root, "a/left hand.webp", ellipse(seed=5), lossless=True)
    expected = {"cup": ellipse(), "left hand": ellipse(seed=5)}
    assert_same(masks_by_key(read(open_source(root, masks="folder")))["folders/a"], expected)
    source = open_source(root)
    assert_same(masks_by_key(read(source))["folders/a"], expected)
    assert source.skips == (
        Skip("noted: masks taken as folder, since source.masks does not say what they are, such as masks/a/cup.png"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("masks", "mode", "ids", "example"),
    [
        ([ellipse(255), ellipse(255)], "binary", ["1"], "0.png with 0, 255"),
        ([ellipse(1), ellipse(1)], "binary", ["1"], "0.png with 0, 1"),
        ([ellipse(1), ellipse(2)], "index", ["1", "2"], "0.png with 0, 1"),
        ([ellipse(1), labels()], "index", ["1", "7"], "1.png with 0, 1, 7, 255"),
    ],
)
def test_what_nobody_says_is_told_by_the_values_and_said(
    root: Path, masks: list[NDArray[np.uint8]], mode: str, ids: list[str], example: str
) -> None:
    for number, mask in enumerate(masks):
        put_image(root, f"{number}.png")
        put_mask(root, f"{number}.png", mask)
    source = open_source(root)
    found = masks_by_key(read(source))
    assert sorted({object_id for masks in found.values() for object_id in masks}) == ids
    assert source.skips == (
        Skip(f"noted: masks taken as {mode}, since source.masks does not say what they are, such as {example}", 2),
    )  # fmt: skip
    assert source.fingerprint()["masks"] == mode


def test_nothing_is_said_of_masks_of_which_none_can_be_read(root: Path) -> None:
    put_image(root, "a.jpg")
    (root / "masks" / "a.png").write_bytes(b"no picture")
    source = open_source(root)
    assert not source.skips
    (reject,) = of_type(Reject, read(source))
    assert "no image of a known format" in reject.reason


def trimap() -> NDArray[np.uint8]:
    found = ellipse(255)
    found[ellipse_of(*SIZE, 3) & ~np.roll(ellipse_of(*SIZE, 3), 2, axis=1)] = 128
    return found


@pytest.mark.parametrize("masks", [[ellipse(1), ellipse(255)], [labels(), ellipse(255)], [trimap()]])
def test_nothing_is_converted_where_255_may_be_an_object_or_not(
    root: Path, masks: list[NDArray[np.uint8]]
) -> None:
    for number, mask in enumerate(masks):
        put_image(root, f"{number}.png")
        put_mask(root, f"{number}.png", mask)
    with pytest.raises(SourceError, match=r"can't be told whether 255 is an object.*set source.masks = "):
        open_source(root)


def test_a_mask_that_speaks_against_what_was_told_is_a_reject(root: Path) -> None:
    for number in range(65):
        put_image(root, f"{number:02}.png")
        put_mask(root, f"{number:02}.png", ellipse(1))
    # Of 65, those that are looked at are two or three apart.
    put_mask(root, "01.png", labels())
    put_mask(root, "03.png", ellipse(255))
    records = read(open_source(root))
    rejects = of_type(Reject, records)
    assert [(reject.key, reject.path, reject.stage) for reject in rejects] == [
        ("folders/01", "masks/01.png", "mask"),
        ("folders/03", "masks/03.png", "mask"),
    ]
    told = "masks were taken as binary, since those looked at have 0 and 1 alone: set source.masks"
    assert all(told in reject.reason for reject in rejects)
    assert len(of_type(Frame, records)) == 63


@pytest.mark.parametrize("mode", ["binary", "index", "folder"])
def test_masks_that_are_not_exact_are_rejects(root: Path, mode: str) -> None:
    names = ("lossy", "soft", "coloured", "good")
    for name in names:
        put_image(root, f"{name}.png")
    folder = "{}/it" if mode == "folder" else "{}"
    put_mask(root, f"{folder.format('lossy')}.jpg", ellipse())
    large = Image.fromarray(ellipse(size=(160, 240)))
    put_mask(
        root, f"{folder.format('soft')}.png", np.asarray(large.resize(SIZE[::-1], Image.Resampling.BICUBIC))
    )
    colours = np.stack([labels() * 30, labels(), labels()], axis=2).astype(np.uint8)
    put_mask(root, f"{folder.format('coloured')}.png", colours)
    put_mask(root, f"{folder.format('good')}.png", ellipse(9))
    records = read(open_source(root, masks=mode))
    assert [frame.key for frame in of_type(Frame, records)] == ["folders/good"]
    suffixes = {"lossy": "jpg", "soft": "png", "coloured": "png"}
    assert {reject.path for reject in of_type(Reject, records)} == {
        f"masks/{folder.format(name)}.{suffix}" for name, suffix in suffixes.items()
    }
    assert len(of_type(Reject, records)) == 3


# ---- what belongs together


def test_names_match_in_folders_below_and_with_the_images_own_ending(root: Path) -> None:
    for image, mask in (("a/1.JPG", "a/1.png"), ("b/1.webp", "b/1.bmp"), ("c.v2.png", "c.v2.png.png")):
        put_image(root, image)
        put_mask(root, mask, ellipse())
    decomposed = unicodedata.normalize("NFD", "é.png")
    put_image(root, decomposed)
    put_mask(root, unicodedata.normalize("NFC", "é.png"), ellipse())
    source = open_source(root, masks="binary")
    assert [source[number].key for number in range(len(source))] == [
        "folders/a/1", "folders/b/1", "folders/c.v2", f"folders/{decomposed[:-4]}",
    ]  # fmt: skip
    assert len(of_type(Frame, read(source))) == 4
    assert (source.rejects, source.skips) == ([], ())


def test_old_copies_by_jupyter_are_no_images_and_no_masks(root: Path) -> None:
    put_image(root, "0.png")
    put_mask(root, "0.png", ellipse())
    put_image(root, ".ipynb_checkpoints/0-checkpoint.png")
    put_mask(root, ".ipynb_checkpoints/0-checkpoint.png", ellipse(1))
    records = read(open_source(root))
    assert [frame.key for frame in of_type(Frame, records)] == ["folders/0"]
    reason = ".ipynb_checkpoints, old copies by Jupyter, no data, such as images/.ipynb_checkpoints"
    assert Skip(reason, 2) in of_type(Skip, records)


def test_what_has_no_counterpart_is_counted_and_named(root: Path) -> None:
    for name in ("a", "b", "c"):
        put_image(root, f"{name}.png")
    for name in ("a", "d"):
        put_mask(root, f"{name}.png", ellipse())
    source = open_source(root, masks="binary")
    assert source.skips == (
        Skip("image without a mask, such as images/b.png", 2),
        Skip("mask without an image, such as masks/d.png"),
    )
    assert masks_by_key(read(source)).keys() == {"folders/a"}


def test_masks_by_other_names_are_shown_beside_what_is_expected(root: Path) -> None:
    put_image(root, "a.jpg")
    put_mask(root, "a_mask.png", ellipse())
    with pytest.raises(SourceError, match=r"has a\.jpg, .*masks has a_mask\.png; expected masks/0001\.png"):
        open_source(root)


def test_frames_of_another_format_than_others_expect_are_read(root: Path) -> None:
    """In facebookresearch/sam2 issue 457 images that were no .jpg were none."""
    for name in ("00000.png", "00001.webp", "00002.bmp", "00003.jpeg"):
        put_image(root, name)
        put_mask(root, f"{name.partition('.')[0]}.png", ellipse())
    assert len(masks_by_key(read(open_source(root)))) == 4


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_a_folder_that_is_not_there_is_named(root: Path, missing: str) -> None:
    put_image(root, "a.png")
    put_mask(root, "a.png", ellipse())
    (root / missing).rename(root / "other")
    with pytest.raises(SourceError, match=f"no folder .*{missing}"):
        open_source(root)
    (root / missing).mkdir()
    (root / missing / "a.tif").write_bytes(b"")
    with pytest.raises(SourceError, match=r"no picture \(\.jpg, .*picture of a format that is not read"):
        open_source(root)


def test_two_files_of_one_name_are_both_rejects(root: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png", "c.png"):
        put_image(root, name)
    for name in ("a.png", "b.png", "b.bmp", "c.png"):
        put_mask(root, name, ellipse())
    source = open_source(root, masks="binary")
    assert [(reject.path, reject.reason) for reject in source.rejects] == [
        (f"{folder}/{name}", f"{other} has the same name: which is meant is not known")
        for folder, name, other in (
            ("images", "a.jpg", "a.png"),
            ("images", "a.png", "a.jpg"),
            ("masks", "b.bmp", "b.png"),
            ("masks", "b.png", "b.bmp"),
        )
    ]
    assert masks_by_key(read(source)).keys() == {"folders/c"}


def test_two_files_of_one_object_are_both_rejects(root: Path) -> None:
    for name in ("a.png", "b.png"):
        put_image(root, name)
    for name in ("a/cup.png", "a/cup.bmp", "a/box.png", "b/cup.png", "b.png/cup.png"):
        put_mask(root, name, ellipse())
    source = open_source(root)
    assert {(reject.key, reject.path) for reject in source.rejects} == {
        ("folders/a/cup", "masks/a/cup.bmp"),
        ("folders/a/cup", "masks/a/cup.png"),
        ("folders/b/cup", "masks/b/cup.png"),
        ("folders/b.png/cup", "masks/b.png/cup.png"),
    }
    assert {name: set(masks) for name, masks in masks_by_key(read(source)).items()} == {"folders/a": {"box"}}
    # Where nothing is left there is nothing to show what masks were taken for.
    (root / "none.txt").write_text("")
    assert len(open_source(root, split="none")) == 0


def test_a_split_takes_the_names_of_its_list(root: Path) -> None:
    for name in ("a", "b", "c", "d"):
        put_image(root, f"{name}.jpg")
        put_mask(root, f"{name}.png", ellipse())
    (root / "masks" / "d.png").unlink()
    (root / "train.txt").write_text("c\n\n images/a.jpg\nx\nd.jpg\n", "utf-8-sig")
    source = open_source(root, split="train", masks="binary")
    assert masks_by_key(read(source)).keys() == {"folders/a", "folders/c"}
    assert source.rejects == [Reject("folders/x", "train.txt", "index", "'x' is no image of images")]
    assert source.skips == (Skip("image without a mask, such as images/d.jpg"),)
    assert source.fingerprint().keys() == {"files", "train.txt"}
    with pytest.raises(
        SourceError, match=r"can't read .*val\.txt: the file is missing; check --root and source\.split"
    ):
        open_source(root, split="val")


# ---- sizes


def test_a_mask_of_another_size_is_used_where_both_can_be_one_picture_and_counted(root: Path) -> None:
    put_image(root, "a.png", (40, 60))
    put_image(root, "b.png", (40, 60))
    put_mask(root, "a.png", ellipse(size=(80, 120)))
    put_mask(root, "b.png", ellipse(size=(60, 40)))
    records = read(open_source(root))
    assert_same(masks_by_key(records)["folders/a"], {"1": ellipse(size=(80, 120))})
    [reject] = of_type(Reject, records)
    assert (reject.key, reject.path, reject.stage) == ("folders/b/1", "masks/b.png", "mask")
    assert "the image is 40 x 60 (height x width) but its annotation describes 60 x 40" in reject.reason
    scaled = "noted: mask in another size than its image, which can be one picture with it"
    assert Skip(scaled, 1) in records


def test_the_mask_tells_which_way_round_an_image_is(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, size in (("stored", (40, 60)), ("turned", (60, 40))):
        Image.fromarray(picture_of(40, 60, 1)).save(root / "images" / f"{name}.png", exif=exif)
        put_mask(root, f"{name}.png", ellipse(size=size))
    stored, turned = of_type(Frame, read(open_source(root)))
    assert np.array_equal(stored.image, picture_of(40, 60, 1))
    assert np.array_equal(turned.image, np.rot90(picture_of(40, 60, 1), -1))


def test_a_mask_without_an_object_is_left_out_and_counted(root: Path) -> None:
    for name in ("a", "b"):
        put_image(root, f"{name}.png")
    put_mask(root, "a.png", np.zeros(SIZE, np.uint8))
    put_mask(root, "b.png", ellipse())
    for options in ({}, {"masks": "binary"}, {"masks": "index", "ignored": 0}):
        records = read(open_source(root, **options))
        assert [frame.key for frame in of_type(Frame, records)] == ["folders/b"]
        assert Skip("mask without an object") in records
        assert of_type(Reject, records) == []


# ---- expressions


def csv_of(rows: Iterable[tuple[str, object, str]]) -> str:
    return "name,object,text\n" + "".join(f'{name},{number},"{text}"\n' for name, number, text in rows)


def jsonl_of(rows: Iterable[tuple[str, object, str]]) -> str:
    return "".join(json.dumps(dict(zip(("name", "object", "text"), row, strict=True))) + "\n" for row in rows)


@pytest.mark.parametrize(("table", "write"), [("expressions.csv", csv_of), ("expressions.jsonl", jsonl_of)])
def test_expressions_are_those_of_their_object(root: Path, table: str, write: Any) -> None:
    for name in ("a", "b"):
        put_image(root, f"{name}.jpg")
    put_mask(root, "a.png", labels())
    put_mask(root, "b.png", ellipse(3))
    rows = [("a", 7, "the low, wide one"), ("b.jpg", "", "all of it"), ("a", 1, "first"), ("a", 7, "again")]
    (root / table).write_text(write([*rows, ("a", 5, "nobody"), ("x", 1, "nowhere")]), "utf-8-sig")
    records = read(open_source(root, masks="index"))
    said = {
        (frame.key, mask.object_id): mask.expressions
        for frame in of_type(Frame, records)
        for mask in frame.masks
    }
    assert said == {
        ("folders/a", "1"): ("first",),
        ("folders/a", "7"): ("the low, wide one", "again"),
        ("folders/b", "3"): ("all of it",),
    }
    first = 2 if table.endswith("csv") else 1
    assert of_type(Reject, records) == [
        Reject("folders/x", table, "index", f"line {first + 5}: 'x' is no image of images"),
        Reject("folders/a/5", table, "index", f"line {first + 4} is of object '5'; its image has 1, 7"),
    ]


@pytest.mark.parametrize(
    ("table", "content", "reason"),
    [
        ("expressions.csv", "name,text\na,one,two\n", "line 2 has 3 cells, its header 2: a text with a comma stands in quotes"),
        ("expressions.csv", "name,text\na, \n", "line 2 has no text"),
        ("expressions.jsonl", '{"name": "a"}\n', "line 1 is no {name, object, text}: "),
        ("expressions.jsonl", '\n{"name": "a", "text": "' + "x" * 10_001 + '"}\n', "over the limit of 10000"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_expression_is_a_reject(root: Path, table: str, content: str, reason: str) -> None:
    put_image(root, "a.png")
    put_mask(root, "a.png", ellipse())
    (root / table).write_text(content)
    [reject] = open_source(root).rejects
    assert (reject.path, reject.stage) == (table, "index")
    assert reason in reject.reason


def test_a_table_without_its_columns_and_two_tables_stop_the_run(root: Path) -> None:
    put_image(root, "a.png")
    put_mask(root, "a.png", ellipse())
    (root / "expressions.csv").write_text("image,phrase\na,b\n")
    with pytest.raises(SourceError, match="its first line is 'image,phrase', expected name,object,text"):
        open_source(root)
    (root / "expressions.csv").write_text("name,text,text\na,b,c\n")
    with pytest.raises(SourceError, match="names the column text twice"):
        open_source(root)
    (root / "expressions.jsonl").write_text("")
    with pytest.raises(SourceError, match=r"has both expressions\.csv and expressions\.jsonl"):
        open_source(root)


# ---- all of it


def test_the_plain_layout_needs_no_config_of_its_own(tmp_path: Path) -> None:
    root, out = tmp_path / "my_data", tmp_path / "x.zarr"
    write_folders(root, [picture_of(40, 60, seed) for seed in range(3)])
    result = CliRunner().invoke(main, ["convert", "folders", "--root", str(root), "--out", str(out)])
    assert result.exit_code == 0, result.output
    noted = "noted     3: masks taken as index, since source.masks does not say what they are, such as 0000.png with 0, 1, 2"
    assert noted in result.output.splitlines()
    store = Store(out)
    assert store.dataset_type == "folders"
    assert [store.key(number) for number in range(len(store))] == [
        f"folders/{number:04}/{value}" for number in range(3) for value in (1, 2)
    ]
    checked = CliRunner().invoke(main, ["verify", str(out), "--source", str(root)])
    assert (checked.exit_code, "no damage" in checked.output) == (0, True)


def test_the_fingerprint_tells_of_each_change(tmp_path: Path) -> None:
    write_folders(tmp_path, [picture_of(40, 60, seed) for seed in range(2)])
    before = open_source(tmp_path).fingerprint()
    assert before == open_source(tmp_path).fingerprint()
    (tmp_path / "masks" / "0001.png").write_bytes(b"x")
    assert before != open_source(tmp_path, masks="index").fingerprint() | {"masks": "index"}
