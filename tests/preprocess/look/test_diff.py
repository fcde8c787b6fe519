"""`resizeonce diff`: what it says, against what zarr-python reads and Python's sets of keys."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from click.testing import CliRunner, Result
from miniature.every import WRITERS
from miniature.shapes import picture_of
from publishing import published
from stores import COMPACT_IMAGES, CONFIGS, TINY, VIEWS, coco_store

from resizeonce.loader import Store
from resizeonce.loader.format.metadata import attributes_digest
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.look.diff import DiffOptions, diff_stores
from resizeonce.preprocess.look.differences import ColumnRows, Diff, MaskRows, PixelRows
from resizeonce.preprocess.run.convert import RunOptions, convert

EVERY = DiffOptions(sample=None)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of stores of one COCO tree, and of pairs of videos, made in different ways."""
    folder = tmp_path_factory.mktemp("diff")
    made = {
        "a": (),
        "compact": ("store.scenes_per_part=3", *COMPACT_IMAGES),
        "bicubic": (
            "recipe.pixel_values.filter=bicubic",
            "recipe.masks.filter=cover",
            "store.scenes_per_part=1",
        ),
        "float": ("recipe.pixel_values.stored=float32",),
        "small": ("recipe.masks.size=24",),
        "views": VIEWS,
        "views-float": (*VIEWS, 'recipe.pixel_values={kind="image", size=28, fit="crop", stored="float32"}'),
    }
    for name, overrides in made.items():
        coco_store(folder, *overrides)
        (folder / "coco.zarr").rename(folder / f"{name}.zarr")
    coco_store(folder, limit=4)
    (folder / "coco.zarr").rename(folder / "limited.zarr")
    for source, key, values in (
        ("sav", "pairs_per_object", (4, 2)),
        ("refcoco", "sentence", ("raw", "sent")),
    ):
        WRITERS[source](folder / source, [picture_of(90 + 3 * n, 120, n) for n in range(8)])
        for value in values:
            config = load_config(CONFIGS / f"{source}.toml", [*TINY, f"source.{key}={value}"])
            convert(config, folder / source, folder / f"{source}-{value}.zarr", RunOptions())
    return folder


def diff(folder: Path, a: str, b: str, options: DiffOptions = EVERY) -> Diff:
    return diff_stores(folder / f"{a}.zarr", folder / f"{b}.zarr", options)


def rows_of(found: Diff, name: str) -> Any:
    return next(rows for rows in [*found.views, *found.columns] if rows.name == name)


def keys_of(path: Path) -> list[str]:
    store = Store(path)
    return [store.key(number) for number in range(len(store))]


def arrays(path: Path, name: str) -> Any:
    """Return an array of a store, that of each part after the other's, as zarr-python reads it."""
    group = zarr.open_group(path, mode="r")
    return np.concatenate([np.asarray(group[f"{part}/{name}"]) for part in sorted(group.group_keys())])


def test_parts_of_a_store_at_a_url_that_have_the_same_digests_are_the_same_and_are_not_fetched(
    stores: Path,
) -> None:
    with published(stores) as publisher:
        found = diff_stores(stores / "a.zarr", f"{publisher.url}/a.zarr", EVERY)
    assert found.is_same
    assert not found.made
    assert (found.known, found.drawn) == (found.images.common, 0) == (5, 0)
    assert found.samples.common == len(keys_of(stores / "a.zarr"))
    assert list(found.lines())[-1].startswith("found     the same samples, unless files changed since: ")


def test_parts_of_other_sizes_stored_in_another_form_hold_the_same_samples(stores: Path) -> None:
    found = diff(stores, "a", "compact")
    assert found.is_same
    assert found.samples.common == len(keys_of(stores / "a.zarr"))
    assert (found.known, found.drawn) == (0, 5)
    assert not any(rows.differing for rows in [*found.views, *found.columns])
    made = {fact.name: (fact.a, fact.b) for fact in found.made}
    assert made["recipe.pixel_values.stored"] == ("uint8", "compact")
    assert made["job.store.scenes_per_part"] == (2, 3)
    assert made["root.format_version"] == (1, 2)


