"""SA-V (https://ai.meta.com/datasets/segment-anything-video; CC BY 4.0): objects followed through videos.

Train, at any depth of folders (a doubled `sav_000/sav_train/sav_000` occurs)::

    sav_000/sav_000001.mp4                      24 frames a second
    sav_000/sav_000001_manual.json              {"masklet": [annotated frame][object] -> RLE, "masklet_id": [0, 1]}
    sav_000/sav_000001_auto.json                the same, made by a model; some videos have none
    JPEGImages_24fps/sav_000001/00004.jpg       frames, where extracted: every 4th, or all of them

Val and test::

    sav_val.txt                                 one video id a line
    JPEGImages_24fps/sav_091001/00004.jpg       all frames
    Annotations_6fps/sav_091001/000/00004.png   one folder for each object, 0 and one other value

- Annotated frame t is video frame 4 t. File names, keys and `Frame.time` count video frames; options count annotated
  ones.
- An absent object is a mask without foreground, a null, a shorter list, a missing file or a missing folder. A json that
  annotates fewer frames than every 4th is counted, one that annotates more is refused.
- Objects overlap. Manual and automatic ids both begin at 0, so object ids are "manual-0" and "auto-0".
- `video_frame_count`, `video_height`, `video_width` and `video_duration`, any of which other tools leave out, are compared with
  the frames that are there, and a video that is not the annotated one is refused as a whole
  (preprocess/sources/files/footage.py); the val layout has only its masks' numbers.
- Masks beyond the last frame are skipped and counted, and frames without a mask are not used.
- JPEGs extracted from an mp4 differ from its frames by their coding: 3.7 of 255 on average in the samples tried.

A sample is the same object in two annotated frames, or one frame: preprocess/sources/files/masklets.py. Only frames of
samples are decoded to RGB.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from ...loader.format.errors import SourceError
from ...loader.format.layout import DatasetType
from ..decode.images import ImageDecoder, decode_image
from ..errors import RecordError
from .base import IndexedSource
from .files.folder_tree import list_folder, list_tree
from .files.footage import FRAMES_PER_ANNOTATION, Footage, check_masks, num_annotated
from .files.leftovers import LeftOut, describe_skips
from .files.masklets import Masklet, Video, follow, make_samples
from .files.name_lists import read_video_ids
from .files.raw_files import CHECK_SOURCE, RawPath, file_digests, is_folder_there, listing_digest
from .files.sav_masklets import frame_key, read_folders, read_json
from .files.video_frames import MISSING_DECODER, ExtractedFrames, VideoFile, VideoFrames, can_decode_video
from .options import SourceOptions, VideoOptions
from .records import Record, Reject, Skip

_KINDS = {"manual": "_manual.json", "auto": "_auto.json", "mp4": ".mp4"}


_UNREAD = {
    **dict.fromkeys(
        (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"), "video whose name does not end in .mp4, not read"
    ),
    ".json": "json that is called neither *_manual.json nor *_auto.json, not read",
}


class Options(VideoOptions, frozen=True, kw_only=True):
    """Options of `[source]` for SA-V."""

    layout: Literal["train", "val"] = "train"
    """"train" has a json for each video; "val", also the test split's, has folders of PNG masks."""
    annotations: Literal["manual", "auto", "both"] = "manual"
    """Which masklets of the train layout to use."""
    frames: Literal["auto", "jpeg", "mp4"] = "auto"
    """Where frames come from; "auto" takes extracted ones where a video has them, else its mp4."""
    jpeg_folder: str = "JPEGImages_24fps"
    """The folder of extracted frames, relative to the root."""
    mask_folder: str = "Annotations_6fps"
    """The folder of PNG masks of the val layout, relative to the root."""
    video_list: str = "sav_val.txt"
    """The list of video ids of the val layout, relative to the root."""

    later: ClassVar[frozenset[str]] = SourceOptions.later | {"take"}

    def attributes(self) -> dict[str, Any]:
        """Return the options as they stand in a store's job: there, those of all videos follow SA-V's own."""
        described = super().attributes()
        for name in ("gaps", "pairs_per_object", "seed", "lone_frames", "take"):
            if name in described:
                described[name] = described.pop(name)
        return described


