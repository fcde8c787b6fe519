"""A root in any of fsspec's file systems that tells absent files from trouble: object stores, sftp, memory, ..."""

from typing import Any

from preprocess.remote.connection import Sink, Status


class FileSystem:
    """Fulfils `connection.Connection` for a folder of an fsspec file system."""

    def __init__(self, filesystem: Any, base: str) -> None:
        self._filesystem = filesystem
        self._base = base.rstrip("/")

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

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Return a file's bytes from `start` up to `stop`."""
        content: bytes = self._filesystem.cat_file(self._path(name), start=start, end=stop)
        return content

    def read_whole(self, name: str, sink: Sink, limit: int) -> None:
        """Write a file's bytes to `sink`."""
        sink.write(self._filesystem.cat_file(self._path(name)))

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base


def _status(info: dict[str, Any]) -> Status:
    size = info.get("size")
    return Status(info["type"] == "directory", -1 if size is None else int(size))
