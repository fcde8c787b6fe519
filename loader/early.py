"""Reads the first batches from the disk while workers are starting: for half a second the disk would have nothing to do."""

import pickle
import threading
from collections.abc import Sequence

from loader.workers import Setup, Task, advise

EARLY_BYTES = 1 << 29
"""What is asked for at most, about as much as a fast disk reads meanwhile. It is only the page cache that it takes."""


class EarlyReader:
    """Asks the system for the rows of some batches, in their order, in a thread of its own.

    Args:
        setup: what workers know; the stores are opened once more, since an open one is not shared between threads.
        tasks: the first batches.
    """

    def __init__(self, setup: Setup, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._is_over = threading.Event()
        own: Setup = pickle.loads(pickle.dumps(setup))
        self._thread = threading.Thread(target=self._read, args=(own,), name="resizeonce-early", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End, and wait for the row that is being asked for."""
        self._is_over.set()
        self._thread.join()

    def _read(self, setup: Setup) -> None:
        for task in self._tasks:
            if self._is_over.is_set():
                return
            advise(task, setup)


def count_early(setup: Setup) -> int:
    """Return how many batches to read early, 0 where a store is not on this machine: its parts are fetched ahead."""
    if not all(store.is_local for store in setup.stores):
        return 0
    # A batch is larger in memory than on disk, so this is a little less than is allowed.
    return EARLY_BYTES // setup.slot_bytes
