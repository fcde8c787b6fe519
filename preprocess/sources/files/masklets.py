"""Objects through a video, and the samples that are made of them: pairs of frames, or frames one by one.

Two counts go through a video: its frames, by their numbers, and those that are annotated, by t. Gaps and steps are of
annotated frames, names and times of all.

A pair is the same object in two annotated frames in which it is visible, a permitted gap apart. Of all such pairs of an
object, those with the smallest SHA-256 of "seed/video/object/t1/t2" are taken: a pair's rank depends on nothing else,
neither on the order of work nor on what else is in the folder.

An object's masks are read by its source, or are the pixels of its value in label maps, a file for each annotated frame.

Where frames are taken one by one, those without anybody belong to the video as well. One of which a mask is a reject is
left out as a whole: in a clip that object would be taken for absent.
"""

import hashlib
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ...decode.images import Picture, Size, describe_misfit
from ...decode.labels import decode_labels, split_labels
from ...decode.segmentation import Rle
from ...errors import MisfitError, RecordError, SegmentationError
from ..options import VideoOptions
from ..records import Frame, Mask, Pair, Record, Reject, Skip
from .raw_files import RawPath, read_file, resolve_inside
from .video_frames import Frames


@dataclass(frozen=True, slots=True)
class Masklet:
    """One object through a video."""

    object_id: str
    path: str
    """What holds its masks, a file or a folder, relative to the root."""
    masks: Mapping[int, Callable[[], Rle]]
    """What gives the mask, by annotated frame; a frame where the object is absent may have none, or an empty one."""
    files: Mapping[int, str] = field(default_factory=dict)
    """The file of each mask, relative to the root, where each frame has one of its own."""
    category: str = ""
    expressions: tuple[str, ...] = ()

    def path_of(self, t: int) -> str:
        """Return the file that holds the mask of annotated frame `t`, relative to the root."""
        return self.files.get(t, self.path)


@dataclass(frozen=True, slots=True)
class Video:
    """One video, with what its annotated frames are called."""

    key: str
    """The scene's, such as "sav/sav_000001"."""
    name: str
    """By which its pairs are ranked."""
    frames: Frames
    number_of: Callable[[int], int]
    """Gives the number of annotated frame t."""
    key_of: Callable[[int], str]
    """Gives the key of annotated frame t."""


@dataclass(frozen=True, slots=True)
class Track:
    """An object as far as its masks can be used."""

    masklet: Masklet
    sizes: Mapping[int, Size]
    """Size of each visible mask, by annotated frame."""
    lost: frozenset[int] = frozenset()
    """Annotated frames in which it can't be told, or not be used, where the object is."""
    pairs: tuple[tuple[int, int], ...] = ()
    """Annotated frames of the pairs to make."""


def read_label_masklets(
    root: RawPath,
    folder: str,
    names: Mapping[int, str],
    key_of: Callable[[int], str],
    ignored: int,
    known: Collection[str] | None = None,
) -> Generator[Reject | Skip, None, tuple[list[Masklet], frozenset[int]]]:
    """Return the objects of a video in the order of their values, and the annotated frames whose file can't be used.

    What speaks against files, and which values are no object's, is yielded. By t, `names` has the file of each annotated
    frame in `folder`, and `key_of` gives its key. `known` are the ids of the objects that there are, None where nothing says so.
    """
    masks: dict[int, dict[int, Rle]] = {}
    lost = set()
    num_ignored = num_unknown = 0
    for t, name in names.items():
        path = f"{folder}/{name}"
        try:
            regions = split_labels(decode_labels(read_file(resolve_inside(root, path)), ignored))
        except RecordError as err:
            lost.add(t)
            yield Reject.from_error(err, key_of(t), path)
            continue
        num_ignored += regions.pop(ignored, None) is not None
        for value, region in regions.items():
            if known is None or str(value) in known:
                masks.setdefault(value, {})[t] = region
            else:
                num_unknown += 1
    if num_ignored:
        yield Skip(f"mask with pixels of the value {ignored}, which are ignored", num_ignored)
    if num_unknown:
        yield Skip("value in a mask that no listed object has", num_unknown)
    masklets = []
    for value, of_object in sorted(masks.items()):
        regions_of = {t: partial(_given, region) for t, region in of_object.items()}
        files = {t: f"{folder}/{names[t]}" for t in of_object}
        masklets.append(Masklet(str(value), folder, regions_of, files))
    return masklets, frozenset(lost)


