"""Runs into a folder that a stranger prepared: nothing outside of it is touched, and nothing holds or fills the run."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forge import Forgery
from miniature.coco import write_coco
from stores import coco_config, coco_root, coco_store, make_unfinished, pictures, tree_digest

from resizeonce.loader.format.errors import StoreError
from resizeonce.preprocess.run.convert import RunOptions, convert, convert_range, finish
from resizeonce.preprocess.run.part_range import PartRange


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


def append(folder: Path) -> object:
    return convert(coco_config(), folder / "coco", folder / "coco.zarr", RunOptions(append=True))


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


@pytest.mark.parametrize("run", [resume, share])
def test_a_note_that_is_a_link_is_an_error_that_names_it(
    tmp_path: Path, run: Callable[[Path], object]
) -> None:
    coco_root(tmp_path)
    note = tmp_path / "coco.zarr" / ".attempts" / "part-00001.abcdef.note"
    note.parent.mkdir(parents=True)
    note.symlink_to(thesis(tmp_path) / "notes.txt")
    with pytest.raises(StoreError, match=r"a link stands there.*remove it"):
        run(tmp_path)


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("number", [0, 1])
def test_a_part_that_is_somebody_s_link_is_made_and_what_it_leads_to_stays(
    tmp_path: Path, number: int
) -> None:
    victim = thesis(tmp_path)
    before = tree_digest(victim)
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


@pytest.mark.usefixtures("converted")
def test_the_mark_of_a_removal_is_not_made_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "coco.zarr" / ".removing").symlink_to(tmp_path / "made")
    overwrite(tmp_path)
    assert not (tmp_path / "made").exists()
    assert not os.path.lexists(tmp_path / "coco.zarr" / ".removing")


def test_no_lock_is_made_where_a_link_leads(tmp_path: Path) -> None:
    coco_root(tmp_path)
    (tmp_path / "coco.zarr").mkdir()
    (tmp_path / "coco.zarr" / ".lock").symlink_to(tmp_path / "made")
    with pytest.raises(StoreError, match="a link stands there that no run made"):
        resume(tmp_path)
    assert not (tmp_path / "made").exists()


def add_scenes(folder: Path) -> None:
    """Let the dataset have more scenes than the store."""
    shutil.rmtree(folder / "coco")
    write_coco(folder / "coco", pictures() + pictures())


def spoil(path: Path, kind: str) -> None:
    """Put something in the place of a file that can't be read as one."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize(
    ("file", "run"),
    [
        (".job.json", end),
        (".index-rejects.jsonl", end),
        (".index-rejects.jsonl", resume),
        ("part-00001/zarr.json", end),
        ("part-00001/zarr.json", share),
        ("part-00001/rejects.jsonl", resume),
        ("part-00001/rejects.jsonl", append),
    ],
)
def test_what_is_no_file_is_not_read(
    tmp_path: Path, file: str, run: Callable[[Path], object], kind: str
) -> None:
    if run is append:
        add_scenes(tmp_path)
    else:
        make_unfinished(tmp_path / "coco.zarr")
    spoil(tmp_path / "coco.zarr" / file, kind)
    with pytest.raises(StoreError, match=rf"{file}.*it is a {kind}, expected a file"):
        run(tmp_path)


@pytest.mark.usefixtures("converted")
def test_a_part_that_is_a_file_is_an_error_that_says_what_to_remove(tmp_path: Path) -> None:
    make_unfinished(tmp_path / "coco.zarr")
    (tmp_path / "coco.zarr" / "part-00001").rename(tmp_path / "elsewhere")
    (tmp_path / "coco.zarr" / "part-00001").write_text("")
    with pytest.raises(
        StoreError, match=r"part-00001/zarr\.json \(Not a directory\): remove .*/part-00001 and"
    ):
        resume(tmp_path)


def test_a_note_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    coco_root(tmp_path)
    attempts = tmp_path / "coco.zarr" / ".attempts"
    attempts.mkdir(parents=True)
    os.mkfifo(attempts / "part-00000.0123.note")
    with (attempts / "part-00001.0123.note").open("wb") as file:
        file.truncate(1 << 40)
    share(tmp_path)
    assert len(list((tmp_path / "coco.zarr").glob("part-*/zarr.json"))) == 3


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda plan: plan.update(num_scenes=1 << 53),
            "4,503,599,627,370,496 parts, and 100,000 is the most",
        ),
        (lambda plan: plan["job"].update(source={}), "missing required field `name`"),
        (lambda plan: plan["job"].update(recipe={}), "can't be finished: .*views are missing"),
        (lambda plan: plan["job"].pop("format_version"), "missing required field `format_version`"),
        (lambda plan: plan["job"].update(format_version=99), "in format version 99, which"),
    ],
)
def test_a_plan_that_no_run_wrote_is_not_finished(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    make_unfinished(tmp_path / "coco.zarr")
    file = tmp_path / "coco.zarr" / ".job.json"
    plan = json.loads(file.read_text())
    change(plan)
    file.write_text(json.dumps(plan))
    with pytest.raises(StoreError, match=words):
        end(tmp_path)
    assert not (tmp_path / "coco.zarr" / "zarr.json").exists()


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bytes": 1 << 62}, r"part-00001/zarr\.json is damaged .*bytes"),
        ({"skips": {"a": -5}}, "can't be finished: .*>= 0"),
        ({"part": 7}, "part-00001 says that it is part 7"),
        ({"rejects": 5}, "part-00001/zarr.json is damaged"),
    ],
)
def test_a_part_that_no_run_wrote_is_not_taken_into_a_store(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    make_unfinished(tmp_path / "coco.zarr")
    file = tmp_path / "coco.zarr" / "part-00001" / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["attributes"]["resizeonce"] |= change
    file.write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match=words):
        end(tmp_path)
    assert not (tmp_path / "coco.zarr" / "zarr.json").exists()


@pytest.mark.usefixtures("converted")
def test_a_list_of_rejects_that_is_nobody_s_goes_where_there_are_none(tmp_path: Path) -> None:
    whole = tree_digest(tmp_path / "coco.zarr")
    assert "rejects.jsonl" not in whole
    make_unfinished(tmp_path / "coco.zarr")
    (tmp_path / "coco.zarr" / "rejects.jsonl").write_text("a stranger's")
    end(tmp_path)
    assert tree_digest(tmp_path / "coco.zarr") == whole


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize(
    "totals",
    [{"skips": 5}, {"skips": None}, {"rejects": 4}, {"bytes": {"a": 1}}, {"masks": {"a": 1}}],
)
def test_nothing_is_appended_to_a_store_whose_totals_are_none(tmp_path: Path, totals: dict[str, Any]) -> None:
    forgery = Forgery(tmp_path / "coco.zarr")
    forgery.root["totals"] |= totals
    forgery.write(tmp_path / "coco.zarr")
    with pytest.raises(StoreError, match=r"zarr\.json is damaged"):
        append(tmp_path)


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("value", [-1, 10**6, 1 << 62])
def test_scenes_that_are_there_are_not_appended_again_for_offsets_that_lead_elsewhere(
    tmp_path: Path, value: int
) -> None:
    forgery = Forgery(tmp_path / "coco.zarr")
    path = "part-00000/scenes/key_offsets/c/0"
    offsets = forgery.chunks(path)[0]
    forgery.set_chunks(path, [offsets[:8] + value.to_bytes(8, "little", signed=True) + offsets[16:]])
    forgery.write(tmp_path / "coco.zarr")
    add_scenes(tmp_path)
    with pytest.raises(StoreError, match="numbers that do not ascend from 0"):
        append(tmp_path)
