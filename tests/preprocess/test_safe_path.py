"""Worker processes of the commands run nothing from the working folder."""

import subprocess
import sys
from pathlib import Path

import pytest
from grids import slow
from shadows import put_shadows
from stores import CONFIGS, TINY, coco_root

CONVERT = [
    "convert",
    str(CONFIGS / "coco.toml"),
    *(word for setting in TINY for word in ("--set", setting)),
]


@pytest.mark.parametrize("command", ["convert", slow("verify")])
def test_workers_run_nothing_from_the_working_folder(tmp_path: Path, command: str) -> None:
    root, out = coco_root(tmp_path), tmp_path / "out.zarr"
    ran = put_shadows(tmp_path / "folder")
    script = tmp_path / "resizeonce.py"
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
