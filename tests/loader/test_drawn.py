"""Samples that are drawn of an image or a clip: each view of each object is the one that the store's own sample has.

The oracle is the store read sample by sample: `Store.batch` of plain samples, looked up by their keys.
"""

import copy
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from damage import flip_bit
from miniature.npz import write_npz_pairs
from miniature.shapes import picture_of
from stores import CONFIGS, TINY
from torch.utils.data._utils.pin_memory import pin_memory

from resizeonce.loader import (
    Batch,
    BatchLoader,
    BatchOptions,
    Clip,
    Objects,
    Order,
    OrderOptions,
    SampleIndex,
    Store,
    to_device,
)
from resizeonce.loader.fill import SampleError
from resizeonce.loader.order.draws import Draw
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

Mode = Literal["process", "thread"]
WAYS: list[tuple[int, Mode]] = [(0, "thread"), (2, "thread"), (2, "process")]


def order_of(store: Path, draw: Draw) -> Order:
    return Order([SampleIndex(Store(store), draw=draw)], OrderOptions(shuffle=None, seed=3))


def batches(store: Path, draw: Draw, workers: int, mode: Mode, **options: Any) -> Iterator[Batch]:
    loader = BatchLoader(
        order_of(store, draw), 2, workers, options=BatchOptions(mode=mode, tail="keep", **options)
    )
    return iter(loader)


def plain_samples(store: Path) -> dict[str, dict[str, Any]]:
    """Return every sample of a store of single frames, by its key."""
    opened = Store(store)
    return {opened.key(number): opened[number] for number in range(len(opened))}


def frames_of(store: Path) -> dict[str, dict[str, Any]]:
    """Return what each object is in each frame of a store of pairs, by the frame's key and the object."""
    opened = Store(store)
    found = {}
    for number in range(len(opened)):
        frames, _, object_id = opened.key(number).rpartition("/")
        scene, _, times = frames.rpartition("/")
        sample = opened[number]
        for suffix, time in zip("12", times.split("+"), strict=True):
            found[f"{scene}/{time}/{object_id}"] = {
                key.removesuffix(suffix): value for key, value in sample.items() if key.endswith(suffix)
            }
    return found


def assert_equal(found: Any, expected: Any) -> None:
    assert torch.as_tensor(found).dtype == torch.as_tensor(expected).dtype
    assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize(("workers", "mode"), WAYS)
@pytest.mark.parametrize("compact", [False, True])
def test_objects_of_an_image_are_its_samples_and_the_image_is_there_once(
    store: Path, workers: int, mode: Mode, compact: bool
) -> None:
    plain = plain_samples(store)
    seen: list[str] = []
    for batch in batches(store, Objects(at_most=5), workers, mode, compact=compact):
        batch = to_device(batch, "cpu")
        bounds = batch["objects"].tolist()
        assert bounds[0] == 0
        assert bounds[-1] == len(batch["masks"]) == len(batch["prompt_masks"]) == len(batch["object_ids"])
        for place, image in enumerate(batch["key"]):
            for row in range(bounds[place], bounds[place + 1]):
                key = f"{image}/{batch['object_ids'][row]}"
                seen.append(key)
                for view in ("masks", "prompt_masks", "prompt_cells"):
                    assert_equal(batch[view][row], plain[key][view])
                for view in ("pixel_values", "g_pixel_values"):
                    assert_equal(batch[view][place], plain[key][view])
    assert sorted(seen) == sorted(plain)


def test_fewer_objects_than_there_are_are_drawn_anew_in_each_lap(store: Path) -> None:
    loader = BatchLoader(order_of(store, Objects(at_most=1)), 5, 0)
    laps = [next(iter(loader))["object_ids"] for _ in range(8) if loader.set_epoch(loader.epoch + 1) is None]
    assert all(len(ids) == 5 for ids in laps)
    assert len({tuple(ids) for ids in laps}) > 1


