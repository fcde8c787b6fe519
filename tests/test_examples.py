"""The examples run, and take nothing but public names."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from forks import run_in_forks
from miniature.sa1b import write_sa1b
from miniature.shapes import picture_of

from resizeonce.preprocess import convert

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_example(name: str, *arguments: object) -> list[str]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120
    ).stdout.splitlines()


def test_the_training_example_is_forty_lines_at_most_and_trains(tmp_path: Path) -> None:
    write_sa1b(tmp_path / "raw", [picture_of(60, 90, 1)])
    convert("sa1b", tmp_path / "raw", tmp_path / "sa1b.zarr")
    [(status, said)] = run_in_forks(
        tmp_path, [((EXAMPLES / "train.py").read_text(), [tmp_path / "sa1b.zarr"])]
    )
    assert status == 0, said
    lines = said.splitlines()
    # Five masks in batches of two, the last left out, twice.
    assert [line.partition(", loss")[0] for line in lines] == [
        f"epoch {epoch}, step {step}: 2 samples" for epoch in range(2) for step in range(2)
    ]
    losses = [float(line.rpartition(" ")[2]) for line in lines]
    assert sum(losses[2:]) < sum(losses[:2])
    assert len((EXAMPLES / "train.py").read_text().splitlines()) <= 40


@pytest.mark.slow
def test_the_demo_shows_a_batch_of_each_dataset(tmp_path: Path) -> None:
    lines = run_example("demo.py", tmp_path)
    assert sum(" 0 rejects, " in line for line in lines) == 6
    assert sum(line.split()[:1] == ["dataset_type"] for line in lines) == 6
    assert lines[-1].endswith(f"resizeonce info {tmp_path / 'stores' / 'sav.zarr'}")


# What they give is looked at in tests/end_to_end/test_trainer_batches.py.
@pytest.mark.parametrize("name", ["lisa_batch", "own_folder", "sa2va_batch", "sam2_batch"])
def test_examples_of_batches_are_under_eighty_lines(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 80


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.stem)
def test_examples_take_public_names_only_and_nothing_of_the_tests(path: Path) -> None:
    support = {path.stem for path in (EXAMPLES.parent / "tests" / "support").glob("*.py")}
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
            if modules[0].startswith("resizeonce"):
                assert modules[0] in ("resizeonce.loader", "resizeonce.preprocess")
                assert {alias.name for alias in node.names} <= set(import_module(modules[0]).__all__)
        assert not {module.partition(".")[0] for module in modules} & {
            "tests",
            "loader",
            "preprocess",
            *support,
        }
