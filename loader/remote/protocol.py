"""What those that ask servers share: what is answered, where bytes go, and a URL as it may be printed."""

import re
from typing import NamedTuple, Protocol

from ..format.errors import SourceError


class Status(NamedTuple):
    """What a server says about a name."""

    is_folder: bool
    st_size: int
    """Of a file, in bytes; -1 where the server does not say. Named as in `os.stat_result`."""
    version: str = ""
    """What changes with a file's content (a strong ETag); "" where the server does not tell."""


class NoRangesError(SourceError):
    """Raised when a server sends whole files only."""


class ChangedError(SourceError):
    """Raised when a part of a file is asked for, and the file is another one by now."""


class Sink(Protocol):
    """Where a file's bytes go: what is needed of a binary file."""

    def write(self, content: bytes, /) -> int:
        """Write."""

    def seek(self, offset: int, /) -> int:
        """Go to a place."""

    def truncate(self) -> int:
        """Cut off what is behind the place."""

    def tell(self) -> int:
        """Return the place."""


def protocols_of(filesystem: object) -> set[str]:
    """Return the names that a file system's URLs begin with."""
    protocol: str | tuple[str, ...] = getattr(filesystem, "protocol", ())
    return {protocol} if isinstance(protocol, str) else set(protocol)


def is_web(filesystem: object) -> bool:
    """Whether a file system is of web servers."""
    return not protocols_of(filesystem).isdisjoint({"http", "https"})


def shown(url: str) -> str:
    """Return a URL as it may be printed.

    >>> shown("sftp://user:secret@host/data")
    'sftp://user:***@host/data'
    """
    return re.sub(r"(//[^/:@]*):[^/@]*@", r"\1:***@", url)
