"""The pages of docs/datasets: one for each source, and their commands and code, run on miniature data."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from miniature.every import WRITERS
from miniature.sav import write_sav_val
from miniature.shapes import picture_of
from stores import TINY, options_of

from resizeonce.preprocess.cli import main
from resizeonce.preprocess.config import SHIPPED, load_config
from resizeonce.preprocess.sources.registry import SOURCES, source_type

FOLDER = Path(__file__).parents[1] / "docs" / "datasets"
PAGES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.md")) if path.stem != "README"}

PARTS = ("**Where**", "**Licence**", "**What it costs**", "## Known faults")
"""What each page says."""


def write_raw(name: str, root: Path) -> None:
    """Write the miniature of a page's dataset to the root that one of its commands names."""
    pictures = [picture_of(60, 90, seed) for seed in range(4)]
    if root.name == "sav_val":
        write_sav_val(root, [("sav_091001", pictures)])
    else:
        write: Callable[..., None] = WRITERS[name]
        write(root, pictures)


def test_each_source_has_a_page() -> None:
    assert sorted(PAGES) == sorted(SOURCES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_where_to_get_it_its_licence_what_it_costs_and_what_is_wrong_with_it(name: str) -> None:
    places = [PAGES[name].index(part) for part in PARTS]
    assert places == sorted(places)


def test_the_index_lists_each_page_and_each_config_of_its_source() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| (.*?) \|", (FOLDER / "README.md").read_text(), re.MULTILINE
    )
    listed = {page: re.findall(r"`(.*?)`", configs) for title, page, configs in rows if title == page}
    expected: dict[str, list[str]] = {name: [] for name in SOURCES}
    for config in sorted(SHIPPED):
        expected[load_config(config).source].append(config)
    assert {page: sorted(configs) for page, configs in listed.items()} == expected


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_run_as_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^\$ resizeonce (.*)$", PAGES[name], re.MULTILINE)
    assert any(line.startswith("convert ") for line in lines)
    assert any(line.startswith("verify ") for line in lines)
    for line in lines:
        # The only words that are not as written: where the raw data is, tensors are small, and one process does it.
        words = shlex.split(re.sub(r"(?<= )/data/", f"{tmp_path}/", line))
        root = Path(words[words.index("--source" if words[0] == "verify" else "--root") + 1])
        if not root.exists():
            write_raw(name, root)
        more = [*options_of(TINY), "--workers", "1"] if words[0] == "convert" else []
        if "source.annotations=annotations/instances_val2017.json" in words:
            (root / "annotations/instances_train2017.json").rename(
                root / "annotations/instances_val2017.json"
            )
            (root / "train2017").rename(root / "val2017")
        found = CliRunner().invoke(main, [*words, *more])
        assert found.exit_code == 0, (line, found.output)


@pytest.mark.parametrize("name", PAGES)
def test_the_options_of_a_page_are_options(name: str) -> None:
    _, _, table = PAGES[name].partition("| option |")
    given = re.findall(r"`(source\.\w+)(?:=([^`]+))?`", table.partition("\n\n")[0])
    assert given
    for option, value in given:
        if value:
            load_config(name, [f"{option}={value}"])
        else:
            assert option.partition(".")[2] in source_type(name).options.__struct_fields__


def test_the_file_that_the_page_of_npz_writes_is_converted(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGES["npz"], re.MULTILINE | re.DOTALL)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    command = [
        "convert",
        "npz",
        "--root",
        str(tmp_path),
        "--out",
        str(tmp_path / "npz.zarr"),
        *options_of(TINY),
    ]
    found = CliRunner().invoke(main, command)
    assert found.exit_code == 0, found.output
    assert "samples   1\n" in found.output
