"""The COCO instances JSON, indexed by image: what COCO itself and the RefCOCO family are read through.

::

    {"images":      [{"id": 493652, "file_name": "000000493652.jpg", "height": 399, "width": 640, ...}],
     "annotations": [{"id": 699602, "image_id": 493652, "category_id": 1, "iscrowd": 0, "segmentation": ...}],
     "categories":  [{"id": 1, "name": "person", ...}]}

- Images and annotations come in any order, and 1,021 images of train2017 have no annotation.
- Annotation ids of crowds exceed 32 bits.
- Segmentations stay as the file's bytes until their image is read: the file is parsed once, and what goes to the
  process that reads an image is small.
"""

import msgspec

from preprocess.errors import RecordError, SegmentationError, SourceError
from preprocess.records import Reject
from preprocess.segmentation import Rle, parse_segmentation
from preprocess.sources.base import RawPath, read_file

MAX_INSTANCES_BYTES = 1 << 32
"""Largest instances JSON that is read, several times the largest published one."""

_JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, or nested too deep."""


class ImageEntry(msgspec.Struct, frozen=True, gc=False):
    """One element of `images`."""

    id: int
    file_name: str
    height: int
    width: int


class Annotation(msgspec.Struct, frozen=True, gc=False):
    """One element of `annotations`."""

    id: int
    image_id: int
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    iscrowd: int = 0
    category_id: int | None = None

    def mask(self, image: ImageEntry) -> Rle:
        """Return the covered pixels.

        Raises:
            SegmentationError: the segmentation is no mask of this image.
        """
        try:
            segmentation = msgspec.json.decode(self.segmentation)
        except _JSON_ERRORS as err:
            raise SegmentationError(f"the segmentation is no valid JSON: {err}") from err
        return parse_segmentation(segmentation, image.height, image.width)


class _Category(msgspec.Struct, frozen=True, gc=False):
    id: int
    name: str


class _File(msgspec.Struct, frozen=True):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw] = []
    categories: list[_Category] = []


class Instances:
    """An instances JSON, indexed.

    Attributes:
        images: entry of each image by its id, in the order of the ids.
        annotations: annotations by id.
        categories: class names by id.
        rejects: elements that can't be used: of another form, with an id that was there before, of an unlisted image.
    """

    def __init__(self, root: RawPath, name: str, key_prefix: str) -> None:
        """Parse `root / name`; keys of rejects begin with `key_prefix`.

        Raises:
            SourceError: the file is missing or is no instances JSON.
        """
        self._name = name
        self._prefix = key_prefix
        self.rejects: list[Reject] = []
        path = root / name
        try:
            content = msgspec.json.decode(read_file(path, MAX_INSTANCES_BYTES), type=_File)
        except RecordError as err:
            raise SourceError(f"can't read {path}: {err}; check --root and the config's [source]") from err
        except _JSON_ERRORS as err:
            raise SourceError(f"{path} is no COCO instances JSON: {err}") from err
        self.categories = {category.id: category.name for category in content.categories}
        self.images = self._index_images(content.images)
        self.annotations: dict[int, Annotation] = {}
        self._by_image: dict[int, list[int]] = {}
        self._index_annotations(content.annotations)

    def of_image(self, image_id: int) -> tuple[Annotation, ...]:
        """Return an image's annotations in the order of the file."""
        return tuple(self.annotations[number] for number in self._by_image.get(image_id, ()))

    def category(self, annotation: Annotation) -> str:
        """Return an annotation's class name, "" where its category is not listed."""
        return self.categories.get(annotation.category_id, "") if annotation.category_id is not None else ""

    def _index_images(self, elements: list[msgspec.Raw]) -> dict[int, ImageEntry]:
        decoder = msgspec.json.Decoder(ImageEntry)
        images: dict[int, ImageEntry] = {}
        for place, element in enumerate(elements):
            try:
                image = decoder.decode(element)
            except _JSON_ERRORS as err:
                self._reject(f"images[{place}]", f"not an image entry: {err}")
                continue
            if image.id in images:
                self._reject(str(image.id), f"images[{place}] has the id of an earlier image")
            else:
                images[image.id] = image
        return dict(sorted(images.items()))

    def _index_annotations(self, elements: list[msgspec.Raw]) -> None:
        decoder = msgspec.json.Decoder(Annotation)
        for place, element in enumerate(elements):
            try:
                annotation = decoder.decode(element)
            except _JSON_ERRORS as err:
                self._reject(f"annotations[{place}]", f"not an annotation: {err}")
                continue
            key = f"{annotation.image_id}/{annotation.id}"
            if annotation.image_id not in self.images:
                self._reject(
                    key,
                    f"annotations[{place}] belongs to image {annotation.image_id}, which is not listed",
                )
            elif annotation.id in self.annotations:
                self._reject(key, f"annotations[{place}] has the id of an earlier annotation")
            else:
                self.annotations[annotation.id] = annotation
                self._by_image.setdefault(annotation.image_id, []).append(annotation.id)

    def _reject(self, key: str, reason: str) -> None:
        self.rejects.append(Reject(f"{self._prefix}/{key}", self._name, "index", reason))
