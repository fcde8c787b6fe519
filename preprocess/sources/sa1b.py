"""SA-1B (https://ai.meta.com/datasets/segment-anything; SA-1B research licence, for research only).

::

    sa_000000.tar                             about 11,186 pairs, flat, as published: read without extracting
        sa_1.jpg  sa_1.json
    sa_000020/sa_223750.jpg, .json            or extracted, each tar into a folder of its own or all into one

    {"image": {"image_id": 1, "width": 1500, "height": 2060, "file_name": "sa_1.jpg"},
     "annotations": [{"id": 523353737, "segmentation": {"size": [2060, 1500], "counts": "TS_f15SP27K3N2..."},
                      "bbox": [866.0, 946.0, 132.0, 199.0], "area": 14773, "predicted_iou": 0.95,
                      "stability_score": 0.97, "point_coords": [[940.9, 1034.6]], "crop_box": [622.0, ...]}]}

Tars and folders may be mixed, at any depth. A jpg and its json belong together when they lie in one folder or tar, or
when there is one of each in the whole root: some downloaders sort them into `images/` and `annotations/`.

- About 100 masks an image, nested and overlapping, without class names. Each covers the whole image; `crop_box`
  only says where it was found.
- `bbox` is one less than the mask's extent in width and height: only `resizeonce doctor` compares it, with a tolerance.
- Numbers may be ints or floats. Areas are counted from the masks, not taken from the file.
- Public copies are damaged: tars that end early, jpgs without json and the reverse.
- Links to folders are not followed, and a file that is a link must stay inside the root, unless `follow_links` is set.
- Archives other than plain tars, and all within tars, are rejected, each as a whole: nothing in them can be read by
  offset. One beside a folder or tar of its name, of which a pair is read, is counted only.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec

from ...loader.format.errors import SourceError
from ...loader.format.layout import DatasetType
from ..decode.images import MAX_IMAGE_BYTES, ImageDecoder, Size, decode_image
from ..decode.segmentation import Rle, parse_segmentation
from ..errors import DecodeError, RecordError, SegmentationError
from .base import IndexedSource
from .files.json_files import JSON_ERRORS, decode_json, decode_mask, explain
from .files.leftovers import describe_skips
from .files.raw_files import RawPath, listing_digest
from .files.sa1b_pairs import Pairs, RawFile
from .files.stated_boxes import read_box
from .options import SourceOptions
from .records import Frame, Mask, Record, Reject, Skip

MAX_JSON_BYTES = 1 << 26
"""Largest json that is parsed (64 MiB); a hundred masks take a tenth of a megabyte."""

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Options(SourceOptions, frozen=True, kw_only=True):
    """Options of `[source]` for SA-1B. A mask that fails a filter is skipped and counted."""

    min_area: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Smallest mask, in pixels."""
    max_area_share: _Share = 1.0
    """Largest mask, as a share of its image: some masks cover nearly all of it."""
    min_predicted_iou: _Share = 0.0
    """Smallest `predicted_iou`; a mask without one passes."""
    min_stability_score: _Share = 0.0
    """Smallest `stability_score`; a mask without one passes."""
    max_masks_per_image: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many masks to take from an image: the largest, of equal ones those with the smallest id. All by default."""


class _Image(msgspec.Struct, frozen=True):
    width: int | float
    height: int | float
    image_id: int | float | None = None


class _File(msgspec.Struct, frozen=True):
    image: _Image
    annotations: list[msgspec.Raw]


# Not strict: some tools write numbers as text.
_FILE = msgspec.json.Decoder(_File, strict=False)


class _Annotation(msgspec.Struct, frozen=True):
    id: int | float
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    predicted_iou: float | None = None
    stability_score: float | None = None
    bbox: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class Sa1bScene:
    """One image with its masks."""

    key: str
    root: RawPath
    image_id: int
    image: RawFile
    annotations: RawFile
    options: Options

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield the image with one mask for each annotation that passes the filters."""
        try:
            size, elements = self._parse(self.annotations.read(self.root, MAX_JSON_BYTES))
        except RecordError as err:
            yield Reject.from_error(err, self.key, self.annotations.path)
            return
        if not elements:
            yield Skip("image without annotations")
            return
        masks = yield from self._read_masks(elements, size)
        limit = self.options.max_masks_per_image or len(masks)
        if len(masks) > limit:
            yield Skip("mask beyond max_masks_per_image", len(masks) - limit)
            masks = _largest(masks, limit)
        if not masks:
            # Each was reported above. An image without masks gives no sample, so it isn't decoded.
            return
        try:
            picture = decode(self.image.read(self.root, MAX_IMAGE_BYTES), size)
        except RecordError as err:
            yield Reject.from_error(err, self.key, self.image.path)
            return
        image, source = picture.image, picture.source
        yield Frame(self.key, self.image.path, image, tuple(masks), 0, picture.unsure_turn, source)

    def _parse(self, content: bytes) -> tuple[Size, list[msgspec.Raw]]:
        """Return the annotated (height, width) and the annotations, each still as the file's bytes."""
        try:
            file = decode_json(content, _FILE.decode)
        except JSON_ERRORS as err:
            raise DecodeError(f"no SA-1B json: {err}") from err
        if file.image.image_id not in (None, self.image_id):
            raise DecodeError(
                f"the json describes image {file.image.image_id}, expected {self.image_id} as in its file name"
            )
        size = _whole(file.image.height), _whole(file.image.width)
        return size, file.annotations

    def _read_masks(
        self, elements: list[msgspec.Raw], size: Size
    ) -> Generator[Reject | Skip, None, list[Mask]]:
        masks: list[Mask] = []
        seen: set[int] = set()
        for place, element in enumerate(elements):
            key = f"{self.key}/annotations[{place}]"
            try:
                annotation = _parse_annotation(element, place)
                object_id = _whole(annotation.id)
                key = f"{self.key}/{object_id}"
                if object_id in seen:
                    raise SegmentationError(f"annotations[{place}] has the id of an earlier annotation")
                seen.add(object_id)
                if reason := self._fails_quality(annotation):
                    yield Skip(reason)
                    continue
                rle = _parse_mask(annotation.segmentation, size)
            except RecordError as err:
                yield Reject.from_error(err, key, self.annotations.path)
                continue
            if rle.area < self.options.min_area:
                yield Skip("mask under min_area")
            elif rle.area > self.options.max_area_share * size[0] * size[1]:
                yield Skip("mask over max_area_share")
            else:
                box = read_box(annotation.bbox)
                masks.append(Mask(str(object_id), rle, path=self.annotations.path, stated_box=box))
        return masks

    def _fails_quality(self, annotation: _Annotation) -> str:
        """Return why a filter leaves the annotation out, "" if none does."""
        iou, stability = annotation.predicted_iou, annotation.stability_score
        if iou is not None and iou < self.options.min_predicted_iou:
            return "mask under min_predicted_iou"
        if stability is not None and stability < self.options.min_stability_score:
            return "mask under min_stability_score"
        return ""


