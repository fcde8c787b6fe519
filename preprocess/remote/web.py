"""A root on a web server, through the session that fsspec's HTTP file system is configured with.

That file system itself is not asked: to it a file whose server is gone is a file that is absent, a server that ignores
ranges sends 11 GB for one header, and an index page is whatever looks like a link. A server has no folders either;
what it may have is an index page of one, and datasets that have to be listed need it.
"""

import io
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from preprocess.errors import SourceError
from preprocess.remote.connection import NoRangesError, Sink, Status, shown
from preprocess.remote.index_page import parse_index

if TYPE_CHECKING:
    from aiohttp import ClientResponse

MAX_PAGE_BYTES = 1 << 28
"""Largest index page that is read: of some million names."""

_PIECE_BYTES = 1 << 20
_ABSENT = (404, 410)
_DENIED = (401, 403)
_NO_HEAD = (400, 405, 501)
_PASSING = (408, 425, 429)


class _Head(NamedTuple):
    """The status line and headers of an answer, as far as they are needed."""

    url: str
    """After redirections."""
    num_bytes: int
    """-1 where the server does not say."""
    content_type: str


class WebServer:
    """Fulfils `connection.Connection` for an address that begins with http or https."""

    def __init__(self, filesystem: Any, base: str) -> None:
        if "?" in base or "#" in base:
            raise SourceError(
                f"{shown(base)} can't be a root: names are put behind it, so it must end in a folder, without ? or #"
            )
        self._filesystem = filesystem
        self._base = base.rstrip("/")

    def stat(self, name: str) -> Status:
        """Return a file's size; a folder is what the server redirects to an address with a slash at its end."""
        url = self._url(name)
        head = self._head(url)
        is_folder = unquote(urlsplit(head.url).path) == f"{unquote(urlsplit(url).path)}/"
        return Status(is_folder, -1 if is_folder else head.num_bytes)

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
        self._get(f"{self._url(name)}/", {}, page, MAX_PAGE_BYTES)
        names = parse_index(page.getvalue().decode("utf-8", "replace"), index.url)
        return {entry: Status(is_folder, -1) for entry, is_folder in names.items()}

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Return a file's bytes from `start` up to `stop`.

        Raises:
            NoRangesError: the server sends whole files only.
        """
        content = io.BytesIO()
        self._get(self._url(name), {"Range": f"bytes={start}-{stop - 1}"}, content, stop - start)
        return content.getvalue()

    def read_whole(self, name: str, sink: Sink, limit: int) -> None:
        """Write a file's bytes to `sink`; `limit` + 1 of them at most, whatever the server says or sends."""
        self._get(self._url(name), {}, sink, limit)

    def _url(self, name: str) -> str:
        return f"{self._base}/{quote(name, errors='surrogateescape')}" if name else self._base

    def _find_index(self, name: str) -> _Head:
        url = f"{self._url(name)}/"
        try:
            head = self._head(url)
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
            return self._head(f"{self._base}/").content_type == "text/html"
        except (FileNotFoundError, PermissionError):
            return False

    def _no_index(self, url: str, found: str) -> SourceError:
        return SourceError(
            f"can't list {shown(url)}: the server gives no index page of it ({found}), and this dataset has no list "
            "of its files; turn the server's index pages on, or give a --root that can be listed"
        )

    def _head(self, url: str) -> _Head:
        from fsspec.asyn import sync

        head: _Head = sync(self._filesystem.loop, self._ask_head, url)
        return head

    def _get(self, url: str, headers: dict[str, str], sink: Sink, limit: int) -> None:
        from fsspec.asyn import sync

        sync(self._filesystem.loop, self._ask, url, headers, sink, limit)

    async def _ask_head(self, url: str) -> _Head:
        async with await self._request("HEAD", url, {}) as answer:
            if answer.status not in _NO_HEAD:
                _check_status(answer)
                return _read_head(answer)
        async with await self._request("GET", url, {}) as answer:
            # Left here, before the content is read.
            _check_status(answer)
            return _read_head(answer)

    async def _ask(self, url: str, headers: dict[str, str], sink: Sink, limit: int) -> None:
        async with await self._request("GET", url, headers) as answer:
            if answer.status == 416:
                # The file ends before the range.
                return
            _check_status(answer)
            if "Range" in headers and answer.status != 206:
                raise NoRangesError(
                    f"the server of {shown(url)} sends whole files only, and parts of this one are needed: take a "
                    "server that answers range requests, as nginx, Apache and object stores do"
                )
            left = limit + 1
            while left and (piece := await answer.content.read(min(_PIECE_BYTES, left))):
                sink.write(piece)
                left -= len(piece)

    async def _request(self, method: str, url: str, headers: dict[str, str]) -> Any:
        settings = dict(self._filesystem.kwargs)
        # Compressed on the way, sizes and ranges would be of something else.
        given = {**settings.pop("headers", {}), **headers, "Accept-Encoding": "identity"}
        session = await self._filesystem.set_session()
        options = {"allow_redirects": True, **settings, "headers": given}
        return session.request(method, self._filesystem.encode_url(url), **options)


def _check_status(answer: "ClientResponse") -> None:
    """Raise what an answer's status means, nothing where it is a success."""
    found = f"the server answers {answer.status} {answer.reason}"
    if answer.status in _ABSENT:
        raise FileNotFoundError(found)
    if answer.status in _DENIED:
        raise PermissionError(found)
    if answer.status >= 500 or answer.status in _PASSING:
        raise ConnectionError(found)
    if answer.status >= 300:
        raise SourceError(f"can't read {shown(str(answer.url))}: {found}")


def _read_head(answer: "ClientResponse") -> _Head:
    length = answer.headers.get("Content-Length", "")
    return _Head(
        str(answer.url),
        int(length) if length.isascii() and length.isdigit() else -1,
        answer.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
    )
