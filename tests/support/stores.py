"""Small stores for tests, and independent ways to read and compare them."""

import hashlib
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from miniature.coco import write_coco
from miniature.shapes import picture_of

from resizeonce.loader.format.layout import ArraySpec, array_specs
from resizeonce.loader.format.metadata import read_attributes
from resizeonce.loader.format.recipe import read_recipe
from resizeonce.preprocess.config import Config, load_config
from resizeonce.preprocess.run.convert import Report, RunOptions, convert
from resizeonce.preprocess.store.plan import Plan, plan_as_json

CONFIGS = Path(__file__).parents[2] / "configs"

TINY = ("recipe.pixel_values.size=32", "recipe.g_pixel_values.size=48", "recipe.masks.size=48")
"""A recipe of small tensors, for tests of what does not depend on their sizes."""

USUAL = ("recipe.pixel_values.size=448", "recipe.g_pixel_values.size=1024", "recipe.masks.size=1024")
"""The sizes that configs have, for tests of what depends on them: disk space, how long a part takes, values of real images.

A test of anything else would spend its time on writing and syncing large tensors."""

COMPACT_IMAGES = ("recipe.pixel_values.stored=compact", "recipe.g_pixel_values.stored=compact")

VIEWS = (
    "recipe.name=custom",
    'recipe.pixel_values={kind="image", size=28, fit="crop", filter="bicubic"}',
    'recipe.g_pixel_values={kind="image", size=64, fit="pad", values="uint8", pad=[9, 8, 7]}',
    'recipe.oblong={kind="image", size=[36, 52], stored="compact"}',
    'recipe.masks={kind="mask", over="g_pixel_values", size="own"}',
    'recipe.low_masks={kind="mask", over="g_pixel_values", size=60, filter="half"}',
    'recipe.prompt_masks={kind="mask", over="pixel_values", size=16, role="prompt"}',
    "store.boxes=true",
    "store.keep_source=true",
    "store.hashes=true",
)
"""A recipe of small tensors with most of what format version 3 has, and its columns."""

SIZES = [(333, 500), (480, 640), (90, 70), (640, 427), (301, 299)]
"""(height, width) of the pictures of a small dataset: oblong, small, odd."""


@cache
def pictures() -> tuple[Any, ...]:
    """Return pictures of different sizes, read-only: all tests of a process have the same."""
    made = tuple(picture_of(height, width, seed) for seed, (height, width) in enumerate(SIZES))
    for picture in made:
        picture.setflags(write=False)
    return made


@cache
def coco_files(count: int) -> dict[Path, bytes]:
    """Return the files of a miniature COCO tree: to draw and encode its pictures takes longer than most tests do."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "coco"
        write_coco(root, pictures()[:count])
        return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def coco_root(folder: Path, count: int = len(SIZES)) -> Path:
    """Write a miniature COCO tree of the first `count` pictures and return its root."""
    root = folder / "coco"
    for path, content in coco_files(count).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def coco_config(*overrides: str) -> Config:
    """Return the shipped COCO config with two images a part and small tensors, changed by `overrides`."""
    return load_config(CONFIGS / "coco.toml", ["store.scenes_per_part=2", *TINY, *overrides])


def options_of(overrides: Iterable[str]) -> list[str]:
    """Return overrides as options of a command."""
    return [word for override in overrides for word in ("--set", override)]


def coco_store(folder: Path, *overrides: str, **run: Any) -> Report:
    """Convert a miniature COCO tree into `folder / "coco.zarr"`."""
    root = folder / "coco"
    if not root.exists():
        coco_root(folder)
    return convert(coco_config(*overrides), root, folder / "coco.zarr", RunOptions(**run))


def tree_digest(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def specs_of(store: Path) -> dict[str, ArraySpec]:
    """Return what the layout says of each array of a store, by its path."""
    root = read_attributes(store)
    frames, columns = 2 if root["paired"] else 1, root.get("columns", ())
    return {spec.path: spec for spec in array_specs(read_recipe(root["recipe"]), frames, columns)}


def make_unfinished(store: Path, **versions: str) -> None:
    """Take a finished store's root away, as if its run had been killed just before the end."""
    attributes = read_attributes(store)
    plan = Plan(
        job=attributes["job"],
        versions=attributes["versions"] | versions,
        dataset_type=attributes["dataset_type"],
        paired=attributes["paired"],
        num_scenes=attributes["totals"]["scenes"],
    )
    (store / ".job.json").write_bytes(plan_as_json(plan))
    (store / ".index-rejects.jsonl").write_bytes(b"")
    (store / "zarr.json").unlink()


READ_WITH_A_SAMPLE = (
    "samples/mask",
    "masks/image",
    "masks/prompt_masks",
    "masks/prompt_cells",
    "masks/object_id_offsets",
    "masks/object_id_bytes",
    "images/key_offsets",
    "images/key_bytes",
    "expressions/mask",
    "expressions/text_offsets",
    "expressions/text_bytes",
)
"""Tables that reading a sample of the default recipe needs."""