def test_by_how_much_pixels_differ_is_what_numpy_finds_in_the_arrays(stores: Path) -> None:
    found = diff(stores, "a", "bicubic")
    a, b = (
        arrays(stores / f"{name}.zarr", "images/pixel_values").astype(np.int16) for name in ("a", "bicubic")
    )
    by, rows = np.abs(a - b), rows_of(found, "pixel_values")
    assert isinstance(rows, PixelRows)
    assert (rows.compared, rows.differing) == (5, int((by.max((1, 2, 3)) > 0).sum()))
    assert (rows.values, rows.changed) == (by.size, int((by > 0).sum()))
    assert (rows.largest, rows.total) == (by.max(), by.sum())
    assert [one.by for one in rows.worst] == sorted(by.max((1, 2, 3)).tolist(), reverse=True)[:3]
    assert rows_of(found, "g_pixel_values").differing == 0
    assert not found.is_same


def test_how_much_masks_differ_is_what_numpy_finds_in_the_arrays(stores: Path) -> None:
    found = diff(stores, "a", "bicubic")
    a, b = (arrays(stores / f"{name}.zarr", "masks/masks") for name in ("a", "bicubic"))
    differing = [(one, other) for one, other in zip(a, b, strict=True) if (one != other).any()]
    ious = [(one & other).sum() / (one | other).sum() for one, other in differing]
    rows = rows_of(found, "masks")
    assert isinstance(rows, MaskRows)
    assert (rows.compared, rows.differing) == (len(a), len(differing))
    assert rows.changed == (a != b).sum() > 0
    assert rows.overlaps == pytest.approx(sum(ious))
    assert rows.worst[0].by == pytest.approx(1 - min(ious))


def test_values_stored_normalised_are_those_levels(stores: Path) -> None:
    found = diff(stores, "a", "float")
    assert found.is_same
    assert rows_of(found, "pixel_values").compared == 5
    other = diff(stores, "views", "views-float")
    rows = rows_of(other, "pixel_values")
    # The filters differ: bicubic and bilinear.
    assert rows.differing == 5
    assert 1 <= rows.largest <= 255


def test_samples_that_one_store_alone_has_are_counted_and_named(stores: Path) -> None:
    found = diff(stores, "a", "limited")
    a, b = keys_of(stores / "a.zarr"), keys_of(stores / "limited.zarr")
    assert found.samples.common == len(set(a) & set(b)) == 4
    assert found.samples.only_a.count == len(set(a) - set(b)) > 0
    assert set(found.samples.only_a.examples) <= set(a) - set(b)
    assert len(found.samples.only_a.examples) == 3
    assert found.samples.only_b.count == 0
    turned = diff(stores, "limited", "a")
    assert turned.samples.only_b.count == found.samples.only_a.count


def test_pairs_are_compared_by_both_of_their_frames(stores: Path) -> None:
    found = diff(stores, "sav-4", "sav-2")
    a, b = (set(keys_of(stores / f"sav-{number}.zarr")) for number in (4, 2))
    assert a - b
    assert found.samples.common == len(a & b)
    assert found.samples.only_a.count == len(a - b)
    assert found.samples.only_b.count == len(b - a)
    assert set(found.samples.only_a.examples) <= a - b
    assert all(rows.differing == 0 for rows in found.views)


def test_other_phrases_of_an_object_are_told_by_its_key(stores: Path) -> None:
    found = diff(stores, "refcoco-raw", "refcoco-sent")
    raw, sent = (Store(stores / f"refcoco-{name}.zarr") for name in ("raw", "sent"))
    differing = {raw.key(n) for n in range(len(raw)) if raw.expressions(n) != sent.expressions(n)}
    rows = rows_of(found, "expressions")
    assert isinstance(rows, ColumnRows)
    assert (rows.compared, rows.differing) == (len(raw), len(differing))
    assert {one.key for one in rows.worst} <= differing
    assert found.is_same is (not differing)


