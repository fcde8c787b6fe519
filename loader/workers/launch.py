"""Workers, from their start to their end."""

import pickle
import threading
import time
from collections.abc import Sequence

from ..buffers.slots import Slots
from ..format.limits import describe_limit
from .channel import Channel, QueueChannel
from .handle import Worker
from .processes import start_processes
from .worker import Setup, serve

SECONDS_TO_END = 5
"""Workers that don't end by themselves are killed then."""


class _ThreadWorker(Worker):
    """A worker that is a thread."""

    what = "thread"

    def __init__(self, channel: Channel, thread: threading.Thread) -> None:
        super().__init__(channel)
        self._thread = thread

    def join(self, seconds: float) -> None:
        # A loader may be collected in a worker of its own.
        if self._thread is not threading.current_thread():
            # One that waits for a disk can't be killed: it goes on, with memory that nobody uses any more.
            self._thread.join(seconds)

    def kill(self) -> None:
        """Leave the thread: its closed channel ends it, once it is done with what it fills."""

    def forget(self) -> None:
        """Let go of nothing: a process that was forked has no such thread."""


def start_workers(count: int, mode: str, setup: Setup, slots: Slots) -> Sequence[Worker]:
    """Start workers of one kind.

    Raises:
        RuntimeError: the system refuses; none is left.
    """
    if mode == "process":
        try:
            return start_processes(count, setup, slots) if count else ()
        except OSError as err:
            raise RuntimeError(
                f"a worker process of the BatchLoader can't be started: {describe_limit(err) or err}"
            ) from err
    workers: list[Worker] = []
    try:
        workers.extend(_start_thread(setup, slots) for _ in range(count))
    except BaseException:
        end_workers(workers)
        raise
    return workers


def end_workers(workers: Sequence[Worker]) -> None:
    """End workers side by side; where that is interrupted, by a second Ctrl-C, none is left either."""
    try:
        for worker in workers:
            worker.ask_to_end()
        deadline = time.monotonic() + SECONDS_TO_END
        for worker in workers:
            worker.join(max(deadline - time.monotonic(), 0))
    except BaseException:
        for worker in workers:
            worker.kill()
        raise


def _start_thread(setup: Setup, slots: Slots) -> Worker:
    """Start a thread that fills slots, with stores of its own: an open store is not shared between threads."""
    ours, theirs = QueueChannel.pair()
    own: Setup = pickle.loads(pickle.dumps(setup))

    def run() -> None:
        try:
            serve(theirs, own, slots)
        finally:
            theirs.close()

    thread = threading.Thread(target=run, name="BatchLoader", daemon=True)
    try:
        thread.start()
    except BaseException:
        # It may run already, and would wait for ever.
        ours.close()
        raise
    return _ThreadWorker(ours, thread)
