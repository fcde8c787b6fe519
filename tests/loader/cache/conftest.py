"""A store published on this machine, and a cache of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from publishing import Publisher, published

from resizeonce.loader import CacheOptions
from resizeonce.loader.cache import fetch as remote_module


@pytest.fixture
def web(store: Path) -> Iterator[Publisher]:
    """The store of this folder's tests, at a URL."""
    with published(store.parent) as publisher:
        publisher.url += "/coco.zarr"
        yield publisher


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a server that fails again at once."""
    monkeypatch.setattr(remote_module, "PAUSES", (0.0, 0.0))


@pytest.fixture
def cache(tmp_path: Path) -> CacheOptions:
    """A cache that is empty."""
    return CacheOptions(folder=tmp_path / "cache")
