"""--overwrite removes the files of a store, and nothing that is anything else."""

import json
from pathlib import Path

import pytest
from stores import coco_store, make_unfinished, tree_digest

from resizeonce.loader.format.errors import StoreError


def overwrite(folder: Path) -> None:
    coco_store(folder, "source.crowds=true", overwrite=True)


def refused(folder: Path, words: str) -> None:
    """See that overwriting `folder / "coco.zarr"` is refused and touches nothing."""
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    content = tree_digest(folder)
    with pytest.raises(StoreError, match=words):
        overwrite(folder)
    assert tree_digest(folder) == content
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "no JSON",
        "[" * 100_000,
        '{"job": {}, "versions": {}, "dataset_type": "coco", "paired": false, "num_scenes": 1}',
    ],
)
def test_a_folder_is_no_store_for_the_name_of_a_file_in_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "coco.zarr").rename(tmp_path / "elsewhere")
    (tmp_path / "coco.zarr").mkdir()
    (tmp_path / "coco.zarr" / ".job.json").write_text(content)
    (tmp_path / "coco.zarr" / "thesis.tex").write_text("years of work")
    # Names that look like those of files half written, and of a lock, but are somebody's.
    (tmp_path / "coco.zarr" / ".film.mp4.partial").write_text("half of it")
    (tmp_path / "coco.zarr" / ".lock").write_text("of another program")
    refused(tmp_path, "is no store, so --overwrite does not remove it")


@pytest.mark.usefixtures("converted")
def test_a_stranger_s_files_in_a_store_are_named_and_nothing_is_removed(tmp_path: Path) -> None:
    store = tmp_path / "coco.zarr"
    (store / "figures").mkdir()
    (store / "figures" / "a.txt").write_text("1")
    for number in range(6):
        (store / f"notes{number}.txt").write_text("what I found out")
    refused(
        tmp_path,
        r"'figures', 'notes0\.txt', 'notes1\.txt', 'notes2\.txt', 'notes3\.txt' and 2 more\. Move that",
    )


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize(
    "name",
    ["part-00001/notes.txt", "part-00001/masks/masks/c/0/0/1", "part-00001/mine/a", "part-1/zarr.json"],
)
def test_a_stranger_s_file_in_a_part_is_one_too(tmp_path: Path, name: str) -> None:
    file = tmp_path / "coco.zarr" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("what I found out")
    refused(tmp_path, rf"{Path(*Path(name).parts[: 1 if 'part-1/' in name else 2])}")


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("place", ["part-00001", "part-00001/images"])
def test_a_link_to_a_folder_is_not_followed_and_not_taken_for_the_store_s(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "coco.zarr" / place
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    refused(tmp_path, rf"'{place} -> {tmp_path}/elsewhere'")


@pytest.mark.usefixtures("converted")
def test_row_files_that_are_links_go_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    """As in the caches of DVC and git-annex."""
    rows = tmp_path / "coco.zarr" / "part-00000" / "images" / "pixel_values" / "c" / "0" / "0" / "0" / "0"
    content = rows.read_bytes()
    rows.rename(tmp_path / "kept")
    rows.symlink_to(tmp_path / "kept")
    overwrite(tmp_path)
    assert (tmp_path / "kept").read_bytes() == content
    assert not rows.is_symlink()


@pytest.mark.usefixtures("converted")
@pytest.mark.parametrize("damage", ["", '{"job": ', "{}"])
def test_an_unfinished_store_whose_plan_is_damaged_is_made_anew_as_its_error_says(
    tmp_path: Path, damage: str
) -> None:
    make_unfinished(tmp_path / "coco.zarr")
    (tmp_path / "coco.zarr" / ".job.json").write_text(damage)
    with pytest.raises(StoreError, match=r"is damaged, or not of this project .*give --overwrite"):
        coco_store(tmp_path)
    overwrite(tmp_path)
    coco_store(tmp_path, "source.crowds=true")


@pytest.mark.usefixtures("converted")
def test_a_store_whose_root_is_damaged_is_known_by_its_parts(tmp_path: Path) -> None:
    (tmp_path / "coco.zarr" / "zarr.json").write_text("{")
    overwrite(tmp_path)


@pytest.mark.usefixtures("converted")
def test_what_a_stopped_removal_left_can_be_removed_but_not_with_what_came_since(tmp_path: Path) -> None:
    store = tmp_path / "coco.zarr"
    (store / ".removing").touch()
    (store / "zarr.json").unlink()
    (store / "part-00001" / "zarr.json").unlink()
    (store / "since.txt").write_text("new")
    refused(tmp_path, r"'since\.txt'")
    (store / "since.txt").unlink()
    overwrite(tmp_path)
    assert not (store / ".removing").exists()


@pytest.mark.usefixtures("converted")
def test_what_operating_systems_put_anywhere_is_in_nobody_s_way(tmp_path: Path) -> None:
    store = tmp_path / "coco.zarr"
    for folder in (store, store / "part-00000", store / "part-00000" / "images" / "key_bytes" / "c"):
        for name in (".DS_Store", "._part", ".nfs00000001", "Thumbs.db"):
            (folder / name).write_text("x")
    overwrite(tmp_path)
    assert {path.name for path in store.iterdir() if path.is_file()} == {
        ".DS_Store",
        "._part",
        ".nfs00000001",
        "Thumbs.db",
        "zarr.json",
    }
    assert not (store / "part-00000" / ".DS_Store").exists()


@pytest.mark.usefixtures("converted")
def test_a_store_behind_a_link_is_made_anew_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "coco.zarr").rename(tmp_path / "disk")
    (tmp_path / "coco.zarr").symlink_to(tmp_path / "disk")
    overwrite(tmp_path)
    assert (tmp_path / "coco.zarr").is_symlink()
    assert "resizeonce" in json.loads((tmp_path / "disk" / "zarr.json").read_bytes())["attributes"]


@pytest.mark.usefixtures("converted")
def test_a_file_in_the_place_of_the_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "coco.zarr").rename(tmp_path / "elsewhere")
    (tmp_path / "coco.zarr").write_text("a file")
    refused(tmp_path, "is no folder")
