"""A file or folder below a remote root, asked like a `pathlib.Path` as far as sources need it."""

import io
import posixpath
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ...loader.format.errors import SourceError
from ...loader.remote.connection import Connection, connect, persist
from ...loader.remote.protocol import ChangedError, NoRangesError, Sink, Status, shown
from ...loader.remote.side_by_side import side_by_side
from ..errors import MissingFileError, RecordError

BLOCK_BYTES = 1 << 24
"""Larger files are read in blocks of this size: each is asked for again by itself when the connection breaks."""

MAX_UNSTATED_BYTES = 1 << 29
"""Of a file whose size a server does not say no more is read: it may have no end, and COCO's index has 0.47 GB."""

ResultT = TypeVar("ResultT")


def open_root(root: Path | str) -> "Path | RemotePath":
    """Return a dataset's root: a `Path`, or a `RemotePath` where it is a URL (of any kind but file://).

    Raises:
        SourceError: fsspec or what it needs is not installed, or the URL is none it knows.
    """
    path = local_path(root)
    if path is not None:
        return path
    root = str(root)
    connect(root)
    return RemotePath(root)


def local_path(root: Path | str) -> Path | None:
    """Return the path of what lies on this machine, None for a URL of any kind but file://."""
    if isinstance(root, Path) or "://" not in root:
        return Path(root)
    if root.startswith(("file://", "local://")):
        return Path(root.partition("://")[2])
    return None


@dataclass(frozen=True, slots=True)
class RemoteEntry:
    """What a folder holds under a name, asked like an `os.DirEntry`; links are followed by whoever serves them."""

    name: str
    status: Status

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""
        return self.status.is_folder

    def is_file(self) -> bool:
        """Whether it is a file."""
        return not self.status.is_folder

    def is_symlink(self) -> bool:
        """Return False."""
        return False

    def stat(self) -> Status:
        """Return its size."""
        return self.status


