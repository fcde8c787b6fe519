"""Reads the first batches from the disk while workers are starting: for half a second the disk would have nothing to do."""

import pickle
import threading
from collections.abc import Sequence

from loader.workers import Setup, Task, advise

EARLY_BYTES = 1 << 29
"""Size of the batches that are asked for at most, in memory; a fast disk reads about as much meanwhile."""

MAX_BATCHES = 64
"""That are asked for, however small they are: putting them in order keeps the trainer waiting."""

_CLOSE_SECONDS = 5


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
        """End, after the batch that is being asked for."""
        self._is_over.set()
        # A loader may be collected in this very thread. And a disk that is gone must not hold up who closes.
        if self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_SECONDS)

    def _read(self, setup: Setup) -> None:
        for task in self._tasks:
            if self._is_over.is_set():
                return
            advise(task, setup)
            for store in setup.stores:
                # What was asked for is read all the same, and the trainer may need the descriptors.
                store.close_parts()


def count_early(setup: Setup) -> int:
    """Return how many batches to read early, 0 where a store is not on this machine: its parts are fetched ahead."""
    if not all(store.is_local for store in setup.stores):
        return 0
    # A batch is larger in memory than on disk, so this is a little less than is allowed.
    return min(EARLY_BYTES // setup.slot_bytes, MAX_BATCHES)
