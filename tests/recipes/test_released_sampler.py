"""SAM 2's own sampler and its reader of label maps, beside what a loader draws of the same video, from the raw files on.

`make test-recipes` installs SAM 2's code; without it this is skipped, and `tests/loader/order/test_draws.py` compares with the sampler
as it is written out in `tests/support/samplers.py`.
"""

import hashlib
import random
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from miniature.folders import save_indexed
from miniature.shapes import picture_of
from PIL import Image
from samplers import Taken, assert_same_distribution, sam2
from stores import CONFIGS, TINY

from resizeonce.loader import BatchLoader, BatchOptions, Clip, Order, OrderOptions, SampleIndex, Store
from resizeonce.preprocess import convert, load_config

SAMPLER = "training.dataset.vos_sampler"
pytest.importorskip(SAMPLER, reason="`make test-recipes` installs SAM 2's training code")

RELEASED = "8fdad904c369de7697fed857c58f3428228f189a256dcd8ce47229164c91a206"
"""SHA-256 of training/dataset/vos_sampler.py in facebookresearch/sam2, 2b90b9f: its package on PyPI is a fork's."""

DRAWS, FRAMES, OBJECTS = 20_000, 4, 3

VIDEO = [(1, 2), (2, 3), (), (1, 3, 4, 5), (1, 2), (), (), (3, 4), (2, 3, 5)]
"""Who is in which frame."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The video, as DAVIS has it: a label of 4 x 20 pixels for each object."""
    folder = tmp_path_factory.mktemp("raw")
    for name in ("JPEGImages", "Annotations"):
        (folder / name / "bear").mkdir(parents=True)
    for number, there in enumerate(VIDEO):
        labels = np.zeros((24, 30), np.uint8)
        for value in there:
            labels[4 * value - 4 : 4 * value, :20] = value
        Image.fromarray(picture_of(24, 30, number)).save(folder / f"JPEGImages/bear/{number:05d}.jpg")
        save_indexed(folder / f"Annotations/bear/{number:05d}.png", labels)
    return folder


@pytest.fixture(scope="module")
def theirs(root: Path) -> list[Taken]:
    """What SAM 2 draws."""
    segments = import_module("training.dataset.vos_segment_loader")
    loader = segments.PalettisedPNGSegmentLoader(str(root / "Annotations" / "bear"))
    frames = [SimpleNamespace(frame_idx=number) for number in range(len(VIDEO))]
    video = SimpleNamespace(frames=frames, video_name="bear")
    sampler = import_module(SAMPLER).RandomUniformSampler(FRAMES, OBJECTS, reverse_time_prob=0.5)
    random.seed(0)
    return [_named(sampler.sample(video, loader)) for _ in range(DRAWS)]


def _named(sampled: Any) -> Taken:
    frames = tuple(frame.frame_idx for frame in sampled.frames)
    return Taken(frames, tuple(str(value) for value in sampled.object_ids))


def assert_alike(ours: list[Taken], theirs: list[Taken]) -> None:
    """Compare frames, directions, who is drawn, in which order, how many, and all of it together."""
    assert_same_distribution(ours, theirs)
    for kind in (
        lambda one: one.frames,
        lambda one: one.frames[0] < one.frames[-1],
        lambda one: one.objects,
        lambda one: sorted(one.objects)[0],
        lambda one: len(one.objects),
    ):
        assert_same_distribution([kind(one) for one in ours], [kind(one) for one in theirs])


def test_the_sampler_is_the_one_that_was_released() -> None:
    source = import_module(SAMPLER).__file__
    assert source is not None
    assert hashlib.sha256(Path(source).read_bytes()).hexdigest() == RELEASED


def test_a_loader_gives_clips_as_sam2s_own_sampler_does(
    root: Path, theirs: list[Taken], tmp_path: Path
) -> None:
    config = load_config(CONFIGS / "vos.toml", [*TINY, "source.take=all"])
    convert(config, root, tmp_path / "vos.zarr")
    index = SampleIndex(Store(tmp_path / "vos.zarr"), draw=Clip(frames=FRAMES, objects=OBJECTS, reverse=0.5))
    ours = []
    options = BatchOptions(tensors=["masks"])
    for batch in BatchLoader(Order([index], OrderOptions(epoch_samples=DRAWS)), 100, 0, options=options):
        for place, times in enumerate(batch["times"].tolist()):
            sample = batch.of(place)
            ours.append(Taken(tuple(times), tuple(sample["object_ids"])))
            # Where somebody is not there later, the mask is zero, as SAM 2's trainer makes it.
            there = sample["masks"].flatten(2).any(dim=2).tolist()
            assert there == [[int(name) in VIDEO[time] for time in times] for name in sample["object_ids"]]
    assert len(ours) == DRAWS
    assert_alike(ours, theirs)


def test_the_sampler_as_it_is_written_out_is_theirs(theirs: list[Taken]) -> None:
    rolls = random.Random(1)
    video = [{str(value): 80 for value in there} for there in VIDEO]
    assert_alike([sam2(video, FRAMES, OBJECTS, rolls) for _ in range(DRAWS)], theirs)
