"""The COCO instances JSON, indexed by image: what COCO itself and the RefCOCO family are read through.

::

    {"images":      [{"id": 493652, "file_name": "000000493652.jpg", "height": 399, "width": 640, ...}],
     "annotations": [{"id": 699602, "image_id": 493652, "category_id": 1, "iscrowd": 0, "segmentation": ...}],
     "categories":  [{"id": 1, "name": "person", ...}]}

- Images and annotations come in any order, and 1,021 images of train2017 have no annotation.
- Annotation ids of crowds exceed 32 bits.
- Ids and other whole numbers may be written as 1.0 or as text, and `iscrowd` as true or false.
- Segmentations stay as the file's bytes until their image is read: the file is parsed once, and what goes to the
  process that reads an image is small.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

import msgspec

from ...decode.segmentation import Rle, parse_segmentation, polygon_extent
from ...errors import SegmentationError
from ..records import Reject
from .json_files import JSON_ERRORS, decode_mask, explain, read_index
from .raw_files import CHECK_SOURCE, RawPath

MAX_INSTANCES_BYTES = 1 << 32
"""Largest instances JSON that is read, several times the largest published one."""


FAR_BEYOND = 1.1
"""How many times a side most polygons of an image may reach; those of a picture in a larger size reach further."""

POLYGON_MARGIN = 0.01
"""How far, as a share of a side, a polygon may leave its picture without a doubt about the picture's orientation."""


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
    iscrowd: int | bool | None = 0
    category_id: int | None = None
    bbox: msgspec.Raw = msgspec.Raw(b"null")

    def shape(self) -> object:
        """Return the segmentation as its JSON has it: polygons, run lengths, or anything else."""
        return decode_mask(self.segmentation, "segmentation is")

    def mask(self, image: ImageEntry) -> Rle:
        """Return the covered pixels."""
        return parse_segmentation(self.shape(), image.height, image.width)


def describe_misdrawn(annotations: Iterable[Annotation], image: ImageEntry) -> str:
    """Return what speaks against the polygons of an image as a whole, "" where nothing does.

    One that leaves its picture tells of all: those that would fit are of the same drawing, and lie elsewhere as well.
    """
    extents = [extent for annotation in annotations if (extent := _extent_of(annotation)) is not None]
    if not extents:
        return ""
    size = f"{image.width} x {image.height} (width x height)"
    down, right = (max(sides) for sides in zip(*extents, strict=True))
    if max(down, right) <= 1 < min(image.height, image.width):
        return (
            f"the polygons of this image lie within 1 pixel of its {size}: are they relative to the picture? Then "
            "multiply them by its width and height"
        )
    leaves = not all(_reaches_at_most(extent, image.height, image.width) for extent in extents)
    if leaves and all(_reaches_at_most(extent, image.width, image.height) for extent in extents):
        return (
            f"polygons of this image leave its {size} but fit the turned picture: they were drawn in the other "
            "orientation; turn the picture or its annotations"
        )
    far = sum(down > image.height * FAR_BEYOND or right > image.width * FAR_BEYOND for down, right in extents)
    # One may be an object that the picture cuts off.
    if far > 1 and 2 * far > len(extents):
        return (
            f"most polygons of this image leave it, up to {right:.0f} x {down:.0f}, far beyond its {size}: were they drawn on "
            "it in another size? Scale them, or take the picture they were drawn on"
        )
    return ""


def _extent_of(annotation: Annotation) -> tuple[float, float] | None:
    with suppress(SegmentationError):
        return polygon_extent(annotation.shape())
    return None


def _reaches_at_most(extent: tuple[float, float], height: int, width: int) -> bool:
    """Whether polygons end within a picture, give or take what official ones leave theirs by."""
    down, right = extent
    return down <= height * (1 + POLYGON_MARGIN) + 2 and right <= width * (1 + POLYGON_MARGIN) + 2


T = TypeVar("T")


class _Owner(msgspec.Struct, frozen=True, gc=False):
    image_id: int


class _Category(msgspec.Struct, frozen=True, gc=False):
    id: int
    name: str


class _File(msgspec.Struct, frozen=True):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw] = []
    categories: list[msgspec.Raw] = []


