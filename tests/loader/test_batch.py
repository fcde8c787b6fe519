import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forks import run_in_forks
from grids import slow
from stores import USUAL
from torch.utils.data import ConcatDataset, DataLoader, Subset

from resizeonce.loader import Batch, SampleDataset, Store, collate
from resizeonce.loader.format.errors import FormatVersionError, StoreError


@pytest.fixture(scope="module")
def store(coco_of: Callable[..., Path]) -> Path:
    return coco_of(*USUAL)


def assert_equal(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    else:
        assert found == expected


def test_a_sample_has_the_keys_shapes_and_dtypes_of_the_contract(store: Path) -> None:
    sample = SampleDataset(store)[3]
    found = {key: (tuple(v.shape), v.dtype) for key, v in sample.items() if isinstance(v, torch.Tensor)}
    assert found == {
        "pixel_values": ((3, 448, 448), torch.float32),
        "g_pixel_values": ((3, 1024, 1024), torch.uint8),
        "prompt_masks": ((16, 16), torch.float32),
        "masks": ((1024, 1024), torch.float32),
        "prompt_cells": ((), torch.int64),
    }
    rest = {key: value for key, value in sample.items() if key not in found}
    assert rest == {"dataset_type": "coco", "has_paired_frame": False, "key": "coco/2/21"}


@pytest.mark.parametrize(
    ("workers", "context"), [(0, None), (2, "fork"), slow(2, "spawn"), (1, "forkserver")]
)
def test_a_plain_dataloader_gives_the_samples_in_the_order_asked_for(
    store: Path, workers: int, context: str | None
) -> None:
    dataset = SampleDataset(store)
    loader = DataLoader(
        dataset, batch_size=4, collate_fn=collate, num_workers=workers, multiprocessing_context=context
    )
    batches = list(loader)
    assert [len(batch["key"]) for batch in batches] == [4, 4, 2]
    for number in range(10):
        batch, place = batches[number // 4], number % 4
        for key, expected in dataset[number].items():
            whole = key in ("dataset_type", "has_paired_frame")
            assert_equal(batch[key] if whole else batch[key][place], expected)


def test_samples_come_in_the_order_of_the_numbers_also_repeated_and_negative(store: Path) -> None:
    batch = SampleDataset(store).__getitems__([7, 0, -1, 7])
    assert batch["key"] == ["coco/4/41", "coco/1/10", "coco/5/51", "coco/4/41"]
    assert torch.equal(batch["masks"][0], batch["masks"][3])


def test_a_number_outside_the_store_is_an_index_error(store: Path) -> None:
    for number in (10, -11):
        with pytest.raises(IndexError, match="of a store of 10 samples"):
            SampleDataset(store)[number]


def test_only_the_tensors_asked_for_are_read(store: Path) -> None:
    sample = SampleDataset(store, tensors=["pixel_values", "prompt_masks"])[0]
    assert "g_pixel_values" not in sample
    assert "masks" not in sample
    assert sample["pixel_values"].shape == (3, 448, 448)
    with pytest.raises(ValueError, match="not mask"):
        SampleDataset(store, tensors=["mask"])


def test_a_dataloader_without_collate_says_what_is_missing(store: Path) -> None:
    with pytest.raises(KeyError, match=r"collate_fn=resizeonce\.loader\.collate"):
        next(iter(DataLoader(SampleDataset(store), batch_size=2)))


def test_subsets_and_joined_datasets_collate_too(store: Path) -> None:
    dataset = SampleDataset(store)
    subset = next(iter(DataLoader(Subset(dataset, [5, 2]), batch_size=2, collate_fn=collate)))
    joined = next(iter(DataLoader(ConcatDataset([dataset, dataset]), batch_size=11, collate_fn=collate)))
    assert subset["key"] == ["coco/3/31", "coco/2/20"]
    assert joined["key"][0] == joined["key"][10]
    assert joined["dataset_type"] == "coco"
    assert joined["pixel_values"].shape == (11, 3, 448, 448)


def test_paired_and_single_samples_do_not_mix() -> None:
    with pytest.raises(ValueError, match="all paired or all single"):
        collate([{"has_paired_frame": True}, {"has_paired_frame": False}])


def test_samples_of_several_datasets_keep_their_types() -> None:
    batch = collate(
        [{"has_paired_frame": False, "dataset_type": name, "key": name} for name in ("coco", "refcoco")]
    )
    assert batch["dataset_type"] == ["coco", "refcoco"]
    assert batch["has_paired_frame"] is False


def test_samples_of_different_recipes_do_not_mix() -> None:
    samples = [{"has_paired_frame": False, "masks": torch.zeros(size, size)} for size in (4, 8)]
    with pytest.raises(ValueError, match="masks differs in shape"):
        collate(samples)


def test_a_dataset_pickles_without_its_maps(store: Path) -> None:
    dataset = SampleDataset(store)
    expected = dataset[4]
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 20_000
    for key, value in pickle.loads(pickled)[4].items():
        assert_equal(value, expected[key])


def test_a_batch_is_a_dict_and_survives_pickling(store: Path) -> None:
    batch = SampleDataset(store).__getitems__([1, 2])
    again = pickle.loads(pickle.dumps(batch))
    assert type(again) is Batch
    assert again.keys() == batch.keys()


def test_writing_into_a_batch_changes_no_store(store: Path) -> None:
    dataset = SampleDataset(store)
    sample = dataset[0]
    for tensor in ("pixel_values", "g_pixel_values", "prompt_masks", "masks"):
        sample[tensor].zero_()
    assert dataset[0]["g_pixel_values"].any()


def test_numpy_and_torch_give_the_same(store: Path) -> None:
    from_numpy, from_torch = Store(store)[6], SampleDataset(store)[6]
    assert from_numpy.keys() == from_torch.keys()
    for key, value in from_numpy.items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, from_torch[key].numpy())


def copy(store: Path, folder: Path) -> Path:
    return Path(shutil.copytree(store, folder / "copy.zarr"))


def test_an_unfinished_store_is_refused_with_the_command_to_run(store: Path, tmp_path: Path) -> None:
    broken = copy(store, tmp_path)
    (broken / "zarr.json").rename(broken / ".job.json")
    with pytest.raises(StoreError, match="run the same `resizeonce convert` again"):
        Store(broken)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no store"):
        Store(tmp_path)
    for content in ("", "[]", "{}", '{"attributes": {"resizeonce": {"format_version": 1}}}', "\xff"):
        (tmp_path / "zarr.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(StoreError, match="damaged"):
            Store(tmp_path)


def test_a_part_is_told_from_a_store_and_a_tilde_that_is_nobodys_home_is_a_letter(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="is a part of a store: give the folder that it lies in"):
        Store(store / "part-00000")
    (tmp_path / "~nobody-here.zarr").symlink_to(store)
    monkeypatch.chdir(tmp_path)
    assert len(Store("~nobody-here.zarr")) == 10


def test_a_store_of_another_format_version_is_refused(store: Path, tmp_path: Path) -> None:
    broken = copy(store, tmp_path)
    content = json.loads((broken / "zarr.json").read_text())
    content["attributes"]["resizeonce"]["format_version"] = 4
    (broken / "zarr.json").write_text(json.dumps(content))
    with pytest.raises(FormatVersionError, match="has format version 4"):
        Store(broken)


def test_a_part_that_is_missing_swapped_or_changed_is_refused(store: Path, tmp_path: Path) -> None:
    broken = copy(store, tmp_path)
    (broken / "part-00000").rename(broken / "elsewhere")
    with pytest.raises(StoreError, match="part-00000 is missing"):
        Store(broken)[0]
    (broken / "part-00001").rename(broken / "part-00000")
    (broken / "elsewhere").rename(broken / "part-00001")
    with pytest.raises(StoreError, match="changed or swapped"):
        Store(broken)[0]


def test_a_file_of_another_size_is_refused(store: Path, tmp_path: Path) -> None:
    broken = copy(store, tmp_path)
    path = broken / "part-00000" / "images" / "g_pixel_values" / "c" / "0" / "0" / "0" / "0"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"g_pixel_values.* has \d+ bytes, expected \d+"):
        Store(broken)[0]


LOOK = """
import sys, resizeonce.loader as loader
loader.SampleDataset, loader.BatchLoader
print(*sorted(sys.modules))
loader.SampleDataset(sys.argv[1])[0]
print(*sorted(sys.modules))
batches = loader.BatchLoader(sys.argv[1], 2, 1, options=loader.BatchOptions(mode="thread"))
loader.check_batch(next(iter(batches)))
batches.close()
print(*sorted(sys.modules))
"""


def test_the_loader_brings_no_converter_and_nothing_that_takes_longer_than_a_batch(
    store: Path, tmp_path: Path
) -> None:
    [(status, said)] = run_in_forks(tmp_path, [(LOOK, [store])])
    assert status == 0, said
    modules, with_sample, with_batch = (set(line.split()) for line in said.splitlines())
    assert {"torch", "resizeonce.loader.store", "resizeonce.loader.format.layout"} <= modules
    roots = {name.partition(".")[0] for name in modules}
    assert not roots & {
        "PIL",
        "numcodecs",
        "pycocotools",
        "click",
        "zarr",
        "av",
        "simplejpeg",
    }
    assert not {name for name in modules if name.startswith("resizeonce.preprocess")}

    # A store on a disk is read without what fetches one.
    assert "resizeonce.loader.cache.part_cache" in with_sample
    assert not {name.partition(".")[0] for name in with_sample} & {
        "zarr",
        "PIL",
        "pycocotools",
        "fsspec",
        "aiohttp",
    }

    # `np.unique` and its kin load numpy.ma, in a tenth of a second.
    assert not with_batch & {"numpy.ma", "zarr", "numcodecs", "PIL"}


def test_what_needs_only_numpy_does_not_wait_for_torch() -> None:
    command = "import sys, resizeonce.loader as loader; loader.Store; loader.Order; loader.SampleIndex; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in found.stdout.split()} & {"torch", "fsspec"}


def test_the_converter_imports_no_torch_no_zarr_no_dataset_unasked_and_of_the_loader_what_both_share() -> (
    None
):
    command = "import sys, resizeonce.preprocess.run.convert, resizeonce.preprocess.sources.registry; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert not {"torch", "zarr", "resizeonce.preprocess.sources.coco"} & set(found.stdout.split())
    ours = {name.split(".")[2] for name in found.stdout.split() if name.startswith("resizeonce.loader.")}
    assert ours == {"format", "remote"}


def test_a_list_of_numbers_gives_their_batch_as_a_sampler_of_batches_asks_for(store: Path) -> None:
    dataset = SampleDataset(store)
    expected = dataset.__getitems__([4, 1])
    for batch in (
        dataset[[4, 1]],
        next(iter(DataLoader(dataset, batch_size=None, sampler=[[4, 1]], collate_fn=collate))),
    ):
        assert batch["key"] == expected["key"]
        assert torch.equal(batch["masks"], expected["masks"])


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        (slice(0, 3), [0, 1, 2]),
        (slice(None, None, -4), [9, 5, 1]),
        (slice(-2, None), [8, 9]),
        (np.array([4, -1]), [4, 9]),
        (np.arange(3, dtype=np.uint8), [0, 1, 2]),
        (torch.tensor([7, 7]), [7, 7]),
        ([np.int64(3), torch.tensor(1)], [3, 1]),
        ((2, 6), [2, 6]),
        (range(5), [0, 1, 2, 3, 4]),
    ],
)
def test_several_samples_are_asked_for_as_of_a_list_and_give_their_batch(
    store: Path, asked: Any, numbers: list[int]
) -> None:
    dataset = SampleDataset(store, ["prompt_masks"])
    opened = Store(store)
    assert dataset[asked]["key"] == [opened.key(number) for number in numbers]


