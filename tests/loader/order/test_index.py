import hashlib
import io
import os
import pickle
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import Any, NamedTuple

import numpy as np
import pytest
from fakes import FakeStore, fake_store
from numpy.typing import NDArray
from stores import coco_store

from resizeonce.loader import Store
from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.order.bits import PartBits
from resizeonce.loader.order.index import Masks, SampleIndex, content_digest
from resizeonce.loader.order.index_file import open_index, save_index
from resizeonce.loader.order.shuffle import hash_words
from resizeonce.loader.order.subset import KeySet, Subset, hash_texts

PARTS = [[3, 1, 40, 2], [], [7], [1, 1, 1, 1, 1, 1, 1, 1, 1], [100, 5]]


@pytest.fixture(params=["single", "paired"])
def store(request: pytest.FixtureRequest) -> FakeStore:
    return fake_store(PARTS, seed=1, pairs=[30, 0, 9, 25, 60] if request.param == "paired" else ())


def numbers(index: SampleIndex, key: int = 0) -> list[int]:
    return index.samples(np.arange(len(index)), key).tolist()


class FrameRow(NamedTuple):
    cells: int
    area: int
    key: str


def slow_rows(store: FakeStore) -> list[tuple[int, tuple[int, int], list[FrameRow]]]:
    """Return of every sample its number, its image (part, row) and its frames' masks, over plain lists."""
    rows, number = [], 0
    for part_number, part in enumerate(store.parts):
        columns = part.columns
        offsets, text = columns["images/key_offsets"].tolist(), columns["images/key_bytes"].tobytes()
        keys = [text[a:b].decode() for a, b in pairwise(offsets)]
        for masks in columns["samples/mask"].tolist():
            frames = [
                FrameRow(
                    int(columns["masks/prompt_cells"][mask]),
                    int(columns["masks/area"][mask]),
                    keys[columns["masks/image"][mask]],
                )
                for mask in masks
            ]
            rows.append((number, (part_number, int(columns["masks/image"][masks[0]])), frames))
            number += 1
    return rows


def slow_hash(text: str) -> int:
    data = text.encode()
    state = len(data) + hash_words(0) & 2**64 - 1
    state = mixed(state)
    for step in range(0, len(data), 8):
        state = mixed(state ^ int.from_bytes(data[step : step + 8], "little"))
    return state


