"""Damaged pictures and masks through whole conversions: rejects that say so, with every engine and at every step."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from damage import attributes_of, write_attributes
from miniature.every import WRITERS
from miniature.sav import write_sav_val
from miniature.shapes import picture_of
from PIL import Image
from stores import CONFIGS, TINY, tree_digest

from resizeonce.loader import Store
from resizeonce.preprocess.cli import main
from resizeonce.preprocess.commands.store_text import report_lines
from resizeonce.preprocess.config import Config, load_config
from resizeonce.preprocess.run.convert import RunOptions, convert, open_source
from resizeonce.preprocess.run.forecast import forecast
from resizeonce.preprocess.store.root import fingerprint_of, read_rejects
from resizeonce.preprocess.tensors.engine import EngineName
from resizeonce.preprocess.verify.check_store import VerifyOptions, verify_store

ENGINES: tuple[EngineName, ...] = ("exact-fast", "pillow")
WITH_PICTURES = [source for source in WRITERS if source != "npz"]
"""An npz file holds pixels, under the checksums of its archive."""


def config_of(name: str, *overrides: str) -> Config:
    return load_config(CONFIGS / f"{name}.toml", [*TINY, *overrides])


def cut_with_end_mark(path: Path) -> None:
    encoded = path.read_bytes()
    path.write_bytes(encoded[: int(len(encoded) * 0.6)] + b"\xff\xd9")


def damage_in(store: Path, root: Path) -> list[str]:
    """Return the damage that `verify --source` finds."""
    report = verify_store(store, VerifyOptions(source=root, sample=None))
    return [finding.line() for finding in report.findings if finding.level == "damage"]


def stored_paths(store: Path) -> set[str]:
    """Return the raw file of every picture that a sample uses."""
    opened = Store(store)
    found = set()
    for sample in range(len(opened)):
        part, masks = opened.locate(sample)
        found |= {part.text("images/path", int(part.column("masks/image")[mask])) for mask in masks}
    return found


def write_damaged(folder: Path, source: str) -> tuple[Path, set[str]]:
    """Write three pictures or videos of a dataset, and cut all but the first; return which files are cut."""
    root = folder / "raw"
    WRITERS[source](root, [picture_of(60 + 10 * seed, 90, seed) for seed in (1, 2, 3)])
    paths = sorted(root.rglob("*.jpg"))
    damaged = paths[len(paths) // 3 :]
    for path in damaged:
        cut_with_end_mark(path)
    return root, {path.relative_to(root).as_posix() for path in damaged}


@pytest.mark.parametrize("source", WITH_PICTURES)
def test_damaged_pictures_of_every_dataset_are_rejects_with_every_engine(tmp_path: Path, source: str) -> None:
    root, damaged = write_damaged(tmp_path, source)
    # Each split of the miniature has a picture; that of `val` is cut.
    config = config_of(source, *(["source.split=val"] if source == "refcoco" else []))
    digests = []
    for engine in ENGINES:
        out = tmp_path / f"{engine}.zarr"
        report = convert(config, root, out, RunOptions(engine=engine))
        assert not stored_paths(out) & damaged
        rejects = [reject for reject in read_rejects(out) if reject.stage == "decode"]
        assert rejects
        assert {reject.path for reject in rejects} <= damaged
        assert all(reject.reason.startswith("damaged JPEG file: Corrupt JPEG data: ") for reject in rejects)
        assert report.num_rejects >= len(rejects)
        assert damage_in(out, root) == []
        expected = forecast(open_source(config, root), config, 99, engine=engine)
        assert expected.images == report.attributes["totals"]["images"]
        assert expected.rejects >= len(rejects)
        digests.append(tree_digest(out))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("source", WITH_PICTURES)
def test_accepted_damage_is_stored_as_pillow_decodes_it_and_counted(tmp_path: Path, source: str) -> None:
    root, damaged = write_damaged(tmp_path, source)
    split = ["source.split=val"] if source == "refcoco" else []
    digests = []
    for engine in ENGINES:
        out = tmp_path / f"{engine}.zarr"
        config = config_of(source, "source.damaged=accept", *split)
        report = convert(config, root, out, RunOptions(engine=engine))
        assert report.num_rejects == 0
        taken = stored_paths(out) & damaged
        assert taken
        totals = report.attributes["totals"]
        assert totals["skips"]["damage of pictures that were accepted"] >= len(taken)
        assert [line.split()[:3] for line in report_lines(report) if line.startswith("damaged")] == [
            ["damaged", str(totals["skips"]["damage of pictures that were accepted"]), "pictures"]
        ]
        # The rows are those of the damaged files, as far as they can be read.
        assert damage_in(out, root) == []
        digests.append(tree_digest(out))
    assert digests[0] == digests[1]


def test_accepting_damage_changes_nothing_where_there_is_none(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    WRITERS["coco"](root, [picture_of(60, 90, seed) for seed in (1, 2)])
    for damaged in ("reject", "accept"):
        convert(config_of("coco", f"source.damaged={damaged}"), root, tmp_path / damaged)
    found = [tree_digest(tmp_path / name) for name in ("reject", "accept")]
    assert found[0].items() ^ found[1].items() == {("zarr.json", digests["zarr.json"]) for digests in found}


def test_verify_finds_damaged_pictures_in_a_store_that_was_made_when_they_were_taken(tmp_path: Path) -> None:
    """Stores of earlier releases hold them under a job that says nothing of `damaged`."""
    root, damaged = write_damaged(tmp_path, "coco")
    out = tmp_path / "out"
    convert(config_of("coco", "source.damaged=accept"), root, out)
    attributes = attributes_of(out)
    del attributes["job"]["source"]["damaged"]
    attributes["fingerprint"] = fingerprint_of(attributes["job"], [])
    write_attributes(out, attributes)
    findings = damage_in(out, root)
    assert len(findings) >= len(damaged)
    assert any("has 1 images here" in finding for finding in findings)


def test_dry_run_counts_damaged_pictures_as_the_conversion_does(tmp_path: Path) -> None:
    root, damaged = write_damaged(tmp_path, "coco")
    command = [
        "convert",
        str(CONFIGS / "coco.toml"),
        "--root",
        str(root),
        "--out",
        str(tmp_path / "out"),
        "--dry-run",
    ]
    lines = CliRunner().invoke(main, command).output.splitlines()
    assert f"rejects   {len(damaged)}" in lines
    assert "images    1" in lines
    lines = CliRunner().invoke(main, [*command, "--set", "source.damaged=accept"]).output.splitlines()
    assert "rejects   0" in lines
    assert "images    3" in lines


@pytest.mark.parametrize("extension", ["png", "webp", "bmp"])
def test_pictures_of_other_formats_that_are_cut_are_rejects(tmp_path: Path, extension: str) -> None:
    root = tmp_path / "raw"
    WRITERS["coco"](root, [picture_of(60, 90, seed) for seed in (1, 2, 3)])
    paths = sorted(root.rglob("*.jpg"))
    for path in paths:
        Image.open(path).save(path, extension)
    for path in paths[1:]:
        path.write_bytes(path.read_bytes()[:-30])
    report = convert(config_of("coco"), root, tmp_path / "out")
    assert report.attributes["totals"]["images"] == 1
    rejects = list(read_rejects(tmp_path / "out"))
    assert [reject.path for reject in rejects] == [f"train2017/{path.name}" for path in paths[1:]]
    assert all(f"damaged {extension.upper()} file" in reject.reason for reject in rejects)


# ---- masks


def as_jpeg(mask: Image.Image) -> bytes:
    stream = io.BytesIO()
    mask.convert("L").save(stream, "JPEG")
    return stream.getvalue()


def as_lossy_webp(mask: Image.Image) -> bytes:
    stream = io.BytesIO()
    mask.convert("RGB").save(stream, "WEBP")
    return stream.getvalue()


def as_anti_aliased_png(mask: Image.Image) -> bytes:
    stream = io.BytesIO()
    small = mask.convert("L").resize((mask.width // 2, mask.height // 2), Image.Resampling.BOX)
    small.resize(mask.size, Image.Resampling.BILINEAR).save(stream, "PNG")
    return stream.getvalue()


def as_png_without_its_end(mask: Image.Image) -> bytes:
    stream = io.BytesIO()
    mask.save(stream, "PNG")
    return stream.getvalue()[:-12]


@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (as_jpeg, "the mask is a JPEG, a lossy format"),
        (as_lossy_webp, "the mask is a WebP of the lossy kind"),
        (as_anti_aliased_png, "expected 0 and one other value: threshold an anti-aliased mask at half"),
        (as_png_without_its_end, "damaged PNG file: it ends at byte"),
    ],
)
@pytest.mark.parametrize("damaged", ["reject", "accept"])
def test_masks_that_are_not_exact_are_rejects_whatever_damage_is_accepted(
    tmp_path: Path, encode: Callable[[Image.Image], bytes], reason: str, damaged: str
) -> None:
    pictures = [picture_of(60, 90, 1), picture_of(70, 90, 2)]
    for source in ("openimages", "sav_val"):
        root, out = tmp_path / source, tmp_path / f"{source}.zarr"
        if source == "openimages":
            WRITERS[source](root, [*pictures, pictures[0]])
        else:
            write_sav_val(root, [("sav_000001", pictures[:1] * 2), ("sav_000002", pictures[1:] * 2)])
        paths = sorted(path for path in root.rglob("*.png") if path.parent.name != "E")
        _, *bad = (path for path in paths if "train-masks" in path.parts or source == "sav_val")
        for path in bad:
            with Image.open(path) as mask:
                path.write_bytes(encode(mask))
        report = convert(config_of(source, f"source.damaged={damaged}"), root, out)
        assert report.num_rejects >= len(bad)
        reasons = [reject.reason for reject in read_rejects(out)]
        assert sum(reason in found for found in reasons) == len(bad)
        assert report.attributes["totals"]["masks"] == 1
        assert damage_in(out, root) == []
