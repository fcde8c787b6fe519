"""How workers start, what reaches them, and what is said of their end."""

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from forks import run_in_forks
from grids import slow
from shadows import put_shadows
from worker_processes import children

from resizeonce.loader import BatchLoader, SampleDataset, Store
from resizeonce.loader.buffers.slots import Slots
from resizeonce.loader.fill import SampleError
from resizeonce.loader.order.picks import Picks
from resizeonce.loader.workers.batch_loader import BatchOptions
from resizeonce.loader.workers.channel import SocketChannel
from resizeonce.loader.workers.handle import Worker
from resizeonce.loader.workers.launch import _ThreadWorker
from resizeonce.loader.workers.processes import FOR_THE_TRAINER, describe_status
from resizeonce.loader.workers.worker import Reply, Setup, Task


def run(script: str, *arguments: object, **options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=os.environ | options
    )


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_signal_to_every_process_of_a_job_leaves_the_workers_to_the_trainer(store: Path) -> None:
    got: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: got.append(number)) for number in FOR_THE_TRAINER
    }
    try:
        loader = BatchLoader(store, 1, 2)
        iterator = iter(loader)
        # Also to one that has only just been started.
        next(iterator)
        for number in FOR_THE_TRAINER:
            for process in (*children(), os.getpid()):
                os.kill(process, number)
        assert len(list(iterator)) == 9
        assert len(list(loader)) == 10
        assert sorted(got) == sorted(FOR_THE_TRAINER)
        workers = children()
        loader.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert len(workers) == 2
    assert not children()


def test_a_signal_reaches_no_worker_from_its_first_instruction_on(store: Path) -> None:
    loader = BatchLoader(store, 1, 1)
    iterator = iter(loader)
    next(iterator)
    [worker] = children()
    fields = dict(line.split(":\t") for line in Path(f"/proc/{worker}/status").read_text().splitlines())
    blocked = int(fields["SigBlk"], 16)
    assert {number for number in FOR_THE_TRAINER if blocked >> (number - 1) & 1} == FOR_THE_TRAINER
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
    loader.close()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, ": it ended with exit status 0"),
        (3, ": it ended with exit status 3"),
        (-signal.SIGKILL, ": killed by SIGKILL; for memory?"),
        (-signal.SIGSEGV, ": killed by SIGSEGV"),
        (-63, ": killed by signal 63"),
        (None, ": how it ended is not known"),
    ],
)
def test_only_a_kill_may_have_been_for_memory(status: int | None, text: str) -> None:
    assert describe_status(status, ["coco.zarr"]) == text


def test_a_bus_error_says_that_a_file_of_the_store_shrank(store: Path) -> None:
    loader = BatchLoader(store, 1, 1)
    iterator = iter(loader)
    next(iterator)
    for process in children():
        os.kill(process, signal.SIGBUS)
    with pytest.raises(
        RuntimeError, match=f"died: killed by SIGBUS: a file of {store} shrank while it was read"
    ):
        list(iterator)


