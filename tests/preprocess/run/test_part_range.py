"""Job arrays: shares of a store's parts, written by separate processes in any order, and `finish`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from miniature.every import WRITERS
from stores import CONFIGS, TINY, coco_config, coco_root, coco_store, options_of, pictures, tree_digest

from resizeonce.loader.format.errors import StoreError
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.commands.store_text import range_lines
from resizeonce.preprocess.errors import ConfigError
from resizeonce.preprocess.run.convert import RunOptions, convert, convert_range, finish
from resizeonce.preprocess.run.part_range import PartRange, describe_numbers
from resizeonce.preprocess.store.lock import held


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 50))
def test_shares_cover_every_part_once_and_are_equal(first: int, length: int, count: int) -> None:
    parts = range(first, first + length)
    shares = [PartRange(number, count).of(parts) for number in range(1, count + 1)]
    assert [part for share in shares for part in share] == list(parts)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "", "1/2/3", "-1/3"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--part-range is"):
        PartRange.parse(text)


def test_numbers_are_told_as_spans() -> None:
    assert describe_numbers([]) == ""
    assert describe_numbers([3]) == "3"
    assert describe_numbers([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


def convert_arguments(root: Path, out: Path, *options: str, config: str = "coco") -> list[str]:
    return [
        "convert",
        str(CONFIGS / f"{config}.toml"),
        "--root",
        str(root),
        "--out",
        str(out),
        *options_of(["store.scenes_per_part=1", *TINY]),
        *options,
    ]


def test_separate_processes_in_any_order_and_at_once_give_the_bytes_of_one_run(tmp_path: Path) -> None:
    root = tmp_path / "sav"
    WRITERS["sav"](root, pictures())
    # A video whose annotation the index rejects.
    (root / "sav_000009_manual.json").write_text("{")
    out, whole = tmp_path / "out.zarr", tmp_path / "whole.zarr"
    codes = (0, 3)
    runner = CliRunner()
    done = runner.invoke(main, convert_arguments(root, whole, config="sav"))
    assert done.exit_code in codes, done.output
    shares = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "resizeonce.preprocess"),
                *convert_arguments(root, out, "--part-range", f"{number}/3", config="sav"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (3, 1)
    ]
    for share in shares:
        _, stderr = share.communicate(timeout=120)
        assert share.returncode in codes, stderr
    with pytest.raises(StoreError, match=r"2 of 6 parts of .* are missing: 2-3"):
        finish(out)
    last = runner.invoke(main, convert_arguments(root, out, "--part-range", "2/3", config="sav"))
    assert "every part is there: resizeonce finish" in last.stdout
    finished = runner.invoke(main, ["finish", str(out), "--max-rejects", "9"])
    assert finished.exit_code == 0, finished.output
    assert tree_digest(out) == tree_digest(whole)
    assert finish(out).was_complete


def test_the_last_run_may_be_a_plain_one(tmp_path: Path) -> None:
    whole = coco_store(tmp_path).store
    out = tmp_path / "out.zarr"
    report = convert_range(coco_config(), tmp_path / "coco", out, PartRange(2, 2))
    assert (report.parts, report.missing, report.totals["images"]) == (range(1, 3), [0], 3)
    convert(coco_config(), tmp_path / "coco", out)
    assert tree_digest(out) == tree_digest(whole)


def test_more_shares_than_parts_leave_some_without_work(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    reports = [
        convert_range(coco_config(), root, tmp_path / "out", PartRange(number, 5)) for number in range(1, 6)
    ]
    assert [len(report.parts) for report in reports] == [0, 1, 0, 1, 1]
    assert finish(tmp_path / "out").attributes["totals"]["images"] == 5


def test_shares_keep_a_whole_run_and_finish_out_while_they_last(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    out = tmp_path / "out"
    convert_range(coco_config(), root, out, PartRange(1, 2))
    with held(out, shared=True):
        for run in (lambda: convert(coco_config(), root, out), lambda: finish(out)):
            with pytest.raises(StoreError, match="another run is writing"):
                run()
        convert_range(coco_config(), root, out, PartRange(2, 2))
    with held(out), pytest.raises(StoreError, match="another run is writing"):
        convert_range(coco_config(), root, out, PartRange(2, 2))
    assert finish(out).attributes["totals"]["images"] == 5


def test_a_share_of_a_finished_store_has_nothing_to_do(tmp_path: Path) -> None:
    whole = coco_store(tmp_path)
    digest = tree_digest(tmp_path / "coco.zarr")
    report = convert_range(coco_config(), tmp_path / "coco", tmp_path / "coco.zarr", PartRange(2, 2))
    assert report.was_complete
    assert report.totals == whole.attributes["totals"]
    assert next(range_lines(report)) == f"{whole.store} is complete already; nothing was written"
    assert tree_digest(tmp_path / "coco.zarr") == digest


def test_a_share_of_another_command_is_refused(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    convert_range(coco_config(), root, tmp_path / "out", PartRange(1, 2))
    with pytest.raises(StoreError, match=r"source\.crowds was False, is now True"):
        convert_range(coco_config("source.crowds=true"), root, tmp_path / "out", PartRange(2, 2))


@pytest.mark.parametrize("run", [RunOptions(limit=3), RunOptions(overwrite=True)])
def test_limit_and_overwrite_do_not_go_with_shares(tmp_path: Path, run: RunOptions) -> None:
    with pytest.raises(ConfigError, match="--part-range goes neither with"):
        convert_range(coco_config(), coco_root(tmp_path), tmp_path / "out", PartRange(1, 2), run)


def test_finish_refuses_what_it_can_not_finish(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such folder"):
        finish(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="is no store"):
        finish(tmp_path / "empty")
    report = coco_store(tmp_path, limit=3)
    plan = {"job": report.attributes["job"], "versions": {}, "dataset_type": "coco", "paired": False}
    (report.store / ".job.json").write_text(json.dumps(plan | {"num_scenes": 5}))
    (report.store / "zarr.json").unlink()
    with pytest.raises(StoreError, match="is being made with --limit"):
        finish(report.store)
