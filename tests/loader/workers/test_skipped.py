"""With `on_damage="skip"` another sample of the same batch stands in for a damaged one, and all else is as it was."""

import pickle
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import flip_bit
from miniature.npz import write_npz_pairs
from miniature.shapes import picture_of
from publishing import published
from stores import COMPACT_IMAGES, CONFIGS, TINY, specs_of

from resizeonce.loader import (
    BatchLoader,
    BatchOptions,
    CacheOptions,
    Order,
    OrderOptions,
    SampleError,
    SampleIndex,
    Store,
)
from resizeonce.loader.fill import BatchRows
from resizeonce.loader.format.shard import shard_path
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

WAYS = [(0, "thread"), (2, "thread"), (2, "process")]


def damage_mask(store: Path, sample: int) -> None:
    """Flip a bit of the row that only one sample has: its mask."""
    part, masks = Store(store).locate(sample)
    array = part.array("masks/masks")
    flip_bit(array.path, 8 * array.span(int(masks[-1]))[0])


def new_loader(
    *stores: Path | Store, workers: int = 0, batch_size: int = 5, shuffle: bool = False, **options: Any
) -> BatchLoader:
    opened = [one if isinstance(one, Store) else Store(one) for one in stores]
    chosen = OrderOptions(seed=3) if shuffle else OrderOptions(shuffle=None)
    order = Order([SampleIndex(one) for one in opened], chosen)
    skipping = BatchOptions(**{"on_damage": "skip", "mode": "thread"} | options)
    return BatchLoader(order, batch_size, workers, options=skipping)


def assert_stand_ins(
    batches: Sequence[dict[str, Any]], sound: Sequence[dict[str, Any]], sources: Sequence[Sequence[int]]
) -> None:
    """Assert that each place of each batch has what the batch of the sound store has at another one."""
    assert len(batches) == len(sound) == len(sources)
    for batch, expected, places in zip(batches, sound, sources, strict=True):
        assert batch.keys() == expected.keys()
        for key, value in expected.items():
            if key == "seed":
                # Of the place in the epoch, whoever stands there.
                continue
            if key in ("dataset_type", "has_paired_frame") and not isinstance(value, list):
                assert batch[key] == value
            elif isinstance(value, list):
                assert batch[key] == [value[place] for place in places], key
            else:
                assert np.array_equal(batch[key].numpy(), value.numpy()[list(places)]), key


@pytest.fixture
def broken(store: Path, tmp_path: Path) -> Path:
    """The store of this folder's tests, to be damaged."""
    return Path(shutil.copytree(store, tmp_path / "broken.zarr"))


@pytest.mark.filterwarnings("ignore:another sample")
@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_the_next_sample_that_can_be_read_stands_in_going_round(
    store: Path, broken: Path, workers: int, mode: str
) -> None:
    for sample in (2, 3, 9):
        damage_mask(broken, sample)
    loader = new_loader(broken, workers=workers, mode=mode)
    sound = list(new_loader(store))
    for epoch in (1, 2):
        assert_stand_ins(list(loader), sound, [(0, 1, 4, 4, 4), (0, 1, 2, 3, 0)])
        assert loader.skipped == 3 * epoch
    assert [(error.store, error.sample, error.place) for error in loader.skipped_samples] == [
        (str(broken), 2, 2),
        (str(broken), 3, 3),
        (str(broken), 9, 4),
    ]
    assert all(error.is_damage and error.__traceback__ is None for error in loader.skipped_samples)
    loader.close()


@pytest.mark.filterwarnings("ignore:another sample")
def test_every_form_of_batch_has_stand_ins(coco_of: Callable[..., Path], tmp_path: Path) -> None:
    for number, overrides in enumerate([(), COMPACT_IMAGES]):
        sound = coco_of(*overrides)
        broken = Path(shutil.copytree(sound, tmp_path / f"{number}.zarr"))
        damage_mask(broken, 0)
        for compact in (False, True):
            batches = list(new_loader(broken, compact=compact))
            assert_stand_ins(
                batches, list(new_loader(sound, compact=compact)), [(1, 1, 2, 3, 4), (0, 1, 2, 3, 4)]
            )


