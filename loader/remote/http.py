"""Asks a web server, and takes no more of its answers than was asked for, whatever they say of themselves.

Requests go through fsspec's settings for HTTP, in a session of its own: that unpacks nothing, since some kB may unpack to
gigabytes, and its clock is that of `pace` in place of five minutes for a whole file.
"""

import asyncio
import re
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ..format.errors import SourceError
from . import pace
from .protocol import ChangedError, NoRangesError, Sink, shown

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_PIECE_BYTES = 1 << 20
_ABSENT = (404, 410)
_DENIED = (401, 403)
_NO_HEAD = (400, 403, 405, 501)
"""What is answered where GET may yet be: some firewalls forbid what they see seldom."""
_PASSING = (408, 425, 429)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class Head(NamedTuple):
    """The status line and headers of an answer, as far as they are needed."""

    url: str
    """After redirections."""
    num_bytes: int
    """-1 where the server does not say."""
    content_type: str
    version: str = ""
    """Of the content, as a strong ETag; "" where the server does not tell."""


class Part(NamedTuple):
    """The bytes of a file that are asked for."""

    start: int
    stop: int
    size: int = -1
    """Of the file, as the server told it before; -1 where it did not."""
    version: str = ""
    """Of the file, likewise; "" where it did not."""


class WebClient:
    """Asks web servers, by the settings of fsspec's file system for HTTP."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem
        self._session: Any = None

    def head(self, url: str) -> Head:
        """Return what a server says of an address.

        Raises:
            FileNotFoundError: there is nothing.
            PermissionError: access is denied.
            SourceError: the server does what can't help to ask for again.
        """
        head: Head = self._run(self._ask_head, url)
        return head

    def get(self, url: str, sink: Sink, limit: int, asked: Part | None = None) -> None:
        """Write what lies at an address, all of it or a part that is asked for, to `sink`: `limit` + 1 bytes at most.

        Raises:
            NoRangesError: a part was asked for, and the server sends whole files only.
            ChangedError: a part was asked for, and the file is of another version.
            ConnectionError: the answer was cut off, came too slowly, or is of another part.
            OSError, SourceError: as for `head`.
        """
        self._run(self._get, url, sink, limit, asked)

    def _run(self, ask: Any, *arguments: Any) -> Any:
        from fsspec.asyn import sync

        return sync(self._filesystem.loop, ask, *arguments)

    async def _ask_head(self, url: str) -> Head:
        async with self._answer("HEAD", url) as answer:
            if answer.status not in _NO_HEAD:
                _check_status(answer)
                return _read_head(answer)
        async with self._answer("GET", url) as answer:
            # Left here, before the content is read.
            _check_status(answer)
            return _read_head(answer)

    async def _get(self, url: str, sink: Sink, limit: int, asked: Part | None) -> None:
        headers = {} if asked is None else {"Range": f"bytes={asked.start}-{asked.stop - 1}"}
        async with self._answer("GET", url, headers) as answer:
            if asked is not None and answer.status == 416:
                _check_end(answer, asked.start)
                return
            _check_status(answer)
            _check_packing(answer)
            expected = None if asked is None else _check_range(answer, asked)
            if asked is None and answer.status == 206:
                raise ConnectionError(
                    "the server answers 206 with a part of the file, where all of it was asked for"
                )
            come = await _receive(answer, sink, limit)
            if expected is not None and come != expected:
                raise ConnectionError(f"{come} bytes came of a part of {expected}")

    @asynccontextmanager
    async def _answer(
        self, method: str, url: str, headers: dict[str, str] | None = None
    ) -> AsyncIterator["ClientResponse"]:
        """Give the answer to a request, its content still to be read."""
        from aiohttp import RedirectClientError, TooManyRedirects

        session = await self._connect()
        settings = dict(self._filesystem.kwargs)
        # Compressed on the way, sizes and ranges would be of something else.
        given = {**settings.pop("headers", {}), **(headers or {}), "Accept-Encoding": "identity"}
        options = {"allow_redirects": True, **settings, "headers": given}
        address = self._filesystem.encode_url(url)
        try:
            async with asyncio.timeout(pace.WINDOW_SECONDS):
                answer = await session.request(method, address, **options)
        except TooManyRedirects as err:
            raise SourceError(
                f"can't read {shown(url)}: the server redirects again and again, {len(err.history)} times so far: check "
                "the address"
            ) from err
        except RedirectClientError as err:
            raise SourceError(
                f"can't read {shown(url)}: the server redirects to {shown(str(err))}, which is no address of a web server"
            ) from err
        except TimeoutError as err:
            raise pace.TooSlowError(
                f"no answer came in time: {str(err) or f'{pace.WINDOW_SECONDS:g} seconds passed'}"
            ) from err
        async with answer:
            yield answer

    async def _connect(self) -> Any:
        if self._session is None:
            from aiohttp import ClientTimeout

            filesystem = self._filesystem
            seconds = pace.WINDOW_SECONDS
            timeout = ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
            kwargs = {"timeout": timeout, **filesystem.client_kwargs, "auto_decompress": False}
            self._session = await filesystem.get_client(loop=filesystem.loop, **kwargs)
            weakref.finalize(self, filesystem.close_session, filesystem.loop, self._session)
        return self._session


async def _receive(answer: "ClientResponse", sink: Sink, limit: int) -> int:
    """Write an answer's content to `sink`; return how many bytes that were."""
    come = 0
    speed = pace.Pace()
    while come <= limit:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(speed.patience):
                piece = await answer.content.read(min(_PIECE_BYTES, limit + 1 - come))
        except TimeoutError as err:
            raise speed.too_slow() from err
        if not piece:
            break
        speed.count(len(piece), time.monotonic() - begun)
        sink.write(piece)
        come += len(piece)
    return come


