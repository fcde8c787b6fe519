"""Which images, or scenes, can give a sample that is drawn, and which of their masks, or sentences, make it. numpy only.

What is drawn is a pure function of the part's tables and a key, so whoever fills a batch computes it for itself.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..format.errors import StoreError
from .clips import Clip, Drawable, can_draw, check_counts, draw_frames, draw_some
from .picks import DRAW
from .shuffle import hash_words
from .subset import Columns, Subset, check_texts, hash_texts

_FRAMES, _OBJECTS = 1, 2
"""What a hash is for, so that one key gives unrelated draws."""

GIVES, TOO_SHORT, NOBODY = 1, 2, 3
"""What is said of a unit at the row of its image, a scene's at that of its first; 0 where none is, or not of this subset."""

REASONS = {"too short": TOO_SHORT, "nobody eligible": NOBODY}
"""Why a unit is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """A sample is an image, with some of its objects."""

    at_most: int
    """N: up to how many objects, without replacement; with of="expressions", sentences."""
    at_least: int = 0
    """Fewer objects are repeated evenly until they are as many: `at_most` for batches that are dense."""
    of: Drawable = "masks"
    """"expressions": a sample is of sentences, each with its object. An object may come twice, with two of its own."""

    def __post_init__(self) -> None:
        check_counts(self.at_most, self.at_least, self.of)

    def describe(self) -> dict[str, Any]:
        """Return the draw as JSON values."""
        return {"unit": "image", **asdict(self)}


Draw = Objects | Clip


class Drawn(NamedTuple):
    """What a sample is of: N objects in K frames."""

    images: NDArray[np.int64]
    """Rows of images in the part, in the order drawn: int64 [K], K = 1 for `Objects`. With short="repeat" a row comes again."""
    masks: NDArray[np.int64]
    """Rows of masks in the part: int64 [N, K], -1 where the object is not there in the frame."""
    expressions: NDArray[np.int64]
    """Rows of expressions in the part: int64 [N], -1 where masks are drawn."""


def draw_key(seed: int, store: int, lap: int, number: int) -> int:
    """Return what decides a draw, by the order's seed and what `Picks` says: a hash, 0..2 ** 64 - 1."""
    return hash_words(DRAW, seed, store, lap, number)


def draw_sample(part: Columns, unit: int, key: int, draw: Draw, subset: Subset) -> Drawn:
    """Return what a unit gives as a sample, of the masks in a subset; what that says of keys is looked at in the index.

    The unit is the row of the image, for a clip of the scene's first image; the key is that of `draw_key`.

    Raises:
        StoreError: the unit can't give a sample, though it did when the index was made.
    """
    if isinstance(draw, Objects):
        return _draw_objects(part, unit, key, draw, subset)
    return _draw_clip(part, unit, key, draw, subset)


def find_units(
    part: Columns, num_images: int, num_masks: int, draw: Draw, subset: Subset, *, videos: bool
) -> NDArray[np.int8]:
    """Return what each image of a part is: int8 [I].

    A scene is in the subset by its key where all of its images are; `videos` is whether scenes are videos.
    """
    chosen = subset.eligible_images(part, videos=videos)
    if chosen is None:
        chosen = np.ones(num_images, bool)
    if isinstance(draw, Clip):
        return _find_scenes(part, chosen, draw, subset)
    eligible = subset.eligible_masks(part, 0, num_masks)
    if draw.of == "expressions":
        described = np.zeros(num_masks, bool)
        described[part.column("expressions/mask")] = True
        eligible &= described
    units = np.where(chosen, np.int8(NOBODY), np.int8(0))
    shown = np.zeros(num_images, bool)
    shown[part.column("masks/image")[eligible]] = True
    units[chosen & shown] = GIVES
    return units


def _find_scenes(part: Columns, chosen: NDArray[np.bool_], clip: Clip, subset: Subset) -> NDArray[np.int8]:
    units = np.zeros(len(chosen), np.int8)
    scenes = part.column("images/scene")
    firsts = np.flatnonzero(np.diff(scenes, prepend=scenes[:1] - 1))
    for first, last in zip(firsts.tolist(), [*firsts[1:].tolist(), len(chosen)], strict=False):
        if not chosen[first:last].all():
            continue
        if last - first < clip.frames and clip.short == "skip":
            units[first] = TOO_SHORT
        else:
            shown = _Scene(part, first, clip, subset).shown()
            units[first] = GIVES if can_draw(shown, clip) else NOBODY
    return units


def unit_keys(part: Columns, rows: NDArray[np.int64], *, scenes: bool) -> list[str]:
    """Return the keys of images, or of the videos they are of."""
    offsets, text = part.column("images/key_offsets"), part.column("images/key_bytes")
    keys = [text[offsets[row] : offsets[row + 1]].tobytes().decode(errors="replace") for row in rows.tolist()]
    return [key.rpartition("/")[0] or key for key in keys] if scenes else keys


def _draw_objects(part: Columns, image: int, key: int, draw: Objects, subset: Subset) -> Drawn:
    first, owners = _span(part, "masks/image", image, image)
    eligible = subset.eligible_masks(part, first, first + len(owners))
    masks = first + np.flatnonzero(eligible)
    expressions = np.full(len(masks), -1)
    if draw.of == "expressions":
        first_text, described = _span(part, "expressions/mask", first, first + len(owners) - 1)
        places = np.flatnonzero(eligible[described - first])
        expressions, masks = first_text + places, described[places]
    if not len(masks):
        raise _changed(image)
    drawn = _repeat(draw_some(len(masks), draw.at_most, hash_words(_OBJECTS, key)), draw.at_least)
    return Drawn(np.array([image]), masks[drawn][:, None], expressions[drawn])