@dataclass(frozen=True, slots=True)
class RemotePath:
    """A name below a remote root; small and picklable, each process makes its own connection.

    Whatever asks the server raises as `connection.persist` does: `FileNotFoundError` where nothing is there,
    `SourceError` and `ConnectionLostError` where that can't be told.
    """

    root: str = field(repr=False)
    """The root's URL, as given."""
    path: str = ""
    """Relative to the root, normalised; "" for the root itself."""

    def __truediv__(self, name: str) -> "RemotePath":
        path = _join(self.path, name)
        if path is None:
            raise SourceError(
                f"{name!r} leads out of {shown(self.root)}: give a --root that holds all of the dataset"
            )
        return RemotePath(self.root, path)

    def __str__(self) -> str:
        return "/".join(part for part in (shown(self.root).rstrip("/"), self.path) if part)

    def __reduce__(self) -> tuple[type["RemotePath"], tuple[str, str]]:
        if self.root.startswith("memory://"):
            # The worker would find nothing there and reject all of it.
            raise SourceError(f"{self.root} exists in this process only: convert it with one worker")
        return RemotePath, (self.root, self.path)

    @property
    def name(self) -> str:
        """The last part."""
        return str(self).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The last part's ending, such as ".json"."""
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> "RemotePath":
        """The folder it is in."""
        return RemotePath(self.root, posixpath.dirname(self.path))

    def inside(self, name: str) -> "RemotePath":
        """Return the file that an annotation calls `name`, which must lie in this folder.

        Raises:
            RecordError: the name leads out of the folder or can't be a file name.
        """
        if "\0" in name:
            raise RecordError(f"{name!r} can't be a file name: embedded null byte")
        path = _join("", name)
        if path is None:
            raise RecordError(f"{name!r} leads out of {self.name!r}; a file must lie inside its folder")
        return RemotePath(self.root, posixpath.join(self.path, path).rstrip("/"))

    def stat(self) -> Status:
        """Return whether it is a folder, and its size."""
        return self._ask(lambda connection: connection.stat(self.path))

    def is_file(self) -> bool:
        """Whether a file is there."""
        try:
            return not self.stat().is_folder
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether a folder is there; on a web server, one with an index page."""
        try:
            return self._ask(lambda connection: connection.is_folder(self.path))
        except FileNotFoundError:
            return False

    def scan(self, sized: tuple[str, ...] = ()) -> Iterator[RemoteEntry]:
        """Yield what lies in the folder; with sizes of the files whose names end in `sized`.

        Raises:
            SourceError: the server can't list it, or doesn't say how large a file is.
        """
        entries = self._ask(lambda connection: connection.list(self.path))
        unsized = [
            name
            for name, status in entries.items()
            if sized and not status.is_folder and status.st_size < 0 and name.endswith(sized)
        ]
        if unsized:
            entries |= zip(unsized, side_by_side(self._size_of, unsized), strict=True)
        for name, status in entries.items():
            yield RemoteEntry(name, status)

    def read_bytes(self, limit: int) -> bytes:
        """Return the file's bytes.

        Raises:
            RecordError: the file is missing, is a folder, or is over `limit` bytes.
        """
        content = io.BytesIO()
        self.copy_to(content, limit)
        return content.getvalue()

    def copy_to(self, sink: Sink, limit: int) -> None:
        """Write the file's bytes to an empty `sink`.

        Raises:
            RecordError: the file is missing, is a folder, or is over `limit` bytes.
        """
        try:
            status = self.stat()
            if status.is_folder:
                raise RecordError("not a regular file")
            if status.st_size > limit:
                raise RecordError(f"the file has {status.st_size} bytes, over the limit of {limit}")
            self._copy(sink, status, limit)
        except FileNotFoundError as err:
            raise MissingFileError("the file is missing") from err
        if sink.tell() > limit:
            raise RecordError(f"the file has more bytes than the limit of {limit}")
        if status.st_size < 0 and sink.tell() > MAX_UNSTATED_BYTES:
            raise SourceError(
                f"the server does not say how large {self} is, and sends more than {MAX_UNSTATED_BYTES:,} bytes, the limit "
                "of such a file: take a server that says so (Content-Length)"
            )

    def read_range(self, start: int, size: int, file_size: int = -1) -> bytes:
        """Return `size` bytes from `start` on, fewer where the file ends before.

        A server that tells another size of the whole file than `file_size`, where that is known, is at fault.

        Raises:
            NoRangesError: the server sends whole files only.
        """
        if not size:
            # HTTP can't ask for nothing.
            return b""
        return self._ask(lambda connection: connection.read_range(self.path, start, start + size, file_size))

    def open_ranges(self) -> "RangedFile":
        """Return the file to be read piece by piece, each piece by a request of its own."""
        return RangedFile(self, self._sized(self.stat()).st_size)

    def _copy(self, sink: Sink, status: Status, limit: int) -> None:
        size = status.st_size
        if size > BLOCK_BYTES:
            # A server that has no ranges sends all of it at once, below; and what is sent at once is of one version.
            with suppress(NoRangesError, ChangedError):
                for start in range(0, size, BLOCK_BYTES):
                    sink.write(self._read_block(start, min(start + BLOCK_BYTES, size), status))
                return

        most = min(limit, MAX_UNSTATED_BYTES) if size < 0 else size

        def read_whole(connection: Connection) -> None:
            sink.seek(0)
            sink.truncate()
            connection.read_whole(self.path, sink, most)
            if size >= 0:
                _check_length(sink.tell(), size)

        self._ask(read_whole)

    def _read_block(self, start: int, stop: int, status: Status) -> bytes:
        def read(connection: Connection) -> bytes:
            content = connection.read_range(self.path, start, stop, status.st_size, status.version)
            _check_length(len(content), stop - start)
            return content

        return self._ask(read)

    def _size_of(self, name: str) -> Status:
        """Return the size of a file in this folder; 0 bytes where it was listed and isn't there."""
        file = self / name
        try:
            return file._sized(file.stat())
        except FileNotFoundError:
            return Status(False, 0)

    def _sized(self, status: Status) -> Status:
        if status.st_size < 0 and not status.is_folder:
            raise SourceError(f"the server does not say how large {self} is")
        return status

    def _ask(self, question: Callable[[Connection], ResultT]) -> ResultT:
        connection = connect(self.root)
        return persist(lambda: question(connection), str(self))


class RangedFile:
    """A remote file that can be sought in; each read is a request."""

    def __init__(self, path: RemotePath, size: int) -> None:
        self._path = path
        self._place = 0
        self._size = size

    def seek(self, place: int) -> None:
        """Go to a place, in bytes from the beginning."""
        self._place = place

    def tell(self) -> int:
        """Return the place, in bytes from the beginning."""
        return self._place

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only where the file ends."""
        left = max(self._size - self._place, 0)
        content = self._path.read_range(self._place, min(size, left), self._size)
        self._place += len(content)
        return content


def _join(folder: str, name: str) -> str | None:
    """Return a path below the root, normalised; None where `name` leads out of the root."""
    path = posixpath.normpath(posixpath.join(folder, name))
    if path.startswith("/") or path.split("/", 1)[0] == "..":
        return None
    return "" if path == "." else path


def _check_length(found: int, expected: int) -> None:
    """Raise what makes `connection.persist` ask again."""
    if found > expected:
        raise ConnectionError(f"more than {expected} bytes came, the size that the server says")
    if found != expected:
        raise ConnectionError(
            f"{found} bytes came, expected {expected}: cut off, or the file is being changed"
        )
