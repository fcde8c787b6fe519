"""What every dataset reader is: a source is a sequence of scenes, a scene reads itself into records.

The two are apart so that an annotation file is parsed once, by the process that opens the source, while scenes are
small, can be pickled, and are read by whichever process gets them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Generic, Literal, Protocol, TypeVar

import msgspec

from ...loader.format.layout import DatasetType
from ..decode.images import ImageDecoder, OnDamage, decode_image
from .files.masklets import Take
from .files.raw_files import RawPath
from .records import Record, Reject, Skip


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `[source]` that every dataset has; each dataset's own come in a subclass."""

    damaged: OnDamage = "reject"
    """What becomes of a picture that its decoder warns about; "accept" takes what Pillow makes of it, grey bands and all.

    Pictures alone: a mask is exact or a reject, and a damaged video is one as well. What was taken is counted.
    """
    follow_links: bool = False
    """Whether a file may be a link that leads out of its folder, as in the caches of Hugging Face, DVC and git-annex."""

    later: ClassVar[frozenset[str]] = frozenset({"damaged", "follow_links"})
    """Options that came after the first stores were made. A subclass adds its own."""

    def attributes(self) -> dict[str, Any]:
        """Return the options as they stand in a store's job: at its default, one that came later is left out.

        So a store made before there was the option is still made by the same job: it can be appended to and resumed.
        """
        described: dict[str, Any] = msgspec.to_builtins(self)
        for field in msgspec.structs.fields(self):
            if field.name in self.later and getattr(self, field.name) == field.default:
                del described[field.name]
        return described


class VideoOptions(SourceOptions, frozen=True, kw_only=True):
    """Options of `[source]` that datasets of videos have besides."""

    take: Take = "pairs"
    """Whether samples are pairs, or each annotated frame by itself ("all"), or every so many-th of them (a number)."""
    gaps: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=1)] = (1, 2, 4, 8)
    """How far apart the two frames of a pair may be, in annotated frames."""
    pairs_per_object: Annotated[int, msgspec.Meta(ge=1)] = 4
    """How many pairs of each object to take at most."""
    seed: int = 0
    """Which of the possible pairs are taken."""
    lone_frames: Literal["repeat", "skip"] = "repeat"
    """What becomes of an object visible in one frame only: that frame paired with itself, or left out."""


class Scene(Protocol):
    """One still image or one video: small and picklable; its files are opened only by `read`."""

    @property
    def key(self) -> str:
        """Stable id, such as "sa1b/sa_1"; the keys of its images begin with it."""

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield frames in time order, then pairs; whatever is bad is yielded as a `Reject`, never raised.

        A faster `decode` gives the same pixels.
        """


class Source(ABC):
    """A raw dataset, indexed. `len` is the number of scenes; their order is fixed by the dataset, not the disk."""

    dataset_type: DatasetType
    """What `dataset_type` is in a batch."""
    paired = False
    """Whether samples are pairs of frames."""
    rejects: Sequence[Reject] = ()
    """What the index itself shows to be unusable, such as an annotation of an unlisted image."""
    skips: Sequence[Skip] = ()
    """What the index leaves out, and what lies beside the data and is not read."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of scenes."""

    @abstractmethod
    def __getitem__(self, index: int) -> Scene:
        """Return one scene, without opening its files."""

    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """Return what identifies the raw dataset: index files by digest, folders by a digest of their listing."""


_Options = TypeVar("_Options", bound=SourceOptions)
_Entry = TypeVar("_Entry")


class IndexedSource(Source, Generic[_Options, _Entry]):
    """A dataset below a root. A subclass lists its `_entries`, one for each scene, and makes a scene of one."""

    _entries: Sequence[_Entry]

    def __init__(self, root: RawPath, options: _Options) -> None:
        self._root = root
        self._options = options
        self.rejects: list[Reject] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Scene:
        return self._scene(self._entries[index])

    @abstractmethod
    def _scene(self, entry: _Entry) -> Scene:
        """Return the scene of an entry, without opening its files."""
