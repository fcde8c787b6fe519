"""Files that belong together because they are called alike: an image, its mask, and its name in a list."""

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from .leftovers import suffix_of
from .picture_folder import IMAGE_SUFFIXES


def plain_name(path: str) -> str:
    """Return the name that a picture has in common with what belongs to it, in one form of those that mean the same.

    >>> plain_name("a/0001.jpg"), plain_name("a/0001.v2")
    ('a/0001', 'a/0001.v2')
    """
    known = path.rpartition(".")[0] if suffix_of(path) in IMAGE_SUFFIXES else path
    return unicodedata.normalize("NFC", known)


def group_by_name(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the paths that have each name in common."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(plain_name(path), []).append(path)
    return groups


def match_masks(
    masks: Iterable[str], images: Mapping[str, str], *, in_folders: bool
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the masks of each image, by its name, and those that belong to none.

    A mask is called as its image is, or, where masks are `in_folders`, lies in a folder that is.
    """
    by_file = {unicodedata.normalize("NFC", path): name for name, path in images.items()}
    matched: dict[str, list[str]] = {}
    others = []
    for mask in masks:
        parent = unicodedata.normalize("NFC", str(PurePosixPath(mask).parent))
        name = parent if in_folders else plain_name(mask)
        name = name if name in images else by_file.get(name, "")
        if name:
            matched.setdefault(name, []).append(mask)
        else:
            others.append(mask)
    return matched, others
