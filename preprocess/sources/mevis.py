"""Expressions about objects of videos: MeViS, ReVOS, LV-VIS in their layout, and Ref-YouTube-VOS.

::

    meta_expressions.json               parsed by `preprocess.sources.files.video_expressions`
    mask_dict.json                      {"27": [{"size": [720, 1280], "counts": "..."}, null, ...]}, a mask a listed frame
    JPEGImages/0ab4afe7fb46/00000.jpg

    Annotations/003234408d/00000.png    label maps instead, where there is no mask_dict.json: Ref-YouTube-VOS

- Mask t of an annotation is of frame t of its video, the names sorted. An annotation of more or fewer masks than its video
  lists frames is a reject: which is of which is not known. null is an absent object.
- An object is what expressions are about: annotation "27", or "27" and "31" together, "27+31", whose mask is the union.
  Annotations that nothing is said about are not read.
- Expressions of annotations that are not there are rejects. Those of nothing in the video (MeViS of 2024 has 3,503), and
  those that do not say, are left out and counted; so are frames without a picture, and pictures that are no listed frame.
- mask_dict.json has some gigabytes and stays text until a video is read.

A sample is the same object in two annotated frames, or one frame: preprocess/sources/files/masklets.py.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from ...loader.format.errors import SourceError
from ...loader.format.layout import DatasetType
from ..decode.images import ImageDecoder, decode_image
from ..decode.labels import IGNORED
from ..decode.segmentation import Rle, parse_rle, unite
from ..errors import RecordError, SegmentationError
from .base import IndexedSource
from .files.json_files import JSON_ERRORS, decode_mask, read_index
from .files.leftovers import LeftOut
from .files.mask_sizes import count_scaled
from .files.masklets import Masklet, Video, follow, make_samples, read_label_masklets
from .files.picture_folders import list_pictures, list_videos, number_of
from .files.raw_files import (
    CHECK_SOURCE,
    RawPath,
    file_digests,
    is_file_there,
    is_folder_there,
    listing_digest,
)
from .files.video_expressions import ListedVideo, Target, VideoExpressions
from .files.video_frames import FrameFiles
from .options import VideoOptions
from .records import Record, Reject

MAX_MASKS_BYTES = 1 << 34
"""Largest file of masks that is read, several times the largest published one."""


class Options(VideoOptions, frozen=True, kw_only=True):
    """Options of `[source]` for expressions about videos. Paths are relative to the root."""

    expressions: str = "meta_expressions.json"
    """The file of videos and expressions."""
    mask_dict: str = "mask_dict.json"
    """The file of run lengths; where it is not there, or "", masks are label maps."""
    jpeg_folder: str = "JPEGImages"
    """The folder of the videos' folders of frames."""
    mask_folder: str = "Annotations"
    """The folder of their folders of label maps."""
    dataset_type: DatasetType = "mevis"
    """What `dataset_type` is in a batch."""


@dataclass(frozen=True, slots=True)
class MevisScene:
    """One video with what is said about its objects."""

    key: str
    root: RawPath
    video_id: str
    listed: ListedVideo
    masks: Mapping[str, bytes] | None
    """A list of run lengths for each annotation, as JSON; None where masks are label maps."""
    options: Options

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield the frames of samples, each with the masks that they need, then the pairs."""
        folder = f"{self.options.jpeg_folder}/{self.video_id}"
        try:
            pictures = list_pictures(self.root, folder, self.key)
        except RecordError as err:
            yield Reject.from_error(err, self.key, folder)
            return
        numbers = [number for frame in self.listed.frames if (number := number_of(frame)) is not None]
        for number in pictures.names.keys() - set(numbers):
            pictures.unread.add("picture that is no listed frame", pictures.names[number])
        for number, frame in zip(numbers, self.listed.frames, strict=True):
            if number not in pictures.names:
                pictures.unread.add("listed frame without a picture", frame)
        yield from pictures.rejects
        yield from pictures.unread.skips
        if not set(numbers) & pictures.names.keys():
            reason = f"none of the {len(numbers)} listed frames, {', '.join(self.listed.frames[:3])}, has a picture"
            yield Reject(self.key, folder, "read", reason)
            return
        keys = [f"{self.key}/{frame}" for frame in self.listed.frames]
        files = FrameFiles(self.root, folder, pictures.names, decode)
        video = Video(self.key, self.video_id, files, numbers.__getitem__, keys.__getitem__)
        there = {t: number for t, number in enumerate(numbers) if number in pictures.names}
        objects, lost = yield from (
            self._read_labels(video, there) if self.masks is None else self._read_runs(there)
        )
        tracks = []
        for target in self.listed.targets:
            if absent := [member for member in target.members if member not in objects]:
                if self.masks is None and len(lost) < len(there):
                    named = ", ".join(absent)
                    reason = f"expressions are of object {named}, which no mask has that could be read"
                    path = self.options.expressions
                    yield Reject(f"{self.key}/{target.object_id}", path, "index", reason)
                continue
            masklet = _join(target, [objects[member] for member in target.members])
            tracks.append((yield from follow(masklet, video, self.options, lost)))
        yield from count_scaled(make_samples(video, tracks, self.options, len(numbers)))

    def _read_runs(
        self, there: Mapping[int, int]
    ) -> Generator[Record, None, tuple[dict[str, Masklet], frozenset[int]]]:
        """Return the annotations by their ids, with the masks of frames that have a picture; yield what can't be used."""
        objects = {}
        path = self.options.mask_dict
        for member, encoded in (self.masks or {}).items():
            try:
                runs = self._list_runs(member, encoded)
            except SegmentationError as err:
                yield Reject.from_error(err, f"{self.key}/{member}", path)
            else:
                masks = {t: partial(_parse, runs[t]) for t in there if bytes(runs[t]) not in (b"null", b"{}")}
                objects[member] = Masklet(member, path, masks)
        return objects, frozenset()

    def _list_runs(self, member: str, encoded: bytes) -> list[msgspec.Raw]:
        try:
            runs = msgspec.json.decode(encoded, type=list[msgspec.Raw])
        except JSON_ERRORS as err:
            raise SegmentationError(f"annotation {member} is no list of masks: {err}") from err
        if len(runs) != len(self.listed.frames):
            raise SegmentationError(
                f"annotation {member} has {len(runs)} masks, its video {len(self.listed.frames)} listed frames: which "
                "is of which is not known"
            )
        return runs

    def _read_labels(
        self, video: Video, there: Mapping[int, int]
    ) -> Generator[Record, None, tuple[dict[str, Masklet], frozenset[int]]]:
        """Return the objects by their values; yield what speaks against label maps, and which frames have none."""
        folder = f"{self.options.mask_folder}/{self.video_id}"
        try:
            maps = list_pictures(self.root, folder, self.key)
        except RecordError as err:
            yield Reject.from_error(err, self.key, folder)
            return {}, frozenset(there)
        for number in maps.names.keys() - set(there.values()):
            maps.unread.add("mask without its frame", maps.names[number])
        for t, number in there.items():
            if number not in maps.names:
                maps.unread.add("listed frame without a mask", self.listed.frames[t])
        yield from maps.rejects
        yield from maps.unread.skips
        names = {t: maps.names[number] for t, number in there.items() if number in maps.names}
        found, lost = yield from read_label_masklets(self.root, folder, names, video.key_of, IGNORED)
        # Of a listed frame without a label map it is not known where objects are.
        return {masklet.object_id: masklet for masklet in found}, lost | (there.keys() - names.keys())


