"""An image with objects that COCO's annotations outline: the scene of COCO itself and of the RefCOCO family."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...decode.images import ImageDecoder, decode_image
from ...decode.segmentation import Rle, check_mask_size, unite
from ...errors import RecordError, SegmentationError
from ..records import Frame, Mask, Record, Reject, Skip
from .coco_json import Annotation, ImageEntry, describe_misdrawn
from .names import read_named
from .raw_files import RawPath
from .stated_boxes import join_boxes, read_box


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """What becomes one mask."""

    object_id: str
    annotations: tuple[Annotation, ...]
    """One, or several that are meant together, or none."""
    category: str
    """Class name; different ones joined by "+"."""
    expressions: tuple[str, ...] = ()

    def mask(self, image: ImageEntry, misdrawn: str) -> Mask:
        """Return the union of the annotations' masks; `misdrawn` is what speaks against all polygons of the image."""
        masks = []
        for annotation in self.annotations:
            if misdrawn and isinstance(annotation.shape(), list):
                raise SegmentationError(misdrawn)
            masks.append(annotation.mask(image))
        if not masks:
            check_mask_size(image.height, image.width)
            masks = [Rle(image.height, image.width, np.array([image.height * image.width], np.int64))]
        box = join_boxes([read_box(annotation.bbox) for annotation in self.annotations])
        segmentation = masks[0] if len(masks) == 1 else unite(masks)
        is_empty = not self.annotations
        return Mask(self.object_id, segmentation, self.category, self.expressions, is_empty, stated_box=box)


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """One image with its objects."""

    key: str
    root: RawPath
    folder: str
    """The folder of images, relative to the root."""
    image: ImageEntry
    objects: tuple[AnnotatedObject, ...]
    skips: tuple[Skip, ...]
    """What the index leaves out of it."""
    other_names: tuple[str, ...] = ()
    """What its file may be called where it has not the listed name."""

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield the image with one mask for each object."""
        yield from (skip for skip in self.skips if skip.count)
        if not self.objects:
            return
        path = f"{self.folder}/{self.image.file_name}"
        try:
            name, encoded = read_named(self.root / self.folder, self.image.file_name, *self.other_names)
            path = f"{self.folder}/{name}"
            picture = decode(encoded, (self.image.height, self.image.width))
        except RecordError as err:
            yield Reject.from_error(err, self.key, path)
            return
        masks = []
        annotations = (annotation for each in self.objects for annotation in each.annotations)
        misdrawn = describe_misdrawn(annotations, self.image)
        for each in self.objects:
            try:
                masks.append(each.mask(self.image, misdrawn))
            except SegmentationError as err:
                yield Reject.from_error(err, f"{self.key}/{each.object_id}", path)
        yield Frame(self.key, path, picture.image, tuple(masks), 0, picture.unsure_turn, picture.source)
