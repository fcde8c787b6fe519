"""What a source yields: frames with their masks, pairs of frames, and what had to be left out.

A scene is one still image or one video. Reading it gives records in the order in which they are to be written:
each `Frame` in time order, then the `Pair`s that join two of them, with a `Reject` or `Skip` wherever something
is left out.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..decode.png import encode_png
from ..decode.segmentation import Rle
from ..errors import RecordError

MAX_REJECT_LENGTH = 4096
"""Characters of each text of a reject: a damaged list may have a name of megabytes, and a reject is a line of 1 MiB at most."""


def encodable(text: str) -> str:
    """Return a text with bytes that are no UTF-8 spelt out, as a file's name may have them, so that it can be written."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Mask:
    """One object in one frame."""

    object_id: str
    """Names the object within its scene; the same object has the same id in every frame."""
    segmentation: Rle
    """Where the object is, in its own resolution; it covers the whole image."""
    category: str = ""
    """Class name, or "" where the dataset has none."""
    expressions: tuple[str, ...] = ()
    """Phrases that refer to this object."""
    may_be_empty: bool = False
    """Whether no covered pixel at all is a valid answer (gRefCOCO's no-target records)."""
    path: str = ""
    """The mask's own file, relative to the dataset's root; "" where a reject is to name the image's."""
    stated_box: tuple[float, float, float, float] | None = None
    """The box that the dataset states beside the mask, x0, y0, x1, y1 in pixels of the mask; None where it states none."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Something that should have become a sample and could not."""

    key: str
    """Key of the image, mask or pair, as it would stand in the store."""
    path: str
    """The raw file at fault, relative to the dataset's root."""
    stage: str
    """The step that found out: "index", "read", "decode", "mask" or "pair"."""
    reason: str
    """What was found and what was expected, for a person to act on."""

    def __post_init__(self) -> None:
        # Names on disk need be no UTF-8, and a reason may quote one: the list of rejects must be writable all the same.
        for name in ("key", "path", "reason"):
            text = encodable(getattr(self, name))
            more = "..." if len(text) > MAX_REJECT_LENGTH else ""
            object.__setattr__(self, name, text[: MAX_REJECT_LENGTH - len(more)] + more)

    @classmethod
    def from_error(cls, error: RecordError, key: str, path: str) -> "Reject":
        """Return the reject that an error amounts to."""
        return cls(key, path, error.stage, error.reason)


@dataclass(frozen=True, slots=True)
class Skip:
    """Something left out because the config or the dataset's own rules say so; counted, not listed."""

    reason: str
    """A short constant phrase: skips are counted by it."""
    count: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", encodable(self.reason))


DAMAGE_ACCEPTED = "damage of pictures that were accepted"
"""The reason of the one skip that leaves no picture out, but the wrongness of some: `source.damaged` is "accept"."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image and the masks that lie on it."""

    key: str
    """Stable, human-readable id of the image, such as "refcoco/581857"."""
    path: str
    """The raw file, relative to the dataset's root; a tar member is "sa_000000.tar/sa_1.jpg"."""
    image: NDArray[np.uint8]
    """uint8 [H, W, 3], RGB, as decoded: never resized, never normalised."""
    masks: tuple[Mask, ...]
    time: int = 0
    """Number of the video frame; 0 for a still image."""
    unsure_turn: bool = False
    """Whether EXIF asks for a turn that the annotation can neither confirm nor refute."""
    source: bytes | None = None
    """The encoded file, where whoever decodes it has this very image (`decode.images.Picture`)."""

    keep_empty: bool = False
    """Whether it is stored without a mask as well: nobody is visible in it, and it belongs to its video."""

    @property
    def segmentations(self) -> list[Rle]:
        """Where each of the masks is."""
        return [mask.segmentation for mask in self.masks]


def source_of(frame: Frame) -> bytes:
    """Return a file that decodes to a frame's image: the one that it was read from, or else a PNG."""
    return encode_png(frame.image) if frame.source is None else frame.source


@dataclass(frozen=True, slots=True)
class Pair:
    """The same object in two frames of a scene, the earlier one first."""

    object_id: str
    time1: int
    time2: int
    keys: tuple[str, str]
    """Keys of the two frames, which may have been rejected."""

    @property
    def key(self) -> str:
        """Key of the sample, as the loader has it.

        >>> Pair("manual-0", 0, 16, ("sav/sav_000001/00000", "sav/sav_000001/00016")).key
        'sav/sav_000001/00000+00016/manual-0'
        """
        return f"{self.keys[0]}+{self.keys[1].rpartition('/')[2]}/{self.object_id}"


Record: TypeAlias = Frame | Pair | Reject | Skip