def test_views_of_other_recipes_are_compared_where_names_and_sizes_are_the_same(stores: Path) -> None:
    found = diff(stores, "a", "small")
    assert found.uncompared == {"masks": "48 x 48 in A, 24 x 24 in B"}
    assert [rows.name for rows in found.views] == ["pixel_values", "g_pixel_values", "prompt_masks"]
    found = diff(stores, "a", "views")
    assert found.uncompared == {
        "pixel_values": "32 x 32 in A, 28 x 28 in B",
        "g_pixel_values": "48 x 48 in A, 64 x 64 in B",
        "masks": "48 x 48 in A, its own size in B",
        "oblong": "only B has it",
        "low_masks": "only B has it",
    }
    assert not found.is_same
    lines = list(found.lines())
    assert "view      masks           not compared: 48 x 48 in A, its own size in B" in lines


def test_masks_at_their_own_size_boxes_and_files_of_images_are_compared_too(
    stores: Path, tmp_path: Path
) -> None:
    found = diff(stores, "views", "views-float")
    masks = len(keys_of(stores / "views.zarr"))
    assert (rows_of(found, "masks").compared, rows_of(found, "masks").differing) == (masks, 0)
    assert (rows_of(found, "box").compared, rows_of(found, "box").differing) == (masks, 0)
    assert (rows_of(found, "sources").compared, rows_of(found, "sources").differing) == (5, 0)
    # One object of the tree is another one.
    shutil.copytree(stores / "coco", tmp_path / "coco")
    index = tmp_path / "coco/annotations/instances_train2017.json"
    content = json.loads(index.read_text())
    changed = content["annotations"][0]
    width, height = next(
        (i["width"], i["height"]) for i in content["images"] if i["id"] == changed["image_id"]
    )
    changed["segmentation"] = [[0, 0, 10, 0, 10, 10, 0, 10]]
    index.write_text(json.dumps(content))
    coco_store(tmp_path, *VIEWS)
    found = diff_stores(stores / "views.zarr", tmp_path / "coco.zarr", EVERY)
    rows, boxes, areas = (rows_of(found, name) for name in ("masks", "box", "area"))
    (key,) = (one.key for one in rows.worst)
    assert key == f"coco/{changed['image_id']}/{changed['id']}"
    assert (rows.differing, boxes.differing, areas.differing) == (1, 1, 1)
    old, new = Store(stores / "views.zarr"), Store(tmp_path / "coco.zarr")
    place = keys_of(stores / "views.zarr").index(key)
    a, b = old[place]["masks"], new[place]["masks"]
    assert a.shape == (height, width)
    assert rows.changed == (a != b).sum()
    assert rows.compared == masks
    assert rows.pixels == sum(old[n]["masks"].size for n in range(masks))
    assert areas.largest == abs(int(a.sum()) - 100)


def test_images_in_another_order_are_the_same_and_it_is_said(stores: Path, tmp_path: Path) -> None:
    shutil.copytree(stores / "a.zarr", tmp_path / "b.zarr")
    root = tmp_path / "b.zarr/zarr.json"
    content = json.loads(root.read_text())
    attributes = content["attributes"]["resizeonce"]
    attributes["parts"].reverse()
    attributes["sha256"] = attributes_digest(attributes)
    root.write_text(json.dumps(content))
    found = diff_stores(stores / "a.zarr", tmp_path / "b.zarr")
    assert found.is_same
    assert not found.is_in_order
    assert found.drawn == found.images.common == 5
    assert list(found.lines())[-1] == "found     the same samples, to the last bit, in another order"


