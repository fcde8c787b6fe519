"""Packages that an extra of this one brings: looked for before hours are spent on what needs them."""

from importlib import import_module

from ..errors import ConfigError


def require_package(module: str, package: str, extra: str, what: str) -> None:
    """Raise `ConfigError` where a package that `what` needs can't be imported: its name, and the extra that brings it."""
    try:
        import_module(module)
    except ImportError as err:
        raise ConfigError(
            f"{what} needs the package {package}, which is not installed: pip install 'resizeonce[{extra}]'"
        ) from err
