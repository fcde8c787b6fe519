"""The page of a report as a file; tests/pages looks at it in a browser."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from known_store import HOSTILE_CLASS, HOSTILE_TEXT
from PIL import Image

from resizeonce.preprocess.cli import main
from resizeonce.preprocess.findings import read_diagnosis
from resizeonce.preprocess.look.distribution import Distribution, RangeCounter
from resizeonce.preprocess.look.page import render_report
from resizeonce.preprocess.look.plots import histogram
from resizeonce.preprocess.look.samples import draw_gallery, stack_frames
from resizeonce.preprocess.look.statistics import measure_store

FOUND = {
    "config": "refcoco",
    "root": "/data/<b>refcoco</b>",
    "scenes": {"total": 3, "looked_at": 3},
    "findings": [
        {
            "check": "twice",
            "severity": "note",
            "count": 1,
            "what": "a note",
            "examples": [],
            "remedy": "none",
        },
        {
            "check": "missing",
            "severity": "error",
            "count": 2,
            "what": "files that <i>are</i> missing",
            "examples": ["a\u202egpj.jpg"],
            "remedy": "copy them",
        },
    ],
    "forecast": {},
}

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """A page as a browser takes it: elements that are closed in order, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def values(self, attribute: str) -> list[str]:
        return [value for _, found in self.elements if (value := found.get(attribute)) is not None]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def found_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("found") / "found.json"
    path.write_text(json.dumps(FOUND))
    return path


@pytest.fixture(scope="module")
def text(known: Path, found_file: Path) -> str:
    out = found_file.with_name("report.html")
    assert run(known, "-o", out, "--doctor", found_file).exit_code == 0
    return out.read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_element_is_closed_and_no_id_is_there_twice(page: Page) -> None:
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids)) > 5


def test_nothing_is_loaded_from_anywhere_else(text: str, page: Page) -> None:
    names = {name for name, _ in page.elements}
    assert names.isdisjoint({"script", "iframe", "object", "embed", "base", "form", "audio", "video", "use"})
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.values("src"))
    for link in page.values("href"):
        assert link == "data:," or link[1:] in page.values("id")
    (style,) = re.findall(r"<style>.*?</style>", text, re.DOTALL)
    assert not re.search(r"url\(|@import|https?:", style)
    attributes = {name for _, found in page.elements for name in found}
    assert not [name for name in attributes if name.startswith("on") or name in {"srcset", "xlink:href"}]


def test_what_a_dataset_says_is_text_and_nothing_else(page: Page) -> None:
    for said in (HOSTILE_CLASS, HOSTILE_TEXT, "files that <i>are</i> missing", "/data/<b>refcoco</b>"):
        assert said in page.text
    assert r"a\u202egpj.jpg" in page.text


def test_every_picture_and_plot_says_what_it_shows(page: Page) -> None:
    assert len(page.of("img")) == 3
    assert all(str(image["alt"]).startswith("Sample refcoco/") for image in page.of("img"))
    plots = page.of("svg")
    assert len(plots) == 8
    assert len({plot["aria-label"] for plot in plots}) == 8
    assert {plot["role"] for plot in plots} == {"img"}
    assert "Area, in pixels of the original: 14 ranges from 1 to 20,000, most masks (1) in 1" in {
        plot["aria-label"] for plot in plots
    }


def test_it_says_the_numbers_of_the_store(page: Page) -> None:
    said = " ".join(page.text.split())
    for words in (
        "Samples 3 Images 2 Masks 3 Expressions 4 Empty prompts 33.3% 1 mask Rejects 1",
        "Prompt masks without a cell: 1 (33.3%); with one to three: 0 (0.0%).",
        "Pixels of the original, of 3 masks: smallest 1, median 200 to 499, mean 6,734, largest 20,000.",
        "pixel_values 150.0 123.7 50.0 58.4",
        "1 record was rejected",
        "refcoco/1/10 cat · mask of 200 pixels · 4 prompt cells “left cat” “a b c d”",
        "Error · 2 · files that",
    ):
        assert words in said


def test_the_worst_findings_of_the_doctor_come_first(found_file: Path) -> None:
    report = read_diagnosis(found_file)
    assert [found.severity for found in report.findings] == ["error", "note"]


@pytest.mark.parametrize(
    "content", ["", "[", "[1]", "{}", json.dumps(FOUND | {"findings": [{"severity": "worst"}]}), "[" * 99_999]
)
def test_a_file_that_is_no_finding_is_one_sentence(known: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "wrong.json").write_text(content)
    result = run(known, "-o", tmp_path / "report.html", "--doctor", tmp_path / "wrong.json")
    assert result.exit_code == 2
    assert re.fullmatch(
        "error: .*wrong.json is not what `resizeonce doctor --json` prints .*\n", result.output
    )


@pytest.mark.parametrize("out", ["", "nowhere/report.html", "link.html", f"{'a' * 300}.html"])
def test_a_page_that_cannot_be_written_is_one_sentence_before_the_store_is_read(
    tmp_path: Path, out: str
) -> None:
    (tmp_path / "link.html").symlink_to("/dev/null")
    result = run(tmp_path / "no store", "-o", tmp_path / out)
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "error: can't write" in result.output