def follow(
    masklet: Masklet, video: Video, sampling: VideoOptions, unread: Iterable[int] = ()
) -> Generator[Record, None, Track]:
    """Return an object of a video with what to make of it; yield what speaks against it, or against some of its masks.

    Of the annotated frames `unread` it is not known where the object is.
    """
    sizes: dict[int, Size] = {}
    lost = set(unread)
    beyond = 0
    for t, decode in masklet.masks.items():
        key, number = f"{video.key_of(t)}/{masklet.object_id}", video.number_of(t)
        try:
            mask = decode()
        except RecordError as err:
            lost.add(t)
            yield Reject.from_error(err, key, masklet.path_of(t))
            continue
        if mask.area and number in video.frames:
            sizes[t] = mask.size
        elif mask.area and number >= video.frames.length:
            beyond += 1
        elif mask.area:
            lost.add(t)
            reason = f"video frame {number} is not among the extracted frames"
            yield Reject(key, video.frames.path_of(number), "read", reason)
    if beyond:
        yield Skip("mask beyond the last frame", beyond)
    wants_pairs = sampling.take == "pairs"
    pairs = choose_pairs(sizes, f"{video.name}/{masklet.object_id}", sampling) if wants_pairs else ()
    if not sizes and not beyond and not lost:
        key, reason = f"{video.key}/{masklet.object_id}", "the object is absent in every frame"
        yield Reject(key, masklet.path, "mask", reason)
    elif wants_pairs and len(sizes) == 1 and not pairs:
        yield Skip("object visible in one frame only")
    elif wants_pairs and sizes and not pairs:
        yield Skip("object not visible in two frames a permitted gap apart")
    return Track(masklet, sizes, frozenset(lost), pairs)


def make_samples(
    video: Video, tracks: Sequence[Track], sampling: VideoOptions, num_annotated: int
) -> Iterator[Record]:
    """Yield the frames to take of all that are annotated, each with the masks that its samples need, then the pairs."""
    in_frame: dict[int, list[Track]] = {}
    if sampling.take == "pairs":
        for track in tracks:
            for t in {t for pair in track.pairs for t in pair}:
                in_frame.setdefault(t, []).append(track)
        yield from _read_frames(video, in_frame, one_by_one=False)
    else:
        step = 1 if sampling.take == "all" else sampling.take
        there = [t for t in range(0, num_annotated, step) if video.number_of(t) in video.frames]
        whole = [t for t in there if not any(t in track.lost for track in tracks)]
        if len(whole) < len(there):
            yield Skip(_LOST, len(there) - len(whole))
        in_frame = {t: [track for track in tracks if t in track.sizes] for t in whole}
        yield from _read_frames(video, in_frame, one_by_one=True)
    for track in tracks:
        for pair in track.pairs:
            time1, time2 = (video.number_of(t) for t in pair)
            key1, key2 = (video.key_of(t) for t in pair)
            yield Pair(track.masklet.object_id, time1, time2, (key1, key2))


def choose_pairs(visible: Iterable[int], name: str, sampling: VideoOptions) -> tuple[tuple[int, int], ...]:
    """Return the pairs of annotated frames to take, of all `visible` ones a permitted gap apart, in ascending order.

    `name` is the object's, as "<video>/<object>".
    """
    frames = set(visible)
    if sampling.lone_frames == "repeat" and len(frames) == 1:
        return tuple((t, t) for t in frames)
    pairs = [(t, t + gap) for t in frames for gap in set(sampling.gaps) if t + gap in frames]

    def rank(pair: tuple[int, int]) -> bytes:
        text = f"{sampling.seed}/{name}/{pair[0]}/{pair[1]}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()

    return tuple(sorted(sorted(pairs, key=rank)[: sampling.pairs_per_object]))


_LOST = "annotated frame left out, since a mask of it is a reject"


def _read_frames(
    video: Video, in_frame: Mapping[int, Sequence[Track]], *, one_by_one: bool
) -> Iterator[Frame | Reject | Skip]:
    expected: dict[int, Size | None] = {}
    annotated = {video.number_of(t): t for t in in_frame}
    for t, present in in_frame.items():
        # Where masks of a frame disagree, it is not known which are right: each is compared.
        sizes = {track.sizes[t] for track in present}
        expected[video.number_of(t)] = sizes.pop() if len(sizes) == 1 else None
    fitting: set[Size | None] = set()
    for number, path, picture in video.frames.read(expected):
        t = annotated[number]
        key, masklets = video.key_of(t), [track.masklet for track in in_frame[t]]
        if isinstance(picture, RecordError):
            # Frames of a video are of one size. Where masks of this size fit others, this picture is at fault.
            of_mask = isinstance(picture, MisfitError) and bool(masklets[0].files)
            of_mask = of_mask and expected[number] not in fitting
            yield Reject.from_error(picture, key, masklets[0].path_of(t) if of_mask else path)
            continue
        fitting.add(expected[number])
        masks = []
        for masklet in masklets:
            try:
                masks.append(_read_mask(masklet, t, picture))
            except RecordError as err:
                yield Reject.from_error(err, f"{key}/{masklet.object_id}", masklet.path_of(t))
        if one_by_one and len(masks) < len(masklets):
            yield Skip(_LOST)
        elif masks or one_by_one:
            image, source = picture.image, picture.source
            yield Frame(key, path, image, tuple(masks), number, picture.unsure_turn, source, one_by_one)


def _read_mask(masklet: Masklet, t: int, picture: Picture) -> Mask:
    """Return an object's mask in annotated frame `t`, which must be of this picture, in any scale."""
    segmentation = masklet.masks[t]()
    height, width = picture.image.shape[:2]
    if reason := describe_misfit((height, width), segmentation.size):
        raise SegmentationError(f"the frame is {reason}")
    return Mask(
        masklet.object_id, segmentation, masklet.category, masklet.expressions, path=masklet.path_of(t)
    )


def _given(region: Rle) -> Rle:
    return region
