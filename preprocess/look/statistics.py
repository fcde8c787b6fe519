"""What is in a store, in numbers: from the columns of its parts, one part at a time, and from a sample of its images."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader import Store
from ...loader.format.layout import TABLES, view_path
from ...loader.format.metadata import read_attributes
from ...loader.format.norms import Norm
from ...loader.format.recipe import ImageView, shown_size
from ...loader.part import Part
from ..store.root import read_rejects
from ..store.root_files import root_folder
from .choose import draw
from .distribution import ONE_TWO_FIVE, Distribution, RangeCounter
from .progress import Progress, label, silent
from .rejects import RejectKind, reject_kinds

MAX_CLASSES = 10_000
"""Names of classes that are counted one by one: a store may have another in each mask."""

MAX_IMAGES = 256
"""In a sample. The mean of so many is a level or so off, as pictures' own means spread over some 30 levels."""

MAX_PARTS_OF_URL = 4
"""Of which rows are read where each part is fetched whole."""

_FEW = (0, 1, 2, 3, 4)
_SIDES = tuple(
    round(step * 10**power) for power in range(6) for step in (10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82)
)
"""The preferred numbers E12: a range is a fifth wider than the one before."""
_RATIOS = (0, 0.25, 0.4, 0.54, 0.61, 0.69, 0.91, 1.1, 1.45, 1.65, 1.85, 2.5, 4, 1e6)
"""Apart are 1:1, 4:3, 3:2, 16:9 and what is still wider, lying and standing."""

COUNTERS: dict[str, Callable[[], RangeCounter]] = {
    "area": lambda: RangeCounter((0, *ONE_TWO_FIVE)),
    "area_share": lambda: RangeCounter((0, *(edge / 1e6 for edge in ONE_TWO_FIVE[:19])), is_whole=False),
    "prompt_cells": lambda: RangeCounter((0, 1, *(1 << power for power in range(2, 25)))),
    "masks_per_image": lambda: RangeCounter((*_FEW, 5, 7, *ONE_TWO_FIVE[3:])),
    "height": lambda: RangeCounter((0, *_SIDES)),
    "width": lambda: RangeCounter((0, *_SIDES)),
    "aspect_ratio": lambda: RangeCounter(_RATIOS, is_whole=False),
    "words": lambda: RangeCounter((*range(20), *ONE_TWO_FIVE[4:])),
}
"""Ranges of each distribution. Areas are pixels of the original, shares of it; ratios are width by height."""


class Channels(msgspec.Struct):
    """Levels of an image view by channel: red, green, blue; 0..255, before it is normalized."""

    mean: list[float]
    std: list[float]
    recipe_mean: list[float] | None
    """What the recipe subtracts, in the same levels; None for a view that is not normalized, as is the next."""
    recipe_std: list[float] | None


class Statistics(msgspec.Struct):
    """What is in a store."""

    store: str
    """The last step of its path or URL."""
    dataset: str
    dataset_type: str
    is_paired: bool
    tables: dict[str, int]
    """Rows of each table."""
    num_parts: int
    num_bytes: int
    empty_prompts: int | None
    """Masks without a prompt cell; None where the recipe has no prompt, as is the next."""
    small_prompts: int | None
    """Masks with one to three."""
    classes: dict[str, int]
    """Masks of each class, the most frequent first; "" is of masks without one."""
    other_classes: int
    """Masks of classes beyond the first `MAX_CLASSES`."""
    distributions: dict[str, Distribution]
    """By the names of `COUNTERS`; of words only where there are any."""
    seed: int
    sampled_images: int
    """How many images, drawn with the seed, the channels are of."""
    sampled_parts: int
    """How many parts those are of."""
    channels: dict[str, Channels]
    """By image view."""
    rejects: list[RejectKind]
    skips: dict[str, int]
    """What was left out or noted, by reason."""
    arrays: dict[str, int]
    """Bytes of each array of all parts, the largest first."""
    made: dict[str, Any]
    """How the store was made, as its root says; "jobs" are those of the first conversion, and of each that added to it."""


def measure_store(path: Path | str, seed: int = 0, progress: Progress = silent) -> Statistics:
    """Return what is in a store at a path or URL; the same store and seed give the same.

    Raises:
        StoreError: it is missing, unfinished or damaged, or can't be read from its URL.
        FormatVersionError: it is of another format version.
    """
    with root_folder(path) as root:
        attributes, rejects = read_attributes(root), reject_kinds(read_rejects(root))
    store = Store(path)
    columns = _Columns(store)
    for number in progress(range(len(attributes["parts"])), f"columns of {label(store)}"):
        columns.add(store.open_part(number))
    places, _ = draw(store, "images", MAX_IMAGES, Random(seed), MAX_PARTS_OF_URL)
    totals, has_prompt = attributes["totals"], store.recipe.prompt is not None
    return Statistics(
        store=label(store),
        dataset=attributes["dataset"],
        dataset_type=attributes["dataset_type"],
        is_paired=attributes["paired"],
        tables={table: totals[table] for table in TABLES},
        num_parts=len(attributes["parts"]),
        num_bytes=totals["bytes"],
        empty_prompts=totals["empty_prompts"] if has_prompt else None,
        small_prompts=totals["small_prompts"] if has_prompt else None,
        classes=_most_frequent(columns.classes),
        other_classes=columns.other_classes,
        distributions={name: counter.distribution() for name, counter in columns.counters.items()},
        seed=seed,
        sampled_images=len(places),
        sampled_parts=len({store.row_of(place, "images")[0] for place in places}),
        channels=_measure_channels(store, places),
        rejects=rejects,
        skips=totals["skips"],
        arrays=_most_frequent(columns.arrays),
        made={
            **{name: attributes[name] for name in ("format_version", "fingerprint", "recipe", "versions")},
            "jobs": [attributes["job"], *(added["job"] for added in attributes["appended"])],
        },
    )