class Sa1bSource(IndexedSource[Options, int]):
    """SA-1B: one scene for each pair of jpg and json, in the order of the image ids."""

    dataset_type: DatasetType = "sa1b"

    def __init__(self, root: RawPath, options: Options) -> None:
        super().__init__(root, options)
        self._pairs = Pairs(root)
        self._entries = range(len(self._pairs))
        self.rejects = self._pairs.rejects
        self.skips = self._pairs.unread.skips
        if not self._entries and not self.rejects:
            raise SourceError(
                f"{root} holds no sa_<image id>.jpg, neither in folders nor in plain .tar files"
                f"{describe_skips(self.skips)}; check --root"
            )

    def _scene(self, entry: int) -> Sa1bScene:
        image_id, image, annotations = self._pairs[entry]
        return Sa1bScene(f"sa1b/sa_{image_id}", self._root, image_id, image, annotations, self._options)

    def fingerprint(self) -> dict[str, str]:
        """Return digests of the listing: names and sizes of the tars, names of the pairs and offsets within tars."""
        pairs = map(self._pairs.__getitem__, self._entries)
        lines = (f"{file.path} {file.offset} {file.size}" for _, *files in pairs for file in files)
        return {"tars": listing_digest(self._pairs.tars), "pairs": listing_digest(lines)}


def _parse_annotation(element: msgspec.Raw, place: int) -> _Annotation:
    try:
        annotation = msgspec.json.decode(element, type=_Annotation, strict=False)
    except JSON_ERRORS as err:
        raise SegmentationError(
            f"annotations[{place}] is not an annotation: {explain(err, element)}"
        ) from err
    for name in ("predicted_iou", "stability_score"):
        value = getattr(annotation, name)
        # Written as text, "nan" is a float.
        if value is not None and not math.isfinite(value):
            raise SegmentationError(f"annotations[{place}] has a {name} of {value}, expected a number")
    return annotation


def _parse_mask(segmentation: msgspec.Raw, size: Size) -> Rle:
    rle = parse_segmentation(decode_mask(segmentation, "segmentation is"), *size)
    if not rle.area:
        # Said here, before the filters: an empty mask is a fault of the record, not too small a mask.
        raise SegmentationError("the mask covers no pixel")
    return rle


def _whole(number: int | float) -> int:
    if not math.isfinite(number) or number != int(number):
        raise DecodeError(f"found {number}, expected a whole number")
    return int(number)


def _largest(masks: list[Mask], limit: int) -> list[Mask]:
    """Return the largest masks, in the order they came in."""
    ranked = sorted(masks, key=lambda mask: (-mask.segmentation.area, int(mask.object_id)))
    kept = {mask.object_id for mask in ranked[:limit]}
    return [mask for mask in masks if mask.object_id in kept]
