"""Copies of remote files on the local disk, for what needs a real file: npz, mp4, CSV."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ...loader.format.errors import SourceError
from .path import RemotePath

MAX_COPY_BYTES = 1 << 33
"""Largest file that is copied."""


class _LocalCopies:
    """A file to write to; that the disk is full is the fault neither of a record nor of the connection."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.seek = file.seek
        self.truncate = file.truncate
        self.tell = file.tell

    def write(self, content: bytes, /) -> int:
        """Write all of `content`.

        Raises:
            SourceError: the disk does not take it.
        """
        left = memoryview(content)
        with _faults_reported():
            while left:
                left = left[self._file.write(left) :]
        return len(content)


@contextmanager
def local_file(path: Path | RemotePath) -> Iterator[Path]:
    """Yield the file itself or, of a remote one, a copy that is gone afterwards.

    Raises:
        RecordError: a remote file is missing, is a folder, or is too large to be copied.
        SourceError: the local disk can't hold it, or this system opens no file by its number.
    """
    if isinstance(path, Path):
        yield path
        return
    with ExitStack() as stack:
        with _faults_reported():
            # It has no name, so that a killed process leaves nothing behind, but can be opened by its number.
            file = stack.enter_context(tempfile.TemporaryFile(buffering=0))
        local = Path(f"/dev/fd/{file.fileno()}")
        if not local.exists():
            # It would look like a record whose file is missing.
            raise SourceError(
                f"a copy of a remote file can't be opened by its number, as {local}: see that /proc is mounted"
            )
        path.copy_to(_LocalCopies(file), MAX_COPY_BYTES)
        yield local


@contextmanager
def _faults_reported() -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise SourceError(
            f"can't keep a copy of a remote file on the local disk: {err}; set TMPDIR to a folder with more room"
        ) from err
