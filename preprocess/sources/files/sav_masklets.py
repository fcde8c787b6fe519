"""SA-V's annotations: masks of one object in the frames of a video, from a json or from folders of PNG files.

Nothing is decoded before it is asked for: whoever reads a video needs to know in which frames each object is visible,
and then a few masks.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import msgspec

from ...decode.images import Size, decode_bitmap, is_turned
from ...decode.segmentation import Rle, parse_rle
from ...errors import RecordError, SegmentationError
from ..records import Reject, Skip
from .folder_tree import is_folder, list_folder
from .footage import FRAMES_PER_ANNOTATION, USUAL_DIFFERENCE, Footage, num_annotated
from .json_files import decode_json, decode_mask
from .leftovers import kind_of_program
from .masklets import Masklet
from .raw_files import RawPath, is_text, read_file, resolve_inside

MAX_JSON_BYTES = 1 << 25
"""Largest annotation file that is parsed: 50 times the usual 0.6 MB."""

_MASK_NAME = re.compile(r"[0-9]{5,9}\.png")


class _Annotation(msgspec.Struct, frozen=True):
    masklet: list[list[msgspec.Raw]]
    """Masks, by annotated frame and then by object."""
    masklet_id: list[Annotated[int, msgspec.Meta(ge=0, lt=2**53)]]
    # What other tools leave out, or fill with something else, is not compared.
    video_id: Any = None
    video_frame_count: Any = None
    video_height: Any = None
    video_width: Any = None
    video_duration: Any = None


# Not strict: SA-V writes some whole numbers as 113.0.
_ANNOTATION = msgspec.json.Decoder(_Annotation, strict=False)


def read_json(root: RawPath, path: str, kind: str, key: str) -> Iterator[Footage | Masklet | Skip | Reject]:
    """Yield what `root / path` says of its video, then its objects, each with the id "<kind>-<masklet_id>"."""
    try:
        annotation = decode_json(read_file(resolve_inside(root, path), MAX_JSON_BYTES), _ANNOTATION.decode)
    except (ValueError, RecursionError) as err:
        raise RecordError(f"no SA-V annotation: {err}") from err
    video_id = key.rpartition("/")[2]
    if isinstance(annotation.video_id, str) and annotation.video_id not in ("", video_id):
        raise SegmentationError(
            f"the json describes video {annotation.video_id!r:.100}, expected {video_id} as in its file name"
        )
    ids = annotation.masklet_id
    if not ids or not any(annotation.masklet):
        raise RecordError("no object is annotated: masklet or masklet_id is empty")
    footage = _footage_of(annotation)
    yield footage
    if footage.part is not None:
        yield Skip("annotation of fewer frames than every 4th of its video")
    masks: list[dict[int, Callable[[], Rle]]] = [{} for _ in ids]
    for t, row in enumerate(annotation.masklet):
        if len(row) > len(ids):
            reason = f"annotated frame {t} has {len(row)} masks, but masklet_id names {len(ids)}"
            yield Reject(frame_key(key, t), path, "mask", reason)
            continue
        # A shorter row than others leaves the last objects without a mask in this frame.
        for place, segmentation in enumerate(row):
            if bytes(segmentation) != b"null":
                masks[place][t] = partial(_parse_rle, segmentation, footage.size)
    seen = set()
    for masklet_id, of_object in zip(ids, masks, strict=True):
        object_id = f"{kind}-{masklet_id}"
        if object_id in seen:
            reason = f"masklet_id {masklet_id} stands there twice"
            yield Reject(f"{key}/{object_id}", path, "mask", reason)
        else:
            seen.add(object_id)
            yield Masklet(object_id, path, of_object)


def read_folders(root: RawPath, path: str, key: str) -> Iterator[Footage | Masklet | Reject | Skip]:
    """Yield what the folder `root / path` says of its video, then its objects: it holds a folder of PNG masks for each."""
    objects: list[Masklet | Reject] = []
    numbers: set[int] = set()
    for entry in list_folder(resolve_inside(root, path)):
        object_id, folder = entry.name, f"{path}/{entry.name}"
        if kind := kind_of_program(object_id):
            yield Skip(kind)
            continue
        if not is_folder(entry):
            yield Skip("entry of a folder of masks that is no folder of an object, not read")
            continue
        if not is_text(object_id):
            reason = "the folder's name is no UTF-8, so it can't stand in a store: rename it"
            objects.append(Reject(f"{key}/{object_id}", folder, "mask", reason))
            continue
        masks: dict[int, Callable[[], Rle]] = {}
        files: dict[int, str] = {}
        try:
            names = [file.name for file in list_folder(resolve_inside(root, folder))]
        except RecordError as err:
            objects.append(Reject.from_error(err, f"{key}/{object_id}", folder))
            continue
        for name in names:
            number = int(name[:-4]) if _MASK_NAME.fullmatch(name) else -1
            is_number = name == f"{number:05d}.png"
            if is_number:
                numbers.add(number)
            if kind := kind_of_program(name):
                yield Skip(kind)
            elif not name.endswith(".png"):
                yield Skip("file in a folder of masks that is no .png")
            elif not is_number or number % FRAMES_PER_ANNOTATION:
                reason = "expected a mask named by its video frame, 00000.png, 00004.png, ..."
                objects.append(Reject(f"{key}/{object_id}", f"{folder}/{name}", "mask", reason))
            else:
                t = number // FRAMES_PER_ANNOTATION
                files[t] = f"{folder}/{name}"
                masks[t] = partial(_decode_png, root, files[t])
        objects.append(Masklet(object_id, folder, masks, files))
    if not objects:
        raise RecordError("no object is annotated: the folder holds no folder of masks")
    last = max(numbers, default=-1)
    yield Footage(f"its last mask is of frame {last:05d}", last + 1, None, masks=frozenset(numbers))
    yield from objects


def frame_key(key: str, t: int) -> str:
    """Return the key of annotated frame `t`.

    >>> frame_key("sav/sav_000001", 2)
    'sav/sav_000001/00008'
    """
    return f"{key}/{FRAMES_PER_ANNOTATION * t:05d}"


def _footage_of(annotation: _Annotation) -> Footage:
    """Return what a json says of its video."""
    annotated = len(annotation.masklet)
    count, height, width = (
        _whole(value)
        for value in (annotation.video_frame_count, annotation.video_height, annotation.video_width)
    )
    size = (height, width) if height and width else None
    if count is None:
        longest = FRAMES_PER_ANNOTATION * annotated
        shortest = longest - FRAMES_PER_ANNOTATION + 1
        said = f"its json annotates {annotated}, every 4th of {shortest} to {longest}"
        return Footage(said, shortest, longest, size)
    if annotated > num_annotated(count + USUAL_DIFFERENCE):
        raise SegmentationError(
            f"masklet has {annotated} annotated frames, but of the video's {count} frames (video_frame_count) every "
            f"4th is annotated, {num_annotated(count)}: which frames the masks are of is not known"
        )
    said = f"its json says {count} (video_frame_count)"
    part = annotated if annotated < num_annotated(count - USUAL_DIFFERENCE) else None
    return Footage(said, count, count, size, _positive(annotation.video_duration), part)


def _positive(value: object) -> float | None:
    """Return a number above 0, None where it is anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 2**31:
        return None
    return float(value)


def _whole(value: object) -> int | None:
    """Return a whole number above 0, which SA-V writes as 483.0; None where it is anything else."""
    number = _positive(value)
    return int(number) if number is not None and number.is_integer() else None


def _parse_rle(segmentation: msgspec.Raw, size: Size | None) -> Rle:
    """Return a mask, which may not be turned against the video's `size`."""
    rle = parse_rle(decode_mask(segmentation, "run lengths are"))
    if size is not None and is_turned(rle.size, size):
        (height, width), (mask_height, mask_width) = size, rle.size
        raise SegmentationError(
            f"the mask is {mask_height} x {mask_width} (height x width) but its json says that the video is "
            f"{height} x {width} (video_height, video_width): turned by a quarter, or transposed"
        )
    return rle


def _decode_png(root: RawPath, path: str) -> Rle:
    return Rle.of_array(decode_bitmap(read_file(resolve_inside(root, path))))
