"""One's own images with mask files: two folders of the same names.

::

    images/0001.jpg      masks/0001.png          also in folders below: images/a/7.jpg and masks/a/7.png
                         masks/0001/cup.png      or a folder for each image, and in it a file for each object
    train.txt                                    a name a line, where `source.split` says "train"
    expressions.csv                              name,object,text, or expressions.jsonl; need not be there

- JPEG, PNG, WebP and BMP are read, whatever a name ends in. A mask may be called as its image with that one's ending,
  0001.jpg.png. It may have another size than its image, if both can be one picture: that is counted.
- `source.masks` says what mask files are: "binary", all but 0 is the one object, "1"; "index", an object a value, which
  is its id, with 0 for background and 255 (`source.ignored`) for nothing; "folder", a file for each object.
- Where it does not say so, some masks are looked at: "binary" where they have 0 and one other value, the same in all,
  "index" otherwise; "folder" where no mask is called as an image and folders are. What was found is said, and a mask
  that speaks against it is a reject. Where 255 may be an object or not, nothing is converted before it is given.
- Masks of JPEG or lossy WebP, with soft edges or of colours are rejects, as `preprocess.decode.labels` explains.
- Images without a mask, masks without an image, names of the list without an image, expressions of images or objects that
  are not there: all counted or listed, none stops a run. Two files of one name are both rejects.
- Where EXIF asks for a turn, the mask's size tells which way is meant.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

import msgspec

from ...loader.format.errors import SourceError
from ...loader.format.layout import DatasetType
from ..decode.images import ImageDecoder, decode_image
from ..decode.labels import IGNORED, decode_labels, decode_object, split_labels
from ..decode.segmentation import Rle
from ..errors import RecordError
from .base import IndexedSource
from .files.folder_tree import list_tree
from .files.leftovers import NOTE, LeftOut, describe_skips, suffix_of
from .files.mask_kind import MaskKind, MaskMode, tell_kind
from .files.mask_sizes import count_scaled, read_picture
from .files.name_lists import read_names
from .files.phrases import Phrase, read_phrases
from .files.picture_folders import IMAGE_SUFFIXES, check_folder
from .files.raw_files import CHECK_SOURCE, RawPath, file_digests, listing_digest, read_file, resolve_inside
from .options import SourceOptions
from .records import Mask, Record, Reject, Skip

_SUFFIXES = (*IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES))

_UNREAD = {
    **dict.fromkeys(
        IMAGE_SUFFIXES, "picture whose name ends in large and small letters, not read: rename it"
    ),
    **dict.fromkeys(
        (".tif", ".tiff", ".gif", ".avif", ".heic", ".jp2", ".npy", ".npz"),
        "picture of a format that is not read: save it as PNG",
    ),
    ".json": "json beside pictures, not read",
}


class Options(SourceOptions, frozen=True, kw_only=True):
    """Options of `[source]` for one's own folders. Paths are relative to the root."""

    image_folder: str = "images"
    """The folder of images."""
    mask_folder: str = "masks"
    """The folder of masks."""
    masks: MaskMode | None = None
    """What mask files are; None to tell by their values."""
    ignored: Annotated[int, msgspec.Meta(ge=0, le=65535)] = IGNORED
    """Of "index" masks, the value of pixels that are part of no mask; 0 where there is none."""
    dataset_type: DatasetType = "folders"
    """What `dataset_type` is in a batch."""
    split: str = ""
    """Which list of names to take, "train" for train.txt; "" for every image."""


