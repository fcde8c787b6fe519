"""A store that tests only read, made once."""

from pathlib import Path

import pytest
from stores import TINY, coco_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO store of ten masks in three parts, of small tensors."""
    folder = tmp_path_factory.mktemp("tiny")
    coco_store(folder, *TINY)
    return folder / "coco.zarr"
