"""Videos with label maps: DAVIS, YouTube-VOS, MOSE, LVOS, Long-RVOS, and one's own in their layout.

::

    JPEGImages/003234408d/00000.jpg     frames, also as PNG, WebP or BMP
    Annotations/003234408d/00000.png    an object a value, 0 is background; of some frames, or of all
    meta.json                           {"videos": {"003234408d": {"objects": {"1": {"category": "penguin"}}}}}
    ImageSets/2017/train.txt            a video a line, where `source.video_list` says so

DAVIS has a folder more: JPEGImages/480p/bear and Annotations/480p/bear. The config says how to read it.

- Frames and masks go together by the number that their names end in, whatever stands before it and however it is padded.
  Two files of one number in a folder are both rejects, and so is a file that is named otherwise than most of its folder.
- The ids of objects are their values. 255 (`source.ignored`) is part of no mask and counted. Where meta.json lists the
  objects of a video, a value that none of them has is part of no mask, too.
- Masks of JPEG, with soft edges or of colours are rejects, as `preprocess.decode.labels` explains. A mask may have another
  size than its frame, if both can be one picture: that is counted.
- Frames without a mask are those between the annotated ones; t counts the annotated ones.

A sample is the same object in two annotated frames, or one frame: preprocess/sources/files/masklets.py. Annotations of a
video are decoded once, to run lengths; only frames of samples are decoded to RGB.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec

from ...loader.format.errors import SourceError
from ...loader.format.layout import DatasetType
from ..decode.images import ImageDecoder, decode_image
from ..decode.labels import IGNORED
from ..errors import RecordError
from .base import IndexedSource
from .files.json_files import read_index
from .files.leftovers import LeftOut, describe_skips
from .files.mask_sizes import count_scaled
from .files.masklets import Masklet, Video, follow, make_samples, read_label_masklets
from .files.name_lists import read_video_ids
from .files.picture_folders import NumberedPictures, check_depth, list_pictures, list_videos
from .files.raw_files import CHECK_SOURCE, RawPath, file_digests, is_file_there, listing_digest
from .files.video_frames import FrameFiles
from .options import VideoOptions
from .records import Record, Reject

MAX_META_BYTES = 1 << 28
"""Largest file of the objects' names that is read."""


class _Object(msgspec.Struct, frozen=True):
    category: Any = ""


class _Video(msgspec.Struct, frozen=True):
    objects: dict[str, _Object] = {}


class _Meta(msgspec.Struct, frozen=True):
    videos: dict[str, _Video]


class Options(VideoOptions, frozen=True, kw_only=True):
    """Options of `[source]` for videos with label maps. Paths are relative to the root."""

    jpeg_folder: str = "JPEGImages"
    """The folder of the videos' folders of frames."""
    mask_folder: str = "Annotations"
    """The folder of their folders of masks."""
    video_list: str = ""
    """The list of the videos to take; "" for all that have masks."""
    meta: str = "meta.json"
    """What names the objects; it need not be there."""
    ignored: Annotated[int, msgspec.Meta(ge=0, le=65535)] = IGNORED
    """The value of pixels that are part of no mask; 0 where there is none."""
    dataset_type: DatasetType = "vos"
    """What `dataset_type` is in a batch."""


