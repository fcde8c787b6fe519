"""A folder that can be written to, in any of fsspec's file systems; what a store is published to.

No rename is relied on: object stores have none. What is written is asked for its size afterwards, and everything is
tried again after trouble, as in `loader.remote.connection`; there an error is of a raw dataset, here of a store.
"""

import base64
import hashlib
import io
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ...loader.format.errors import SourceError, StoreError
from ...loader.format.metadata import MAX_ROOT_BYTES
from ...loader.remote.connection import open_filesystem, persist
from ...loader.remote.filesystem import FileSystem
from ...loader.remote.protocol import is_web, shown

ResultT = TypeVar("ResultT")


class RemoteFolder:
    """A folder below which files are read, written and removed, by several threads at once.

    Args:
        url: its address, of any kind that fsspec can write to.

    Raises:
        StoreError: fsspec or what it needs is not installed, or the URL is none it knows. Each method raises it, too,
            where access is denied, or each attempt failed.
    """

    def __init__(self, url: str) -> None:
        self.name = shown(url).rstrip("/")
        """The address as it may be printed."""
        with _as_store_error():
            self._filesystem, base = open_filesystem(url)
        if is_web(self._filesystem):
            raise StoreError(
                f"{self.name} is on a web server, which takes no files: give a folder, or a URL such as s3://bucket/name"
            )
        self._base = base.rstrip("/")
        if not self._base.strip("/"):
            raise StoreError(f"{self.name} names no folder: give a URL such as s3://bucket/coco.zarr")
        self._folder = FileSystem(self._filesystem, base)

    def names(self) -> list[str]:
        """Return what lies directly in it, sorted; nothing where there is no such folder."""
        try:
            return sorted(self._ask("", lambda: self._folder.list("")))
        except FileNotFoundError:
            return []

    def files(self) -> list[str]:
        """Return every file below it, by its path relative to it; nothing where there is no such folder."""

        def find() -> list[str]:
            self._filesystem.invalidate_cache()
            found: list[str] = self._filesystem.find(self._base)
            return found

        base = f"{self._base.strip('/')}/"
        return [path.strip("/").removeprefix(base) for path in self._ask("", find)]

    def read(self, name: str, limit: int = MAX_ROOT_BYTES) -> bytes | None:
        """Return a file's bytes, None where there is no such file.

        Raises:
            StoreError: it has more than `limit`.
        """
        content = io.BytesIO()

        def read() -> None:
            content.seek(0)
            content.truncate()
            self._folder.read_whole(name, content, limit)

        try:
            self._ask(name, read)
        except FileNotFoundError:
            return None
        if content.tell() > limit:
            raise StoreError(
                f"{self.name}/{name} has more than {limit:,} bytes, the limit of such a file: it is none that this project "
                "wrote"
            )
        return content.getvalue()

    def write(self, name: str, content: bytes) -> None:
        """Write a small file."""
        path = self._path(name)

        def write() -> None:
            self._filesystem.pipe_file(path, content)
            self._check(path, len(content), lambda: hashlib.md5(content, usedforsecurity=False).digest())

        self._write(name, write)

    def upload(self, file: Path, name: str) -> None:
        """Write a file's content."""
        path = self._path(name)

        def upload() -> None:
            if not file.exists():
                raise StoreError(f"{file} was there and is gone: run the same command again")
            self._filesystem.put_file(str(file), path)
            self._check(path, file.stat().st_size, lambda: _md5_of(file))

        self._write(name, upload)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing is done where there is none."""
        with suppress(FileNotFoundError):
            self._ask(name, lambda: self._remove(self._path(name)))

    def _remove(self, path: str) -> None:
        self._filesystem.invalidate_cache()
        self._filesystem.rm(path, recursive=True)

    def _write(self, name: str, write: Callable[[], None]) -> None:
        def write_below_folders() -> None:
            try:
                write()
            except FileNotFoundError:
                self._make_folders(posixpath.dirname(name))
                write()

        try:
            self._ask(name, write_below_folders)
        except FileNotFoundError as err:
            raise StoreError(
                f"can't write {self.name}: what it should lie in is not there; make that bucket or folder first, or "
                "check --out"
            ) from err

    def _make_folders(self, name: str) -> None:
        """Make a folder and those it is in, down from this one: a bucket that is not there may be a mistyped one."""
        parts = name.split("/") if name else []
        for depth in range(len(parts) + 1):
            with suppress(FileExistsError):
                self._filesystem.mkdir(self._path("/".join(parts[:depth])), create_parents=False)

    def _check(self, path: str, size: int, md5: Callable[[], bytes]) -> None:
        """Raise what makes `persist` ask again unless a file has arrived whole."""
        info: dict[str, Any] = self._filesystem.info(path)
        if info.get("size") not in (size, None):
            raise ConnectionError(f"{info['size']} bytes arrived of {size}")
        # Google's file systems tell a digest. S3's tags are none of the content where that is encrypted or came in
        # pieces, but there the server compares a checksum before it takes anything.
        told = info.get("md5Hash")
        if told and base64.b64decode(told) != md5():
            raise ConnectionError("other bytes arrived than were sent")

    def _ask(self, name: str, question: Callable[[], ResultT]) -> ResultT:
        with _as_store_error():
            return persist(question, f"{self.name}/{name}".rstrip("/"))

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base


@contextmanager
def _as_store_error() -> Iterator[None]:
    try:
        yield
    except SourceError as err:
        raise StoreError(str(err)) from err
    except IsADirectoryError as err:
        raise StoreError(f"can't write {err.filename}: {err.strerror}; choose another --out") from err


def _md5_of(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).digest()
