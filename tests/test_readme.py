"""What the README promises is run here."""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from cli_page import PAGE, cli_page
from click.testing import CliRunner
from demo_pictures import PLOT, SHEET, write_pictures
from forks import run_in_forks
from miniature.refcoco import write_refcoco
from miniature.shapes import picture_of
from PIL import Image
from publishing import published
from stores import CONFIGS, coco_store

from resizeonce.loader.format.metadata import read_attributes
from resizeonce.preprocess.cli import COMMANDS, main
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
REMOTE = (ROOT / "docs" / "remote.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_code_of_the_readme_and_of_the_page_on_urls_runs_as_written(tmp_path: Path) -> None:
    write_refcoco(tmp_path / "raw", [picture_of(60, 90, seed) for seed in range(8)])
    convert(load_config(CONFIGS / "refcoco.toml"), tmp_path / "raw", tmp_path / "refcoco.zarr")
    coco_store(tmp_path / "urls")
    with (
        page_of(README, "\nassert batch['masks'].shape == (2, 1024, 1024)\n", tmp_path) as readme,
        page_of(REMOTE, "\nprint(len(batches))\n", tmp_path / "urls") as remote,
    ):
        scripts = [(RUN, [name, *page]) for name, page in (("README.md", readme), ("docs/remote.md", remote))]
        for status, said in run_in_forks(tmp_path, scripts):
            assert status == 0, said


RUN = """
import os, sys

name, folder, *blocks = sys.argv[1:]
os.chdir(folder)
os.environ["XDG_CACHE_HOME"] = os.path.join(folder, "cache")
for number, code in enumerate(blocks):
    print(name, "block", number, flush=True)
    exec(compile(code, f"{name}, block {number}", "exec"), {"__name__": "__main__"})
"""


@contextmanager
def page_of(page: str, end: str, folder: Path) -> Iterator[list[str]]:
    """Publish a folder; give it, then each block of a page's code, with an end that looks at what it made."""
    with published(folder) as publisher:
        # The only words that are not as written: who publishes, and where the disk is.
        code = [
            block.replace("https://example.org", publisher.url).replace("/local/ssd", str(folder / "ssd"))
            + end
            for block in blocks("python", page)
        ]
        assert code
        yield [str(folder), *code]


def test_the_commands_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_refcoco(tmp_path / "demo" / "raw" / "refcoco", [picture_of(60, 90, seed) for seed in range(3)])
    # Those on the data of `make demo`; the others are on clusters and buckets.
    lines = re.findall(r"^\$ resizeonce ((?!.*sa1b).*)$", "".join(blocks("console")), re.MULTILINE)
    assert len(lines) == 8
    for line in lines:
        command = shlex.split(line)
        # As written, but that measuring takes 15 seconds otherwise.
        command += ["--seconds", "0.2"] if line.startswith("bench") else []
        found = CliRunner().invoke(main, command)
        # A store audited against itself has every picture in both.
        assert found.exit_code == (4 if line.startswith("audit") else 0), (line, found.output)
    assert read_attributes(tmp_path / "compact.zarr")["format_version"] == 2


def test_the_training_loop_is_ten_lines_at_most() -> None:
    assert len(blocks("python")[0].strip().splitlines()) <= 10


def test_every_command_and_option_named_exists() -> None:
    for page in PAGES:
        for line in re.findall(r"resizeonce ([a-z]+[^`\n]*)", page.read_text()):
            name, *words = shlex.split(line, posix=False)
            command = main.get_command(click.Context(main), name)
            if command is None:
                assert name in {"is", "that", "verify"} or not line.startswith(name + " --"), (page, line)
                continue
            known = {option for p in command.params if isinstance(p, click.Option) for option in p.opts}
            given = {word.partition("=")[0].rstrip(".,;)") for word in words if word.startswith("--")}
            assert given <= known, (page.name, line)


def test_every_command_is_in_the_documentation() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert all(f"resizeonce {name}" in text for name in COMMANDS)


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    assert PAGE.read_text() == cli_page(), "run `make docs`"


def test_every_link_leads_to_a_file() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), (page.name, target)


def test_every_config_is_in_the_table_of_sources() -> None:
    rows = README.partition("## Sources")[2].partition("The tree")[0]
    named = re.findall(r"`([\w+]+)`", "".join(re.findall(r"^\|(.*?)\|", rows, re.MULTILINE)))
    assert sorted(named) == sorted(path.stem for path in CONFIGS.glob("*.toml"))


def test_every_make_target_is_listed_by_make() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = {line.split()[0] for line in listed.splitlines()}
    assert {"install", "demo", "convert", "verify", "lint", "test", "bench", "clean"} <= targets
    for target in re.findall(r"`make ([a-z-]+)", "".join(page.read_text() for page in PAGES)):
        assert target in targets


def test_the_counts_of_empty_prompts_are_measured(shared_data: Path, tmp_path: Path) -> None:
    config = load_config(
        CONFIGS / "coco.toml", ["recipe.g_pixel_values.size=16", "recipe.pixel_values.size=16"]
    )
    totals = convert(config, shared_data / "coco", tmp_path / "coco.zarr").attributes["totals"]
    found = re.search(r"Of (\d+) COCO objects, (\d+) \((\d+) %\) have .* another (\d+)\s", README, re.DOTALL)
    assert found is not None
    share = round(100 * totals["empty_prompts"] / totals["masks"])
    expected = (totals["masks"], totals["empty_prompts"], share, totals["small_prompts"])
    assert tuple(map(int, found.groups())) == expected


def test_the_citation_is_of_this_version_and_licence() -> None:
    cited = dict(re.findall(r"^(\w[\w-]*): (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


def test_the_pictures_are_those_that_make_pictures_draws() -> None:
    assert {f"docs/pictures/{name}" for name in (SHEET, PLOT)} <= set(re.findall(r"\]\(([^)]+)\)", README))


@pytest.mark.slow
def test_pictures_are_drawn_of_the_demo(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    with Image.open(tmp_path / SHEET) as drawn, Image.open(ROOT / "docs" / "pictures" / SHEET) as kept:
        assert drawn.width == kept.width
    assert (tmp_path / PLOT).read_text() == (ROOT / "docs" / "pictures" / PLOT).read_text()
