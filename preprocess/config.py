"""TOML to a frozen config, or an error that names the key, what was found and what is allowed.

A config says what to build: the source and its options, the recipe, how a store is cut into parts. How to run it
(workers, limits, progress) is a flag of the command, since it does not change what is written.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from .errors import ConfigError
from .sources.base import SourceOptions
from .sources.registry import SOURCES
from .tensors.recipe import RECIPES, Recipe

StructT = TypeVar("StructT", bound=msgspec.Struct)

# Beside `preprocess` in a checkout as well as where it is installed.
SHIPPED = {path.stem: path for path in sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))}
"""The configs that come with the package, by name."""


class StoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `[store]`."""

    scenes_per_part: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 128
    """How many scenes (images or videos) make a part: what a killed run redoes, and one shard file for each array."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What to build."""

    source: str
    """A name in the registry."""
    options: SourceOptions
    """The source's own options."""
    recipe: Recipe = RECIPES["default"]
    store: StoreOptions = StoreOptions()

    def attributes(self) -> dict[str, Any]:
        """Return the config as JSON values; two configs that build the same store return the same."""
        return {
            "source": {"name": self.source} | self.options.attributes(),
            "recipe": self.recipe.attributes(),
            "store": msgspec.to_builtins(self.store),
        }

    def settings(self) -> dict[str, Any]:
        """Return every setting with its value as JSON values, also those that `attributes` leaves out."""
        return {
            "source": {"name": self.source} | msgspec.to_builtins(self.options),
            "recipe": self.recipe.attributes() | msgspec.to_builtins(self.recipe),
            "store": msgspec.to_builtins(self.store),
        }


def find_config(config: Path | str) -> Path:
    """Return the file that a config's name or path means; a file in the current folder comes before a shipped config of its name."""
    name = str(config)
    return SHIPPED[name] if name in SHIPPED and not Path(name).is_file() else Path(name)


def load_config(config: Path | str, overrides: Iterable[str] = ()) -> Config:
    """Read a config and apply overrides of the form `section.key=value`.

    Args:
        config: the name of one that comes with the package, such as `"refcoco"`, or the path of a TOML file.
        overrides: what to set on top, each a string.

    Raises:
        ConfigError: there is none, it can't be read, or a key or a value is not one a config may have.
    """
    path = find_config(config)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as err:
        raise ConfigError(
            f"can't read the config {path}: {err.strerror}{_nearest(path.stem.lower(), SHIPPED)}; "
            f"those that come with the package: {', '.join(SHIPPED)}"
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{config} is no valid TOML: {err}") from err
    for override in overrides:
        _override(content, override)
    return parse_config(content, str(config))


def parse_config(content: Mapping[str, Any], where: str = "config") -> Config:
    """Return the config that nested dictionaries spell out; `where` begins each error message.

    Raises:
        ConfigError: a key or a value is not one a config may have.
    """
    _check_keys(content, ("source", "recipe", "store"), "", where)
    source = dict(_table(content, "source", where))
    name = source.pop("name", None)
    if not isinstance(name, str) or name not in SOURCES:
        known = ", ".join(sorted(SOURCES))
        raise ConfigError(
            f"{where}: source.name is {name!r}{_nearest(name, SOURCES)}; expected one of {known}"
        )
    return Config(
        source=name,
        options=_convert(source, SOURCES[name].options, "source", where),
        recipe=_parse_recipe(_table(content, "recipe", where), where),
        store=_convert(_table(content, "store", where), StoreOptions, "store", where),
    )


def _parse_recipe(table: Mapping[str, Any], where: str) -> Recipe:
    """Return a named recipe, with single settings replaced where the table has them."""
    _check_keys(table, Recipe.__struct_fields__, "recipe", where)
    name = table.get("name", "default")
    if not isinstance(name, str) or name not in (*RECIPES, "custom"):
        known = ", ".join([*RECIPES, "custom"])
        raise ConfigError(
            f"{where}: recipe.name is {name!r}{_nearest(name, RECIPES)}; expected one of {known}"
        )
    base = RECIPES.get(name, RECIPES["default"])
    spelt = msgspec.to_builtins(base)
    for tensor, settings in table.items():
        if tensor == "name":
            continue
        if not isinstance(settings, Mapping):
            raise ConfigError(
                f"{where}: recipe.{tensor} is {settings!r}, expected a table such as {{ size = 448 }}"
            )
        _check_keys(settings, spelt[tensor], f"recipe.{tensor}", where)
        spelt[tensor] = spelt[tensor] | settings
    recipe = _convert(spelt | {"name": base.name}, Recipe, "recipe", where)
    return recipe if recipe == base and name != "custom" else msgspec.structs.replace(recipe, name="custom")


def _convert(table: Mapping[str, Any], struct: type[StructT], section: str, where: str) -> StructT:
    _check_keys(table, struct.__struct_fields__, section, where)
    try:
        return msgspec.convert(dict(table), struct)
    except msgspec.ValidationError as err:
        message, _, place = str(err).partition(" - at `$")
        place = place.rstrip("`")
        found: Any = table
        for key in place.strip(".").split("."):
            found = found.get(key, found) if isinstance(found, Mapping) else found
        raise ConfigError(f"{where}: {section}{place} is {found!r}: {message}") from err


def _check_keys(table: Mapping[str, Any], known: Iterable[str], section: str, where: str) -> None:
    known = list(known)
    for key in table:
        if key not in known:
            full = f"{section}.{key}" if section else key
            allowed = ", ".join(known) or "none"
            raise ConfigError(f"{where}: unknown key {full!r}{_nearest(key, known)}; known here: {allowed}")


def _table(content: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: {name} is {table!r}, expected a table [{name}]")
    return table


def _override(content: dict[str, Any], override: str) -> None:
    """Set one key, given as `section.key=value`; the value is TOML, or else a plain string."""
    place, equals, text = override.partition("=")
    *sections, key = place.strip().split(".")
    if not equals or not sections or not key:
        raise ConfigError(f"--set {override!r} is not of the form section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is no section")
    content[key] = value


def _nearest(key: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(key), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
