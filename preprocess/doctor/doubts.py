"""What a conversion takes as it is, and what is likely not meant: looked for in frames as a store would take them."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loader.format.recipe import Recipe
from ..findings import Severity
from ..sources.records import Frame, Mask
from ..tensors.engine import Engine

MIN_BOX_OVERLAP = 0.5
"""Share that a mask's box and the stated one have in common, of both together; below it they are of two things."""

BOX_SLACK = 2.0
"""How many pixels an edge may be off all the same: SA-1B's boxes are one short, and a small mask is half gone by that."""

MAX_ENLARGEMENT = 4.0
"""How many times a view's longer side may be the picture's; thumbnails are enlarged more, originals less."""

MIN_BRIGHTEST = 16
"""Of 0..255, what the brightest pixel of a picture has at least: 12 bits that were written into 16 end below it."""

MAX_ASPECT = 5.0
"""Longer side of a picture by the shorter one."""

MAX_EMPTY_PROMPTS = 0.05
"""Share of prompt masks without a cell; of small objects so many vanish in sound data."""

MAX_EXPRESSION_LENGTH = 1000
"""In characters; the text encoders of such models cut off much earlier."""


class Doubt(NamedTuple):
    """What is looked for."""

    of: Literal["images", "masks"]
    """What it is a share of."""
    what: str
    remedy: str
    severity: Severity = "warning"
    rare: float = 0.0
    """Up to this share it is a note: so many there are in sound data."""


DOUBTS = {
    "box-misses-mask": Doubt(
        "masks",
        "masks that miss the box stated beside them",
        "draw a few over their pictures: are masks or boxes of another image, size or turn?",
        rare=0.001,
    ),
    "full-mask": Doubt(
        "masks",
        "masks that cover their whole image",
        "see whether they are inverted, or stand for no object; leave them out then",
    ),
    "same-mask": Doubt(
        "masks",
        "masks that are another one of the same image, pixel for pixel",
        "remove one of each: the object counts twice while training",
        rare=0.001,
    ),
    "empty-prompt": Doubt(
        "masks",
        "masks whose prompt mask has no cell: the object falls between the sampled pixels",
        "convert with --set recipe.{prompt}.filter=cover, or leave them out while training (min_prompt_cells=1)",
        rare=MAX_EMPTY_PROMPTS,
    ),
    "no-class": Doubt(
        "masks",
        "masks without a class, where others have one",
        "list the missing categories, if classes matter to you",
    ),
    "no-expression": Doubt(
        "masks",
        "objects without an expression, where others have some",
        "complete the expressions, or leave these out where the trainer asks for one",
        severity="note",
    ),
    "long-expression": Doubt(
        "masks",
        f"expressions of over {MAX_EXPRESSION_LENGTH:,} characters",
        "look at them: are columns shifted, or texts joined?",
    ),
    "flat-picture": Doubt(
        "images",
        "pictures of one colour throughout",
        "fetch them again, or remove them: is it a placeholder, or a dropped frame?",
    ),
    "dark-picture": Doubt(
        "images",
        f"pictures without a value of {MIN_BRIGHTEST} and more, nearly black",
        "look at them: are they of 12 bits in files of 16, or label maps? Scale them to the whole range",
    ),
    "small-picture": Doubt(
        "images",
        f"pictures that a view enlarges over {MAX_ENLARGEMENT:.0f} times",
        "take the originals: are these thumbnails?",
        rare=0.01,
    ),
    "long-picture": Doubt(
        "images",
        f"pictures over {MAX_ASPECT:.0f} times as long as wide, or the other way round",
        "see whether they are pictures, and what the recipe's fit makes of them",
        rare=0.01,
    ),
    "unsure-turn": Doubt(
        "images",
        "pictures kept as stored, though EXIF asks for a turn that nothing confirms",
        "look at one with its mask over it; if it lies, turn the files and remove the EXIF",
    ),
}  # fmt: skip
"""By name, in the order in which they are told."""