def mixed(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


def scene(store: FakeStore, key: str) -> str:
    return key.rpartition("/")[0] if store.paired else key


def test_without_a_filter_every_sample_is_a_unit_and_no_part_is_opened(store: FakeStore) -> None:
    index = SampleIndex(store)
    assert numbers(index) == [number for number, _, _ in slow_rows(store)]
    assert store.opened == []


@pytest.mark.parametrize(("cells", "area"), [(4, 0), (0, 2500), (6, 1000)])
def test_minima_hold_for_every_frame_and_read_only_their_columns(
    store: FakeStore, cells: int, area: int
) -> None:
    index = SampleIndex(store, Subset(min_prompt_cells=cells, min_area=area))
    expected = [
        number
        for number, _, frames in slow_rows(store)
        if all(frame.cells >= cells and frame.area >= area for frame in frames)
    ]
    assert numbers(index) == expected
    assert ("masks/area" in store.parts[0].asked) == (area > 0)
    assert ("masks/prompt_cells" in store.parts[0].asked) == (cells > 0)
    assert "images/key_bytes" not in store.parts[0].asked


def test_prefixes_and_key_sets_take_the_named_scenes(store: FakeStore, tmp_path: Path) -> None:
    wanted = {"fake/000002", "fake/000004", "fake/000014", "other/1"}
    (tmp_path / "keys.txt").write_text("\n".join(sorted(wanted)) + "\n\n")
    for subset in (Subset(keys=KeySet(wanted)), Subset(keys=KeySet.read(tmp_path / "keys.txt"))):
        expected = [
            number
            for number, _, frames in slow_rows(store)
            if all(scene(store, frame.key) in wanted for frame in frames)
        ]
        assert numbers(SampleIndex(store, subset)) == expected
    prefixes = ("fake/00000", "fake/000014", "fake/0000144444444444444444")
    expected = [
        number
        for number, _, frames in slow_rows(store)
        if all(frame.key.startswith(prefixes) for frame in frames)
    ]
    assert numbers(SampleIndex(store, Subset(key_prefixes=prefixes))) == expected


def test_without_leaves_out_the_named_scenes_and_takes_all_others(store: FakeStore, tmp_path: Path) -> None:
    left_out = {"fake/000002", "fake/000004", "fake/000014", "other/1"}
    (tmp_path / "leaked.txt").write_text("\n".join(sorted(left_out)))
    expected = [
        number
        for number, _, frames in slow_rows(store)
        if not any(scene(store, frame.key) in left_out for frame in frames)
    ]
    leaked = KeySet.read(tmp_path / "leaked.txt")
    assert 0 < len(expected) < len(numbers(SampleIndex(store)))
    assert numbers(SampleIndex(store, Subset(without=leaked))) == expected
    (kept,) = (
        {scene(store, frame.key) for frame in frames}
        for number, _, frames in slow_rows(store)
        if number == expected[0]
    )
    both = Subset(keys=KeySet(kept | left_out), without=leaked)
    assert numbers(SampleIndex(store, both)) == numbers(SampleIndex(store, Subset(keys=KeySet(kept))))
    assert numbers(SampleIndex(store, Subset(without=KeySet([])))) == numbers(SampleIndex(store))


def test_an_index_file_is_of_what_was_left_out(store: FakeStore, tmp_path: Path) -> None:
    subset, cache = Subset(without=KeySet(["fake/000002"])), tmp_path / "index.npy"
    expected = numbers(SampleIndex(store, subset, cache=cache))
    store.opened.clear()
    assert numbers(SampleIndex(store, subset, cache=cache)) == expected
    assert store.opened == []
    for other in (Subset(without=KeySet(["fake/000003"])), Subset(min_area=1)):
        with pytest.raises(StoreError, match="another store or subset"):
            SampleIndex(store, other, cache=cache)


def test_key_ranges_split_a_store_by_scene_into_the_asked_shares() -> None:
    store = fake_store([[2] * 5000, [1] * 5000])
    sides = [set(numbers(SampleIndex(store, Subset(key_range=r)))) for r in ((0, 0.9), (0.9, 1))]
    assert sides[0].isdisjoint(sides[1])
    assert sides[0] | sides[1] == set(range(15_000))
    assert len(sides[0]) / 15_000 == pytest.approx(0.9, abs=0.02)
    for first, second in zip(range(0, 10_000, 2), range(1, 10_000, 2), strict=True):
        assert (first in sides[0]) == (second in sides[0])
    bound = int(0.9 * 2**64)
    assert all((slow_hash(f"fake/{image:06d}") < bound) == (image * 2 in sides[0]) for image in range(500))


def test_both_frames_of_a_video_land_on_the_same_side() -> None:
    text = b"sav/sav_1/00004sav/sav_1/00016still"
    store = fake_store([[1, 1, 1]], pairs=[1])
    store.parts[0].columns |= {
        "images/key_bytes": np.frombuffer(text, np.uint8),
        "images/key_offsets": np.array([0, 15, 30, 35]),
        "samples/mask": np.array([[0, 1]]),
    }
    share = slow_hash("sav/sav_1") / 2**64
    assert len(SampleIndex(store, Subset(key_range=(share - 0.01, share + 0.01)))) == 1
    assert len(SampleIndex(store, Subset(keys=KeySet(["sav/sav_1"])))) == 1
    with pytest.raises(ValueError, match="no sample of"):
        SampleIndex(store, Subset(without=KeySet(["sav/sav_1"])))
    assert len(SampleIndex(store, Subset(without=KeySet(["sav/sav_1/00004"])))) == 1


def test_texts_hash_alike_alone_and_among_longer_ones() -> None:
    texts = ["", "a", "ab", "12345678", "123456789", "ä" * 20, "a\0", "a"]
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)])
    hashes = hash_texts(np.frombuffer(b"".join(encoded), np.uint8), offsets[:-1], offsets[1:])
    assert hashes.tolist() == [slow_hash(text) for text in texts]
    assert len(set(hashes.tolist())) == 7


@pytest.mark.parametrize("subset", [Subset(), Subset(min_prompt_cells=5)])
def test_one_mask_an_image_draws_one_eligible_sample_of_each_image_that_has_any(
    store: FakeStore, subset: Subset
) -> None:
    of_image: dict[tuple[int, ...], list[int]] = {}
    for number, image, frames in slow_rows(store):
        if all(frame.cells >= subset.min_prompt_cells for frame in frames):
            of_image.setdefault(image, []).append(number)
    expected = [of_image[image] for image in sorted(of_image)]
    index = SampleIndex(store, subset, "one")
    assert len(index) == len(expected)
    drawn = [numbers(index, key) for key in range(600)]
    for choices, found in zip(expected, zip(*drawn, strict=True), strict=True):
        assert set(found) <= set(choices)
        if len(choices) < 50:
            assert set(found) == set(choices)
        if len(choices) in (2, 3):
            assert min(Counter(found).values()) > 600 / len(choices) * 0.7


