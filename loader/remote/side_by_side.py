"""Runs actions in a few threads that never keep a process from ending."""

import threading
from collections import deque
from collections.abc import Callable, Iterable


def run_side_by_side(actions: Iterable[Callable[[], None]], num_threads: int) -> None:
    """Run actions in threads and wait for all of them; after an error no further one is begun.

    Raises:
        BaseException: the first error of an action.
    """
    waiting = deque(actions)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while (action := _next(waiting)) is not None:
                action()
        except BaseException as err:
            errors.append(err)
            waiting.clear()

    threads = [
        threading.Thread(target=work, name="resizeonce-fetch", daemon=True)
        for _ in range(min(num_threads, len(waiting)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        waiting.clear()
    if errors:
        raise errors[0]


def _next(waiting: deque[Callable[[], None]]) -> Callable[[], None] | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None
