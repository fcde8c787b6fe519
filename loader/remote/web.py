"""A root on a web server, asked with the settings of fsspec's HTTP file system.

fsspec's file system itself is not asked: to it a file whose server is gone is a file that is absent, a server that ignores
ranges sends 11 GB for one header, and an index page is whatever looks like a link. A server has no folders either;
what it may have is an index page of one, and datasets that have to be listed need it.
"""

import io
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ..format.errors import SourceError
from .http import Head, Part, WebClient
from .index_page import MAX_NAMES, parse_index
from .protocol import Sink, Status, shown

MAX_PAGE_BYTES = 1 << 28
"""Largest index page that is read: of some million names."""


class WebServer:
    """An address that begins with http or https, asked as `connection.connection_of` says.

    Names are put behind it. A query, such as a signature, is asked for with each file that is read whole, and with nothing else:
    sizes, ranges and index pages are asked for without it, since what reads a signed root needs none of them.
    """

    def __init__(self, filesystem: Any, base: str, query: str = "") -> None:
        if "?" in base or "#" in base:
            raise SourceError(
                f"{shown(base)} can't be a root: names are put behind it, so it must end in a folder, without ? or #"
            )
        self._client = WebClient(filesystem)
        self._base = base.rstrip("/")
        self._query = f"?{query}" if query else ""

    def stat(self, name: str) -> Status:
        """Return a file's size; a folder is what the server redirects to an address with a slash at its end."""
        url = self._url(name)
        head = self._client.head(url)
        is_folder = unquote(urlsplit(head.url).path) == f"{unquote(urlsplit(url).path)}/"
        return Status(False, head.num_bytes, head.version) if not is_folder else Status(True, -1)

    def is_folder(self, name: str) -> bool:
        """Return whether a name has an index page.

        Raises:
            SourceError: the server gives no index pages.
        """
        self._find_index(name)
        return True

    def list(self, name: str) -> dict[str, Status]:
        """Return what a folder's index page links to, without sizes.

        Raises:
            SourceError: the server gives no index pages.
        """
        index = self._find_index(name)
        page = io.BytesIO()
        url = f"{self._url(name)}/"
        self._client.get(url, page, MAX_PAGE_BYTES)
        if page.tell() > MAX_PAGE_BYTES:
            raise _too_large(url, f"it has more than {MAX_PAGE_BYTES:,} bytes")
        names = parse_index(page.getbuffer(), index.url)
        if len(names) > MAX_NAMES:
            raise _too_large(url, f"it names more than {MAX_NAMES:,} files and folders")
        return {entry: Status(is_folder, -1) for entry, is_folder in names.items()}

    def read_range(self, name: str, start: int, stop: int, size: int = -1, version: str = "") -> bytes:
        """Return a file's bytes from `start` up to `stop`, fewer where it ends before.

        `size` and `version` are its own where they were told, or -1 and "".

        Raises:
            NoRangesError: the server sends whole files only.
            ChangedError: the file is of another version.
        """
        content = io.BytesIO()
        self._client.get(self._url(name), content, stop - start, Part(start, stop, size, version))
        return content.getvalue()

    def read_whole(self, name: str, sink: Sink, limit: int) -> None:
        """Write a file's bytes to `sink`; `limit` + 1 of them at most, whatever the server says or sends."""
        self._client.get(self._url(name) + self._query, sink, limit)

    def download(self, name: str, file: Path, limit: int) -> None:
        """Write a file's bytes to one on this machine, in the same way."""
        with file.open("wb") as sink:
            self.read_whole(name, sink, limit)

    def _url(self, name: str) -> str:
        return f"{self._base}/{quote(name, errors='surrogateescape')}" if name else self._base

    def _find_index(self, name: str) -> Head:
        url = f"{self._url(name)}/"
        try:
            head = self._client.head(url)
            if head.content_type != "text/html":
                raise self._no_index(url, f"it sends {head.content_type or 'something unnamed'}")
        except FileNotFoundError as err:
            # A server without index pages says the same of each folder; one with them has one of the root.
            if not name or not self._has_index():
                raise self._no_index(url, "there is nothing at that address") from err
            raise
        except PermissionError as err:
            raise self._no_index(url, str(err)) from err
        return head

    def _has_index(self) -> bool:
        try:
            return self._client.head(f"{self._base}/").content_type == "text/html"
        except (FileNotFoundError, PermissionError):
            return False

    def _no_index(self, url: str, found: str) -> SourceError:
        return SourceError(
            f"can't list {shown(url)}: the server gives no index page of it ({found}), and this dataset has no list "
            "of its files; turn the server's index pages on, or give a --root that can be listed"
        )


def _too_large(url: str, found: str) -> SourceError:
    return SourceError(
        f"can't list {shown(url)}: {found}, the limit of an index page; put the files into several folders, or give a "
        "--root in an object store"
    )
