"""The job array and the Dask cluster of docs/scale.md, run as they are written there, on a smaller scale."""

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from miniature.sa1b import write_sa1b
from stores import CONFIGS, TINY, pictures, tree_digest

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import convert

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs/scale.md").read_text()
BIN = Path(sys.executable).parent

SBATCH = """#!/usr/bin/env python3
import os, re, subprocess, sys
arguments = sys.argv[1:]
if "--wrap" in arguments:
    assert "--dependency=afterok:42" in arguments
    sys.exit(subprocess.call(arguments[arguments.index("--wrap") + 1], shell=True))
script = arguments[-1]
first, last = map(int, re.search(r"--array=(\\d+)-(\\d+)", open(script).read()).groups())
for task in reversed(range(first, last + 1)):
    slurm = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": last - first + 1, "SLURM_CPUS_PER_TASK": 1}
    env = os.environ | {name: str(value) for name, value in slurm.items()}
    subprocess.run(["bash", script], env=env, check=True, stdout=subprocess.DEVNULL)
print(42)
"""
"""Stands in for Slurm's command: runs the tasks of an array one after the other, the last one first."""


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Return a small SA-1B folder and the bytes of its store."""
    write_sa1b(tmp_path / "sa1b", pictures())
    config = tmp_path / "configs" / "sa1b.toml"
    config.parent.mkdir()
    small = "\n".join(["[recipe]", *(override.removeprefix("recipe.") for override in TINY)])
    text = (CONFIGS / "sa1b.toml").read_text().replace("scenes_per_part = 128", "scenes_per_part = 1")
    config.write_text(text.replace("[recipe]", small))
    convert(load_config(config), tmp_path / "sa1b", tmp_path / "whole")
    return tmp_path / "sa1b", tree_digest(tmp_path / "whole")


def bash_blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


def on_a_smaller_scale(command: str) -> str:
    """Return a command of the page with the config of the test."""
    assert "convert sa1b " in command
    return command.replace("convert sa1b ", "convert configs/sa1b.toml ")


def test_the_job_array_works_as_written(tmp_path: Path, dataset: tuple[Path, dict[str, str]]) -> None:
    root, whole = dataset
    script, submission = bash_blocks()
    (tmp_path / "convert.sbatch").write_text(
        on_a_smaller_scale(script).replace("--array=1-64", "--array=1-2")
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text(SBATCH)
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    out = tmp_path / "sa1b.zarr"
    submission = submission.replace("/data/sa1b.zarr", str(out)).replace("/data/sa1b", str(root))
    path = f"{tmp_path / 'bin'}:{BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", submission],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "images    5" in done.stdout
    assert tree_digest(out) == whole


def test_the_dask_cluster_works_as_written(tmp_path: Path, dataset: tuple[Path, dict[str, str]]) -> None:
    pytest.importorskip("distributed", reason="needs Dask: pip install distributed")
    root, whole = dataset
    out = tmp_path / "sa1b.zarr"
    lines = re.findall(r"^(?:head|node)\$ (.*)$", PAGE, re.MULTILINE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    for written, meant in (
        ("8786", port),
        ("tcp://head", "tcp://127.0.0.1"),
        ("--nworkers 16", "--nworkers 1 --no-dashboard"),
        ("dask scheduler", "dask scheduler --no-dashboard"),
        ("/data/sa1b.zarr", str(out)),
        ("/data/sa1b", str(root)),
    ):
        lines = [line.replace(written, meant) for line in lines]
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    background = [
        subprocess.Popen(
            shlex.split(line), cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for line in lines[:2]
    ]
    try:
        done = subprocess.run(
            shlex.split(on_a_smaller_scale(lines[2])),
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
    finally:
        for process in reversed(background):
            process.terminate()
            process.wait()
    assert done.returncode == 0, done.stderr
    assert tree_digest(out) == whole
