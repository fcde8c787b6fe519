"""Both ways in which a worker and the trainer's thread speak to each other."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from resizeonce.loader.workers.channel import Channel, QueueChannel, SocketChannel

Pair = tuple[Channel, Channel]


def sockets() -> Pair:
    ours, theirs = socket.socketpair()
    return SocketChannel(ours.detach()), SocketChannel(theirs.detach())


@pytest.fixture(params=[sockets, QueueChannel.pair], ids=["socket", "queue"])
def pair(request: pytest.FixtureRequest) -> Pair:
    make: Callable[[], Pair] = request.param
    return make()


def test_messages_come_in_order_and_both_ways(pair: Pair) -> None:
    here, there = pair
    for number in range(3):
        here.send((number, {"key": [f"sample {number}"]}))
    there.send(None)
    assert [there.receive() for _ in range(3)] == [(n, {"key": [f"sample {n}"]}) for n in range(3)]
    assert here.receive() is None
    here.close()
    there.close()


def test_it_tells_whether_there_is_a_message(pair: Pair) -> None:
    here, there = pair
    assert not there.has_message()
    here.send(1)
    assert there.has_message()
    assert there.receive() == 1
    assert not there.has_message()
    here.close()
    there.close()


def test_what_was_sent_before_the_end_is_received_and_then_the_end_is_known(pair: Pair) -> None:
    here, there = pair
    here.send("last")
    here.close()
    assert there.receive() == "last"
    assert there.has_message()
    for _ in range(2):
        with pytest.raises(EOFError):
            there.receive()
    there.close()


def test_who_waits_learns_of_the_end(pair: Pair) -> None:
    here, there = pair
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(EOFError):
            there.receive()
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    here.close()
    thread.join(60)
    assert ended.is_set()
    there.close()


def test_nobody_is_left_to_send_to(pair: Pair) -> None:
    here, there = pair
    there.close()
    # A queue takes it; a socket may know better. Either way the end is received.
    with suppress(EOFError):
        here.send(1)
    with pytest.raises(EOFError):
        here.receive()
    here.close()


def test_who_has_closed_an_end_waits_for_nothing_more_there(pair: Pair) -> None:
    here, there = pair
    here.close()
    with pytest.raises(EOFError):
        here.receive()
    there.close()
