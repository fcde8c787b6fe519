"""A root in any of fsspec's file systems that tells absent files from trouble: object stores, sftp, memory, ..."""

import os
import stat
import time
from pathlib import Path
from typing import Any, BinaryIO

from ..format.errors import SourceError
from .pace import Pace, TooLongError
from .protocol import Sink, Status, protocols_of

_PIECE_BYTES = 1 << 20


class FileSystem:
    """A folder of an fsspec file system, asked as `connection.connection_of` says."""

    def __init__(self, filesystem: Any, base: str) -> None:
        self._filesystem = filesystem
        self._base = base.rstrip("/")
        self._is_local = not protocols_of(filesystem).isdisjoint({"file", "local"})

    def stat(self, name: str) -> Status:
        """Return whether a name is a folder, and its size."""
        return _status(self._filesystem.info(self._path(name)))

    def is_folder(self, name: str) -> bool:
        """Return whether a name is a folder."""
        return self.stat(name).is_folder

    def list(self, name: str) -> dict[str, Status]:
        """Return what lies in a folder, with sizes."""
        path = self._path(name)
        try:
            entries = self._filesystem.ls(path, detail=True)
        finally:
            # Listings are kept by default: of millions of files, too many.
            self._filesystem.invalidate_cache()
        itself = path.strip("/")
        # A file lists as itself; so does, in an object store, the empty object that stands for a folder.
        found = {
            entry["name"].strip("/").rpartition("/")[2]: _status(entry)
            for entry in entries
            if entry["name"].strip("/") != itself
        }
        if entries and not found and not self.stat(name).is_folder:
            raise NotADirectoryError(path)
        return found

    def read_range(self, name: str, start: int, stop: int, size: int = -1, _version: str = "") -> bytes:
        """Return a file's bytes from `start` up to `stop`, fewer where it ends before; `size` is its own, or -1."""
        content: bytes = self._filesystem.cat_file(
            self._path(name), start=start, end=stop if size < 0 else min(stop, size)
        )
        return content

    def read_whole(self, name: str, sink: Sink, limit: int) -> None:
        """Write a file's bytes to `sink`, in one piece; `limit` + 1 of them at most, as a range."""
        if self._is_local:
            with _open_regular(self._path(name)) as file:
                _copy(file, sink, limit + 1)
            return
        path = self._path(name)
        try:
            content = self._filesystem.cat_file(path, start=0, end=limit + 1)
        except FileNotFoundError:
            raise
        except Exception:
            # Object stores refuse a range of an empty object, each in its own way.
            if self._filesystem.info(path).get("size") != 0:
                raise
            content = b""
        sink.write(content[: limit + 1])

    def download(self, name: str, file: Path, limit: int) -> None:
        """Write a file's bytes to one on this machine, as they come; little more than `limit` of them at most."""
        if self._is_local:
            with _open_regular(self._path(name)) as source, file.open("wb") as sink:
                _copy(source, sink, limit + 1)
            return
        try:
            self._filesystem.get_file(self._path(name), str(file), callback=_watch(limit))
        except TooLongError:
            return

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base


def _status(info: dict[str, Any]) -> Status:
    size = info.get("size")
    return Status(info["type"] == "directory", -1 if size is None else int(size))


def _watch(limit: int) -> Any:
    """Return what fsspec tells how many bytes have come, and what stops it where they are too many or too slow."""
    from fsspec.callbacks import Callback

    speed = Pace()
    counted, then = 0, time.monotonic()

    def look(_size: int | None, come: int, **_: Any) -> None:
        nonlocal counted, then
        if come > limit:
            raise TooLongError
        now = time.monotonic()
        speed.count(come - counted, now - then)
        counted, then = come, now

    return Callback(hooks={"look": look})


def _open_regular(path: str) -> BinaryIO:
    """Open a file on this machine; a pipe is not waited for, and of a device nothing is read.

    Raises:
        OSError: it can't be opened.
        SourceError: it is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceError(
            f"{path} is not a regular file: take away what stands there, or give another address"
        )
    return os.fdopen(descriptor, "rb")


def _copy(source: BinaryIO, sink: Sink, most: int) -> None:
    left = most
    while left and (piece := source.read(min(_PIECE_BYTES, left))):
        sink.write(piece)
        left -= len(piece)
