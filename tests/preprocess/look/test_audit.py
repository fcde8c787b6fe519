"""Overlaps of two datasets, built picture by picture: each is found in its way, and nothing else is."""

import io
import json
import re
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from damage import flip_bit
from miniature.every import WRITERS
from PIL import Image, ImageOps
from publishing import published
from stores import CONFIGS, TINY, coco_config, pictures, specs_of

from resizeonce.loader import KeySet, SampleIndex, Store, Subset
from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.format.shard import shard_path
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.config import load_config
from resizeonce.preprocess.errors import ConfigError
from resizeonce.preprocess.look.audit import AuditOptions, audit, equal_rows, match
from resizeonce.preprocess.look.audit_report import Comparison, Found
from resizeonce.preprocess.look.known_pictures import KnownPictures
from resizeonce.preprocess.look.perceptual import BITS, Looks, choose_view, nearest
from resizeonce.preprocess.look.progress import silent
from resizeonce.preprocess.look.shared_ids import RULES, shared_id
from resizeonce.preprocess.run.convert import RunOptions, convert

PAGE = (Path(__file__).parents[3] / "docs/audit.md").read_text()

VIEW = ("recipe.pixel_values.size=128",)
HASHES = (*VIEW, "store.hashes=true")
PADDED = (
    "recipe.name=custom",
    'recipe.pixel_values={kind="image", size=160, fit="pad", stored="float32"}',
    'recipe.masks={kind="mask", over="pixel_values", size=48}',
)


def photograph(seed: int, height: int = 120, width: int = 160) -> Image.Image:
    """Return a picture of many frequencies, as photographs have them."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for side, strength in ((3, 60.0), (7, 45.0), (15, 30.0), (40, 12.0)):
        noise = rng.normal(0, strength, (side, side, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(noise[..., channel]).resize((width, height), Image.Resampling.BICUBIC)
            picture[..., channel] += np.asarray(layer)
    return Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8))


def jpeg(picture: Image.Image, quality: int = 92) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded)).convert("RGB")


def cropped(picture: Image.Image, share: float) -> Image.Image:
    x, y = (round(side * share / 2) for side in picture.size)
    return picture.crop((x, y, picture.width - x, picture.height - y))


def black(height: int, width: int) -> bytes:
    return jpeg(Image.new("RGB", (width, height)))


TRAIN = {number: jpeg(photograph(number)) for number in range(11, 24)} | {30: black(60, 90)}

VAL = {
    2011: TRAIN[11],
    2012: jpeg(opened(TRAIN[12]), 40),
    2013: jpeg(opened(TRAIN[13]).resize((80, 60), Image.Resampling.LANCZOS), 80),
    2014: jpeg(cropped(opened(TRAIN[14]), 0.025)),
    2015: jpeg(ImageOps.mirror(opened(TRAIN[15]))),
    16: jpeg(photograph(116)),
    17: TRAIN[17],
    2030: black(48, 48),
    **{number: jpeg(photograph(number)) for number in range(2040, 2044)},
}
"""Of the training set: the same file, re-encoded, halved, cropped, mirrored; another picture of a number there; a file of
the same number; a black frame; and others."""

SAME = [(11, 2011), (17, 17)]
ALIKE = {(12, 2012): False, (13, 2013): False, (14, 2014): False, (15, 2015): True}
"""With whether one is mirrored."""


def write_coco(root: Path, files: dict[int, bytes]) -> None:
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    images, annotations = [], []
    for number, encoded in files.items():
        (root / f"train2017/{number:012d}.jpg").write_bytes(encoded)
        width, height = opened(encoded).size
        images.append({"id": number, "file_name": f"{number:012d}.jpg", "height": height, "width": width})
        box = [5, 5, 40, 5, 40, 30, 5, 30]
        annotations.append(
            {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "segmentation": [box]}
        )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two raw datasets, and stores of each: plain, with hashes, with the files, of another recipe."""
    folder = tmp_path_factory.mktemp("audit")
    for name, files in (("train", TRAIN), ("val", VAL)):
        write_coco(folder / name, files)
        for kind, overrides in (
            ("plain", VIEW),
            ("hashes", HASHES),
            ("kept", (*PADDED, "store.keep_source=true")),
            ("padded", PADDED),
        ):
            sizes = () if PADDED[0] in overrides else TINY
            config = load_config(CONFIGS / "coco.toml", ["store.scenes_per_part=5", *sizes, *overrides])
            convert(config, folder / name, folder / f"{name}-{kind}")
    return folder


