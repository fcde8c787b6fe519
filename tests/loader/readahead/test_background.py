"""Threads that wait for the disk: everything is read, in order, by no more than so many, which then end."""

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from resizeonce.loader.readahead.background import DISK_THREADS, BackgroundThreads

NUM_THREADS = 2

TraceFunction = Callable[[FrameType, str, Any], Any]


class File:
    """Stands in for a file: notes what is read of it, which takes until it may go on."""

    def __init__(self) -> None:
        self.read_so_far: list[tuple[int, int]] = []
        self.threads: set[int] = set()
        self.may_go_on = threading.Event()

    def read(self, start: int, size: int) -> None:
        self.threads.add(threading.get_ident())
        self.read_so_far.append((start, size))
        assert self.may_go_on.wait(60)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def new_threads() -> BackgroundThreads:
    return BackgroundThreads(NUM_THREADS, "resizeonce-disk")


def disk_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "resizeonce-disk"]


def test_pieces_are_read_in_their_order_by_two_threads_which_end() -> None:
    file, threads = File(), new_threads()
    for number in range(20):
        threads.ask(partial(file.read, number, 7))
    until(lambda: len(file.read_so_far) == NUM_THREADS)
    assert len(disk_threads()) == NUM_THREADS
    file.may_go_on.set()
    until(lambda: not disk_threads())
    assert sorted(file.read_so_far[:NUM_THREADS]) == [(0, 7), (1, 7)]
    # Two threads may overtake each other by one.
    assert sorted(file.read_so_far) == [(number, 7) for number in range(20)]
    assert len(file.threads) <= NUM_THREADS


def test_it_reads_again_after_its_threads_have_ended() -> None:
    file, threads = File(), new_threads()
    file.may_go_on.set()
    for number in range(3):
        threads.ask(partial(file.read, number, 1))
        until(lambda: not disk_threads())
    assert file.read_so_far == [(0, 1), (1, 1), (2, 1)]


def test_a_signal_handler_may_ask_wherever_it_interrupts_who_asks() -> None:
    file, threads = File(), new_threads()
    file.may_go_on.set()
    asked: list[int] = []

    def ask() -> None:
        asked.append(len(asked))
        threads.ask(partial(file.read, asked[-1], 1))

    def interrupt(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        if frame.f_code is not BackgroundThreads.ask.__code__:
            return None
        if event == "line":
            # As a handler, it is not interrupted itself.
            sys.settrace(None)
            ask()
            sys.settrace(interrupt)
        return interrupt

    def run() -> None:
        sys.settrace(interrupt)
        ask()
        sys.settrace(None)

    asking = threading.Thread(target=run, daemon=True)
    asking.start()
    asking.join(20)
    assert not asking.is_alive()
    until(lambda: not disk_threads())
    assert sorted(file.read_so_far) == [(number, 1) for number in asked]
    assert len(asked) > 5


def _ask_in_child(threads: BackgroundThreads) -> None:
    file = File()
    file.may_go_on.set()
    threads.ask(partial(file.read, 3, 4))
    until(lambda: file.read_so_far == [(3, 4)])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    file, threads = File(), DISK_THREADS
    for number in range(NUM_THREADS):
        threads.ask(partial(file.read, number, 1))
    with threads._lock:
        # Whoever holds the lock now does not exist in the child.
        child = multiprocessing.get_context("fork").Process(target=_ask_in_child, args=(threads,))
        child.start()
    child.join(60)
    file.may_go_on.set()
    until(lambda: not disk_threads())
    assert child.exitcode == 0


def test_where_no_thread_can_be_started_nothing_is_read_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    file, threads = File(), new_threads()
    file.may_go_on.set()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for number in range(20):
            threads.ask(partial(file.read, number, 1))
    assert file.read_so_far == []
    threads.ask(partial(file.read, 7, 1))
    until(lambda: file.read_so_far == [(7, 1)])
    until(lambda: not disk_threads())
