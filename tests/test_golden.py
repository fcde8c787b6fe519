"""Golden stores, of each format version and of what came to it later: later versions open them, find no fault in them, and make them again.

`tests/golden` holds them with their raw files; `tests/support/make_golden.py` made them.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from make_golden import GOLDEN, RAW, convert_golden, describe_batch, describe_clips, libraries
from stores import tree_digest

from resizeonce import loader
from resizeonce.loader.format.layout import FORMAT_VERSIONS
from resizeonce.preprocess.cli import main

FOLDERS = sorted(GOLDEN.iterdir())

ROOT = "zarr.json"


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    """The folder of a golden store."""
    golden: Path = request.param
    return golden


def golden_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "golden.json").read_text("utf-8"))
    return content


def skip_where_libraries_differ(folder: Path) -> None:
    """Excuse other bytes where another version of a library decoded, resized or compressed."""
    made_with, here = golden_of(folder)["libraries"], libraries()
    if here != made_with:
        pytest.skip(f"the golden store was made with {made_with}, and here are {here}")


def root_without_versions(store: Path) -> str:
    """Return a root's `zarr.json` without the versions and the digest over them."""
    content = json.loads((store / ROOT).read_bytes())
    attributes = content["attributes"]["resizeonce"]
    del attributes["versions"], attributes["sha256"]
    return json.dumps(content, indent=1)


def test_each_format_version_has_a_golden_store_of_that_version() -> None:
    names = {folder.name for folder in FOLDERS}
    assert names == RAW.keys() >= {f"format-{number}" for number in FORMAT_VERSIONS}
    for folder in FOLDERS:
        version = loader.Store(folder / "store.zarr").attributes["format_version"]
        assert folder.name.startswith(f"format-{version}")


def test_a_checkout_holds_the_very_bytes(folder: Path) -> None:
    assert tree_digest(folder / "store.zarr") == golden_of(folder)["files"]


def test_the_loader_gives_the_batch_of_old(folder: Path) -> None:
    store, expected = loader.Store(folder / "store.zarr"), golden_of(folder)["batch"]
    dataset = loader.SampleDataset(folder / "store.zarr")
    assert describe_batch(store.batch(range(len(store)))) == expected
    assert describe_batch(dataset[:]) == expected
    assert describe_batch(loader.collate([dataset[sample] for sample in range(len(dataset))])) == expected
    assert [store.key(sample) for sample in range(len(store))] == expected["key"]
    if store.has_expressions:
        assert [store.expressions(sample) for sample in range(len(store))] == expected["expressions"]


def test_the_loader_gives_the_clips_of_old(folder: Path) -> None:
    clips = describe_clips(loader.Store(folder / "store.zarr"))
    assert clips == golden_of(folder).get("clips")


def test_verify_finds_nothing_in_it(folder: Path) -> None:
    found = CliRunner().invoke(main, ["verify", str(folder / "store.zarr"), "--values"])
    assert found.output.startswith("no damage (values: ")
    assert found.exit_code == 0


def test_verify_makes_its_rows_again_from_the_raw_files(folder: Path) -> None:
    command = ["verify", str(folder / "store.zarr"), "--source", str(folder / "raw"), "--all"]
    found = CliRunner().invoke(main, command)
    if found.exit_code:
        skip_where_libraries_differ(folder)
    assert found.output.startswith("no damage (source: ")
    assert found.exit_code == 0


@pytest.mark.parametrize("engine", ["exact-fast", "pillow"])
def test_each_engine_makes_it_again_byte_for_byte(folder: Path, tmp_path: Path, engine: str) -> None:
    store = tmp_path / "store.zarr"
    convert_golden(folder, store, "--engine", engine)
    made, expected = tree_digest(store), golden_of(folder)["files"]
    # Other versions may stand in the root, and so in the digest over it.
    del made[ROOT], expected[ROOT]
    root, expected_root = root_without_versions(store), root_without_versions(folder / "store.zarr")
    if (made, root) != (expected, expected_root):
        skip_where_libraries_differ(folder)
    assert made == expected
    assert root == expected_root