class Instances:
    """An instances JSON, indexed.

    Attributes:
        images: entry of each image by its id, in the order of the ids.
        annotations: annotations by id; only where they are joined by it.
        categories: class names by id; none of an id that is there twice with other names.
        rejects: elements that can't be used: of another form, with an id that was there before, of an unlisted image.
        annotated: images that have an annotation in the file, be it one that was rejected.
        has_unowned: whether there are annotations that don't say which image they are of.
        num_same_file: how many images have the file of an earlier one.
    """

    def __init__(self, root: RawPath, name: str, prefix: str, *, by_id: bool = False) -> None:
        """Parse `root / name`.

        With `by_id` annotations are asked for by their ids, which then must be unique in the whole file; otherwise by their
        images, and they need to be unique only there.
        """
        self._name = name
        self._prefix = prefix
        self._by_id = by_id
        self.rejects: list[Reject] = []
        fault = "is no COCO instances JSON: {}"
        content = read_index(root / name, MAX_INSTANCES_BYTES, _File, fault, CHECK_SOURCE, strict=False)
        self.categories = self._index_categories(content.categories)
        self._ambiguous: set[int] = set()
        self.images = self._index_images(content.images)
        self.num_same_file = len(self.images) - len({image.file_name for image in self.images.values()})
        self.annotated: set[int] = set()
        self.has_unowned = False
        self.annotations: dict[int, Annotation] = {}
        self._by_image: dict[int, dict[int, Annotation]] = {}
        self._index_annotations(content.annotations)

    def of_image(self, image_id: int) -> tuple[Annotation, ...]:
        """Return an image's annotations in the order of the file; only where they are not joined by their ids."""
        return tuple(self._by_image.get(image_id, {}).values())

    def category(self, annotation: Annotation) -> str:
        """Return an annotation's class name, "" where its category is not listed."""
        return self.categories.get(annotation.category_id, "") if annotation.category_id is not None else ""

    def _index_categories(self, elements: list[msgspec.Raw]) -> dict[int, str]:
        names: dict[int, str] = {}
        ambiguous = set()
        for place, category in self._decode_each("categories", "a category", elements, _Category):
            if names.setdefault(category.id, category.name) != category.name:
                ambiguous.add(category.id)
                known = names[category.id]
                reason = (
                    f"{category.name!r} has the id of an earlier category, {known!r}: renumber the categories"
                )
                self._reject(f"categories[{place}]", reason)
        return {number: name for number, name in names.items() if number not in ambiguous}

    def _index_images(self, elements: list[msgspec.Raw]) -> dict[int, ImageEntry]:
        images: dict[int, ImageEntry] = {}
        for place, image in self._decode_each("images", "an image entry", elements, ImageEntry):
            first = images.setdefault(image.id, image)
            if image != first:
                self._ambiguous.add(image.id)
            if image is not first:
                self._reject(
                    str(image.id), f"images[{place}] has the id of an earlier image: renumber the images"
                )
        return dict(sorted(images.items()))

    def _index_annotations(self, elements: list[msgspec.Raw]) -> None:
        for place, annotation in self._decode_each("annotations", "an annotation", elements, Annotation):
            self.annotated.add(annotation.image_id)
            key = f"{annotation.image_id}/{annotation.id}"
            of_image = self._by_image.get(annotation.image_id, {})
            fault = ""
            if annotation.image_id not in self.images:
                fault = f"belongs to image {annotation.image_id}, which is not listed"
            elif annotation.image_id in self._ambiguous:
                fault = f"belongs to image {annotation.image_id}, which several images have for their id: renumber the images"
            elif annotation.id in (self.annotations if self._by_id else of_image):
                where = "" if self._by_id else " of this image"
                fault = f"has the id of an earlier annotation{where}: renumber the annotations"
            if fault:
                self._reject(key, f"annotations[{place}] {fault}")
            elif self._by_id:
                self.annotations[annotation.id] = annotation
            else:
                of_image[annotation.id] = annotation
                self._by_image[annotation.image_id] = of_image

    def _decode_each(
        self, name: str, what: str, elements: list[msgspec.Raw], form: type[T]
    ) -> Iterator[tuple[int, T]]:
        """Yield the elements of one of the file's lists, each with its place; what is none of them is a reject."""
        decoder = msgspec.json.Decoder(form, strict=False)
        for place, element in enumerate(elements):
            try:
                decoded = decoder.decode(element)
            except JSON_ERRORS as err:
                self._reject(f"{name}[{place}]", f"not {what}: {explain(err, element)}")
                if name == "annotations":
                    self._note_owner(element)
            else:
                yield place, decoded

    def _note_owner(self, annotation: msgspec.Raw) -> None:
        try:
            self.annotated.add(msgspec.json.decode(annotation, type=_Owner, strict=False).image_id)
        except JSON_ERRORS:
            # It may be of any image.
            self.has_unowned = True

    def _reject(self, key: str, reason: str) -> None:
        self.rejects.append(Reject(f"{self._prefix}/{key}", self._name, "index", reason))
