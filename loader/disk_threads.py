"""Threads that wait for the disk, so that nobody else has to."""

import os
import threading
from collections import deque
from typing import Protocol

NUM_THREADS = 2
"""Of one process: with one, a fast disk reads half of what it could. Further workers have their own."""


class Readable(Protocol):
    """What bytes are read of."""

    def read(self, start: int, size: int) -> None:
        """Read bytes, and wait for them."""


class DiskThreads:
    """Reads what it is asked for in that order, in threads that are there only while something is to be read."""

    def __init__(self) -> None:
        self._start_anew()

    def _start_anew(self) -> None:
        # Threads belong to a process: one that was forked has none of them, and its lock may be held for ever.
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Readable, int, int]] = deque()
        self._num_threads = 0

    def ask(self, file: Readable, start: int, size: int) -> None:
        """Have bytes read; the file is kept until they are."""
        with self._lock():
            self._waiting.append((file, start, size))
            if self._num_threads == NUM_THREADS:
                return
            self._num_threads += 1
        threading.Thread(target=self._work, name="resizeonce-disk", daemon=True).start()

    def wait(self, most: int) -> None:
        """Wait until at most so many pieces wait to be read."""
        with self._lock():
            self._changed.wait_for(lambda: len(self._waiting) <= most)

    def _lock(self) -> threading.Condition:
        if self._process != os.getpid():
            self._start_anew()
        return self._changed

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.notify_all()
                if not self._waiting:
                    self._num_threads -= 1
                    return
                file, start, size = self._waiting.popleft()
            file.read(start, size)
            # Or the file would be held until the next piece.
            del file


DISK_THREADS = DiskThreads()
"""Those of this process."""
