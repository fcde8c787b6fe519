"""COCO instances (https://cocodataset.org; annotations CC BY 4.0, photographs under the Flickr licence each names).

::

    annotations/instances_train2017.json      parsed by `preprocess.sources.files.coco_json`
    train2017/000000493652.jpg

- A sample is one annotation. Crowds are regions of many objects, not one object, and are left out unless asked for.
- Ids of annotations need to be unique within their image only: some tools write 0 for each.
- A file under two image ids gives two images, and is counted: it may be one picture twice, or a name that two pictures
  had before their folders were merged.
"""

from ...loader.format.layout import DatasetType
from .base import IndexedSource
from .files.annotated_image import AnnotatedImage, AnnotatedObject
from .files.coco_json import Instances
from .files.leftovers import SAME_FILE
from .files.picture_folders import check_folder, count_unlisted
from .files.raw_files import RawPath, file_digests
from .options import SourceOptions
from .records import Skip


class Options(SourceOptions, frozen=True, kw_only=True):
    """Options of `[source]` for COCO."""

    annotations: str = "annotations/instances_train2017.json"
    """The instances JSON, relative to the root."""
    images: str = "train2017"
    """The folder of images, relative to the root."""
    crowds: bool = False
    """Whether crowd annotations become samples."""


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

    def _scene(self, entry: int) -> AnnotatedImage:
        instances = self._instances
        image, annotations = instances.images[entry], instances.of_image(entry)
        kept = [annotation for annotation in annotations if self._options.crowds or not annotation.iscrowd]
        objects = (AnnotatedObject(str(one.id), (one,), instances.category(one)) for one in kept)
        # Its annotations may all be rejects, or some of those that don't say which image they are of.
        is_bare = not (entry in instances.annotated or instances.has_unowned)
        skips = (
            Skip("crowd annotation", len(annotations) - len(kept)),
            Skip("image without annotations", int(is_bare)),
        )
        return AnnotatedImage(f"coco/{entry}", self._root, self._options.images, image, tuple(objects), skips)

    def fingerprint(self) -> dict[str, str]:
        """Return the digest of the annotation file."""
        return file_digests(self._root, self._options.annotations)
