"""Sound stores, made once; each test damages a copy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import CONFIGS, USUAL, VIEWS, coco_store

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import RunOptions, convert

TINY = [
    "recipe.pixel_values.size=28",
    "recipe.g_pixel_values.size=64",
    "recipe.masks.size=64",
]
"""A recipe of small tensors, for tests of structure."""

Copy = Callable[[str], Path]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sound stores: tiny ones of COCO, RefCOCO and SA-V, one of another recipe, and `full` at the sizes of the contract."""
    folder = tmp_path_factory.mktemp("sound")
    # Every fourth picture is in RefCOCO's split.
    stores = (
        ("coco", "coco", 4, TINY),
        ("refcoco", "refcoco", 16, TINY),
        ("sav", "sav", 4, TINY),
        ("views", "coco", 4, VIEWS),
    )
    for name, source, count, recipe in stores:
        WRITERS[source](folder / name, [picture_of(90 + 3 * n, 120, n) for n in range(count)])
        config = load_config(CONFIGS / f"{source}.toml", ["store.scenes_per_part=2", *recipe])
        convert(config, folder / name, folder / f"{name}.zarr", RunOptions(engine="pillow"))
    (folder / "full").mkdir()
    coco_store(folder / "full", "store.scenes_per_part=8", *USUAL, engine="pillow")
    return folder


@pytest.fixture
def copy_of(sound: Path, tmp_path: Path) -> Copy:
    """Return a copy of a store that a test may damage."""

    def copy(name: str) -> Path:
        source = sound / ("full/coco.zarr" if name == "full" else f"{name}.zarr")
        return Path(shutil.copytree(source, tmp_path / f"{name}.zarr"))

    return copy
