"""Asks a remote root, again where that may help, and tells what is absent from what could not be asked.

The difference decides what a run does: an absent file is one reject, as on a local disk, but a lost connection says
nothing about any record, so it stops the run. Only what a server states to be absent counts as absent.
"""

import errno
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..format.errors import ConnectionLostError, PreprocessError, SourceError
from .pace import TooSlowError
from .protocol import Sink, Status, protocols_of, shown

RETRY_SECONDS = (0.5, 2.0, 8.0)
"""How long to wait before each further attempt."""

SLOW_ATTEMPTS = 2
"""How often what comes too slowly is asked for: each time it was waited for a minute."""

MISSING_FSSPEC = "a URL needs fsspec: pip install 'resizeonce[remote]'"

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Connection(Protocol):
    """How a root is asked; names are relative to it, "" is the root itself.

    What is absent is a `FileNotFoundError`, what is forbidden a `PermissionError`; any other exception that is not the
    project's own is taken for trouble on the way.
    """

    def stat(self, name: str) -> Status:
        """Return whether a name is a folder, and its size."""

    def is_folder(self, name: str) -> bool:
        """Return whether a name is a folder that can be listed."""

    def list(self, name: str) -> dict[str, Status]:
        """Return what lies in a folder; sizes may be left out."""

    def read_range(self, name: str, start: int, stop: int, size: int = -1) -> bytes:
        """Return a file's bytes from `start` up to `stop`, fewer where it ends before.

        Args:
            name: of the file.
            start: the first byte.
            stop: the one behind the last.
            size: of the file, as it was told before; -1 where that is not known.

        Raises:
            NoRangesError: the server sends whole files only.
        """

    def read_whole(self, name: str, sink: Sink, limit: int) -> None:
        """Write a file's bytes to `sink`; `limit` + 1 of them at most."""

    def download(self, name: str, file: Path, limit: int) -> None:
        """Write a file's bytes to one on this machine; more than `limit` of them only where there are, and few more."""


@functools.cache
def _connect(root: str, _process: int) -> Connection:
    filesystem, base = open_filesystem(root)
    if {"http", "https"} & set(protocols_of(filesystem)):
        from .web import WebServer

        return WebServer(filesystem, base)
    from .filesystem import FileSystem

    return FileSystem(filesystem, base)


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, and what the URL is called in it.

    Raises:
        SourceError: fsspec or what it needs is not installed, or the URL is none it knows.
    """
    try:
        import fsspec
    except ImportError as err:
        raise SourceError(MISSING_FSSPEC) from err
    try:
        filesystem, base = fsspec.url_to_fs(url)
    except ImportError as err:
        raise SourceError(
            f"can't open {shown(url)}: {err}; pip install 'resizeonce[remote]' for http"
        ) from err
    except Exception as err:
        # Each of fsspec's file systems checks its own settings, in its own way.
        raise SourceError(f"can't open {shown(url)}: {err}; check the URL and fsspec's settings") from err
    return filesystem, base


def connect(root: str) -> Connection:
    """Return this process's connection to a root; connections can't be shared with a forked process.

    Raises:
        SourceError: fsspec or what it needs is not installed, or the URL is none it knows.
    """
    return _connect(root, os.getpid())


def persist(ask: Callable[[], ResultT], url: str) -> ResultT:
    """Return what `ask` returns, asking again after trouble.

    Raises:
        FileNotFoundError: there is no such file; with errno and `url`, as the operating system raises it.
        IsADirectoryError: it is a folder.
        ConnectionLostError: each attempt failed.
        SourceError: access is denied.
    """
    for attempt, seconds in enumerate((*RETRY_SECONDS, None), start=1):
        try:
            return ask()
        except PreprocessError:
            raise
        except PermissionError as err:
            # Also what an expired token looks like: it must not turn the rest of a dataset into rejects.
            raise SourceError(
                f"access to {url} is denied ({err}): check the credentials that fsspec finds, then run the same "
                "command again to go on"
            ) from err
        except NotImplementedError as err:
            raise SourceError(f"fsspec can't do this with {url}: {err!r}") from err
        except Exception as err:
            # Each of fsspec's file systems raises its own: what isn't known to be an answer is none.
            if _says_absent(err):
                raise _os_error(errno.ENOENT, url) from err
            if isinstance(err, IsADirectoryError):
                raise _os_error(errno.EISDIR, url) from err
            if seconds is None or (isinstance(err, TooSlowError) and attempt == SLOW_ATTEMPTS):
                raise ConnectionLostError(
                    f"lost the connection to {url} ({_describe(err)}), {attempt} attempts failed: run the same "
                    "command again to go on"
                ) from err
            time.sleep(seconds)
    raise AssertionError("the last attempt returns or raises")


def _says_absent(err: BaseException) -> bool:
    if not isinstance(err, FileNotFoundError | NotADirectoryError):
        return False
    # fsspec's HTTP, where another of its file systems lies over it, calls a file absent that it could not ask for.
    cause = err.__cause__
    by_http = cause is not None and type(cause).__module__.startswith("aiohttp")
    return not by_http or getattr(cause, "status", None) in (404, 410)


def _os_error(number: int, url: str) -> OSError:
    return OSError(number, os.strerror(number), url)


def _describe(err: Exception) -> str:
    return f"{type(err).__name__}: {err}".removesuffix(": ")
