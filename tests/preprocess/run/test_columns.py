"""What a store holds beside its views: forecast, told by info, and of pictures that no file of their own shows rightly."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from miniature.every import WRITERS
from miniature.shapes import picture_of
from PIL import Image
from stores import CONFIGS, TINY, coco_config, coco_root, coco_store, pictures, tree_digest

from resizeonce.loader import Store
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.decode.segmentation import Rle
from resizeonce.preprocess.run.convert import RunOptions, convert, open_source
from resizeonce.preprocess.run.forecast import forecast
from resizeonce.preprocess.sources.records import Frame, Mask
from resizeonce.preprocess.store.part_writer import PartWriter
from resizeonce.preprocess.tensors.engine import PILLOW
from resizeonce.preprocess.tensors.recipe import make_tensors

ALL = ("recipe.masks.size=own", "store.boxes=true", "store.keep_source=true", "store.hashes=true")


def test_the_forecast_counts_masks_at_their_own_size_boxes_and_files(tmp_path: Path) -> None:
    root, written, expected = coco_root(tmp_path), [], []
    for name, overrides in (("plain", ALL[:1]), ("all", ALL)):
        config = coco_config(*overrides)
        written.append(convert(config, root, tmp_path / name).attributes["totals"]["bytes"])
        expected.append(forecast(open_source(config, root), config, 5).store_bytes)
    files = sum(path.stat().st_size for path in (root / "train2017").iterdir())
    assert expected[1] - expected[0] == files + 16 * 10 + 32 * 5
    # Of parts with few images, metadata and what fills up the last pieces are much.
    assert files + 320 < written[1] - written[0] < files + 3 * (1 << 16) + 3 * 5000


@pytest.mark.parametrize("workers", [0, 1])
def test_a_conversion_announces_what_its_columns_take(tmp_path: Path, workers: int) -> None:
    root, found = coco_root(tmp_path), []
    for name, overrides in (("plain", ALL[:1]), ("all", ALL)):
        options = RunOptions(workers=workers, announce=found.append)
        convert(coco_config(*overrides), root, tmp_path / name, options)
    smallest = min(path.stat().st_size for path in (root / "train2017").iterdir())
    assert found[1].store_bytes - found[0].store_bytes > 5 * smallest


def test_a_hash_is_of_the_size_and_the_pixels_of_the_raw_file_as_pillow_decodes_it(tmp_path: Path) -> None:
    coco_store(tmp_path, "store.hashes=true")
    attributes = json.loads((tmp_path / "coco.zarr/zarr.json").read_text())["attributes"]["resizeonce"]
    assert (attributes["format_version"], attributes["columns"]) == (3, ["hashes"])
    assert attributes["job"]["store"] == {"scenes_per_part": 2, "hashes": True}
    found = []
    for number in range(3):
        part = zarr.open_group(tmp_path / f"coco.zarr/part-{number:05d}", mode="r")
        found += [row.tobytes() for row in part["images/pixel_sha256"][...]]
    expected = []
    for path in sorted((tmp_path / "coco/train2017").iterdir()):
        image = Image.open(path).convert("RGB")
        sides = image.height.to_bytes(4, "little") + image.width.to_bytes(4, "little")
        expected.append(hashlib.sha256(sides + image.tobytes()).digest())
    assert found == expected


def test_a_store_with_hashes_differs_in_that_array_alone(tmp_path: Path) -> None:
    coco_store(tmp_path / "plain")
    coco_store(tmp_path / "hashes", "store.hashes=true")
    plain, hashes = (
        {
            path.relative_to(store): path.read_bytes()
            for path in store.rglob("*")
            if path.is_file() and path.suffix != ".json"
        }
        for store in (tmp_path / "plain/coco.zarr", tmp_path / "hashes/coco.zarr")
    )
    assert plain.items() <= hashes.items()
    assert {path.parts[2] for path in hashes.keys() - plain.keys()} == {"pixel_sha256"}
    row, same = (Store(tmp_path / name / "coco.zarr")[0] for name in ("plain", "hashes"))
    assert row.keys() == same.keys()


@pytest.mark.parametrize("source", ["npz", "sav", "sa1b", "openimages", "refcoco"])
def test_what_sources_gives_decodes_to_the_frame_of_each_dataset(tmp_path: Path, source: str) -> None:
    WRITERS[source](tmp_path / "raw", pictures()[:4])
    full = ("recipe.pixel_values=false", "recipe.prompt_masks=false", "recipe.g_pixel_values.filter=box")
    config = load_config(CONFIGS / f"{source}.toml", [*TINY, *full, *ALL])
    convert(config, tmp_path / "raw", tmp_path / "out")
    store = Store(tmp_path / "out")
    for sample in range(len(store)):
        for suffix in store.suffixes:
            row = store[sample]
            image = np.asarray(Image.open(io.BytesIO(row[f"sources{suffix}"])).convert("RGB"))
            assert list(image.shape[:2]) == row[f"image_sizes{suffix}"].tolist()
            resized = Image.fromarray(image).resize((48, 48), Image.Resampling.BOX)
            expected = np.asarray(resized).transpose(2, 0, 1)
            assert np.array_equal(row[f"g_pixel_values{suffix}"], expected)


def test_of_a_picture_that_was_turned_there_is_a_file_that_needs_no_turn(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    upright = picture_of(333, 500, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = root / "train2017" / f"{1:012d}.jpg"
    # Stored on its side, and annotated as it is seen.
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(path, "JPEG", quality=95, exif=exif)
    convert(coco_config(*ALL), root, tmp_path / "out")
    row = Store(tmp_path / "out")[0]
    decoded = Image.open(io.BytesIO(row["sources"]))
    assert decoded.format == "PNG"
    assert (decoded.height, decoded.width) == row["masks"].shape == (333, 500)
    turned = Image.open(path).transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(np.asarray(decoded), np.asarray(turned))


def test_a_box_is_in_pixels_of_the_image_where_the_mask_is_of_another_resolution(tmp_path: Path) -> None:
    config = coco_config("recipe.masks.size=own", "store.boxes=true")
    runs = Rle(60, 90, np.array([60 * 30 + 15, 3, 57, 6, 3519], np.int64))
    nothing = Rle(60, 90, np.array([60 * 90], np.int64))
    masks = (Mask("a", runs), Mask("b", nothing, may_be_empty=True))
    frame = Frame("coco/1", "1.jpg", picture_of(30, 45, 0), masks)
    with PartWriter(tmp_path, 0, config.recipe, paired=False, columns=config.store.columns) as writer:
        writer.start_scene(0, "coco/1")
        writer.add_frame(frame, make_tensors(frame.image, frame.segmentations, config.recipe, PILLOW))
        writer.commit()
    group = zarr_of(tmp_path / "part-00000")
    # Columns 30 and 31 of 90, rows 15 to 20 of 60: half of that each way.
    assert group["masks/box"] == [[15.0, 7.5, 16.0, 10.5], [0.0, 0.0, 0.0, 0.0]]
    assert group["masks/masks_size"] == [[60, 90], [60, 90]]
    assert group["masks/masks_offsets"] == [0, 5, 6]
    assert group["masks/masks_runs"] == [1815, 3, 57, 6, 3519, 5400]


def zarr_of(part: Path) -> dict[str, object]:
    """Return the arrays of a part's masks as lists, as zarr reads them."""
    group = zarr.open_group(part / "masks", mode="r")
    return {f"masks/{name}": np.asarray(array[...]).tolist() for name, array in group.arrays()}


def test_info_says_which_columns_there_are_and_no_word_of_prompts_that_there_are_not(tmp_path: Path) -> None:
    coco_store(tmp_path, "recipe.prompt_masks=false", *ALL)
    shown = CliRunner().invoke(main, ["info", str(tmp_path / "coco.zarr")]).output
    assert "columns   boxes, sources, hashes" in shown.splitlines()
    assert "format    version 3" in shown
    assert "prompt" not in shown
    printed = CliRunner().invoke(main, ["info", str(tmp_path / "coco.zarr"), "--json"]).output
    assert json.loads(printed)["columns"] == ["boxes", "sources", "hashes"]


def test_a_store_without_columns_says_nothing_of_them(tmp_path: Path) -> None:
    attributes = coco_store(tmp_path).attributes
    assert "columns" not in attributes
    assert attributes["format_version"] == 1
    assert attributes["job"]["store"] == {"scenes_per_part": 2}


def test_a_lost_part_with_columns_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    coco_store(tmp_path, *ALL)
    before = tree_digest(tmp_path / "coco.zarr")
    shutil.rmtree(tmp_path / "coco.zarr/part-00001")
    coco_store(tmp_path, *ALL)
    assert tree_digest(tmp_path / "coco.zarr") == before