def compared(folder: Path, train: str, val: str, **options: Any) -> Comparison:
    given = AuditOptions(examples=99, **options)
    report = audit([Store(folder / f"train-{train}")], [Store(folder / f"val-{val}")], given)
    return report.comparisons[0]


def pairs_of(found: Found) -> list[tuple[int, int]]:
    return [
        (int(one.train.removeprefix("coco/")), int(one.against.removeprefix("coco/")))
        for one in found.examples
    ]


def test_the_built_overlaps_are_what_pillow_says_of_their_pixels() -> None:
    equal = [
        (one, other)
        for (one, first), (other, second) in product(TRAIN.items(), VAL.items())
        if opened(first).size == opened(second).size and opened(first).tobytes() == opened(second).tobytes()
    ]
    assert equal == SAME


@pytest.mark.parametrize(
    ("train", "val", "roots", "how"),
    [
        ("hashes", "hashes", [], "equal in every pixel of the originals, by the stored hashes"),
        ("kept", "hashes", [], "by the files that the store keeps and the stored hashes"),
        ("padded", "hashes", ["train"], "by the raw dataset and the stored hashes"),
        ("padded", "plain", ["val", "train"], "equal in every pixel of the originals, by the raw dataset"),
        (
            "plain",
            "plain",
            [],
            "equal rows of pixel_values: the same picture as far as 128 x 128 pixels show it",
        ),
        ("plain", "hashes", [], "equal rows of pixel_values"),
        ("padded", "kept", [], "equal rows of pixel_values"),
    ],
)
def test_equal_pictures_are_found_by_what_stores_have_and_others_are_not(
    folder: Path, train: str, val: str, roots: list[str], how: str
) -> None:
    sources = tuple(str(folder / root) for root in roots)
    found = compared(folder, train, val, sources=sources, near=False).exact
    assert how in found.how
    assert pairs_of(found) == SAME
    assert (found.images, found.scenes) == (2, 2)


def test_where_nothing_can_be_compared_that_is_said_with_what_to_do(folder: Path) -> None:
    found = compared(folder, "padded", "plain", near=False)
    assert found.exact.images is None
    assert "--set store.hashes=true, or give the raw datasets with --source" in found.exact.how
    assert found.is_blind


def test_a_source_that_is_of_no_store_is_refused_by_its_reason(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no --source is the raw dataset of .*val-padded: .* is not the dataset"
    ):
        compared(folder, "padded", "padded", sources=(str(folder / "train"),))


def test_pictures_that_a_raw_dataset_has_lost_are_counted(folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(folder / "train", tmp_path / "train"))
    (root / f"train2017/{11:012d}.jpg").unlink()
    found = compared(folder, "padded", "hashes", sources=(str(root),), near=False).exact
    assert pairs_of(found) == [(17, 17)]
    assert "; 1 pictures are not in the raw dataset any more" in found.how


@pytest.mark.parametrize(("train", "val"), [("plain", "plain"), ("padded", "plain"), ("hashes", "padded")])
def test_alike_are_pictures_encoded_anew_resized_cropped_and_mirrored_also_of_other_views(
    folder: Path, train: str, val: str
) -> None:
    found = compared(folder, train, val)
    beyond = pairs_of(found.near)
    # Where originals can't be compared, equal ones are alike.
    same = dict.fromkeys(SAME[:1], False) if found.exact.images is None else {}
    expected = ALIKE | same
    assert dict(zip(beyond, (one.mirrored for one in found.near.examples), strict=True)) == expected
    distances = [one.distance for one in found.near.examples]
    assert distances == sorted(distances)
    assert "; 2 pictures are too plain to be compared" in found.near.how


def test_a_smaller_distance_finds_fewer(folder: Path) -> None:
    assert (12, 2012) in pairs_of(compared(folder, "plain", "plain", distance=10).near)
    assert (14, 2014) not in pairs_of(compared(folder, "plain", "plain", distance=4).near)