def _check_status(answer: "ClientResponse") -> None:
    """Raise what an answer's status means, nothing where it is a success."""
    found = f"the server answers {answer.status} {answer.reason}"
    if answer.status in _ABSENT:
        raise FileNotFoundError(found)
    if answer.status in _DENIED:
        raise PermissionError(found)
    if answer.status >= 500 or answer.status in _PASSING:
        # A date is the other form, and clocks differ.
        told = answer.headers.get("Retry-After", "").strip()
        seconds = float(told) if re.fullmatch(r"\d{1,9}", told, re.ASCII) else 0.0
        raise pace.BusyError(f"{found} (Retry-After: {told})" if seconds else found, seconds)
    if answer.status >= 300:
        raise SourceError(f"can't read {shown(str(answer.url))}: {found}")


def _check_packing(answer: "ClientResponse") -> None:
    packing = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("", "identity"):
        raise SourceError(
            f"can't read {shown(str(answer.url))}: it comes packed (Content-Encoding: {packing[:40]}), though it was asked "
            "for as it is (Accept-Encoding: identity): turn that off at the server, or at the proxy before it"
        )


def _check_range(answer: "ClientResponse", asked: Part) -> int:
    """Return how many bytes a part has that was asked for.

    Raises:
        NoRangesError: all of the file comes instead.
        ChangedError: the file is of another version.
        ConnectionError: another part comes instead.
    """
    if answer.status != 206:
        raise NoRangesError(
            f"the server of {shown(str(answer.url))} sends whole files only, and parts of this one are needed: take a "
            "server that answers range requests, as nginx, Apache and object stores do"
        )
    start, stop, size, version = asked
    if version and _version_of(answer) not in ("", version):
        raise ChangedError(
            f"{shown(str(answer.url))} changed while it was read, by its ETag, which is {_version_of(answer):.80} and was "
            f"{version:.80}: see that nobody writes to it, then run the same command again to go on"
        )
    told = answer.headers.get("Content-Range", "")
    found = _CONTENT_RANGE.fullmatch(told.strip())
    if found is not None:
        first, last = int(found[1]), int(found[2])
        if size >= 0 and found[3] not in ("*", str(size)):
            raise ConnectionError(
                f"the file has {found[3]} bytes by an answer (Content-Range), and had {size} before"
            )
        # Fewer bytes only where the file ends before.
        if first == start and (last == stop - 1 or (last < stop and found[3] == str(last + 1))):
            return last + 1 - first
    raise ConnectionError(
        f"bytes {start}-{stop - 1} were asked for, and the answer is of "
        f"{f'{told[:80]!r}' if told else 'a part that it does not name'} (Content-Range): a server or a proxy on the way "
        "mixes parts up"
    )


def _check_end(answer: "ClientResponse", start: int) -> None:
    """Compare what an answer without content says of the file's end with where a part was to begin."""
    told = re.fullmatch(r"bytes \*/(\d{1,18})", answer.headers.get("Content-Range", "").strip())
    if told and int(told[1]) > start:
        raise ConnectionError(
            f"the server has no bytes from {start} on, and says that the file has {told[1]}"
        )


def _read_head(answer: "ClientResponse") -> Head:
    # Of what comes packed the length is another one.
    length = "" if "Content-Encoding" in answer.headers else answer.headers.get("Content-Length", "")
    return Head(
        str(answer.url),
        int(length) if length.isascii() and length.isdigit() and len(length) < 19 else -1,
        answer.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
        _version_of(answer),
    )


def _version_of(answer: "ClientResponse") -> str:
    """Return the strong ETag of an answer, "" without one: a weak one stays the same where some bytes change (RFC 9110, 8.8.1)."""
    found = answer.headers.get("ETag", "").strip()
    return "" if found.startswith("W/") else found
