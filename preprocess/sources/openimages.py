"""OpenImages V5 to V7, instance segmentation (https://storage.googleapis.com/openimages/web).

Annotations CC BY 4.0; photographs listed as CC BY 2.0.

::

    train-annotations-object-segmentation.csv           one row for each mask, 2.69 million for train
    train/00bd3f67d6e5d850.jpg
    train-masks/00bd3f67d6e5d850_m0bt9lr_143bac7b.png   flat, or by the first hex digit: train-masks/0/, train-masks/A/
    class-descriptions-boxable.csv                      no header: /m/0bt9lr,Dog

    MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks

There is no official tree after unpacking, so each place is an option.

- A mask covers the whole image in a resolution of its own, larger or smaller than the image's, and rounding makes
  their aspect ratios differ a little. It stays in its own resolution.
- Non-zero pixels are the object: a mask has two values. Copies with anti-aliased edges, or saved as JPEG, are rejected.
- The CSV does not give the image's size. Where EXIF asks for a turn, the masks tell which way is meant: the picture
  is read as the first mask's aspect ratio has it, and a mask of another ratio is rejected.
- Ids are text, though some look like numbers. A BoxID is not one of the box annotations.
- Rows of one image need not be adjacent, many images have none, and rows without files are common.
- Masks on disk without a row are counted, in datasets of up to `MAX_COUNTED_ROWS` rows.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

from ...loader.format.layout import DatasetType
from ..decode.images import ImageDecoder, decode_bitmap, decode_image
from ..decode.segmentation import Rle
from ..errors import MissingFileError, RecordError, SegmentationError
from .base import IndexedSource
from .files.folder_tree import is_folder, list_if_possible
from .files.leftovers import LeftOut, kind_anywhere
from .files.mask_sizes import read_picture
from .files.names import read_named
from .files.openimages_csv import Row, Rows, read_classes
from .files.picture_folders import check_folder
from .files.raw_files import RawPath, file_digests
from .files.stated_boxes import scale_box
from .options import SourceOptions
from .records import Mask, Record, Reject, Skip

MAX_BITMAP_PIXELS = 1 << 30
"""How many pixels the masks of one image may have together: run lengths of noise take several bytes for each."""

MAX_COUNTED_ROWS = 1 << 18
"""Up to how many rows the folder of masks is gone through for masks without a row; the official train CSV has more."""


_NESTED = "folder within a folder of files, not looked into: move its files up"


class Options(SourceOptions, frozen=True, kw_only=True):
    """Options of `[source]` for OpenImages. Paths are relative to the root; `{split}` in them becomes the split."""

    split: str = "train"
    """"train", "validation" or "test": what stands for `{split}`."""
    annotations: str = "{split}-annotations-object-segmentation.csv"
    """The segmentation CSV."""
    images: str = "{split}"
    """The folder of images."""
    masks: str = "{split}-masks"
    """The folder of masks, flat or with a folder for each first hex digit."""
    classes: str = "class-descriptions-boxable.csv"
    """The names of the classes. Where the file is absent, a mask's category is its label, such as "/m/0bt9lr"."""
    missing: Literal["reject", "skip"] = "reject"
    """What becomes of rows whose image or mask file is absent: "skip" suits a partial download."""

    def path(self, template: str) -> str:
        """Return the path that one of the options stands for."""
        return template.replace("{split}", self.split)