def test_a_worker_that_does_not_answer_is_an_error_after_the_timeout(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resizeonce.loader.workers.launch.SECONDS_TO_END", 0.1)
    receive = Worker.receive
    asked: list[float | None] = []

    def receive_sooner(worker: Worker, timeout: float | None = None) -> Reply:
        asked.append(timeout)
        return receive(worker, 0.5)

    loader = BatchLoader(store, 1, 2, timeout=60)
    iterator = iter(loader)
    next(iterator)
    for process in children():
        os.kill(process, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        # Only now: the start takes its time.
        patch.setattr(Worker, "receive", receive_sooner)
        with pytest.raises(
            RuntimeError, match=r"timed out: a worker process has not filled a batch within 0\.5 s"
        ):
            list(iterator)
    assert set(asked) == {60}
    # They were killed, and the next iteration has others.
    assert not children()
    assert len(list(loader)) == 10
    loader.close()


def test_a_thread_that_does_not_answer_is_an_error_after_the_timeout(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    monkeypatch.setattr("resizeonce.loader.workers.worker.fill_slot", lambda *_: may_go_on.wait(60))
    monkeypatch.setattr("resizeonce.loader.workers.launch.SECONDS_TO_END", 0.1)
    loader = BatchLoader(store, 1, 1, timeout=0.1, options=BatchOptions(mode="thread"))
    begun = time.monotonic()
    with pytest.raises(RuntimeError, match="a worker thread has not filled a batch within"):
        next(iter(loader))
    # The thread is not waited for: it may wait for a server that never answers.
    assert time.monotonic() - begun < 30
    may_go_on.set()


def test_trainer_and_worker_do_not_wait_for_each_other_to_read() -> None:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
    there = SocketChannel(theirs.detach())

    def serve() -> None:
        with suppress(EOFError):
            while (task := there.receive()) is not None:
                # More than the socket has room for: it takes until the trainer reads.
                there.send((task.number, bytes(1 << 22)))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    worker = _ThreadWorker(SocketChannel(ours.detach()), thread)
    picks = Picks(*np.full((4, 5000), 2**40))
    received: list[int] = []

    def train() -> None:
        for number in range(6):
            worker.send(Task(number, 0, picks))
        received.extend(worker.receive()[0] for _ in range(6))

    trainer = threading.Thread(target=train, daemon=True)
    trainer.start()
    trainer.join(30)
    assert received == list(range(6))
    assert worker.count_unfinished() == 0
    worker.ask_to_end()
    worker.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("wrong", [-1, float("inf"), float("nan"), 1e9])
def test_a_timeout_is_a_number_of_seconds_that_a_system_can_wait(store: Path, wrong: float) -> None:
    with pytest.raises(ValueError, match=f"timeout is from 0 to 1000000 seconds, not {wrong}"):
        BatchLoader(store, timeout=wrong)


def test_a_worker_that_can_not_start_says_what_it_printed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "google_crc32c.py").write_text("raise ImportError('a stray module')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RuntimeError, match=r"exit status 1, before it could fill anything") as caught:
        list(BatchLoader(store, 1, 1))
    assert "a stray module" in str(caught.value)


def test_a_worker_that_can_not_take_what_it_is_to_read_says_so(
    store: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("only_here")
    module.Mine = type("Mine", (Store,), {"__module__": "only_here"})
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(RuntimeError, match=r"can't begin: ModuleNotFoundError.*'only_here'"):
        list(BatchLoader(module.Mine(store), 1, 2))
    assert capfd.readouterr().err == ""
    assert not children()


@pytest.mark.parametrize("message", ["setup", "end"])
def test_an_interruption_while_workers_are_spoken_to_leaves_none_and_no_descriptor(
    store: Path, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = SocketChannel.send

    def interrupt(channel: SocketChannel, sent: object) -> None:
        if isinstance(sent, Setup) if message == "setup" else sent is None:
            raise KeyboardInterrupt
        send(channel, sent)

    loader = BatchLoader(store, 1, 3)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(SocketChannel, "send", interrupt)

    def train() -> None:
        list(loader)
        loader.close()

    with pytest.raises(KeyboardInterrupt):
        train()
    loader.close()
    gc.collect()
    assert not children()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_of_workers_that_were_closed_nothing_more_is_known(
    store: Path, started: list[tuple[Slots, Sequence[Worker]]]
) -> None:
    # As where a signal handler closes the loader while the trainer's thread waits for a batch.
    loader = BatchLoader(store, 1, 1)
    assert len(list(loader)) == 10
    os.kill(parent_of(children()[0]), signal.SIGKILL)
    loader.close()
    [worker] = next(workers for _, workers in started if workers[0].what == "process")

    def receive_all() -> None:
        # What was filled of the next epoch had arrived before.
        while True:
            worker.receive()

    with pytest.raises(RuntimeError, match="died: how it ended is not known"):
        receive_all()


def test_a_system_that_refuses_a_process_is_named_with_its_limit(store: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, os\nfork, forked = os.fork, []\n"
        "def refuse():\n"
        "    if forked: raise OSError(errno.EAGAIN, 'Resource temporarily unavailable')\n"
        "    forked.append(1)\n"
        "    return fork()\n"
        "os.fork = refuse\n"
    )
    script = "import sys; from resizeonce.loader import BatchLoader; list(BatchLoader(sys.argv[1], 1, 2))"
    found = run(script, store, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert found.returncode == 1
    assert (
        "RuntimeError: a worker process of the BatchLoader died: it ended with exit status 1" in found.stderr
    )
    assert (
        "worker 1 can't be started: no more processes may be started: raise the limit (ulimit -u)"
        in found.stderr
    )


def test_how_a_worker_ended_is_known_where_the_trainer_ignores_that_children_end(store: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        loader = BatchLoader(store, 1, 2)
        assert len(list(loader)) == 10
        os.kill(children()[0], signal.SIGABRT)
        with pytest.raises(RuntimeError, match="died: killed by SIGABRT"):
            list(loader)
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert not children()


def test_workers_outlive_the_interpreter_that_forked_into_them_and_end_with_the_loader(store: Path) -> None:
    loader = BatchLoader(store, 1, 2)
    assert len(list(loader)) == 10
    workers = children()
    (forked,) = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in workers}
    os.kill(forked, signal.SIGKILL)
    assert len(list(loader)) == 10
    os.kill(workers[0], signal.SIGKILL)
    with pytest.raises(RuntimeError, match="a worker process of the BatchLoader died"):
        list(loader)
    loader.close()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its loader"
        time.sleep(0.02)


CLOSED = """
import os, sys
for number in sys.argv[2]:
    os.close(int(number))
from resizeonce.loader import BatchLoader
with open(sys.argv[3], "w") as file:
    file.write(str([len(list(BatchLoader(sys.argv[1], 1, 2))) for _ in range(2)]))
"""


SHRINK = """
import os, shutil, sys
from resizeonce.loader import BatchLoader
from resizeonce.loader.workers.batch_loader import BatchOptions
for workers, mode in (0, "thread"), (1, "process"):
    path = shutil.copytree(sys.argv[1], f"{sys.argv[2]}/{mode}.zarr")
    try:
        for number, _ in enumerate(BatchLoader(path, 1, workers, options=BatchOptions(mode=mode))):
            if not number:
                for part in sorted(os.listdir(path)):
                    if part.startswith("part-"):
                        os.truncate(f"{path}/{part}/images/g_pixel_values/c/0/0/0/0", 0)
    except Exception as err:
        print(repr(str(err)))
"""


@pytest.mark.parametrize("closed", ["012", slow("2")])
def test_workers_start_where_a_daemon_has_closed_its_standard_files_and_a_file_that_shrinks_is_an_error(
    store: Path, tmp_path: Path, closed: str
) -> None:
    scripts = [(CLOSED, (store, closed, tmp_path / "found")), (SHRINK, (store, tmp_path))]
    daemon, (code, said) = run_in_forks(tmp_path, scripts)
    assert daemon == (0, "")
    assert (tmp_path / "found").read_text() == "[10, 10]"
    assert code == 0, said
    lines = said.splitlines()
    assert len(lines) == 2, said
    for line in lines:
        assert "shrank while it was" in line or "expected" in line


def test_no_module_of_the_current_folder_comes_before_pythons_own(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("struct", "pickle", "os", "loader"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    loader = BatchLoader(store, 1, 1)
    assert len(list(loader)) == 10
    loader.close()


def test_a_python_that_does_not_know_its_program_says_so(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(RuntimeError, match=r'sys\.executable.*mode="thread"'):
        next(iter(BatchLoader(store, 1, 1)))


def test_a_second_interruption_while_workers_are_ended_leaves_none(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    loader = BatchLoader(store, 1, 2)
    list(loader)
    stopped = children()
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    monkeypatch.setattr("resizeonce.loader.workers.processes.ProcessWorker.join", lambda *_: interrupt(_))
    with pytest.raises(KeyboardInterrupt):
        loader.close()
    assert len(stopped) == 2
    assert not children()


def test_a_thread_that_was_interrupted_as_it_started_ends(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def interrupt(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "BatchLoader":
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupt)
    loader = BatchLoader(store, 1, 2, options=BatchOptions(mode="thread"))
    with pytest.raises(KeyboardInterrupt):
        next(iter(loader))
    for thread in threading.enumerate():
        if thread.name == "BatchLoader":
            thread.join(20)
            assert not thread.is_alive()


def test_what_a_worker_prints_reaches_the_trainers_terminal(store: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; print('hello from the start', file=sys.stderr)\n")
    script = "import sys; from resizeonce.loader import BatchLoader; print(len(list(BatchLoader(sys.argv[1], 1, 1))))"
    found = run(script, store, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    # Of the trainer's own start, and of its worker's.
    assert (found.stdout, found.stderr) == ("10\n", 2 * "hello from the start\n")


@pytest.mark.parametrize("flag", [slow("-P"), "-I", slow("-E")])
def test_workers_run_nothing_from_the_working_folder_nor_from_what_the_trainer_ignores(
    store: Path, tmp_path: Path, flag: str
) -> None:
    ran = put_shadows(tmp_path / "folder")
    script = tmp_path / "train.py"
    script.write_text(
        "import sys; from resizeonce.loader import BatchLoader; print(len(list(BatchLoader(sys.argv[1], 1, 1))))"
    )
    environment = os.environ | ({"PYTHONPATH": str(tmp_path / "folder")} if flag != "-P" else {})
    found = subprocess.run(
        [sys.executable, flag, script, store],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path / "folder",
        env=environment,
    )
    assert (found.stdout, found.stderr) == ("10\n", "")
    assert not ran.exists()


def test_workers_get_the_trainers_flags() -> None:
    script = "import sys; from resizeonce.loader.workers.processes import interpreter_flags; print(*interpreter_flags())"
    flags = ["-I", "-B", "-O", "-Werror::UserWarning", "-X", "utf8", "-X", "int_max_str_digits=5000"]
    found = subprocess.run([sys.executable, *flags, "-c", script], capture_output=True, text=True, check=True)
    given = found.stdout.split()
    assert [flag for flag in given if flag not in ("-E", "-s", "-P")] == flags
    assert "-P" in given


def test_workers_start_with_a_path_that_is_longer_than_arguments_may_be(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, *(f"/nowhere/{number:0200}" for number in range(2000))])
    loader = BatchLoader(store, 1, 1)
    assert len(list(loader)) == 10
    loader.close()


def test_where_files_may_not_be_large_threads_work_and_processes_say_so(store: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        assert len(SampleDataset(store)[:]["key"]) == 10
        assert len(list(BatchLoader(store, 1, 1, options=BatchOptions(mode="thread")))) == 10
        with pytest.raises(
            RuntimeError, match=r"^the batches of worker processes can't have a shared file of"
        ) as caught:
            next(iter(BatchLoader(store, 1, 1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 'raise the limit (ulimit -f), or give BatchOptions(mode="thread")' in str(caught.value)


def test_where_no_more_files_may_be_opened_the_limit_is_named_and_nothing_is_left(store: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened, loader = Store(store), BatchLoader(store, 1, 2)
    held: list[int] = []
    try:
        # Every number up to the highest is taken, so that each further step fails at another place.
        held.append(os.open(os.devnull, os.O_RDONLY))
        highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        while held[-1] < highest:
            held.append(os.open(os.devnull, os.O_RDONLY))
        gc.collect()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        for more in range(8):
            resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1 + more, before[1]))
            with pytest.raises(RuntimeError, match=r"may not open more files: raise the limit \(ulimit -n\)"):
                next(iter(loader))
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
            assert not children()
            gc.collect()
            assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 3, before[1]))
        while True:
            try:
                held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        with pytest.raises(SampleError, match=r"raise the limit \(ulimit -n\)"):
            opened.batch([0])
        with pytest.raises(Exception, match="Too many open files"):
            Store(store)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(SampleDataset(store)[0:3]["key"]) == 3
