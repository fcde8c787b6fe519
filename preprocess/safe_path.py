"""New interpreters look for no module in the folder that happens to be the current one."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