class _Columns:
    """What the columns of parts amount to, counted part by part."""

    def __init__(self, store: Store) -> None:
        left_out = set() if store.has_expressions else {"words"}
        left_out |= set() if store.recipe.prompt else {"prompt_cells"}
        self.counters = {name: new() for name, new in COUNTERS.items() if name not in left_out}
        self.classes: Counter[str] = Counter()
        self.other_classes = 0
        self.arrays: Counter[str] = Counter()
        own_size = (name for name, view in store.recipe.masks.items() if view.size == "own")
        self._own_size = next(own_size, None)

    def add(self, part: Part) -> None:
        """Count a part."""
        for file, listed in part.files.items():
            table, _, rest = file.partition("/")
            array = f"{table}/{rest.partition('/')[0]}" if "/" in rest else "zarr.json, rejects.jsonl"
            self.arrays[array] += listed["bytes"]
        sizes = part.column("images/size")
        self.counters["height"].add(sizes[:, 0])
        self.counters["width"].add(sizes[:, 1])
        self.counters["aspect_ratio"].add(sizes[:, 1] / sizes[:, 0])
        images = part.column("masks/image")
        self.counters["masks_per_image"].add(np.bincount(images, minlength=len(sizes)))
        pixels = np.prod(sizes, axis=1, dtype=np.float64)[images]
        area = part.column("masks/area")
        shares = area / pixels
        if self._own_size is not None:
            # A mask may be in another resolution than its image: what it covers is told in its own.
            own = part.column(f"masks/{self._own_size}_size")
            shares = area / np.prod(own, axis=1, dtype=np.float64)
            area = np.rint(shares * pixels)
        self.counters["area"].add(area)
        self.counters["area_share"].add(shares)
        if "prompt_cells" in self.counters:
            self.counters["prompt_cells"].add(part.column("masks/prompt_cells"))
        if "words" in self.counters:
            texts = _texts(part, "expressions/text")
            self.counters["words"].add(np.array([len(text.split()) for text in texts]))
        self._add_classes(part)

    def _add_classes(self, part: Part) -> None:
        """Count masks by class, of as many classes as there is room for."""
        if not part.column("masks/category_offsets")[-1]:
            # Of SA-1B no mask has a class, and there are a billion of them.
            self.classes[""] += part.rows["masks"]
            return
        for name, count in Counter(_texts(part, "masks/category")).items():
            text = name.decode("utf-8", "replace")
            if text in self.classes or len(self.classes) < MAX_CLASSES:
                self.classes[text] += count
            else:
                self.other_classes += count


def _texts(part: Part, path: str) -> Iterable[bytes]:
    """Yield each row of a column of text, as UTF-8."""
    encoded = part.column(f"{path}_bytes").tobytes()
    return (encoded[start:end] for start, end in pairwise(part.column(f"{path}_offsets").tolist()))


def _most_frequent(counts: Counter[str]) -> dict[str, int]:
    """Return counts from the highest; where they are equal, by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _measure_channels(store: Store, places: Sequence[int]) -> dict[str, Channels]:
    """Return the levels of each image view over the images at these places; what was padded is left out."""
    levels = {name: np.zeros((3, 256), np.int64) for name in store.recipe.images}
    for place in places:
        number, row = store.row_of(place, "images")
        part = store.part(number)
        for name, view in store.recipe.images.items():
            image = part.array(view_path(name, view)).row(row)
            if view.stored == "float32":
                image = Norm.of(view).to_whole_levels(image)
            if view.fit == "pad":
                height, width = shown_size(view, *part.column("images/size")[row].tolist())
                image = image[:, :height, :width]
            levels[name] += [np.bincount(channel.ravel(), minlength=256) for channel in image]
    return {name: _summed(store.recipe.images[name], counts) for name, counts in levels.items()}


def _summed(view: ImageView, counts: NDArray[np.int64]) -> Channels:
    """Return what counts of levels, [3, 256], amount to."""
    pixels = np.maximum(counts.sum(1), 1)
    mean = counts @ np.arange(256) / pixels
    variance = counts @ np.arange(256) ** 2 / pixels - mean**2
    recipe_mean = recipe_std = None
    if view.values == "normalized":
        recipe_mean = [value * view.scale for value in view.mean]
        recipe_std = [value * view.scale for value in view.std]
    return Channels(mean.tolist(), np.sqrt(np.maximum(variance, 0)).tolist(), recipe_mean, recipe_std)
