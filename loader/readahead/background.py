"""Threads that wait for a disk or a server, so that nobody else has to."""

import os
import threading
from collections import deque
from collections.abc import Callable


class BackgroundThreads:
    """Does what it is asked for in that order, in threads that are there only while something is to be done."""

    def __init__(self, num_threads: int, name: str) -> None:
        self._most_threads = num_threads
        self._name = name
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all: in a process that was forked there are no threads, and the lock may be held for ever."""
        # A signal handler may ask, too, while the thread that it interrupts has the lock.
        self._lock = threading.RLock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._num_threads = 0

    def ask(self, action: Callable[[], None]) -> None:
        """Have something done that raises nothing. Where no thread can be started, it is left undone."""
        # Nothing that the garbage collector counts is made while the lock is held: it may end a loader, and wait for it.
        with self._lock:
            self._waiting.append(action)
            if self._num_threads >= self._most_threads:
                return
            self._num_threads += 1
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._num_threads -= 1
                if not self._num_threads:
                    self._waiting.clear()

    def _work(self) -> None:
        while (action := self._next()) is not None:
            action()
            # Or what it holds would be held until the next one.
            del action

    def _next(self) -> Callable[[], None] | None:
        """Return the next action; where there is none, this thread ends."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._num_threads -= 1
            return None


DISK_THREADS = BackgroundThreads(2, "resizeonce-disk")
"""Those of this process that read ahead: one alone would have a fast disk read half of what it could."""

os.register_at_fork(after_in_child=DISK_THREADS.start_anew)