def test_one_mask_an_image_draws_what_it_always_drew(store: FakeStore) -> None:
    single = [1, 3, 31, 44, 46, 53, 54, 55, 56, 57, 58, 59, 60, 159, 166]
    paired = [20, 9, 22, 16, 32, 51, 57, 58, 44, 47, 41, 55, 49, 60, 121, 106]
    found = numbers(SampleIndex(store, Subset(min_prompt_cells=2), "one"), 7)
    assert found == (paired if store.paired else single)


def test_one_mask_an_image_opens_only_the_parts_it_draws_from() -> None:
    store = fake_store(PARTS)
    index = SampleIndex(store, masks="one")
    assert store.opened == []
    index.samples(np.array([len(index) - 1, 0]), 1)
    assert store.opened == [0, 4]


@pytest.mark.parametrize("masks", ["every", "one"])
def test_a_cached_index_spares_reading_and_is_refused_for_anything_else(
    store: FakeStore, tmp_path: Path, masks: Masks
) -> None:
    subset, cache = Subset(min_prompt_cells=3), tmp_path / "index.npy"
    expected = numbers(SampleIndex(store, subset, masks, cache=cache), 5)
    store.opened.clear()
    index = SampleIndex(store, subset, masks, cache=cache)
    assert store.opened == []
    assert numbers(index, 5) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["index.npy"]
    with pytest.raises(StoreError, match="another store or subset"):
        SampleIndex(store, Subset(min_prompt_cells=2), masks, cache=cache)
    store.attributes["parts"][1]["sha256"] = "changed"
    with pytest.raises(StoreError, match="another store or subset"):
        SampleIndex(store, subset, masks, cache=cache)
    cache.write_bytes(cache.read_bytes()[:-1])
    with pytest.raises(StoreError, match="remove it"):
        SampleIndex(store, subset, masks, cache=cache)


def test_an_index_that_fails_to_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_index(tmp_path / "index.npy", "x", [np.zeros(9), np.array([lambda: None], object)])
    assert list(tmp_path.iterdir()) == []


def test_writers_of_one_process_number_write_one_index(tmp_path: Path) -> None:
    class Slow(list[NDArray[Any]]):
        def __iter__(self) -> Iterator[NDArray[Any]]:
            # By now each has begun its file.
            barrier.wait(30)
            return super().__iter__()

    barrier = Barrier(3)
    with ThreadPoolExecutor(3) as threads:
        for written in [
            threads.submit(save_index, tmp_path / "index.npy", "x", Slow([np.arange(9)])) for _ in range(3)
        ]:
            written.result()
    assert [path.name for path in tmp_path.iterdir()] == ["index.npy"]
    with open_index(tmp_path / "index.npy", "x") as read:
        assert read("<i8", (9,)).tolist() == list(range(9))


