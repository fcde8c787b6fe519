"""What a shell, a script and a log expect of the commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from grids import slow
from stores import CONFIGS, TINY, coco_root, coco_store, options_of, tree_digest

from resizeonce.preprocess.cli import COMMANDS, main
from resizeonce.preprocess.commands.reporting import echo_json

CONFIG = str(CONFIGS / "coco.toml")

PROGRAM = [sys.executable, "-P", "-m", "resizeonce.preprocess"]


def run(*arguments: object, color: bool = False) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False, color=color)


def completed(words: str) -> list[str]:
    """Return what Tab offers after words, as the shell gets it."""
    count = len(words.split(" ")) - 1
    environment = os.environ | {"COMP_WORDS": words, "COMP_CWORD": str(count)}
    environment["_RESIZEONCE_COMPLETE"] = "bash_complete"
    command = [sys.executable, "-m", "resizeonce.preprocess"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return found.stdout.split()


def test_tab_completes_commands_options_and_the_names_of_configs() -> None:
    assert completed("resizeonce con") == ["plain,convert", "plain,config"]
    assert "plain,--max-rejects" in completed("resizeonce convert --max")
    # In bash what stands before "file" is forgotten.
    first, *names = completed("resizeonce convert refcoco")
    assert first == "file,refcoco"
    assert set(names) == {"plain,refcoco", "plain,refcoco+", "plain,refcocog"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_lines_that_ask_this_program(shell: str) -> None:
    found = run("completion", shell)
    assert found.exit_code == 0
    assert f"_RESIZEONCE_COMPLETE={shell}_complete" in found.stdout


def test_bash_takes_the_lines_of_completion() -> None:
    script = run("completion", "bash").stdout + "\ncomplete -p resizeonce"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert "_resizeonce_completion resizeonce" in found.stdout


def test_the_version_waits_for_no_command_and_no_array() -> None:
    command = (
        "import sys; from click.testing import CliRunner; from resizeonce.preprocess.__main__ import run\n"
        "from resizeonce.preprocess.cli import main\n"
        "for option in ('--version', '--help'):\n"
        "    assert not CliRunner().invoke(main, [option]).exit_code\n"
        "print(*sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    imported = set(found.stdout.split())
    assert not imported & {"numpy", "zarr", "PIL", "torch", "tqdm", "msgspec"}
    assert not {name for name in imported if name.startswith("resizeonce.preprocess.commands")}


def test_errors_are_red_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m" in run("info", "missing", color=True).stderr
    monkeypatch.setenv("NO_COLOR", "1")
    found = run("info", "missing", color=True)
    assert "\x1b" not in found.stderr
    assert found.stderr.startswith("error: ")


def test_quiet_prints_nothing_where_nothing_is_wrong(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    found = run("convert", CONFIG, "--root", root, "--out", tmp_path / "out.zarr", "--quiet")
    assert (found.exit_code, found.stdout, found.stderr) == (0, "", "")


def test_quiet_still_says_what_went_wrong(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    next(root.rglob("*.jpg")).write_bytes(b"no picture")
    found = run("convert", CONFIG, "--root", root, "--out", tmp_path / "out.zarr", "--quiet")
    assert found.exit_code == 3
    assert found.stdout == ""
    assert "rejects.jsonl" in found.stderr


def test_verbose_names_each_part_with_its_counts(tmp_path: Path) -> None:
    root, out = coco_root(tmp_path), tmp_path / "out.zarr"
    found = run("convert", CONFIG, "--root", root, "--out", out, "-v", "--set", "store.scenes_per_part=3")
    said = [line for line in found.stderr.splitlines() if line.startswith("part-")]
    assert [line.partition(":")[0] for line in said] == ["part-00000", "part-00001"]
    assert sum(int(line.split()[1]) for line in said) == 5
    assert sum(int(line.split(", ")[2].split()[0]) for line in said) == 10
    assert "convert" in COMMANDS


def test_quiet_and_verbose_together_are_refused(tmp_path: Path) -> None:
    found = run("convert", CONFIG, "--root", tmp_path, "--out", tmp_path / "out.zarr", "-q", "-v")
    assert found.exit_code == 2
    assert "contradict" in found.stderr


def test_what_was_done_can_be_had_as_json(tmp_path: Path) -> None:
    root, out = coco_root(tmp_path), tmp_path / "out.zarr"
    forecast = json.loads(run("convert", CONFIG, "--root", root, "--out", out, "--dry-run", "--json").stdout)
    assert (forecast["images"], forecast["samples"], forecast["num_read"]) == (5, 10, 5)
    done = json.loads(run("convert", CONFIG, "--root", root, "--out", out, "--json").stdout)
    assert (done["store"], done["totals"]["samples"], done["was_complete"]) == (str(out), 10, False)
    again = json.loads(run("finish", out, "--json").stdout)
    assert (again["totals"], again["was_complete"]) == (done["totals"], True)
    assert json.loads(run("config", "--json").stdout)["coco"]


def test_json_is_ascii_with_null_for_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    # A name that is no UTF-8, as Python has it, and one that a terminal would write backwards.
    echo_json({"values": [float("nan"), float("-inf"), 0.5], "names": ["\udc80", "\u202e"]})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == {"values": [None, None, 0.5], "names": ["\udc80", "\u202e"]}


@pytest.mark.parametrize("command", ["preview", "report", "card", "bench", "diff"])
def test_each_command_that_draws_takes_the_same_seeds(command: str) -> None:
    found = run(command, "--seed", "-1")
    assert found.exit_code == 2
    assert "-1 is not in the range x>=0" in found.stderr


def converting(root: Path, out: Path, *options: str) -> list[str]:
    """Return the command that makes the store of `coco_store`."""
    settings = options_of(["store.scenes_per_part=2", *TINY])
    return [*PROGRAM, "convert", CONFIG, "--root", str(root), "--out", str(out), *settings, *options]


def close_standard_files() -> None:
    for number in range(3):
        os.close(number)


@pytest.mark.parametrize("workers", [1, slow(2)])
def test_standard_files_that_are_closed_change_nothing(tmp_path: Path, workers: int) -> None:
    coco_store(tmp_path)
    command = converting(tmp_path / "coco", tmp_path / "out.zarr", "--workers", str(workers))
    assert subprocess.run(command, preexec_fn=close_standard_files, check=False).returncode == 0
    assert tree_digest(tmp_path / "out.zarr") == tree_digest(tmp_path / "coco.zarr")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [["config", "coco"], ["config"], ["completion", "bash"], ["--help"]])
def test_what_can_not_be_printed_is_an_error_in_a_line(command: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: can't print: No space left on device; see where the output")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_log_on_a_full_disk_ends_no_run(tmp_path: Path, unbuffered: str) -> None:
    command = converting(coco_root(tmp_path), tmp_path / "out.zarr", "--verbose")
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=full, text=True, check=False
        )
    assert done.returncode == 0
    assert "samples   10" in done.stdout


def test_a_current_folder_that_was_removed_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run(
        [*PROGRAM, "info", "coco.zarr"],
        cwd=folder,
        preexec_fn=folder.rmdir,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the current folder can't be found (No such file or directory)")


def test_letters_that_a_terminal_lacks_are_spelt_out(tmp_path: Path) -> None:
    coco_store(tmp_path)
    store = (tmp_path / "coco.zarr").rename(tmp_path / "é漢.zarr")
    done = subprocess.run(
        [*PROGRAM, "info", str(store)],
        capture_output=True,
        encoding="latin-1",
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"store     {tmp_path}/é\\u6f22.zarr\n")
