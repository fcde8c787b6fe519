"""Stores that tests only read, made once; and the mailboxes of the datasets that a test makes."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from miniature.refcoco import write_refcoco
from miniature.shapes import picture_of
from stores import CONFIGS, TINY, coco_store

from resizeonce.loader.buffers.dataloader_slots import Mailbox
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert


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


@pytest.fixture
def mailboxes(monkeypatch: pytest.MonkeyPatch) -> list[Mailbox]:
    """Those of the datasets that are made, in their order."""
    made: list[Mailbox] = []

    def make() -> Mailbox:
        made.append(Mailbox())
        return made[-1]

    monkeypatch.setattr(Mailbox, "make", make)
    return made
