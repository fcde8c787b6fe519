"""Scenes added to a finished store."""

import json
import shutil
import tarfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from miniature.sa1b import write_sa1b
from stores import CONFIGS, TINY, coco_config, coco_root, coco_store, pictures, tree_digest

from resizeonce import loader
from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.format.metadata import read_attributes
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.errors import ConfigError
from resizeonce.preprocess.run.convert import Report, RunOptions, convert, finish
from resizeonce.preprocess.store.filesystem import write_whole
from resizeonce.preprocess.store.plan import Plan, plan_as_json
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store


def grown(folder: Path, count: int) -> Path:
    """Write the first `count` pictures as a COCO tree."""
    shutil.rmtree(folder / "coco", ignore_errors=True)
    return coco_root(folder, count)


def append(root: Path, out: Path, **run: Any) -> Report:
    return convert(coco_config(), root, out, RunOptions(append=True, **run))


def samples(store: Path) -> dict[str, list[bytes]]:
    """Return every sample's tensors by its key."""
    dataset = loader.SampleDataset(store)
    found = {}
    for number in range(len(dataset)):
        sample = dataset[number]
        found[sample["key"]] = [
            sample[name].numpy().tobytes()
            for name in ("pixel_values", "g_pixel_values", "prompt_masks", "masks")
        ]
    return found


