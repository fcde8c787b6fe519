"""What every dataset reader is: a source is a sequence of scenes, a scene reads itself into records.

The two are apart so that an annotation file is parsed once, by the process that opens the source, while scenes are
small, can be pickled, and are read by whichever process gets them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from ...loader.format.layout import DatasetType
from ..decode.images import ImageDecoder, decode_image
from .files.raw_files import RawPath
from .options import SourceOptions
from .records import Record, Reject, Skip


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
