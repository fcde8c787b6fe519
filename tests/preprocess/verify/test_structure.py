"""Careless damage: what the default depth must find, by reading every byte once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import (
    attributes_of,
    cut_short,
    fill_with_zeros,
    flip_bit,
    parts_of,
    read_array,
    reseal,
    rewrite,
    swap,
    write_attributes,
)
from stores import CONFIGS, tree_digest

from resizeonce import loader
from resizeonce.loader.format.errors import FormatVersionError, StoreError
from resizeonce.loader.format.metadata import read_attributes
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.verify.check_store import VerifyOptions, VerifyReport, verify_store

Copy = Callable[[str], Path]

G_PIXELS = "images/g_pixel_values/c/0/0/0/0"


def checks(report: VerifyReport) -> set[str]:
    return {finding.check for finding in report.findings if finding.level == "damage"}


@pytest.mark.parametrize("name", ["coco", "refcoco", "sav"])
def test_sound_store_is_clean_at_every_depth(sound: Path, name: str) -> None:
    options = VerifyOptions(values=True, source=sound / name, sample=None)
    report = verify_store(sound / f"{name}.zarr", options)
    assert [finding.line() for finding in report.findings if finding.level == "damage"] == []
    assert report.depth == "values+source"
    assert report.counts["scenes made anew"] == 4


def test_workers_find_what_one_process_finds(copy_of: Copy, sound: Path) -> None:
    store = copy_of("coco")
    flip_bit(parts_of(store)[1] / G_PIXELS, 99)
    one, two = (
        verify_store(store, VerifyOptions(values=True, source=sound / "coco", workers=workers))
        for workers in (1, 2)
    )
    assert one.findings == two.findings
    assert checks(two) == {"row-checksum"}


def test_flipped_bit_of_a_row_names_part_array_row_key_and_raw_file(copy_of: Copy) -> None:
    store = copy_of("coco")
    flip_bit(parts_of(store)[1] / G_PIXELS, 8 * (3 * 64 * 64 + 4) + 1000)
    (finding,) = verify_store(store).findings
    assert finding.check == "row-checksum"
    assert (finding.part, finding.array, finding.row) == ("part-00001", "images/g_pixel_values", 1)
    assert (finding.key, finding.path) == ("coco/4", "train2017/000000000004.jpg")
    assert "remove that part's folder" in finding.advice


def test_flipped_bit_of_a_mask_names_its_object(copy_of: Copy) -> None:
    store = copy_of("coco")
    flip_bit(parts_of(store)[0] / "masks/masks/c/0/0/0", 50)
    (finding,) = verify_store(store).findings
    assert (finding.array, finding.row, finding.key) == ("masks/masks", 0, "coco/1/10")


@pytest.mark.parametrize("damage", [cut_short, fill_with_zeros, Path.unlink])
def test_every_file_of_a_part_is_missed_when_damaged_whole(
    copy_of: Copy, damage: Callable[[Path], None]
) -> None:
    store = copy_of("refcoco")
    part = parts_of(store)[0]
    for path in sorted(part.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            damage(path)
            assert verify_store(store).is_damaged, path
            path.write_bytes(content)
    assert not verify_store(store).is_damaged


def test_parts_that_are_swapped_are_found(copy_of: Copy) -> None:
    store = copy_of("coco")
    first, second = parts_of(store)
    first.rename(store / "aside")
    second.rename(first)
    (store / "aside").rename(second)
    report = verify_store(store)
    assert {"part-digest", "part-attributes"} <= checks(report)
    assert {finding.part for finding in report.findings} == {"part-00000", "part-00001"}


def test_shards_swapped_between_parts_are_found(copy_of: Copy) -> None:
    store = copy_of("coco")
    first, second = parts_of(store)
    swap(first / G_PIXELS, second / G_PIXELS)
    report = verify_store(store)
    assert checks(report) == {"file-digest"}
    assert len(report.findings) == 2


def test_shards_swapped_between_arrays_of_one_shape_are_found(copy_of: Copy) -> None:
    part = parts_of(store := copy_of("coco"))[0]
    swap(part / "masks/area/c/0", part / "masks/image/c/0")
    assert "file-digest" in checks(verify_store(store))


def test_missing_and_extra_parts_are_found(copy_of: Copy) -> None:
    store = copy_of("coco")
    parts_of(store)[0].rename(store / "part-00007")
    report = verify_store(store)
    assert {"missing-part", "extra-part"} <= checks(report)


def test_file_that_the_part_does_not_list_is_found(copy_of: Copy) -> None:
    store = copy_of("coco")
    (parts_of(store)[0] / "images/g_pixel_values/c/1").write_bytes(b"x")
    assert checks(verify_store(store)) == {"extra-file"}


def test_leftovers_of_a_killed_run_are_notes(copy_of: Copy) -> None:
    store = copy_of("coco")
    (store / ".lock").touch()
    (store / ".attempts" / "part-00009.1234").mkdir(parents=True)
    report = verify_store(store)
    assert [finding.check for finding in report.findings] == ["leftover", "leftover"]
    assert not report.is_damaged


def test_rewritten_shard_with_right_checksums_is_found_by_its_digest(copy_of: Copy) -> None:
    store = copy_of("coco")
    part = parts_of(store)[0]
    metadata = (part / "zarr.json").read_bytes(), (store / "zarr.json").read_bytes()
    rewrite(part, "masks/area", read_array(part, "masks/area") + 1)
    for path, content in zip((part / "zarr.json", store / "zarr.json"), metadata, strict=True):
        path.write_bytes(content)
    assert checks(verify_store(store)) == {"file-digest"}


@pytest.mark.parametrize(
    ("array", "row", "value", "check"),
    [
        ("masks/image", 3, 99, "table-join"),
        ("masks/image", 0, 1, "row-order"),
        ("expressions/mask", 0, -1, "table-join"),
        ("samples/mask", 1, 0, "unique"),
        ("images/size", 0, 0, "value-range"),
        ("images/scene", 1, 77, "value-range"),
        ("images/scene", 1, 0, "row-order"),
        ("masks/area", 0, -4, "value-range"),
        ("images/key_offsets", 1, 10**6, "text-offsets"),
        ("images/key_bytes", 0, 0xFF, "text-utf8"),
        ("masks/prompt_cells", 0, 0, "totals"),
    ],
)
def test_tables_that_break_a_rule_are_found_though_every_digest_agrees(
    copy_of: Copy, array: str, row: int, value: int, check: str
) -> None:
    store = copy_of("refcoco")
    part = parts_of(store)[0]
    column = read_array(part, array)
    column[row] = value
    rewrite(part, array, column)
    assert check in checks(verify_store(store))


def test_pair_whose_later_frame_is_first_is_found(copy_of: Copy) -> None:
    store = copy_of("sav")
    part = parts_of(store)[0]
    rewrite(part, "samples/mask", read_array(part, "samples/mask")[:, ::-1])
    assert checks(verify_store(store)) == {"pair-time"}


def test_pair_of_two_objects_is_found(copy_of: Copy) -> None:
    store = copy_of("sav")
    part = parts_of(store)[0]
    samples = read_array(part, "samples/mask")
    offsets, names = read_array(part, "masks/object_id_offsets"), read_array(part, "masks/object_id_bytes")
    mask = int(samples[0, 1])
    names[offsets[mask + 1] - 1] ^= 1
    rewrite(part, "masks/object_id_bytes", names)
    assert "pair" in checks(verify_store(store))


def test_key_that_an_earlier_part_has_is_found(copy_of: Copy) -> None:
    store = copy_of("coco")
    first, second = parts_of(store)
    rewrite(second, "images/key_bytes", read_array(first, "images/key_bytes"))
    assert checks(verify_store(store)) == {"unique", "scenes"}


def test_metadata_that_the_layout_does_not_have_is_found(copy_of: Copy) -> None:
    store = copy_of("coco")
    part = parts_of(store)[0]
    path = part / "masks/masks/zarr.json"
    metadata = json.loads(path.read_bytes())
    metadata["dimension_names"] = ["mask", "x", "y"]
    path.write_text(json.dumps(metadata))
    report = verify_store(store)
    assert any("dimension_names" in finding.found for finding in report.findings)


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("fingerprint", "0" * 64, "fingerprint"),
        ("dataset", "other", "job"),
        ("dataset_type", "image net", "root-attributes"),
        ("paired", 3, "root-attributes"),
    ],
)
def test_root_attribute_that_can_not_be_true_is_found(
    copy_of: Copy, name: str, value: object, check: str
) -> None:
    store = copy_of("coco")
    write_attributes(store, attributes_of(store) | {name: value})
    assert check in checks(verify_store(store))


def test_what_a_newer_writer_adds_is_a_note(copy_of: Copy) -> None:
    store = copy_of("coco")
    part = parts_of(store)[0]
    reseal(part, attributes_of(part) | {"surprise": 1})
    write_attributes(store, attributes_of(store) | {"surprise": [1]})
    report = verify_store(store)
    assert [(finding.check, finding.level) for finding in report.findings] == [
        ("root-attributes", "note"),
        ("part-attributes", "note"),
    ]
    assert "surprise" in report.findings[0].found
    assert len(loader.Store(store)[0]["key"]) > 0


def test_root_that_changed_is_found_and_not_opened(copy_of: Copy) -> None:
    store = copy_of("coco")
    path = store / "zarr.json"
    path.write_text(path.read_text().replace('"crowd annotation": 4', '"crowd annotation": 5'))
    assert "root-digest" in checks(verify_store(store))
    with pytest.raises(StoreError, match="resizeonce verify"):
        read_attributes(store)


def test_recipe_that_is_not_what_its_name_says_is_found(copy_of: Copy) -> None:
    store = copy_of("full")
    root = attributes_of(store)
    root["recipe"]["prompt_masks"]["filter"] = "cover"
    write_attributes(store, root)
    assert {"recipe", "job"} <= checks(verify_store(store))


@pytest.mark.parametrize("name", ["images", "empty_prompts", "skips", "rejects"])
def test_totals_that_do_not_add_up_are_found(copy_of: Copy, name: str) -> None:
    store = copy_of("coco")
    root = attributes_of(store)
    root["totals"][name] = {"x": 1} if isinstance(root["totals"][name], dict) else 12345
    write_attributes(store, root)
    assert checks(verify_store(store)) == {"totals"}


def test_part_whose_rows_disagree_with_the_root_is_found(copy_of: Copy) -> None:
    store = copy_of("coco")
    part = parts_of(store)[0]
    attributes = attributes_of(part)
    attributes["bytes"] += 1
    reseal(part, attributes)
    assert checks(verify_store(store)) == {"part-attributes"}


def test_root_without_zarr_json_is_damage_where_parts_are(copy_of: Copy) -> None:
    store = copy_of("coco")
    (store / "zarr.json").unlink()
    assert checks(verify_store(store)) == {"missing-file"}


def test_folder_that_is_no_store_is_an_error_not_damage(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no store"):
        verify_store(tmp_path)
    with pytest.raises(StoreError, match="no such folder"):
        verify_store(tmp_path / "absent")


def test_sound_store_of_another_version_is_an_error_not_damage(copy_of: Copy) -> None:
    store = copy_of("coco")
    write_attributes(store, attributes_of(store) | {"format_version": 4})
    with pytest.raises(FormatVersionError, match="version 4"):
        verify_store(store)


def test_removing_a_damaged_part_and_converting_again_mends_the_store(copy_of: Copy, sound: Path) -> None:
    store = copy_of("coco")
    part = parts_of(store)[1]
    flip_bit(part / G_PIXELS, 5)
    shutil.rmtree(part)
    overrides = ["store.scenes_per_part=2"]
    overrides += [
        f"recipe.{name}.size={size}" for name, size in (("pixel_values", 28), ("g_pixel_values", 64))
    ]
    config = load_config(CONFIGS / "coco.toml", [*overrides, "recipe.masks.size=64"])
    convert(config, sound / "coco", store, RunOptions(engine="pillow"))
    assert tree_digest(store) == tree_digest(sound / "coco.zarr")


def test_every_uint8_of_a_text_column_counts(copy_of: Copy) -> None:
    part = parts_of(copy_of("refcoco"))[0]
    texts = read_array(part, "expressions/text_bytes")
    assert "garçon".encode() in np.asarray(texts).tobytes()
