"""Fixtures every test may use."""

import gc
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests already run beside each other: threads of one tensor operation would wait for the cores that others hold. Read by
# torch and by what tests start, when they begin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory."""

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Let what tests start be interrupted, and their files be in memory."""
    # A command that a shell runs in the background ignores Ctrl-C, as does all it starts.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Stores are many small files, each synced: on a disk, a third of the suite's time is spent on that. The folders of
    # passed tests are removed, so that little is there at a time. What --basetemp or this variable says goes before.
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4 << 30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Let each process begin to collect at another file, and garbage collections pass over what that leaves.

    In a fresh clone, half of the time to collect is spent on compiling test files: so each process compiles a share of
    them, and finds the others compiled, where all would compile the same file at the same time.

    Thousands of tests and the modules they import stay until the end: the collector would look through them again and
    again, and each time a test asks for a collection.
    """
    process = getattr(session.config, "workerinput", None)
    here = Path(__file__).parent
    if process and [Path(name).resolve() for name in session.config.args] == [here]:
        files = sorted(map(str, here.rglob("test_*.py")))
        first = len(files) * int(process["workerid"].removeprefix("gw")) // process["workercount"]
        session.config.args = files[first:] + files[:first]
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring tests into the same order in each process, as the one that hands them out asks for."""
    items.sort(key=lambda item: str(item.path))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real samples beside the project; tests that need it are skipped where it is not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real samples are not beside this clone")
    return SHARED_DATA


@pytest.fixture(scope="session")
def disk() -> Iterator[Path]:
    """A folder where the system keeps temporary files, for tests of what is read from a disk."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def on_disk(disk: Path) -> Path:
    """The test's own folder there, in the place of `tmp_path`."""
    return Path(tempfile.mkdtemp(dir=disk))
