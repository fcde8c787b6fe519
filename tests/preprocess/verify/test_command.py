"""`resizeonce verify`: exit codes, text, JSON."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from damage import flip_bit, parts_of, read_array, rewrite

from resizeonce.preprocess.cli import main
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store
from resizeonce.preprocess.verify.findings import MAX_LINES, Finding, VerifyReport

Copy = Callable[[str], Path]


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["verify", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_sound_store_gives_one_line_and_exit_code_0(sound: Path) -> None:
    code, text = run(sound / "coco.zarr")
    assert code == 0
    assert text.count("\n") == 1
    assert text.startswith("no damage (structure: 2 parts")


def test_damage_gives_exit_code_4_and_a_line_that_says_what_to_do(copy_of: Copy) -> None:
    store = copy_of("coco")
    flip_bit(parts_of(store)[0] / "images/pixel_values/c/0/0/0/0", 3)
    code, text = run(store)
    assert code == 4
    assert "part-00000/images/pixel_values row 0 (coco/1, train2017/000000000001.jpg)" in text
    assert "run the same `resizeonce convert` again" in text


def test_json_is_one_document_with_every_finding(copy_of: Copy) -> None:
    store = copy_of("coco")
    flip_bit(parts_of(store)[0] / "images/pixel_values/c/0/0/0/0", 3)
    code, text = run(store, "--json")
    report = json.loads(text)
    assert code == 4
    assert report["damaged"] is True
    assert report["depth"] == "structure"
    (finding,) = report["findings"]
    assert finding["check"] == "row-checksum"
    assert finding["row"] == 0


def test_notes_alone_give_exit_code_0(copy_of: Copy) -> None:
    store = copy_of("coco")
    (store / "notes.txt").touch()
    assert run(store)[0] == 0


def test_path_that_is_no_store_gives_exit_code_1(tmp_path: Path) -> None:
    assert run(tmp_path)[0] == 1


def test_source_depth_runs_from_the_command_line(copy_of: Copy, sound: Path) -> None:
    store = copy_of("coco")
    part = parts_of(store)[0]
    rewrite(part, "masks/area", read_array(part, "masks/area") + 1)
    code, text = run(store, "--source", sound / "coco", "--all")
    assert code == 4
    assert "source-differs" in text


@pytest.mark.parametrize(("count", "lines"), [(MAX_LINES, MAX_LINES + 1), (MAX_LINES + 5, MAX_LINES + 2)])
def test_text_ends_long_lists_with_a_count(count: int, lines: int) -> None:
    finding = Finding(check="row-checksum", part="part-00000", array="masks/masks", found="damaged")
    text = list(VerifyReport(store="s", depth="structure", findings=[finding] * count).lines())
    assert len(text) == lines
    assert count == MAX_LINES or "5 more of row-checksum in masks/masks" in text[-2]


def test_ctrl_c_ends_workers_at_once_and_without_a_word_of_theirs(sound: Path) -> None:
    command = ["-m", "resizeonce.preprocess", "verify", str(sound / "coco.zarr"), "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    # The first one keeps track of semaphores.
    while len(children.read_text().split()) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    # As long as they import what they need.
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    # On a fast machine all may have been checked by then.
    assert (process.returncode, printed) in ((130, "interrupted\n"), (0, ""))


def test_ctrl_c_while_workers_start_ends_them_as_well(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers: list[multiprocessing.process.BaseProcess] = []
    submit = ProcessPoolExecutor.map

    def interrupted(*arguments: Any, **options: Any) -> Any:
        results = submit(*arguments, **options)
        workers.extend(multiprocessing.active_children())
        signal.raise_signal(signal.SIGINT)
        return results

    monkeypatch.setattr(ProcessPoolExecutor, "map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_store(sound / "coco.zarr", VerifyOptions(workers=2))
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL] * 2