@dataclass(frozen=True, slots=True)
class OpenImagesScene:
    """One image with its rows."""

    key: str
    root: RawPath
    images: str
    masks: str
    image_id: str
    rows: tuple[tuple[Row, str], ...]
    """Each with its class name."""
    skip_missing: bool

    @property
    def path(self) -> str:
        """The image file, relative to the root."""
        return f"{self.images}/{self.image_id}.jpg"

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield the image with one mask for each row."""
        try:
            _, encoded = read_named(self.root / self.images, f"{self.image_id}.jpg")
        except RecordError as err:
            if self.skip_missing and isinstance(err, MissingFileError):
                yield Skip("row whose image is absent", len(self.rows))
            else:
                yield Reject.from_error(err, self.key, self.path)
            return
        masks = yield from self._read_masks()
        # An image without masks gives no sample, so it isn't decoded.
        if masks:
            yield from read_picture(self.key, self.path, encoded, masks, decode)

    def _read_masks(self) -> Generator[Reject | Skip, None, list[Mask]]:
        masks: list[Mask] = []
        seen: set[str] = set()
        num_pixels = 0
        for row, category in self.rows:
            path = f"{self.masks}/{row.mask_path}"
            try:
                row.check()
                for name in (row.mask_path, row.object_id):
                    if name in seen:
                        raise RecordError(f"an earlier row has {name!r} already", stage="index")
                seen |= {row.mask_path, row.object_id}
                folders = row.mask_path[0].lower(), row.mask_path[0].upper()
                nested = (f"{folder}/{row.mask_path}" for folder in folders)
                name, encoded = read_named(self.root / self.masks, row.mask_path, *nested)
                path = f"{self.masks}/{name}"
                bitmap = decode_bitmap(encoded)
                if num_pixels + bitmap.size > MAX_BITMAP_PIXELS:
                    raise SegmentationError(
                        f"the image's masks have over {MAX_BITMAP_PIXELS} pixels together, the limit, counting this one"
                    )
                num_pixels += bitmap.size
                mask = Rle.of_array(bitmap)
                box = None if row.box is None else scale_box(row.box, mask.size)
                masks.append(Mask(row.object_id, mask, category, path=path, stated_box=box))
            except MissingFileError as err:
                skip = Skip("row whose mask is absent")
                yield skip if self.skip_missing else self._reject(row, path, err)
            except RecordError as err:
                yield self._reject(row, path, err)
        return masks

    def _reject(self, row: Row, path: str, err: RecordError) -> Reject:
        return Reject.from_error(err, f"{self.key}/{row.object_id}", path)


class OpenImagesSource(IndexedSource[Options, int]):
    """OpenImages: one scene for each image that has a row, in the order of the image ids."""

    dataset_type: DatasetType = "openimage"

    def __init__(self, root: RawPath, options: Options) -> None:
        super().__init__(root, options)
        self._rows = Rows(root, options.path(options.annotations))
        self._entries = range(len(self._rows.image_ids))
        self.rejects = self._rows.rejects
        self._names = read_classes(root / options.path(options.classes))
        for folder in (options.images, options.masks) if len(self._rows) else ():
            check_folder(root, options.path(folder))
        self.skips = self._count_unread().skips

    def _scene(self, entry: int) -> OpenImagesScene:
        image_id = self._rows.image_ids[entry]
        rows = self._rows.of_image(entry)
        return OpenImagesScene(
            f"openimages/{image_id}",
            self._root,
            self._options.path(self._options.images),
            self._options.path(self._options.masks),
            image_id,
            tuple((row, self._names.get(row.label, row.label)) for row in rows),
            self._options.missing == "skip",
        )

    def _count_unread(self) -> LeftOut:
        """Count the masks in the folder that no row names, and what else lies in the folders and is not looked at."""
        unread = LeftOut({".png": "mask without a row in the CSV"})
        if len(self._rows) > MAX_COUNTED_ROWS:
            return unread
        images = self._options.path(self._options.images)
        for entry in list_if_possible(self._root / images):
            path = f"{images}/{entry.name}"
            if kind := kind_anywhere(entry.name):
                unread.add(kind, path)
            elif is_folder(entry):
                unread.add(_NESTED, path)
        known = self._rows.mask_names()
        masks = self._options.path(self._options.masks)
        folders = [masks]
        for folder in folders:
            for entry in list_if_possible(self._root / folder):
                path = f"{folder}/{entry.name}"
                if folder == masks and len(entry.name) == 1 and is_folder(entry):
                    folders.append(path)
                elif unread.look_at_folder(entry.name, path):
                    continue
                elif is_folder(entry):
                    unread.add(_NESTED, path)
                elif entry.name not in known:
                    unread.look_at(entry.name, path)
        return unread

    def fingerprint(self) -> dict[str, str]:
        """Return the digests of the segmentation CSV and, where there is one, of the class names."""
        options = self._options
        classes = options.path(options.classes) if self._names else ""
        return file_digests(self._root, options.path(options.annotations), classes)