@dataclass(frozen=True, slots=True)
class SavScene:
    """One video."""

    key: str
    root: RawPath
    video_id: str
    annotations: tuple[tuple[str, str], ...]
    """Kind ("manual", "auto", "folder") and path relative to the root, "" where there is none."""
    mp4: str
    """The video, relative to the root; "" where there is none."""
    options: Options

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield the frames of the pairs taken, each with the masks that its pairs need, then the pairs."""
        folder = f"{self.options.jpeg_folder}/{self.video_id}"
        try:
            frames, skips = self._open_frames(folder, decode)
        except RecordError as err:
            needs_folder = self.options.frames == "jpeg" or (self.options.frames == "auto" and not self.mp4)
            yield Reject.from_error(err, self.key, folder if needs_folder else self._locate(".mp4", self.mp4))
            return
        with closing(frames):
            yield from skips
            yield from self._read_samples(frames)

    def _read_samples(self, frames: VideoFrames) -> Iterator[Record]:
        key_of = partial(frame_key, self.key)
        video = Video(self.key, self.video_id, frames, lambda t: FRAMES_PER_ANNOTATION * t, key_of)
        tracks = []
        count = 0
        for found in self._read_annotations(frames):
            if isinstance(found, Masklet):
                tracks.append((yield from follow(found, video, self.options)))
            elif isinstance(found, Footage):
                count = max(count, found.part or num_annotated(frames.length))
            else:
                yield found
        yield from make_samples(video, tracks, self.options, count)

    def _open_frames(self, folder: str, decode: ImageDecoder) -> tuple[VideoFrames, tuple[Skip, ...]]:
        """Return the frames, and what lies in their folder and is not read."""
        skips: tuple[Skip, ...] = ()
        if self.options.frames != "mp4":
            try:
                extracted = ExtractedFrames(self.root, folder, decode)
                skips = extracted.skips
                extracted.check_not_empty()
                return extracted, skips
            except RecordError:
                if self.options.frames == "jpeg" or not self.mp4:
                    raise
        if not self.mp4:
            raise RecordError(f"{self.video_id}.mp4 is missing")
        return VideoFile(self.root, self.mp4), skips

    def _locate(self, suffix: str, path: str) -> str:
        """Return the path of the video's file of this suffix; where there is none, beside the others it has."""
        others = [self.mp4, *(annotation for _, annotation in self.annotations)]
        folder = next((other.rpartition("/")[0] for other in others if other), "")
        return path or f"{folder}/{self.video_id}{suffix}".removeprefix("/")

    def _read_annotations(self, frames: VideoFrames) -> Iterator[Footage | Masklet | Reject | Skip]:
        """Yield what annotations say of the video, and objects, up to one that is of another video than the frames."""
        for kind, path in self.annotations:
            records: Iterator[Footage | Masklet | Reject | Skip]
            try:
                if kind == "folder":
                    records = read_folders(self.root, path, self.key)
                elif path:
                    records = read_json(self.root, path, kind, self.key)
                elif kind == "auto":
                    yield Skip("video without automatic annotation")
                    continue
                else:
                    raise RecordError(f"{self.video_id}_{kind}.json is missing")
                for record in records:
                    if not isinstance(record, Footage):
                        yield record
                        continue
                    check_masks(record, frames.length)
                    try:
                        is_exact = frames.compare(record)
                    except RecordError as err:
                        yield Reject.from_error(err, self.key, frames.path)
                        return
                    if not is_exact:
                        yield Skip("video of a frame or two more or less than its annotation says")
                    yield record
            except RecordError as err:
                yield Reject.from_error(err, self.key, self._locate(f"_{kind}.json", path))


