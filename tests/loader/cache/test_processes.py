"""Processes that share a cache, and what a killed one leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from caches import PARTS, PIXELS, assert_same, cached_parts, hidden
from publishing import Publisher

from resizeonce.loader import CacheOptions, Store

READ = """
import sys
from resizeonce.loader import CacheOptions, Store
print("ready", flush=True)
sys.stdin.readline()
batch = Store(sys.argv[1], cache=CacheOptions(folder=sys.argv[2])).batch(range(10))
print(int(batch["g_pixel_values"].astype("int64").sum()))
"""


def start_reader(url: str, cache: CacheOptions) -> "subprocess.Popen[str]":
    """Start a process that reads all samples once it is told to, and prints a sum over their pixels."""
    process = subprocess.Popen(
        [sys.executable, "-c", READ, url, str(cache.path())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def let_go(reader: "subprocess.Popen[str]") -> None:
    assert reader.stdin is not None
    reader.stdin.write("go\n")
    reader.stdin.flush()


def pixel_sum(store: Path) -> int:
    return int(Store(store).batch(range(10))["g_pixel_values"].astype(np.int64).sum())


def test_processes_at_once_fetch_a_part_once(store: Path, web: Publisher, cache: CacheOptions) -> None:
    together = threading.Barrier(2)

    def meet(path: str, _: int, content: bytes) -> bytes:
        # No process gets the root before the other one asks for it, too.
        if path == "coco.zarr/zarr.json":
            together.wait(timeout=60)
        return content

    web.fault = meet
    readers = [start_reader(web.url, cache) for _ in range(2)]
    for reader in readers:
        let_go(reader)
    assert [int(reader.communicate(timeout=120)[0]) for reader in readers] == [pixel_sum(store)] * 2
    assert dict(web.parts_sent()) == dict.fromkeys(PARTS, 1)
    assert web.requests[f"coco.zarr/part-00001/{PIXELS}"] == 1
    assert hidden(cache) == []


def test_a_process_killed_while_it_fetches_leaves_nothing_that_the_next_one_minds(
    store: Path, web: Publisher, cache: CacheOptions
) -> None:
    is_fetching, go_on = threading.Event(), threading.Event()

    def stall(path: str, number: int, content: bytes) -> bytes:
        if path.endswith(f"part-00001/{PIXELS}") and number == 1:
            is_fetching.set()
            go_on.wait(timeout=60)
        return content

    web.fault = stall
    reader = start_reader(web.url, cache)
    let_go(reader)
    assert is_fetching.wait(timeout=60)
    os.kill(reader.pid, signal.SIGKILL)
    reader.communicate(timeout=60)
    assert "part-00001" not in cached_parts(cache)
    assert any(name.endswith(".partial") for name in hidden(cache))
    go_on.set()
    assert_same(Store(web.url, cache=cache).batch(range(10)), Store(store).batch(range(10)))
    assert cached_parts(cache) == PARTS
    assert hidden(cache) == []


def test_what_a_killed_process_left_of_another_part_is_removed_when_room_is_made(
    web: Publisher, cache: CacheOptions
) -> None:
    opened = Store(web.url, cache=cache)
    for name in (".part-00002.0123abcd.partial", ".part-00002.4567cdef.gone"):
        (opened.path / name / "images").mkdir(parents=True)
        (opened.path / name / "images" / "half").write_bytes(bytes(100))
    opened.batch([0])
    # The thread that fetches ahead may be about to let its lock go.
    deadline = time.monotonic() + 10
    while hidden(cache) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert hidden(cache) == []
