"""Workers that fill slots: processes of their own, or threads of this one. They speak the same few messages.

A process is started as a new interpreter, neither forked nor `multiprocessing`-spawned: it shares no lock and no CUDA
context with the trainer, the trainer's script needs no `if __name__ == "__main__"`, and a closed channel ends it,
so it never outlives the trainer. It imports numpy, but not torch.
"""

import os
import pickle
import resource
import socket
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from loader.channel import Channel, QueueChannel, SocketChannel
from loader.filling import SampleError, advise_batch, fill_batch
from loader.mixture import draw_expression
from loader.native import native_loops
from loader.slots import ArrayLayout, Slots
from loader.store import Store

SURE_AFTER = 64
"""Batches in a row that were in memory, before some are not looked for there."""

SKIPPED = 7
"""These, before one is looked for again; where it is not there, all are, and the system reads a few in their own time."""


@dataclass(frozen=True, slots=True)
class Task:
    """One batch to fill."""

    number: int
    slot: int
    rows: tuple[tuple[int, int, int], ...]
    """Store, sample, and lap of its store, of each row."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker needs to know, once."""

    stores: tuple[Store, ...]
    layouts: tuple[ArrayLayout, ...]
    """Of a batch of each store; those of one kind are the same."""
    tensors: tuple[str, ...]
    expressions: str
    compact: bool
    seed: int
    num_slots: int
    slot_bytes: int

    def layout_of(self, task: Task) -> ArrayLayout:
        """Return where the arrays of a batch lie in its slot."""
        return self.layouts[task.rows[0][0]]

    def picks_of(self, task: Task) -> list[tuple[Store, int]]:
        """Return store and number of each sample of a batch."""
        return [(self.stores[store], sample) for store, sample, _ in task.rows]


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception in a worker, as the trainer's thread will raise it."""

    error: Exception


Reply = tuple[int, dict[str, Any] | Failure]
"""Number of the batch, and what belongs to it beside its arrays."""


def serve(channel: Channel, setup: Setup, slots: Slots, begin: Callable[[], None] | None = None) -> None:
    """Fill what is asked for, in order, until the other end closes the channel.

    Args:
        channel: to the trainer.
        setup: what there is to know.
        slots: what is filled.
        begin: done before the first is filled, when what was asked for is being read ahead already.
    """
    tasks: deque[Task] = deque()
    ahead = ReadAhead(setup)
    # The trainer is gone, or has closed this loader.
    with suppress(EOFError):
        while True:
            # Whatever is asked for already is read ahead before the first of it is filled.
            while not tasks or channel.has_message():
                message = channel.receive()
                if message is None:
                    return
                tasks.append(message)
                ahead.advise(message)
            if begin is not None:
                begin()
                begin = None
            task = tasks.popleft()
            channel.send((task.number, fill_slot(task, setup, slots)))


def fill_slot(task: Task, setup: Setup, slots: Slots) -> dict[str, Any] | Failure:
    """Fill the slot of a batch; return what else belongs to it, or why it could not be filled."""

    def choose(phrases: list[str], place: int) -> list[str]:
        if not phrases or setup.expressions == "all":
            return phrases
        if setup.expressions == "first":
            return phrases[:1]
        _, sample, lap = task.rows[place]
        return [phrases[draw_expression(setup.seed, lap, sample, len(phrases))]]

    arrays = setup.layout_of(task).views(slots.slot(task.slot), len(task.rows))
    try:
        return fill_batch(setup.picks_of(task), arrays, choose)
    except SampleError as err:
        return Failure(err)
    except Exception as err:
        # As text: not every exception can be sent, and its frames would keep the slots.
        return Failure(RuntimeError(f"a batch can't be filled: {err!r}\n{traceback.format_exc()}"))


def advise(task: Task, setup: Setup) -> bool:
    """Have what a batch needs read ahead; return whether all of it is known to be in memory."""
    return advise_batch(setup.picks_of(task), setup.tensors)


