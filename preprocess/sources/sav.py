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
- Masks and frames go together by number, which is right only in the video that was annotated. Its number of frames, size
  and rate (`video_frame_count`, `video_height`, `video_width`, `video_duration`, any of which other tools leave out) are
  compared with the mp4's, and with the numbers of extracted frames; the val layout has only its masks' numbers. What was
  re-encoded at another rate, cut, turned or numbered anew is refused as a whole (preprocess/sources/files/footage.py). So is a
  folder whose extraction was broken off, since a copy at a lower rate leaves the same numbers; holes are no harm.
- Official files may have a frame or two more or less than their jsons say. That is counted; masks beyond the last frame
  are skipped, and frames without a mask are not used anyway.
- JPEGs extracted from an mp4 differ from its frames by their coding: 3.7 of 255 on average in the samples tried.

A sample is the same object in two annotated frames in which it is visible, a permitted gap apart. Of all such pairs
of an object, those with the smallest SHA-256 of "seed/video/object/t1/t2" are taken: a pair's rank depends on nothing
else, neither on the order of work nor on what else is in the folder. Only frames of pairs taken are decoded to RGB.
"""

import hashlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ...loader.format.errors import SourceError
from ...loader.format.layout import DatasetType
from ..decode.images import ImageDecoder, Picture, Size, decode_image
from ..errors import MisfitError, RecordError
from .base import SourceOptions
from .files.contents import check_text
from .files.folder_tree import list_tree, scan_folder
from .files.footage import FRAMES_PER_ANNOTATION, Footage, check_masks, describe_misfit
from .files.leftovers import ARCHIVE, LeftOut, archive_stem, describe_skips, suffix_of
from .files.mp4_frames import MISSING_DECODER, ExtractedFrames, Frames, VideoFile, can_decode_video
from .files.raw_files import RawPath, file_digest, is_folder_there, listing_digest, read_file
from .files.sav_masklets import Masklet, frame_key, read_folders, read_json
from .records import Frame, Mask, Pair, Record, Reject, Skip, encodable

_KINDS = {"manual": "_manual.json", "auto": "_auto.json", "mp4": ".mp4"}

MAX_LIST_BYTES = 1 << 24
"""Largest list of videos that is read."""


class Options(SourceOptions, frozen=True, kw_only=True):
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
    gaps: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=1)] = (1, 2, 4, 8)
    """How far apart the two frames of a pair may be, in annotated frames (1/6 s each)."""
    pairs_per_object: Annotated[int, msgspec.Meta(ge=1)] = 4
    """How many pairs of each object to take at most."""
    seed: int = 0
    """Which of the possible pairs are taken."""
    lone_frames: Literal["repeat", "skip"] = "repeat"
    """What becomes of an object visible in one frame only: that frame paired with itself, or left out."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """The pairs taken of one object."""

    masklet: Masklet
    sizes: dict[int, Size]
    """Size of each visible mask, by annotated frame."""
    pairs: tuple[tuple[int, int], ...]
    """Annotated frames."""


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
            yield from self._read_pairs(frames)

    def _read_pairs(self, frames: Frames) -> Iterator[Record]:
        choices = []
        for found in self._read_annotations(frames):
            if isinstance(found, Masklet):
                choices.append((yield from self._choose(found, frames)))
            else:
                yield found
        yield from self._read_frames(frames, choices)
        for choice in choices:
            for pair in choice.pairs:
                time1, time2 = (FRAMES_PER_ANNOTATION * t for t in pair)
                key1, key2 = (frame_key(self.key, t) for t in pair)
                yield Pair(choice.masklet.object_id, time1, time2, (key1, key2))

    def _open_frames(self, folder: str, decode: ImageDecoder) -> tuple[Frames, tuple[Skip, ...]]:
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

    def _read_annotations(self, frames: Frames) -> Iterator[Masklet | Reject | Skip]:
        """Yield the objects, up to an annotation that is of another video than the frames."""
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
            except RecordError as err:
                yield Reject.from_error(err, self.key, self._locate(f"_{kind}.json", path))

    def _choose(self, masklet: Masklet, frames: Frames) -> Generator[Record, None, _Choice]:
        """Return the pairs of an object to take; yield what speaks against it, or against some of its masks."""
        sizes: dict[int, Size] = {}
        beyond = lost = 0
        for t, decode in masklet.masks.items():
            key, number = f"{frame_key(self.key, t)}/{masklet.object_id}", FRAMES_PER_ANNOTATION * t
            try:
                mask = decode()
            except RecordError as err:
                lost += 1
                yield Reject.from_error(err, key, masklet.path_of(t))
                continue
            if mask.area and number in frames:
                sizes[t] = mask.size
            elif mask.area and number >= frames.length:
                beyond += 1
            elif mask.area:
                lost += 1
                reason = f"video frame {number} is not among the extracted frames"
                yield Reject(key, frames.path_of(number), "read", reason)
        if beyond:
            yield Skip("mask beyond the last frame", beyond)
        pairs = choose_pairs(sizes, f"{self.video_id}/{masklet.object_id}", self.options)
        if not sizes and not beyond and not lost:
            key, reason = f"{self.key}/{masklet.object_id}", "the object is absent in every frame"
            yield Reject(key, masklet.path, "mask", reason)
        elif len(sizes) == 1 and not pairs:
            yield Skip("object visible in one frame only")
        elif sizes and not pairs:
            yield Skip("object not visible in two frames a permitted gap apart")
        return _Choice(masklet, sizes, pairs)

    def _read_frames(self, frames: Frames, choices: Iterable[_Choice]) -> Iterator[Frame | Reject]:
        in_frame: dict[int, list[_Choice]] = {}
        for choice in choices:
            for t in {t for pair in choice.pairs for t in pair}:
                in_frame.setdefault(t, []).append(choice)
        expected: dict[int, Size | None] = {}
        for t, present in in_frame.items():
            # Where masks of a frame disagree, it is not known which are right: each is compared.
            sizes = {choice.sizes[t] for choice in present}
            expected[FRAMES_PER_ANNOTATION * t] = sizes.pop() if len(sizes) == 1 else None
        fitting: set[Size | None] = set()
        for number, path, picture in frames.read(expected):
            t = number // FRAMES_PER_ANNOTATION
            key = frame_key(self.key, t)
            if isinstance(picture, RecordError):
                masklet = in_frame[t][0].masklet
                # Frames of a video are of one size. Where masks of this size fit others, this picture is at fault.
                of_mask = isinstance(picture, MisfitError) and masklet.in_folder
                of_mask = of_mask and expected[number] not in fitting
                yield Reject.from_error(picture, key, masklet.path_of(t) if of_mask else path)
                continue
            fitting.add(expected[number])
            masks = []
            for masklet in (choice.masklet for choice in in_frame[t]):
                try:
                    masks.append(_read_mask(masklet, t, picture))
                except RecordError as err:
                    yield Reject.from_error(err, f"{key}/{masklet.object_id}", masklet.path_of(t))
            if masks:
                yield Frame(
                    key, path, picture.image, tuple(masks), number, picture.unsure_turn, picture.source
                )


def _read_mask(masklet: Masklet, t: int, picture: Picture) -> Mask:
    """Return an object's mask in annotated frame `t`, which must be of this picture, in any scale."""
    segmentation = masklet.masks[t]()
    height, width = picture.image.shape[:2]
    if reason := describe_misfit((height, width), segmentation.size):
        raise RecordError(f"the frame is {reason}", stage="mask")
    return Mask(masklet.object_id, segmentation, path=masklet.path_of(t))


