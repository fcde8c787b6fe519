"""Masks at their own size, boxes and the files of images, through every reader, against the raw annotations."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import torch
import zarr
from damage import flip_bit, parts_of, read_array, rewrite
from fsspec.implementations.memory import MemoryFileSystem
from miniature.npz import write_npz_pairs
from PIL import Image
from pycocotools import mask as coco_mask
from stores import CONFIGS, TINY, pictures, specs_of
from torch.utils.data import DataLoader

from resizeonce.loader import (
    Batch,
    BatchLoader,
    BatchOptions,
    CacheOptions,
    Order,
    OrderOptions,
    SampleDataset,
    SampleError,
    SampleIndex,
    Store,
    Subset,
    collate,
    to_device,
)
from resizeonce.loader.format.shard import shard_path
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

OWN = ("recipe.masks.size=own", "store.boxes=true", "store.keep_source=true")

LISTS = ("masks", "sources", "key")


@pytest.fixture(scope="module")
def own(coco_of: Callable[..., Path]) -> Path:
    """Ten masks at their own size in three parts, with all columns."""
    return coco_of(*OWN)


def expected_of(raw: Path, key: str) -> dict[str, Any]:
    """Return what the raw annotation of a sample says."""
    annotations = json.loads((raw / "annotations/instances_train2017.json").read_text())
    _, image_id, number = key.split("/")
    image = next(one for one in annotations["images"] if one["id"] == int(image_id))
    found = next(one for one in annotations["annotations"] if one["id"] == int(number))
    size = image["height"], image["width"]
    rle = found["segmentation"]
    if isinstance(rle, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(rle, *size))
    left, top, width, height = coco_mask.toBbox(rle).tolist()
    return {
        "masks": coco_mask.decode(rle) != 0,
        "boxes": [left, top, left + width, top + height],
        "image_sizes": list(size),
        "sources": (raw / "train2017" / image["file_name"]).read_bytes(),
    }


def assert_as_annotated(batch: Any, raw: Path, tensors: type) -> int:
    """Compare a batch with the raw annotations; return how many samples it has."""
    for number, key in enumerate(batch["key"]):
        expected = expected_of(raw, key)
        mask = batch["masks"][number]
        assert isinstance(mask, tensors)
        assert str(mask.dtype).endswith("bool")
        assert np.array_equal(np.asarray(mask), expected["masks"])
        assert batch["boxes"][number].tolist() == expected["boxes"]
        assert batch["image_sizes"][number].tolist() == expected["image_sizes"]
        assert batch["sources"][number] == expected["sources"]
    assert str(batch["boxes"].dtype).endswith("float32")
    assert str(batch["image_sizes"].dtype).endswith("int64")
    assert all(isinstance(batch[name], list) for name in LISTS)
    return len(batch["key"])


def stacked(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a single sample as if it were a batch."""
    return {name: [value] for name, value in sample.items()} | {
        name: sample[name][None] for name in ("boxes", "image_sizes")
    }


def all_of(loader: BatchLoader) -> Iterator[Batch]:
    try:
        yield from loader
    finally:
        loader.close()


def test_a_store_gives_them(own: Path) -> None:
    store = Store(own)
    assert assert_as_annotated(store.batch(range(10)), own.parent / "coco", np.ndarray) == 10
    assert_as_annotated(stacked(store[7]), own.parent / "coco", np.ndarray)


def test_a_dataset_gives_them(own: Path) -> None:
    dataset = SampleDataset(own)
    assert_as_annotated(dataset[list(range(10))], own.parent / "coco", torch.Tensor)
    assert_as_annotated(stacked(dataset[3]), own.parent / "coco", torch.Tensor)
    assert_as_annotated(collate([dataset[number] for number in (1, 9, 4)]), own.parent / "coco", torch.Tensor)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_gives_them(own: Path, workers: int) -> None:
    loader = DataLoader(SampleDataset(own), 4, num_workers=workers, collate_fn=collate)
    batches = [assert_as_annotated(batch, own.parent / "coco", torch.Tensor) for batch in loader]
    assert batches == [4, 4, 2]


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize(("mode", "workers"), [("process", 0), ("process", 2), ("thread", 2)])
def test_a_batch_loader_gives_them(own: Path, mode: Any, workers: int, compact: bool) -> None:
    options = BatchOptions(mode=mode, compact=compact, tail="keep")
    batches = list(all_of(BatchLoader(own, 4, workers, options=options)))
    # All are held: memory of one that is held is not filled again.
    raw = own.parent / "coco"
    assert [assert_as_annotated(to_device(one, "cpu"), raw, torch.Tensor) for one in batches] == [4, 4, 2]


def test_a_store_at_a_url_gives_them(own: Path, tmp_path: Path) -> None:
    MemoryFileSystem().put(str(own), "/own", recursive=True)
    store = Store("memory://own", cache=CacheOptions(folder=tmp_path))
    assert assert_as_annotated(store.batch(range(10)), own.parent / "coco", np.ndarray) == 10


