"""Memory for batches: shared, aligned, and there for as long as anything of it is held."""

import gc
import os
import re
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from resizeonce.loader.buffers.huge_pages import HUGE_PAGE, join_pages, make_pages, map_shared, new_array
from resizeonce.loader.buffers.slots import ArrayLayout, Pool, Slots

LAYOUT = {"image": ((4, 3, 5, 5), "uint8"), "mask": ((4, 7, 9), "float32")}


def test_arrays_lie_apart_and_begin_at_pages() -> None:
    layout = ArrayLayout.of(LAYOUT, 4)
    slots = Slots(2, layout.slot_bytes)
    for number in range(2):
        views = layout.views(slots.slot(number), 3)
        assert {name: view.shape for name, view in views.items()} == {
            "image": (3, 3, 5, 5),
            "mask": (3, 7, 9),
        }
        for view in views.values():
            assert view.ctypes.data % 4096 == 0
            view[:] = number + 1
    assert {int(view.max()) for view in layout.views(slots.slot(0), 4).values()} == {1}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems map files where they like")
def test_another_process_sees_what_is_written_at_an_offset_and_both_are_aligned() -> None:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, 4 * HUGE_PAGE)
    memory = map_shared(descriptor, 2 * HUGE_PAGE, HUGE_PAGE)
    make_pages(memory)
    memory[:] = np.arange(memory.size) % 251
    script = (
        "import sys, numpy as np; from resizeonce.loader.buffers.huge_pages import HUGE_PAGE, map_shared; "
        "m = map_shared(int(sys.argv[1]), 2 * HUGE_PAGE, HUGE_PAGE); "
        "assert m.ctypes.data % HUGE_PAGE == 0 and (m == np.arange(m.size) % 251).all(); m[5] = 255"
    )
    subprocess.run([sys.executable, "-c", script, str(descriptor)], pass_fds=[descriptor], check=True)
    assert memory.ctypes.data % HUGE_PAGE == 0
    assert memory[5] == 255
    assert os.pread(descriptor, 6, HUGE_PAGE)[5] == 255
    os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has huge pages on request")
@pytest.mark.parametrize("shared", [True, False])
def test_pages_that_are_joined_keep_what_was_written_to_them_and_is_being_written(shared: bool) -> None:
    slots = Slots(3, 4 << 20, shared=shared)
    slots.make_pages()
    memory = slots.slot(0)
    memory[:] = np.arange(memory.size) % 251
    thread = slots.join_pages()
    written = 0
    while thread.is_alive() or not written:
        memory[written % 4096 :: 4096] = 255
        written += 1
    expected = np.arange(memory.size) % 251
    for offset in range(min(written, 4096)):
        expected[offset::4096] = 255
    assert np.array_equal(memory, expected)
    slots.close()
    slots.join_pages().join()
    assert np.array_equal(memory, expected)


def test_where_no_thread_can_be_started_pages_stay_small_and_memory_is_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not Slots(1, HUGE_PAGE).join_pages().is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has huge pages on request")
def test_memory_of_a_pool_asks_for_huge_pages_before_it_is_written_to() -> None:
    memory = Pool(1).take(4 * HUGE_PAGE)
    assert memory is not None
    inside = f"{memory.ctypes.data + HUGE_PAGE:x}"
    sections = re.split(
        r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE
    )
    (found,) = [
        section
        for section in sections[1:]
        if int(section.split("-")[0], 16) <= int(inside, 16) < int(section.split("-")[1].split()[0], 16)
    ]
    assert " hg" in re.findall(r"^VmFlags:.*$", found, re.MULTILINE)[0]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has huge pages on request")
def test_memory_whose_pages_were_made_is_empty_also_after_its_file_is_closed() -> None:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, 3 * HUGE_PAGE)
    memory = map_shared(descriptor, 3 * HUGE_PAGE)
    os.close(descriptor)
    make_pages(memory)
    join_pages(memory)
    assert not memory.any()


def test_memory_that_can_not_be_mapped_is_an_error() -> None:
    with pytest.raises(OSError, match=r"map|descriptor"):
        map_shared(-1, HUGE_PAGE)


@pytest.mark.parametrize("shared", [True, False])
def test_memory_that_the_system_refuses_is_an_error_that_says_which_limit_it_is(shared: bool) -> None:
    descriptors = len(list(Path("/dev/fd").iterdir()))
    # More than an address has bits for.
    with pytest.raises(RuntimeError, match=r"the batches can't have \d+ bytes of memory: .*ulimit -v"):
        Slots(1, 1 << 50, shared=shared)
    assert len(list(Path("/dev/fd").iterdir())) == descriptors


@pytest.mark.parametrize("shared", [True, False])
def test_a_slot_lives_as_long_as_any_view_of_it_and_no_longer(shared: bool) -> None:
    layout = ArrayLayout.of(LAYOUT)
    slots = Slots(1, layout.slot_bytes, shared=shared)
    slot = slots.slot(0)
    gone: list[int] = []
    weakref.finalize(slot, gone.append, 1)
    view = layout.views(slot, 2)["mask"][1:, 2:]
    del slot
    gc.collect()
    assert not gone
    del view
    gc.collect()
    assert gone


@pytest.mark.parametrize("shared", [True, False])
def test_memory_stays_mapped_for_a_view_that_outlives_its_slots(shared: bool) -> None:
    layout = ArrayLayout.of(LAYOUT)
    slots = Slots(1, layout.slot_bytes, shared=shared)
    view = layout.views(slots.slot(0), 4)["mask"]
    slots.close()
    del slots
    gc.collect()
    view[:] = 3
    assert view.sum() == 3 * view.size


def test_a_new_array_is_the_same_memory() -> None:
    memory = np.zeros(10, np.uint8)
    new_array(memory)[3] = 9
    assert memory.tolist() == [0, 0, 0, 9, 0, 0, 0, 0, 0, 0]


def test_a_pool_hands_out_no_memory_twice_also_where_another_thread_comes_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Pool(2)
    assert pool.take(4096) is not None
    taken = []

    def come_in_between(numbers: Iterable[int]) -> deque[int]:
        monkeypatch.setattr("resizeonce.loader.buffers.slots.deque", deque)
        taken.append(pool.take(8192))
        return deque(numbers)

    monkeypatch.setattr("resizeonce.loader.buffers.slots.deque", come_in_between)
    taken += [pool.take(8192) for _ in range(3)]
    places = [memory.ctypes.data for memory in taken if memory is not None]
    assert len(places) == len(set(places)) >= 3
