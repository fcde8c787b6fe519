"""How much a conversion will write, from a few scenes spread over the dataset."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...loader.format.layout import Column, array_specs
from ...loader.format.recipe import Recipe
from ..config import Config
from ..decode.segmentation import Rle
from ..kernels.encode import compress_mask, pack_image
from ..sources.base import Scene, Source
from ..sources.records import Frame, Pair, Record, Reject, source_of
from ..tensors.arithmetic import depends_on_arithmetic
from ..tensors.engine import Engine, EngineName, open_engine
from ..tensors.recipe import make_tensors
from ..tensors.views import Views
from .processes import DeadWorkerError, ProcessExecutor
from .sift import read_scene

ROW_OVERHEAD_BYTES = 160
"""About what the columns, offsets, checksums and shard index of one image or mask take."""

OWN_SIZE_BYTES = 16
"""Of a mask at its own size: height, width and where its run lengths end."""

BOX_BYTES = 16

HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a store will hold; exact where every scene was looked at."""

    num_scenes: int
    num_read: int
    """How many scenes were read for the forecast."""
    images: int
    masks: int
    samples: int
    rejects: int
    store_bytes: int
    undecided: int = 0
    """Images that Pillow 12 and 13 resize to other bytes, where the recipe does not say whose the store has."""

    @property
    def is_exact(self) -> bool:
        """Whether the counts are of the whole dataset."""
        return self.num_read == self.num_scenes


@dataclass(frozen=True, slots=True)
class SceneSize:
    """What one scene gives, or several."""

    images: int = 0
    masks: int = 0
    pairs: int = 0
    rejects: int = 0
    stored_bytes: int = 0
    undecided: int = 0

    def __add__(self, other: "SceneSize") -> "SceneSize":
        return SceneSize(*(getattr(self, name) + getattr(other, name) for name in SceneSize.__slots__))


def measure_scene(scene: Scene, config: Config, engine_name: EngineName) -> SceneSize:
    """Read a scene and return what it gives."""
    engine = open_engine(engine_name)
    records = read_scene(scene, config, engine)
    return measure_records(records, config.recipe, engine, config.store.columns)


def measure_records(
    records: Iterable[Record], recipe: Recipe, engine: Engine, columns: Collection[Column] = ()
) -> SceneSize:
    """Return what the records of a scene give, as `sift` leaves them."""
    images = masks = pairs = rejects = stored_bytes = image_bytes = undecided = 0
    for record in records:
        if isinstance(record, Frame):
            views = make_tensors(record.image, record.segmentations, recipe, engine)
            # The frames of one video are taken for alike.
            if not image_bytes:
                image_bytes = _image_bytes(views, recipe)
                image_bytes += len(source_of(record)) if "sources" in columns else 0
                image_bytes += HASH_BYTES if "hashes" in columns else 0
            stored_bytes += image_bytes
            stored_bytes += _mask_bytes(views, recipe, record.segmentations) if record.masks else 0
            stored_bytes += BOX_BYTES * len(record.masks) if "boxes" in columns else 0
            undecided += _is_undecided(record.image.shape[:2], recipe)
            images += 1
            masks += len(record.masks)
        pairs += isinstance(record, Pair)
        rejects += isinstance(record, Reject)
    return SceneSize(images, masks, pairs, rejects, stored_bytes, undecided)


def forecast(
    source: Source,
    config: Config,
    num_scenes: int,
    limit: int | None = None,
    engine: EngineName = "pillow",
    executor: ProcessExecutor | None = None,
) -> Forecast:
    """Read up to `num_scenes` scenes, evenly spread, and scale what they give to the whole dataset.

    It goes without scenes that a process dies of, or for which there is too little memory. A store holds `limit` samples at
    most. Scenes are read by an executor, or by this process.
    """
    scenes = [source[number] for number in spread_scenes(len(source), num_scenes)]
    measured = [
        executor.submit_once(measure_scene, scene, config, engine).result
        if executor is not None
        else partial(measure_scene, scene, config, engine)
        for scene in scenes
    ]
    sizes = []
    for measure in measured:
        with suppress(DeadWorkerError, MemoryError):
            sizes.append(measure())
    return scale_up(sum(sizes, SceneSize()), len(sizes), source, limit)


def spread_scenes(total: int, num_scenes: int) -> list[int]:
    """Return the numbers of up to `num_scenes` of `total` scenes, evenly spread."""
    chosen = np.unique(np.linspace(0, max(total - 1, 0), min(num_scenes, total)).astype(int))
    return [int(number) for number in chosen]


def scale_up(size: SceneSize, num_read: int, source: Source, limit: int | None = None) -> Forecast:
    """Scale what some scenes give together to the whole dataset."""
    total = len(source)
    samples = size.pairs if source.paired else size.masks
    scale = total / num_read if num_read else 0.0
    if limit is not None and samples * scale > limit:
        scale = limit / samples
    return Forecast(
        num_scenes=total,
        num_read=num_read,
        images=round(size.images * scale),
        masks=round(size.masks * scale),
        samples=round(samples * scale),
        rejects=round(size.rejects * scale) + len(source.rejects),
        store_bytes=round(size.stored_bytes * scale),
        undecided=round(size.undecided * scale),
    )


def format_bytes(num_bytes: int) -> str:
    """Return a size for people.

    >>> format_bytes(3_145_728)
    '3.1 MB'
    """
    size = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def _is_undecided(picture: tuple[int, int], recipe: Recipe) -> bool:
    """Whether Pillow 12 and 13 make other bytes of a view of a picture (height, width), and the recipe takes neither's side."""
    views = recipe.images.values()
    return recipe.arithmetic is None and any(depends_on_arithmetic(view, *picture) for view in views)


def _image_bytes(views: Views, recipe: Recipe) -> int:
    """Return what a frame's images take; those stored compact are made to see."""
    specs = [spec for spec in array_specs(recipe, 1) if spec.table == "images" and spec.row_chunks]
    packed = views.images() if any(spec.codec == "gradient" for spec in specs) else {}
    return ROW_OVERHEAD_BYTES + sum(
        len(pack_image(packed[spec.name])) if spec.codec == "gradient" else spec.row_bytes for spec in specs
    )


def _mask_bytes(views: Views, recipe: Recipe, originals: Sequence[Rle]) -> int:
    """Return what a frame's masks take: the first is compressed to see, the others count the same; run lengths are counted."""
    one, runs = ROW_OVERHEAD_BYTES, 0
    for name, mask in views.masks[0]().items():
        if isinstance(mask, np.ndarray):
            one += mask.size if name == recipe.prompt else len(compress_mask(mask))
        else:
            runs += sum(OWN_SIZE_BYTES + original.run_lengths.nbytes for original in originals)
    return one * len(views.masks) + runs
