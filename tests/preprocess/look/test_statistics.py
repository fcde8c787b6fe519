"""What a report says of a store, against what was put into it."""

import weakref
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from known_store import HOSTILE_CLASS
from publishing import published
from stores import VIEWS, coco_store

from resizeonce.loader import Store
from resizeonce.loader.format.recipe import IMAGENET_MEAN, IMAGENET_STD
from resizeonce.loader.part import Part
from resizeonce.preprocess.look import statistics as measured
from resizeonce.preprocess.look.distribution import Distribution, RangeCounter
from resizeonce.preprocess.look.rejects import reject_kinds
from resizeonce.preprocess.look.statistics import Statistics, measure_store
from resizeonce.preprocess.sources.records import Reject


@pytest.fixture(scope="module")
def found(known: Path) -> Statistics:
    return measure_store(known)


def filled(distribution: Distribution) -> dict[float, int]:
    """Return the counts of ranges that have any, by where they begin."""
    pairs = zip(distribution.edges[:-1], distribution.counts, strict=True)
    return {edge: count for edge, count in pairs if count}


def test_rows_classes_and_prompts_are_counted(found: Statistics) -> None:
    assert found.tables == {"images": 2, "masks": 3, "expressions": 4, "samples": 3, "scenes": 3}
    assert found.classes == {"cat": 2, HOSTILE_CLASS: 1}
    assert (found.empty_prompts, found.small_prompts) == (1, 0)


@pytest.mark.parametrize(
    ("name", "counts", "smallest", "mean", "largest"),
    [
        ("area", {1: 1, 200: 1, 20000: 1}, 1, 20201 / 3, 20000),
        ("area_share", {0.0001: 1, 0.01: 1, 0.5: 1}, 0.0001, (0.0001 + 0.01 + 1) / 3, 1),
        ("prompt_cells", {0: 1, 4: 1, 256: 1}, 0, 260 / 3, 256),
        ("masks_per_image", {1: 1, 2: 1}, 1, 1.5, 2),
        ("height", {100: 2}, 100, 100, 100),
        ("width", {100: 1, 180: 1}, 100, 150, 200),
        ("aspect_ratio", {0.91: 1, 1.85: 1}, 1, 1.5, 2),
        ("words", {1: 1, 2: 1, 3: 1, 4: 1}, 1, 2.5, 4),
    ],
)
def test_distributions_are_those_worked_out_by_hand(
    found: Statistics, name: str, counts: dict[float, int], smallest: float, mean: float, largest: float
) -> None:
    distribution = found.distributions[name]
    assert filled(distribution) == counts
    assert distribution.total == sum(counts.values())
    assert [distribution.smallest, distribution.mean, distribution.largest] == pytest.approx(
        [smallest, mean, largest]
    )


def test_channels_are_those_of_the_pictures_beside_the_recipe(found: Statistics) -> None:
    assert found.sampled_images == 2
    pixels, segmenter = found.channels["pixel_values"], found.channels["g_pixel_values"]
    assert pixels.mean == segmenter.mean == [150, 100, 75]
    assert pixels.std == segmenter.std == [50, 0, 25]
    assert pixels.recipe_mean == pytest.approx([123.675, 116.28, 103.53])
    assert segmenter.recipe_mean is None


def test_bytes_by_array_are_the_sizes_of_files(found: Statistics, known: Path) -> None:
    expected: Counter[str] = Counter()
    for path in known.glob("part-*/*/*/**/*"):
        if path.is_file():
            expected["/".join(path.relative_to(known).parts[1:3])] += path.stat().st_size
    listed = {name: count for name, count in found.arrays.items() if name in expected}
    assert listed == expected
    assert next(iter(found.arrays)) == "images/g_pixel_values"


def test_rejects_are_grouped_by_reason_with_the_first_examples(found: Statistics) -> None:
    (kind,) = found.rejects
    assert (kind.stage, kind.count, kind.examples[0].key) == ("read", 1, "refcoco/3")
    rejects = [Reject(f"key/{n}", f"{n}.jpg", "read", f"{n}.jpg has {n} bytes, not '{n}'") for n in range(9)]
    several = reject_kinds([Reject("a", "a", "mask", "another"), *rejects])
    assert [(kind.stage, kind.count) for kind in several] == [("read", 9), ("mask", 1)]
    assert several[0].examples == rejects[:3]


def test_a_url_gives_what_its_folder_gives(
    found: Statistics, known: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with published(known.parent) as publisher:
        assert measure_store(f"{publisher.url}/known.zarr/") == found


def test_of_a_url_images_are_drawn_from_a_few_parts_and_columns_read_of_all(
    converted_once: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measured, "MAX_PARTS_OF_URL", 2)
    with published(converted_once) as publisher:
        found = measure_store(f"{publisher.url}/coco.zarr")
    assert (found.num_parts, found.sampled_parts) == (3, 2)
    assert found.sampled_images < found.tables["images"] == found.distributions["width"].total
    rows = [path for path in publisher.requests if "/images/pixel_values/c/" in path]
    assert len(rows) == 2


def test_the_same_seed_gives_the_same_and_it_is_json(found: Statistics, known: Path) -> None:
    assert measure_store(known, 0) == found
    assert msgspec.json.decode(msgspec.json.encode(found), type=Statistics) == found


def test_more_classes_than_there_is_room_for_are_counted_together(
    known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "MAX_CLASSES", 1)
    found = measure_store(known)
    assert (found.classes, found.other_classes) == ({"cat": 2}, 1)


def test_the_channels_of_any_recipe_are_those_of_its_batches_without_what_was_padded(tmp_path: Path) -> None:
    path = coco_store(tmp_path, *VIEWS).store
    store = Store(path)
    # Each picture has two objects.
    batch = store.batch(range(0, len(store), 2))
    shown = [
        image[:, :height, :width].reshape(3, -1)
        for image, (height, width) in zip(batch["g_pixel_values"], batch["g_pixel_values_sizes"], strict=True)
    ]
    expected = {"g_pixel_values": np.concatenate(shown, 1)}
    for name in ("oblong", "pixel_values"):
        mean, std = np.array([IMAGENET_MEAN, IMAGENET_STD])[:, :, None] * 255
        expected[name] = batch[name].transpose(1, 0, 2, 3).reshape(3, -1) * std + mean
    found = measure_store(path).channels
    assert found.keys() == expected.keys()
    for name, levels in expected.items():
        assert found[name].mean == pytest.approx(levels.mean(1), abs=1e-3)
        assert found[name].std == pytest.approx(levels.std(1), abs=1e-3)


def test_one_part_is_in_memory_at_a_time(converted_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[weakref.ref[Part]] = []
    original = Store.open_part

    def watched(store: Store, number: int) -> Part:
        assert [part for part in opened if part() is not None] == []
        part = original(store, number)
        opened.append(weakref.ref(part))
        return part

    monkeypatch.setattr(Store, "open_part", watched)
    measure_store(converted_once / "coco.zarr")
    assert len(opened) == 3


def test_values_beyond_the_ranges_are_in_the_outer_ones_and_no_value_is_no_range() -> None:
    counter = RangeCounter((0, 10, 100))
    assert counter.distribution() == Distribution([0, 10], [0], True, 0, None, None, None)
    counter.add(np.array([-5, 3, 1000]))
    assert counter.distribution() == Distribution([0, 10, 1001], [2, 1], True, 3, -5, 998 / 3, 1000)
    assert counter.distribution().middle == 0
