"""Stores that tests only read, made once; and the mailboxes of the datasets that a test makes."""

import multiprocessing
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from miniature.refcoco import write_refcoco
from miniature.sav import write_sav_train
from miniature.shapes import picture_of
from stores import CONFIGS, TINY, coco_store

from resizeonce.loader.buffers.dataloader_slots import Mailbox
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

# Or each process that a fork server starts for a `DataLoader` would import it.
multiprocessing.set_forkserver_preload(["torch"])


@pytest.fixture(scope="session")
def coco_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Gives the COCO store of a recipe's overrides; who changes one copies it before."""

    @cache
    def make(*overrides: str) -> Path:
        folder = tmp_path_factory.mktemp("coco")
        coco_store(folder, *overrides)
        return folder / "coco.zarr"

    return make


@pytest.fixture(scope="session")
def store(coco_of: Callable[..., Path]) -> Path:
    """A COCO store of ten masks in three parts, of small tensors."""
    return coco_of()


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RefCOCO store, the one kind that has expressions, of small tensors."""
    folder = tmp_path_factory.mktemp("sentences")
    write_refcoco(folder / "raw", [picture_of(60, 90, seed) for seed in range(8)])
    convert(load_config(CONFIGS / "refcoco.toml", TINY), folder / "raw", folder / "refcoco.zarr")
    return folder / "refcoco.zarr"


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of pairs of three videos, of 5, 3 and 4 annotated frames."""
    folder = tmp_path_factory.mktemp("videos")
    clips = [
        (f"sav_{number:06d}", [np.roll(picture_of(40, 60, number), 4 * t, axis=1) for t in range(num_frames)])
        for number, num_frames in ((1, 5), (2, 3), (3, 4))
    ]
    write_sav_train(folder / "raw", clips)
    overrides = ["source.gaps=[1, 2, 3, 4]", *TINY]
    convert(load_config(CONFIGS / "sav.toml", overrides), folder / "raw", folder / "videos.zarr")
    return folder / "videos.zarr"


@pytest.fixture(scope="session")
def whole(coco_of: Callable[..., Path]) -> Path:
    """A COCO store with masks at their own size and a padded image."""
    return coco_of("recipe.pixel_values.fit=pad", "recipe.masks.size=own")


@pytest.fixture
def mailboxes(monkeypatch: pytest.MonkeyPatch) -> list[Mailbox]:
    """Those of the datasets that are made, in their order."""
    made: list[Mailbox] = []

    def make() -> Mailbox:
        made.append(Mailbox())
        return made[-1]

    monkeypatch.setattr(Mailbox, "make", make)
    return made
