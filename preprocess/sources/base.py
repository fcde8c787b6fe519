"""What every dataset reader is: a source is a sequence of scenes, a scene reads itself into records.

The two are apart so that an annotation file is parsed once, by the process that opens the source, while scenes are
small, can be pickled, and are read by whichever process gets them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any, ClassVar, Protocol, TypeAlias

import msgspec

from preprocess.errors import MissingFileError, RecordError, SourceError
from preprocess.images import MAX_IMAGE_BYTES, ImageDecoder, OnDamage, decode_image
from preprocess.layout import DatasetType
from preprocess.records import Record, Reject, Skip
from preprocess.remote.path import RemotePath
from preprocess.remote.scratch import local_file
from preprocess.sources.contents import check_content

RawPath: TypeAlias = Path | RemotePath
"""A raw file or folder, on this machine's disks or elsewhere; what both can do alike is done without a difference."""


class LinkedPath(PosixPath):
    """A raw file or folder of a dataset whose links are followed, wherever they lead; what is below is one, too."""

    __slots__ = ()


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


class Scene(Protocol):
    """One still image or one video: small and picklable; its files are opened only by `read`."""

    @property
    def key(self) -> str:
        """Stable id, such as "sa1b/sa_1"; the keys of its images begin with it."""

    def read(self, decode: ImageDecoder = decode_image) -> Iterator[Record]:
        """Yield frames in time order, then pairs; whatever is bad is yielded as a `Reject`, never raised.

        Args:
            decode: decodes image files; a faster one gives the same pixels.
        """


class Source(Protocol):
    """A raw dataset, indexed. `len` is the number of scenes; their order is fixed by the dataset, not the disk."""

    @property
    def dataset_type(self) -> DatasetType:
        """Return what `dataset_type` is in a batch."""

    @property
    def paired(self) -> bool:
        """Return whether samples are pairs of frames."""

    @property
    def rejects(self) -> Sequence[Reject]:
        """Return what the index itself shows to be unusable, such as an annotation of an unlisted image."""

    @property
    def skips(self) -> Sequence[Skip]:
        """Return what the index leaves out, and what lies beside the data and is not read."""

    def __len__(self) -> int:
        """Return the number of scenes."""

    def __getitem__(self, index: int) -> Scene:
        """Return one scene, without opening its files."""

    def fingerprint(self) -> dict[str, str]:
        """Return what identifies the raw dataset: index files by digest, folders by a digest of their listing."""


FOLLOW_ADVICE = "set source.follow_links=true to follow links, or copy the files themselves (cp -rL)"

_FETCH_ADVICE = "fetch it first (git annex get, dvc pull)"


def resolve_inside(folder: RawPath, name: str) -> RawPath:
    """Return the file that an annotation calls `name`, which must lie in `folder`.

    The folder itself is the user's choice and may be a link to anywhere; what a dataset's files name may not leave
    it, neither by "..", nor by an absolute path, nor, unless the user says so, through a link. (Links on a server are
    the server's to judge.)

    Raises:
        RecordError: the name leads out of the folder or can't be a file name.
    """
    if isinstance(folder, RemotePath):
        return folder.inside(name)
    if isinstance(folder, LinkedPath):
        if "\0" in name:
            raise RecordError(f"{name!r} can't be a file name: embedded null byte")
        if _leads_up(name):
            raise RecordError(f"{name!r} leads out of {folder.name!r}; a file must lie inside its folder")
        return folder / name
    try:
        base = folder.resolve()
        path = (base / name).resolve()
        if path.is_relative_to(base):
            return path
        link = "" if _leads_up(name) else _describe_link(base, name)
    except (OSError, ValueError, RuntimeError) as err:
        raise RecordError(f"{name!r} can't be a file name: {err}") from err
    raise RecordError(link or f"{name!r} leads out of {folder.name!r}; a file must lie inside its folder")


def _leads_up(name: str) -> bool:
    """Whether a name leads out of its folder by itself, without any link."""
    parts = PurePosixPath(name)
    return parts.is_absolute() or ".." in parts.parts


def _describe_link(base: Path, name: str) -> str:
    """Return which link leads out of `base`, where to, and what to do."""
    for path in accumulate(PurePosixPath(name).parts, Path.__truediv__, initial=base):
        if path.is_symlink() and not (target := path.resolve()).is_relative_to(base):
            absent = "" if target.exists() else f", where nothing is: {_FETCH_ADVICE}"
            return (
                f"{name!r} leads out of {base.name!r} by a link, {path.relative_to(base)} -> {target}{absent}; "
                f"{FOLLOW_ADVICE}"
            )
    return ""


def is_text(name: str) -> bool:
    """Whether a file's name can be written as text; names may hold any bytes, which need not be UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def file_digest(path: RawPath) -> str:
    """Return an index file's SHA-256, to tell whether it changed.

    Raises:
        SourceError: the file can't be read.
    """
    try:
        with local_file(path) as local, local.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, RecordError) as err:
        reason = err.strerror if isinstance(err, OSError) else err.reason
        raise SourceError(f"can't read {path}: {reason}; check --root and the config's [source]") from err


def listing_digest(lines: Iterable[str]) -> str:
    """Return the SHA-256 of a folder's listing, given as sorted lines of names and sizes."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def read_file(path: RawPath, limit: int = MAX_IMAGE_BYTES) -> bytes:
    """Return a raw file's bytes.

    Raises:
        MissingFileError: there is none.
        RecordError: it is no regular file, unreadable, over `limit` bytes, or what stands in for a file.
    """
    if isinstance(path, RemotePath):
        content = path.read_bytes(limit)
    else:
        check_file(path, limit)
        try:
            content = path.read_bytes()
        except OSError as err:
            raise RecordError(f"can't read the file: {err}") from err
    check_content(content)
    return content


def describe_absent(path: RawPath) -> str:
    """Return which link on the way to a missing file leads nowhere, and what to do; "" where none does."""
    if isinstance(path, Path):
        for place in (path, *path.parents):
            if place.is_symlink() and not place.exists():
                return f": {place.name} is a link to {place.readlink()}, where nothing is: {_FETCH_ADVICE}"
    return ""


def is_folder_there(path: RawPath) -> bool:
    """Whether this is a folder; not where it can't be told, as of a link to a name that is too long."""
    try:
        return path.is_dir()
    except OSError:
        return False


def check_file(path: Path, limit: int | None = None) -> None:
    """Raise `RecordError` unless this is a regular file of at most `limit` bytes: reading a pipe would never end.

    Also where it can't be told, as of a link to a name that is too long.
    """
    try:
        if not path.is_file():
            if not path.exists():
                raise MissingFileError(f"the file is missing{describe_absent(path)}")
            raise RecordError("not a regular file")
        if limit is not None and (found := path.stat().st_size) > limit:
            raise RecordError(f"the file has {found} bytes, over the limit of {limit}")
    except (OSError, ValueError) as err:
        raise RecordError(f"can't read the file: {err}") from err
