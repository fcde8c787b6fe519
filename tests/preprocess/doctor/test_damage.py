"""One fault in a sound miniature dataset each: the right check tells it, with its count, its key and its file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature.coco import write_coco
from miniature.every import WRITERS
from miniature.folders import write_folders
from miniature.sa1b import write_sa1b
from miniature.sav import write_sav_train
from miniature.shapes import picture_of
from PIL import Image
from stores import CONFIGS, TINY

from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.doctor.diagnose import DoctorOptions, diagnose
from resizeonce.preprocess.findings import Finding
from resizeonce.preprocess.run.convert import convert

PICTURES = [picture_of(60 + 10 * seed, 90, seed) for seed in range(4)]

COVER = (*TINY, "recipe.prompt_masks.filter=cover")
"""Under it no small object has an empty prompt."""


def findings_in(root: Path, name: str, *overrides: str) -> list[Finding]:
    """Return all but notes."""
    diagnosis = diagnose(load_config(CONFIGS / f"{name}.toml", [*COVER, *overrides]), root)
    return [finding for finding in diagnosis.findings if finding.severity != "note"]


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_of_sound_data_there_is_no_error_and_no_warning(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path, PICTURES)
    assert findings_in(tmp_path, name) == []


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


Coco = Callable[[Path, dict[str, Any]], None]


def _jpeg(root: Path, number: int) -> Path:
    return root / "train2017" / f"{number:012d}.jpg"


def cut(root: Path, _: dict[str, Any]) -> None:
    encoded = _jpeg(root, 2).read_bytes()
    _jpeg(root, 2).write_bytes(encoded[: len(encoded) // 2])


def empty(root: Path, _: dict[str, Any]) -> None:
    _jpeg(root, 2).write_bytes(b"")


def remove(root: Path, _: dict[str, Any]) -> None:
    _jpeg(root, 2).unlink()


def turn(root: Path, _: dict[str, Any]) -> None:
    Image.fromarray(np.rot90(PICTURES[1])).save(_jpeg(root, 2))


def crop(root: Path, _: dict[str, Any]) -> None:
    Image.fromarray(PICTURES[1][:, :50]).save(_jpeg(root, 2))


def shorten_runs(_: Path, content: dict[str, Any]) -> None:
    content["annotations"][3]["segmentation"] = {"size": [70, 90], "counts": [100, 72]}


def drop_points(_: Path, content: dict[str, Any]) -> None:
    content["annotations"][3]["segmentation"] = [[1, 2, 3, 4]]


def empty_mask(_: Path, content: dict[str, Any]) -> None:
    content["annotations"][3]["segmentation"] = {"size": [70, 90], "counts": [70 * 90]}


def repeat_id(_: Path, content: dict[str, Any]) -> None:
    content["annotations"][4]["id"] = content["annotations"][3]["id"]


def refer_elsewhere(_: Path, content: dict[str, Any]) -> None:
    content["annotations"][3]["image_id"] = 77


def miss_the_box(_: Path, content: dict[str, Any]) -> None:
    content["annotations"][3]["bbox"] = [0, 0, 8, 8]


def fill(_: Path, content: dict[str, Any]) -> None:
    content["annotations"][3]["segmentation"] = {"size": [70, 90], "counts": [0, 70 * 90]}


def repeat_mask(_: Path, content: dict[str, Any]) -> None:
    content["annotations"][4]["segmentation"] = content["annotations"][3]["segmentation"]


def forget_the_class(_: Path, content: dict[str, Any]) -> None:
    content["annotations"][3]["category_id"] = 9


def flatten(root: Path, _: dict[str, Any]) -> None:
    Image.fromarray(np.full_like(PICTURES[1], 127)).save(_jpeg(root, 2))


def keep_12_bits_in_16(root: Path, _: dict[str, Any]) -> None:
    grey = np.asarray(Image.fromarray(PICTURES[1]).convert("L")).astype(np.uint16)
    Image.fromarray(grey * 16).save(_jpeg(root, 2), "PNG")


def copy_over(root: Path, content: dict[str, Any]) -> None:
    shutil.copy(_jpeg(root, 1), _jpeg(root, 2))
    content["images"][1]["height"] = 60
    for annotation in content["annotations"][3:6]:
        annotation["segmentation"] = [[10, 10, 40, 10, 40, 40 + annotation["id"] % 9]]


def list_twice(_: Path, content: dict[str, Any]) -> None:
    content["images"][1] |= content["images"][0] | {"id": 2}
    for annotation in content["annotations"][3:6]:
        annotation["segmentation"] = [[10, 10, 40, 10, 40, 40 + annotation["id"] % 9]]


def ask_for_a_turn(root: Path, _: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(PICTURES[1]).save(_jpeg(root, 2), exif=exif)


def stretch(root: Path, content: dict[str, Any]) -> None:
    Image.fromarray(picture_of(12, 90, 5)).save(_jpeg(root, 2))
    content["images"][1]["height"] = 12
    for annotation in content["annotations"][3:6]:
        annotation["segmentation"] = [[10, 1, 40, 1, 40, 10 + annotation["id"] % 2]]


IMAGE, MASK = "coco/2 (train2017/000000000002.jpg)", "coco/2/20 (train2017/000000000002.jpg)"
SECOND = "coco/2/21 (train2017/000000000002.jpg)"
INDEX = "annotations/instances_train2017.json"

COCO: list[tuple[Coco, str, str, str]] = [
    (cut, "error", "damaged-picture", IMAGE),
    (empty, "error", "not-the-file", IMAGE),
    (remove, "error", "missing-file", IMAGE),
    (turn, "error", "turned", IMAGE),
    (crop, "error", "other-size", IMAGE),
    (shorten_runs, "error", "run-lengths", MASK),
    (drop_points, "error", "polygon", MASK),
    (empty_mask, "error", "empty-mask", MASK),
    (repeat_id, "error", "id-twice", f"coco/2/20 ({INDEX})"),
    (refer_elsewhere, "error", "unlisted", f"coco/77/20 ({INDEX})"),
    (miss_the_box, "warning", "box-misses-mask", MASK),
    (fill, "warning", "full-mask", MASK),
    (repeat_mask, "warning", "same-mask", SECOND),
    (forget_the_class, "warning", "no-class", MASK),
    (flatten, "warning", "flat-picture", IMAGE),
    (keep_12_bits_in_16, "warning", "dark-picture", IMAGE),
    (copy_over, "warning", "picture-twice", "coco/2 (is coco/1)"),
    (list_twice, "warning", "file-twice", ""),
    (ask_for_a_turn, "warning", "unsure-turn", IMAGE),
    (stretch, "warning", "long-picture", IMAGE),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "severity", "check", "example"), COCO)
def test_a_fault_of_coco_is_told_by_its_check_alone(
    tmp_path: Path, damage: Coco, severity: str, check: str, example: str
) -> None:
    write_coco(tmp_path, PICTURES)
    change_json(tmp_path / INDEX, lambda content: damage(tmp_path, content))
    (finding,) = findings_in(tmp_path, "coco")
    assert (finding.severity, finding.check, finding.count) == (severity, check, 1)
    assert finding.examples == ([example] if example else [])
    assert finding.what
    assert finding.remedy


def test_of_many_faults_the_first_three_are_named_and_all_counted(tmp_path: Path) -> None:
    write_coco(tmp_path, PICTURES)
    for picture in (tmp_path / "train2017").iterdir():
        picture.write_bytes(b"")
    (finding,) = findings_in(tmp_path, "coco")
    assert finding.count == 4
    assert finding.examples == [f"coco/{number} (train2017/{number:012d}.jpg)" for number in (1, 2, 3)]
    assert finding.what.endswith("the first: the file is empty (0 bytes)")


@pytest.mark.parametrize(
    ("said", "check"),
    [
        ({"video_frame_count": 8.0}, "frame-count"),
        ({"video_height": 90.0, "video_width": 60.0}, "turned"),
    ],
)
def test_a_video_that_is_not_the_annotated_one_is_told_by_its_length_or_size(
    tmp_path: Path, said: dict[str, float], check: str
) -> None:
    write_sav_train(tmp_path, [("sav_000001", [np.roll(PICTURES[0], 9 * t, axis=1) for t in range(6)])])
    change_json(next(tmp_path.glob("**/*_manual.json")), lambda content: content.update(said))
    (finding,) = findings_in(tmp_path, "sav")
    assert (finding.check, finding.severity) == (check, "error")
    assert all(example.startswith("sav/sav_000001") for example in finding.examples)


def test_a_folder_of_frames_that_is_not_there_is_missing(tmp_path: Path) -> None:
    write_sav_train(tmp_path, [("sav_000001", PICTURES[:1] * 6)])
    shutil.rmtree(next(path for path in tmp_path.rglob("sav_000001") if path.is_dir()))
    found = [finding for finding in findings_in(tmp_path, "sav") if finding.severity == "error"]
    assert [finding.check for finding in found] == ["missing-file"]


def test_two_jsons_of_one_image_are_told(tmp_path: Path) -> None:
    write_sa1b(tmp_path, PICTURES)
    (tmp_path / "more").mkdir()
    for name in ("sa_2.json", "sa_2.jpg"):
        shutil.copy(tmp_path / "sa_000000" / name, tmp_path / "more")
    (finding,) = findings_in(tmp_path, "sa1b")
    assert (finding.check, finding.severity, finding.count) == ("file-twice", "error", 1)


def test_images_and_masks_without_their_counterpart_are_notes(tmp_path: Path) -> None:
    write_folders(tmp_path, PICTURES)
    sorted((tmp_path / "images").iterdir())[0].unlink()
    sorted((tmp_path / "masks").iterdir())[1].unlink()
    diagnosis = diagnose(load_config(CONFIGS / "folders.toml", COVER), tmp_path)
    notes = [finding.what for finding in diagnosis.findings if finding.check == "unreferenced"]
    assert notes == ["image without a mask", "mask without an image"]
    assert diagnosis.num_of("error") == 0


def test_a_half_unpacked_download_is_a_warning(tmp_path: Path) -> None:
    write_coco(tmp_path, PICTURES)
    (tmp_path / "train2017" / "rest.zip").write_bytes(b"PK")
    (tmp_path / "train2017" / "last.jpg.part").write_bytes(b"\xff")
    found = {finding.check: finding.severity for finding in findings_in(tmp_path, "coco")}
    assert found == {"archive": "warning", "unfinished": "warning"}


def test_empty_prompts_are_those_that_the_store_counts_and_cover_leaves_none(tmp_path: Path) -> None:
    write_sa1b(tmp_path / "raw", [picture_of(200, 300, seed) for seed in range(4)])
    config = load_config(CONFIGS / "sa1b.toml", TINY)
    totals = convert(config, tmp_path / "raw", tmp_path / "out.zarr").attributes["totals"]
    (finding,) = diagnose(config, tmp_path / "raw").findings
    assert (finding.check, finding.severity) == ("empty-prompt", "warning")
    assert finding.count == totals["empty_prompts"] > 0
    assert "--set recipe.prompt_masks.filter=cover" in finding.remedy
    assert findings_in(tmp_path / "raw", "sa1b") == []


def test_thumbnails_are_told_by_the_size_of_the_largest_view(tmp_path: Path) -> None:
    write_coco(tmp_path, PICTURES)
    # The longer side of each is 90.
    assert findings_in(tmp_path, "coco", "recipe.g_pixel_values.size=360") == []
    (finding,) = findings_in(tmp_path, "coco", "recipe.g_pixel_values.size=361")
    assert (finding.check, finding.count) == ("small-picture", 4)


def test_few_scenes_speak_for_all_and_say_so(tmp_path: Path) -> None:
    write_coco(tmp_path, [picture_of(40, 60, seed) for seed in range(20)])
    for number in range(1, 21):
        _jpeg(tmp_path, number).write_bytes(b"")
    config = load_config(CONFIGS / "coco.toml", COVER)
    diagnosis = diagnose(config, tmp_path, DoctorOptions(sample=5))
    assert (diagnosis.scenes.total, diagnosis.scenes.looked_at) == (20, 5)
    (finding,) = (finding for finding in diagnosis.findings if finding.severity == "error")
    assert finding.count == 5
    assert "in 5 scenes: about 20 in all" in finding.what
    assert diagnosis.forecast["rejects"] == 20
    # Evenly spread, from the first to the last.
    assert finding.examples[0].startswith("coco/1 ")
