"""Folders of pictures: whether they are there, what else lies in them, and which frame of a video each picture is.

Videos are a folder each, in which the names of pictures end in the numbers of their frames: 00000.jpg, say, or frame_12.png.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ....loader.format.errors import SourceError
from ...errors import RecordError
from ..records import Reject
from .folder_tree import is_folder, list_folder, list_if_possible
from .leftovers import LeftOut, archive_stem, is_system_file, kind_anywhere, suffix_of
from .raw_files import CHECK_SOURCE, RawPath, is_folder_there, is_text, resolve_inside

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""Of pictures that are decoded."""

_NUMBER = re.compile(r"(?:.*[^0-9])?([0-9]{1,9})", re.DOTALL)


def check_folder(root: RawPath, folder: str) -> None:
    """Raise `SourceError` where a folder of raw files is not there, or is empty and archives lie beside it, which may hold it.

    Of a remote root it is not asked: some servers can tell only of files.
    """
    path = root / folder
    if not isinstance(path, Path) or (is_folder_there(path) and next(list_if_possible(path), None)):
        return
    beside = dict.fromkeys((root, path.parent))
    archives = sorted(
        entry.name for place in beside for entry in list_if_possible(place) if archive_stem(entry.name)
    )
    if is_folder_there(path) and not archives:
        # Each of its files will be a reject, or is one that may be absent.
        return
    found = f"the folder {path} is empty" if is_folder_there(path) else f"there is no folder {path}"
    packed = f"; {', '.join(archives[:8])} there: unpack what holds it" if archives else ""
    raise SourceError(f"{found}{packed}{CHECK_SOURCE}")


def count_unlisted(root: RawPath, folder: str, listed: Iterable[str]) -> LeftOut:
    """Count the pictures that lie directly in a folder and that no name in `listed` means."""
    unread = LeftOut(dict.fromkeys(IMAGE_SUFFIXES, "picture that the annotations do not list"))
    known = {_last_part(name) for name in listed}
    for entry in list_if_possible(root / folder):
        if is_system_file(entry.name) or _last_part(entry.name) not in known:
            unread.look_at(entry.name, f"{folder}/{entry.name}")
    return unread


def count_foreign(root: RawPath, folder: str, unread: LeftOut) -> None:
    """Count what lies directly in a folder and belongs to no dataset: archives, say, and unfinished downloads."""
    for entry in list_if_possible(root / folder):
        if kind := kind_anywhere(entry.name):
            unread.add(kind, f"{folder}/{entry.name}")


def _last_part(name: str) -> str:
    """Return a file's own name, in one form of those that mean the same."""
    return unicodedata.normalize("NFC", PurePosixPath(name.replace("\\", "/")).name)


@dataclass(frozen=True, slots=True)
class NumberedPictures:
    """The pictures of a folder."""

    path: str
    """The folder, relative to the root."""
    names: dict[int, str]
    """The file of each number, in ascending order."""
    rejects: list[Reject]
    """Files that have their number in common, or are not named as the others."""
    unread: LeftOut
    """What else lies there; named without the folder, so that what videos have in common is counted as one."""
    folders: list[str]
    """Folders in it, which are not looked into."""


def number_of(stem: str) -> int | None:
    """Return the number that a name without its ending ends in, None where it ends in none.

    >>> number_of("00012"), number_of("frame_7"), number_of("cover")
    (12, 7, None)
    """
    match = _NUMBER.fullmatch(stem)
    return int(match[1]) if match else None


def _form_of(name: str) -> str:
    """Return a name without its ending and without its numbers."""
    return re.sub("[0-9]+", "0", name.rpartition(".")[0])


def _usual_form(names: Iterable[str]) -> str | None:
    """Return the form of more than half of the names; None where there is none, and nothing tells which are meant."""
    counts = Counter(map(_form_of, names))
    form, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return form if 2 * count > counts.total() else None


def list_pictures(root: RawPath, path: str, key: str) -> NumberedPictures:
    """Return the pictures in the folder `root / path`; keys of rejects begin with `key`."""
    entries = list_folder(resolve_inside(root, path))
    numbers: dict[str, int] = {}
    picture = "picture whose name does not end in the number of its frame, not read"
    other = "file in a folder of a video that is no picture, not read"
    unread = LeftOut(dict.fromkeys(IMAGE_SUFFIXES, picture), other)
    for name in (entry.name for entry in entries if not is_folder(entry)):
        number = number_of(name.rpartition(".")[0]) if suffix_of(name) in IMAGE_SUFFIXES else None
        if number is None or name.startswith("._") or not is_text(name):
            unread.look_at(name, name)
        else:
            numbers[name] = number
    folders = [
        entry.name
        for entry in entries
        if is_folder(entry) and not unread.look_at_folder(entry.name, entry.name)
    ]
    rejects = []
    found: dict[int, list[str]] = {}
    usual = _usual_form(numbers)
    for name, number in numbers.items():
        if _form_of(name) == usual:
            found.setdefault(number, []).append(name)
        else:
            example = next((other for other in numbers if _form_of(other) != _form_of(name)), "")
            reason = f"its name is of another form than others here, such as {example}: is it of this video?"
            rejects.append(Reject(f"{key}/{name.rpartition('.')[0]}", f"{path}/{name}", "index", reason))
    for number, names in found.items():
        for name in names if len(names) > 1 else ():
            others = ", ".join(other for other in names if other != name)
            reason = f"{others} has the same number, {number}: which is meant is not known"
            rejects.append(Reject(f"{key}/{name.rpartition('.')[0]}", f"{path}/{name}", "index", reason))
    numbered = {number: names[0] for number, names in sorted(found.items()) if len(names) == 1}
    return NumberedPictures(path, numbered, rejects, unread, folders)


def list_videos(root: RawPath, folder: str, unread: LeftOut) -> list[str]:
    """Return the sorted names of the folders in `root / folder`; what else lies there goes to `unread`."""
    check_folder(root, folder)
    names = []
    try:
        entries = list_folder(root / folder)
    except RecordError as err:
        raise SourceError(f"{root / folder}: {err}{CHECK_SOURCE}") from err
    for entry in entries:
        path = f"{folder}/{entry.name}"
        if unread.look_at(entry.name, path):
            continue
        if not is_folder(entry):
            unread.add(f"file in {folder}, where folders of videos are expected, not read", path)
        elif not is_text(entry.name):
            unread.add("folder whose name is no UTF-8, so that it can't stand in a store: rename it", path)
        else:
            names.append(entry.name)
    return names


def check_depth(root: RawPath, folder: str, video_id: str, option: str) -> None:
    """Raise `SourceError` where a folder of videos, `option` of the config, is one level too high: JPEGImages of JPEGImages/480p/bear.

    One of what should be its videos tells.
    """
    path = f"{folder}/{video_id}"
    try:
        found = list_pictures(root, path, "")
    except RecordError:
        # Whoever reads the video says so.
        return
    if found.folders and not found.names:
        raise SourceError(
            f"{root / path} holds no frame, but folders such as {found.folders[0]}: are those the videos? "
            f'Then set source.{option} = "{path}", and the folder of masks likewise'
        )
