"""`resizeonce preview`: the sheet, what is said of it, and what is wrong with it."""

import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from damage import flip_bit
from numpy.typing import NDArray
from PIL import Image

from resizeonce.loader import Store
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.look.samples import draw_sample, thumbnail
from resizeonce.preprocess.look.sheet import INK


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["preview", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def store(converted_once: Path) -> Path:
    return converted_once / "coco.zarr"


def pixels_of(image: Image.Image | Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(image) if isinstance(image, Path) else image)


def holds(sheet: NDArray[np.uint8], tile: NDArray[np.uint8]) -> bool:
    """Whether a tile is somewhere on a sheet."""
    height, width = tile.shape[:2]
    places = np.argwhere((sheet[: 1 - height, : 1 - width] == tile[0, 0]).all(-1))
    return any(np.array_equal(sheet[y : y + height, x : x + width], tile) for y, x in places)


def test_a_sheet_has_the_picture_of_each_sample(store: Path, tmp_path: Path) -> None:
    result = run(store, "-o", tmp_path / "sheet.png", "--count", 3, "--height", 64, "--seed", 5, "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["how"] == "by chance, seed 5"
    sheet = pixels_of(tmp_path / "sheet.png")
    opened = Store(store)
    assert len(facts["samples"]) == 3
    for sample in facts["samples"]:
        assert opened.key(sample["sample"]) == sample["key"]
        assert sample["prompt_cells"] == [int(opened[sample["sample"]]["prompt_cells"])]
        assert holds(sheet, pixels_of(opened.picture(sample["sample"], 64)))
    others = set(range(10)) - {sample["sample"] for sample in facts["samples"]}
    assert not any(holds(sheet, pixels_of(opened.picture(other, 64))) for other in others)
    # Text, in the dark colour, stands on it.
    assert (sheet == INK).all(-1).any()


def test_the_same_seed_gives_the_same_sheet(store: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(store, "-o", tmp_path / f"{name}.png", "--count", 2, "--height", 32, "--seed", seed)
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_samples_are_shown_by_key_in_the_order_asked_for(store: Path, tmp_path: Path) -> None:
    keys = [Store(store).key(sample) for sample in (6, 1)]
    result = run(
        store, "-o", tmp_path / "a.png", "--key", keys[0], "--key", keys[1], "--json", "--height", 32
    )
    assert [sample["key"] for sample in json.loads(result.stdout)["samples"]] == keys


@pytest.mark.parametrize("worst", ["smallest-prompts", "largest-masks", "least-agreement"])
def test_the_worst_are_shown_first(store: Path, tmp_path: Path, worst: str) -> None:
    result = run(store, "-o", tmp_path / "a.png", "--worst", worst, "--json", "--height", 32, "--count", 4)
    samples = json.loads(result.stdout)["samples"]
    values = {
        "smallest-prompts": [sample["prompt_cells"][0] for sample in samples],
        "largest-masks": [-sample["areas"][0] / math.prod(sample["sizes"][0]) for sample in samples],
        "least-agreement": [-(sample["difference"] or 0) for sample in samples],
    }[worst]
    assert len(values) == 4
    assert values == sorted(values)


@pytest.mark.parametrize(("ending", "form"), [("png", "PNG"), ("JPG", "JPEG"), ("webp", "WEBP")])
def test_the_ending_says_the_format(store: Path, tmp_path: Path, ending: str, form: str) -> None:
    path = tmp_path / f"sheet.{ending}"
    result = run(store, "-o", path, "--count", 2, "--height", 32)
    assert result.stdout == f"{path}: 2 of 10 samples, by chance, seed 0\n"
    with Image.open(path) as image:
        assert image.format == form
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_sheet_has_as_many_columns_as_asked_for(store: Path, tmp_path: Path) -> None:
    sizes = []
    for columns in (1, 2, 4):
        run(store, "-o", tmp_path / "a.png", "--count", 4, "--height", 32, "--columns", columns)
        with Image.open(tmp_path / "a.png") as image:
            sizes.append(image.size)
    assert sizes[0][0] < sizes[1][0] < sizes[2][0]
    assert sizes[0][1] > sizes[1][1] > sizes[2][1]


def test_a_damaged_sample_has_a_tile_that_says_so(converted: Path) -> None:
    path = converted / "coco.zarr"
    flip_bit(path / "part-00000/images/g_pixel_values/c/0/0/0/0", 999)
    out = converted / "a.png"
    result = run(path, "-o", out, "--count", 10, "--height", 64, "--json", "--quiet")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    damaged = set(range(10)) - {sample["sample"] for sample in facts["samples"]}
    assert 0 < len(damaged) < 10
    assert len(facts["notes"]) == len(damaged)
    assert all("is damaged" in note and note in result.stderr for note in facts["notes"])
    store, sheet = Store(path), pixels_of(out)
    for sample in range(10):
        assert holds(sheet, pixels_of(draw_sample(store, sample, 64)))
    assert thumbnail(store, min(damaged), 64).size == (64, 64)


def test_damaged_tables_of_another_part_are_named_and_fail_only_what_they_could_have_changed(
    converted: Path,
) -> None:
    path, out = converted / "coco.zarr", converted / "a.png"
    keys = [Store(path).key(sample) for sample in (0, 9)]
    flip_bit(path / "part-00001/samples/mask/c/0/0", 3)
    found = run(path, "-o", out, "--key", keys[0], "--key", keys[1], "--json")
    assert found.exit_code == 0
    assert [sample["key"] for sample in json.loads(found.stdout)["samples"]] == keys
    assert "part-00001/samples/mask" in found.stderr
    assert run(path, "-o", out, "--worst", "smallest-prompts").exit_code == 1
    lost = run(path, "-o", out, "--key", "coco/3")
    assert lost.exit_code == 1
    assert "no sample with the key 'coco/3' is in what can be read" in lost.stderr
    assert "part-00001/samples/mask" in lost.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "a.bmp"], "has no ending of a picture"),
        (["-o", "nowhere/a.png"], "there is no folder"),
        (["-o", "{store}/a.png"], "is in the store"),
        (["-o", "{store}/part-00000/images/a.png"], "is in the store"),
        (["-o", "a.png", "--key", "coco/0/0"], "has no sample with the key 'coco/0/0'"),
        (["-o", "a.png", "--key", "x", "--worst", "largest-masks"], "give one of them"),
        (["-o", "a.png", "--count", "1000", "--height", "2048", "--columns", "1"], None),
    ],
)
def test_wrong_usage_is_told_and_nothing_is_written(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("resizeonce.preprocess.look.sheet.MOST_PIXELS", 1 << 24)
    result = run(store, *(argument.format(store=store) for argument in arguments))
    assert result.exit_code == 2
    assert (message or "too large for one picture") in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert not (store / "a.png").exists()


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    result = run(tmp_path, "-o", tmp_path / "a.png")
    assert result.exit_code == 1
    assert "is no store" in result.stderr


def test_the_page_runs_as_written(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "preview.md").read_text()
    (tmp_path / "coco.zarr").symlink_to(store)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ resizeonce preview (.*)$", page, re.MULTILINE)
    for command in commands:
        assert run(*shlex.split(command)).exit_code == 0, command
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "preview.md", "exec"), {})
    written = {path.name for path in tmp_path.iterdir()} - {"coco.zarr"}
    assert written == {"sheet.png", "worst.png", "these.jpg", "first.png", "small.png"}
    assert len(commands) == 3
