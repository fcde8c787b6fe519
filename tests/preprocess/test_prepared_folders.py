"""Runs into a folder that a stranger prepared: nothing outside of it is touched, and nothing holds or fills the run."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from stores import coco_config, coco_root, coco_store, make_unfinished, tree_digest

from preprocess.errors import StoreError
from preprocess.pipeline import RunOptions, convert, convert_range, finish
from preprocess.ranges import PartRange


def thesis(folder: Path) -> Path:
    """Write what somebody must not lose."""
    (folder / "thesis" / "chapters").mkdir(parents=True)
    (folder / "thesis" / "chapters" / "1.tex").write_text("years of work")
    (folder / "thesis" / "notes.txt").write_text("what I found out")
    return folder / "thesis"


def resume(folder: Path) -> object:
    return convert(coco_config(), folder / "coco", folder / "coco.zarr", RunOptions())


def overwrite(folder: Path) -> object:
    return convert(coco_config(), folder / "coco", folder / "coco.zarr", RunOptions(overwrite=True))


def share(folder: Path) -> object:
    return convert_range(coco_config(), folder / "coco", folder / "coco.zarr", PartRange(1, 1))


def end(folder: Path) -> object:
    return finish(folder / "coco.zarr")


@pytest.mark.parametrize("run", [resume, overwrite, share, end])
def test_what_a_link_in_the_place_of_the_attempts_leads_to_is_not_swept(
    tmp_path: Path, run: Callable[[Path], object]
) -> None:
    victim = thesis(tmp_path)
    before = tree_digest(victim)
    if run is end:
        coco_store(tmp_path)
        make_unfinished(tmp_path / "coco.zarr")
    else:
        coco_root(tmp_path)
        (tmp_path / "coco.zarr").mkdir()
    (tmp_path / "coco.zarr" / ".attempts").symlink_to(victim)
    with pytest.raises(StoreError, match=r"\.attempts"):
        run(tmp_path)
    assert tree_digest(victim) == before


def test_what_no_run_named_stays_among_the_attempts(tmp_path: Path) -> None:
    coco_root(tmp_path)
    attempts = tmp_path / "coco.zarr" / ".attempts"
    (attempts / "part-00000.0123456789ab").mkdir(parents=True)
    victim = thesis(attempts)
    with pytest.raises(StoreError, match=r"none of the store's.*'\.attempts/thesis'"):
        overwrite(tmp_path)
    resume(tmp_path)
    assert [path.name for path in attempts.iterdir()] == ["thesis"]
    assert (victim / "chapters" / "1.tex").read_text() == "years of work"


@pytest.mark.parametrize("number", [0, 1])
def test_a_part_that_is_somebody_s_link_is_made_and_what_it_leads_to_stays(
    tmp_path: Path, number: int
) -> None:
    victim = thesis(tmp_path)
    before = tree_digest(victim)
    coco_store(tmp_path)
    whole = tree_digest(tmp_path / "coco.zarr")
    make_unfinished(tmp_path / "coco.zarr")
    part = tmp_path / "coco.zarr" / f"part-{number:05}"
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(victim if number else tmp_path / "nowhere")
    resume(tmp_path)
    assert tree_digest(tmp_path / "coco.zarr") == whole
    assert not part.is_symlink()
    assert tree_digest(victim) == before


def test_nothing_is_written_through_a_link_that_has_the_name_of_a_file_half_written(tmp_path: Path) -> None:
    coco_root(tmp_path)
    (tmp_path / "coco.zarr").mkdir()
    victim = thesis(tmp_path) / "notes.txt"
    for name in ("zarr.json", ".job.json", ".index-rejects.jsonl"):
        (tmp_path / "coco.zarr" / f".{name}.{os.getpid()}.partial").symlink_to(victim)
    share(tmp_path)
    assert victim.read_text() == "what I found out"


def test_no_lock_is_made_where_a_link_leads(tmp_path: Path) -> None:
    coco_root(tmp_path)
    (tmp_path / "coco.zarr").mkdir()
    (tmp_path / "coco.zarr" / ".lock").symlink_to(tmp_path / "made")
    with pytest.raises(StoreError, match="a link stands there that no run made"):
        resume(tmp_path)
    assert not (tmp_path / "made").exists()
