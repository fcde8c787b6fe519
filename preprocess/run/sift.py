"""The records of a scene as a store takes them, without writing one."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count

from ...loader.format.recipe import Recipe
from ..errors import RecordError
from ..sources.records import Frame, Pair, Record, Reject, Skip
from ..store.acceptance import Acceptance
from ..tensors.geometry import place_image


def sift(records: Iterable[Record], recipe: Recipe) -> Iterator[Record]:
    """Yield the records of one scene: frames with those masks that a store takes, a reject for each other one.

    The views of the recipe must be possible.
    """
    acceptance, rows = Acceptance(), count()
    for record in records:
        if isinstance(record, Frame):
            sifted: Iterable[Record] = _sift_frame(record, recipe, acceptance, rows)
        elif isinstance(record, Pair):
            taken = acceptance.take_pair(record)
            sifted = [taken if isinstance(taken, Reject) else record]
        else:
            sifted = [record]
        for one in sifted:
            if isinstance(one, Reject):
                acceptance.note(one)
            yield one


def _sift_frame(
    frame: Frame, recipe: Recipe, acceptance: Acceptance, rows: Iterator[int]
) -> Iterator[Frame | Reject | Skip]:
    masks = []
    for mask in frame.masks:
        if reject := acceptance.take_mask(frame, mask, next(rows)):
            yield reject
        else:
            masks.append(mask)
    if masks or (frame.keep_empty and not frame.masks):
        try:
            for view in recipe.images.values():
                place_image(view, *frame.image.shape[:2])
        except RecordError as err:
            yield acceptance.drop_frame(frame, err)
        else:
            yield replace(frame, masks=tuple(masks))
    elif not frame.masks:
        yield Skip("image without masks")
