"""Several questions to a server at a time: each is mostly waiting."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from typing import TypeVar

NUM_SIDE_BY_SIDE = 16
"""How many small questions are asked at a time: each is mostly waiting."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def side_by_side(ask: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> Iterator[ResultT]:
    """Yield `ask` of each item, in order; several are under way at a time."""
    with ThreadPoolExecutor(NUM_SIDE_BY_SIDE) as pool:
        yield from pool.map(ask, items)


def run_side_by_side(actions: Iterable[Callable[[], None]], num_threads: int) -> None:
    """Run actions in threads that keep no process from ending, and wait for all; after an error no further one is begun.

    Where not so many threads can be started, in those that can, or in this one.

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
        started = list(takewhile(_can_start, threads))
        if not started:
            work()
        for thread in started:
            thread.join()
    finally:
        waiting.clear()
    if errors:
        raise errors[0]


def _can_start(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def _next(waiting: deque[Callable[[], None]]) -> Callable[[], None] | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None
