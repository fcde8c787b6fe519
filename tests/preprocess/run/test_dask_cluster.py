"""A real Dask scheduler with worker processes of its own, one of which is killed."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stores import CONFIGS, USUAL, coco_config, coco_root, tree_digest

from resizeonce.preprocess.errors import ConfigError
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.run.dask_cluster import ClusterError, open_cluster

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="needs Dask: pip install distributed"
)

QUIET = {"DASK_DISTRIBUTED__DASHBOARD__LINK": "", "DASK_LOGGING__DISTRIBUTED": "error"}


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """Start a scheduler and workers as commands, each a process; yield the scheduler's address and the workers."""
    file = folder / "scheduler.json"
    common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": os.environ | QUIET}
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard", "--scheduler-file", str(file)],
        **common,
    )  # fmt: skip
    started = []
    try:
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text().endswith("}"):
            assert scheduler.poll() is None
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1",
                 "--no-nanny", "--no-dashboard", "--local-directory", str(folder / "dask")],
                **common,
            )
            for _ in range(workers)
        ]  # fmt: skip
        yield address, started
    finally:
        for process in (*started, scheduler):
            process.kill()
            process.wait()


@needs_dask
def test_a_dask_cluster_that_loses_a_worker_gives_the_bytes_of_a_local_run(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    settings = ["store.scenes_per_part=1"]
    # Parts of the usual sizes: they are still being written when a worker is killed.
    convert(coco_config(*USUAL, *settings), root, tmp_path / "whole")
    out = tmp_path / "out"
    # Relative paths, of a folder that is not the workers' own.
    command = [
        sys.executable,
        "-m",
        "resizeonce.preprocess",
        "convert",
        str(CONFIGS / "coco.toml"),
        "--root",
        root.name,
    ]
    command += ["--out", out.name, "--set", *settings, "--scheduler"]
    with cluster(tmp_path, 2) as (address, workers):
        run = subprocess.Popen(
            [*command, address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        deadline = time.monotonic() + 120
        while not (notes := list(out.glob(".attempts/part-*.note"))):
            assert run.poll() is None
            assert time.monotonic() < deadline, "no worker began a part"
            time.sleep(0.002)
        assert notes
        workers[0].send_signal(signal.SIGKILL)
        stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stderr
    assert "samples   10" in stdout
    assert tree_digest(out) == tree_digest(tmp_path / "whole")


@needs_dask
def test_a_scheduler_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resizeonce.preprocess.run.dask_cluster.CONNECT_SECONDS", 1)
    with (
        pytest.raises(ClusterError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"),
        open_cluster("tcp://127.0.0.1:9"),
    ):
        pass
    with (
        pytest.raises(ClusterError, match=r"no Dask scheduler answers at 'nonsense://x'"),
        open_cluster("nonsense://x"),
    ):
        pass


@needs_dask
def test_a_scheduler_without_workers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resizeonce.preprocess.run.dask_cluster.CONNECT_SECONDS", 5)
    with (
        cluster(tmp_path, 0) as (address, _),
        pytest.raises(ClusterError, match="has no workers: start some with `dask worker"),
        open_cluster(address),
    ):
        pass


def test_without_dask_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'resizeonce\[dask\]'"),
        open_cluster("tcp://127.0.0.1:8786"),
    ):
        pass


def test_any_executor_of_the_standard_library_writes_the_same_bytes(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    root = coco_root(tmp_path)
    convert(coco_config(), root, tmp_path / "whole")
    with ThreadPoolExecutor(2) as executor:
        convert(coco_config(), root, tmp_path / "out", RunOptions(executor=executor, workers=2))
    assert tree_digest(tmp_path / "out") == tree_digest(tmp_path / "whole")
