"""Pictures as files: the format by the name's ending."""

from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, features

from ..errors import ConfigError
from .output_file import check_output, replacing


class _Format(NamedTuple):
    """How a picture is written."""

    name: str
    """Pillow's."""
    settings: dict[str, Any]
    most: int
    """Pixels that a side may have."""


_JPEG = _Format("JPEG", {"quality": 90, "subsampling": 0}, 65_500)

_FORMATS = {
    ".png": _Format("PNG", {}, 1_000_000),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _Format("WEBP", {"quality": 90}, 16_383),
}


def check_picture_name(path: Path) -> None:
    """Raise `ConfigError` where no picture can be written under this name; before hours are spent on it."""
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
    form = _FORMATS[path.suffix.lower()]
    if max(image.size) > form.most:
        raise ConfigError(
            f"{path}: the picture is of {image.width} x {image.height} pixels, and {form.name} takes {form.most} a side; "
            "write a .png, or take fewer samples"
        )
    with replacing(path) as partial:
        image.save(partial, form.name, **form.settings)