def test_a_key_that_stands_twice_is_no_difference_from_a_store_where_it_stands_twice_too(
    stores: Path, tmp_path: Path
) -> None:
    shutil.copytree(stores / "a.zarr", tmp_path / "twice.zarr")
    root = tmp_path / "twice.zarr/zarr.json"
    content = json.loads(root.read_text())
    attributes = content["attributes"]["resizeonce"]
    attributes["parts"].append(attributes["parts"][0])
    attributes["sha256"] = attributes_digest(attributes)
    root.write_text(json.dumps(content))
    keys = keys_of(tmp_path / "twice.zarr")
    assert len(keys) > len(set(keys))
    found = diff_stores(tmp_path / "twice.zarr", tmp_path / "twice.zarr", EVERY)
    assert found.is_same
    assert found.is_in_order
    assert (found.samples.common, found.drawn) == (len(keys), 7)
    once = diff_stores(tmp_path / "twice.zarr", stores / "a.zarr", EVERY)
    assert not once.is_same
    assert (once.images.only_a.count, once.images.only_b.count) == (2, 0)
    assert once.samples.only_a.count == len(keys) - len(set(keys))
    assert (once.samples.common, rows_of(once, "masks").compared) == (len(set(keys)), len(set(keys)))


def test_rejects_that_one_store_alone_lists_are_named(stores: Path, tmp_path: Path) -> None:
    shutil.copytree(stores / "coco", tmp_path / "coco")
    picture = next((tmp_path / "coco/train2017").iterdir())
    picture.write_bytes(b"no picture")
    coco_store(tmp_path)
    found = diff_stores(stores / "a.zarr", tmp_path / "coco.zarr", EVERY)
    assert (found.rejects.common, found.rejects.only_a.count, found.rejects.only_b.count) == (0, 0, 1)
    (example,) = found.rejects.only_b.examples
    assert example.startswith(f"coco/{int(picture.stem)} (")
    assert found.images.only_a.examples == [f"coco/{int(picture.stem)}"]


def test_drawn_images_are_those_of_the_seed_and_no_verdict_is_given_on_others(stores: Path) -> None:
    options = DiffOptions(sample=2, seed=3)
    found, again = (diff(stores, "a", "bicubic", options) for _ in range(2))
    assert found == again
    assert rows_of(found, "pixel_values").compared == found.drawn == 2
    # Tables are compared of everything.
    assert rows_of(found, "area").compared == found.samples.common
    same = diff(stores, "a", "compact", options)
    assert list(same.lines())[-1] == "found     no difference in what was compared"
    assert same.is_same


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["diff", *map(str, arguments)])


def test_the_command_ends_with_4_where_samples_differ_and_0_where_only_their_making_does(
    stores: Path,
) -> None:
    same = run(stores / "a.zarr", stores / "compact.zarr", "--all")
    assert (same.exit_code, same.output.splitlines()[-1]) == (
        0,
        "found     the same samples, to the last bit",
    )
    assert run(stores / "a.zarr", stores / "bicubic.zarr").exit_code == 4
    told = json.loads(run(stores / "a.zarr", stores / "bicubic.zarr", "--json").output)
    found = diff(stores, "a", "bicubic")
    assert told["is_same"] is False
    assert told["views"][0]["changed"] == found.views[0].changed
    assert told["samples"] == {
        "common": found.samples.common,
        "only_a": {"count": 0, "examples": []},
        "only_b": {"count": 0, "examples": []},
    }


def test_a_store_that_is_none_and_one_that_is_damaged_are_errors_in_a_line(
    stores: Path, tmp_path: Path
) -> None:
    missing = run(stores / "a.zarr", tmp_path / "none.zarr")
    assert missing.exit_code == 1
    assert missing.output == (
        f"error: {tmp_path}/none.zarr is no store: {tmp_path}/none.zarr/zarr.json is missing\n"
    )
    shutil.copytree(stores / "bicubic.zarr", tmp_path / "b.zarr")
    (rows,) = (tmp_path / "b.zarr/part-00000/images/pixel_values").glob("c/*/*/*/*")
    content = bytearray(rows.read_bytes())
    content[100] ^= 1
    rows.write_bytes(content)
    # Also where both roots list the digests of one store.
    for sound in ("a", "bicubic"):
        damaged = run(stores / f"{sound}.zarr", tmp_path / "b.zarr")
        assert damaged.exit_code == 1
        assert damaged.output.startswith("error: ")
        assert "row 0 is damaged" in damaged.output
    assert run(stores / "bicubic.zarr", stores / "bicubic.zarr").exit_code == 0
