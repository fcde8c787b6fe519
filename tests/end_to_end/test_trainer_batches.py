"""What the examples make for LISA, SAM 2 and Sa2VA, beside the raw data, read and laid out the way that their code does it."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import lisa_batch
import numpy as np
import own_folder
import pytest
import sa2va_batch
import sam2_batch
import torch
from miniature.folders import labels_of, write_folders
from miniature.mevis import write_mevis
from miniature.refcoco import write_refcoco
from miniature.sav import write_sav_train
from miniature.shapes import picture_of
from naive import NaiveReader
from PIL import Image
from torch.nn.functional import interpolate

from resizeonce.loader import Batch, BatchLoader, Clip, Objects, Order, OrderOptions, SampleIndex, Store
from resizeonce.preprocess import convert, load_config


def video_of(seed: int, num_frames: int) -> list[Any]:
    return [np.roll(picture_of(40, 60, seed), 4 * time, axis=1) for time in range(num_frames)]


@pytest.fixture(scope="module")
def refcoco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lisa")
    write_refcoco(folder / "raw", [picture_of(60, 90 - seed, seed) for seed in range(9)])
    convert(load_config("refcoco", ["recipe.name=lisa"]), folder / "raw", folder / "store.zarr")
    return folder


@pytest.fixture(scope="module")
def sav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 9, 3 and 8 annotated frames."""
    folder = tmp_path_factory.mktemp("sam2")
    clips = [(f"sav_{number:06d}", video_of(number, count)) for number, count in ((1, 9), (2, 3), (3, 8))]
    write_sav_train(folder / "raw", clips)
    sizes = ["recipe.g_pixel_values.size=64", "recipe.masks.size=64"]
    config = load_config("sav", ["recipe.name=sam2", "source.take=all", *sizes])
    convert(config, folder / "raw", folder / "store.zarr")
    return folder


