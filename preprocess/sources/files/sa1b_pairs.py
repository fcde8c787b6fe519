"""Which SA-1B pairs of jpg and json lie below a root, in folders and in tar files.

The whole dataset has 11 million pairs, so nothing is kept per pair but numbers: a file is its image id, its place (a
folder, or a folder within a tar) and, in a tar, an offset and a size. Paths are put together when a pair is asked for.
"""

import re
from array import array
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....loader.format.errors import SourceError
from ....loader.remote.side_by_side import side_by_side
from ...errors import RecordError
from ...remote.path import RemotePath
from ..records import Reject, encodable
from .folder_tree import Folders, is_folder, scan_folder
from .leftovers import SYSTEM_FILE, LeftOut, archive_stem, is_system_file
from .raw_files import RawPath, read_file, resolve_inside
from .tar_members import Member, read_member, scan_tar

_SUFFIXES = (".jpg", ".json")
_NAME = re.compile(r"sa_(0|[1-9][0-9]{0,17})(\.jpg|\.json)", re.ASCII)
_UNREAD = {
    **dict.fromkeys(
        (".jpg", ".jpeg", ".png", ".webp"), "picture whose name is not sa_<image id>.jpg, not read"
    ),
    ".json": "json whose name is not sa_<image id>.json, not read",
}
_UNKNOWN = "member of a tar that is called neither sa_<image id>.jpg nor .json, not read"
_UNREADABLE = (
    "only a plain tar can, whose name ends in .tar and begins with no dot; finish its download or join its numbered parts "
    "(cat), decompress it or extract it, and remove copies"
)
_UNPACKED = "archive, not read: pairs are read beside it from a folder or tar of its name; unpack it where it holds more"


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file on disk or a member of a tar."""

    tar: str
    """The tar that holds it, relative to the root; "" for a file on disk."""
    name: str
    """Relative to the tar or to the root."""
    offset: int
    size: int

    @property
    def path(self) -> str:
        """Path to print, such as "sa_000000.tar/sa_1.jpg"."""
        return encodable(f"{self.tar}/{self.name}" if self.tar else self.name)

    def read(self, root: RawPath, limit: int) -> bytes:
        """Return its bytes, `limit` of them at most."""
        if self.tar:
            return read_member(resolve_inside(root, self.tar), self.offset, self.size, limit)
        return read_file(resolve_inside(root, self.name), limit)


class _Place(NamedTuple):
    """Where files lie; places are sorted as they are printed."""

    path: str
    tar: str
    folder: str


class Pairs:
    """The pairs below a root, in the order of their image ids.

    Attributes:
        rejects: files without a partner, pairs that were there before, names that are none, damaged tars, archives
            that can't be read by offset.
        unread: counts what else lies there.
        tars: "path size" of each tar file that was scanned, sorted.
    """

    def __init__(self, root: RawPath) -> None:
        self.rejects: list[Reject] = []
        self.tars: list[str] = []
        self.unread = LeftOut(_UNREAD)
        self._root = root
        self._places: dict[_Place, int] = {}
        self._columns = [array("q") for _ in range(5)]
        archives = self._walk()
        # Row by row: image id, place, suffix, offset, size.
        table = np.stack([np.array(column, np.int64) for column in self._columns], axis=1)
        del self._columns
        self._place_list: list[_Place] = sorted(self._places)
        self._images, self._annotations = self._match(self._sort(table))
        self._judge_archives(archives)
        self.rejects.sort(key=lambda reject: (reject.path, reject.reason))
        self.tars.sort()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[int, RawFile, RawFile]:
        """Return a pair's image id, jpg and json."""
        image = self._images[index]
        return int(image[0]), self._file(image), self._file(self._annotations[index])

    def _walk(self) -> list[str]:
        """Note all files; return the archives that are no plain tars."""
        folders, tars, archives = Folders(self._root, self.unread), list[str](), list[str]()
        for folder, depth in folders:
            prefix = f"{folder}/" if folder else ""
            place = self._place("", folder)
            try:
                for entry in scan_folder(self._root / folder):
                    name = f"{prefix}{entry.name}"
                    is_link = entry.is_symlink() and is_folder(entry)
                    if is_link or entry.is_dir(follow_symlinks=False):
                        if self.unread.look_at_folder(entry.name, name):
                            continue
                        if reason := folders.add(name, depth + 1, is_link):
                            self._reject("sa1b", name, reason)
                    elif entry.name.endswith(".tar") and not entry.name.startswith("."):
                        tars.append(name)
                    elif (
                        not _is_ours(entry.name)
                        and archive_stem(entry.name)
                        and not is_system_file(entry.name)
                    ):
                        archives.append(name)
                    else:
                        self._add(entry.name, name, place)
            except OSError as err:
                if not folder:
                    raise SourceError(f"can't list {self._root}: {err.strerror}; check --root") from err
                self._reject("sa1b", folder, f"can't list the folder: {err.strerror}")
        # Of a remote tar, each header is a request.
        scan = side_by_side if isinstance(self._root, RemotePath) else map
        for tar, (members, reason) in zip(tars, scan(self._scan_tar, tars), strict=True):
            self._add_members(tar, members)
            if reason:
                self._reject("sa1b", tar, reason)
        return archives

    def _judge_archives(self, archives: list[str]) -> None:
        """Reject archives other than plain tars; but for those beside a folder or tar of their name that is read."""
        rows = np.concatenate([self._images[:, 1], self._annotations[:, 1]])
        read: set[str] = set()
        for number in np.unique(rows):
            place = self._place_list[int(number)]
            used = PurePosixPath(place.tar.removesuffix(".tar") or place.folder)
            read.update(str(folder) for folder in (used, *used.parents))
        for path in archives:
            folder, slash, name = path.rpartition("/")
            if f"{folder}{slash}{archive_stem(name)}" in read:
                self.unread.add(_UNPACKED, path)
            else:
                kind = name.removeprefix(archive_stem(name))
                self._reject("sa1b", path, f"an archive ({kind}) that can't be read by offset: {_UNREADABLE}")

    def _scan_tar(self, tar: str) -> tuple[list[Member], str]:
        """Return a tar's members that are ours, up to where it is damaged, and how; "" where it is not."""
        members: list[Member] = []
        try:
            found = scan_tar(resolve_inside(self._root, tar))
            # What comes before an error stays in the list.
            members.extend(found)
        except RecordError as err:
            return members, err.reason
        return members, ""

    def _add_members(self, tar: str, members: list[Member]) -> None:
        for member in members:
            folder, _, name = member.name.rpartition("/")
            if any(is_system_file(part) for part in member.name.split("/")):
                self.unread.add(SYSTEM_FILE, f"{tar}/{member.name}")
            elif not _is_ours(name) and archive_stem(name):
                reason = (
                    "an archive within a tar, which is not looked into: extract the outer tar, then this one"
                )
                self._reject("sa1b", f"{tar}/{member.name}", reason)
            elif not _is_ours(name):
                path = f"{tar}/{member.name}"
                if not self.unread.look_at(name, path):
                    # Tars are published with pairs alone: it may be one whose name is damaged.
                    self.unread.add(_UNKNOWN, path)
            elif not member.problem:
                place = self._place(tar, folder)
                self._add(name, f"{tar}/{member.name}", place, member.offset, member.size)
            else:
                self._reject(f"sa1b/{name}", f"{tar}/{member.name}", member.problem)
        try:
            self.tars.append(f"{tar} {(self._root / tar).stat().st_size}")
        except OSError:
            # A link to nowhere; it was rejected above.
            self.tars.append(f"{tar} missing")

    def _place(self, tar: str, folder: str) -> int:
        place = _Place("/".join(part for part in (tar, folder) if part), tar, folder)
        return self._places.setdefault(place, len(self._places))

    def _add(self, name: str, path: str, place: int, offset: int = 0, size: int = 0) -> None:
        match = _NAME.fullmatch(name)
        if match:
            values = (int(match[1]), place, _SUFFIXES.index(match[2]), offset, size)
            for column, value in zip(self._columns, values, strict=True):
                column.append(value)
        elif _is_ours(name):
            self._reject(f"sa1b/{name}", path, "the name is not sa_<image id>.jpg or .json, a plain number")
        else:
            self.unread.look_at(name, path)

    def _sort(self, table: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows by image id, place, suffix and offset; the same whatever order the disk lists."""
        rank = {place: number for number, place in enumerate(self._place_list)}
        ranks = np.array([rank[place] for place in self._places], np.int64)
        table[:, 1] = ranks[table[:, 1]]
        return table[np.lexsort(table[:, 3::-1].T)]

    def _match(self, table: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of the jpgs and of the jsons of all pairs; whatever is left over becomes a reject."""
        again = np.zeros(len(table), np.bool_)
        again[1:] = (table[1:, :3] == table[:-1, :3]).all(axis=1)
        for row in table[again]:
            self._reject_row(row, "the tar holds another member of this name; the first is used")
        table = table[~again]
        # A jpg is followed by its json: it has the same id and place and sorts right after. An id is an image's own in the
        # whole dataset, so one of each that lie apart, in `images/` and `annotations/` say, belong together as well.
        ids, suffixes = table[:, 0], table[:, 2]
        together = (table[1:, :2] == table[:-1, :2]).all(axis=1)
        # Whether a row has the id of the row before it.
        same_id = np.pad(ids[1:] == ids[:-1], 1)
        apart = same_id[1:-1] & ~same_id[:-2] & ~same_id[2:] & (suffixes[1:] != suffixes[:-1])
        first = np.zeros(len(table), np.bool_)
        first[:-1] = together | apart
        second = np.roll(first, 1)
        for row in table[~first & ~second]:
            partner = f"sa_{row[0]}{_SUFFIXES[1 - row[2]]}"
            self._reject_row(row, f"there is no {partner} beside it")
        one, other = table[first], table[second]
        is_image = (one[:, 2] == 0)[:, None]
        images, annotations = np.where(is_image, one, other), np.where(is_image, other, one)
        repeated = np.zeros(len(images), np.bool_)
        repeated[1:] = images[1:, 0] == images[:-1, 0]
        for row in images[repeated]:
            used = images[np.searchsorted(images[:, 0], row[0])]
            self._reject_row(row, f"the same image is in {self._file(used).path}, which is used")
        return images[~repeated], annotations[~repeated]

    def _file(self, row: NDArray[np.int64]) -> RawFile:
        image_id, place_number, suffix, offset, size = (int(value) for value in row)
        place = self._place_list[place_number]
        name = f"sa_{image_id}{_SUFFIXES[suffix]}"
        return RawFile(place.tar, f"{place.folder}/{name}" if place.folder else name, offset, size)

    def _reject_row(self, row: NDArray[np.int64], reason: str) -> None:
        self._reject(f"sa1b/sa_{row[0]}", self._file(row).path, reason)

    def _reject(self, key: str, path: str, reason: str) -> None:
        self.rejects.append(Reject(key, path, "index", reason))


def _is_ours(name: str) -> bool:
    return name.startswith("sa_") and name.endswith(_SUFFIXES)
