"""Worker processes of the commands run nothing from the working folder."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from grids import slow
from shadows import put_shadows
from stores import CONFIGS, TINY, coco_root

from resizeonce.preprocess.safe_path import safe_path


def test_threads_that_start_programs_at_a_time_leave_the_environment_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)

    def start(number: int) -> str:
        with safe_path():
            time.sleep(0.001 * number)
            return os.environ["PYTHONSAFEPATH"]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, [3, 1, 4, 1, 5, 9, 2, 6])) == ["1"] * 8
    assert "PYTHONSAFEPATH" not in os.environ


CONVERT = [
    "convert",
    str(CONFIGS / "coco.toml"),
    *(word for setting in TINY for word in ("--set", setting)),
]


@pytest.mark.parametrize("command", ["convert", slow("verify")])
def test_workers_run_nothing_from_the_working_folder(tmp_path: Path, command: str) -> None:
    root, out = coco_root(tmp_path), tmp_path / "out.zarr"
    ran = put_shadows(tmp_path / "folder")
    script = tmp_path / "command.py"
    script.write_text(
        "from resizeonce.preprocess.__main__ import run\nif __name__ == '__main__':\n    run()\n"
    )

    def run(*arguments: object, cwd: Path) -> None:
        words = [sys.executable, str(script), *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
        assert done.returncode == 0, done.stderr

    converting = (*CONVERT, "--set", "store.scenes_per_part=2", "--root", root, "--out", out, "--workers", 2)
    run(*converting, cwd=ran.parent if command == "convert" else tmp_path)
    if command == "verify":
        run("verify", out, "--workers", 2, cwd=ran.parent)
    assert not ran.exists()
