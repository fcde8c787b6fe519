"""Worker processes that die or stall: the run goes on, and a scene that kills twice is rejected."""

import errno
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from grids import slow
from stores import coco_root, coco_store, tree_digest
from trouble import Harm, crash, harm_scenes, kill, stall

from resizeonce.preprocess.errors import WorkerError
from resizeonce.preprocess.run import processes
from resizeonce.preprocess.store.root import read_rejects
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch


@pytest.fixture
def without_forecast(monkeypatch: Patch) -> None:
    """Scenes are read for the parts alone: a forecast would start workers of its own, and lose them first."""
    monkeypatch.setattr("resizeonce.preprocess.run.convert.FORECAST_SCENES", 0)


@pytest.mark.usefixtures("without_forecast")
def test_a_part_whose_worker_was_killed_is_written_again_to_the_same_bytes(
    tmp_path: Path, monkeypatch: Patch, caplog: Log, whole: dict[str, str]
) -> None:
    harm_scenes(monkeypatch, {n: Harm(tmp_path / f"harm{n}", kill, times=1) for n in (1, 4)})
    coco_store(tmp_path, engine="pillow", workers=2)
    assert tree_digest(tmp_path / "coco.zarr") == whole
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "died of SIGKILL (killed, perhaps for memory)" in caplog.text
    assert not (tmp_path / "coco.zarr" / ".attempts").exists()


@pytest.mark.parametrize(
    ("action", "said"), [(kill, "SIGKILL"), slow(crash, "SIGSEGV (a crash in a decoder)")]
)
def test_a_scene_that_kills_twice_is_rejected_and_nothing_else(
    tmp_path: Path, monkeypatch: Patch, caplog: Log, action: Callable[[], None], said: str
) -> None:
    root = coco_root(tmp_path)
    harm_scenes(monkeypatch, {2: Harm(tmp_path / "harm", action)})
    report = coco_store(tmp_path, engine="pillow", workers=2)
    assert report.attributes["totals"]["images"] == 4
    assert report.attributes["totals"]["rejects"] == {"worker": 1}
    (reject,) = read_rejects(tmp_path / "coco.zarr")
    assert (reject.key, reject.stage) == ("coco/3", "worker")
    assert reject.reason.startswith("2 worker processes died while they converted this scene")
    assert said in caplog.text
    # Once for the forecast, twice for the part.
    assert len(list((tmp_path / "harm").iterdir())) == 3
    monkeypatch.undo()
    # What is left is right; only the scene's own rows are missed.
    findings = verify_store(tmp_path / "coco.zarr", VerifyOptions(source=root)).findings
    assert {(finding.check, finding.found[:7]) for finding in findings} == {("rows", "scene 2")}


@pytest.mark.usefixtures("without_forecast")
def test_a_stalled_worker_is_ended_and_its_scene_rejected(
    tmp_path: Path, monkeypatch: Patch, caplog: Log
) -> None:
    harm_scenes(monkeypatch, {0: Harm(tmp_path / "harm", stall)})
    coco_root(tmp_path)
    report = coco_store(tmp_path, engine="pillow", workers=2, stall_seconds=4)
    assert [reject.key for reject in read_rejects(report.store)] == ["coco/1"]
    assert report.attributes["totals"]["images"] == 4
    assert "made no progress for 4 s and is ended" in caplog.text