def test_sentences_come_with_their_objects(sentences: Path) -> None:
    plain = plain_samples(sentences)
    for batch in batches(sentences, Objects(at_most=3, at_least=3, of="expressions"), 0, "thread"):
        assert batch["objects"].tolist() == [3 * place for place in range(len(batch["key"]) + 1)]
        for row, text in enumerate(batch["expressions"]):
            sample = plain[f"{batch['key'][row // 3]}/{batch['object_ids'][row]}"]
            assert text in sample["expressions"]
            assert_equal(batch["masks"][row], sample["masks"])


@pytest.mark.parametrize(("workers", "mode"), WAYS)
def test_clips_have_an_axis_of_frames_and_zeros_where_an_object_is_not(
    videos: Path, workers: int, mode: Mode
) -> None:
    plain = frames_of(videos)
    draw = Clip(frames=3, objects=3, reverse=0.5, visible="any")
    some_absent = False
    for batch in batches(videos, draw, workers, mode):
        count, total = len(batch["key"]), batch["objects"][-1].item()
        assert batch["pixel_values"].shape == (count, 3, 3, 32, 32)
        assert batch["masks"].shape == (total, 3, 48, 48)
        assert batch["visible"].shape == (total, 3)
        assert batch["times"].shape == (count, 3)
        for place in range(count):
            sample = batch.of(place)
            scene, _, frames = sample["key"].rpartition("/")
            names = frames.split("+")
            assert [int(name) for name in names] == sample["times"].tolist()
            for object_id, visible, masks in zip(
                sample["object_ids"], sample["visible"].tolist(), sample["masks"], strict=True
            ):
                for frame, name in enumerate(names):
                    known = plain.get(f"{scene}/{name}/{object_id}")
                    if visible[frame]:
                        assert known is not None
                        assert_equal(masks[frame], known["masks"])
                        assert_equal(sample["pixel_values"][frame], known["pixel_values"])
                    else:
                        some_absent = True
                        assert not masks[frame].any()
    assert some_absent


@pytest.mark.parametrize("workers", [0, 2])
def test_masks_at_their_own_size_are_a_list_of_the_objects(whole: Path, workers: int) -> None:
    plain = plain_samples(whole)
    for batch in batches(whole, Objects(at_most=4), workers, "process"):
        assert len(batch["masks"]) == batch["objects"][-1]
        assert len(batch["pixel_values_sizes"]) == len(batch["key"])
        for place in range(len(batch["key"])):
            sample = batch.of(place)
            for object_id, mask in zip(sample["object_ids"], sample["masks"], strict=True):
                assert_equal(mask, plain[f"{sample['key']}/{object_id}"]["masks"])


def test_one_sample_of_a_batch_shares_its_memory(store: Path) -> None:
    batch = next(batches(store, Objects(at_most=5), 0, "thread"))
    sample = batch.of(1)
    assert sample["masks"].data_ptr() == batch["masks"][batch["objects"][1] :].data_ptr()
    assert sample["dataset_type"] == "coco"
    assert sample["seed"] == batch["seed"][1]
    with pytest.raises(IndexError, match="sample 2 of a batch of 2"):
        batch.of(2)


COPIES: dict[str, Callable[[Batch], Batch]] = {
    "pickled": lambda batch: pickle.loads(pickle.dumps(batch)),
    "copied": copy.copy,
    "deeply": copy.deepcopy,
    "moved": lambda batch: to_device(batch, "cpu"),
    # As torch's own thread does for DataLoader(pin_memory=True); where there is no device, pinning is left out.
    "pinned": pin_memory,
}