def test_without_its_packages_it_says_what_to_install(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(known, "-o", tmp_path / "report.html")
    assert (result.exit_code, result.output) == (
        2,
        "error: a report needs the package matplotlib, which is not installed: pip install 'resizeonce[look]'\n",
    )
    assert run(known, "--json").exit_code == 0


def test_the_numbers_alone_are_one_json_document_and_no_page(known: Path, tmp_path: Path) -> None:
    result = run(known, "--json")
    assert json.loads(result.output) == msgspec.to_builtins(measure_store(known))
    refused = run(known, "--json", "-o", tmp_path / "report.html")
    assert refused.exit_code == 2
    assert refused.output == "error: --out names the page, and --json writes none: give one of them\n"


def test_a_page_into_a_store_is_refused(known: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(known / "part-00000")
    for folder in (known, tmp_path / "link"):
        refused = run(known, "-o", folder / "report.html")
        assert refused.exit_code == 2
        assert f"is in the store {known.resolve()}, which" in refused.output


def test_the_same_store_and_seed_give_the_same_page(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(known.parent)
    for number, store in enumerate((known, "known.zarr/")):
        assert run(store, "-o", tmp_path / f"{number}.html", "--seed", 3).exit_code == 0
    first, *others = [(tmp_path / f"{number}.html").read_bytes() for number in range(2)]
    assert others == [first]


def test_the_gallery_is_what_a_preview_with_the_seed_shows(known: Path, tmp_path: Path) -> None:
    def previewed(seed: int) -> str:
        arguments = ["preview", known, "-o", tmp_path / "sheet.png", "--json", "--count", 1, "--seed", seed]
        shown = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
        return str(json.loads(shown.output)["samples"][0]["key"])

    keys = [draw_gallery(known, 1, seed)[0].facts.key for seed in range(4)]
    assert keys == [previewed(seed) for seed in range(4)]
    assert len(set(keys)) > 1


def test_a_store_without_a_sample_has_a_page(known: Path) -> None:
    nothing = {name: RangeCounter((0, 1)).distribution() for name in measure_store(known).distributions}
    tables = dict.fromkeys(("images", "masks", "expressions", "samples", "scenes"), 0)
    changes: dict[str, Any] = {
        "tables": tables,
        "classes": {},
        "distributions": nothing,
        "rejects": [],
        "arrays": {},
    }
    empty = msgspec.structs.replace(
        measure_store(known), **changes, empty_prompts=0, small_prompts=0, sampled_images=0
    )
    shown = Page(render_report(empty, []))
    assert shown.open == []
    assert "The store holds no sample." in shown.text
    assert shown.of("svg") == []


def bars(svg: str) -> list[tuple[float, float]]:
    """Return left edge and height of each bar of a plot, as drawn."""
    (path,) = re.findall(r'<path d="([^"]*)" style="fill: var\(--accent\)', svg)
    corners = np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path), float).reshape(-1, 4, 2)
    return [(left, bottom - top) for (left, bottom), (_, top) in corners[:, :2].tolist()]


def test_bars_are_as_high_as_their_counts() -> None:
    drawn = bars(histogram(Distribution([0, 1, 2, 4, 9], [10, 0, 5, 20], True, 35, 0, 1, 8), "some"))
    assert len(drawn) == 3
    (_, first), (_, second), (_, third) = drawn
    assert [first / third, second / third] == pytest.approx([0.5, 0.25], abs=1e-3)
    lefts = [left for left, _ in drawn]
    assert (lefts[1] - lefts[0]) / (lefts[2] - lefts[1]) == pytest.approx(2, abs=1e-3)


def test_a_plot_has_the_colours_of_its_page_and_none_of_its_own(text: str) -> None:
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    colours = {colour for plot in plots for colour in re.findall(r"(?:fill|stroke): ([^;\"]+)", plot)}
    assert colours == {"none", "currentColor", "var(--accent)", "var(--line)"}
    assert max(map(len, plots)) < 5000


def test_a_picture_of_a_pair_has_its_later_frame_below() -> None:
    strip = Image.new("RGB", (10, 3), "white")
    strip.paste((1, 1, 1), (0, 0, 4, 3))
    strip.paste((2, 2, 2), (6, 0, 10, 3))
    stacked = np.asarray(stack_frames(strip))[..., 0]
    assert stacked.shape == (8, 4)
    assert stacked[:, 0].tolist() == [1, 1, 1, 255, 255, 2, 2, 2]


def test_the_command_of_the_documentation_runs_as_written(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "report.md").read_text()
    (command,) = re.findall(r"^\$ resizeonce report (.*)$", page, re.MULTILINE)
    (tmp_path / "refcoco.zarr").symlink_to(known)
    monkeypatch.chdir(tmp_path)
    assert run(*command.split(), "--count", 1).exit_code == 0
    assert Path("report.html").stat().st_size > 10_000