@dataclass(frozen=True, slots=True)
class FolderScene:
    """One image with its mask files."""

    key: str
    root: RawPath
    folders: tuple[str, str]
    """Of images, and of masks."""
    image: str
    """Relative to its folder."""
    masks: tuple[str, ...]
    """Likewise."""
    kind: MaskKind
    ignored: int
    phrases: tuple[Phrase, ...]
    table: str
    """The file of the phrases."""

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield the image with one mask for each object."""
        path = f"{self.folders[0]}/{self.image}"
        objects: dict[str, tuple[str, Rle]] = {}
        is_whole = True
        for name in self.masks:
            mask_path = f"{self.folders[1]}/{name}"
            try:
                for found in self._read_objects(name):
                    if isinstance(found, Skip):
                        yield found
                    else:
                        objects[found[0]] = mask_path, found[1]
            except RecordError as err:
                is_whole = False
                key = f"{self.key}/{PurePosixPath(name).stem}" if self.kind.mode == "folder" else self.key
                yield Reject.from_error(err, key, mask_path)
        phrases, unknown = self._of_objects(list(objects))
        if is_whole:
            yield from unknown
        if not objects:
            return
        try:
            encoded = read_file(resolve_inside(self.root / self.folders[0], self.image))
        except RecordError as err:
            yield Reject.from_error(err, self.key, path)
            return
        masks = [
            Mask(object_id, mask, "", tuple(phrases[object_id]), path=mask_path)
            for object_id, (mask_path, mask) in objects.items()
        ]
        yield from count_scaled(read_picture(self.key, path, encoded, masks, decode))

    def _read_objects(self, name: str) -> Iterator[tuple[str, Rle] | Skip]:
        """Yield the objects of a mask file, each with its id, and what is none."""
        encoded = read_file(resolve_inside(self.root / self.folders[1], name))
        if self.kind.mode == "index":
            regions = split_labels(decode_labels(encoded, self.ignored))
            if regions.pop(self.ignored, None) is not None:
                yield Skip(f"mask with pixels of the value {self.ignored}, which are ignored")
            if not regions:
                yield Skip("mask without an object")
            yield from ((str(value), region) for value, region in regions.items())
            return
        is_said = self.kind.mode == "binary" and self.kind.value is None
        try:
            covered, value = decode_object(encoded, any_value=is_said)
            self.kind.check(value)
        except RecordError as err:
            raise self.kind.explain(err) from err
        if covered.any():
            yield PurePosixPath(name).stem if self.kind.mode == "folder" else "1", Rle.of_array(covered)
        else:
            yield Skip("mask without an object")

    def _of_objects(self, object_ids: list[str]) -> tuple[dict[str, list[str]], list[Reject]]:
        """Return the phrases of each object, and a reject for each phrase of another one."""
        texts: dict[str, list[str]] = {object_id: [] for object_id in object_ids}
        unknown = []
        for phrase in self.phrases:
            object_id = phrase.object_id or (object_ids[0] if len(object_ids) == 1 else "")
            if object_id in texts:
                texts[object_id].append(phrase.text)
            else:
                there = ", ".join(object_ids[:8]) or "none"
                reason = f"line {phrase.line} is of object {phrase.object_id!r}; its image has {there}"
                unknown.append(Reject(f"{self.key}/{object_id}", self.table, "index", reason))
        return texts, unknown


class FoldersSource(IndexedSource[Options, str]):
    """One's own images: one scene for each image that has a mask, in the order of their names."""

    def __init__(self, root: RawPath, options: Options) -> None:
        super().__init__(root, options)
        self.dataset_type = options.dataset_type
        self._folders = (options.image_folder.strip("/"), options.mask_folder.strip("/"))
        self._sizes: list[str] = []
        self._split_list = f"{options.split.removesuffix('.txt')}.txt" if options.split else ""
        self._unread = LeftOut(_UNREAD)
        images, masks = (self._list(folder) for folder in self._folders)
        self._images = {
            name: paths[0] for name, paths in _group_by_name(images).items() if self._is_one(0, paths)
        }
        mode, self._masks = self._match(masks)
        self._entries = self._take()
        self._kind = MaskKind(mode or "index")
        if mode is None:
            self._kind, example = tell_kind(
                root / self._folders[1], [self._masks[name][0] for name in self._entries]
            )
            # Where no mask could be read, nothing is known of them, and each is a reject.
            if example:
                self._note(self._kind.mode, example)
        elif options.masks is None and self._entries:
            self._note(mode, f"{self._folders[1]}/{self._masks[self._entries[0]][0]}")
        self._table, self._phrases = self._read_phrases()
        self.skips = self._unread.skips

    def _scene(self, entry: str) -> FolderScene:
        image = self._images[entry]
        return FolderScene(
            f"folders/{image.rpartition('.')[0]}",
            self._root,
            self._folders,
            image,
            tuple(self._masks[entry]),
            self._kind,
            self._options.ignored,
            tuple(self._phrases.get(entry, ())),
            self._table,
        )

    def fingerprint(self) -> dict[str, str]:
        """Return the digests of all names and sizes and of the lists, and what masks are where that was told by them."""
        lists = file_digests(self._root, self._split_list, self._table)
        digests = {"files": listing_digest(self._sizes)} | lists
        return digests if self._options.masks else digests | {"masks": self._kind.mode}

    def _list(self, folder: str) -> list[str]:
        """Return the pictures below a folder, relative to it."""
        check_folder(self._root, folder)
        sizes, rejects = list_tree(self._root, _SUFFIXES, "folders", self._unread, within=(folder,))
        self.rejects += rejects
        self._sizes += (f"{path} {size}" for path, size in sizes.items())
        if not sizes:
            raise SourceError(
                f"no picture ({', '.join(IMAGE_SUFFIXES)}) below {self._root / folder}"
                f"{describe_skips(self._unread.skips)}{CHECK_SOURCE}"
            )
        return [path.removeprefix(f"{folder}/") for path in sizes]

    def _is_one(self, place: int, paths: list[str]) -> bool:
        """Whether a name is that of one file, of images (0) or masks (1); if not, each of its files is a reject."""
        folder = self._folders[place]
        for path in paths if len(paths) > 1 else ():
            others = ", ".join(other for other in paths if other != path)
            reason = f"{others} has the same name: which is meant is not known"
            self.rejects.append(Reject(f"folders/{_plain_name(path)}", f"{folder}/{path}", "index", reason))
        return len(paths) == 1

    def _match(self, masks: list[str]) -> tuple[MaskMode | None, dict[str, list[str]]]:
        """Return what mask files are as far as their places tell, and those of each image, by its name."""
        mode = self._options.masks
        matched, others = _match_masks(masks, self._images, in_folders=mode == "folder")
        if mode is None and not matched:
            matched, others = _match_masks(masks, self._images, in_folders=True)
            mode = "folder" if matched else None
        if not matched and self._images:
            raise SourceError(
                f"no mask is called as an image: {self._root / self._folders[0]} has "
                f"{', '.join(sorted(self._images.values())[:3])}, {self._root / self._folders[1]} has {', '.join(masks[:3])}; "
                "expected masks/0001.png, or masks/0001/cup.png, for images/0001.jpg"
            )
        for mask in others:
            self._unread.add("mask without an image", f"{self._folders[1]}/{mask}")
        if mode != "folder":
            matched = {name: paths for name, paths in matched.items() if self._is_one(1, paths)}
        else:
            matched = {name: kept for name, paths in matched.items() if (kept := self._one_each(paths))}
        return mode, matched

    def _one_each(self, paths: list[str]) -> list[str]:
        """Return the masks of an image that are the only ones of their object; each of the others is a reject."""
        objects: dict[str, list[str]] = {}
        for path in paths:
            objects.setdefault(PurePosixPath(path).stem, []).append(path)
        return [of_object[0] for of_object in objects.values() if self._is_one(1, of_object)]

    def _take(self) -> list[str]:
        """Return the names of the images to convert."""
        wanted = set(self._images)
        if self._split_list:
            listed = read_names(self._root, self._split_list, "source.split")
            wanted = {name for line in listed if (name := self._find(line, self._split_list))}
        for name in wanted - self._masks.keys():
            self._unread.add("image without a mask", f"{self._folders[0]}/{self._images[name]}")
        return sorted(wanted & self._masks.keys())

    def _find(self, given: str, where: str, line: str = "") -> str:
        """Return the name of the image that a list calls `given`; "" where none is called so, which is a reject."""
        name = _plain_name(given.replace("\\", "/").removeprefix(f"{self._folders[0]}/"))
        if name in self._images:
            return name
        reason = f"{line}{given!r} is no image of {self._folders[0]}"
        self.rejects.append(Reject(f"folders/{name}", where, "index", reason))
        return ""

    def _note(self, mode: str, example: str) -> None:
        kind = f"{NOTE}masks taken as {mode}, since source.masks does not say what they are"
        self._unread.add(kind, example, len(self._entries))

    def _read_phrases(self) -> tuple[str, dict[str, list[Phrase]]]:
        """Return the name of the table of phrases, "" where there is none, and those of each image."""
        table, phrases, rejects = read_phrases(self._root, "folders")
        self.rejects += rejects
        of_image: dict[str, list[Phrase]] = {}
        for phrase in phrases:
            if name := self._find(phrase.name, table, f"line {phrase.line}: "):
                of_image.setdefault(name, []).append(phrase)
        return table, of_image


def _plain_name(path: str) -> str:
    """Return the name that a picture has in common with what belongs to it, in one form of those that mean the same.

    >>> _plain_name("a/0001.jpg"), _plain_name("a/0001.v2")
    ('a/0001', 'a/0001.v2')
    """
    known = path.rpartition(".")[0] if suffix_of(path) in IMAGE_SUFFIXES else path
    return unicodedata.normalize("NFC", known)


def _group_by_name(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the paths that have each name in common."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(_plain_name(path), []).append(path)
    return groups


def _match_masks(
    masks: Iterable[str], images: Mapping[str, str], *, in_folders: bool
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the masks of each image, by its name, and those that belong to none.

    A mask is called as its image is, or, where masks are `in_folders`, lies in a folder that is.
    """
    by_file = {unicodedata.normalize("NFC", path): name for name, path in images.items()}
    matched: dict[str, list[str]] = {}
    others = []
    for mask in masks:
        parent = unicodedata.normalize("NFC", str(PurePosixPath(mask).parent))
        name = parent if in_folders else _plain_name(mask)
        name = name if name in images else by_file.get(name, "")
        if name:
            matched.setdefault(name, []).append(mask)
        else:
            others.append(mask)
    return matched, others