def test_pictures_of_one_id_are_found_and_those_that_don_t_look_so_are_named(folder: Path) -> None:
    found = compared(folder, "plain", "plain")
    assert pairs_of(found.id) == [(16, 16), (17, 17)]
    assert found.id.how == "COCO picture: 2"
    assert pairs_of(found.unlike) == [(16, 16)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            ("refcoco", "images/mscoco/images/train2014/COCO_train2014_000000581857.jpg"),
            ("coco", "val2017/000000581857.jpg"),
        ),
        (("refcoco", "pictures/000000000009.jpg"), ("lvis", "coco/train2017/000000000009.jpg")),
        (("folders", "VG_100K/2370799.jpg"), ("coco", "visual_genome/VG_100K_2/2370799.jpg")),
        (("sa1b", "sa_000000/sa_223750.jpg"), ("folders", "some/sa_223750.jpg")),
        (("sav", "sav_train/sav_000/sav_000001.mp4"), ("npz", "JPEGImages_24fps/sav_000001/00004.jpg")),
        (("openimage", "train/00a1ab47b5439e8c.jpg"), ("coco", "images/00a1ab47b5439e8c.jpg")),
        (("vos", "train/JPEGImages/003234408d/00000.jpg"), ("mevis", "JPEGImages/003234408d/00095.jpg")),
        (("vos", "JPEGImages/480p/bear/00000.jpg"), ("davis17", "JPEGImages/Full-Resolution/bear/00007.jpg")),
    ],
)
def test_names_of_one_published_picture_or_video_give_one_id(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    assert shared_id(*first) == shared_id(*second) != ""


@pytest.mark.parametrize(
    ("dataset_type", "path"),
    [
        ("folders", "images/000000000001.jpg"),
        ("coco", "mine/1.jpg"),
        ("vos", "JPEGImages/00000001/00000.jpg"),
        ("folders", "sa_one.jpg"),
        ("openimage", "train/00A1AB47B5439E8C.txt/x"),
        ("coco", ""),
    ],
)
def test_a_name_that_anybody_may_give_is_no_id(dataset_type: str, path: str) -> None:
    assert shared_id(dataset_type, path) == ""


def test_the_page_lists_every_kind_of_id() -> None:
    assert all(f"| {rule.name} |" in PAGE for rule in RULES)


def test_the_page_runs_as_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, store in zip(
        ("coco", "sa1b", "refcoco-val", "mine-val"), ("plain", "padded", "plain", "hashes"), strict=True
    ):
        side = "val" if name.endswith("val") else "train"
        (tmp_path / f"{name}.zarr").symlink_to(folder / f"{side}-{store}")
    monkeypatch.chdir(tmp_path)
    command, code = (re.search(rf"^```{kind}\n(.*?)^```", PAGE, re.M | re.S)[1] for kind in ("", "python"))
    assert run(*command.split()[2:]).exit_code == 4
    found: dict[str, Any] = {}
    exec(code, found)
    assert len(found["index"]) == len(TRAIN) - 3


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)], catch_exceptions=False)


def test_written_keys_leave_out_those_samples_alone(folder: Path, tmp_path: Path) -> None:
    train, keys = folder / "train-plain", tmp_path / "leaked.txt"
    result = run(train, "--against", folder / "val-plain", "--write-keys", keys)
    assert result.exit_code == 4
    assert keys.read_text().split() == ["coco/11", "coco/16", "coco/17"]
    left = SampleIndex(Store(train), Subset(without=KeySet.read(keys)))
    kept = [Store(train)[sample]["key"] for sample in left.samples(np.arange(len(left)), 0).tolist()]
    assert kept == [f"coco/{number}/{number}" for number in TRAIN if number not in (11, 16, 17)]
    run(train, "--against", folder / "val-plain", "--write-keys", keys, "--count-near")
    assert sorted(keys.read_text().split()) == [f"coco/{number}" for number in range(11, 18)]


def test_the_keys_of_videos_are_those_of_their_scenes(tmp_path: Path) -> None:
    WRITERS["sav"](tmp_path / "raw", pictures()[:4])
    convert(load_config(CONFIGS / "sav.toml", [*TINY]), tmp_path / "raw", tmp_path / "out")
    keys, store = tmp_path / "leaked.txt", Store(tmp_path / "out")
    run(tmp_path / "out", "--against", tmp_path / "out", "--no-near", "--write-keys", keys)
    written = keys.read_text().split()
    assert set(written) == {
        store[sample]["key"].rpartition("/")[0].rpartition("/")[0] for sample in range(len(store))
    }
    with pytest.raises(ValueError, match="no sample of"):
        SampleIndex(store, Subset(without=KeySet.read(keys)))


def test_a_store_at_a_url_is_audited_as_at_a_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with published(folder) as publisher:
        hashes = run(folder / "train-hashes", "--against", f"{publisher.url}/val-hashes", "--no-near")
        assert publisher.parts_sent().total() == len(Store(folder / "val-hashes").attributes["parts"])
        rows = run(f"{publisher.url}/train-plain", "--against", folder / "val-plain")
    for result, val in ((hashes, "val-hashes"), (rows, "val-plain")):
        assert result.exit_code == 4
        assert "training scenes that are in a validation set: 3" in result.output
        assert f"/{val}" in result.output
    # Of hashes and names no row is fetched.
    assert not any(path.startswith("val-hashes/") and "pixel_values/c" in path for path in publisher.requests)


