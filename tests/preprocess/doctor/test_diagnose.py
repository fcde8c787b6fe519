"""Doctor tells what a conversion does, with any number of workers, in a form for programs and one for people."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fuzz_inputs import disagreement
from miniature.coco import write_coco
from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import CONFIGS, TINY, options_of
from trouble import Harm, harm_scenes, kill

from resizeonce.preprocess.cli import main
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.doctor import diagnose as looking
from resizeonce.preprocess.doctor.diagnose import DoctorOptions, diagnose
from resizeonce.preprocess.run import convert as conversion
from resizeonce.preprocess.run.convert import convert

INDEXES = (".json", ".csv", ".p", ".txt")
"""Without one of these there is no dataset, except where each image has its own."""


def doctor(root: Path, config: str, *arguments: object) -> Result:
    words = ["doctor", str(CONFIGS / f"{config}.toml"), "--root", str(root), *map(str, arguments)]
    return CliRunner().invoke(main, [*words, *options_of(TINY)], catch_exceptions=False)


def damage_files(root: Path) -> None:
    """Damage two of three files that are no index: cut, empty, gone, a web page, each in turn."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in INDEXES)
    for number, path in enumerate(files):
        content = path.read_bytes()
        if number % 3 != 1:
            changed = [content[: len(content) // 2], b"", None, b"<!DOCTYPE html><html>"][number % 4]
            path.unlink()
            if changed is not None:
                path.write_bytes(changed)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_doctor_tells_as_many_rejects_and_skips_of_a_kind_as_a_conversion_has(
    tmp_path: Path, name: str
) -> None:
    root, store = tmp_path / "raw", tmp_path / "out.zarr"
    WRITERS[name](root, [picture_of(40 + 10 * seed, 60, seed) for seed in range(4)])
    damage_files(root)
    config = load_config(CONFIGS / f"{name}.toml", TINY)
    report = convert(config, root, store)
    assert report.num_rejects > 0
    assert disagreement(config, root, store) == ""
    counts = {table: report.attributes["totals"][table] for table in ("images", "masks", "samples")}
    assert counts.items() <= diagnose(config, root).forecast.items()


def test_a_picture_that_is_too_long_for_the_recipe_is_told_as_a_conversion_rejects_it(tmp_path: Path) -> None:
    write_coco(tmp_path / "raw", [picture_of(40, 60, 1), picture_of(10, 17000, 2)])
    config = load_config(CONFIGS / "coco.toml", [*TINY, "recipe.pixel_values.fit=pad-first"])
    assert convert(config, tmp_path / "raw", tmp_path / "out.zarr").num_rejects == 1
    assert disagreement(config, tmp_path / "raw", tmp_path / "out.zarr") == ""


ODD = {
    "coco": (
        "",
        "source.annotations=annotations/instances_odd.json",
        "source.images=images",
        "source.crowds=true",
    ),
    "sa1b": ("sa1b",),
    "sav": ("sav/sav_train",),
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_of_real_broken_data_doctor_tells_what_a_conversion_rejects(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    folder, *overrides = ODD[name]
    config = load_config(CONFIGS / f"{name}.toml", [*TINY, *overrides])
    root = shared_data / "odd" / folder
    assert convert(config, root, tmp_path / "out.zarr").num_rejects > 0
    assert disagreement(config, root, tmp_path / "out.zarr") == ""


@pytest.mark.parametrize("name", ["coco", "refcoco", "sa1b", "openimages"])
def test_no_mask_of_real_data_misses_the_box_stated_beside_it(shared_data: Path, name: str) -> None:
    found = diagnose(load_config(CONFIGS / f"{name}.toml"), shared_data / name).findings
    assert "box-misses-mask" not in {finding.check for finding in found}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A COCO tree of five images, of which one is empty and one gone."""
    write_coco(tmp_path / "raw", [picture_of(40, 60, seed) for seed in range(5)])
    (tmp_path / "raw" / "train2017" / "000000000002.jpg").write_bytes(b"")
    (tmp_path / "raw" / "train2017" / "000000000004.jpg").unlink()
    return tmp_path / "raw"


def test_any_number_of_workers_tells_the_same(broken: Path) -> None:
    config = load_config(CONFIGS / "coco.toml", TINY)
    alone = diagnose(config, broken)
    assert alone.num_of("error") == 2
    assert diagnose(config, broken, DoctorOptions(workers=2)) == alone


def test_a_scene_that_kills_its_process_is_an_error_and_the_others_are_looked_at(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm_scenes(monkeypatch, {2: Harm(tmp_path / "harm", kill)})
    monkeypatch.setattr(looking, "open_source", conversion.open_source)
    diagnosis = diagnose(load_config(CONFIGS / "coco.toml", TINY), broken, DoctorOptions(workers=2))
    errors = {finding.check: finding for finding in diagnosis.findings if finding.severity == "error"}
    assert set(errors) == {"not-the-file", "missing-file", "worker"}
    assert errors["worker"].examples == ["coco/3"]
    assert diagnosis.scenes.looked_at == 5


def test_json_has_the_agreed_form(broken: Path) -> None:
    result = doctor(broken, "coco", "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert {key: type(value) for key, value in found.items()} == {
        "config": str, "root": str, "scenes": dict, "findings": list, "forecast": dict,
    }  # fmt: skip
    assert found["scenes"] == {"total": 5, "looked_at": 5}
    for finding in found["findings"]:
        assert {key: type(value) for key, value in finding.items()} == {
            "check": str, "severity": str, "count": int, "what": str, "examples": list, "remedy": str,
        }  # fmt: skip
        assert finding["severity"] in ("error", "warning", "note")
        assert len(finding["examples"]) <= 3
        assert all(isinstance(example, str) for example in finding["examples"])
    severities = [finding["severity"] for finding in found["findings"]]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert (found["forecast"]["images"], found["forecast"]["rejects"]) == (3, 2)


def test_the_forecast_is_that_of_a_dry_run(broken: Path) -> None:
    found = json.loads(doctor(broken, "coco", "--json").stdout)["forecast"]
    words = [
        "convert",
        CONFIGS / "coco.toml",
        "--root",
        broken,
        "--out",
        broken / "out",
        "--dry-run",
        "--json",
    ]
    result = CliRunner().invoke(main, [*map(str, words), *options_of(TINY)])
    assert json.loads(result.stdout) == found


def test_errors_give_exit_code_4_and_warnings_alone_0(broken: Path, tmp_path: Path) -> None:
    assert doctor(broken, "coco").exit_code == 4
    write_coco(tmp_path / "sound", [picture_of(12, 90, 1)])
    result = doctor(tmp_path / "sound", "coco")
    assert "1 warning" in result.stdout
    assert result.exit_code == 0


def test_data_without_a_single_sample_is_a_warning_and_exit_code_5(tmp_path: Path) -> None:
    write_coco(tmp_path, [picture_of(40, 60, 1)])
    index = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(index.read_text())
    index.write_text(json.dumps(content | {"annotations": []}))
    result = doctor(tmp_path, "coco", "--json")
    findings = json.loads(result.stdout)["findings"]
    assert [(finding["check"], finding["severity"]) for finding in findings] == [
        ("no-sample", "warning"),
        ("unreferenced", "note"),
    ]
    assert result.exit_code == 5


def test_what_can_not_be_opened_is_told_as_a_conversion_tells_it(tmp_path: Path) -> None:
    result = doctor(tmp_path, "coco")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "instances_train2017.json: the file is missing; check --root" in result.stderr
    assert doctor(tmp_path, "coco", "--set", "source.crowd=true").exit_code == 2


def test_text_is_grouped_by_severity_and_fits_80_columns(broken: Path) -> None:
    lines = doctor(broken, "coco").stdout.splitlines()
    assert lines[0] == f"{CONFIGS / 'coco.toml'} in {broken}: 5 scenes, all looked at"
    assert lines[2] == "2 errors: these become rejects, not samples"
    assert lines.index("2 errors: these become rejects, not samples") < next(
        number for number, line in enumerate(lines) if line.startswith("1 note")
    )
    assert lines[-1] == "2 errors, 1 note"
    assert all(len(line) <= 80 for line in lines[1:])
    assert "           - coco/2 (train2017/000000000002.jpg)" in lines
    assert doctor(broken, "coco", "--quiet").stdout.count("disk") == 0


def test_names_of_strangers_can_not_move_the_cursor(broken: Path) -> None:
    (broken / "train2017" / "a\x1b[2Jb.jpg").write_bytes(b"")
    stdout = doctor(broken, "coco").stdout
    assert "\x1b" not in stdout
    assert r"a\x1b[2Jb.jpg" in stdout
