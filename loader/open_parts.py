"""The parts of a store, opened as they are read, and the way from a sample's number to its rows. numpy only."""

import operator
import re
import resource
from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .format.errors import StoreError
from .format.layout import Column, array_specs
from .format.metadata import Content, read_attributes
from .format.recipe import read_recipe
from .format.user_cache import absolute
from .part import NOT_READ_WITH_A_SAMPLE, Part, RemoteTables, expect_tables
from .readahead.free_memory import stay_in_memory

if TYPE_CHECKING:
    from .cache.part_cache import CacheOptions, PartCache

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::|://)")

Unit = Literal["samples", "images"]
"""What a store is read by: its own samples, or what samples are drawn of."""

MAX_OPEN_PARTS = 1024
"""How many parts stay mapped: a process may hold 65,530 maps, and reading batches needs about 12 of a part."""


class OpenParts:
    """What a store's root says, and its parts, of which as many stay mapped as may; arguments and errors are those of `Store`."""

    def __init__(
        self, path: str | Path, *, check_rows: bool = True, cache: "CacheOptions | None" = None
    ) -> None:
        self._check_rows = check_rows
        self._cache: PartCache | None = None
        if isinstance(path, str) and _URL.match(path):
            self._open_url(path, cache)
        elif cache is not None:
            raise ValueError(f"{path} is a path, and only a URL is cached: leave out cache=")
        else:
            # Absolute: workers, and whoever changes the working folder, mean the same store.
            self.path = absolute(path)
            """Where the parts are: the store's folder, or the cache's of a store at a URL."""
            self.name = str(self.path)
            """The path, or the URL without a password."""
            self._read_root(read_attributes(self.path, Content))
        self._open_parts: OrderedDict[int, Part] = OrderedDict()
        self._open_tables: OrderedDict[int, Part] = OrderedDict()
        # Of each part, whether its tables were asked for since it was closed to make room; they stay in memory for a while.
        self._was_expected = bytearray(len(self._parts))

    def _open_url(self, url: str, options: "CacheOptions | None") -> None:
        # A store on a disk is read without all that, and workers begin sooner.
        from .cache.fetch import RemoteFiles
        from .cache.fetch_ahead import FetchAhead
        from .cache.part_cache import CacheOptions, PartCache, read_remote_attributes

        options = options or CacheOptions()
        remote = RemoteFiles(url, options.storage_options)
        self.name = remote.name
        self._read_root(read_remote_attributes(remote))
        self._cache = PartCache(remote, self.attributes, self._specs, options)
        self._ahead = FetchAhead(self._cache)
        self.path = self._cache.folder

    def _read_root(self, attributes: dict[str, Any]) -> None:
        """Take over root attributes, whose types and ranges were looked at when they were read."""
        self.attributes = attributes
        """The root attributes (docs/format.md)."""
        self.dataset_type: str = attributes["dataset_type"]
        self.paired: bool = attributes["paired"]
        """Whether samples are pairs of frames."""
        self.has_expressions: bool = attributes["totals"]["expressions"] > 0
        self.recipe = read_recipe(attributes["recipe"])
        """The views: what each key of a batch is made of."""
        self.columns: tuple[Column, ...] = tuple(attributes.get("columns", ()))
        """Which there are beside those of each store: "boxes", "sources", "hashes"."""
        specs = array_specs(self.recipe, 2 if self.paired else 1, self.columns)
        self._specs = {spec.path: spec for spec in specs}
        self._parts: list[tuple[str, str]] = [(part["name"], part["sha256"]) for part in attributes["parts"]]
        # Lists: numpy takes several times as long to look up one number.
        self._ends: dict[Unit, list[int]] = {
            unit: list(accumulate(part["rows"].get(unit, 0) for part in attributes["parts"]))
            for unit in get_args(Unit)
        }
        self.num_bytes: int = sum(part["bytes"] for part in attributes["parts"])
        """Size of all parts."""
        self.stays_in_memory = stay_in_memory(self.num_bytes)
        """Whether what is read of it is found in the page cache later, so that more may be read at once. Who reads several
        stores together sets it for all of them."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.count("samples")

    def count(self, unit: Unit) -> int:
        """Return how many samples or images there are."""
        ends = self._ends[unit]
        return ends[-1] if ends else 0

    def __getstate__(self) -> dict[str, Any]:
        # Maps belong to a process: another one opens its own.
        return self.__dict__ | {
            "_open_parts": OrderedDict(),
            "_open_tables": OrderedDict(),
            "_was_expected": bytearray(len(self._parts)),
        }

    @property
    def is_local(self) -> bool:
        """Whether all parts are on this machine's disks, or mounted as if they were."""
        return self._cache is None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the names of tensors end with, one for each frame of a sample: "1" and "2" for pairs, else nothing."""
        return ("1", "2") if self.paired else ("",)

    def part(self, number: int) -> Part:
        """Return one part."""
        part = self._open_parts.get(number)
        if part is None:
            part = self._open_parts[number] = self._open_whole(number)
            while len(self._open_parts) > self._max_open_parts():
                closed, _ = self._open_parts.popitem(last=False)
                self._was_expected[closed] = False
        else:
            self._open_parts.move_to_end(number)
            if self._cache is not None:
                self._cache.mark(self._parts[number][0])
        return part

    def is_open(self, number: int) -> bool:
        """Whether a part is open, so that nothing of it has to be fetched."""
        return number in self._open_parts

    def tables(self, number: int) -> Part:
        """Return one part, for its columns only: of a part at a URL that is not in the cache, no more is fetched."""
        if self._cache is None or number in self._open_parts:
            return self.part(number)
        part = self._open_tables.get(number)
        if part is None:
            part = self._open_tables[number] = self.open_part(number)
            if len(self._open_tables) > MAX_OPEN_PARTS:
                self._open_tables.popitem(last=False)
        return part

    def open_part(self, number: int) -> Part:
        """Return one part, for its columns only, opened anew and not kept: for going through all parts once."""
        name, digest = self._parts[number]
        if self._cache is not None and not self._cache.has(name):
            return self._checked(number, RemoteTables(self._cache, name, self._specs, digest))
        return self._open_whole(number)

    def expect(self, number: int, unit: Unit = "samples") -> bool:
        """Begin to read the tables of the part of a sample that will be read soon, or to fetch the part.

        Returns whether the sample can be read without waiting for more than a disk.
        """
        part = bisect_right(self._ends[unit], number % max(self.count(unit), 1))
        if part in self._open_parts or not 0 <= part < len(self._parts):
            return True
        if self._cache is None:
            if not self._was_expected[part]:
                self._was_expected[part] = True
                expect_tables(self.path / self._parts[part][0], self._specs)
            return True
        name, digest = self._parts[part]
        self._ahead.expect(name, digest)
        return self._cache.has(name)

    def _open_whole(self, number: int) -> Part:
        name, digest = self._parts[number]
        if self._cache is None:
            return self._checked(number, self._part_in(self.path / name, digest))
        with self._cache.hold(name, digest) as folder:
            part = self._checked(number, self._part_in(folder, digest))
            # Later another process may remove the part to make room for its own.
            part.map_all()
        self._ahead.reached(name)
        self._close_removed(self._cache)
        return part

    def _checked(self, number: int, part: Part) -> Part:
        """Return a part once it has as many rows as the root says: sample numbers are counted by the root."""
        rows = self.attributes["parts"][number]["rows"]
        if part.rows != rows:
            raise StoreError(
                f"{self._parts[number][0]} of {self.name} has rows {part.rows}, and the root lists {rows}: convert again"
            )
        return part

    def _part_in(self, folder: Path, digest: str) -> Part:
        return Part(folder, self._specs, digest, check_rows=self._check_rows, huge_pages=self.stays_in_memory)

    def is_there(self) -> bool:
        """Whether the store is where it was: of one that was moved, or is not mounted any more, nothing is damaged."""
        try:
            return not self.is_local or (self.path / "zarr.json").exists()
        except OSError:
            return False

    def describe_mending(self, number: int) -> str:
        """Return what to do about a part that is damaged, as a command's user is told."""
        name, _ = self._parts[number]
        if self._cache is not None:
            return f"remove {self._cache.folder / name}, and it is fetched again"
        return (
            f"`resizeonce verify {self.name}` lists all that is; remove {self.path / name} and run the same `resizeonce "
            "convert` again, which makes that part anew"
        )

    def max_at_once(self) -> int:
        """Return of how many parts samples may be read at once: as many as may be open, and fit into the cache."""
        if self._cache is None:
            return self._max_open_parts()
        return max(1, min(self._max_open_parts(), self._cache.max_bytes // self._cache.largest))

    def close_parts(self) -> None:
        """Let go of all parts: each is unmapped when nobody else holds it, and opened again when it is needed."""
        self._open_parts.clear()

    def _max_open_parts(self) -> int:
        """Return how many parts may stay mapped: Python keeps a descriptor open for each map."""
        # Parts in a cache map all of their arrays.
        of_cache = self._cache is not None
        maps = sum(of_cache or path not in NOT_READ_WITH_A_SAMPLE for path in self._specs)
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors == resource.RLIM_INFINITY:
            return MAX_OPEN_PARTS
        # A quarter stays for everybody else.
        return max(1, min(MAX_OPEN_PARTS, descriptors * 3 // 4 // maps))

    def _close_removed(self, cache: "PartCache") -> None:
        """Close parts that are not in the cache any more, so that the disk gets their room back."""
        for number in list(self._open_parts):
            if not cache.is_current(self._parts[number][0]):
                del self._open_parts[number]

    def part_name(self, number: int) -> str:
        """Return the name of a part's folder."""
        return self._parts[number][0]

    def numbers_in(self, part: int, unit: Unit = "samples") -> range:
        """Return the numbers of the samples, or images, of a part."""
        ends = self._ends[unit]
        return range(ends[part - 1] if part else 0, ends[part])

    def row_of(self, number: int, unit: Unit = "samples") -> tuple[int, int]:
        """Return the number of the part of a sample or an image, and its row there.

        Raises:
            IndexError: there is no such one.
            TypeError: it is no whole number.
        """
        number = operator.index(number)
        count, ends = self.count(unit), self._ends[unit]
        if not -count <= number < count:
            raise IndexError(f"{unit[:-1]} {number} of a store of {count} {unit}")
        number %= count
        part = bisect_right(ends, number)
        return part, number - (ends[part - 1] if part else 0)

    def locate(self, sample: int) -> tuple[Part, NDArray[np.int64]]:
        """Return the part of a sample and the rows of its masks there, one for each frame; errors as of `row_of`."""
        number, row = self.row_of(sample)
        part = self.part(number)
        part.check_lengths()
        return part, part.column("samples/mask")[row]