@pytest.fixture(scope="module")
def mevis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 9 and 3 frames."""
    folder = tmp_path_factory.mktemp("sa2va")
    write_mevis(
        folder / "raw", [(f"{number:012x}", video_of(number, count)) for number, count in ((1, 9), (2, 3))]
    )
    config = load_config("mevis", ["recipe.name=sa2va", "source.take=all"])
    convert(config, folder / "raw", folder / "store.zarr")
    return folder


def run(
    example: Any, argument: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    monkeypatch.setattr(sys, "argv", [example.__file__, str(argument)])
    example.main()
    return capsys.readouterr().out.splitlines()


def batches_of(folder: Path, draw: Objects | Clip, batch_size: int) -> list[Batch]:
    order = Order([SampleIndex(Store(folder / "store.zarr"), draw=draw)], OrderOptions(seed=0))
    return list(BatchLoader(order, batch_size, 0))


def test_the_example_of_lisa_runs(
    refcoco: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(lisa_batch, refcoco / "store.zarr", monkeypatch, capsys)
    assert len(lines) == 2
    assert lines[0].startswith("(2, 3, 1024, 1024), offset [0, 3, 6], masks [(3, 60, ")


def test_lisas_batch_is_its_sentences_with_the_masks_of_their_annotations(refcoco: Path) -> None:
    raw = NaiveReader(refcoco / "raw", "refcoco", "refcoco/refs(unc).p")
    (batch,) = batches_of(refcoco, Objects(at_most=3, of="expressions"), 3)
    given = lisa_batch.lisa_batch(batch)
    assert given["images"].shape == (3, 3, 1024, 1024)
    assert given["images_clip"].shape == (3, 3, 224, 224)
    # As `collate_fn` counts: a conversation a sentence.
    assert given["offset"].tolist() == [0, *np.cumsum([len(each) for each in given["questions_list"]])]
    for place, (first, last) in enumerate(pairwise(given["offset"].tolist())):
        sentences, masks = given["sampled_classes_list"][place], given["masks_list"][place]
        assert len(sentences) == len(set(sentences)) == len(masks) == last - first == 3
        for row, sentence, mask in zip(range(first, last), sentences, masks, strict=True):
            key, object_id = batch["key"][place], batch["object_ids"][row]
            assert sentence in raw.expressions(key, object_id)
            assert np.array_equal(mask.numpy(), raw.mask("", key, object_id, 0))
        height, width = masks.shape[1:]
        assert given["label_list"][place].shape == (height, width)
        assert (given["label_list"][place] == 255).all()
        # ResizeLongestSide's.
        scale = 1024 / max(height, width)
        assert given["resize_list"][place] == (int(height * scale + 0.5), int(width * scale + 0.5))


def test_lisas_questions_are_drawn_by_the_samples_number(refcoco: Path) -> None:
    draw = Objects(at_most=3, of="expressions")
    asked = [lisa_batch.lisa_batch(batch)["questions_list"] for batch in batches_of(refcoco, draw, 3)]
    one_by_one = [lisa_batch.lisa_batch(batch)["questions_list"] for batch in batches_of(refcoco, draw, 1)]
    assert asked[0] == [each for questions in one_by_one for each in questions]


def test_the_example_of_sam2_runs_and_says_what_is_left_out(
    sav: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(sam2_batch, sav / "store.zarr", monkeypatch, capsys)
    assert lines[0] == "2 videos, left out: {'too short': 1}"
    assert lines[1].startswith("img_batch (8, 2, 3, 64, 64), obj_to_frame_idx (8, ")
    assert len(lines) == 2


def test_sam2s_batch_is_what_its_collation_makes_of_the_same_videos(sav: Path) -> None:
    (batch,) = batches_of(sav, Clip(frames=8, objects=3, reverse=0.5), 2)
    given = sam2_batch.sam2_batch(batch)
    # Time by time and in it video by video, object by object, as training/utils/data_utils.py goes through them.
    for time in range(8):
        places, masks = [], []
        for video in range(2):
            sample = batch.of(video)
            assert torch.equal(given["img_batch"][time, video], sample["g_pixel_values"][time])
            for mask in sample["masks"]:
                places.append([time, video])
                masks.append(mask[time] > 0)
        assert given["obj_to_frame_idx"][time].tolist() == places
        assert torch.equal(given["masks"][time], torch.stack(masks))
    assert given["masks"].dtype == torch.bool
    # An object of the first frame is absent in others: the mask is there, and zero.
    assert given["masks"][0].flatten(1).any(1).all()
    assert not given["masks"].flatten(2).any(2).all()


def test_the_example_of_sa2va_runs(
    mevis: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(sa2va_batch, mevis / "store.zarr", monkeypatch, capsys)
    assert len(lines) == 4
    assert all(line.startswith("[5] frames ") and "targets [(25, 256, 256)]" in line for line in lines[::2])


def test_sa2vas_targets_are_torchs_nearest_of_the_masks_at_their_own_size(mevis: Path) -> None:
    raw = NaiveReader(mevis / "raw", "mevis")
    clip = Clip(
        frames=5, pick="spread", short="repeat", objects=5, at_least=5, of="expressions", visible="any"
    )
    for batch in batches_of(mevis, clip, 1):
        given = sa2va_batch.sa2va_batch(batch)
        assert [each.shape for each in given["pixel_values"]] == [(5, 3, 448, 448)]
        assert [each.shape for each in given["g_pixel_values"]] == [(3, 1024, 1024)] * 5
        assert given["frames_per_batch"] == [5]
        video = "/".join(batch["key"][0].split("/")[:2])
        times = batch["times"][0].tolist()
        assert times == sorted(times)
        expected = []
        for object_id, text in zip(batch["object_ids"], batch["expressions"], strict=True):
            assert text in raw.expressions(batch["key"][0], object_id)
            for time in times:
                # Of an object that is not there, the reader has a single False.
                mask = np.broadcast_to(raw.mask("", f"{video}/{time}", object_id, time), (40, 60))
                own = torch.tensor(mask, dtype=torch.float32)[None, None]
                expected.append(interpolate(own, (256, 256), mode="nearest")[0, 0])
        assert torch.equal(sa2va_batch.targets(given["masks"][0]), torch.stack(expected))


def test_the_example_of_ones_own_folder_converts_and_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [picture_of(60, 90, seed) for seed in range(4)]
    write_folders(tmp_path / "mine", pictures)
    # One picture has a single object: its batch is ragged.
    Image.fromarray((labels_of(60, 90, 0) == 1).astype(np.uint8)).save(
        tmp_path / "mine" / "masks" / "0000.png"
    )
    lines = run(own_folder, tmp_path / "mine", monkeypatch, capsys)
    assert lines[0] == "4 images, 7 masks, 0 rejects"
    objects = [line.partition(": ")[2].partition(", loss")[0] for line in lines[1:]]
    assert sorted(objects) == ["3 objects", "4 objects"]
