"""Pictures that Pillow 12 and 13 resize to other bytes: whose a store has is chosen, said and warned of."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from miniature.coco import write_coco
from miniature.shapes import picture_of
from numpy.typing import NDArray
from PIL import Image
from stores import coco_config, coco_store, options_of

from resizeonce.loader import Store
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.errors import EngineError
from resizeonce.preprocess.kernels.core import CORE
from resizeonce.preprocess.run.convert import RunOptions, convert
from resizeonce.preprocess.tensors.arithmetic import INSTALLED, depends_on_arithmetic
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

TALL = [(180, 60), (97, 40)]
OTHER = "pillow-13" if INSTALLED == "pillow-12" else "pillow-12"

needs_core = pytest.mark.skipif(
    CORE is None, reason="only the compiled core has an arithmetic that Pillow has not"
)


def tall_root(folder: Path) -> Path:
    write_coco(
        folder / "coco", [picture_of(height, width, seed) for seed, (height, width) in enumerate(TALL)]
    )
    return folder / "coco"


def in_two_passes(picture: Image.Image, size: int, arithmetic: str) -> NDArray[np.uint8]:
    """Resize by two calls of Pillow, one axis each: with one axis as it is, both versions do the same."""
    sides = (
        [(picture.width, size), (size, size)]
        if arithmetic == "pillow-13"
        else [(size, picture.height), (size, size)]
    )
    for side in sides:
        picture = picture.resize(side, Image.Resampling.BILINEAR)
    return np.asarray(picture).transpose(2, 0, 1)


@needs_core
@pytest.mark.parametrize("arithmetic", ["pillow-12", "pillow-13"])
def test_a_store_has_the_arithmetic_that_its_recipe_names(tmp_path: Path, arithmetic: str) -> None:
    root = tall_root(tmp_path)
    report = coco_store(tmp_path, f"recipe.arithmetic={arithmetic}")
    assert (
        report.attributes["recipe"]["arithmetic"]
        == report.attributes["job"]["recipe"]["arithmetic"]
        == arithmetic
    )
    assert report.attributes["format_version"] == 1
    store = Store(tmp_path / "coco.zarr")
    files = sorted(root.rglob("*.jpg"))
    stored = {row.tobytes() for row in store.batch(range(len(store)), ["g_pixel_values"])["g_pixel_values"]}
    wanted = {in_two_passes(Image.open(file).convert("RGB"), 48, arithmetic).tobytes() for file in files}
    assert stored == wanted


def test_the_arithmetic_is_in_the_job_only_where_it_is_given(tmp_path: Path) -> None:
    assert "arithmetic" not in coco_config().attributes()["recipe"]
    named = coco_config(f"recipe.arithmetic={INSTALLED}")
    assert named.recipe.name == coco_config().recipe.name
    tall_root(tmp_path)
    assert "arithmetic" not in coco_store(tmp_path).attributes["job"]["recipe"]


def test_an_arithmetic_that_pillows_own_engine_has_not_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    config, root = coco_config(f"recipe.arithmetic={OTHER}"), tall_root(tmp_path)
    with pytest.raises(
        EngineError, match=f"arithmetic is {OTHER}, and that of the installed Pillow .* is {INSTALLED}"
    ):
        convert(config, root, tmp_path / "out.zarr", RunOptions(engine="pillow"))
    assert not list((tmp_path / "out.zarr").glob("part-*"))


def run_convert(folder: Path, *overrides: str) -> Result:
    out = folder / "out.zarr"
    command = ["convert", "coco", "--root", str(folder / "coco"), "--out", str(out), *options_of(overrides)]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def test_a_conversion_warns_of_pictures_that_the_versions_resize_to_other_bytes(tmp_path: Path) -> None:
    tall_root(tmp_path)
    sizes = ("recipe.pixel_values.size=32", "recipe.g_pixel_values.size=48", "recipe.masks.size=48")
    result = run_convert(tmp_path, *sizes)
    assert result.exit_code == 0
    assert (
        "warning: 100% of the images are so tall that Pillow 12 and 13 resize them to other bytes"
        in result.stderr
    )
    assert f"--set recipe.arithmetic={OTHER}" in result.stderr
    info = CliRunner().invoke(main, ["info", str(tmp_path / "out.zarr")])
    assert f"recipe    custom, arithmetic of {INSTALLED}" in info.output


def test_who_names_an_arithmetic_is_not_warned(tmp_path: Path) -> None:
    tall_root(tmp_path)
    assert "are so tall" not in run_convert(tmp_path, f"recipe.arithmetic={INSTALLED}").stderr


def test_no_wide_picture_and_none_that_keeps_an_axis_depends_on_it() -> None:
    view = coco_config("recipe.g_pixel_values.size=448").recipe.images["g_pixel_values"]
    # In the words of the rule: the height shrinks by over twice what the width does.
    assert depends_on_arithmetic(view, 640, 480)
    assert depends_on_arithmetic(view, 640, 300)
    assert not depends_on_arithmetic(view, 480, 640)
    assert not depends_on_arithmetic(view, 640, 560)
    assert not depends_on_arithmetic(view, 640, 448)


def test_a_picture_that_a_view_cannot_be_made_of_is_rejected_and_the_others_stay(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", [picture_of(8, 4000, 0), picture_of(40, 60, 1)])
    report = coco_store(tmp_path, "recipe.pixel_values.fit=crop", "recipe.pixel_values.size=900")
    assert report.attributes["totals"]["images"] == 1
    assert report.attributes["totals"]["rejects"] == {"decode": 1}
    (line,) = (tmp_path / "coco.zarr" / "rejects.jsonl").read_text().splitlines()
    assert "for a view of fit 'crop', over the limit" in line
    found = verify_store(tmp_path / "coco.zarr", VerifyOptions(source=tmp_path / "coco")).findings
    assert [finding for finding in found if finding.level == "damage"] == []
