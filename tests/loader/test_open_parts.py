"""Stores of more parts than a process may have files open."""

import subprocess
import sys
from pathlib import Path

import pytest
from miniature.coco import write_coco
from miniature.shapes import picture_of
from stores import CONFIGS

from resizeonce.loader import CacheOptions, Store
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

READ = """
import resource, sys
from resizeonce.loader import CacheOptions, Store
store = Store(sys.argv[1], cache=CacheOptions(folder=sys.argv[2]) if sys.argv[2:] else None)
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
print(sum(len(store.batch(range(len(store)))["key"]) for _ in range(2)))
"""

SETTINGS = [
    "store.scenes_per_part=1",
    "recipe.pixel_values.size=16",
    "recipe.g_pixel_values.size=16",
    "recipe.masks.size=16",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    write_coco(folder / "raw", [picture_of(30, 40, seed) for seed in range(24)])
    convert(load_config(CONFIGS / "coco.toml", SETTINGS), folder / "raw", folder / "coco.zarr")
    return folder / "coco.zarr"


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_process_that_may_open_few_files_reads_many_parts(
    store: Path, tmp_path: Path, is_cached: bool
) -> None:
    source, arguments = str(store), []
    if is_cached:
        source, arguments = store.as_uri(), [str(tmp_path)]
        opened = Store(source, cache=CacheOptions(folder=tmp_path))
        opened.batch(range(len(opened)))
    command = [sys.executable, "-c", READ, source, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stdout == f"{2 * len(Store(store))}\n", found.stderr
