"""Frames of a video by number: picture files, or an mp4 decoded in one pass.

Extracted files and mp4s number frames as the decoder puts them out, from 0, as OpenCV and the official extraction script do.

An mp4 is decoded so that damage can't shift the numbers: the decoder is told to stop at the first error instead of
hiding it, since a frame that it drops would move every later mask onto the wrong frame. Pixels of an mp4 and of
JPEGs extracted from it differ a little, by the JPEG coding; a conversion should use one of the two throughout.
The header may drop frames, too (an edit list, which damage can also give that meaning), and times may be out of order:
from there on no frame is used. Nor is a header's number of frames believed: packets are counted, which decodes nothing.
"""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ...decode.images import MAX_IMAGE_PIXELS, ImageDecoder, Picture, Size, describe_misfit
from ...errors import DecodeError, MisfitError, RecordError
from ...remote.local_copies import local_file
from .folder_tree import list_folder
from .footage import Footage, check_frames, check_video, has_usual_difference
from .leftovers import LeftOut, describe_skips
from .picture_folders import IMAGE_SUFFIXES
from .raw_files import (
    HEAD_BYTES,
    RawPath,
    check_content,
    check_file,
    read_file,
    resolve_inside,
    stop_where_limited,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

MISSING_DECODER = "decoding mp4 needs PyAV: pip install resizeonce[video], or extract the frames"

_FRAME_NAME = re.compile(r"[0-9]{5,9}\.jpg")

MAX_FRAMES = 1 << 20
"""Most frames of an mp4 that are counted: twelve hours."""

_DECODER_OPTIONS = {"err_detect": "explode", "max_pixels": str(MAX_IMAGE_PIXELS)}


Decoded: TypeAlias = tuple[int, str, Picture | RecordError]
"""A frame's number, its file relative to the root, and its pixels or why there are none."""


class FrameFiles:
    """Frames of a video that are picture files; `VideoFile` is asked in the same way.

    `names` has the file of each frame in `folder`, by its number; one at least.
    """

    def __init__(self, root: RawPath, folder: str, names: Mapping[int, str], decode: ImageDecoder) -> None:
        self.path = folder
        self._root = root
        self._names = names
        self._decode = decode

    @property
    def length(self) -> int:
        """Return the number of the last frame plus one."""
        return max(self._names) + 1

    def path_of(self, number: int) -> str:
        """Return the file of a frame, relative to the root, whether it is there or not."""
        return f"{self.path}/{self._names.get(number, f'{number:05d}.jpg')}"

    def __contains__(self, number: int) -> bool:
        """Whether there is a frame of this number, as far as can be told without decoding."""
        return number in self._names

    def read(self, sizes: Mapping[int, Size | None]) -> Iterator[Decoded]:
        """Yield the frames that `sizes` names, in ascending order, each as a picture or as why there is none.

        `sizes` has the (height, width) that the annotation says, None where it does not say one, by the number of a frame
        that is there.
        """
        for number in sorted(sizes):
            path = self.path_of(number)
            try:
                picture = self._decode(read_file(resolve_inside(self._root, path)), sizes[number])
                height, width = picture.image.shape[:2]
                if (size := sizes[number]) is not None and (reason := describe_misfit((height, width), size)):
                    raise MisfitError(f"the frame is {reason}")
                yield number, path, picture
            except RecordError as err:
                yield number, path, err


class ExtractedFrames(FrameFiles):
    """A folder of frames as JPEG files; the file's name is the frame's number."""

    def __init__(self, root: RawPath, folder: str, decode: ImageDecoder) -> None:
        names = {entry.name for entry in list_folder(resolve_inside(root, folder))}
        numbers = (int(name[:-4]) for name in names if _FRAME_NAME.fullmatch(name))
        found = {number: name for number in numbers if (name := f"{number:05d}.jpg") in names}
        super().__init__(root, folder, found, decode)
        picture = "picture in a folder of frames that is not called as 00004.jpg is, not read"
        other = "entry of a folder of frames that is no picture, not read"
        unread = LeftOut(dict.fromkeys(IMAGE_SUFFIXES, picture), other)
        for name in names - set(found.values()):
            unread.look_at(name, name)
        self.skips = unread.skips
        """What lies in the folder and is not read."""

    def check_not_empty(self) -> None:
        """Raise `RecordError` if the folder has no frame, before anything else is asked of it."""
        if not self._names:
            raise RecordError(f"the folder holds no frame such as 00000.jpg{describe_skips(self.skips)}")

    def compare(self, footage: Footage) -> bool:
        """Return whether the frames are those of an annotated video exactly, not only up to the usual difference."""
        check_frames(footage, self._names.keys())
        return not has_usual_difference(footage, self._names.keys())

    def close(self) -> None:
        """Do nothing: each frame's file is closed when it has been read."""


class VideoFile:
    """An mp4, decoded as far as the last frame that is asked for; one frame at a time is in memory.

    Attributes:
        path: the file, relative to the root.
        length: how many frames it holds, damaged ones as well.
    """

    def __init__(self, root: RawPath, name: str) -> None:
        self.path = name
        with ExitStack() as stack:
            self._file = stack.enter_context(local_file(resolve_inside(root, name)))
            check_file(self._file)
            with _open_container(self._file) as container:
                self.length, self._size, self._times = _survey(container)
            self._held = stack.pop_all()

    def path_of(self, number: int) -> str:
        """Return the mp4, which every frame is in."""
        return self.path

    def compare(self, footage: Footage) -> bool:
        """Compare number, size and times of the frames with those of an annotated video, as `ExtractedFrames` does."""
        check_video(footage, self.length, self._size, self._times)
        return not footage.excess(self.length)

    def __contains__(self, number: int) -> bool:
        return number < self.length

    def read(self, sizes: Mapping[int, Size | None]) -> Iterator[Decoded]:
        """Yield the frames that `sizes` names, in one pass; after damage, none of the rest."""
        numbers = iter(sorted(sizes))
        wanted = next(numbers, None)
        count = 0
        try:
            for number, frame in enumerate(_decode(self._file)):
                count = number + 1
                if number == wanted:
                    yield number, self.path, _convert(frame, sizes[number])
                    wanted = next(numbers, None)
                if wanted is None:
                    return
            error: RecordError = DecodeError(f"the video ends after {count} frames")
        except RecordError as err:
            error = RecordError(f"{err.reason}, after {count} good frames", stage=err.stage)
        while wanted is not None:
            yield wanted, self.path, error
            wanted = next(numbers, None)

    def close(self) -> None:
        """Remove the copy of a remote file."""
        self._held.close()


Frames: TypeAlias = FrameFiles | VideoFile
"""The frames of one video."""

VideoFrames: TypeAlias = ExtractedFrames | VideoFile
"""The frames of a video that was annotated somewhere else."""


def can_decode_video() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def _open_container(path: Path) -> "InputContainer":
    try:
        import av
    except ImportError as err:
        raise RecordError(MISSING_DECODER) from err
    try:
        # The format is fixed: a playlist under the name of an mp4 could name other files and addresses.
        container = av.open(str(path), format="mp4", metadata_errors="replace")
    except (av.FFmpegError, ValueError) as err:
        try:
            with path.open("rb") as file:
                check_content(file.read(HEAD_BYTES))
        except OSError as refusal:
            stop_where_limited(refusal, path)
            raise RecordError(f"can't read the file: {refusal}") from refusal
        raise DecodeError(f"no readable mp4: {err}") from err
    if not container.streams.video or container.streams.video[0].codec_context is None:
        container.close()
        raise DecodeError("the mp4 holds no video that can be decoded")
    return container


def _survey(container: "InputContainer") -> tuple[int, Size, tuple[float, ...] | None]:
    """Return what an mp4 holds, as far as can be told without decoding: its packets up to where it ends.

    Returns:
        The number of frames, their (height, width), and when each is shown, in seconds, ascending; None where that is not
        known of every frame.
    """
    import av

    stream = container.streams.video[0]
    unit = float(stream.time_base or 0)
    times: list[float] = []
    length = 0
    try:
        for packet in container.demux(stream):
            # An empty packet holds no frame: the last one only says that there are no more.
            length += packet.size > 0
            if length > MAX_FRAMES:
                raise DecodeError(f"the video has over {MAX_FRAMES} frames, the limit")
            if packet.size and packet.pts is not None and not packet.is_discard:
                times.append(packet.pts * unit)
    except (av.FFmpegError, ValueError):
        # Decoding comes there too, and says more.
        pass
    size = (stream.codec_context.height, stream.codec_context.width)
    return length, size, tuple(sorted(times)) if len(times) == length else None


def _decode(path: Path) -> "Iterator[VideoFrame]":
    """Yield every frame, in the order in which the decoder puts them out."""
    with _open_container(path) as container:
        import av

        stream = container.streams.video[0]
        stream.codec_context.options = _DECODER_OPTIONS
        # Scenes are what is read in parallel.
        stream.codec_context.thread_count = 1
        try:
            last = None
            for packet in container.demux(stream):
                if packet.is_discard:
                    raise DecodeError("the mp4's header drops a frame: later ones have no sure number")
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise DecodeError("damaged video: a frame is marked corrupt")
                    if frame.pts is None or (last is not None and frame.pts <= last):
                        raise DecodeError("damaged video: a frame's time is not after the one before")
                    last = frame.pts
                    yield frame
        except (av.FFmpegError, ValueError) as err:
            raise DecodeError(f"damaged video: {err}") from err


def _convert(frame: "VideoFrame", size: Size | None) -> Picture | RecordError:
    """Return a frame as uint8 RGB [H, W, 3], or why it can't be used."""
    if frame.rotation:
        return DecodeError(
            f"the video asks to be shown turned by {frame.rotation} degrees; extract its frames upright"
        )
    if size is not None and (reason := describe_misfit((frame.height, frame.width), size)):
        return MisfitError(f"the frame is {reason}")
    import av

    try:
        pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except (av.FFmpegError, ValueError) as err:
        return DecodeError(f"a frame of {frame.format.name} can't be made RGB: {err}")
    return Picture(pixels, unsure_turn=False)