class ReadAhead:
    """Has what batches need read ahead, and looks less often where all is in memory: that takes a fortieth of all time."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._num_found = self._num_skipped = 0

    def advise(self, task: Task) -> None:
        """Have what a batch needs read ahead, as far as it is worth the while to look."""
        if self._num_found >= SURE_AFTER and self._num_skipped < SKIPPED:
            self._num_skipped += 1
            return
        self._num_found = self._num_found + 1 if advise(task, self._setup) else 0
        self._num_skipped = 0


class Worker:
    """One worker, seen from the trainer's side."""

    def __init__(self, channel: Channel, stop: Callable[[], None], how: str) -> None:
        self._channel = channel
        self._stop = stop
        self._how = how
        self._num_asked = 0
        self._arrived: deque[Reply] = deque()

    def send(self, task: Task) -> None:
        """Ask for a batch."""
        try:
            self._channel.send(task)
        except EOFError as err:
            raise self._gone() from err
        self._num_asked += 1

    def count_unfinished(self) -> int:
        """Return how many of the batches that were asked for are not filled yet.

        Raises:
            RuntimeError: the worker is gone.
        """
        while len(self._arrived) < self._num_asked and self._channel.has_message():
            self._arrived.append(self._take())
        return self._num_asked - len(self._arrived)

    def receive(self) -> Reply:
        """Wait for the next batch that was asked for.

        Raises:
            RuntimeError: the worker is gone.
        """
        reply = self._arrived.popleft() if self._arrived else self._take()
        self._num_asked -= 1
        return reply

    def _take(self) -> Reply:
        try:
            reply: Reply = self._channel.receive()
        except EOFError as err:
            raise self._gone() from err
        return reply

    def close(self) -> None:
        """Let the worker end, and wait until it has."""
        # Closing alone would not reach it where a process that was forked meanwhile holds the socket, too.
        with suppress(EOFError):
            self._channel.send(None)
        self._channel.close()
        self._stop()

    def _gone(self) -> RuntimeError:
        why = ": was it killed for memory?" if self._how == "process" else ""
        return RuntimeError(f"a worker {self._how} of the BatchLoader died{why}")


def start_process(setup: Setup, slots: Slots) -> Worker:
    """Start a process that fills slots."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = "import sys, pickle; sys.path[:] = pickle.loads(bytes.fromhex(sys.argv[1])); "
        command += "from loader.workers import main; main(int(sys.argv[2]), int(sys.argv[3]))"
        path = pickle.dumps(sys.path).hex()
        process = subprocess.Popen(
            [sys.executable, "-c", command, path, str(theirs.fileno()), str(slots.descriptor)],
            pass_fds=(theirs.fileno(), slots.descriptor),
            # No worker multiplies matrices, and numpy's threads for that would wait for work by turning in circles.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            # Ctrl-C is the trainer's; the closed channel ends this process then.
            start_new_session=True,
        )
    channel = SocketChannel(ours.detach())
    channel.send(setup)

    def stop() -> None:
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    return Worker(channel, stop, "process")


def start_thread(setup: Setup, slots: Slots) -> Worker:
    """Start a thread that fills slots, with stores of its own: an open store is not shared between threads."""
    ours, theirs = QueueChannel.pair()
    own: Setup = pickle.loads(pickle.dumps(setup))

    def run() -> None:
        try:
            serve(theirs, own, slots)
        finally:
            theirs.close()

    thread = threading.Thread(target=run, name="BatchLoader", daemon=True)
    thread.start()

    def stop() -> None:
        # A loader may be collected in a worker of its own.
        if thread is not threading.current_thread():
            thread.join()

    return Worker(ours, stop, "thread")


def start_workers(count: int, mode: str, setup: Setup, slots: Slots) -> Sequence[Worker]:
    """Start workers of one kind."""
    if mode == "process":
        return [start_process(setup, slots) for _ in range(count)]
    if count:
        # Not in the threads: a process that is forked meanwhile would find locks of LLVM held for ever.
        native_loops()
    return [start_thread(setup, slots) for _ in range(count)]


def main(channel_descriptor: int, slots_descriptor: int) -> None:
    """Serve as a process of its own."""
    # Each mapped file keeps a descriptor open, and systems that allow half a million begin with 1,024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    channel = SocketChannel(channel_descriptor)
    try:
        setup: Setup = channel.receive()
    except EOFError:
        return
    if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:
        # A worker that wakes up waits for a free core rather than take that of the trainer's thread from it.
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    slots = Slots(setup.num_slots, setup.slot_bytes, slots_descriptor)
    # The map keeps the memory; the descriptor is not needed any more.
    slots.close()
    serve(channel, setup, slots, _load_loops)


def _load_loops() -> None:
    """Load the compiled loops; what fills a batch does without them where they can't be loaded or kept."""
    with suppress(OSError):
        native_loops()
