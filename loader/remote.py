"""A folder at a URL, read through fsspec, which is imported when the first URL is opened."""

import os
import re
import time
from collections.abc import Callable, Mapping
from errno import EDQUOT, EFBIG, ENOSPC, EROFS
from pathlib import Path
from typing import Any, TypeVar

from preprocess.errors import StoreError

PAUSES = (0.25, 1.0)
"""Seconds to wait before the second and the third try."""

TIMEOUT_SECONDS = 60.0
"""How long an HTTP server may send nothing; a whole file may take as long as it likes."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::|://)")
_LOCAL_FAULTS = (ENOSPC, EDQUOT, EROFS, EFBIG)

Result = TypeVar("Result")


class DamagedArrivalError(StoreError):
    """Raised when what arrived is not what the store lists; worth another try."""


def is_url(source: str | Path) -> bool:
    """Whether a store's source is a URL, such as "s3://bucket/coco.zarr"; anything else is a path."""
    return isinstance(source, str) and _URL.match(source) is not None


class RemoteFolder:
    """The files below a URL. Each process, also a forked one, connects for itself.

    Args:
        url: anything that fsspec opens.
        options: what fsspec calls storage options, such as {"anon": True} for a public bucket.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._url = url.rstrip("/")
        self._options = dict(options)
        self._connection: tuple[int, Any, str] | None = None
        self.name = _without_password(self._url)
        """The URL as messages show it: without a password."""

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_connection": None}

    def read(self, name: str, check: Callable[[bytes], None] = lambda _: None) -> bytes:
        """Return a small file, once it passes a check that raises `DamagedArrivalError`.

        Raises:
            FileNotFoundError: there is no such file.
            StoreError: it can't be read, or arrived damaged three times.
        """

        def attempt() -> bytes:
            fs, root = self._connect()
            content: bytes = fs.cat_file(f"{root}/{name}")
            check(content)
            return content

        return self._persist(name, attempt)

    def fetch(self, name: str, path: Path, check: Callable[[Path], None]) -> None:
        """Write a file to `path`, in a folder that is there, and check it.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it can't be written.
            StoreError: it can't be read, or arrived damaged three times.
        """

        def attempt() -> None:
            fs, root = self._connect()
            fs.get_file(f"{root}/{name}", str(path))
            check(path)

        self._persist(name, attempt)

    def _persist(self, name: str, attempt: Callable[[], Result]) -> Result:
        """Try three times where the network, or what came over it, is at fault."""
        for pause in (*PAUSES, None):
            try:
                return attempt()
            except Exception as err:
                # fsspec hands on whatever its backends raise, so no list of network faults would be whole.
                if _is_final(err):
                    raise
                if pause is None or isinstance(err, PermissionError):
                    raise self._gave_up(name, err) from err
            time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _gave_up(self, name: str, err: Exception) -> StoreError:
        if isinstance(err, DamagedArrivalError):
            return StoreError(f"{self.name}/{name} arrived damaged {1 + len(PAUSES)} times: {err}")
        return StoreError(
            f"can't read {self.name}/{name}: {type(err).__name__}: {_without_password(str(err))}"
        )

    def _connect(self) -> tuple[Any, str]:
        """Return this process's filesystem and the folder's path in it."""
        if self._connection is None or self._connection[0] != os.getpid():
            self._connection = (os.getpid(), *_open(self._url, self.name, self._options))
        return self._connection[1:]


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


def _is_final(err: Exception) -> bool:
    """Whether another try would find the same: the file is not there, the store is wrong, or the disk here is full."""
    if isinstance(err, OSError):
        return isinstance(err, FileNotFoundError) or err.errno in _LOCAL_FAULTS
    return isinstance(err, StoreError) and not isinstance(err, DamagedArrivalError)


def _open(url: str, name: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as err:
        raise StoreError(
            f"{name} is a URL, and reading it needs fsspec: pip install 'resizeonce[remote]'"
        ) from err
    try:
        fs, root = url_to_fs(url, **_with_timeout(url, options))
    except ImportError as err:
        raise StoreError(
            f"{name} can't be opened ({err}): pip install 'resizeonce[remote]', and what its protocol needs"
        ) from err
    except (ValueError, TypeError) as err:
        raise StoreError(f"{name} can't be opened: {err}") from err
    return fs, root.rstrip("/")


def _with_timeout(url: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options, for HTTP with a limit to silence in place of aiohttp's five minutes for a whole file."""
    if not url.startswith(("http://", "https://")) or "client_kwargs" in options:
        return options
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=TIMEOUT_SECONDS, sock_read=TIMEOUT_SECONDS)
    return {**options, "client_kwargs": {"timeout": timeout}}
