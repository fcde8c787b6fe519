"""Masks at their own size, boxes, files and hashes: nothing is found in a sound store, and damage of their structure is."""

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import attributes_of, flip_bit, parts_of, read_array, recount_prompts, rewrite, write_attributes
from miniature.coco import write_coco
from miniature.shapes import picture_of
from numpy.typing import NDArray
from PIL import Image
from stores import SIZES, VIEWS, coco_root, coco_store, specs_of

from resizeonce.loader.format.errors import SourceError
from resizeonce.loader.format.shard import shard_path
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

ALL = ("recipe.masks.size=own", "store.boxes=true", "store.keep_source=true", "store.hashes=true")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    coco_store(folder, *ALL)
    return folder / "coco.zarr"


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of many views that keeps its files; its raw dataset is gone."""
    folder = tmp_path_factory.mktemp("views")
    coco_store(folder, *VIEWS)
    (folder / "coco").rename(folder / "gone")
    return folder / "coco.zarr"


@pytest.mark.parametrize("overrides", [*((one,) for one in ALL), ALL], ids=" ".join)
def test_nothing_is_found_in_a_sound_store(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    coco_store(tmp_path, *overrides)
    options = VerifyOptions(values=True, source=tmp_path / "coco", sample=None)
    assert verify_store(tmp_path / "coco.zarr", options).findings == []


@pytest.mark.parametrize(
    ("name", "place", "row"),
    [
        ("images/source_bytes", (1 << 16) + 4 + 9, 1),
        ("masks/masks_runs", 100, 0),
        ("masks/box", 5, None),
        ("images/pixel_sha256", 40, None),
        ("images/source_offsets", 9, None),
        ("masks/masks_size", 9, None),
    ],
)
def test_a_flipped_bit_is_found_where_it_is(
    sound: Path, tmp_path: Path, name: str, place: int, row: int | None
) -> None:
    shutil.copytree(sound, tmp_path / "store")
    flip_bit(tmp_path / "store/part-00000" / shard_path(specs_of(sound)[name]), 8 * place)
    findings = verify_store(tmp_path / "store", VerifyOptions()).findings
    assert [(one.check, one.array, one.row) for one in findings] == [("row-checksum", name, row)]


@pytest.mark.parametrize(
    ("array", "change", "check"),
    [
        ("masks/box", lambda boxes: boxes + np.float32(1), "box"),
        ("masks/box", lambda boxes: boxes[:, [1, 0, 3, 2]], "box"),
        ("masks/box", lambda boxes: boxes * np.nan, "box"),
        ("masks/area", lambda areas: areas + 1, "mask-area"),
        ("masks/masks_size", lambda sizes: sizes[:, ::-1], "mask-size"),
        ("masks/masks_size", lambda sizes: sizes + 1, "mask-runs"),
        ("images/size", lambda sizes: sizes[:, ::-1], "source-file"),
    ],
    ids=[
        "a pixel off",
        "turned",
        "no numbers",
        "another area",
        "height for width",
        "another size",
        "a file of another size",
    ],
)
def test_columns_that_contradict_each_other_are_found_by_their_values(
    sound: Path, tmp_path: Path, array: str, change: Callable[[NDArray[Any]], NDArray[Any]], check: str
) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "store"))
    for part in parts_of(store):
        rewrite(part, array, np.ascontiguousarray(change(read_array(part, array))))
    assert not verify_store(store).is_damaged
    assert check in {one.check for one in verify_store(store, VerifyOptions(values=True)).findings}


def with_sources(store: Path, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    """Change the files that the first part of a store keeps; all together they are as long as they were."""
    part = parts_of(store)[0]
    offsets, encoded = (read_array(part, f"images/source_{ending}") for ending in ("offsets", "bytes"))
    files = change([encoded[first:last].tobytes() for first, last in pairwise(offsets.tolist())])
    rewrite(part, "images/source_offsets", np.cumsum([0, *map(len, files)]))
    rewrite(part, "images/source_bytes", np.frombuffer(b"".join(files), np.uint8))
    assert not verify_store(store).is_damaged
    return store


UPRIGHT, ON_ITS_SIDE = (b"\x12\x00\x03\x00\x00\x00\x01\x00" + bytes([turn]) for turn in (1, 6))
"""The EXIF orientation, its type and its count, as a big-endian TIFF has them."""

FILES: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str, str]] = {
    "of the other image": (lambda files: files[::-1], "source-file", "it is a picture of"),
    "cut": (lambda files: [files[0][:-900] + bytes(900), files[1]], "source-file", "damaged"),
    "no picture": (lambda files: [b"A" * len(files[0]), files[1]], "source-file", "no image of a known format"),
    "turned by EXIF": (
        lambda files: [files[0].replace(UPRIGHT, ON_ITS_SIDE), files[1]], "source-file", "EXIF orientation"),
    "without its end": (lambda files: [b"", files[0] + files[1]], "source-file", "empty"),
}  # fmt: skip


@pytest.fixture(scope="module")
def upright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a COCO tree of which each picture says that it is upright, and its store."""
    folder = tmp_path_factory.mktemp("upright")
    exif = Image.Exif()
    exif[0x0112] = 1
    for path in sorted(coco_root(folder).rglob("*.jpg")):
        with Image.open(path) as picture:
            picture.save(path, exif=exif.tobytes())
    coco_store(folder, *ALL)
    return folder


