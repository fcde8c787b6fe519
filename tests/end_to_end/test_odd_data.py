"""The awkward and broken samples, converted as a user would: each ends as `odd/cases.json` says.

"ok" gives at least one sample, "reject" gives none and is listed, "either" gives one or is listed or left out. Nothing
stops a run, except a refs file that can't be trusted as a whole.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stores import CONFIGS

from resizeonce.loader import Store
from resizeonce.loader.format.errors import SourceError
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.run.convert import Report, RunOptions, convert
from resizeonce.preprocess.store.root import read_rejects


def convert_odd(root: Path, config: str, out: Path, *overrides: str) -> Report:
    return convert(load_config(CONFIGS / f"{config}.toml", overrides), root, out, RunOptions())


def rows_of(store: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the image key, object id and raw path of every mask that a sample uses."""
    opened = Store(store)
    for sample in range(len(opened)):
        part, masks = opened.locate(sample)
        for mask in masks:
            image = int(part.column("masks/image")[mask])
            yield (
                part.text("images/key", image),
                part.text("masks/object_id", int(mask)),
                part.text("images/path", image),
            )


def cases(shared_data: Path, folder: str) -> list[dict]:
    found = json.loads((shared_data / "odd" / "cases.json").read_text())
    return [case for case in found if case["path"].startswith(f"{folder}/")]


@pytest.fixture(scope="module")
def coco(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("odd") / "coco.zarr"
    overrides = [
        "source.annotations=annotations/instances_odd.json",
        "source.images=images",
        "source.crowds=true",
    ]
    convert_odd(shared_data / "odd", "coco", out, *overrides)
    return out


def test_every_case_of_coco_ends_as_expected(shared_data: Path, coco: Path) -> None:
    taken = {(path, object_id) for _, object_id, path in rows_of(coco)}
    taken_paths = {path for path, _ in taken}
    rejected = list(read_rejects(coco))
    rejected_ids = {reject.key.split("/")[-1] for reject in rejected}
    rejected_paths = {reject.path for reject in rejected}
    wrong = []
    for case in cases(shared_data, "images"):
        number = str(case.get("annotation_id", ""))
        many = case["path"].startswith("images/annotations_")
        is_taken = (case["path"], number) in taken if number else case["path"] in taken_paths
        is_rejected = number in rejected_ids if many else case["path"] in rejected_paths
        # The null segmentation and the annotation that shares its id are two cases of one number.
        expected = {"ok": is_taken, "reject": is_rejected and not is_taken, "either": is_taken or is_rejected}
        if not expected[case["expect"]]:
            wrong.append(case)
    assert not wrong


def test_every_reject_says_where_and_why(coco: Path) -> None:
    rejects = list(read_rejects(coco))
    assert len(rejects) == 21
    for reject in rejects:
        assert reject.key.startswith("coco/")
        assert reject.path.startswith(("images/", "annotations/"))
        assert reject.stage in {"index", "read", "decode", "mask"}
        assert len(reject.reason) > 15


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_modes_are_right_pixel_for_pixel(shared_data: Path, coco: Path) -> None:
    """Each odd file against what Pillow makes of it by the stated rule, in the test's own words."""
    store = Store(coco)
    found = {}
    for number in range(len(store)):
        part, masks = store.locate(number)
        image = int(part.column("masks/image")[masks[0]])
        found[Path(part.text("images/path", image)).name] = part.array("images/g_pixel_values").row(image)
    images = shared_data / "odd" / "images"
    turned = {"exif6_display_000000244592.jpg": Image.Transpose.ROTATE_270}
    for name, stored in found.items():
        with Image.open(images / name) as picture:
            if picture.mode == "I;16":
                rgb = Image.fromarray((np.asarray(picture) // 256).astype(np.uint8)).convert("RGB")
            else:
                rgb = picture.convert("RGB")
        rgb = rgb.transpose(turned[name]) if name in turned else rgb
        expected = np.asarray(rgb.resize((1024, 1024), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert np.array_equal(stored, expected), name
    modes = {
        "hopper_gray.jpg",
        "pil_sample_cmyk.jpg",
        "pil123p.png",
        "transparent.png",
        "uncompressed_la.png",
    }
    modes |= {
        "1_trns.png",
        "gray16_000000073326.png",
        "exif6_stored_000000174231.jpg",
        "junk_jpeg_header.jpg",
    }
    modes |= {"progressive_000000128598.jpg", "png_named_000000022892.jpg", "cmyk_000000128598.jpg", *turned}
    assert modes <= set(found)
    # 16 bits clipped to 8 would be white all over.
    assert found["gray16_000000073326.png"].mean() < 200


def outcomes(store: Path) -> tuple[set[str], set[str]]:
    """Return names that are taken and names that are rejected: stems of paths, and steps of keys."""
    taken, rejected = set(), set()
    for key, object_id, path in rows_of(store):
        taken |= {Path(path).stem, object_id, *key.split("/")}
    for reject in read_rejects(store):
        rejected |= {Path(reject.path).stem, *reject.key.split("/")}
    return taken, rejected


@pytest.mark.parametrize(
    ("folder", "root", "config"),
    [("sa1b", "odd/sa1b", "sa1b"), ("openimages", "odd/openimages", "openimages")],
)
def test_every_case_of_sa1b_and_openimages_ends_as_expected(
    shared_data: Path, tmp_path: Path, folder: str, root: str, config: str
) -> None:
    convert_odd(shared_data / root, config, tmp_path / "out.zarr")
    taken, rejected = outcomes(tmp_path / "out.zarr")
    for case in cases(shared_data, folder):
        # An OpenImages mask is image id, label and box id; a row is known by the last two.
        name = Path(case["path"]).stem
        name = name.partition("_")[2] if folder == "openimages" else name
        assert case["expect"] == "either" or (name in taken) == (case["expect"] == "ok"), case
        assert case["expect"] != "reject" or name in rejected, case


def test_every_case_of_sav_ends_as_expected(shared_data: Path, tmp_path: Path) -> None:
    convert_odd(shared_data / "odd" / "sav" / "sav_train", "sav", tmp_path / "out.zarr")
    taken, rejected = outcomes(tmp_path / "out.zarr")
    for case in cases(shared_data, "sav"):
        video = Path(case["path"]).name.removesuffix("_manual.json")
        assert case["expect"] == "either" or (video in taken) == (case["expect"] == "ok"), case
        assert case["expect"] != "reject" or video in rejected, case


def test_every_case_of_refs_ends_as_expected(shared_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "refcoco").symlink_to(shared_data / "refcoco" / "refcoco")
    (root / "images").symlink_to(shared_data / "refcoco" / "images")
    (root / "pickles").symlink_to(shared_data / "odd" / "pickles")
    before = sorted(Path.cwd().iterdir())
    for case in cases(shared_data, "pickles"):
        run = ("refcoco", tmp_path / f"{Path(case['path']).name}.zarr", f"source.refs='{case['path']}'")
        if case["expect"] == "reject":
            with pytest.raises(SourceError, match=r"refs\("):
                convert_odd(root, *run)
        else:
            assert convert_odd(root, *run).num_rejects > 0
    assert sorted(Path.cwd().iterdir()) == before
