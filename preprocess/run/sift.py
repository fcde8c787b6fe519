"""Which masks and pairs of a scene become rows of a store, and why the others can't.

One place for what writes a store and for what only says what would be written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from ...loader.format.recipe import Recipe
from ..config import Config
from ..decode.images import CountingDecoder, is_same_picture
from ..errors import RecordError
from ..sources.base import Scene
from ..sources.records import DAMAGE_ACCEPTED, Frame, Mask, Pair, Record, Reject, Skip
from ..tensors.engine import Engine
from ..tensors.geometry import place_image

Place = tuple[int, str]
"""Of a mask in its scene: the frame's time, and the object."""


def read_scene(
    scene: Scene, config: Config, engine: Engine, room: Callable[[], int | None] = lambda: None
) -> Iterator[Record]:
    """Yield the records of a scene as `sift` does, and at last how many damaged pictures were accepted."""
    decode = CountingDecoder(engine.decoder(config.options.damaged))
    yield from sift(scene.read(decode), config.recipe, room)
    if decode.num_damaged:
        yield Skip(DAMAGE_ACCEPTED, decode.num_damaged)


def sift(
    records: Iterable[Record], recipe: Recipe, room: Callable[[], int | None] = lambda: None
) -> Iterator[Record]:
    """Yield the records of one scene: frames with those masks that a store takes, pairs of two such, a reject for each other one.

    Args:
        records: as the scene gives them.
        recipe: its views must be possible.
        room: returns how many masks, or pairs, are still wanted; what comes after those is not looked at. None is any number.
    """
    taken: set[Place] = set()
    faults: dict[str, str] = {}
    for record in records:
        sifted: Iterable[Record] = [record]
        if isinstance(record, Frame):
            sifted = _sift_frame(record, recipe, room(), taken)
        elif isinstance(record, Pair):
            sifted = [] if room() == 0 else [_reject_of(record, taken, faults) or record]
        for one in sifted:
            if isinstance(one, Reject):
                # Pairs name its file.
                faults.setdefault(one.key, one.path)
            yield one


def _sift_frame(
    frame: Frame, recipe: Recipe, room: int | None, taken: set[Place]
) -> Iterator[Frame | Reject | Skip]:
    if not frame.masks and not frame.keep_empty:
        yield Skip("image without masks")
        return
    masks: list[Mask] = []
    for mask in frame.masks:
        if len(masks) == room:
            break
        if reason := _reason_against(frame, mask, taken):
            yield Reject(f"{frame.key}/{mask.object_id}", mask.path or frame.path, "mask", reason)
        else:
            # At once, so that a second mask of the same object is seen.
            taken.add((frame.time, mask.object_id))
            masks.append(mask)
    if not masks and (frame.masks or room == 0):
        return
    try:
        for view in recipe.images.values():
            place_image(view, *frame.image.shape[:2])
    except RecordError as err:
        taken.difference_update((frame.time, mask.object_id) for mask in masks)
        yield Reject.from_error(err, frame.key, frame.path)
    else:
        yield replace(frame, masks=tuple(masks))


def _reason_against(frame: Frame, mask: Mask, taken: set[Place]) -> str:
    """Return why a mask can't be used, "" where it can."""
    size, mask_size = frame.image.shape[:2], mask.segmentation.size
    if (frame.time, mask.object_id) in taken:
        return "a second mask of the same object in the same image"
    if not is_same_picture(size, mask_size):
        (height, width), (mask_height, mask_width) = size, mask_size
        return (
            f"the mask is {mask_height} x {mask_width} but its image is {height} x {width} (height x width): "
            "not the same picture in another size"
        )
    if mask.segmentation.area == 0 and not mask.may_be_empty:
        return "the mask covers no pixel"
    return ""


def _reject_of(pair: Pair, taken: set[Place], faults: Mapping[str, str]) -> Reject | None:
    """Return why a pair can't be a sample, None where it can."""
    times = zip(pair.keys, (pair.time1, pair.time2), strict=True)
    missing = [key for key, time in times if (time, pair.object_id) not in taken]
    if not missing:
        return None
    # What was rejected before, the mask or its whole frame, says why and names the file.
    causes = [faults.get(f"{key}/{pair.object_id}") or faults.get(key) for key in missing]
    path = next((cause for cause in causes if cause), "")
    names = " and ".join(dict.fromkeys(key.rpartition("/")[2] for key in missing))
    return Reject(pair.key, path, "pair", f"the pair has no usable image and mask in frame {names}")
