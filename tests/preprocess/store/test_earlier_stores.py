"""Stores that were made before there was one option or another: the same command still makes them.

What the first stores have in their jobs is written down here, as the release that made them had it. An option that is
added later belongs into `later` of its `Options`, never into these tables.
"""

import io
import json
import pickle
import shutil
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from damage import attributes_of, write_attributes
from miniature.every import WRITERS
from miniature.shapes import picture_of
from stores import CONFIGS, TINY, USUAL, coco_store, make_unfinished, tree_digest

from resizeonce.loader.format.errors import StoreError
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.config import Config, load_config, parse_config
from resizeonce.preprocess.run.convert import RunOptions, convert, open_source
from resizeonce.preprocess.sources.registry import SOURCES, source_type
from resizeonce.preprocess.store.plan import check_same, describe_job
from resizeonce.preprocess.store.root import fingerprint_of
from resizeonce.preprocess.tensors.shipped import FORMER_RECIPES, RECIPES
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

VIDEO_OPTIONS: dict[str, Any] = {
    "take": "pairs",
    "gaps": [1, 2, 4, 8],
    "pairs_per_object": 4,
    "seed": 0,
    "lone_frames": "repeat",
}
FIRST_OPTIONS: dict[str, dict[str, Any]] = {
    "coco": {
        "annotations": "annotations/instances_train2017.json",
        "images": "train2017",
        "crowds": False,
    },
    "folders": {
        "image_folder": "images",
        "mask_folder": "masks",
        "masks": None,
        "ignored": 255,
        "dataset_type": "folders",
        "split": "",
    },
    "mevis": {
        "expressions": "meta_expressions.json",
        "mask_dict": "mask_dict.json",
        "jpeg_folder": "JPEGImages",
        "mask_folder": "Annotations",
        "dataset_type": "mevis",
        **VIDEO_OPTIONS,
    },
    "npz": {
        "paired": True,
        "dataset_type": "sav",
        "image1": "image1",
        "image2": "image2",
        "mask1": "mask1",
        "mask2": "mask2",
        "image": "image",
        "mask": "mask",
        "expressions": "expressions",
    },
    "openimages": {
        "split": "train",
        "annotations": "{split}-annotations-object-segmentation.csv",
        "images": "{split}",
        "masks": "{split}-masks",
        "classes": "class-descriptions-boxable.csv",
        "missing": "reject",
    },
    "refcoco": {
        "dataset": "refcoco",
        "split_by": "unc",
        "split": "train",
        "images": "images/mscoco/images/train2014",
        "refs": "",
        "instances": "",
        "sentence": "raw",
        "no_target": "skip",
    },
    "sa1b": {
        "min_area": 0,
        "max_area_share": 1.0,
        "min_predicted_iou": 0.0,
        "min_stability_score": 0.0,
        "max_masks_per_image": None,
    },
    "sav": {
        "layout": "train",
        "annotations": "manual",
        "frames": "auto",
        "jpeg_folder": "JPEGImages_24fps",
        "mask_folder": "Annotations_6fps",
        "video_list": "sav_val.txt",
        "gaps": [1, 2, 4, 8],
        "pairs_per_object": 4,
        "seed": 0,
        "lone_frames": "repeat",
    },
    "vos": {
        "jpeg_folder": "JPEGImages",
        "mask_folder": "Annotations",
        "video_list": "",
        "meta": "meta.json",
        "ignored": 255,
        "dataset_type": "vos",
        **VIDEO_OPTIONS,
    },
}
"""The options of each source, with their defaults, that stood in the jobs of stores before any option came later."""

