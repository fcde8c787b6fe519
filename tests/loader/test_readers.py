"""Every array of a store, as the loader maps it, against the Zarr readers of others."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
from miniature.every import WRITERS
from numpy.typing import NDArray
from stores import COMPACT_IMAGES, CONFIGS, USUAL, pictures

from resizeonce.loader.format.layout import array_specs
from resizeonce.loader.format.recipe import DEFAULT_RECIPE
from resizeonce.loader.store import Store
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

PATHS = [spec.path for spec in array_specs(DEFAULT_RECIPE, 1)]
RECIPES = {
    "uint8": USUAL,
    "float32": ("recipe.pixel_values.stored=float32", *USUAL),
    "compact": (*COMPACT_IMAGES, *USUAL),
}


@pytest.fixture(scope="module", params=[*RECIPES, "npz", "refcoco"])
def store(
    request: pytest.FixtureRequest, coco_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Stores of single samples in both stored forms, of pairs, and of samples with expressions."""
    if request.param in RECIPES:
        return coco_of(*RECIPES[request.param])
    folder = tmp_path_factory.mktemp("readers")
    WRITERS[request.param](folder / "raw", pictures()[:4])
    config = load_config(CONFIGS / f"{request.param}.toml", ["store.scenes_per_part=2"])
    convert(config, folder / "raw", folder / "coco.zarr")
    return folder / "coco.zarr"


def mapped(store: Path, path: str) -> list[NDArray[Any]]:
    """Return an array of each part, read row by row through the loader."""
    opened = Store(store)
    parts = [opened.part(number) for number in range(len(opened.attributes["parts"]))]
    arrays = [part.array(path) for part in parts]
    if path.endswith(("/pixel_values", "/g_pixel_values", "/masks")):
        return [np.stack([array.row(row) for row in range(len(array))]) for array in arrays]
    return [array.whole() for array in arrays]


def is_packed(store: Path, path: str) -> bool:
    """Whether an array is stored compact, which only zarr-python reads, with this package installed."""
    table, _, name = path.partition("/")
    recipe = Store(store).attributes["recipe"]
    return table == "images" and recipe.get(name, {}).get("stored") == "compact"


@pytest.mark.parametrize("path", PATHS)
def test_zarr_python_reads_the_same(store: Path, path: str) -> None:
    group = zarr.open_group(store, mode="r")
    for number, array in enumerate(mapped(store, path)):
        theirs = group[f"part-{number:05d}/{path}"]
        assert isinstance(theirs, zarr.Array)
        assert theirs.dtype == array.dtype
        assert np.array_equal(theirs[...], array)


@pytest.mark.parametrize("path", PATHS)
def test_tensorstore_reads_the_same(store: Path, path: str) -> None:
    for number, array in enumerate(mapped(store, path)):
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": str(store / f"part-{number:05d}" / path)},
        }
        if is_packed(store, path):
            with pytest.raises(ValueError, match=r"resizeonce\.gradient"):
                tensorstore.open(spec).result()
            continue
        theirs = tensorstore.open(spec).result().read().result()
        assert theirs.dtype == array.dtype
        assert np.array_equal(theirs, array)


@pytest.mark.parametrize("path", PATHS)
def test_zarrs_reads_the_same(store: Path, path: str) -> None:
    if is_packed(store, path):
        with (
            zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}),
            pytest.warns(UserWarning, match=r"codec resizeonce\.gradient is not supported"),
        ):
            zarr.open_group(store, mode="r")[f"part-00000/{path}"]
        return
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        group = zarr.open_group(store, mode="r")
        for number, array in enumerate(mapped(store, path)):
            theirs = group[f"part-{number:05d}/{path}"]
            assert isinstance(theirs, zarr.Array)
            assert "Zarrs" in type(theirs.async_array.codec_pipeline).__name__
            assert np.array_equal(theirs[...], array)


def test_zarr_python_finds_every_array_of_the_layout_and_no_other(store: Path) -> None:
    group = zarr.open_group(store, mode="r")
    names = [path.name for path in store.glob("part-*")]
    assert names
    for name in names:
        part = group[name]
        assert isinstance(part, zarr.Group)
        found = {path for path, member in part.members(max_depth=None) if isinstance(member, zarr.Array)}
        assert found == set(PATHS)


def test_zarr_python_finds_the_codec_by_the_entry_point(coco_of: Callable[..., Path]) -> None:
    store = coco_of(*COMPACT_IMAGES)
    script = (
        "import sys, zarr\n"
        "images = zarr.open_group('coco.zarr', mode='r')['part-00000/images']\n"
        "print(images['g_pixel_values'][1].sum())\n"
        "print('torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", script]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=store.parent
    ).stdout.split()
    expected = Store(store).part(0).array("images/g_pixel_values").row(1).sum()
    assert found == [str(expected), "False"]


def test_stores_of_every_form_give_the_same_batch(coco_of: Callable[..., Path]) -> None:
    batches = [Store(coco_of(*overrides)).batch(range(10)) for overrides in RECIPES.values()]
    for key, value in batches[0].items():
        for other in batches[1:]:
            if isinstance(value, np.ndarray):
                assert value.tobytes() == other[key].tobytes()
            else:
                assert value == other[key]
