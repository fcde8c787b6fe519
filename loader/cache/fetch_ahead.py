"""Fetches parts that will be needed soon, in the background of the process that will read them."""

import os
import threading
from collections import OrderedDict, deque
from contextlib import suppress

from ..format.errors import StoreError
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
        # Threads belong to a process: one that was forked has none of them, and its lock may be held for ever.
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, str]] = deque()
        self._expected: OrderedDict[str, int] = OrderedDict()
        self._num_threads = 0

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
        if self._cache.has(name):
            return
        with self._lock:
            self._waiting.append((name, digest))
            if self._num_threads == PARTS_AT_ONCE:
                return
            self._num_threads += 1
        try:
            threading.Thread(target=self._work, name="resizeonce-fetch-ahead", daemon=True).start()
        except RuntimeError:
            # Where no thread can be started, whoever needs the part fetches it.
            with self._lock:
                self._num_threads -= 1
                if not self._num_threads:
                    self._waiting.clear()

    def reached(self, name: str) -> None:
        """Forget a part that is open now, and those before it: parts are reached in the order in which they are expected.

        After one that was not expected the first is forgotten: it was of an epoch that was broken off, perhaps.
        """
        if self._expected and name not in self._expected:
            self._expected.popitem(last=False)
        while name in self._expected:
            self._expected.popitem(last=False)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._num_threads -= 1
                    return
                name, digest = self._waiting.popleft()
            # Reading the part meets the same fault, and says which sample it is of.
            with suppress(StoreError, OSError), self._cache.hold(name, digest):
                pass
