"""How the trainer's thread and a worker speak to each other: by a socket between processes, by queues between threads.

Both ways keep the order of messages, and both sides notice when the other one is gone. Between threads nothing is copied,
and the interpreter is given away once for a message that is waited for, not with each step of a system call: getting it
back takes as long as whoever has it likes to keep it.
"""

import os
import pickle
import select
from queue import Empty, SimpleQueue
from typing import Any

_LENGTH_BYTES = 8
"""Of the length that comes before each message."""


class SocketChannel:
    """An end that another process has the other one of.

    Not a `multiprocessing.connection.Connection`: importing it takes a worker a tenth of its start.

    Args:
        descriptor: of a connected socket, which this end closes.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._is_receiving = self._is_closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy would close the descriptor of this one, and then write into whatever file got its number.
        raise TypeError("a worker's channel can't be copied: copy the BatchLoader")

    def send(self, message: object) -> None:
        """Send a message.

        Raises:
            EOFError: an end is closed, where that is known already.
        """
        data = pickle.dumps(message)
        unsent = memoryview(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
        try:
            while unsent:
                unsent = unsent[os.write(self._descriptor, unsent) :]
        except OSError as err:
            raise EOFError(str(err)) from err

    def receive(self, timeout: float | None = None) -> Any:
        """Wait for the next message, for at most `timeout` seconds where that is given.

        Raises:
            EOFError: an end is closed, and there is nothing left.
            TimeoutError: none came in time.
        """
        self._is_receiving = True
        try:
            if timeout is not None and not self._poll.poll(timeout * 1000):
                raise TimeoutError(f"no message within {timeout} s")
            return pickle.loads(self._read(int.from_bytes(self._read(_LENGTH_BYTES), "little")))
        except TimeoutError:
            raise
        except OSError as err:
            raise EOFError(str(err)) from err
        finally:
            self._is_receiving = False
            if self._is_closed:
                self._close()

    def _read(self, size: int) -> bytearray:
        data = bytearray()
        while len(data) < size:
            piece = os.read(self._descriptor, min(size - len(data), 1 << 20))
            if not piece:
                raise EOFError("an end is closed")
            data += piece
        return data

    def has_message(self) -> bool:
        """Whether there is something to receive, if only that the other end is closed."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Close the socket; where a signal handler does so while this end waits, once that is over.

        The system goes on to read by the number of the socket, which by then may be that of another file.
        """
        self._is_closed = True
        if not self._is_receiving:
            self._close()

    def _close(self) -> None:
        # No longer a number that may be that of another file soon.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


_CLOSED = object()
"""What both ends receive when one is closed."""


class QueueChannel:
    """An end that another thread has the other one of; its methods are those of `SocketChannel`."""

    def __init__(self, inbox: "SimpleQueue[object]", outbox: "SimpleQueue[object]") -> None:
        self._inbox, self._outbox = inbox, outbox

    @classmethod
    def pair(cls) -> tuple["QueueChannel", "QueueChannel"]:
        """Return both ends."""
        there: SimpleQueue[object] = SimpleQueue()
        back: SimpleQueue[object] = SimpleQueue()
        return cls(back, there), cls(there, back)

    def send(self, message: object) -> None:
        """Send a message; what nobody receives any more is dropped with the queue."""
        self._outbox.put(message)

    def receive(self, timeout: float | None = None) -> Any:
        """Wait for the next message."""
        try:
            message = self._inbox.get(timeout=timeout)
        except Empty:
            raise TimeoutError(f"no message within {timeout} s") from None
        if message is _CLOSED:
            # Also for who asks again.
            self._inbox.put(message)
            raise EOFError("an end is closed")
        return message

    def has_message(self) -> bool:
        """Whether there is something to receive."""
        return not self._inbox.empty()

    def close(self) -> None:
        """Let the other end know; both may receive what was sent before."""
        self._outbox.put(_CLOSED)
        self._inbox.put(_CLOSED)


Channel = SocketChannel | QueueChannel
"""One end of a conversation."""
