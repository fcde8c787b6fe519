"""Packages that only some commands need."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ConfigError


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """Turn the lack of a package that is imported in the block into a sentence that says what to install.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        raise ConfigError(
            f"this needs {package}, which is not installed: pip install 'resizeonce[{extra}]'"
        ) from err