FIRST_RECIPE = {
    "name": "default",
    "pixel_values": {"filter": "bilinear", "size": 448, "stored": "uint8"},
    "g_pixel_values": {"filter": "bilinear", "size": 1024},
    "prompt_masks": {"filter": "pillow-nearest", "size": 16},
    "masks": {"filter": "pillow-nearest", "size": 1024},
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def write_files(root: Path, **files: bytes) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


INSTANCES = json.dumps(
    {
        "images": [{"id": 7, "file_name": "7.jpg", "height": 4, "width": 6}],
        "annotations": [
            {"id": 70, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": [[1, 1, 4, 1, 4, 3]]}
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
).encode()
REFS = [
    {
        "ref_id": 0,
        "ann_id": 70,
        "image_id": 7,
        "category_id": 1,
        "split": "train",
        "file_name": "COCO_train2014_000000000007_0.jpg",
        "sent_ids": [0],
        "sentences": [{"sent_id": 0, "raw": "Left One", "sent": "left one", "tokens": ["left", "one"]}],
    }
]


def tar_of(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


RAW: dict[str, dict[str, bytes]] = {
    "coco": {"annotations/instances_train2017.json": INSTANCES, "train2017/7.jpg": b"seven"},
    "npz": {"a.npz": b"four", "deep/er/b.npz": b"seven.."},
    "openimages": {
        "train-annotations-object-segmentation.csv": (
            b"MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
            b"00e1_m01_aa.png,00e1,/m/01,aa,0.1,0.5,0.1,0.5,,\n"
        ),
        "class-descriptions-boxable.csv": b"/m/01,Dog\n",
        "train/00e1.jpg": b"picture",
        "train-masks/00e1_m01_aa.png": b"mask",
    },
    "refcoco": {
        "refcoco/refs(unc).p": pickle.dumps(REFS, protocol=0),
        "refcoco/instances.json": INSTANCES,
        "images/mscoco/images/train2014/7.jpg": b"seven",
    },
    "sa1b": {
        "sa_000000/sa_1.jpg": b"one",
        "sa_000000/sa_1.json": b"{}",
        "sa_000001.tar": tar_of(**{"sa_2.jpg": b"two..", "sa_2.json": b"{  }"}),
    },
    "sav": {
        "sav_000/sav_000001_manual.json": b"{}",
        "JPEGImages_24fps/sav_000001/00000.jpg": b"zero",
        "JPEGImages_24fps/sav_000001/00004.jpg": b"four",
    },
    "sav_val": {
        "sav_val.txt": b"sav_000002\n",
        "JPEGImages_24fps/sav_000002/00000.jpg": b"zero",
        "Annotations_6fps/sav_000002/000/00000.png": b"mask",
    },
}
"""Raw datasets that can be indexed; nothing in them depends on a library that writes images."""

FIRST_FINGERPRINTS: dict[str, tuple[dict[str, str], str]] = {
    "coco": (
        {
            "annotations/instances_train2017.json": (
                "980e4e9dff85102ebf6c251adb7016504708d93f91010c5261e2eeb65302cc4a"
            )
        },
        "06420a90c88a1b69eee7acef7466650a536a2ea5ba655f1661b496188369a6eb",
    ),
    "npz": (
        {"files": "f7effeba68247959fcbb6ad65d3b34708d6265a72fefa0a23eb995ae088e58ed"},
        "c35741a0200e7e01ba0d75314429d7c1dd151430d43f98345b46480f8f215b8d",
    ),
    "openimages": (
        {
            "train-annotations-object-segmentation.csv": (
                "9deafcdcc96f5ef23d138133c036d8da34bb348603e4d7fd6789a6fd55adfffe"
            ),
            "class-descriptions-boxable.csv": (
                "e9a298bb92b15f660cbf4141bd8fcf20c2bbf572367733dfda0ec700a2a63b17"
            ),
        },
        "5bc38af3382776975f01ed30bddac77421823bd71329ee08a9fa7d6abcc39de0",
    ),
    "refcoco": (
        {
            "refcoco/refs(unc).p": "da985beffb564a52d3cdd0f12efd7a7194d137e35e2ef9e3c87bd32f0202b189",
            "refcoco/instances.json": "980e4e9dff85102ebf6c251adb7016504708d93f91010c5261e2eeb65302cc4a",
        },
        "06729f43456760686dcae958dffe510d813cf9cd92cc9cbfff091be56d253458",
    ),
    "sa1b": (
        {
            "tars": "8018f6a7473d82bb1c645abe4db9476ba998001c13271f4992cb223736df0582",
            "pairs": "72471e3093b351a0c6f5dd7c53c82c1451e2af9606f42eb6eb4f367c84ed4f78",
        },
        "2d414560009e17f40430d6eafcc6dffee5fbed7c639e7fcaed5f1a1072e550b9",
    ),
    "sav": (
        {
            "files": "f174a3c2e4aafd5fab449a18c252714c3206e6ea8710045d51fc3e29690d6141",
            "JPEGImages_24fps": "c145ab0360e8756187edfb129fa78b2f7d293cf5412a7d1b574fb661ac4901ee",
        },
        "34ff5e98e6dcdf23bbd7757da673e5874d1c2c58b130a4ce8b555edde7ae0013",
    ),
    "sav_val": (
        {
            "sav_val.txt": "f40079ece9d49415dd90aac7debf4b54dc75774b948400b04a94217f46bd24df",
            "JPEGImages_24fps": "f40079ece9d49415dd90aac7debf4b54dc75774b948400b04a94217f46bd24df",
            "Annotations_6fps": "f40079ece9d49415dd90aac7debf4b54dc75774b948400b04a94217f46bd24df",
        },
        "ab3e07294587731b94d7fe724e4352ba117f9aff651092c9e7fafb5b3887792d",
    ),
}
"""What that release said of `RAW` under the config of the same name: the dataset's digests, the store's fingerprint."""


def attributes_as_json(config: Config) -> dict[str, Any]:
    """Return a config as it stands in a store: JSON has no tuples."""
    attributes: dict[str, Any] = json.loads(json.dumps(config.attributes()))
    return attributes


def test_the_table_has_every_source() -> None:
    assert FIRST_OPTIONS.keys() == SOURCES.keys() == WRITERS.keys()


@pytest.mark.parametrize("source", SOURCES)
def test_an_option_that_came_later_is_in_no_job_at_its_default(source: str) -> None:
    config = parse_config({"source": {"name": source}})
    assert attributes_as_json(config) == {
        "source": {"name": source, **FIRST_OPTIONS[source]},
        "recipe": FIRST_RECIPE,
        "store": {"scenes_per_part": 128},
    }


@pytest.mark.parametrize("source", SOURCES)
def test_an_option_that_came_later_is_in_the_job_where_it_is_given(source: str) -> None:
    config = parse_config({"source": {"name": source, "damaged": "accept", "follow_links": True}})
    given = {"damaged": "accept", "follow_links": True}
    described = attributes_as_json(config)["source"]
    assert described == {"name": source, **FIRST_OPTIONS[source], **given}
    # What a job says is read back as the options that it was made of.
    assert parse_config({"source": described}).options == config.options


def test_columns_that_came_later_are_in_the_job_where_they_are_asked_for() -> None:
    source = {"name": "coco"}
    config = parse_config({"source": source, "store": {"boxes": True, "keep_source": False}})
    assert attributes_as_json(config)["store"] == {"scenes_per_part": 128, "boxes": True}
    config = parse_config({"source": source, "store": {"hashes": True, "keep_source": True, "boxes": True}})
    described = attributes_as_json(config)["store"]
    assert described == {"scenes_per_part": 128, "boxes": True, "keep_source": True, "hashes": True}
    assert parse_config({"source": source, "store": described}).store == config.store


@pytest.mark.parametrize("source", SOURCES)
def test_the_options_of_a_source_are_the_first_ones_and_those_called_later(source: str) -> None:
    options = source_type(source).options
    names = {field.name for field in msgspec.structs.fields(options)}
    assert names - options.later == FIRST_OPTIONS[source].keys()
    assert options.later <= names


@pytest.mark.parametrize("name", RAW)
def test_an_unchanged_dataset_has_the_digests_and_its_store_the_fingerprint_it_always_had(
    tmp_path: Path, name: str
) -> None:
    write_files(tmp_path, **RAW[name])
    config = load_config(CONFIGS / f"{name}.toml")
    source = open_source(config, tmp_path)
    assert (source.fingerprint(), fingerprint_of(describe_job(config, source, None), [])) == (
        FIRST_FINGERPRINTS[name]
    )


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_config_prints_every_setting_and_those_that_came_later(path: Path) -> None:
    result = CliRunner().invoke(main, ["config", str(path)])
    printed = json.loads(result.output)
    written = tomllib.loads(path.read_text())
    name = written["source"]["name"]
    expected = FIRST_OPTIONS[name] | written["source"] | {"damaged": "reject", "follow_links": False}
    assert expected.items() <= printed["source"].items()
    assert printed["source"].keys() == expected.keys() | source_type(name).options.later
    views = {key: value for key, value in FIRST_RECIPE.items() if isinstance(value, dict)}
    assert list(printed["recipe"]) == ["name", *views]
    assert all(settings.items() <= printed["recipe"][view].items() for view, settings in views.items())
    assert printed["recipe"]["pixel_values"]["mean"] == FIRST_RECIPE["mean"]
    # What is printed is a config again.
    assert parse_config(printed) == load_config(path)
    assert printed["store"] == written["store"] | {"boxes": False, "keep_source": False, "hashes": False}


# ---- stores


def small_config(source: str) -> Config:
    return load_config(CONFIGS / f"{source}.toml", ["store.scenes_per_part=1", *TINY])


def small_raw(folder: Path, source: str, count: int) -> Path:
    """Write the first `count` pictures of a dataset anew."""
    root = folder / "raw"
    shutil.rmtree(root, ignore_errors=True)
    WRITERS[source](root, [picture_of(60 + 10 * seed, 90, seed) for seed in range(1, count + 1)])
    return root


def first_job(source: str, files: dict[str, str]) -> dict[str, Any]:
    """Return the job that the release of these tables wrote for the small config."""
    written = tomllib.loads((CONFIGS / f"{source}.toml").read_text())["source"]
    sizes = {"pixel_values": 32, "g_pixel_values": 48, "masks": 48}
    recipe: dict[str, Any] = {
        name: part | {"size": sizes[name]} if name in sizes and isinstance(part, dict) else part
        for name, part in FIRST_RECIPE.items()
    }
    return {
        "format_version": 1,
        "source": FIRST_OPTIONS[source] | written,
        "recipe": recipe | {"name": "custom"},
        "store": {"scenes_per_part": 1},
        "files": files,
        "limit": None,
    }


def make_earlier_store(folder: Path, source: str) -> tuple[Path, Path]:
    """Return a store of three pictures whose root says what that release would have said, and its raw dataset."""
    root, out = small_raw(folder, source, 3), folder / "out"
    convert(small_config(source), root, out)
    attributes = attributes_of(out)
    attributes["job"] = first_job(source, attributes["job"]["files"])
    attributes["fingerprint"] = fingerprint_of(attributes["job"], [])
    write_attributes(out, attributes)
    return root, out


def parts_digest(out: Path) -> dict[str, str]:
    """Return the digest of every file of the parts."""
    return {name: digest for name, digest in tree_digest(out).items() if name.startswith("part-")}


def is_complete(source: str, root: Path, out: Path) -> bool:
    return convert(small_config(source), root, out).was_complete


def mend(out: Path) -> None:
    shutil.rmtree(out / "part-00000")


def resume(out: Path) -> None:
    make_unfinished(out)
    shutil.rmtree(out / "part-00000")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("damage", [mend, resume])
def test_an_earlier_store_is_mended_and_resumed_by_the_same_command(
    tmp_path: Path, source: str, damage: Callable[[Path], None]
) -> None:
    root, out = make_earlier_store(tmp_path, source)
    before, attributes = parts_digest(out), attributes_of(out)
    assert is_complete(source, root, out)
    damage(out)
    assert not is_complete(source, root, out)
    assert parts_digest(out) == before
    assert attributes_of(out) == attributes


@pytest.mark.parametrize("source", SOURCES)
def test_an_earlier_store_is_appended_to_and_verified(tmp_path: Path, source: str) -> None:
    _, out = make_earlier_store(tmp_path, source)
    before = parts_digest(out)
    images = attributes_of(out)["totals"]["images"]
    root = small_raw(tmp_path, source, 9)
    report = convert(small_config(source), root, out, RunOptions(append=True))
    assert report.attributes["totals"]["images"] > images
    assert report.attributes["job"] == first_job(source, report.attributes["job"]["files"])
    assert before.items() <= parts_digest(out).items()
    findings = verify_store(out, VerifyOptions(source=root, sample=None)).findings
    assert [finding for finding in findings if finding.level == "damage"] == []


@pytest.mark.parametrize(
    "option",
    [
        "source.damaged=accept",
        "source.follow_links=true",
        "store.boxes=true",
        "store.keep_source=true",
        "store.hashes=true",
    ],
)
def test_an_earlier_store_is_not_continued_with_an_option_that_it_was_made_without(
    tmp_path: Path, option: str
) -> None:
    root, out = make_earlier_store(tmp_path, "coco")
    config = load_config(CONFIGS / "coco.toml", ["store.scenes_per_part=1", *TINY, option])
    with pytest.raises(StoreError, match=f"differs in: .*{option.partition('=')[0]} was None, is now"):
        convert(config, root, out)


def test_a_store_of_sa2va_as_it_was_is_sound_and_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its masks were by Pillow's nearest: other targets than Sa2VA's."""
    with monkeypatch.context() as earlier:
        earlier.setitem(RECIPES, "sa2va", FORMER_RECIPES["sa2va"])
        coco_store(tmp_path, *USUAL, "recipe.name=sa2va")
    store = tmp_path / "coco.zarr"
    assert attributes_of(store)["recipe"]["masks"] == {"filter": "pillow-nearest", "size": 1024}
    report = verify_store(store, VerifyOptions(source=tmp_path / "coco", sample=None))
    assert [finding for finding in report.findings if finding.level == "damage"] == []
    for append in (False, True):
        with pytest.raises(StoreError, match=r"recipe\.masks\.filter was 'pillow-nearest', is now 'torch-"):
            coco_store(tmp_path, *USUAL, "recipe.name=sa2va", append=append)


def test_of_two_recipes_that_differ_only_what_differs_is_named() -> None:
    found = {"recipe": {"views": [{"name": "a", "size": [64, 64]}, {"name": "b", "size": [96, 96]}]}}
    wanted = {"recipe": {"views": [{"name": "a", "size": [64, 64]}, {"name": "b", "size": [97, 97]}]}}
    with pytest.raises(
        StoreError, match=r"It differs in: recipe\.views\.b\.size was \[96, 96\], is now \[97, 97\]\. "
    ):
        check_same(Path("coco.zarr"), found, wanted)
    turned = {"recipe": {"views": wanted["recipe"]["views"][::-1]}}
    with pytest.raises(StoreError, match=r"recipe\.views was \[{'name': 'a'"):
        check_same(Path("coco.zarr"), wanted, turned)
