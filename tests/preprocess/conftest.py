"""A converted dataset that tests begin with, made once."""

import shutil
from pathlib import Path

import pytest
from stores import coco_store, tree_digest


@pytest.fixture(scope="session")
def converted_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a miniature COCO tree and its store."""
    folder = tmp_path_factory.mktemp("converted")
    coco_store(folder)
    return folder


@pytest.fixture(scope="session")
def whole(converted_once: Path) -> dict[str, str]:
    """The digest of every file of that store, which an undisturbed run made."""
    return tree_digest(converted_once / "coco.zarr")


@pytest.fixture
def converted(converted_once: Path, tmp_path: Path) -> Path:
    """The test's own folder, with a copy of both: what `coco_store` would make there."""
    shutil.copytree(converted_once, tmp_path, dirs_exist_ok=True)
    return tmp_path
