"""SA-V's annotations: masks of one object in the frames of a video, from a json or from folders of PNG files.

Nothing is decoded before it is asked for: whoever reads a video needs to know in which frames each object is visible,
and then a few masks.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import msgspec

from preprocess.errors import RecordError, SegmentationError
from preprocess.images import decode_bitmap
from preprocess.records import Reject, Skip
from preprocess.segmentation import Bitmap, Rle, parse_rle
from preprocess.sources.base import RawPath, is_text, printable, read_file, resolve_inside
from preprocess.sources.json_files import decode_json
from preprocess.sources.leftovers import SYSTEM_FILE, is_system_file
from preprocess.sources.listing import scan_folder

FRAMES_PER_ANNOTATION = 4
"""Annotated at 6 frames a second, filmed at 24: annotated frame t is video frame 4 t."""

MAX_JSON_BYTES = 1 << 25
"""Largest annotation file that is parsed: 50 times the usual 0.6 MB."""

_MASK_NAME = re.compile(r"[0-9]{5,9}\.png")


@dataclass(frozen=True, slots=True)
class Masklet:
    """One object through a video."""

    object_id: str
    path: str
    """The json, or the folder of masks, relative to the root."""
    masks: dict[int, Callable[[], Rle | Bitmap]]
    """What decodes the mask, by annotated frame; a frame where the object is absent may have none, or an empty one."""


class _Annotation(msgspec.Struct, frozen=True):
    masklet: list[list[msgspec.Raw]]
    """Masks, by annotated frame and then by object."""
    masklet_id: list[Annotated[int, msgspec.Meta(ge=0, lt=2**53)]]


# Not strict: SA-V writes some whole numbers as 113.0.
_ANNOTATION = msgspec.json.Decoder(_Annotation, strict=False)


def read_json(root: RawPath, path: str, kind: str, key: str) -> Iterator[Masklet | Reject]:
    """Yield the objects of `root / path`, each with the id "<kind>-<masklet_id>".

    Args:
        root: the dataset's root.
        path: the json, relative to it.
        kind: "manual" or "auto"; ids of both begin at 0.
        key: the video's; keys of rejects begin with it.

    Raises:
        RecordError: the file can't be read, or is no annotation of a video.
    """
    try:
        annotation = decode_json(read_file(resolve_inside(root, path), MAX_JSON_BYTES), _ANNOTATION.decode)
    except (ValueError, RecursionError) as err:
        raise RecordError(f"no SA-V annotation: {err}") from err
    ids = annotation.masklet_id
    if not ids or not any(annotation.masklet):
        raise RecordError("no object is annotated: masklet or masklet_id is empty")
    masks: list[dict[int, Callable[[], Rle | Bitmap]]] = [{} for _ in ids]
    for t, row in enumerate(annotation.masklet):
        if len(row) > len(ids):
            reason = f"annotated frame {t} has {len(row)} masks, but masklet_id names {len(ids)}"
            yield Reject(frame_key(key, t), path, "mask", reason)
            continue
        # A shorter row than others leaves the last objects without a mask in this frame.
        for place, segmentation in enumerate(row):
            if bytes(segmentation) != b"null":
                masks[place][t] = partial(_parse_rle, segmentation)
    seen = set()
    for masklet_id, of_object in zip(ids, masks, strict=True):
        object_id = f"{kind}-{masklet_id}"
        if object_id in seen:
            reason = f"masklet_id {masklet_id} stands there twice"
            yield Reject(f"{key}/{object_id}", path, "mask", reason)
        else:
            seen.add(object_id)
            yield Masklet(object_id, path, of_object)


def read_folders(root: RawPath, path: str, key: str) -> Iterator[Masklet | Reject | Skip]:
    """Yield the objects of the folder `root / path`, which holds a folder of PNG masks for each.

    Raises:
        RecordError: the folder is missing or has no object.
    """
    found = False
    for object_id in list_folder(root, path):
        folder = f"{path}/{object_id}"
        if is_system_file(object_id):
            yield Skip(SYSTEM_FILE)
            continue
        if not (root / folder).is_dir():
            continue
        found = True
        if not is_text(object_id):
            reason = "the folder's name is no UTF-8, so it can't stand in a store: rename it"
            yield Reject(f"{key}/{printable(object_id)}", printable(folder), "mask", reason)
            continue
        masks: dict[int, Callable[[], Rle | Bitmap]] = {}
        try:
            names = list_folder(root, folder)
        except RecordError as err:
            yield Reject.from_error(err, f"{key}/{object_id}", folder)
            continue
        for name in names:
            if is_system_file(name) or not name.endswith(".png"):
                yield Skip(
                    SYSTEM_FILE if is_system_file(name) else "file in a folder of masks that is no .png"
                )
                continue
            number = int(name[:-4]) if _MASK_NAME.fullmatch(name) else -1
            if name != f"{number:05d}.png" or number % FRAMES_PER_ANNOTATION:
                reason = "expected a mask named by its video frame, 00000.png, 00004.png, ..."
                yield Reject(f"{key}/{object_id}", printable(f"{folder}/{name}"), "mask", reason)
            else:
                masks[number // FRAMES_PER_ANNOTATION] = partial(_decode_png, root, f"{folder}/{name}")
        yield Masklet(object_id, folder, masks)
    if not found:
        raise RecordError("no object is annotated: the folder holds no folder of masks")


def frame_key(key: str, t: int) -> str:
    """Return the key of annotated frame `t`.

    >>> frame_key("sav/sav_000001", 2)
    'sav/sav_000001/00008'
    """
    return f"{key}/{FRAMES_PER_ANNOTATION * t:05d}"


def list_folder(root: RawPath, path: str) -> list[str]:
    """Return the sorted names in `root / path`.

    Raises:
        RecordError: it can't be listed, or leads out of the root.
    """
    try:
        return sorted(entry.name for entry in scan_folder(resolve_inside(root, path)))
    except OSError as err:
        raise RecordError(f"can't list the folder: {err.strerror}") from err


def _parse_rle(segmentation: msgspec.Raw) -> Rle:
    try:
        return parse_rle(msgspec.json.decode(segmentation))
    except (ValueError, RecursionError) as err:
        raise SegmentationError(f"the run lengths are no valid JSON: {err}") from err


def _decode_png(root: RawPath, path: str) -> Bitmap:
    return Bitmap(decode_bitmap(read_file(resolve_inside(root, path))))
