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
        """Read bytes, and wait for them; raise nothing."""


class DiskThreads:
    """Reads what it is asked for in that order, in threads that are there only while something is to be read."""

    def __init__(self) -> None:
        self._start_anew()
        # Threads belong to a process: one that was forked has none of them, and its lock may be held for ever.
        os.register_at_fork(after_in_child=self._start_anew)

    def _start_anew(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Readable, int, int]] = deque()
        self._num_threads = 0

    def ask(self, file: Readable, start: int, size: int) -> None:
        """Have bytes read; the file is kept until they are. Where no thread can be started, they are not read ahead."""
        # Nothing that the garbage collector counts is made while the lock is held: it may end a loader, and wait for it.
        piece = file, start, size
        with self._changed:
            self._waiting.append(piece)
            if self._num_threads == NUM_THREADS:
                return
            self._num_threads += 1
        try:
            threading.Thread(target=self._work, name="resizeonce-disk", daemon=True).start()
        except RuntimeError:
            with self._changed:
                self._num_threads -= 1
                if not self._num_threads:
                    self._waiting.clear()
                    self._changed.notify_all()

    def wait(self, most: int) -> None:
        """Wait until at most so many pieces wait to be read."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) <= most)

    def _work(self) -> None:
        while (piece := self._next()) is not None:
            file, start, size = piece
            file.read(start, size)
            # Or the file would be held until the next piece.
            del file, piece

    def _next(self) -> tuple[Readable, int, int] | None:
        """Return the next piece; where there is none, this thread ends."""
        with self._changed:
            self._changed.notify_all()
            if self._waiting:
                return self._waiting.popleft()
            self._num_threads -= 1
            return None


DISK_THREADS = DiskThreads()
"""Those of this process."""
