"""Reads the first batches from the disk while workers are starting: for half a second the disk would have nothing to do."""

import pickle
import threading
from collections.abc import Sequence
from contextlib import suppress

from ..readahead.background import DISK_THREADS
from .worker import Setup, Task

FIRST_BYTES = 1 << 29
"""Size of the batches that are asked for at most, in memory."""

FIRST_BYTES_THAT_STAY = 1 << 32
"""The same for stores that stay in memory once they are read; a fast disk reads about as much meanwhile."""

MAX_BATCHES = 64
"""That are asked for, however small they are: putting them in order keeps the trainer waiting."""

MAX_WAITING = 16
"""Rows that wait for the disk when further ones are asked for."""

_CLOSE_SECONDS = 5


class FirstBatchesReader:
    """Asks the system for the rows of some batches, in their order, in a thread of its own.

    Args:
        setup: what workers know; the stores are opened once more, since an open one is not shared between threads.
        tasks: the first batches.
    """

    def __init__(self, setup: Setup, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._is_over = threading.Event()
        own: Setup = pickle.loads(pickle.dumps(setup))
        self._thread = threading.Thread(
            target=self._read, args=(own,), name="resizeonce-first-batches", daemon=True
        )
        # Where no thread can be started, nothing is read early.
        with suppress(RuntimeError):
            self._thread.start()

    def end(self) -> None:
        """Ask for no further batch: the workers are there, and read ahead themselves."""
        self._is_over.set()

    def close(self) -> None:
        """End, and wait until the batch that is being asked for is."""
        self.end()
        # A loader may be collected in this very thread. And a disk that is gone must not hold up who closes.
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_SECONDS)

    def _read(self, setup: Setup) -> None:
        for task in self._tasks:
            if self._is_over.is_set():
                return
            prefetch(task, setup)
            # Those that wait are not called back.
            DISK_THREADS.wait(MAX_WAITING)
            for store in setup.stores:
                # What was asked for is read all the same, and the trainer may need the descriptors.
                store.close_parts()


def prefetch(task: Task, setup: Setup) -> None:
    """Have what a batch needs read ahead."""
    setup.rows_of(task.picks).prefetch()


def count_first_batches(setup: Setup) -> int:
    """Return how many batches to read early, 0 where a store is not on this machine: its parts are fetched ahead."""
    if not all(store.is_local for store in setup.stores):
        return 0
    stay = all(store.stays_in_memory for store in setup.stores)
    # A batch is larger in memory than on disk, so this is a little less than is allowed.
    return min((FIRST_BYTES_THAT_STAY if stay else FIRST_BYTES) // max(setup.slot_bytes, 1), MAX_BATCHES)