def _draw_clip(part: Columns, first_image: int, key: int, clip: Clip, subset: Subset) -> Drawn:
    scene = _Scene(part, first_image, clip, subset)
    try:
        frames = draw_frames(scene.shown(), clip, hash_words(_FRAMES, key))
    except ValueError as err:
        raise _changed(first_image) from err
    candidates = scene.eligible & (
        scene.frames == frames[0] if clip.visible == "first" else scene.stands_in(frames)
    )
    objects = _distinct(scene.objects[candidates])
    expressions = np.full(len(objects), -1)
    if clip.of == "expressions":
        expressions, objects = scene.sentences_of(objects)
    drawn = _repeat(draw_some(len(objects), clip.objects, hash_words(_OBJECTS, key)), clip.at_least)
    return Drawn(first_image + frames, scene.rows_of(objects[drawn], frames), expressions[drawn])


class _Scene:
    """The masks of a scene. Images lie in the order of scenes and of time, masks in that of images (docs/format.md)."""

    def __init__(self, part: Columns, first_image: int, clip: Clip, subset: Subset) -> None:
        self._part = part
        number = int(part.column("images/scene")[first_image])
        first, images = _span(part, "images/scene", number, number)
        if first != first_image:
            raise _changed(first_image)
        self.num_frames = len(images)
        self._first_mask, owners = _span(part, "masks/image", first, first + len(images) - 1)
        self.frames = owners - first
        """In which frame of the scene each mask is: int64 [M]."""
        self.eligible = subset.eligible_masks(part, self._first_mask, self._first_mask + len(owners))
        """Which masks may be drawn: bool [M]."""
        if clip.of == "expressions":
            self.eligible &= np.isin(self.objects, _distinct(self.objects[self._texts[1]]))

    def shown(self) -> NDArray[np.bool_]:
        """Return in which frames somebody is who may be drawn: bool [F]."""
        shown = np.zeros(self.num_frames, bool)
        shown[self.frames[self.eligible]] = True
        return shown

    def stands_in(self, frames: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which masks are in one of these frames: bool [M]."""
        return np.isin(self.frames, frames)

    @cached_property
    def objects(self) -> NDArray[np.uint64]:
        """A hash of each mask's object: uint64 [M]. Two objects have one hash with a probability of 2 ** -64."""
        offsets = self._part.column("masks/object_id_offsets")[self._first_mask :][: len(self.frames) + 1]
        check_texts("masks/object_id", offsets[:-1], offsets[1:])
        text = self._part.column("masks/object_id_bytes")[offsets[0] : offsets[-1]]
        return hash_texts(text, offsets[:-1] - offsets[0], offsets[1:] - offsets[0])

    def sentences_of(self, objects: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the sentences of some objects, those of each one's first mask that has any: rows of expressions, and whose."""
        first_text, described = self._texts
        of_object = self.objects[described]
        first = dict(zip(of_object[::-1].tolist(), described[::-1].tolist(), strict=True))
        wanted = np.zeros(len(self.frames), bool)
        wanted[[first[one] for one in objects.tolist()]] = True
        places = np.flatnonzero(wanted[described])
        return first_text + places, of_object[places]

    def rows_of(self, objects: NDArray[np.uint64], frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of the mask of each object in each of these frames: int64 [N, K], -1 where there is none."""
        masks = np.flatnonzero(self.stands_in(frames))
        numbers, found = np.nonzero(objects[:, None] == self.objects[masks])
        masks = masks[found]
        rows = np.full((len(objects), self.num_frames), -1)
        rows[numbers, self.frames[masks]] = self._first_mask + masks
        return rows[:, frames]

    @cached_property
    def _texts(self) -> tuple[int, NDArray[np.int64]]:
        """The first row of expressions of the scene, and which of its masks each is of, ascending."""
        last_mask = self._first_mask + len(self.frames) - 1
        first_text, masks = _span(self._part, "expressions/mask", self._first_mask, last_mask)
        return first_text, masks - self._first_mask


def _distinct(objects: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return each object once, in the order in which they come."""
    return np.array(list(dict.fromkeys(objects.tolist())), np.uint64)


def _span(part: Columns, path: str, first: int, last: int) -> tuple[int, NDArray[np.int64]]:
    """Return the first row of an ascending column that has one of first..last, and these numbers of this and all others.

    Raises:
        StoreError: it does not ascend there.
    """
    column: NDArray[np.int64] = part.column(path)
    low, high = int(column.searchsorted(first)), int(column.searchsorted(last, side="right"))
    span = column[low:high]
    if low > high or (low < high and not first <= int(span.min()) <= int(span.max()) <= last):
        raise StoreError(f"{path} does not ascend: convert the store again")
    return low, span


def _repeat(drawn: NDArray[np.int64], at_least: int) -> NDArray[np.int64]:
    """Return what is drawn, again and again in turn until there are enough."""
    return drawn if len(drawn) >= at_least else np.resize(drawn, at_least)


def _changed(unit: int) -> StoreError:
    return StoreError(
        f"image row {unit} of the part can't give the sample that the index found there: convert the store again"
    )
