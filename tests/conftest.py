"""Fixtures every test may use."""

import os
import signal
import threading
from pathlib import Path

import pytest

# Tests already run beside each other: threads of one tensor operation would wait for the cores that others hold. Read by
# torch and by what tests start, when they begin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Let what tests start be interrupted: a command that a shell runs in the background ignores Ctrl-C, as does all it starts."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real samples beside the project; tests that need it are skipped where it is not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real samples are not beside this clone")
    return SHARED_DATA