class MevisSource(IndexedSource[Options, str]):
    """Expressions about videos: one scene for each video that has one, in the order of their names."""

    def __init__(self, root: RawPath, options: Options) -> None:
        super().__init__(root, options)
        self.dataset_type = options.dataset_type
        self.paired = options.take == "pairs"
        self._masks = _read_mask_dict(root, options.mask_dict)
        said = VideoExpressions(root, options.expressions, "mevis", self._masks)
        if self._masks is None and not is_folder_there(root / options.mask_folder):
            places = [place for place in (options.mask_dict, options.mask_folder) if place]
            raise SourceError(
                f"{root} has no masks, since there is no {' and no '.join(places)}{CHECK_SOURCE}"
            )
        self._videos = said.videos
        self._entries = list(said.videos)
        self.rejects = said.rejects
        # Once those were objects of their own: a store that was begun then is not finished now.
        self._rules = {"objects named in another order": "are the same"} if said.has_reordered else {}
        unread = LeftOut()
        self._folders = list_videos(root, options.jpeg_folder, unread)
        for name in set(self._folders) - {video_id.partition("/")[0] for video_id in self._entries}:
            unread.add("video without an expression", f"{options.jpeg_folder}/{name}")
        self.skips = (*said.unread.skips, *unread.skips)

    def _scene(self, entry: str) -> MevisScene:
        listed = self._videos[entry]
        members = dict.fromkeys(member for target in listed.targets for member in target.members)
        masks = None if self._masks is None else {member: bytes(self._masks[member]) for member in members}
        return MevisScene(f"mevis/{entry}", self._root, entry, listed, masks, self._options)

    def fingerprint(self) -> dict[str, str]:
        """Return digests of the expressions, of the masks where they are in a file, and of the names of the videos' folders.

        And what became of objects that are named in several orders, where there are such.
        """
        masks = "" if self._masks is None else self._options.mask_dict
        digests = file_digests(self._root, self._options.expressions, masks)
        return digests | {self._options.jpeg_folder: listing_digest(self._folders)} | self._rules


def _read_mask_dict(root: RawPath, name: str) -> dict[str, msgspec.Raw] | None:
    """Return the run lengths of each annotation as JSON; None where there is no such file."""
    path = root / name
    if not name or not is_file_there(path):
        return None
    fault = "has no list of masks for each annotation: {}"
    return read_index(path, MAX_MASKS_BYTES, dict[str, msgspec.Raw], fault)


def _join(target: Target, objects: list[Masklet]) -> Masklet:
    """Return objects as one, with what is said about it."""
    if len(objects) == 1:
        return replace(objects[0], expressions=target.phrases)
    frames = sorted({t for each in objects for t in each.masks})
    masks = {t: partial(_unite, [each.masks[t] for each in objects if t in each.masks]) for t in frames}
    files = {t: path for each in objects for t, path in each.files.items()}
    return Masklet(target.object_id, objects[0].path, masks, files, expressions=target.phrases)


def _unite(masks: list[Callable[[], Rle]]) -> Rle:
    return unite([mask() for mask in masks])


def _parse(encoded: msgspec.Raw) -> Rle:
    return parse_rle(decode_mask(encoded, "run lengths are"))