@pytest.mark.usefixtures("without_forecast")
def test_more_deadly_scenes_than_a_part_may_cost_workers_are_all_rejected(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    coco_root(tmp_path)
    monkeypatch.setattr(processes, "MAX_DEATHS", 3)
    harm_scenes(monkeypatch, {n: Harm(tmp_path / f"harm{n}", kill) for n in (0, 2)})
    report = coco_store(tmp_path, "store.scenes_per_part=8", engine="pillow", workers=2)
    assert report.attributes["totals"]["rejects"] == {"worker": 2}
    assert report.attributes["totals"]["images"] == 3


@pytest.mark.usefixtures("without_forecast")
def test_on_error_fail_stops_at_a_scene_that_kills_twice(tmp_path: Path, monkeypatch: Patch) -> None:
    harm_scenes(monkeypatch, {3: Harm(tmp_path / "harm", kill)})
    coco_root(tmp_path)
    with pytest.raises(Exception, match=r"coco/4 .* stage worker: 2 worker processes died"):
        coco_store(tmp_path, engine="pillow", workers=2, on_error="fail")


@pytest.mark.usefixtures("without_forecast")
def test_a_machine_on_which_every_worker_dies_stops_the_run_and_the_next_one_finishes(
    tmp_path: Path, monkeypatch: Patch, whole: dict[str, str]
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(processes, "MAX_DEATHS", 2)
        harm_scenes(broken, {n: Harm(tmp_path / f"harm{n}", kill) for n in range(5)})
        with pytest.raises(
            WorkerError, match="2 worker processes died of one task, the last one died of SIGKILL"
        ):
            coco_store(tmp_path, engine="pillow", workers=2)
    assert not (tmp_path / "coco.zarr" / ".attempts").exists()
    coco_store(tmp_path, engine="pillow")
    assert tree_digest(tmp_path / "coco.zarr") == whole


SCRIPT = """
import sys
from collections.abc import Callable
from pathlib import Path
from stores import coco_config
from trouble import Harm, Harmful, kill
from resizeonce.preprocess import RunOptions, convert
from resizeonce.preprocess.run import convert as run

folder, workers = Path(sys.argv[1]), int(sys.argv[2])
sound = run.open_source
run.open_source = lambda config, root: Harmful(sound(config, root), {2: Harm(folder / "harm", kill)})
GUARD
    convert(coco_config(), folder / "coco", folder / "coco.zarr", RunOptions(workers=workers, engine="pillow"))
"""


def run_script(folder: Path, workers: int, *, guard: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("GUARD", guard))
    command = [sys.executable, str(script), str(folder), str(workers)]
    project = Path(__file__).parents[3]
    path = {"PYTHONPATH": f"{project / 'tests' / 'support'}:{project / 'examples'}"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=path, timeout=120)


def test_a_scene_that_kills_a_run_in_one_process_is_left_to_workers_by_the_next_run(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    coco_root(tmp_path)
    assert run_script(tmp_path, 1, guard='if __name__ == "__main__":').returncode == -9
    assert not (tmp_path / "coco.zarr" / "zarr.json").exists()
    # The process of the tests, which must not read the scene.
    harm_scenes(monkeypatch, {2: Harm(tmp_path / "harm", kill)})
    coco_store(tmp_path, engine="pillow", workers=1)
    assert [reject.key for reject in read_rejects(tmp_path / "coco.zarr")] == ["coco/3"]


def test_a_script_without_a_main_guard_ends_with_that_reason(tmp_path: Path) -> None:
    coco_root(tmp_path)
    done = run_script(tmp_path, 2, guard="if True:")
    assert done.returncode == 1
    assert "a script that converts with several workers does so under `if __name__" in done.stderr


def test_a_worker_that_dies_of_no_task_is_replaced_and_none_is_blamed() -> None:
    executor = processes.ProcessExecutor(1, stall_seconds=60)
    first = executor.submit(os.getpid).result(60)
    os.kill(first, signal.SIGKILL)
    # The executor learns of it a moment later; a task that is under way before that may well be blamed.
    (process,) = [child for child in multiprocessing.active_children() if child.pid == first] or [None]
    if process is not None:
        process.join(30)
    assert executor.submit_once(os.getpid).result(60) != first
    executor.shutdown()


INTERRUPTED = """
import os
from concurrent.futures import process
from resizeonce.preprocess.run.processes import ProcessExecutor

class Unseen(dict):
    # As where a thread of the pool has not been noted yet when Python's own end looks which there are.
    def items(self):
        return []

if __name__ == "__main__":
    process._threads_wakeups = Unseen()
    executor = ProcessExecutor(1, 60.0)
    executor.submit(os.getpid).result()
    # Ctrl-C before a `with` block is entered.
    raise KeyboardInterrupt
"""


def test_python_ends_where_an_interruption_left_processes_that_nobody_ends(tmp_path: Path) -> None:
    # Python waited for them, and they for what closed queues no longer send.
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    found = subprocess.run([sys.executable, script], capture_output=True, timeout=60, check=False)
    assert found.returncode == -signal.SIGINT


def test_a_worker_that_dies_of_a_signal_without_a_name_is_a_dead_worker() -> None:
    executor = processes.ProcessExecutor(1, stall_seconds=60)
    with pytest.raises(processes.DeadWorkerError, match="died of signal 40 "):
        executor.submit_once(signal.raise_signal, 40).result(60)
    executor.shutdown()


REFUSALS = [OSError(errno.EMFILE, "Too many open files"), NotImplementedError("no semaphores")]
"""Of a system that allows no more files or processes, and of one without /dev/shm."""


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_system_that_allows_no_more_processes_is_told_and_not_waited_for(
    monkeypatch: Patch, refusal: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(processes, "ProcessPoolExecutor", refuse)
    executor = processes.ProcessExecutor(2, stall_seconds=60)
    with pytest.raises(WorkerError, match=r"can't start a worker process: .*fewer --workers"):
        executor.submit(os.getpid).result(30)
    executor.shutdown()


@pytest.mark.parametrize("refusal", REFUSALS)
def test_verify_tells_that_no_process_can_be_started(
    tmp_path: Path, monkeypatch: Patch, refusal: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    coco_store(tmp_path)
    monkeypatch.setattr("resizeonce.preprocess.verify.check_store.ProcessPoolExecutor", refuse)
    with pytest.raises(WorkerError, match=r"can't start a worker process: .*fewer --workers"):
        verify_store(tmp_path / "coco.zarr", VerifyOptions(workers=2))


def test_where_ticks_have_no_memory_to_lie_in_that_is_told(monkeypatch: Patch) -> None:
    def refuse(*_: object) -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("multiprocessing.heap.Arena._choose_dir", refuse)
    with pytest.raises(WorkerError, match=r"can't start a worker process: .*No usable temporary directory"):
        processes.ProcessExecutor(100_000, stall_seconds=60)
