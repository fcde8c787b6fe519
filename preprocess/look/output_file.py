"""Files that are written for people: their names are looked at before hours are spent, and they are there whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, features

from ...loader.format.layout import ATTRIBUTES_KEY, JOB_FILE
from ..errors import ConfigError

_JPEG = "JPEG", {"quality": 90, "subsampling": 0}, 65_500

_FORMATS: dict[str, tuple[str, dict[str, Any], int]] = {
    ".png": ("PNG", {}, 1_000_000),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": ("WEBP", {"quality": 90}, 16_383),
}
"""Pillow's name and settings of each, and how many pixels a side may have."""


def check_output(path: Path) -> None:
    """Raise `ConfigError` where no file can be written under this name: its folder is missing or a store's, or something else has it."""
    folder = path.absolute().parent
    with _refusals(path):
        if not folder.is_dir():
            raise ConfigError(f"can't write {path}: there is no folder {folder}")
        is_link = path.is_symlink()
        if is_link or (path.exists() and not path.is_file()):
            kind = "a link" if is_link else "a folder" if path.is_dir() else "a device or a pipe"
            raise ConfigError(f"can't write {path}: it is {kind}; give the name of a file")
        _refuse_in_store(folder)


def check_output_folder(folder: Path) -> None:
    """Raise `ConfigError` where nothing can be written into a folder, which may be missing: another thing has its name, or a store has it."""
    with _refusals(folder):
        if os.path.lexists(folder) and not folder.is_dir():
            raise ConfigError(f"can't write {folder}: it is no folder; give the name of one")
        _refuse_in_store(folder)


def _refuse_in_store(folder: Path) -> None:
    """Raise `ConfigError` where a folder is that of a store or below it, whichever links lead there."""
    # Path.resolve raises RuntimeError for a link to itself.
    whole = Path(os.path.realpath(folder))
    # From above: a part has a file of that name, too.
    for one in reversed((whole, *whole.parents)):
        if _is_store(one):
            raise ConfigError(
                f"{folder} is in the store {one}, which holds nothing but what its root lists: give another folder"
            )


def _is_store(folder: Path) -> bool:
    """Whether a folder is that of a store or of a part, finished or not, and not of any other Zarr group."""
    if (folder / JOB_FILE).exists():
        return True
    group = folder / "zarr.json"
    return group.is_file() and f'"{ATTRIBUTES_KEY}"'.encode() in group.read_bytes()


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn what a file system refuses into a `ConfigError` that names the file."""
    try:
        yield
    except OSError as err:
        raise ConfigError(f"can't write {path}: {err.strerror or err}") from err


def write_output(path: Path, content: bytes) -> None:
    """Write a file, which takes the place of what was there once it is whole; its folder is made where it is missing.

    Raises:
        ConfigError: the file system refuses.
    """
    # Processes in containers that share a disk may have one number.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    with _refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:
                file.write(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def check_picture_name(path: Path) -> None:
    """Raise `ConfigError` where no picture can be written under this name; its ending says the format."""
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"{path} has no ending of a picture: give it one of {', '.join(_FORMATS)}")
    if path.suffix.lower() == ".webp" and not features.check("webp"):
        raise ConfigError(f"{path}: this Pillow is built without WebP; write a .png")
    check_output(path)


def write_picture(image: Image.Image, path: Path) -> None:
    """Write a picture under a name that `check_picture_name` lets pass; what was there is replaced.

    Raises:
        ConfigError: it is too large for the format, or the file system refuses.
    """
    name, settings, most = _FORMATS[path.suffix.lower()]
    if max(image.size) > most:
        raise ConfigError(
            f"{path}: the picture is of {image.width} x {image.height} pixels, and {name} takes {most} a side; "
            "write a .png, or take fewer samples"
        )
    encoded = BytesIO()
    image.save(encoded, name, **settings)
    write_output(path, encoded.getvalue())