def saved(*arrays: NDArray[Any] | bytes) -> bytes:
    """Return what `np.save` writes of arrays, one after the other."""
    file = io.BytesIO()
    for array in arrays:
        if isinstance(array, bytes):
            file.write(array)
        else:
            np.save(file, array)
    return file.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    """Return the beginning of an array that is not there."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": shape})
    return file.getvalue()


COUNTS, WORDS = np.array([4, 0]), np.array([0b11110000], np.uint8)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ([], "EOF"),
        ([COUNTS], "EOF|expected uint8"),
        ([header((1 << 40,))], r"it has int64 \[1099511627776\], expected int64 \[2\]"),
        ([header((-2,))], "expected int64"),
        ([b"\x93NUMPY\x01\x00\xff\x00" + b"(" * 255], "EOF in multi-line"),
        ([b"PK\x03\x04" + bytes(100)], "magic"),
        ([np.array([4.0, 0.0]), WORDS], "it has float64"),
        ([np.array([10**9, 0]), WORDS], "its counts are not those of its bits"),
        ([np.array([-4, 0]), WORDS], "its counts are not those of its bits"),
        ([COUNTS, np.array([0b11100001], np.uint8)], "bits of rows that no part has"),
        ([COUNTS, np.array([0b11100000], np.uint8)], "its counts are not those of its bits"),
        ([COUNTS, np.zeros(1 << 10, np.uint8)], r"it has uint8 \[1024\], expected uint8 \[1\]"),
    ],
)
def test_a_file_that_says_what_no_index_does_is_no_index(
    tmp_path: Path, arrays: list[NDArray[Any] | bytes], words: str
) -> None:
    store = fake_store([[1, 1, 1, 1], []], seed=0)
    file = tmp_path / "index"
    subset = Subset(min_area=1)
    assert len(SampleIndex(store, subset, cache=file)) == 4
    identity = np.load(file)
    assert saved(identity, COUNTS, WORDS) == file.read_bytes()
    file.write_bytes(saved(identity, *arrays))
    with pytest.raises(StoreError, match=f"is no index, or damaged .*({words}).*: remove it"):
        SampleIndex(store, subset, cache=file)


def test_an_index_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "index")
    with pytest.raises(StoreError, match="it is a pipe, expected a file"):
        SampleIndex(fake_store([[1]], seed=0), Subset(min_area=1), cache=tmp_path / "index")


@pytest.mark.parametrize("pairs", [(), (6,)])
def test_an_image_of_which_no_sample_is_left_is_an_error_where_one_is_drawn(
    pairs: tuple[int, ...],
) -> None:
    store = fake_store([[2, 2, 2]], seed=0, pairs=pairs)
    index = SampleIndex(store, Subset(min_area=1), "one")
    # What the columns say when they are read again, of a file that was changed or never ascended.
    store.parts[0].columns["masks/image"] = np.zeros(6, np.int64)
    with pytest.raises(StoreError, match="has images without masks"):
        numbers(index)


def test_a_key_of_gigabytes_is_refused_and_not_hashed() -> None:
    store = fake_store([[1, 1]], seed=0)
    columns = store.parts[0].columns
    # Zeros that nobody has written take no memory.
    columns["images/key_bytes"] = np.zeros(1 << 33, np.uint8)
    columns["images/key_offsets"] = np.array([0, 4, 1 << 33])
    with pytest.raises(StoreError, match=r"a key of more than 1,048,576 bytes"):
        SampleIndex(store, Subset(key_range=(0, 0.9)))


def test_an_empty_selection_is_refused(store: FakeStore) -> None:
    with pytest.raises(ValueError, match=r"no sample of .* is in .*min_area=1000000"):
        SampleIndex(store, Subset(min_area=1_000_000))
    with pytest.raises(ValueError, match="no sample"):
        SampleIndex(store, Subset(keys=KeySet([])))
    with pytest.raises(ValueError, match="key_range"):
        Subset(key_range=(0.5, 0.5))


def test_a_text_for_several_and_an_unknown_way_are_refused(store: FakeStore) -> None:
    wrong: Any = "coco/1/"
    with pytest.raises(
        ValueError, match=r"key_prefixes is a tuple of texts, as \('coco/1/',\); not one text"
    ):
        Subset(key_prefixes=wrong)
    wrong = "each"
    with pytest.raises(ValueError, match="masks is 'every' or 'one', not 'each'"):
        SampleIndex(store, masks=wrong)


def test_bits_are_selected_and_ranked_as_a_list_would() -> None:
    random = np.random.default_rng(3)
    rows = [random.random(length) < share for length, share in ((1, 1.0), (0, 0.5), (1000, 0.1), (17, 0.9))]
    bits = PartBits([len(row) for row in rows])
    for part, row in enumerate(rows):
        bits.fill(part, row)
    for part, row in enumerate(rows):
        found: NDArray[np.int64] = np.flatnonzero(row)
        assert bits.select(part, np.arange(len(found))).tolist() == found.tolist()
        places = np.arange(len(row) + 1)
        assert bits.rank(part, places).tolist() == [int(row[:place].sum()) for place in places]
        assert bits.rows(part).tolist() == found.tolist()


def test_the_digest_changes_with_any_part() -> None:
    store = fake_store(PARTS)
    before = content_digest(store.attributes)
    assert (
        before
        == hashlib.sha256(
            "\n".join(["fake", *(part["sha256"] for part in store.attributes["parts"])]).encode()
        ).hexdigest()
    )
    store.attributes["parts"][2]["sha256"] += "0"
    assert content_digest(store.attributes) != before


def test_a_real_store_is_selected_from(tmp_path: Path) -> None:
    coco_store(tmp_path, "source.crowds=true")
    store = Store(tmp_path / "coco.zarr")
    cells = store.batch(range(len(store)), [])["prompt_cells"]
    index = SampleIndex(store, Subset(min_prompt_cells=40))
    assert numbers(index) == np.flatnonzero(cells >= 40).tolist()
    assert 0 < len(index) < len(store)
    images = {store.key(number).rpartition("/")[0] for number in numbers(SampleIndex(store, masks="one"), 4)}
    assert images == {f"coco/{number}" for number in range(1, 6)}
    some = SampleIndex(store, Subset(keys=KeySet(["coco/2", "coco/5"])))
    assert {store.key(number).rpartition("/")[0] for number in numbers(some)} == {"coco/2", "coco/5"}


@pytest.mark.parametrize(
    "refusal", [OSError("9 requested and 4 written"), OSError(28, "No space left on device")]
)
def test_an_index_that_can_not_be_written_is_an_error_that_names_it_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: OSError
) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(np, "save", refuse)
    with pytest.raises(StoreError, match=r"can't be written to .*index: (No space left|the disk is full)"):
        SampleIndex(fake_store([[1]], seed=0), Subset(min_area=1), cache=tmp_path / "index")
    assert not list(tmp_path.iterdir())
