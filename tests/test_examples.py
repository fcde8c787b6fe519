"""The examples run, and take nothing but public names."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_example(name: str, *arguments: object) -> list[str]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120
    ).stdout.splitlines()


@pytest.mark.slow
def test_the_demo_shows_a_batch_of_each_dataset(tmp_path: Path) -> None:
    lines = run_example("demo.py", tmp_path)
    assert sum(" 0 rejects, " in line for line in lines) == 6
    assert sum(line.split()[:1] == ["dataset_type"] for line in lines) == 6
    assert lines[-1].endswith(f"resizeonce info {tmp_path / 'stores' / 'sav.zarr'}")


# What they give is looked at in tests/end_to_end/: test_trainer_batches.py, and test_trainer_loops.py of train.py.
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
