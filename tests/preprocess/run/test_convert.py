import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zarr
from grids import pairs, slow
from soak import children_of
from stores import CONFIGS, USUAL, coco_config, coco_root, coco_store, make_unfinished, tree_digest

from resizeonce import preprocess
from resizeonce.loader.format.errors import StoreError
from resizeonce.preprocess.errors import ConfigError, WorkerError
from resizeonce.preprocess.run.convert import RunOptions, convert, open_source
from resizeonce.preprocess.run.destination import Destination
from resizeonce.preprocess.run.part_task import ShortageError, Tasks, write_part
from resizeonce.preprocess.run.planning import plan_run
from resizeonce.preprocess.run.processes import DeadWorkerError
from resizeonce.preprocess.run.raw_data_guard import RawDataGuard
from resizeonce.preprocess.store.part_writer import RejectedError
from resizeonce.preprocess.store.plan import describe_job
from resizeonce.preprocess.store.root import read_rejects
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store


def totals(store: Path) -> dict[str, Any]:
    attributes: dict[str, Any] = json.loads((store / "zarr.json").read_bytes())["attributes"]["resizeonce"]
    return attributes["totals"]


@pytest.mark.parametrize("number", [2, slow(3)])
def test_the_same_input_and_config_give_the_same_bytes_with_any_number_of_workers(
    tmp_path: Path, number: int
) -> None:
    root = coco_root(tmp_path)
    for name, workers in (("a", 1), ("b", number)):
        convert(coco_config(), root, tmp_path / name, RunOptions(workers=workers))
    first = tree_digest(tmp_path / "a")
    assert len(first) > 100
    assert tree_digest(tmp_path / "b") == first


@pytest.mark.parametrize("config", ["coco", CONFIGS / "coco.toml"])
def test_convert_is_a_function_of_the_package(config: Path | str, tmp_path: Path) -> None:
    report = preprocess.convert(config, coco_root(tmp_path), tmp_path / "out")
    assert report.attributes["totals"]["samples"] == 10
    assert report.num_rejects == 0


def test_counts_of_a_miniature_dataset_are_what_was_written(tmp_path: Path) -> None:
    report = coco_store(tmp_path)
    found = report.attributes["totals"]
    assert (found["images"], found["masks"], found["samples"], found["expressions"]) == (5, 10, 10, 0)
    assert found["skips"] == {"crowd annotation": 5}
    assert [part["rows"]["images"] for part in report.attributes["parts"]] == [2, 2, 1]


def test_crowds_become_samples_when_asked_for(tmp_path: Path) -> None:
    assert coco_store(tmp_path, "source.crowds=true").attributes["totals"]["samples"] == 15