def test_the_exit_code_says_whether_something_was_found_or_nothing_was_looked_at(
    folder: Path, tmp_path: Path
) -> None:
    write_coco(tmp_path / "raw", {5: jpeg(photograph(5)), 6: jpeg(opened(TRAIN[12]), 60)})
    convert(coco_config(*VIEW), tmp_path / "raw", tmp_path / "other")
    clean = (folder / "train-plain", "--against", tmp_path / "other")
    assert run(*clean, "--no-near").exit_code == 0
    assert run(*clean).exit_code == 0
    assert run(*clean, "--count-near").exit_code == 4
    blind = run(folder / "train-padded", "--against", tmp_path / "other", "--no-near")
    assert blind.exit_code == 1
    assert "no picture was looked at" in blind.stderr
    assert run(*clean, "--no-near", "--count-near").exit_code == 2


def test_keys_are_not_written_into_a_store(folder: Path) -> None:
    keys = folder / "train-plain/part-00000/keys.txt"
    result = run(folder / "train-plain", "--against", folder / "val-plain", "--write-keys", keys)
    assert result.exit_code == 2
    assert "is in the store" in result.output
    assert not keys.exists()


def test_several_stores_are_each_compared_with_each_and_json_says_it_all(folder: Path) -> None:
    stores = [folder / name for name in ("train-plain", "train-padded")]
    against = [word for name in ("val-plain", "val-hashes") for word in ("--against", folder / name)]
    document = json.loads(run(*stores, *against, "--json").output)
    named = [(Path(one["train"]).name, Path(one["against"]).name) for one in document["comparisons"]]
    assert named == list(product(("train-plain", "train-padded"), ("val-plain", "val-hashes")))
    assert document["exact_or_id"] == ["coco/11", "coco/16", "coco/17"]
    assert document["comparisons"][0]["exact"]["examples"][0] == {"train": "coco/11", "against": "coco/2011"}
    assert document["comparisons"][2]["exact"]["images"] is None


def test_without_its_package_the_command_names_it_and_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imagehash", None)
    result = run(folder / "train-plain", "--against", folder / "val-plain")
    assert result.exit_code == 2
    assert "package ImageHash" in result.stderr
    assert "pip install 'resizeonce[look]'" in result.stderr
    assert run(folder / "train-plain", "--against", folder / "val-plain", "--no-near").exit_code == 4


def test_a_damaged_row_ends_in_one_line_that_names_it(folder: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(folder / "train-plain", tmp_path / "store"))
    flip_bit(store / "part-00000" / shard_path(specs_of(store)["images/pixel_values"]), 8 * 1000)
    result = run(store, "--against", folder / "val-plain")
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "row 0 is damaged" in result.stderr


def test_a_store_whose_attributes_lack_what_only_audit_reads_is_damaged(folder: Path) -> None:
    store = Store(folder / "train-plain")
    store.attributes = store.attributes | {"versions": 7}
    with pytest.raises(StoreError, match=r"the attributes of .* are damaged"):
        audit([store], [Store(folder / "val-plain")])


def test_a_store_whose_job_is_none_is_damaged(folder: Path) -> None:
    store = Store(folder / "train-plain")
    job = store.attributes["job"]
    store.attributes = store.attributes | {"job": job | {"source": job["source"] | {"crowds": 64}}}
    options = AuditOptions(sources=(str(folder / "train"),), near=False)
    with pytest.raises(StoreError, match=r"the job of .* can't be read .*crowds"):
        audit([store], [folder / "val-hashes"], options)


@pytest.mark.parametrize("key", ["odd/a\nb", "odd/a\u2028b", "odd/a "])
def test_a_key_that_can_t_stand_on_a_line_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr("resizeonce.preprocess.look.known_pictures.KnownPictures.key", lambda *_: key)
    keys = tmp_path / "keys"
    result = run(folder / "train-plain", "--against", folder / "val-plain", "--no-near", "--write-keys", keys)
    assert result.exit_code == 2
    assert "can't stand on a line" in result.stderr
    assert not keys.exists()


