"""A Dask cluster as a place to write parts: many machines that share a file system."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ...loader.format.errors import PreprocessError
from ..errors import ConfigError

CONNECT_SECONDS = 30


class ClusterError(PreprocessError):
    """Raised when a Dask scheduler can't be reached, or has no workers."""


@contextmanager
def open_cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """Connect to a Dask scheduler, such as "tcp://10.0.0.1:8786"; yield an executor on it and how many tasks it runs at a time.

    Its workers need this package and the same paths for the raw dataset and the store.

    Raises:
        ConfigError: Dask is not installed.
        ClusterError: the scheduler can't be reached, or no worker came.
    """
    try:
        # Published with types for some of its functions only.
        distributed: Any = import_module("distributed")
    except ImportError as err:
        raise ConfigError("--scheduler needs Dask: pip install 'resizeonce[dask]'") from err
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as err:
        raise ClusterError(
            f"no Dask scheduler answers at {address!r} ({err}): start one with `dask scheduler`, and check the address"
        ) from err
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as err:
            raise ClusterError(
                f"the Dask scheduler at {address} has no workers: start some with `dask worker {address}`"
            ) from err
        yield client.get_executor(retries=0), sum(client.nthreads().values())
