"""Asks a remote root, again where that may help, and tells what is absent from what could not be asked.

The difference decides what a run does: an absent file is one reject, as on a local disk, but a lost connection says
nothing about any record, so it stops the run. Only what a server states to be absent counts as absent.
"""

import errno
import functools
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..format.errors import ConnectionLostError, PreprocessError, SourceError
from .pace import TooSlowError, pause_after
from .protocol import is_web, shown

if TYPE_CHECKING:
    from .filesystem import FileSystem
    from .web import WebServer

Connection: TypeAlias = "FileSystem | WebServer"

RETRY_SECONDS = (0.5, 2.0, 8.0)
"""How long to wait before each further attempt."""

SLOW_ATTEMPTS = 2
"""How often what comes too slowly is asked for: each time it was waited for a minute."""

ResultT = TypeVar("ResultT")


def connection_of(filesystem: Any, base: str, *, signed: bool = False) -> Connection:
    """Return how a root in one of fsspec's file systems is asked; names are relative to it, "" is the root itself.

    What is absent is a `FileNotFoundError`, what is forbidden a `PermissionError`; any other exception that is not the
    project's own is taken for trouble on the way.

    Args:
        filesystem: fsspec's.
        base: the root, as it is called there.
        signed: whether what follows a ? in an address of the web, such as a signature, is sent with each file that is read whole.
    """
    if is_web(filesystem):
        from .web import WebServer

        address, _, query = base.partition("#")[0].partition("?") if signed else (base, "", "")
        return WebServer(filesystem, address, query)
    from .filesystem import FileSystem

    return FileSystem(filesystem, base)


@functools.cache
def _connect(root: str, _process: int) -> Connection:
    return connection_of(*open_filesystem(root))


def open_filesystem(url: str, options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """Return fsspec's file system of a URL, opened with its storage options, and what the URL is called in it.

    Raises:
        SourceError: fsspec or what it needs is not installed, or the URL is none it knows.
    """
    try:
        import fsspec
    except ImportError as err:
        raise SourceError("a URL needs fsspec: pip install 'resizeonce[remote]'") from err
    try:
        opened: tuple[Any, str] = fsspec.url_to_fs(url, **(options or {}))
    except ImportError as err:
        raise SourceError(
            f"can't open {shown(url)}: {err}; pip install 'resizeonce[remote]' for http"
        ) from err
    except Exception as err:
        # Each of fsspec's file systems checks its own settings, in its own way.
        raise SourceError(f"can't open {shown(url)}: {err}; check the URL and fsspec's settings") from err
    return opened


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
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), url) from err
            if isinstance(err, IsADirectoryError):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), url) from err
            if seconds is None or (isinstance(err, TooSlowError) and attempt == SLOW_ATTEMPTS):
                found = f"{type(err).__name__}: {err}".removesuffix(": ")
                raise ConnectionLostError(
                    f"lost the connection to {url} ({found}), {attempt} attempts failed: run the same command again to go on"
                ) from err
            time.sleep(pause_after(err, seconds))
    raise AssertionError("the last attempt returns or raises")


def _says_absent(err: BaseException) -> bool:
    if not isinstance(err, FileNotFoundError | NotADirectoryError):
        return False
    # fsspec's HTTP, where another of its file systems lies over it, calls a file absent that it could not ask for.
    cause = err.__cause__
    by_http = cause is not None and type(cause).__module__.startswith("aiohttp")
    return not by_http or getattr(cause, "status", None) in (404, 410)