@pytest.mark.parametrize(("limit", "workers"), pairs([3, 1, 4, 9, 10, 99], [1, 2]))
def test_limit_writes_the_first_samples_of_the_dataset(tmp_path: Path, limit: int, workers: int) -> None:
    coco_root(tmp_path)
    coco_store(tmp_path, limit=limit, workers=workers)
    assert totals(tmp_path / "coco.zarr")["samples"] == min(limit, 10)
    # Two samples an image, two images a part: no part and no image is there that no sample needs.
    assert totals(tmp_path / "coco.zarr")["images"] == min(-(-limit // 2), 5)
    assert len(list((tmp_path / "coco.zarr").glob("part-*"))) == min(-(-limit // 4), 3)


def test_a_limited_store_has_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    for name, workers in (("a", 1), ("b", 2)):
        convert(coco_config(), root, tmp_path / name, RunOptions(workers=workers, limit=5))
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")


@pytest.mark.usefixtures("converted")
def test_a_complete_store_is_left_alone(tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "coco.zarr").rglob("*")}
    assert coco_store(tmp_path).was_complete
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "coco.zarr").rglob("*")} == before


@pytest.mark.usefixtures("converted")
def test_an_unfinished_store_is_finished_to_the_same_bytes_without_touching_its_parts(tmp_path: Path) -> None:
    store = tmp_path / "coco.zarr"
    whole = tree_digest(store)
    make_unfinished(store)
    # As a kill leaves it: a part half written.
    (store / ".attempts").mkdir()
    (store / "part-00001").rename(store / ".attempts" / "part-00001.1234")
    (store / ".attempts" / "part-00001.1234" / "zarr.json").unlink()
    (store / ".attempts" / "part-00001.1234.note").write_text("5678 2")
    kept = {path: path.stat().st_mtime_ns for path in (store / "part-00000").rglob("*")}
    assert not coco_store(tmp_path).was_complete
    assert tree_digest(store) == whole
    assert {path: path.stat().st_mtime_ns for path in (store / "part-00000").rglob("*")} == kept


@pytest.mark.usefixtures("converted")
def test_a_store_of_another_command_is_refused_with_what_differs(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"recipe\.prompt_masks\.filter was 'pillow-nearest', is now 'cover'"
    ):
        coco_store(tmp_path, "recipe.prompt_masks.filter=cover")
    with pytest.raises(StoreError, match="limit was None, is now 3"):
        coco_store(tmp_path, limit=3)
    annotations = tmp_path / "coco" / "annotations" / "instances_train2017.json"
    annotations.write_text(annotations.read_text() + " ")
    with pytest.raises(StoreError, match=r"instances_train2017\.json was"):
        coco_store(tmp_path)


@pytest.mark.usefixtures("converted")
def test_an_unfinished_store_is_not_finished_by_other_libraries(tmp_path: Path) -> None:
    store = tmp_path / "coco.zarr"
    make_unfinished(store, pillow="12.2.0")
    with pytest.raises(StoreError, match=r"versions\.pillow was '12\.2\.0'"):
        coco_store(tmp_path)


@pytest.mark.usefixtures("converted")
def test_overwrite_makes_a_store_anew_and_removes_nothing_else(tmp_path: Path) -> None:
    report = coco_store(tmp_path, "source.crowds=true", overwrite=True)
    assert report.attributes["totals"]["samples"] == 15
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.txt").write_text("all of it")
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="is no store"):
            convert(coco_config(), tmp_path / "coco", other, RunOptions(overwrite=overwrite))
    assert (other / "thesis.txt").read_text() == "all of it"


