"""A store, read by sample number. numpy only."""

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .fill import SOURCES, BatchRows, choose_views
from .format.errors import StoreError
from .format.recipe import ImageView, MaskView, is_own_size
from .open_parts import OpenParts
from .order.clips import Clip
from .order.draws import Draw
from .own_size import expand_masks

if TYPE_CHECKING:
    from PIL.Image import Image

    from .cache.part_cache import CacheOptions


OF_THE_BATCH = ("dataset_type", "has_paired_frame")
"""Keys of which a batch has one value for all of its samples."""


class Store(OpenParts):
    """A store, read by sample number.

    Opening reads one small file; parts are mapped when they are first read, in each process for itself.

    Args:
        path: the store's folder, or the URL where it is published. Parts of a URL are fetched whole into a local cache
            when they are first read, and checked as they arrive (docs/remote.md).
        check_rows: whether the checksum of each row is compared whenever it is read, and that of each table when its part is
            opened, so that nothing damaged is delivered. A trainer that reads from memory it trusts may do without.
        cache: where parts of a URL are kept, and how many; None for the defaults. Of no use with a path.

    Raises:
        StoreError: the store is missing, unfinished or damaged, or can't be read from its URL.
        FormatVersionError: it is of a format version this one does not read.
        ValueError: there is a cache for a path.
    """

    def __repr__(self) -> str:
        kind = "pairs" if self.paired else "samples"
        return f"Store({self.name!r}, {self.dataset_type}, {len(self):,} {kind}, {len(self._parts)} parts)"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the line of `repr`, and a few samples, evenly spread; of a URL no part is fetched for it."""
        # Workers read samples and draw none: here and below, they begin sooner without it.
        from .notebook import THUMBNAILS, as_html
        from .picture import draw_thumbnail

        count = min(len(self), THUMBNAILS) if self.is_local else 0
        shown: list[tuple[str, Image | None]] = []
        for sample in (len(self) * place // count for place in range(count)):
            try:
                thumbnail = draw_thumbnail(self._drawable(sample), self.recipe)
                shown.append((self.key(sample), thumbnail))
            except StoreError as err:
                shown.append((str(err), None))
        return as_html(repr(self), shown)

    def picture(self, sample: int, height: int = 256) -> "Image":
        """Return a sample as a picture: its image views side by side, the frames of a pair one after the other.

        Images are what the model gets, as levels. Over them are the prompt's cells and the outline of the mask.

        Args:
            sample: its number.
            height: of the picture, in pixels.

        Raises:
            IndexError: there is no such sample.
            StoreError: it can't be read.
        """
        from .picture import draw_views, side_by_side

        return side_by_side(draw_views(self._drawable(sample), self.recipe, height))

    def thumbnail(self, sample: int, height: int = 128) -> "Image":
        """Return the finest image view of a sample that has all of its picture, of its first frame; errors as of `picture`."""
        from .picture import draw_finest

        return next(draw_finest(self._drawable(sample), self.recipe, height))

    def sized_batch(self, samples: Sequence[int], tensors: Sequence[str] | None = None) -> dict[str, Any]:
        """Return what `batch` does, with `image_sizes` of every store: they say how views of a picture lie over each other."""
        batch = self.batch(samples, tensors)
        rows = []
        for sample in samples:
            part, masks = self.locate(sample)
            rows.append(part.column("images/size")[part.column("masks/image")[masks]])
        sizes = np.array(rows)
        return batch | {f"image_sizes{suffix}": sizes[:, frame] for frame, suffix in enumerate(self.suffixes)}

    def _drawable(self, sample: int) -> dict[str, Any]:
        return first_of(self.sized_batch([operator.index(sample)], tuple(self.recipe.views)))

    def key(self, sample: int) -> str:
        """Return a sample's stable, human-readable id, such as "refcoco/581857/1719310"."""
        part, masks = self.locate(sample)
        return part.key(masks.tolist())

    def expressions(self, sample: int) -> list[str]:
        """Return the phrases that refer to a sample's object."""
        part, masks = self.locate(sample)
        return part.sample_expressions(masks.tolist())

    def __getitem__(self, sample: int) -> dict[str, Any]:
        """Return one sample as numpy arrays, with the keys, dtypes and values of the batch.

        Raises:
            IndexError: there is no such sample.
            SampleError: it can't be read.
        """
        return first_of(self.batch([operator.index(sample)]))

    def batch(self, samples: Sequence[int], tensors: Sequence[str] | None = None) -> dict[str, Any]:
        """Return samples as one batch of new numpy arrays; of masks at their own size, a list of bool [H, W].

        Args:
            samples: their numbers.
            tensors: which of the recipe's views to read, "sources" among them where the store has those; None for all.

        Raises:
            IndexError: there is no such sample.
            SampleError: one can't be read.
            ValueError: the recipe has no such view.
        """
        if not len(samples):
            raise IndexError("a batch has at least one sample")
        views = choose_views(self, tensors)
        layout = self.array_layout(len(samples), views)
        arrays = {name: np.empty(shape, dtype) for name, (shape, dtype) in layout.items()}
        others = BatchRows([self] * len(samples), samples, views).fill(arrays)
        expand_masks(others)
        return arrays | others

    def array_layout(
        self, num_samples: int, views: Sequence[str], *, compact: bool = False, draw: Draw | None = None
    ) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return shape and dtype of each array of a batch, by its name with suffix; of drawn samples, for as many objects as may be."""
        frames = (draw.frames,) if isinstance(draw, Clip) else ()
        most = 1 if draw is None else draw.at_most
        layout = {}
        for suffix in self.suffixes if draw is None else ("",):
            for name in views:
                if name == SOURCES or is_own_size(self.recipe.views[name]):
                    continue
                shape, dtype = self._delivered(name, compact=compact)
                is_mask = isinstance(self.recipe.views[name], MaskView)
                layout[f"{name}{suffix}"] = ((num_samples * (most if is_mask else 1), *frames, *shape), dtype)
        return layout

    def _delivered(self, name: str, *, compact: bool) -> tuple[tuple[int, ...], str]:
        """Return shape and dtype of a view of a sample; compact, images are as they were stored and masks are bits."""
        view = self.recipe.views[name]
        if isinstance(view, ImageView):
            height, width = view.size
            is_stored = view.values == "uint8" or (compact and view.stored != "float32")
            return (3, height, width), "uint8" if is_stored else "float32"
        height, width = view.grid
        if not compact:
            return (height, width), "float32"
        return (height, width if view.role == "prompt" else (width + 7) // 8), "uint8"


def first_of(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the first sample of a batch, without the batch's axis."""
    return {key: value if key in OF_THE_BATCH else value[0] for key, value in batch.items()}


def open_store(source: Store | str | Path, cache: "CacheOptions | None" = None) -> Store:
    """Return a store as it is, or open the one at a path or URL.

    Raises:
        ValueError: there is a cache for a store that is open already, or for a path.
    """
    if not isinstance(source, Store):
        return Store(source, cache=cache)
    if cache is not None:
        raise ValueError("the store is open already, with a cache of its own: leave out cache=")
    return source