@pytest.mark.parametrize("number", [3, -7, np.int32(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_one_sample_is_asked_for_by_any_kind_of_whole_number(store: Path, number: Any) -> None:
    assert SampleDataset(store, ["prompt_masks"])[number]["key"] == Store(store).key(3)


def test_a_slice_without_samples_is_refused(store: Path) -> None:
    with pytest.raises(IndexError, match="at least one sample"):
        SampleDataset(store)[3:3]


def test_without_batches_a_sample_stays_one(store: Path) -> None:
    dataset = SampleDataset(store)
    sample = next(iter(DataLoader(dataset, batch_size=None, collate_fn=collate)))
    assert sample["masks"].shape == (1024, 1024)
    assert sample["key"] == "coco/1/10"


@pytest.mark.parametrize(
    "wrong", ["0", 1.5, None, np.array(1.5), torch.tensor([0.5]), slice("a", None), np.ones(10, bool)]
)
def test_what_is_no_number_is_a_type_error(store: Path, wrong: Any) -> None:
    with pytest.raises(TypeError):
        SampleDataset(store)[wrong]
    with pytest.raises(TypeError):
        Store(store)[wrong]


def test_bools_choose_no_samples(store: Path) -> None:
    wrong: Any
    for wrong in ([True, False], np.ones(10, bool), torch.ones(10, dtype=torch.bool)):
        with pytest.raises(TypeError, match="by their numbers, not by bools"):
            SampleDataset(store)[wrong]


def test_a_batch_of_nothing_is_refused(store: Path) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        collate([])
    with pytest.raises(IndexError, match="at least one sample"):
        Store(store).batch([])


def test_the_memory_of_a_batch_is_filled_again_and_never_while_any_of_it_is_held(store: Path) -> None:
    dataset = SampleDataset(store)
    places = {dataset.__getitems__([number, 0])["masks"].data_ptr() for number in range(8)}
    assert len(places) <= 2
    held = [dataset.__getitems__([number, number + 1]) for number in range(8)]
    # A view of a part of one tensor holds the batch, too.
    views = [batch["g_pixel_values"][1, :, 500:].numpy() for batch in held]
    expected = [batch["g_pixel_values"][1, :, 500:].clone() for batch in held]
    del held
    for number in range(8):
        dataset.__getitems__([number + 1, 9 - number])
    for view, right in zip(views, expected, strict=True):
        assert np.array_equal(view, right.numpy())


def test_batches_of_changing_sizes_are_right(store: Path) -> None:
    dataset, opened = SampleDataset(store), Store(store)
    asked = ([0], [1, 2, 3], [4], [5, 6], [7, 8, 9], [0])
    batches = [dataset.__getitems__(samples) for samples in asked]
    for samples, batch in zip(asked, batches, strict=True):
        assert np.array_equal(batch["masks"].numpy(), opened.batch(samples)["masks"])
