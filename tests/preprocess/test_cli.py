import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from stores import CONFIGS, TINY, coco_root, options_of, tree_digest

from resizeonce.preprocess.cli import COMMANDS, main

CONFIG = str(CONFIGS / "coco.toml")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert "Example: resizeonce " in run(name, "--help").output
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help


def test_convert_then_info(tmp_path: Path) -> None:
    root, out = coco_root(tmp_path), tmp_path / "out.zarr"
    result = run("convert", CONFIG, "--root", root, "--out", out)
    assert result.exit_code == 0
    for line in (
        "images    5",
        "masks     10",
        "samples   10",
        "left out  5: crowd annotation",
        "rejects   0",
    ):
        assert line in result.output.splitlines()
    info = run("info", out)
    assert info.exit_code == 0
    assert "recipe    default" in info.output
    attributes = json.loads(run("info", out, "--json").output)
    assert attributes["totals"]["samples"] == 10


@pytest.mark.parametrize("option", [["--append"], ["--part-range", "1/2"]])
def test_a_dry_run_is_of_the_whole_dataset(tmp_path: Path, option: list[str]) -> None:
    root, out = coco_root(tmp_path), tmp_path / "out"
    result = run("convert", CONFIG, "--root", root, "--out", out, "--dry-run", *option)
    assert result.exit_code == 2
    assert "--dry-run looks at the whole dataset" in result.stderr


def test_a_dry_run_counts_and_forecasts_and_writes_nothing(tmp_path: Path) -> None:
    root, out = coco_root(tmp_path), tmp_path / "out.zarr"
    result = run("convert", CONFIG, "--root", root, "--out", out, "--dry-run")
    assert result.exit_code == 0
    assert "samples   10" in result.output
    assert not out.exists()
    forecast_mb = float(result.output.partition("disk      about ")[2].split()[0])
    run("convert", CONFIG, "--root", root, "--out", out)
    written_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    assert written_mb == pytest.approx(forecast_mb, rel=0.03)


def test_more_rejects_than_allowed_give_exit_code_3(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    (root / "train2017" / "000000000003.jpg").write_bytes(b"")
    result = run("convert", CONFIG, "--root", root, "--out", tmp_path / "a")
    assert result.exit_code == 3
    assert "1 at decode: the file is empty (0 bytes) (first: coco/3" in result.output
    assert run("convert", CONFIG, "--root", root, "--out", tmp_path / "b", "--max-rejects", 1).exit_code == 0


def test_a_wrong_config_gives_exit_code_2(tmp_path: Path) -> None:
    result = run("convert", CONFIG, "--root", tmp_path, "--out", tmp_path / "a", "--set", "source.crowd=true")
    assert result.exit_code == 2
    assert "did you mean 'crowds'?" in result.output


def test_a_root_without_the_dataset_gives_exit_code_1_and_says_what_to_check(tmp_path: Path) -> None:
    result = run("convert", CONFIG, "--root", tmp_path, "--out", tmp_path / "a")
    assert result.exit_code == 1
    assert "instances_train2017.json" in result.output
    assert "check --root" in result.output


def test_info_of_what_is_no_store_gives_exit_code_1(tmp_path: Path) -> None:
    result = run("info", tmp_path)
    assert result.exit_code == 1
    assert "is no store" in result.output


def test_config_prints_the_effective_settings() -> None:
    settings = json.loads(run("config", CONFIG, "--set", "recipe.name=sa2va").output)
    assert settings["recipe"]["prompt_masks"] == {
        "kind": "mask", "over": "pixel_values", "size": 16, "filter": "torch-nearest", "role": "prompt",
    }  # fmt: skip
    assert settings["source"]["crowds"] is False


def test_config_prints_a_shipped_config_as_it_is_and_its_settings_where_they_are_asked_for() -> None:
    assert run("config", "coco").stdout_bytes == Path(CONFIG).read_bytes()
    assert run("config", "coco", "--json").output == run("config", CONFIG).output
    assert run("config", CONFIG, "--json").output == run("config", CONFIG).output
    assert json.loads(run("config", "coco", "--set", "source.crowds=true").output)["source"]["crowds"] is True
    unknown = run("config", "cooc")
    assert unknown.exit_code == 2
    assert (
        "(did you mean 'coco'?); those that come with the package: coco, folders, grefcoco, mevis, npz,"
        in unknown.stderr
    )


def test_config_alone_lists_the_shipped_configs() -> None:
    lines = run("config").output.splitlines()
    assert [line.split()[0] for line in lines] == [path.stem for path in sorted(CONFIGS.glob("*.toml"))]
    assert lines[0] == "coco        COCO instances, train2017. Paths are relative to --root."


@pytest.mark.parametrize("command", [("config",), ("config", "coco"), ("info", "--environment")])
def test_what_is_asked_for_is_printed_also_where_little_is_said(command: tuple[str, ...]) -> None:
    plain = run(*command)
    assert plain.output
    assert run(*command, "--quiet").output == run(*command, "-v").output == plain.output


def test_a_store_by_a_configs_name_is_that_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coco_root(tmp_path)
    monkeypatch.chdir(tmp_path)
    for config, out in ((CONFIG, "a"), ("coco", "b")):
        arguments = ("--root", "coco", "--out", out, *options_of(TINY))
        assert run("convert", config, *arguments).exit_code == 0
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")


def test_an_empty_store_says_why_and_gives_exit_code_5(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"] = [annotation for annotation in content["annotations"] if annotation["iscrowd"]]
    path.write_text(json.dumps(content))
    out = tmp_path / "out.zarr"
    warning = (
        "warning   the store holds no sample: 5 left out: crowd annotation (source.crowds=true keeps them)"
    )
    for again in range(2):
        result = run("convert", CONFIG, "--root", root, "--out", out)
        assert result.exit_code == 5, again
        assert warning in result.output.splitlines()
    assert warning in run("info", out).output.splitlines()
    kept = run("convert", CONFIG, "--root", root, "--out", tmp_path / "b", "--set", "source.crowds=true")
    assert kept.exit_code == 0


def test_rejects_come_before_an_empty_store_and_a_share_may_be_empty(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    for path in (root / "train2017").iterdir():
        path.write_bytes(b"")
    arguments = ("convert", CONFIG, "--root", root, "--set", "store.scenes_per_part=2")
    assert run(*arguments, "--out", tmp_path / "a").exit_code == 3
    assert run(*arguments, "--out", tmp_path / "b", "--max-rejects", 5).exit_code == 5
    share = run(*arguments, "--out", tmp_path / "c", "--part-range", "1/3", "--max-rejects", 5)
    assert share.exit_code == 0


def test_a_dataset_that_lists_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text('{"images": []}')
    result = run("convert", CONFIG, "--root", tmp_path, "--out", tmp_path / "out.zarr")
    assert result.exit_code == 5
    assert "holds no sample: the dataset lists nothing; check --root" in result.output


def test_a_file_under_two_image_ids_is_told_but_not_as_left_out(tmp_path: Path) -> None:
    root = coco_root(tmp_path)
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][1] |= {name: content["images"][0][name] for name in ("file_name", "height", "width")}
    path.write_text(json.dumps(content))
    lines = run("convert", CONFIG, "--root", root, "--out", tmp_path / "out.zarr").output.splitlines()
    assert "twice     1: image with the same file as an earlier one; both are kept" in lines