@pytest.mark.parametrize(("change", "check", "says"), FILES.values(), ids=FILES)
def test_file_that_is_not_its_images_is_found_by_its_values_and_by_the_raw_files(
    upright: Path, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], check: str, says: str
) -> None:
    root = upright / "coco"
    store = with_sources(Path(shutil.copytree(upright / "coco.zarr", tmp_path / "store")), change)
    for options in (
        VerifyOptions(values=True),
        VerifyOptions(source=store, sample=None),
        VerifyOptions(source=root, sample=None),
    ):
        found = [one for one in verify_store(store, options).findings if one.level == "damage"]
        assert found
        if options.source == root and says == "it is a picture of":
            check, says = "source-differs", "it decodes to another picture"
        assert found[0].check == check
        assert says in found[0].found


def one_level_more(images: NDArray[Any]) -> NDArray[Any]:
    changed: NDArray[Any] = images.copy()
    changed[1, 2, 7, 5] ^= 1
    return changed


def test_images_are_made_anew_from_kept_files_without_the_raw_dataset(views: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(views, tmp_path / "store"))
    options = VerifyOptions(source=store, sample=None)
    report = verify_store(store, options)
    assert [(one.check, one.level) for one in report.findings] == [("source-unchecked", "note")]
    assert report.counts["scenes made anew"] == len(SIZES)
    for name in ("oblong", "g_pixel_values"):
        part = parts_of(store)[0]
        rewrite(part, f"images/{name}", one_level_more(read_array(part, f"images/{name}")))
    for asked in (options, VerifyOptions(values=True), VerifyOptions(values=True, source=store, sample=None)):
        found = [one for one in verify_store(store, asked).findings if one.check == "source-differs"]
        assert [(one.part, one.array, one.row) for one in found] == [
            ("part-00000", "images/g_pixel_values", 1),
            ("part-00000", "images/oblong", 1),
        ]


def test_store_without_files_is_no_source_of_itself(tmp_path: Path) -> None:
    coco_store(tmp_path)
    with pytest.raises(SourceError, match="does not keep the files of its images"):
        verify_store(tmp_path / "coco.zarr", VerifyOptions(source=tmp_path / "coco.zarr"))


@pytest.mark.parametrize("view", ["low_masks", "prompt_masks"])
def test_cell_that_the_mask_at_its_own_size_does_not_give_is_found_by_its_values(
    views: Path, tmp_path: Path, view: str
) -> None:
    store = Path(shutil.copytree(views, tmp_path / "store"))
    part = parts_of(store)[0]
    masks = read_array(part, f"masks/{view}")
    rows, down, across = np.nonzero(masks)
    masks[rows[0], down[0], across[0]] = False
    rewrite(part, f"masks/{view}", masks)
    if view == "prompt_masks":
        rewrite(part, "masks/prompt_cells", masks.sum(axis=(1, 2)).astype(np.int32))
        recount_prompts(part)
    assert not verify_store(store).is_damaged
    findings = verify_store(store, VerifyOptions(values=True)).findings
    assert [(one.check, one.array, one.row) for one in findings] == [
        ("masks-disagree", f"masks/{view}", rows[0])
    ]


