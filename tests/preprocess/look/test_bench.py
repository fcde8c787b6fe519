"""`resizeonce bench` on small stores: which figures there are, and how it ends."""

import errno
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from publishing import published
from stores import coco_root, coco_store

from resizeonce.preprocess.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "bench.md"

CORES = len(os.sched_getaffinity(0))
THREADS = "1 thread" if CORES == 1 else f"{min(8, CORES)} threads"
"""Of 8 ranks with a worker each."""

QUICK = ("--seconds", "0.05", "--mode", "threads", "--workers", "1")


@pytest.fixture(scope="module")
def store(disk: Path) -> Path:
    """A store of five images in three parts, of 32 and 48 pixels a side."""
    folder = Path(tempfile.mkdtemp(dir=disk))
    coco_store(folder)
    return folder / "coco.zarr"


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


def facts_of(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_part_of_the_path_has_a_rate_with_its_unit_and_what_it_was_measured_over(store: Path) -> None:
    facts = facts_of(bench(store, *QUICK, "--json", "--step-ms", 400, "--ranks", 8))
    # Three channels of 32 and of 48, a checksum behind each, and a compressed mask.
    images = 3 * 32 * 32 + 4 + 3 * 48 * 48 + 4
    assert images < facts["row_bytes_per_sample"] < images + 200
    # The same as float32 and uint8, and two masks as float32.
    assert facts["batch_bytes_per_sample"] == 4 * 3 * 32 * 32 + 3 * 48 * 48 + 4 * 16 * 16 + 4 * 48 * 48
    measured = [one["what"] for one in facts["measured"]]
    assert measured[-3:] == [f"memory, {THREADS}", "batches, by one core", "batches, by 1 thread"]
    for one in facts["measured"]:
        assert 0 < one["lowest"] <= one["samples_per_second"] <= one["highest"]
        assert one["bytes_per_second"] == pytest.approx(one["samples_per_second"] * one["bytes_per_sample"])
        assert one["samples"] > 0
    assert facts["step"]["samples_per_second_needed"] == 160
    assert facts["step"]["workers_enough"] == 1


def test_the_command_of_the_page_prints_the_lines_of_the_page(store: Path) -> None:
    (shown,) = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    command, *lines = shown.replace("2 processes", "2 threads").splitlines()
    words = command.removeprefix("$ resizeonce bench coco.zarr ").split()
    found = bench(store, *words, "--mode", "threads", "--seconds", "0.05").stdout
    labels = {re.split(r"[^a-z ,-]", line)[0].strip() for line in lines}
    # Where the disk can't be measured, as on tmpfs, two lines are not there.
    assert {label for label in labels if label not in found} <= {"disk,", "first epoch"}
    assert {
        "memory,",
        "batches, by one core",
        "a step",
        "later epochs, from memory",
        "workers",
    } <= labels


def test_what_a_disk_can_not_be_read_for_is_said(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resizeonce.preprocess.look.read_rates.drop_from_memory", lambda _: 0.75)
    found = bench(store, *QUICK, "--step-ms", 0.001)
    assert "the disk  not measured: 75% of the files stay in memory" in found.stdout
    assert "first epoch" not in found.stdout
    assert "too few cores" in found.stdout


def test_of_a_url_the_rate_of_the_network_is_measured_and_nothing_stays(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with published(store.parent) as publisher:
        facts = facts_of(bench(f"{publisher.url}/coco.zarr", *QUICK, "--json"))
    assert facts["measured"][0]["what"] == "network, whole parts"
    assert facts["limits"]["first"]["network"] > 0
    assert list(tmp_path.iterdir()) == []


def test_batches_beyond_memory_are_wrong_usage(store: Path) -> None:
    found = bench(store, *QUICK, "--batch-size", 10**9)
    assert found.exit_code == 2
    assert "use a smaller batch size or fewer workers" in found.stderr


def test_a_store_without_a_sample_is_wrong_usage(tmp_path: Path) -> None:
    path = coco_root(tmp_path) / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    coco_store(tmp_path)
    found = bench(tmp_path / "coco.zarr")
    assert found.exit_code == 2
    assert "has no sample" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--step-ms", "0"], 2),
        (["--step-ms", "-5"], 2),
        (["--step-ms", "soon"], 2),
        (["--step-ms", "nan"], 2),
        (["--step-ms", "inf"], 2),
        (["--step-ms", "1e-320"], 2),
        (["--seconds", "nan"], 2),
        (["--ranks", "0"], 2),
        (["--batch-size", "0"], 2),
        (["--workers", "-1"], 2),
        (["--mode", "forks"], 2),
        (["--seconds", "0"], 2),
    ],
)
def test_options_that_can_not_be_are_wrong_usage(store: Path, arguments: list[str], code: int) -> None:
    assert bench(store, *arguments).exit_code == code


def test_what_is_no_store_fails(tmp_path: Path) -> None:
    found = bench(tmp_path)
    assert found.exit_code == 1
    assert "is no store" in found.stderr


def test_workers_that_the_system_refuses_are_a_sentence(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("resizeonce.loader.workers.processes._popen", refuse)
    found = bench(store, "--seconds", "0.05", "--workers", "1")
    assert found.exit_code == 1
    assert "can't be measured: a worker process of the BatchLoader can't be started" in found.stderr


def test_a_cache_folder_that_can_not_be_made_is_a_sentence(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = bench(store.as_uri(), *QUICK)
    assert found.exit_code == 2
    assert "set XDG_CACHE_HOME to a folder with room" in found.stderr