@dataclass(frozen=True, slots=True)
class VosScene:
    """One video."""

    key: str
    root: RawPath
    video_id: str
    categories: Mapping[str, str] | None
    """Class name of each object, by its id; None where no file lists the objects."""
    options: Options

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield the frames of samples, each with the masks that they need, then the pairs."""
        listed: list[NumberedPictures] = []
        for videos in (self.options.jpeg_folder, self.options.mask_folder):
            folder = f"{videos}/{self.video_id}"
            try:
                listed.append(list_pictures(self.root, folder, self.key))
            except RecordError as err:
                yield Reject.from_error(err, self.key, folder)
                return
            yield from listed[-1].rejects
            yield from listed[-1].unread.skips
        frames, masks = listed
        annotated = [number for number in masks.names if number in frames.names]
        if not annotated:
            reason = (
                f"{_describe(masks, 'masks')}, but {_describe(frames, 'frames')}: expected the same numbers"
            )
            yield Reject(self.key, masks.path, "read", reason)
            return
        unmatched = LeftOut()
        for number in masks.names.keys() - frames.names.keys():
            unmatched.add("mask without its frame", masks.names[number])
        for number in frames.names.keys() - masks.names.keys():
            unmatched.add("frame without a mask, not used", frames.names[number])
        yield from unmatched.skips
        keys = [f"{self.key}/{frames.names[number].rpartition('.')[0]}" for number in annotated]
        files = FrameFiles(self.root, frames.path, frames.names, decode)
        video = Video(self.key, self.video_id, files, annotated.__getitem__, keys.__getitem__)
        yield from self._read_samples(video, {t: masks.names[number] for t, number in enumerate(annotated)})

    def _read_samples(self, video: Video, names: Mapping[int, str]) -> Iterator[Record]:
        folder = f"{self.options.mask_folder}/{self.video_id}"
        found, lost = yield from read_label_masklets(
            self.root, folder, names, video.key_of, self.options.ignored, self.categories
        )
        masklets = {masklet.object_id: masklet for masklet in found}
        for object_id in self.categories or ():
            masklets.setdefault(object_id, Masklet(object_id, folder, {}))
        if not masklets and not lost:
            reason = f"no mask of the video has an object: all is 0, or {self.options.ignored}, which source.ignored leaves out"
            if self.categories is not None:
                reason += f", or none of the values is an object of the video in {self.options.meta}"
            yield Reject(self.key, folder, "mask", reason)
            return
        categories = self.categories or {}
        tracks = []
        for masklet in masklets.values():
            named = replace(masklet, category=categories.get(masklet.object_id, ""))
            tracks.append((yield from follow(named, video, self.options, lost)))
        yield from count_scaled(make_samples(video, tracks, self.options, len(names)))


class VosSource(IndexedSource[Options, str]):
    """Videos with label maps: one scene for each video that has masks, in the order of their names or of the list."""

    def __init__(self, root: RawPath, options: Options) -> None:
        super().__init__(root, options)
        self.dataset_type = options.dataset_type
        self.paired = options.take == "pairs"
        folders = (options.jpeg_folder, options.mask_folder)
        self._unread = LeftOut()
        self._videos = {folder: list_videos(root, folder, self._unread) for folder in folders}
        frames, masks = (self._videos[folder] for folder in folders)
        for video_id in frames[:1]:
            check_depth(root, folders[0], video_id, "jpeg_folder")
        if options.video_list:
            self._entries, self.rejects = read_video_ids(root, options.video_list, "vos", frozenset(frames))
        else:
            self._entries = sorted(set(frames) & set(masks))
            for video_id in set(frames) - set(masks):
                self._unread.add("video without masks", f"{folders[0]}/{video_id}")
            for video_id in set(masks) - set(frames):
                self._unread.add("masks of a video without frames", f"{folders[1]}/{video_id}")
            if not self._entries:
                raise SourceError(
                    f"no video has a folder in both {root / folders[0]} and {root / folders[1]}"
                    f"{describe_skips(self._unread.skips)}{CHECK_SOURCE}"
                )
        self._objects = _read_meta(root, options.meta) if options.meta else {}
        self.skips = self._unread.skips

    def _scene(self, entry: str) -> VosScene:
        return VosScene(f"vos/{entry}", self._root, entry, self._objects.get(entry), self._options)

    def fingerprint(self) -> dict[str, str]:
        """Return digests of the names of the videos' folders, and of the lists."""
        meta = self._options.meta if self._objects else ""
        digests = {folder: listing_digest(names) for folder, names in self._videos.items()}
        return digests | file_digests(self._root, self._options.video_list, meta)


def _read_meta(root: RawPath, name: str) -> dict[str, dict[str, str]]:
    """Return the class name of each object of each video, "" where it has none; nothing where there is no such file."""
    path = root / name
    if not is_file_there(path):
        return {}
    fault = 'lists no objects of videos as YouTube-VOS does: {}; set source.meta = "" to go without it'
    videos = read_index(path, MAX_META_BYTES, _Meta, fault).videos
    return {
        video_id: {
            object_id: entry.category if isinstance(entry.category, str) else ""
            for object_id, entry in video.objects.items()
        }
        for video_id, video in videos.items()
    }


def _describe(pictures: NumberedPictures, what: str) -> str:
    """Return how many pictures a folder has, and what they are called, in words."""
    names = list(pictures.names.values())
    if names:
        return f"{pictures.path} has {len(names)} {what}, {', '.join(names[:3])}"
    folders = f", but folders such as {pictures.folders[0]}" if pictures.folders else ""
    return f"{pictures.path} has no {what}{folders}"
