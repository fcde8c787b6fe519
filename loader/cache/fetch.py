"""The files of a store at a URL, read through fsspec, which is imported when the first URL is opened."""

import io
import os
import re
import time
from collections.abc import Callable, Mapping
from errno import EDQUOT, EFBIG, ENOSPC, EROFS
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..format.errors import SourceError, StoreError
from ..format.metadata import MAX_METADATA_BYTES, MAX_ROOT_BYTES
from ..remote.connection import SLOW_ATTEMPTS, Connection, connection_of, open_filesystem
from ..remote.origin import origin_of
from ..remote.pace import TooSlowError, pause_after

PAUSES = (0.25, 1.0)
"""Seconds to wait before the second and the third try."""

_LOCAL_FAULTS = (ENOSPC, EDQUOT, EROFS, EFBIG)

Result = TypeVar("Result")


class DamagedArrivalError(StoreError):
    """Raised when what arrived is not what the store lists; worth another try."""


class Bound(NamedTuple):
    """How many bytes are taken of a body."""

    num_bytes: int
    document: str = ""
    """Whose limit that is, where nothing says how large it is; "" of a file of which the size is listed."""

    def check(self, num_bytes: int) -> None:
        """Raise `DamagedArrivalError` where more came; how many more is not known."""
        most = self.num_bytes
        if num_bytes > most and self.document:
            raise DamagedArrivalError(f"it has more than {most:,} bytes, the limit of {self.document}")
        if num_bytes > most:
            raise DamagedArrivalError(f"it has {most + 1} bytes, expected {most}, and was read no further")


ROOT_BOUND = Bound(MAX_ROOT_BYTES, "a store's zarr.json")
PART_BOUND = Bound(MAX_METADATA_BYTES, "a part's zarr.json")


class RemoteFiles:
    """The files below a URL. Each process, also a forked one, connects for itself.

    No more is taken of a file than it may have and a byte, nor waited for longer than the least rate allows
    (`loader.remote.pace`).

    Args:
        url: anything that fsspec opens. What follows a ? in an address of the web, such as a signature, is asked for with
            each file.
        options: what fsspec calls storage options, such as {"anon": True} for a public bucket.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        # A signature may end as a folder does.
        self._url = url if "?" in url else url.rstrip("/")
        self._options = dict(options)
        self._connection: tuple[int, Connection] | None = None
        self.name = _without_secrets(self._url).rstrip("/")
        """The URL as messages show it: without a password, or a signature."""

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_connection": None}

    @property
    def origin(self) -> str:
        """Where the files come from, whoever asks for them."""
        from fsspec.config import conf

        settings = {name: conf[name] for name in re.findall(r"\w+", self._url) if name in conf}
        return origin_of(self._url, {**self._options, "settings": settings})

    def read(
        self, name: str, check: Callable[[bytes], None] = lambda _: None, *, bound: Bound = ROOT_BOUND
    ) -> bytes:
        """Return a small file, once its bytes pass a check that raises `DamagedArrivalError`.

        Raises:
            FileNotFoundError: there is no such file.
            StoreError: it can't be read, or arrived damaged or too long three times.
        """

        def attempt() -> bytes:
            content = io.BytesIO()
            self._connect().read_whole(name, content, bound.num_bytes)
            bound.check(content.tell())
            check(content.getvalue())
            return content.getvalue()

        return self._persist(name, attempt)

    def fetch(self, name: str, path: Path, check: Callable[[Path], None], *, bound: Bound) -> None:
        """Write a file to `path`, in a folder that is there, and check it.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it can't be written.
            StoreError: it can't be read, or arrived damaged or too long three times.
        """

        def attempt() -> None:
            self._connect().download(name, path, bound.num_bytes)
            bound.check(path.stat().st_size)
            check(path)

        self._persist(name, attempt, path)

    def _persist(self, name: str, attempt: Callable[[], Result], path: Path | None = None) -> Result:
        """Try three times where the network, or what came over it, is at fault; twice where it is too slow.

        Not where `path`, where the file is to be kept, can't be opened.
        """
        for number, pause in enumerate((*PAUSES, None), start=1):
            try:
                return attempt()
            except SourceError as err:
                # What another try won't change, in the words of those who read raw data.
                raise StoreError(_without_secrets(str(err))) from err
            except Exception as err:
                # fsspec hands on whatever its backends raise, so no list of network faults would be whole.
                if _is_final(err) or (path and isinstance(err, OSError) and err.filename == str(path)):
                    raise
                is_slow = isinstance(err, TooSlowError) and number == SLOW_ATTEMPTS
                if pause is None or is_slow or isinstance(err, PermissionError):
                    raise self._gave_up(name, err) from err
                seconds = pause_after(err, pause)
            time.sleep(seconds)
        raise AssertionError("the last try returns or raises")

    def _gave_up(self, name: str, err: Exception) -> StoreError:
        if isinstance(err, DamagedArrivalError):
            return StoreError(f"{self.name}/{name} arrived damaged {1 + len(PAUSES)} times: {err}")
        return StoreError(
            f"can't read {self.name}/{name}: {type(err).__name__}: {_without_secrets(str(err))}"
        )

    def _connect(self) -> Connection:
        """Return this process's connection."""
        if self._connection is None or self._connection[0] != os.getpid():
            self._connection = (os.getpid(), self._open())
        return self._connection[1]

    def _open(self) -> Connection:
        try:
            return connection_of(*open_filesystem(self._url, self._options), signed=True)
        except SourceError as err:
            cause = err.__cause__
            if not isinstance(cause, Exception) or isinstance(cause, ImportError | ValueError | TypeError):
                raise
        # Some file systems, as that of sftp, ask the server already when they are made: it may answer the next time.
        raise cause


def _without_secrets(text: str) -> str:
    without_passwords = re.sub(r"//[^/@\s]*@", "//", text)
    return re.sub(r"(https?://[^\s?#'\"]*)[?#][^\s'\"]*", r"\1", without_passwords)


def _is_final(err: Exception) -> bool:
    """Whether another try would find the same: the file is not there, the store is wrong, or the disk here is full."""
    if isinstance(err, OSError):
        return isinstance(err, FileNotFoundError) or err.errno in _LOCAL_FAULTS
    return isinstance(err, StoreError) and not isinstance(err, DamagedArrivalError)