PARTIAL = ("no-class", "no-expression")
"""Those that say nothing where all are so: the dataset has none then."""


def doubts_of(frame: Frame, recipe: Recipe, engine: Engine) -> Iterator[tuple[str, str, str]]:
    """Yield what is likely not meant in a frame whose masks are all accepted: the check, the key and the file."""
    for check in _doubts_of_image(frame.image, recipe):
        yield check, frame.key, frame.path
    if frame.unsure_turn:
        yield "unsure-turn", frame.key, frame.path
    twins = _twins(frame.masks)
    for place, mask in enumerate(frame.masks):
        key, path = f"{frame.key}/{mask.object_id}", mask.path or frame.path
        for check in _doubts_of_mask(mask, frame.image.shape[:2], recipe, engine):
            yield check, key, path
        if place in twins:
            yield "same-mask", key, path


def _doubts_of_image(image: NDArray[np.uint8], recipe: Recipe) -> Iterator[str]:
    height, width, _ = image.shape
    # A few pixels tell nearly every picture from a flat one.
    if not np.ptp(image[::16, ::16].reshape(-1, 3), axis=0).any() and (image == image[0, 0]).all():
        yield "flat-picture"
    elif image.max() < MIN_BRIGHTEST:
        yield "dark-picture"
    longest = max(max(view.size) for view in recipe.images.values())
    if longest > MAX_ENLARGEMENT * max(height, width):
        yield "small-picture"
    if max(height, width) > MAX_ASPECT * min(height, width):
        yield "long-picture"


def _doubts_of_mask(mask: Mask, picture: tuple[int, int], recipe: Recipe, engine: Engine) -> Iterator[str]:
    shape = mask.segmentation
    if shape.area and mask.stated_box is not None and misses(shape.box, mask.stated_box):
        yield "box-misses-mask"
    if shape.area == shape.size[0] * shape.size[1]:
        yield "full-mask"
    if shape.area and recipe.prompt is not None:
        view = recipe.masks[recipe.prompt]
        if not engine.resize_mask(shape, view, recipe.images[view.over], picture).any():
            yield "empty-prompt"
    if not mask.category:
        yield "no-class"
    if not mask.expressions:
        yield "no-expression"
    if any(len(expression) > MAX_EXPRESSION_LENGTH for expression in mask.expressions):
        yield "long-expression"


def misses(box: tuple[float, ...], stated: tuple[float, ...]) -> bool:
    """Whether two boxes, x0, y0, x1, y1 in pixels, are of two things.

    >>> misses((10, 10, 20, 20), (10, 10, 19, 19)), misses((10, 10, 20, 20), (10, 40, 20, 50))
    (False, True)
    """
    if max(abs(one - other) for one, other in zip(box, stated, strict=True)) <= BOX_SLACK:
        return False
    width = min(box[2], stated[2]) - max(box[0], stated[0])
    height = min(box[3], stated[3]) - max(box[1], stated[1])
    common = max(width, 0) * max(height, 0)
    together = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (box, stated)) - common
    return common < MIN_BOX_OVERLAP * together


def _twins(masks: tuple[Mask, ...]) -> set[int]:
    """Return the places of masks that are an earlier one, pixel for pixel.

    Some are so on purpose: a second ref of one annotation (RefCOCO: "#" and its id), and several objects as one (MeViS and
    gRefCOCO: "2+3"), of which only one is visible.
    """
    by_area: dict[int, list[int]] = defaultdict(list)
    for place, mask in enumerate(masks):
        if mask.segmentation.area and "+" not in mask.object_id:
            by_area[mask.segmentation.area].append(place)
    twins = set()
    for places in by_area.values():
        seen: dict[tuple[tuple[int, int], bytes], str] = {}
        for place in places if len(places) > 1 else ():
            mask = masks[place]
            object_id = mask.object_id.partition("#")[0]
            shape = mask.segmentation.size, mask.segmentation.run_lengths.tobytes()
            if seen.setdefault(shape, object_id) != object_id:
                twins.add(place)
    return twins
