"""A worker, seen from the trainer's side: asked, heard and waited for."""

from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress

from .channel import Channel
from .worker import Reply, Task

TASK_BYTES, SAMPLE_BYTES = 1 << 10, 40
"""What a task, and each of its samples, takes at most in the buffer of a socket."""

MOST_SENT_BYTES = 1 << 16
"""Sent to a worker and not answered yet: less than that buffer has room for."""


class Worker(ABC):
    """One worker, asked and heard by a channel."""

    what: str
    """"process" or "thread"."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        # How much was sent for each batch that was asked for and is not filled yet.
        self._sent_bytes: deque[int] = deque()
        self._arrived: deque[Reply] = deque()

    def send(self, task: Task, timeout: float | None = None) -> None:
        """Ask for a batch; before that, wait for others where not so much may be under way.

        Raises:
            RuntimeError: the worker is gone, or has not filled a batch within `timeout` seconds.
        """
        size = TASK_BYTES + SAMPLE_BYTES * len(task.picks)
        # A worker that waits for its reply to be received reads nothing meanwhile: both would wait for ever.
        while self._sent_bytes and sum(self._sent_bytes) + size > MOST_SENT_BYTES:
            self._arrived.append(self._take(timeout))
        try:
            self._channel.send(task)
        except EOFError as err:
            raise self._gone() from err
        self._sent_bytes.append(size)

    def count_unfinished(self) -> int:
        """Return how many of the batches that were asked for are not filled yet.

        Raises:
            RuntimeError: the worker is gone.
        """
        while self._sent_bytes and self._channel.has_message():
            self._arrived.append(self._take(None))
        return len(self._sent_bytes)

    def receive(self, timeout: float | None = None) -> Reply:
        """Wait for the next batch that was asked for, for at most `timeout` seconds where that is given.

        Raises:
            RuntimeError: the worker is gone, or the time is over.
        """
        return self._arrived.popleft() if self._arrived else self._take(timeout)

    def _take(self, timeout: float | None) -> Reply:
        try:
            reply: Reply = self._channel.receive(timeout)
        except EOFError as err:
            raise self._gone() from err
        except TimeoutError as err:
            raise RuntimeError(
                f"the BatchLoader timed out: a worker {self.what} has not filled a batch within {timeout} s; does it wait for "
                "a disk or a server that does not answer?"
            ) from err
        self._sent_bytes.popleft()
        return reply

    def ask_to_end(self) -> None:
        """Let the worker end, when it has filled what it fills now."""
        # Closing alone would not reach it where a process that was forked meanwhile holds the socket, too.
        with suppress(EOFError):
            self._channel.send(None)
        self._channel.close()

    @abstractmethod
    def join(self, seconds: float) -> None:
        """Wait until the worker has ended; a process that has not after `seconds` is killed."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker at once, as far as that can be done."""

    @abstractmethod
    def forget(self) -> None:
        """Let go of the worker of the process that this one was forked from, without a word to it."""

    def _gone(self) -> RuntimeError:
        return RuntimeError(f"a worker {self.what} of the BatchLoader died{self._describe_death()}")

    def _describe_death(self) -> str:
        """Return how the worker ended by itself, as the end of a sentence."""
        return ""
