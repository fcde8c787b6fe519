"""A store whose numbers are known, made once."""

from pathlib import Path

import pytest
from known_store import known_store


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store."""
    return known_store(tmp_path_factory.mktemp("known"))
