"""The files in the root of a store at a URL, as commands look at them that only read: also from a web server."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ...loader.format.errors import SourceError, StoreError
from ...loader.format.layout import JOB_FILE, REJECTS_FILE
from ...loader.format.metadata import MAX_REJECTS_BYTES, MAX_ROOT_BYTES
from ...loader.remote.connection import connect
from ...loader.remote.protocol import shown
from ..errors import MissingFileError, RecordError
from ..remote.path import RemotePath, local_path
from .filesystem import writing


@contextmanager
def root_folder(store: Path | str) -> Iterator[Path]:
    """Yield a folder that has the root's files of a store: its own, or a passing one for a store with a URL.

    Within the block, errors name the store as the user does.

    Raises:
        StoreError: a URL can't be read.
    """
    path = local_path(store)
    if path is not None:
        yield path
        return
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(TemporaryDirectory()))
        except OSError as err:
            raise StoreError(
                f"can't keep a file of {shown(str(store))} on the local disk: {err}; set TMPDIR to a folder that can be written to"
            ) from err
        try:
            root = RemotePath(str(store))
            connect(str(store))
            # Where there is no root, the plan says that the store is unfinished.
            _fetch(root, REJECTS_FILE if _fetch(root, "zarr.json", folder) else JOB_FILE, folder)
        except SourceError as err:
            raise StoreError(str(err)) from err
        try:
            yield folder
        except StoreError as err:
            raise type(err)(str(err).replace(str(folder), shown(str(store)).rstrip("/"))) from err


def _fetch(root: RemotePath, name: str, folder: Path) -> bool:
    """Copy a file from a store's root into a folder; return whether there is one."""
    try:
        with writing(folder), (folder / name).open("wb") as file:
            (root / name).copy_to(file, MAX_REJECTS_BYTES if name == REJECTS_FILE else MAX_ROOT_BYTES)
    except MissingFileError:
        (folder / name).unlink()
        return False
    except RecordError as err:
        raise StoreError(f"can't read {root / name}: {err.reason}") from err
    return True