@pytest.mark.parametrize("how", COPIES)
def test_masks_at_their_own_size_are_copied_with_their_lists(
    whole: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    batch = next(batches(whole, Objects(at_most=4), 0, "thread"))
    copied = COPIES[how](batch)
    assert len(copied["masks"]) == batch["objects"][-1] > len(batch["key"])
    for place in range(len(batch["key"])):
        for one, other in zip(copied.of(place)["masks"], batch.of(place)["masks"], strict=True):
            assert_equal(one, other)


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_batch_knows_which_rows_are_whose(
    videos: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    batch = next(batches(videos, Clip(frames=3, objects=3, visible="any"), 0, "thread"))
    copied = COPIES[how](batch)
    assert copied.keys() == batch.keys()
    for place in range(len(batch["key"])):
        one, other = copied.of(place), batch.of(place)
        assert one["object_ids"] == other["object_ids"]
        for key in ("masks", "visible", "prompt_cells", "pixel_values", "times", "seed"):
            assert_equal(one[key], other[key])


def test_a_compact_batch_is_completed_before_a_sample_is_taken(store: Path) -> None:
    batch = next(batches(store, Objects(at_most=5), 0, "thread", compact=True))
    with pytest.raises(ValueError, match=r"of what resizeonce.loader.to_device makes"):
        batch.of(0)
    assert to_device(batch, "cpu").of(0)["masks"].dtype == torch.float32


def test_stores_of_which_samples_are_drawn_and_others_have_lanes_of_their_own(
    store: Path, videos: Path
) -> None:
    order = Order(
        [
            SampleIndex(Store(store), draw=Objects(at_most=2)),
            SampleIndex(Store(store)),
            SampleIndex(Store(videos), draw=Clip(frames=2, objects=1)),
            SampleIndex(Store(store), draw=Objects(at_most=2)),
        ]
    )
    assert order.mixture.lanes == ((0, 3), (1,), (2,))
    found = [
        ("times" in batch, "objects" in batch, batch["has_paired_frame"])
        for batch in BatchLoader(order, 2, 2, options=BatchOptions(mode="thread", tail="keep"))
    ]
    assert Counter(found) == {(False, True, False): 5, (False, False, False): 5, (True, True, False): 2}


def test_a_run_resumed_within_an_epoch_draws_the_same(store: Path) -> None:
    draw = Objects(at_most=1)
    whole = BatchLoader(Order([SampleIndex(Store(store), draw=draw)], OrderOptions(seed=5)), 1, 0)
    expected = [(batch["key"], batch["object_ids"], batch["seed"].tolist()) for batch in whole]
    first = BatchLoader(Order([SampleIndex(Store(store), draw=draw)], OrderOptions(seed=5)), 1, 2)
    begun = iter(first)
    found = [next(begun) for _ in range(2)]
    state = first.state_dict()
    rest = BatchLoader(
        Order([SampleIndex(Store(store), draw=draw)], OrderOptions(seed=5)),
        3,
        2,
        options=BatchOptions(mode="thread"),
    )
    rest.load_state_dict(state)
    found += list(rest)
    names = [
        (name, seed)
        for batch in found
        for name, seed in zip(batch["object_ids"], batch["seed"].tolist(), strict=True)
    ]
    assert names == [(ids[0], seeds[0]) for _, ids, seeds in expected]


def test_a_damaged_object_of_an_image_is_stood_in_for_by_another_image(store: Path, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken.zarr"
    shutil.copytree(store, broken)
    path = broken / "part-00000" / "masks" / "masks" / "c" / "0" / "0" / "0"
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    options = BatchOptions(on_damage="skip", mode="thread")
    loader = BatchLoader(order_of(broken, Objects(at_most=5)), 2, 1, options=options)
    with pytest.warns(UserWarning, match="stands in for a damaged one"):
        batch = next(iter(loader))
    assert batch["key"][0] == batch["key"][1]
    assert loader.skipped == 1
    assert batch["objects"][-1] == len(batch["masks"]) == 2 * batch["objects"][1]


def test_an_error_of_a_drawn_sample_has_the_number_of_its_image(tmp_path: Path) -> None:
    # Two pairs of one object: four images, of which the last is damaged, and two samples.
    pictures = [picture_of(60, 80, seed) for seed in range(4)]
    write_npz_pairs(tmp_path / "raw", list(zip(pictures[::2], pictures[1::2], strict=True)))
    convert(load_config(CONFIGS / "npz.toml", TINY), tmp_path / "raw", tmp_path / "store")
    array = Store(tmp_path / "store").part(0).array("images/pixel_values")
    flip_bit(array.path, 8 * array.span(3)[0])
    loader = BatchLoader(order_of(tmp_path / "store", Objects(at_most=1)), 4, 0)
    with pytest.raises(SampleError, match=r"^image 3 of ") as caught:
        next(iter(loader))
    assert caught.value.sample == 3