def _kind_of(name: str) -> str:
    """Return what a file is that looks like data and is not read, "" of any other."""
    if archive_stem(name):
        return ARCHIVE
    suffix = suffix_of(name)
    if suffix in (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"):
        return "video whose name does not end in .mp4, not read"
    return "json that is called neither *_manual.json nor *_auto.json, not read" if suffix == ".json" else ""


def choose_pairs(visible: Iterable[int], name: str, options: Options) -> tuple[tuple[int, int], ...]:
    """Return the pairs of frames to take, of all that are a permitted gap apart, in ascending order.

    Args:
        visible: annotated frames in which the object is visible.
        name: the object, as "<video>/<object>".
        options: gaps, number of pairs and seed.
    """
    frames = set(visible)
    if options.lone_frames == "repeat" and len(frames) == 1:
        return tuple((t, t) for t in frames)
    pairs = [(t, t + gap) for t in frames for gap in set(options.gaps) if t + gap in frames]

    def rank(pair: tuple[int, int]) -> bytes:
        text = f"{options.seed}/{name}/{pair[0]}/{pair[1]}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

    return tuple(sorted(sorted(pairs, key=rank)[: options.pairs_per_object]))


class SavSource:
    """SA-V: one scene for each video, in the order of their ids, or of the list of the val layout."""

    dataset_type: DatasetType = "sav"
    paired = True

    def __init__(self, root: RawPath, options: Options) -> None:
        self._root = root
        self._options = options
        self.rejects: list[Reject] = []
        self._sizes: dict[str, int] = {}
        self._files: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
        self._names: dict[str, list[str]] = {}
        self._unread = LeftOut(_kind_of)
        jpegs = root / options.jpeg_folder
        if options.layout == "val":
            self._video_ids = self._read_list()
        else:
            self._find_files()
            self._video_ids = sorted(set().union(*self._files.values()))
            if not self._video_ids:
                # A link to a folder that was not followed, say.
                fault = "; ".join(f"{reject.path} is {reject.reason}" for reject in self.rejects[:1])
                raise SourceError(
                    f"no *_manual.json, *_auto.json or *.mp4 below {root}{describe_skips(self._unread.skips)}; "
                    f"check --root and layout{f' ({fault})' if fault else ''}"
                )
        self._count_unread()
        self.skips = self._unread.skips
        needs_decoder = options.frames == "mp4" or (
            options.frames == "auto" and not is_folder_there(jpegs) and bool(self._files["mp4"])
        )
        if needs_decoder and not can_decode_video():
            raise SourceError(MISSING_DECODER)

    def __len__(self) -> int:
        return len(self._video_ids)

    def __getitem__(self, index: int) -> SavScene:
        video_id = self._video_ids[index]
        annotations: tuple[tuple[str, str], ...]
        if self._options.layout == "val":
            annotations = (("folder", f"{self._options.mask_folder}/{video_id}"),)
        else:
            chosen = self._options.annotations
            kinds = ("manual", "auto") if chosen == "both" else (chosen,)
            annotations = tuple((kind, self._files[kind].get(video_id, "")) for kind in kinds)
        mp4 = self._files["mp4"].get(video_id, "")
        return SavScene(f"sav/{video_id}", self._root, video_id, annotations, mp4, self._options)

    def fingerprint(self) -> dict[str, str]:
        """Return digests of names and sizes of the annotations and videos, and of the names of frame folders."""
        digests: dict[str, str] = {}
        try:
            if self._options.layout == "val":
                digests[self._options.video_list] = file_digest(self._root / self._options.video_list)
            else:
                digests["files"] = listing_digest(f"{path} {size}" for path, size in self._sizes.items())
            for folder in (self._options.jpeg_folder, self._options.mask_folder):
                if (self._root / folder).is_dir():
                    digests[folder] = listing_digest(self._list(folder))
        except OSError as err:
            raise SourceError(f"can't list {err.filename}: {err.strerror}") from err
        return digests

    def _list(self, folder: str) -> list[str]:
        """Return the sorted names in a folder below the root, which is listed once."""
        if folder not in self._names:
            self._names[folder] = sorted(entry.name for entry in scan_folder(self._root / folder))
        return self._names[folder]

    def _count_unread(self) -> None:
        """Count the folders of frames and of masks that belong to no video."""
        known = set(self._video_ids)
        for folder in (self._options.jpeg_folder, self._options.mask_folder):
            try:
                names = self._list(folder) if (self._root / folder).is_dir() else []
            except OSError:
                # The fingerprint says so.
                continue
            for name in names:
                path = encodable(f"{folder}/{name}")
                if not self._unread.look_at(name, path) and name not in known:
                    self._unread.add(f"entry of {folder} that belongs to no video here, not read", path)

    def _read_list(self) -> list[str]:
        name = self._options.video_list
        try:
            content = read_file(self._root / name, MAX_LIST_BYTES)
            check_text(content)
            lines = content.decode("utf-8-sig").split()
        except (RecordError, UnicodeDecodeError) as err:
            raise SourceError(f"can't read {self._root / name}: {err}; check --root and video_list") from err
        video_ids = dict.fromkeys(lines)
        for video_id in list(video_ids):
            if video_id == ".." or Path(video_id).name != video_id:
                del video_ids[video_id]
                reason = f"{video_id!r} is no video id: expected the name of a folder"
                self.rejects.append(Reject(f"sav/{video_id}", name, "index", reason))
        return list(video_ids)

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
