"""What a batch says of its samples beside their arrays: keys, counts, sizes, texts, masks at their own size."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from .format.layout import view_path
from .format.recipe import ImageView, View, is_own_size, shown_size
from .kernels.mask_runs import RunLengths
from .open_parts import OpenParts
from .own_size import read_own_size
from .part import Part

ChooseExpressions = Callable[[list[str], int], list[str]]
"""Takes the phrases of an object and the place of its sample in the batch; returns those to give."""


class Location(NamedTuple):
    """Where a sample is stored: rows of its part's tables."""

    part: int
    """Number of the part; few parts may be open at a time, so they are not held."""
    images: list[int]
    """Of each frame."""
    masks: list[list[int]]
    """Of each object, in each frame; -1 where it is not there."""
    expressions: list[int] | None = None
    """Of each object, where expressions were drawn."""

    def rows_of(self, view: View, frame: int | None = None) -> list[int]:
        """Return the rows of a view's table: of one frame, or of all, object by object."""
        if isinstance(view, ImageView):
            return self.images if frame is None else [self.images[frame]]
        frames = slice(None) if frame is None else slice(frame, frame + 1)
        return [row for rows in self.masks for row in rows[frames]]


OBJECT_KEYS = frozenset({"boxes", "expressions", "object_ids", "prompt_cells", "visible"})
"""Keys of a batch that are of objects where samples are drawn; so are views of masks."""


class Description(NamedTuple):
    """What there is to say of one sample, by keys of the batch. Of numbers, tuples of them and arrays, a batch has an array."""

    of_sample: dict[str, Any]
    of_objects: dict[str, list[Any]]
    """Of a sample that is drawn: an element for each object."""


class Describer:
    """What reads the descriptions of a store's samples, of which these views are read.

    What a description is to have is found once for a batch: each sample is read in microseconds.
    """

    def __init__(self, store: OpenParts, views: Mapping[str, View], *, reads_sources: bool) -> None:
        self._store = store
        self._reads_sources = reads_sources
        self._has_boxes = "boxes" in store.columns
        self._has_prompt = store.recipe.prompt is not None
        images = [(name, view) for name, view in views.items() if isinstance(view, ImageView)]
        self._padded = [(name, view) for name, view in images if view.fit == "pad"]
        self._own_size = [(name, view_path(name, view)) for name, view in views.items() if is_own_size(view)]

    def describe_sample(self, part: Part, location: Location) -> Description:
        """Return what there is to say of a sample of the store's own: its frames have suffixes."""
        (masks,) = location.masks
        described: dict[str, Any] = {"key": part.key(masks)}
        for frame, suffix in enumerate(self._store.suffixes):
            mask, image = masks[frame], location.images[frame]
            known = self._of_image(part, image) | self._of_mask(part, mask, image)
            described |= {f"{key}{suffix}": value for key, value in known.items()} if suffix else known
        if self._store.has_expressions:
            described["expressions"] = part.sample_expressions(masks)
        return Description(described, {})

    def describe_drawn(self, part: Part, location: Location, *, is_clip: bool) -> Description:
        """Return what there is to say of a drawn sample: what is of frames has an axis of them where it is a clip."""

        def by_frame(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
            return {key: [one[key] for one in values] if is_clip else values[0][key] for key in values[0]}

        of_sample: dict[str, Any] = {"key": part.image_keys(location.images)}
        of_sample |= by_frame([self._of_image(part, image) for image in location.images])
        if is_clip:
            times = part.column("images/time")
            of_sample["times"] = np.array([times.item(image) for image in location.images], np.int64)
        objects = []
        for place, masks in enumerate(location.masks):
            frames = zip(masks, location.images, strict=True)
            known = by_frame([self._of_mask(part, mask, image) for mask, image in frames])
            there = [mask for mask in masks if mask >= 0]
            known["object_ids"] = part.text("masks/object_id", there[0])
            if is_clip:
                known["visible"] = np.array(masks) >= 0
            if location.expressions is not None:
                known["expressions"] = part.text("expressions/text", location.expressions[place])
            elif self._store.has_expressions:
                known["expressions"] = part.sample_expressions(there)
            objects.append(known)
        return Description(of_sample, {key: [one[key] for one in objects] for key in objects[0]})

    def _of_image(self, part: Part, image: int) -> dict[str, Any]:
        """Return what there is to say of an image, by keys without a suffix."""
        described: dict[str, Any] = {}
        if self._reads_sources:
            described["sources"] = part.bytes_of("images/source", image)
        if self._has_boxes or self._padded:
            height, width = part.column("images/size")[image].tolist()
            if self._has_boxes:
                described["image_sizes"] = (height, width)
            for name, view in self._padded:
                described[f"{name}_sizes"] = shown_size(view, height, width)
        return described

    def _of_mask(self, part: Part, mask: int, image: int) -> dict[str, Any]:
        """Return what there is to say of a mask, by keys without a suffix; of one that is not there (-1), of an empty one."""
        described: dict[str, Any] = {}
        if self._has_prompt:
            described["prompt_cells"] = part.column("masks/prompt_cells").item(mask) if mask >= 0 else 0
        if self._has_boxes:
            described["boxes"] = part.column("masks/box")[mask] if mask >= 0 else np.zeros(4, np.float32)
        for name, path in self._own_size:
            if mask >= 0:
                described[name] = read_own_size(part, path, mask)
            else:
                height, width = part.column("images/size")[image].tolist()
                described[name] = RunLengths(height, width, np.array([height * width], np.uint32))
        return described


def join_descriptions(
    found: Sequence[Description], choose: ChooseExpressions, *, is_drawn: bool
) -> dict[str, Any]:
    """Return what a batch says of its samples; of drawn ones, `objects` says whose each object is."""
    joined: dict[str, Any] = {}
    for key in found[0].of_sample:
        # Only some datasets have expressions: a batch has what all of its samples have.
        if all(key in one.of_sample for one in found):
            joined[key] = _gathered([one.of_sample[key] for one in found])
    if not is_drawn:
        if "expressions" in joined:
            joined["expressions"] = [
                choose(phrases, place) for place, phrases in enumerate(joined["expressions"])
            ]
        return joined
    counts = [len(one.of_objects["object_ids"]) for one in found]
    joined["objects"] = np.array([0, *accumulate(counts)], np.int64)
    for key in found[0].of_objects:
        if all(key in one.of_objects for one in found):
            values = [(value, place) for place, one in enumerate(found) for value in one.of_objects[key]]
            chosen = key == "expressions" and isinstance(values[0][0], list)
            joined[key] = _gathered([choose(*pair) if chosen else pair[0] for pair in values])
    return joined


def _gathered(values: list[Any]) -> Any:
    """Return numbers as an array, anything else as it is."""
    first = values[0]
    while isinstance(first, list) and first:
        first = first[0]
    return np.array(values) if isinstance(first, int | tuple | np.ndarray) else values