def test_a_second_run_on_a_store_is_refused(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another run is writing"):
            convert(coco_config(), root, out)
    convert(coco_config(), root, out)


def test_bad_records_are_listed_and_the_rest_is_converted(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    (root / "train2017" / "000000000002.jpg").write_bytes(b"<html>")
    (root / "train2017" / "000000000004.jpg").unlink()
    report = coco_store(tmp_path)
    assert report.attributes["totals"]["images"] == 3
    assert report.attributes["totals"]["rejects"] == {"decode": 1, "read": 1}
    lines = [json.loads(line) for line in (tmp_path / "coco.zarr" / "rejects.jsonl").read_text().splitlines()]
    assert [(line["key"], line["path"], line["stage"]) for line in lines] == [
        ("coco/2", "train2017/000000000002.jpg", "decode"),
        ("coco/4", "train2017/000000000004.jpg", "read"),
    ]
    assert "begins with b'<html>'" in lines[0]["reason"]


def test_a_name_of_megabytes_is_rejected_by_its_beginning_and_the_list_can_be_read(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    (file,) = (root / "annotations").glob("instances_*.json")
    content = json.loads(file.read_text())
    name = "".join(f"\u4e2d{number}" for number in range(400_000))
    content["images"][1]["file_name"] = f"{name}.jpg"
    file.write_text(json.dumps(content))
    report = coco_store(tmp_path)
    assert report.attributes["totals"]["images"] == 4
    [reject] = read_rejects(report.store)
    assert (reject.key, len(reject.path)) == ("coco/2", 4096)
    assert reject.path.startswith("train2017/\u4e2d0\u4e2d1\u4e2d2")
    assert reject.path.endswith("...")
    assert not verify_store(report.store, VerifyOptions()).findings


def test_on_error_fail_stops_at_the_first_and_commits_no_part_of_it(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    (root / "train2017" / "000000000004.jpg").unlink()
    with pytest.raises(RejectedError, match="coco/4"):
        coco_store(tmp_path, on_error="fail")
    assert [path.name for path in (tmp_path / "coco.zarr").glob("*part*")] == ["part-00000"]


def test_a_dataset_of_which_nothing_is_usable_gives_an_empty_store(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    for path in (root / "train2017").iterdir():
        path.write_bytes(b"")
    report = coco_store(tmp_path)
    assert report.attributes["totals"]["samples"] == 0
    assert report.num_rejects == 5


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), slow(signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_run_in_order_and_the_next_run_finishes(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    root = coco_root(tmp_path)
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "resizeonce.preprocess",
        "convert",
        str(CONFIGS / "coco.toml"),
        "--root",
        str(root),
    ]
    command += ["--out", str(out), "--set", "store.scenes_per_part=1", "--workers"]
    process = subprocess.Popen([*command, "2"], stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list(out.glob(".attempts/part-*")) and not list(out.glob("part-*")):
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=30)
    assert "Traceback" not in stderr
    # On a fast machine the job may have been done just before the signal.
    assert (process.returncode, "run the same command again" in stderr) in [(code, True), (0, False)]
    assert process.returncode == 0 or not (out / ".attempts").exists()
    convert(coco_config(*USUAL, "store.scenes_per_part=1"), root, out)
    assert totals(out)["samples"] == 10


def test_under_nohup_a_terminal_that_goes_ends_no_run(tmp_path: Path) -> None:
    code = (
        "import os, signal; from resizeonce.preprocess.signals import raise_on_termination\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); raise_on_termination(); os.kill(os.getpid(), signal.SIGHUP)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = coco_root(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(StoreError, match=r"will take about 18\.\d MB, and the disk of .* has 1\.0 MB free"):
        convert(coco_config(*USUAL), root, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*part*"))
    assert convert(coco_config(*USUAL), root, tmp_path / "out", RunOptions(force=True)).num_rejects == 0


def test_overwrite_leaves_a_zarr_group_of_somebody_else_alone(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    group = zarr.open_group(tmp_path / "theirs", mode="w")
    group.create_array("precious", shape=(3,), dtype="int64")[:] = 7
    with pytest.raises(StoreError, match="is no store"):
        convert(coco_config(), root, tmp_path / "theirs", RunOptions(overwrite=True))
    assert group["precious"][:].tolist() == [7, 7, 7]
    assert not (tmp_path / "theirs" / ".lock").exists()


def test_workers_end_with_a_killed_run_and_the_next_run_gives_the_same_bytes(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    out, whole = tmp_path / "out", tmp_path / "whole"
    convert(coco_config(*USUAL, "store.scenes_per_part=1"), root, whole)
    command = [
        sys.executable,
        "-m",
        "resizeonce.preprocess",
        "convert",
        str(CONFIGS / "coco.toml"),
        "--root",
        str(root),
        "--out",
        str(out),
        "--set",
        "store.scenes_per_part=1",
        "--workers",
    ]
    process = subprocess.Popen([*command, "2"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not list(out.glob(".attempts/part-*")) and not list(out.glob("part-*")):
        assert process.poll() is None
        time.sleep(0.005)
    children = children_of(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline, "a worker outlived its run"
        time.sleep(0.02)
    convert(coco_config(*USUAL, "store.scenes_per_part=1"), root, out)
    assert tree_digest(out) == tree_digest(whole)


def test_a_limit_gives_the_same_rejects_with_any_number_of_workers(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    (root / "train2017" / "000000000004.jpg").unlink()
    for name, workers in (("a", 1), ("b", 2)):
        convert(coco_config(), root, tmp_path / name, RunOptions(workers=workers, limit=6))
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")
    assert not (tmp_path / "a" / "rejects.jsonl").exists()


@pytest.mark.parametrize("workers", [1, slow(2)])
def test_what_lies_beyond_the_limit_stops_no_run(tmp_path: Path, workers: int) -> None:
    root = coco_root(tmp_path)
    (root / "train2017" / "000000000004.jpg").unlink()
    report = coco_store(tmp_path, limit=6, workers=workers, on_error="fail")
    assert report.attributes["totals"]["samples"] == 6


class FailingExecutor(ThreadPoolExecutor):
    """Threads in which every task fails that was asked for more samples than are missing, or lies beyond the limit."""

    def __init__(self, limit: int, error: Exception) -> None:
        super().__init__(1)
        self._limit = limit
        self._error = error

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        task = args[0]
        # Two scenes of two samples each make a part.
        if task.max_samples > self._limit - 4 * task.part:
            failed: Future[Any] = Future()
            failed.set_exception(self._error)
            return failed
        return super().submit(function, *args, **kwargs)


@pytest.mark.parametrize(
    "error", [DeadWorkerError("died"), ShortageError("memory ran out"), BrokenExecutor("a worker was killed")]
)
def test_no_error_beyond_the_limit_stops_a_run_that_has_its_samples(tmp_path: Path, error: Exception) -> None:
    root = coco_root(tmp_path)
    convert(coco_config(), root, tmp_path / "a", RunOptions(limit=6))
    with FailingExecutor(6, error) as executor:
        convert(coco_config(), root, tmp_path / "b", RunOptions(limit=6, workers=2, executor=executor))
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")


def test_an_executor_that_takes_no_more_tasks_is_an_error_that_says_so(tmp_path: Path) -> None:
    class Broken(ThreadPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            raise BrokenExecutor("a worker was killed")

    with Broken(1) as executor, pytest.raises(WorkerError, match=r"lost its workers \(a worker was killed\)"):
        coco_store(tmp_path, workers=2, executor=executor)


def test_a_store_that_lost_a_part_is_unfinished_also_when_its_plan_is_there_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = coco_store(tmp_path).store
    whole = tree_digest(store)
    root = (store / "zarr.json").read_bytes()
    make_unfinished(store)
    # A first kill between the plan and the removal of the old root; the next run is killed before it writes the new one.
    (store / "zarr.json").write_bytes(root)
    shutil.rmtree(store / "part-00001")
    with monkeypatch.context() as stopped:
        stopped.setattr("resizeonce.preprocess.run.destination.finish_store", interrupt)
        with pytest.raises(KeyboardInterrupt):
            coco_store(tmp_path)
    assert not (store / "zarr.json").exists()
    assert not coco_store(tmp_path).was_complete
    assert tree_digest(store) == whole


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_is_left_of_a_half_removed_part_is_replaced(tmp_path: Path) -> None:
    store = coco_store(tmp_path).store
    whole = tree_digest(store)
    make_unfinished(store)
    (store / "part-00001" / "zarr.json").unlink()
    coco_store(tmp_path)
    assert tree_digest(store) == whole


def test_a_task_that_outlives_its_run_writes_nothing_into_the_next_ones_store(tmp_path: Path) -> None:
    config, root, out = coco_config(), coco_root(tmp_path), tmp_path / "out"
    source = open_source(config, root)
    plan, scenes = plan_run(out, describe_job(config, source, None), source, overwrite=False, append=False)
    assert plan is not None
    out.mkdir()
    Destination(out).start(plan, scenes, overwrite=False)
    task = Tasks(plan, scenes, config, out, RawDataGuard.of(root), "pillow", stop_on_reject=False).make(
        0, None
    )
    other = coco_config("recipe.masks.size=512")
    convert(other, root, out, RunOptions(overwrite=True))
    whole = tree_digest(out)
    with pytest.raises(StoreError, match=r"can't write|is being made by another command"):
        write_part(task)
    assert {name: digest for name, digest in tree_digest(out).items() if name[0] != "."} == whole


def test_more_parts_than_have_names_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resizeonce.preprocess.run.planning.MAX_PARTS", 2)
    with pytest.raises(
        ConfigError, match=r"would have 3 parts, and 2 is the most: raise store\.scenes_per_part"
    ):
        coco_store(tmp_path)
    assert not (tmp_path / "coco.zarr" / "part-00000").exists()