def test_files_and_masks_are_read_where_they_are_named_only(own: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zarr"
    shutil.copytree(own, broken)
    for part in parts_of(broken):
        for name in ("images/source_bytes", "masks/masks_runs"):
            (part / name / "c/0").unlink()
    store = Store(broken)
    assert store.batch([0], ["pixel_values"]).keys() == {
        "boxes", "dataset_type", "has_paired_frame", "image_sizes", "key", "pixel_values", "prompt_cells",
    }  # fmt: skip
    for name in ("sources", "masks"):
        with pytest.raises(SampleError, match="missing"):
            store.batch([0], [name])
        assert store.batch([0], ["prompt_masks"])["key"] == ["coco/1/10"]
    assert (
        list(SampleDataset(own, ["sources"])[[0, 1]]["sources"])
        == [expected_of(own.parent / "coco", "coco/1/10")["sources"]] * 2
    )


def test_a_store_without_files_has_no_tensor_of_that_name(store: Path) -> None:
    with pytest.raises(ValueError, match="not sources"):
        Store(store).batch([0], ["sources"])
    assert not {"sources", "boxes", "image_sizes"} & Store(store)[0].keys()


def test_a_batch_of_several_stores_has_the_columns_that_all_of_them_have(store: Path, coco_of: Any) -> None:
    with_boxes = coco_of("store.boxes=true")
    order = Order(
        [SampleIndex(Store(with_boxes)), SampleIndex(Store(store))], OrderOptions(batches_of="kind")
    )
    loader = BatchLoader(order, 20, 0, options=BatchOptions(tail="keep"))
    (batch,) = all_of(loader)
    assert len(batch["key"]) == 20
    assert "boxes" not in batch


def test_in_pairs_each_frame_has_its_own(tmp_path: Path) -> None:
    frames = pictures()
    write_npz_pairs(tmp_path / "raw", [(frames[0], frames[2]), (frames[1], frames[3])])
    convert(load_config(CONFIGS / "npz.toml", [*TINY, *OWN]), tmp_path / "raw", tmp_path / "npz.zarr")
    store = Store(tmp_path / "npz.zarr")
    batch = store.batch(range(len(store)))
    same = SampleDataset(store)[list(range(len(store)))]
    for name in ("masks1", "masks2"):
        assert all(map(np.array_equal, same[name], batch[name]))
    for number, key in enumerate(batch["key"]):
        *_, file, _, place = key.split("/")
        arrays = np.load(next((tmp_path / "raw").rglob(f"{file}.npz")))
        for frame in ("1", "2"):
            mask, image = arrays[f"mask{frame}"][int(place)] > 0, arrays[f"image{frame}"]
            assert np.array_equal(batch[f"masks{frame}"][number], mask)
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert batch[f"boxes{frame}"][number].tolist() == box
            assert batch[f"image_sizes{frame}"][number].tolist() == list(image.shape[:2])
            # An array has no file: it becomes one that keeps every value.
            decoded = Image.open(io.BytesIO(batch[f"sources{frame}"][number]))
            assert decoded.format == "PNG"
            assert np.array_equal(np.asarray(decoded.convert("RGB")), image)


def test_lists_of_tensors_are_moved(own: Path) -> None:
    batch = SampleDataset(own)[[0, 1]]
    moved = to_device(batch, "meta")
    assert [mask.device.type for mask in moved["masks"]] == ["meta", "meta"]
    assert [mask.shape for mask in moved["masks"]] == [mask.shape for mask in batch["masks"]]
    assert moved["sources"] == batch["sources"]


def test_memory_of_masks_is_filled_again_once_nobody_holds_it(own: Path) -> None:
    dataset = SampleDataset(own, ["masks"])
    held = [dataset[[number, number + 1]] for number in range(4)]
    for number, batch in enumerate(held):
        expected = Store(own).batch([number, number + 1])["masks"]
        assert all(map(np.array_equal, batch["masks"], expected))
    addresses = {batch["masks"][0].data_ptr() for batch in held}
    del batch, held
    assert dataset[[4, 5]]["masks"][0].data_ptr() in addresses


def test_other_readers_of_zarr_read_every_column(own: Path) -> None:
    store, group = Store(own), zarr.open_group(own, mode="r")
    names = ["masks/masks_size", "masks/masks_offsets", "masks/masks_runs", "masks/box"]
    names += ["images/source_offsets", "images/source_bytes"]
    assert set(names) <= specs_of(own).keys()
    for number, part in enumerate(parts_of(own)):
        for name in names:
            array = store.part(number).array(name)
            mine = array.slice(0, len(array)) if name.endswith(("_runs", "_bytes")) else array.whole()
            theirs = group[f"{part.name}/{name}"]
            assert isinstance(theirs, zarr.Array)
            assert theirs.dtype == mine.dtype
            assert np.array_equal(theirs[...], mine)
            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(part / name)}}
            assert np.array_equal(tensorstore.open(spec).result().read().result(), mine)
            with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
                array_of_zarrs = zarr.open_array(part / name, mode="r")
                assert "Zarrs" in type(array_of_zarrs.async_array.codec_pipeline).__name__
                assert np.array_equal(array_of_zarrs[...], mine)
                # From the middle of one piece into the next, or to the end.
                assert np.array_equal(array_of_zarrs[len(mine) // 3 :], mine[len(mine) // 3 :])
        # What docs/format.md says of them, by hand: the first mask of the part.
        height, width = group[f"{part.name}/masks/masks_size"][0]
        end = group[f"{part.name}/masks/masks_offsets"][1]
        runs = group[f"{part.name}/masks/masks_runs"][:end]
        rle = coco_mask.frPyObjects(
            {"size": [int(height), int(width)], "counts": runs.tolist()}, height, width
        )
        assert np.array_equal(coco_mask.decode(rle) != 0, store[2 * 2 * number]["masks"])


def no_size(part: Path) -> None:
    sizes = read_array(part, "masks/masks_size")
    sizes[1] = 0
    rewrite(part, "masks/masks_size", sizes)


def a_size_below_0(part: Path) -> None:
    sizes = read_array(part, "masks/masks_size")
    sizes[1] *= -1
    rewrite(part, "masks/masks_size", sizes)


def a_size_that_no_memory_holds(part: Path) -> None:
    sizes = read_array(part, "masks/masks_size")
    sizes[1] = 2**31 - 1
    rewrite(part, "masks/masks_size", sizes)


def a_turned_offset(part: Path) -> None:
    offsets = read_array(part, "masks/masks_offsets")
    offsets[1] += 2
    rewrite(part, "masks/masks_offsets", offsets)


def a_run_too_long(part: Path) -> None:
    offsets, runs = read_array(part, "masks/masks_offsets"), read_array(part, "masks/masks_runs")
    runs[offsets[1] + 1] = 2**32 - 1
    rewrite(part, "masks/masks_runs", runs)


FORGED = {
    no_size: "no mask is of 0 x 0 pixels",
    a_size_below_0: "no mask is of -333 x -500 pixels",
    a_size_that_no_memory_holds: "no mask is of 2147483647 x 2147483647 pixels",
    a_turned_offset: "its runs are",
    a_run_too_long: "its runs are 4,",
}


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_a_mask_that_can_not_be_is_an_error_that_names_the_sample(
    own: Path, tmp_path: Path, forge: Any
) -> None:
    forged = tmp_path / "forged.zarr"
    shutil.copytree(own, forged)
    forge(forged / "part-00000")
    with pytest.raises(SampleError, match=rf"sample 1 .*row 1: {FORGED[forge]}") as caught:
        Store(forged)[1]
    assert caught.value.is_damage
    assert caught.value.key == "coco/1/11"
    with pytest.raises(SampleError, match="row"):
        SampleDataset(forged)[[0, 1, 2]]
    options = BatchOptions(on_damage="skip", tail="keep")
    loader = BatchLoader(forged, 10, 0, options=options)
    with pytest.warns(UserWarning, match="stands in"):
        (batch,) = all_of(loader)
    assert "coco/1/11" not in batch["key"]
    assert len(batch["masks"]) == 10
    assert loader.skipped >= 1


def test_a_flipped_bit_damages_the_samples_of_its_piece_alone(own: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.zarr"
    shutil.copytree(own, damaged)
    part = damaged / "part-00000"
    offsets = read_array(part, "images/source_offsets").tolist()
    assert offsets[1] > 1 << 16, "the first file alone is in the first piece"
    flip_bit(part / shard_path(specs_of(own)["images/source_bytes"]), 8 * 20)
    store = Store(damaged)
    # Two masks an image: samples 0 and 1 are of the first one.
    assert store.batch([2, 3])["sources"] == Store(own).batch([2, 3])["sources"]
    for sample in (0, 1):
        with pytest.raises(SampleError, match="piece 0 is damaged"):
            store.batch([sample])
    assert store.batch([0, 1], ["masks"])["key"] == Store(own).batch([0, 1])["key"]


def test_prompt_cells_are_not_asked_of_a_recipe_without_prompts(coco_of: Callable[..., Path]) -> None:
    folder = coco_of("recipe.prompt_masks=false", *OWN)
    assert "prompt_cells" not in Store(folder)[0]
    with pytest.raises(ValueError, match=r"min_prompt_cells: the recipe of .* has no prompt"):
        SampleIndex(Store(folder), Subset(min_prompt_cells=1))
    assert len(SampleIndex(Store(folder), Subset(min_area=1))) == 10


def test_a_batch_of_nothing_but_masks_at_their_own_size_is_one(coco_of: Any) -> None:
    folder = coco_of("recipe.masks.size=own")
    for mode, workers in (("process", 0), ("process", 1), ("thread", 1)):
        options = BatchOptions(mode=mode, tensors=("masks",))
        for batch in all_of(BatchLoader(folder, 2, workers, options=options)):
            assert [mask.dtype for mask in batch["masks"]] == [torch.bool] * 2
            assert "pixel_values" not in batch