def test_rows_of_one_checksum_are_compared_byte_for_byte(folder: Path) -> None:
    train, val = (KnownPictures(Store(folder / f"{side}-plain"), (), silent) for side in ("train", "val"))
    pairs = np.array([[0, 2], [1, 2], [6, 1]])
    assert equal_rows(train, val, ("pixel_values", "pixel_values"), pairs).tolist() == [True, False, True]


def test_a_match_is_with_the_first_of_equal_ones_and_none_with_what_is_empty() -> None:
    train, against = (np.array(values, "S4") for values in ([b"b", b"", b"x", b"a"], [b"", b"a", b"b", b"a"]))
    assert match(train, against).tolist() == [[0, 2], [3, 1]]
    assert match(train, against[:0]).tolist() == []
    assert match(train[:0], against).tolist() == []


def looks(rng: np.random.Generator, count: int, plain: tuple[int, ...] = ()) -> Looks:
    hashes, mirrored = (rng.integers(0, 1 << 64, (count, 4), dtype=np.uint64) for _ in range(2))
    return Looks(hashes, mirrored, np.isin(np.arange(count), plain), "view")


def bits(one: np.ndarray, other: np.ndarray) -> int:
    return bin(int.from_bytes(one.tobytes(), "big") ^ int.from_bytes(other.tobytes(), "big")).count("1")


@pytest.mark.parametrize("rows_at_once", [1, 17, 1 << 20])
def test_the_nearest_picture_is_the_one_of_fewest_differing_bits_as_it_is_or_mirrored(
    monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr("resizeonce.preprocess.look.perceptual.ROWS_AT_ONCE", rows_at_once)
    rng = np.random.default_rng(3)
    train, against = looks(rng, 23, plain=(4,)), looks(rng, 9, plain=(0, 7))
    against.mirrored[3] = train.hashes[11]
    found = nearest(train, against)
    for row in range(23):
        options = [
            (bits(train.hashes[row], side[other]), other)
            for side in (against.hashes, against.mirrored)
            for other in range(9)
            if other not in (0, 7)
        ]
        assert found.distance[row] == (BITS + 1 if row == 4 else min(options)[0])
    assert (found.place[11], found.distance[11], found.is_mirrored[11]) == (3, 0, True)
    assert set(nearest(train, looks(rng, 0)).distance) == {BITS + 1}


@pytest.mark.parametrize(
    ("overrides", "view"),
    [
        (["recipe.pixel_values.size=448"], "pixel_values"),
        (["recipe.pixel_values.size=64", "recipe.g_pixel_values.size=256"], "g_pixel_values"),
        (["recipe.pixel_values.size=64", "recipe.g_pixel_values.size=96"], "g_pixel_values"),
        (
            [
                "recipe.name=custom",
                'recipe.pixel_values={kind="image", size=224, fit="crop"}',
                'recipe.g_pixel_values={kind="image", size=512, fit="pad"}',
            ],
            "g_pixel_values",
        ),
    ],
)
def test_looked_at_is_the_smallest_view_of_whole_pictures_that_is_large_enough(
    overrides: list[str], view: str
) -> None:
    assert choose_view(load_config(CONFIGS / "coco.toml", overrides).recipe) == view


def test_no_two_different_pictures_of_the_real_samples_are_called_equal(
    shared_data: Path, tmp_path: Path
) -> None:
    stores, pictures = [], {}
    for name in ("val2017", "refcoco", "openimages", "sa1b"):
        source = "coco" if name == "val2017" else name
        split = [f"source.annotations=annotations/instances_{name}.json", f"source.images={name}"]
        config = load_config(CONFIGS / f"{source}.toml", [*(split if source == "coco" else []), *HASHES])
        convert(config, shared_data / source, tmp_path / name, RunOptions(engine="exact-fast"))
        stores.append(Store(tmp_path / name))
        pictures |= decoded(stores[-1], shared_data / source)
    report = audit(stores, stores, AuditOptions(examples=1000))
    for found in report.comparisons:
        is_same = found.train == found.against
        called = {(one.train, one.against) for one in found.exact.examples}
        assert len(called) == found.exact.images == (Store(found.train).count("images") if is_same else 0)
        assert all(pictures[one] == pictures[other] for one, other in called)
        assert found.near.images == 0


def decoded(store: Store, root: Path) -> dict[str, tuple[Any, ...]]:
    """Return what Pillow decodes the raw file of each image to, by its key."""
    found = {}
    for number in range(len(store.attributes["parts"])):
        part = store.part(number)
        for row in range(part.rows["images"]):
            picture = Image.open(root / part.text("images/path", row)).convert("RGB")
            found[part.text("images/key", row)] = (picture.size, picture.tobytes())
    return found
