"""Tables of a config, and the errors that say what is wrong in one."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from .errors import ConfigError

StructT = TypeVar("StructT", bound=msgspec.Struct)


def table_of(content: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    """Return a section of a config, empty where there is none.

    Raises:
        ConfigError: it is no table.
    """
    table = content.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: {name} is {table!r}, expected a table [{name}]")
    return table


def check_keys(table: Mapping[str, Any], known: Iterable[str], section: str, where: str) -> None:
    """Raise `ConfigError` where a table has a key that is not known; the nearest one is named."""
    known = list(known)
    for key in table:
        if key not in known:
            full = f"{section}.{key}" if section else key
            allowed = ", ".join(known) or "none"
            raise ConfigError(f"{where}: unknown key {full!r}{nearest(key, known)}; known here: {allowed}")


def convert_table(table: Mapping[str, Any], struct: type[StructT], section: str, where: str) -> StructT:
    """Return a table as a struct.

    Raises:
        ConfigError: a key or a value is not one it may have.
    """
    check_keys(table, struct.__struct_fields__, section, where)
    try:
        return msgspec.convert(dict(table), struct)
    except msgspec.ValidationError as err:
        message, _, place = str(err).partition(" - at `$")
        key = place.rstrip("`").strip(".").partition("[")[0]
        if key not in table:
            raise ConfigError(f"{where}: {section}: {message}") from err
        allowed = _words_of(struct, key)
        expected = f"; expected {', '.join(map(repr, allowed))}" if allowed else ""
        raise ConfigError(f"{where}: {section}.{key} is {table[key]!r}: {message}{expected}") from err


def _words_of(struct: type[msgspec.Struct], key: str) -> list[str]:
    """Return the words that a setting may be, none where it is no matter of words."""
    (kind,) = (field.type for field in msgspec.structs.fields(struct) if field.name == key)
    choices = [kind, *get_args(kind)]
    return [word for choice in choices if get_origin(choice) is Literal for word in get_args(choice)]


def nearest(key: object, known: Iterable[str]) -> str:
    """Return a question after the known name that looks most like a key, "" where none does."""
    close = difflib.get_close_matches(str(key), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
