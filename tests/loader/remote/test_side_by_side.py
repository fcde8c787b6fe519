"""Several things at a time, in as many threads as there may be."""

import threading
from collections.abc import Callable
from functools import partial

import pytest

from resizeonce.loader.remote.side_by_side import run_side_by_side


@pytest.mark.parametrize("most", [0, 1, 8])
def test_all_is_done_in_as_many_threads_as_can_be_started(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    start: Callable[[threading.Thread], None] = threading.Thread.start
    started: list[str] = []

    def start_some(thread: threading.Thread) -> None:
        if len(started) == most:
            raise RuntimeError("can't start new thread")
        started.append(thread.name)
        start(thread)

    done: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_some)
        run_side_by_side([partial(done.append, number) for number in range(20)], 4)
    assert sorted(done) == list(range(20))
    assert len(started) == min(most, 4)


@pytest.mark.parametrize("num_threads", [1, 4])
def test_the_first_error_ends_all(num_threads: int) -> None:
    def fail() -> None:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        run_side_by_side([fail] * 20, num_threads)
