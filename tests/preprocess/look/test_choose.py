"""Which samples are shown, against what the loader's batches hold."""

from pathlib import Path

import numpy as np
import pytest
from damage import flip_bit, parts_of, read_array, rewrite
from publishing import published
from stores import coco_store

from resizeonce.loader import CacheOptions, Store
from resizeonce.loader.format.recipe import ImageView, Recipe
from resizeonce.preprocess.errors import ConfigError
from resizeonce.preprocess.look.choose import choose_by_chance, choose_by_key, choose_worst


@pytest.fixture(scope="module")
def store(converted_once: Path) -> Store:
    """Ten samples of five pictures, in three parts."""
    return Store(converted_once / "coco.zarr")


def test_the_same_seed_draws_the_same_samples(store: Store) -> None:
    drawn = [choose_by_chance(store, 4, seed) for seed in range(8)]
    assert drawn == [choose_by_chance(store, 4, seed) for seed in range(8)]
    assert len({tuple(choice.samples) for choice in drawn}) > 4
    for choice in drawn:
        assert choice.samples == sorted(set(choice.samples))
        assert len(choice.samples) == 4
    assert choose_by_chance(store, 99, 0).samples == list(range(10))


def test_a_sample_is_found_by_its_key_and_all_of_an_image_by_that_of_the_image(store: Store) -> None:
    keys = [store.key(sample) for sample in range(len(store))]
    assert choose_by_key(store, [keys[7], keys[2]], 12).samples == [7, 2]
    image = keys[4].rpartition("/")[0]
    of_image = [sample for sample, key in enumerate(keys) if key.rpartition("/")[0] == image]
    assert len(of_image) > 1
    assert choose_by_key(store, [image], 12).samples == of_image
    assert choose_by_key(store, [image, keys[4]], 12).samples == of_image
    first = choose_by_key(store, [image], 1)
    assert first.samples == of_image[:1]
    assert f"the first 1 of {len(of_image)}" in first.how


@pytest.mark.parametrize("key", ["coco/1/0", "coco", "", "coco/1/", "\u4e2d"])
def test_a_key_that_no_sample_has_is_told_with_one_that_a_sample_has(store: Store, key: str) -> None:
    with pytest.raises(ConfigError, match="has no sample with the key") as error:
        choose_by_key(store, [store.key(0), key], 12)
    assert repr(key) in str(error.value)
    assert store.key(0) in str(error.value)


def test_the_smallest_prompts_are_those_with_the_fewest_cells(store: Store) -> None:
    cells = store.batch(range(10))["prompt_masks"].sum(axis=(1, 2))
    for count in (3, 10):
        found = choose_worst(store, "smallest-prompts", count, 0, 1).samples
        assert cells[found].tolist() == sorted(cells.tolist())[:count]


def test_the_largest_masks_cover_most_of_their_pictures(tmp_path: Path) -> None:
    coco_store(tmp_path, "recipe.masks.size=own")
    store = Store(tmp_path / "coco.zarr")
    covered = np.array([mask.mean() for mask in store.batch(range(10))["masks"]])
    found = choose_worst(store, "largest-masks", 4, 0, 1).samples
    assert found == np.argsort(-covered)[:4].tolist()


def test_the_least_agreement_has_the_picture_of_which_one_view_is_another(converted: Path) -> None:
    part = parts_of(converted / "coco.zarr")[1]
    rows = read_array(part, "images/pixel_values")
    rewrite(part, "images/pixel_values", np.stack([rows[0], 255 - rows[1]]))
    store = Store(converted / "coco.zarr")
    found = choose_worst(store, "least-agreement", 5, 0, 100)
    images = [store.key(sample).rpartition("/")[0] for sample in found.samples]
    # One sample of each picture, and that picture, the fourth of five, first.
    assert len(set(images)) == 5
    assert images[0] == "coco/4"
    worst, *others = (found.differences[sample] for sample in found.samples)
    assert worst > 40 > 15 > max(others)
    assert others == sorted(others, reverse=True)


def test_of_many_samples_some_are_compared_and_that_is_said(store: Store) -> None:
    found = choose_worst(store, "least-agreement", 2, 3, 6)
    assert found.how == "least agreement of 6 of 10, drawn with seed 3"
    assert set(found.samples) <= set(choose_by_chance(store, 6, 3).samples)


def test_what_is_damaged_is_told_and_the_others_are_chosen_from(converted: Path) -> None:
    flip_bit(converted / "coco.zarr/part-00000/images/pixel_values/c/0/0/0/0", 999)
    flip_bit(converted / "coco.zarr/part-00002/masks/image/c/0", 3)
    store = Store(converted / "coco.zarr")
    for worst in ("smallest-prompts", "largest-masks"):
        found = choose_worst(store, worst, 12, 0, 100)
        assert max(found.samples) < 8
        assert len(found.unread) == 1
        assert "part-00002" in found.unread[0]
    found = choose_worst(store, "least-agreement", 12, 0, 100)
    assert any("part-00000" in one for one in found.unread)
    assert any("part-00002" in one for one in found.unread)
    assert found.samples
    assert choose_by_key(store, [store.key(3)], 1).samples == [3]


def test_of_a_store_at_a_url_one_part_is_fetched(converted_once: Path, tmp_path: Path) -> None:
    with published(converted_once) as publisher:
        store = Store(f"{publisher.url}/coco.zarr", cache=CacheOptions(folder=tmp_path))
        found = choose_by_chance(store, 3, 1)
        assert len({store.row_of(sample)[0] for sample in found.samples}) == 1
        assert " from part-0000" in found.how


def test_what_a_recipe_lacks_can_not_be_the_worst(converted_once: Path) -> None:
    store = Store(converted_once / "coco.zarr")
    store.recipe = Recipe(name="custom", views={"pixel_values": ImageView(size=(32, 32))})
    with pytest.raises(ConfigError, match="has no prompt"):
        choose_worst(store, "smallest-prompts", 3, 0, 10)
    with pytest.raises(ConfigError, match="has one image view, pixel_values"):
        choose_worst(store, "least-agreement", 3, 0, 10)
