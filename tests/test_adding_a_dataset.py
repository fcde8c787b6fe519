"""The five steps of docs/adding_a_dataset.md, taken from the page into a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding_a_dataset.md").read_text()
COPIED = (
    "loader",
    "preprocess",
    "configs",
    "resizeonce",
    "tests/support",
    "examples/miniature",
    "pyproject.toml",
)

STEPS = """
import shlex, sys
from pathlib import Path

import pytest

assert pytest.main(["-p", "no:cacheprovider", "tests/preprocess/sources/test_leaves.py"]) == 0
from resizeonce.preprocess.cli import main
sys.path.insert(0, "tests/preprocess/sources")
from test_leaves import write_leaves
write_leaves(Path("leaves"), [[10, 8, 70, 20, 40, 50]])
code, *commands = sys.argv[1:]
for command in commands:
    main(shlex.split(command), standalone_mode=False)
exec(code)
"""
"""What the page says to do, in one process: its test, its commands, its code."""


def blocks(language: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def files_of_the_page() -> dict[str, str]:
    """Return the block that follows each title with the name of a new file."""
    sections = re.findall(r"^## \d\. [^`\n]*: `(\S+)`\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    return {
        name: re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0] for name, text in sections
    }


def change(file: Path, difference: str) -> None:
    """Change the one place of a file that has the lines of a difference."""
    lines = [(line[0], f"{line[1:]}\n") for line in difference.splitlines()]
    before, after = ("".join(text for sign, text in lines if sign != other) for other in "+-")
    content = file.read_text()
    assert content.count(before) == 1, before
    file.write_text(content.replace(before, after))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after the five steps."""
    copy = tmp_path_factory.mktemp("project")
    for name in COPIED:
        one, other = ROOT / name, copy / name
        other.parent.mkdir(parents=True, exist_ok=True)
        if one.is_dir():
            shutil.copytree(one, other, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(one, other)
    for name, text in files_of_the_page().items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text)
    for difference in blocks("diff"):
        change(copy / "preprocess/sources/registry.py", difference)
    return copy


def run(project: Path, *arguments: str) -> str:
    """Run Python in the copy, which is found before the project itself."""
    path = os.pathsep.join([str(project), str(project / "examples"), str(project / "tests" / "support")])
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command,
        cwd=project,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_five_steps_three_of_which_are_new_files() -> None:
    assert re.findall(r"^## (\d)\. ", PAGE, re.MULTILINE) == ["1", "2", "3", "4", "5"]
    assert list(files_of_the_page()) == [
        "preprocess/sources/leaves.py",
        "configs/leaves.toml",
        "tests/preprocess/sources/test_leaves.py",
    ]


def test_the_made_up_dataset_passes_its_own_test_is_converted_verified_and_loaded(project: Path) -> None:
    commands = re.findall(r"^\$ resizeonce (.*)$", "".join(blocks("console")), re.MULTILINE)
    assert len(commands) == 2
    done = run(project, "-c", STEPS, blocks("python")[-1], *commands)
    assert "samples   1\n" in done
    assert "no damage" in done
    assert done.endswith("leaves/a1.jpg/7 (1024, 1024)\n")


def test_the_new_files_are_as_the_project_has_its_own(project: Path) -> None:
    new = [str(project / name) for name in files_of_the_page() if name.endswith(".py")]
    for check in (["check"], ["format", "--check"]):
        run(project, "-m", "ruff", *check, *new)


def test_the_row_is_one_of_the_table_of_sources_for_the_config() -> None:
    (row,) = blocks("markdown")
    readme = (ROOT / "README.md").read_text().partition("## Sources")[2]
    head = re.search(r"^\|.*\|$", readme, re.MULTILINE)
    assert head is not None
    assert row.count("|") == head[0].count("|")
    assert "configs/" + re.findall(r"^\| `(.*?)`", row)[0] + ".toml" in files_of_the_page()