def beside(boxes: NDArray[Any]) -> NDArray[Any]:
    return boxes + np.array([20, 0, 20, 0], np.float32)


def larger(boxes: NDArray[Any]) -> NDArray[Any]:
    return boxes + np.array([0, -5, 0, 5], np.float32)


def beyond(boxes: NDArray[Any]) -> NDArray[Any]:
    return boxes + np.array([0, 0, 0, 5000], np.float32)


@pytest.fixture(scope="module", params=["pillow-nearest", "touch"])
def boxed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound store of boxes beside masks at a fixed size, by a rule."""
    folder = tmp_path_factory.mktemp("boxed")
    write_coco(folder / "coco", [picture_of(90, 70, 0), picture_of(64, 96, 1)])
    view = f'recipe.masks={{kind="mask", over="g_pixel_values", size=128, filter="{request.param}"}}'
    coco_store(folder, "store.boxes=true", view)
    assert verify_store(folder / "coco.zarr", VerifyOptions(values=True)).findings == []
    return folder / "coco.zarr"


@pytest.mark.parametrize(
    "change", [beside, larger, beyond, np.zeros_like], ids=lambda change: change.__name__
)
def test_box_that_is_not_around_its_mask_is_told_by_a_view_of_a_fixed_size(
    boxed: Path, tmp_path: Path, change: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    store = Path(shutil.copytree(boxed, tmp_path / "store"))
    for part in parts_of(store):
        rewrite(part, "masks/box", change(read_array(part, "masks/box")))
    findings = verify_store(store, VerifyOptions(values=True)).findings
    assert {one.check for one in findings} == {"box"}
    assert {one.row for one in findings} == set(range(len(read_array(parts_of(store)[0], "masks/box"))))


def test_offsets_that_do_not_ascend_are_found(sound: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "store"))
    part = parts_of(store)[0]
    for array in ("images/source_offsets", "masks/masks_offsets"):
        offsets = read_array(part, array)
        offsets[1] = offsets[-1] + 1
        rewrite(part, array, offsets)
    findings = verify_store(store).findings
    assert [(one.check, one.array) for one in findings] == [
        ("offsets", "images/source_offsets"),
        ("offsets", "masks/masks_offsets"),
    ]


def test_boxes_of_other_masks_are_found_by_the_raw_files(sound: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "store"))
    part = parts_of(store)[0]
    rewrite(part, "masks/box", np.roll(read_array(part, "masks/box"), 1, axis=0))
    findings = verify_store(store, VerifyOptions(source=sound.parent / "coco", sample=None)).findings
    assert {one.check for one in findings} == {"box"}


@pytest.mark.parametrize("kept", [True, False], ids=["the kept files", "the raw files"])
def test_a_hash_of_another_picture_is_found_by_the_originals(sound: Path, tmp_path: Path, kept: bool) -> None:
    store = Path(shutil.copytree(sound, tmp_path / "store"))
    part = parts_of(store)[1]
    hashes = read_array(part, "images/pixel_sha256").copy()
    hashes[1, 31] ^= 1
    rewrite(part, "images/pixel_sha256", hashes)
    assert verify_store(store).findings == []
    source = store if kept else sound.parent / "coco"
    findings = verify_store(store, VerifyOptions(source=source, sample=None)).findings
    (found,) = [one for one in findings if one.level == "damage"]
    assert (found.check, found.part, found.row) == ("pixel-hash", "part-00001", 1)


def forget_columns(root: dict[str, object]) -> None:
    del root["columns"]


def lose_boxes(root: dict[str, object]) -> None:
    root["columns"] = ["sources"]


@pytest.mark.parametrize("forge", [forget_columns, lose_boxes], ids=lambda forge: forge.__name__)
def test_columns_that_are_not_those_of_the_job_are_found(
    sound: Path, tmp_path: Path, forge: Callable[[dict[str, object]], None]
) -> None:
    shutil.copytree(sound, tmp_path / "store")
    root = attributes_of(tmp_path / "store")
    forge(root)
    write_attributes(tmp_path / "store", root)
    found = [one.found for one in verify_store(tmp_path / "store", VerifyOptions()).findings]
    assert "the job asks for other columns than the store's" in found
