"""Packages that an extra of this one brings: looked for before hours are spent on what needs them."""

from importlib import import_module

from ..errors import ConfigError


def require_package(module: str, package: str, extra: str, what: str) -> None:
    """Raise `ConfigError` where a package is missing, or can't be imported.

    Args:
        module: what is imported of it.
        package: its name, as it is installed.
        extra: which brings it, such as "look".
        what: needs it, in words.
    """
    try:
        import_module(module)
    except ImportError as err:
        raise ConfigError(
            f"{what} needs the package {package}, which is not installed: pip install 'resizeonce[{extra}]'"
        ) from err