def test_new_scenes_come_as_new_parts_and_the_old_ones_stay_as_they_are(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(coco_config(), grown(tmp_path, 3), out)
    before = tree_digest(out)
    report = append(grown(tmp_path, 5), out)
    after = tree_digest(out)
    assert {name: after[name] for name in before if name != "zarr.json"} == {
        name: digest for name, digest in before.items() if name != "zarr.json"
    }
    assert [part["rows"]["images"] for part in report.attributes["parts"]] == [2, 1, 2]
    assert report.attributes["totals"]["images"] == report.attributes["totals"]["scenes"] == 5
    convert(coco_config(), tmp_path / "coco", tmp_path / "whole")
    assert samples(out) == samples(tmp_path / "whole")
    assert (
        verify_store(out, VerifyOptions(values=False, source=tmp_path / "coco", sample=None)).findings == []
    )


def test_appending_and_removing_at_once_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        coco_store(tmp_path, append=True, overwrite=True)
    assert not (tmp_path / "coco.zarr").exists()


@pytest.mark.parametrize("content", [b"garbage\n", b'{"key": 3}\n', b"\xff\n"])
def test_a_damaged_list_of_rejects_is_told(tmp_path: Path, content: bytes) -> None:
    store = Path(coco_store(tmp_path).store)
    (store / "rejects.jsonl").write_bytes(content)
    with pytest.raises(StoreError, match=r"rejects\.jsonl is damaged: line 1 is no reject"):
        coco_store(tmp_path, append=True)


def test_an_appended_store_can_be_appended_to_and_each_time_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, last_workers in (("a", 1), ("b", 2)):
        convert(coco_config(), grown(tmp_path, 2), tmp_path / name)
        for count, workers in ((3, 1), (5, last_workers)):
            append(grown(tmp_path, count), tmp_path / name, workers=workers)
        assert append(tmp_path / "coco", tmp_path / name).was_complete
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")
    assert (
        verify_store(tmp_path / "a", VerifyOptions(source=tmp_path / "coco")).counts["scenes made anew"] == 5
    )
    attributes = json.loads((tmp_path / "a" / "zarr.json").read_bytes())["attributes"]["resizeonce"]
    assert [added["first_scene"] for added in attributes["appended"]] == [2, 3]


def test_an_append_that_was_stopped_goes_on_and_the_old_store_is_read_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        convert(coco_config(), grown(tmp_path, 2), tmp_path / name)
    root = grown(tmp_path, 5)
    append(root, tmp_path / "b")
    out = tmp_path / "a"
    with monkeypatch.context() as stopped:
        stopped.setattr("resizeonce.preprocess.run.destination.finish_store", interrupt)
        with pytest.raises(KeyboardInterrupt):
            append(root, out)
    assert len(loader.SampleDataset(out)) == 4
    assert not verify_store(out).is_damaged
    with pytest.raises(StoreError, match="run the command with --append again"):
        convert(coco_config(), root, out)
    append(root, out)
    assert tree_digest(out) == tree_digest(tmp_path / "b")


def test_a_dataset_that_grew_during_an_append_is_told_and_what_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        convert(coco_config(), grown(tmp_path, 2), tmp_path / name)
    out = tmp_path / "a"
    before = tree_digest(out)
    root = grown(tmp_path, 4)
    with monkeypatch.context() as stopped:
        stopped.setattr("resizeonce.preprocess.run.destination.finish_store", interrupt)
        with pytest.raises(KeyboardInterrupt):
            append(root, out)
    root = grown(tmp_path, 5)
    with pytest.raises(
        StoreError, match=r"differs in: .*files.*remove \.job\.json, part-00001 and all parts after"
    ):
        append(root, out)
    (out / ".job.json").unlink()
    for part in out.glob("part-*"):
        if part.name >= "part-00001":
            shutil.rmtree(part)
    assert {name: digest for name, digest in tree_digest(out).items() if name in before} == before
    append(root, out)
    append(root, tmp_path / "b")
    assert tree_digest(out) == tree_digest(tmp_path / "b")


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_rejects_of_both_are_listed_in_the_order_of_parts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    root = grown(tmp_path, 2)
    (root / "train2017" / "000000000001.jpg").unlink()
    convert(coco_config(), root, out)
    root = grown(tmp_path, 4)
    (root / "train2017" / "000000000001.jpg").unlink()
    (root / "train2017" / "000000000004.jpg").unlink()
    report = append(root, out)
    lines = [json.loads(line)["key"] for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert lines == ["coco/1", "coco/4"]
    assert report.attributes["totals"]["rejects"] == {"read": 2}
    assert verify_store(out).findings == []


def test_append_makes_a_store_where_there_is_none(tmp_path: Path) -> None:
    append(grown(tmp_path, 3), tmp_path / "a")
    convert(coco_config(), tmp_path / "coco", tmp_path / "b")
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")


def test_another_recipe_or_a_limit_is_not_appended(tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(coco_config(), grown(tmp_path, 3), out)
    root = grown(tmp_path, 5)
    with pytest.raises(StoreError, match="give --append to add the scenes it lacks"):
        convert(coco_config(), root, out)
    with pytest.raises(StoreError, match=r"recipe\.masks\.size was 48, is now 512"):
        convert(coco_config("recipe.masks.size=512"), root, out, RunOptions(append=True))
    with pytest.raises(StoreError, match="--limit and --append do not go together"):
        append(root, out, limit=3)
    append(root, out)
    with pytest.raises(StoreError, match="appended was True, is now False"):
        convert(coco_config(), root, out)


def split_tar(whole: Path, folder: Path, prefixes: Mapping[str, tuple[str, ...]]) -> None:
    """Write the members of a tar into several: each into the first that has a prefix of it, or has none."""
    with tarfile.open(whole) as archive, ExitStack() as stack:
        targets = {name: stack.enter_context(tarfile.open(folder / name, "w")) for name in prefixes}
        for member in archive:
            name = next(
                target
                for target, wanted in prefixes.items()
                if not wanted or Path(member.name).name.startswith(wanted)
            )
            targets[name].addfile(member, archive.extractfile(member))


def test_tars_that_arrive_one_by_one_are_appended(tmp_path: Path) -> None:
    config = load_config(CONFIGS / "sa1b.toml", TINY)
    root, out = tmp_path / "sa1b", tmp_path / "out"
    write_sa1b(root, pictures(), tar=True)
    (root / "sa_000000.tar").rename(tmp_path / "all.tar")
    # The tar that comes later has a name that sorts before the other's.
    split_tar(tmp_path / "all.tar", root, {"sa_000007.tar": ("sa_1.", "sa_4."), "sa_000003.tar": ()})
    (root / "sa_000003.tar").rename(tmp_path / "sa_000003.tar")
    convert(config, root, out)
    (tmp_path / "sa_000003.tar").rename(root / "sa_000003.tar")
    report = convert(config, root, out, RunOptions(append=True))
    assert report.attributes["totals"]["images"] == 5
    assert report.num_rejects == 0


def test_an_append_that_was_killed_at_its_very_end_is_finished_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        convert(coco_config(), grown(tmp_path, 2), tmp_path / name)
    root = grown(tmp_path, 4)
    (root / "train2017" / "000000000004.jpg").unlink()
    append(root, tmp_path / "b")
    out = tmp_path / "a"
    # Before the root, where the list of rejects is the new one already; and after it, before the plan is removed.
    write = write_whole
    with monkeypatch.context() as stopped:
        stopped.setattr(
            "resizeonce.preprocess.store.root.write_whole",
            lambda path, content: interrupt() if path.name == "zarr.json" else write(path, content),
        )
        with pytest.raises(KeyboardInterrupt):
            append(root, out)
    assert (out / "rejects.jsonl").exists()
    assert not verify_store(out).is_damaged
    with monkeypatch.context() as stopped:
        stopped.setattr("resizeonce.preprocess.store.root.sweep_attempts", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finish(out)
    (out / ".job.json").write_bytes(plan_of(out))
    assert finish(out).was_complete
    assert tree_digest(out) == tree_digest(tmp_path / "b")


def plan_of(store: Path) -> bytes:
    """Return the plan of the last append to a store, as it stood in its file."""
    attributes = read_attributes(store)
    last = attributes["appended"][-1]
    return plan_as_json(
        Plan(
            job=last["job"],
            versions=attributes["versions"],
            dataset_type=attributes["dataset_type"],
            paired=attributes["paired"],
            num_scenes=attributes["totals"]["scenes"] - last["first_scene"],
            first_part=last["first_part"],
            first_scene=last["first_scene"],
        )
    )