class SavSource(IndexedSource[Options, str]):
    """SA-V: one scene for each video, in the order of their ids, or of the list of the val layout."""

    dataset_type: DatasetType = "sav"

    def __init__(self, root: RawPath, options: Options) -> None:
        super().__init__(root, options)
        self.paired = options.take == "pairs"
        self._sizes: dict[str, int] = {}
        self._files: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
        self._unread = LeftOut(_UNREAD)
        if options.layout == "val":
            self._entries, self.rejects = read_video_ids(root, options.video_list, "sav")
        else:
            self._find_files()
            self._entries = sorted(set().union(*self._files.values()))
            if not self._entries:
                # A link to a folder that was not followed, say.
                fault = "; ".join(f"{reject.path} is {reject.reason}" for reject in self.rejects[:1])
                raise SourceError(
                    f"no *_manual.json, *_auto.json or *.mp4 below {root}{describe_skips(self._unread.skips)}; "
                    f"check --root and layout{f' ({fault})' if fault else ''}"
                )
        self._folders = self._list_folders()
        self.skips = self._unread.skips
        has_jpegs = options.jpeg_folder in self._folders
        from_mp4 = options.frames == "auto" and not has_jpegs and self._files["mp4"]
        if (options.frames == "mp4" or from_mp4) and not can_decode_video():
            raise SourceError(MISSING_DECODER)

    def _scene(self, entry: str) -> SavScene:
        annotations: tuple[tuple[str, str], ...]
        if self._options.layout == "val":
            annotations = (("folder", f"{self._options.mask_folder}/{entry}"),)
        else:
            chosen = self._options.annotations
            kinds = ("manual", "auto") if chosen == "both" else (chosen,)
            annotations = tuple((kind, self._files[kind].get(entry, "")) for kind in kinds)
        mp4 = self._files["mp4"].get(entry, "")
        return SavScene(f"sav/{entry}", self._root, entry, annotations, mp4, self._options)

    def fingerprint(self) -> dict[str, str]:
        """Return digests of names and sizes of the annotations and videos, and of the names of frame folders."""
        if self._options.layout == "val":
            digests = file_digests(self._root, self._options.video_list)
        else:
            digests = {"files": listing_digest(f"{path} {size}" for path, size in self._sizes.items())}
        return digests | {folder: listing_digest(names) for folder, names in self._folders.items()}

    def _list_folders(self) -> dict[str, list[str]]:
        """Return the names in the folders of frames and of masks, where they are, and count those that belong to no video."""
        known, listed = set(self._entries), {}
        for folder in (self._options.jpeg_folder, self._options.mask_folder):
            if not is_folder_there(self._root / folder):
                continue
            try:
                listed[folder] = [entry.name for entry in list_folder(self._root / folder)]
            except RecordError as err:
                raise SourceError(f"{self._root / folder}: {err}{CHECK_SOURCE}") from err
            for name in listed[folder]:
                path = f"{folder}/{name}"
                if not self._unread.look_at(name, path) and name not in known:
                    self._unread.add(f"entry of {folder} that belongs to no video here, not read", path)
        return listed

    def _find_files(self) -> None:
        """Note the train layout's files; where two have one name, the first counts, in the order of the paths."""
        folders = (self._options.jpeg_folder, self._options.mask_folder)
        self._sizes, self.rejects = list_tree(
            self._root, tuple(_KINDS.values()), "sav", self._unread, folders
        )
        for path in self._sizes:
            name = path.rpartition("/")[2]
            kind = next(kind for kind, suffix in _KINDS.items() if name.endswith(suffix))
            video_id = name.removesuffix(_KINDS[kind])
            first = self._files[kind].setdefault(video_id, path)
            if first != path:
                reason = f"the video has a file of this name already, {first}"
                self.rejects.append(Reject(f"sav/{video_id}", path, "index", reason))
