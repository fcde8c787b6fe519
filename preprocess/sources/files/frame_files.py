"""Frames of a video by number that are picture files."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from ...decode.images import ImageDecoder, Picture, Size, describe_misfit
from ...errors import MisfitError, RecordError
from .raw_files import RawPath, read_file, resolve_inside

Decoded: TypeAlias = tuple[int, str, Picture | RecordError]
"""A frame's number, its file relative to the root, and its pixels or why there are none."""


class FrameFiles:
    """Frames of a video that are picture files; `mp4_frames.VideoFile` is asked in the same way.

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
