"""Fetches parts that will be needed soon, in the background of the process that will read them."""

import os
from collections import OrderedDict
from contextlib import suppress
from functools import partial

from ..format.errors import StoreError
from ..readahead.background import BackgroundThreads
from .part_cache import PartCache

PARTS_AT_ONCE = 2
"""Parts that one process fetches at the same time in the background."""

SHARE = 8
"""A process fetches an eighth of the cache ahead at most, so that it does not push out what others are about to read:
in a cache of fewer parts, nothing."""


class FetchAhead:
    """The parts of one store that a process was told to expect and has not reached."""

    def __init__(self, cache: PartCache) -> None:
        self._cache = cache
        self._start_anew()

    def __reduce__(self) -> tuple[type["FetchAhead"], tuple[PartCache]]:
        return FetchAhead, (self._cache,)

    def _start_anew(self) -> None:
        self._process = os.getpid()
        self._threads = BackgroundThreads(PARTS_AT_ONCE, "resizeonce-fetch-ahead")
        self._expected: OrderedDict[str, int] = OrderedDict()

    def expect(self, name: str, digest: str) -> None:
        """Begin to fetch a part, unless as much as is sensible is under way or here already."""
        if self._process != os.getpid():
            self._start_anew()
        if name in self._expected:
            return
        size = self._cache.sizes[name]
        if sum(self._expected.values()) + size > self._cache.max_bytes // SHARE:
            return
        self._expected[name] = size
        if not self._cache.has(name):
            self._threads.ask(partial(self._fetch, name, digest))

    def reached(self, name: str) -> None:
        """Forget a part that is open now, and those before it: parts are reached in the order in which they are expected.

        After one that was not expected the first is forgotten: it was of an epoch that was broken off, perhaps.
        """
        if self._expected and name not in self._expected:
            self._expected.popitem(last=False)
        while name in self._expected:
            self._expected.popitem(last=False)

    def _fetch(self, name: str, digest: str) -> None:
        # Reading the part meets the same fault, and says which sample it is of.
        with suppress(StoreError, OSError), self._cache.hold(name, digest):
            pass