@pytest.mark.filterwarnings("ignore:another sample")
def test_a_part_that_is_damaged_is_left_out_whole(store: Path, broken: Path) -> None:
    expected = Store(store)
    parts = [expected.row_of(sample)[0] for sample in range(10)]
    (broken / "part-00001" / "zarr.json").write_text("{}")
    [batch] = new_loader(broken, batch_size=10)
    first = parts.index(2)
    stand_ins = [first if part == 1 else sample for sample, part in enumerate(parts)]
    assert batch["key"] == [expected.key(sample) for sample in stand_ins]


def test_where_no_sample_of_a_batch_can_be_read_it_is_the_error(broken: Path) -> None:
    for sample in (2, 3):
        damage_mask(broken, sample)
    loader = new_loader(broken, batch_size=2)
    batches = iter(loader)
    next(batches)
    with pytest.raises(SampleError, match=r"sample [23] of .* is damaged") as caught:
        next(batches)
    assert caught.value.place == caught.value.sample - 2
    assert loader.skipped == 0


@pytest.mark.filterwarnings("ignore:another sample")
def test_a_batch_is_read_thrice_however_many_of_its_samples_are_damaged(
    store: Path, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sample in range(1, 10):
        damage_mask(broken, sample)
    filled: list[int] = []
    fill = BatchRows.fill

    def count(rows: BatchRows, *arguments: Any) -> dict[str, Any]:
        filled.append(len(rows))
        return fill(rows, *arguments)

    monkeypatch.setattr(BatchRows, "fill", count)
    [batch] = new_loader(broken, batch_size=10)
    assert sum(filled) < 3 * 10
    [sound] = new_loader(store, batch_size=10)
    assert_stand_ins([batch], [sound], [[0] * 10])


@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_each_damaged_part_is_warned_of_once_at_the_trainers_line(
    broken: Path, workers: int, mode: str
) -> None:
    first_of_part = [0, next(n for n in range(10) if Store(broken).row_of(n)[0] == 1)]
    for sample in (*first_of_part, 1):
        damage_mask(broken, sample)
    loader = new_loader(broken, workers=workers, mode=mode, batch_size=10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            for _batch in loader:
                pass
    assert [warning.filename for warning in caught] == [__file__] * 2
    for warning, part in zip(caught, ("part-00000", "part-00001"), strict=True):
        assert f"others of {part} without a word" in str(warning.message)
        assert "checksum is wrong" in str(warning.message)
    loader.close()


def test_a_warning_that_is_made_an_error_leaves_the_state_before_the_batch(broken: Path) -> None:
    damage_mask(broken, 6)
    loader = new_loader(broken)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="stands in for a damaged one"):
            next(batches)
    assert loader.state_dict() == state


@pytest.mark.filterwarnings("ignore:another sample")
def test_order_and_state_are_those_of_the_sound_store(store: Path, broken: Path) -> None:
    sound, loader = (
        new_loader(path, batch_size=3, shuffle=True, expressions="drawn") for path in (store, broken)
    )
    for sample in (0, 4, 5):
        damage_mask(broken, sample)
    states, keys = [], []
    for epoch in range(2):
        for batch, expected in zip(loader, sound, strict=True):
            state = loader.state_dict()
            assert {**state, "stores": None} == {**sound.state_dict(), "stores": None}
            assert set(batch["key"]) <= set(expected["key"])
            states.append(state)
            keys.append(batch["key"])
        assert loader.epoch == sound.epoch == epoch + 1
    # Who goes on in the middle gets the same stand-ins.
    resumed = new_loader(broken, batch_size=3, shuffle=True, expressions="drawn")
    resumed.load_state_dict(states[0])
    found = [batch["key"] for _ in range(2) for batch in resumed]
    assert found == keys[1:]


@pytest.mark.filterwarnings("ignore:another sample")
@pytest.mark.parametrize("expressions", ["all", "first", "drawn"])
def test_phrases_are_those_of_the_stand_in(sentences: Path, tmp_path: Path, expressions: str) -> None:
    broken = Path(shutil.copytree(sentences, tmp_path / "broken.zarr"))
    damage_mask(broken, 1)
    size = len(Store(broken))
    [batch] = new_loader(broken, batch_size=size, expressions=expressions)
    [sound] = new_loader(sentences, batch_size=size, expressions=expressions)
    assert_stand_ins([batch], [sound], [[0, 2, *range(2, size)]])


@pytest.mark.filterwarnings("ignore:another sample")
def test_in_a_mixture_the_dataset_is_that_of_the_stand_in(
    store: Path, sentences: Path, tmp_path: Path
) -> None:
    size = len(Store(store)) + len(Store(sentences))
    [sound] = new_loader(store, sentences, batch_size=size)
    broken = Path(shutil.copytree(store, tmp_path / "broken.zarr"))
    place = next(n for n in range(size) if sound["dataset_type"][n : n + 2] == ["coco", "refcoco"])
    damage_mask(broken, [Store(store).key(n) for n in range(10)].index(sound["key"][place]))
    [batch] = new_loader(broken, sentences, batch_size=size)
    assert batch["dataset_type"][place] == "refcoco"
    assert_stand_ins([batch], [sound], [[place + 1 if n == place else n for n in range(size)]])


@pytest.mark.filterwarnings("ignore:another sample")
def test_pairs_have_stand_ins(tmp_path: Path) -> None:
    pictures = [picture_of(60, 90, seed) for seed in range(6)]
    write_npz_pairs(tmp_path / "raw", list(zip(pictures[::2], pictures[1::2], strict=True)))
    convert(load_config(CONFIGS / "npz.toml", TINY), tmp_path / "raw", tmp_path / "pairs.zarr")
    broken = Path(shutil.copytree(tmp_path / "pairs.zarr", tmp_path / "broken.zarr"))
    damage_mask(broken, 1)
    size = len(Store(broken))
    [batch] = new_loader(broken, batch_size=size)
    [sound] = new_loader(tmp_path / "pairs.zarr", batch_size=size)
    assert_stand_ins([batch], [sound], [[0, 2, *range(2, size)]])


@pytest.mark.filterwarnings("ignore:another sample")
def test_batches_of_more_parts_than_may_be_open_have_stand_ins(
    store: Path, broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resizeonce.loader.open_parts.MAX_OPEN_PARTS", 1)
    for sample in (1, 9):
        damage_mask(broken, sample)
    [batch] = new_loader(broken, batch_size=10)
    [sound] = new_loader(store, batch_size=10)
    assert_stand_ins([batch], [sound], [[0, 2, *range(2, 9), 0]])


@pytest.mark.filterwarnings("ignore:another sample")
def test_of_a_store_at_a_url_damage_in_the_cache_is_left_out_and_what_can_not_be_fetched_is_not(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resizeonce.loader.cache.fetch.PAUSES", (0.0, 0.0))
    with published(store.parent) as web:
        opened = Store(f"{web.url}/coco.zarr", cache=CacheOptions(folder=tmp_path))
        opened.batch([0])
        flip_bit(opened.path / "part-00000" / shard_path(specs_of(store)["masks/masks"]), 8 * 8)
        loader = new_loader(opened, batch_size=3)
        batches = iter(loader)
        assert next(batches)["key"] == [opened.key(sample) for sample in (1, 1, 2)]
        web.status = lambda _path, _number: 503
        with pytest.raises(SampleError, match="503"):
            list(batches)
    assert loader.skipped == 1


def test_of_a_store_that_was_moved_nothing_is_left_out(broken: Path, tmp_path: Path) -> None:
    loader = new_loader(broken)
    batches = iter(loader)
    next(batches)
    broken.rename(tmp_path / "moved.zarr")
    with pytest.raises(SampleError, match=r"is missing.*the store was moved, or is not mounted") as caught:
        next(batches)
    assert not caught.value.is_damage
    assert loader.skipped == 0


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_what_is_no_fault_of_a_sample_goes_through(
    broken: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("resizeonce.loader.fill._fill_view", fail)
    with pytest.raises(error):
        list(new_loader(broken))


@pytest.mark.filterwarnings("ignore:another sample")
def test_a_copy_of_a_loader_counts_for_itself(broken: Path) -> None:
    damage_mask(broken, 0)
    loader = new_loader(broken)
    list(loader)
    copied: BatchLoader = pickle.loads(pickle.dumps(loader))
    assert (loader.skipped, copied.skipped, copied.skipped_samples) == (1, 0, [])
    list(copied)
    assert (loader.skipped, copied.skipped) == (1, 1)


def test_damage_is_raised_or_skipped(store: Path) -> None:
    with pytest.raises(ValueError, match="on_damage is 'raise' or 'skip', not 'ignore'"):
        new_loader(store, on_damage="ignore")
