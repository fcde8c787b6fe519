"""New interpreters look for no module in the folder that happens to be the current one."""

import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import WorkerError

_NAME = "PYTHONSAFEPATH"

_LOCK = threading.RLock()
"""Two threads that change the environment at a time would each put back what the other had set."""


@contextmanager
def safe_path() -> Iterator[None]:
    """Have Python programs that are started meanwhile leave the working folder out of `sys.path`; one thread at a time.

    `multiprocessing` starts `python -c`, which begins with that folder: a `pickle.py` in it would be run by each worker,
    though not by who started them. Once a worker runs, it looks for modules where they do.
    """
    with _LOCK:
        before = os.environ.get(_NAME)
        os.environ[_NAME] = "1"
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(_NAME, None)
            else:
                os.environ[_NAME] = before


@contextmanager
def starting_processes() -> Iterator[None]:
    """Have processes that are started meanwhile begin as under `safe_path`, and tell what the system refuses them.

    They leave what a terminal sends to all of them, SIGINT and SIGHUP, to this process, which ends them: they, or Python's
    process that keeps track of their semaphores, would print tracebacks.

    Raises:
        WorkerError: one can't be started.
    """
    # A process begins with the mask of the thread that starts it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        with safe_path():
            # Before that: where it starts that process, it lets SIGINT through again.
            multiprocessing.resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            yield
    except (OSError, NotImplementedError) as err:
        # The second is Python's word for a system without semaphores, which lie in /dev/shm.
        raise WorkerError(
            f"can't start a worker process: {err}; give fewer --workers (1 needs no process), or raise the limit (ulimit), and "
            "see that /dev/shm is there and has room"
        ) from err
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
