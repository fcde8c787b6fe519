"""Files that are written for people: their names are looked at before hours are spent, and they are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError


def check_output(path: Path) -> None:
    """Raise `ConfigError` where no file can be written under this name: its folder is missing, or something else has it."""
    folder = path.absolute().parent
    try:
        if not folder.is_dir():
            raise ConfigError(f"can't write {path}: there is no folder {folder}")
        is_link, is_other = path.is_symlink(), path.exists() and not path.is_file()
    except OSError as err:
        raise ConfigError(f"can't write {path}: {err.strerror or err}") from err
    if is_link or is_other:
        kind = "a link" if is_link else "a folder" if path.is_dir() else "a device or a pipe"
        raise ConfigError(f"can't write {path}: it is {kind}; give the name of a file")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to, whose file takes the place of `path` once it is whole; the folder is made where it is missing.

    Raises:
        ConfigError: the file system refuses.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as err:
        raise ConfigError(f"can't write {path}: {err.strerror or err}") from err
