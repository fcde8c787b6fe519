"""COCO instances (https://cocodataset.org; annotations CC BY 4.0, photographs under the Flickr licence each names).

::

    annotations/instances_train2017.json      parsed by `preprocess.sources.files.coco_json`
    train2017/000000493652.jpg

- A sample is one annotation. Crowds are regions of many objects, not one object, and are left out unless asked for.
- Ids of annotations need to be unique within their image only: some tools write 0 for each.
- A file under two image ids gives two images, and is counted: it may be one picture twice, or a name that two pictures
  had before their folders were merged.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ...loader.format.layout import DatasetType
from ..decode.images import ImageDecoder, decode_image
from ..errors import RecordError, SegmentationError
from .base import IndexedSource, SourceOptions
from .files.coco_json import Annotation, ImageEntry, Instances, check_drawn, describe_misdrawn
from .files.leftovers import SAME_FILE
from .files.names import read_named
from .files.picture_folder import check_folder, count_unlisted
from .files.raw_files import RawPath, file_digests
from .files.stated_boxes import read_box
from .records import Frame, Mask, Record, Reject, Skip


class Options(SourceOptions, frozen=True, kw_only=True):
    """Options of `[source]` for COCO."""

    annotations: str = "annotations/instances_train2017.json"
    """The instances JSON, relative to the root."""
    images: str = "train2017"
    """The folder of images, relative to the root."""
    crowds: bool = False
    """Whether crowd annotations become samples."""


@dataclass(frozen=True, slots=True)
class CocoScene:
    """One image with its annotations."""

    key: str
    root: RawPath
    folder: str
    image: ImageEntry
    annotations: tuple[tuple[Annotation, str], ...]
    """Each with its class name."""
    num_crowds: int
    """How many crowds were left out."""
    is_annotated: bool
    """Whether the file has annotations of this image, or may have: left out, rejected, or without a word on their image."""

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield the image with one mask for each annotation."""
        path = f"{self.folder}/{self.image.file_name}"
        if self.num_crowds:
            yield Skip("crowd annotation", self.num_crowds)
        if not self.annotations:
            if not self.is_annotated:
                yield Skip("image without annotations")
            return
        try:
            name, encoded = read_named(self.root / self.folder, self.image.file_name)
            path = f"{self.folder}/{name}"
            picture = decode(encoded, (self.image.height, self.image.width))
        except RecordError as err:
            yield Reject.from_error(err, self.key, path)
            return
        masks = []
        misdrawn = describe_misdrawn((annotation for annotation, _ in self.annotations), self.image)
        for annotation, category in self.annotations:
            try:
                check_drawn(annotation, misdrawn)
                mask, box = annotation.mask(self.image), read_box(annotation.bbox)
                masks.append(Mask(str(annotation.id), mask, category, stated_box=box))
            except SegmentationError as err:
                yield Reject.from_error(err, f"{self.key}/{annotation.id}", path)
        yield Frame(self.key, path, picture.image, tuple(masks), 0, picture.unsure_turn, picture.source)


class CocoSource(IndexedSource[Options, int]):
    """COCO instances: one scene for each listed image, in the order of the image ids."""

    dataset_type: DatasetType = "coco"

    def __init__(self, root: RawPath, options: Options) -> None:
        super().__init__(root, options)
        self._instances = Instances(root, options.annotations, "coco")
        self._entries = list(self._instances.images)
        self.rejects = self._instances.rejects
        if self._entries:
            check_folder(root, options.images)
        names = (image.file_name for image in self._instances.images.values())
        unread = count_unlisted(root, options.images, names)
        same = self._instances.num_same_file
        self.skips = (*unread.skips, *((Skip(SAME_FILE, same),) if same else ()))

    def _scene(self, entry: int) -> CocoScene:
        image = self._instances.images[entry]
        annotations = self._instances.of_image(image.id)
        kept = [annotation for annotation in annotations if self._options.crowds or not annotation.iscrowd]
        return CocoScene(
            f"coco/{image.id}",
            self._root,
            self._options.images,
            image,
            tuple((annotation, self._instances.category(annotation)) for annotation in kept),
            len(annotations) - len(kept),
            image.id in self._instances.annotated or self._instances.has_unowned,
        )

    def fingerprint(self) -> dict[str, str]:
        """Return the digest of the annotation file."""
        return file_digests(self._root, self._options.annotations)
