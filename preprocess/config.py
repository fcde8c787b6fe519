"""TOML to a frozen config, or an error that names the key, what was found and what is allowed.

A config says what to build: the source and its options, the recipe, how a store is cut into parts. How to run it
(workers, limits, progress) is a flag of the command, since it does not change what is written.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..loader.format.layout import Column
from ..loader.format.metadata import columns_of
from ..loader.format.recipe import Recipe
from .config_tables import check_keys, convert_table, nearest, table_of
from .errors import ConfigError
from .recipe_config import parse_recipe, spell_recipe
from .sources.options import SourceOptions
from .sources.registry import SOURCES, source_type
from .tensors.shipped import RECIPES

# Beside `preprocess` in a checkout as well as where it is installed.
SHIPPED = {path.stem: path for path in sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))}
"""The configs that come with the package, by name."""


class StoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `[store]`."""

    scenes_per_part: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 128
    """How many scenes (images or videos) make a part: what a killed run redoes, and one shard file for each array."""
    boxes: bool = False
    """Whether the box around each mask is stored, and given with the batch."""
    keep_source: bool = False
    """Whether each image's encoded file is stored, and given with the batch."""
    hashes: bool = False
    """Whether a hash of each image's decoded pixels is stored, by which `resizeonce audit` finds it in other stores."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that not every store has, in their order in a store's attributes."""
        return columns_of(msgspec.to_builtins(self))

    def attributes(self) -> dict[str, Any]:
        """Return the options as they stand in a store's job: one that came later is left out at its default, as a source's."""
        described: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in described.items() if value is not False}


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
            "store": self.store.attributes(),
        }

    def settings(self) -> dict[str, Any]:
        """Return every setting with its value as JSON values, also those that `attributes` leaves out."""
        return {
            "source": {"name": self.source} | msgspec.to_builtins(self.options),
            "recipe": spell_recipe(self.recipe),
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
        content = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as err:
        raise ConfigError(
            f"can't read the config {path}: {err.strerror}{nearest(path.stem.lower(), SHIPPED)}; "
            f"those that come with the package: {', '.join(SHIPPED)}"
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ConfigError(f"{config} is no valid TOML: {err}") from err
    for override in overrides:
        _override(content, override)
    return parse_config(content, str(config))


def parse_config(content: Mapping[str, Any], where: str = "config") -> Config:
    """Return the config that nested dictionaries spell out; `where` begins each error message.

    Raises:
        ConfigError: a key or a value is not one a config may have.
    """
    check_keys(content, ("source", "recipe", "store"), "", where)
    source = dict(table_of(content, "source", where))
    name = source.pop("name", None)
    if not isinstance(name, str) or name not in SOURCES:
        known = ", ".join(sorted(SOURCES))
        raise ConfigError(
            f"{where}: source.name is {name!r}{nearest(name, SOURCES)}; expected one of {known}"
        )
    return Config(
        source=name,
        options=convert_table(source, source_type(name).options, "source", where),
        recipe=parse_recipe(table_of(content, "recipe", where), where),
        store=convert_table(table_of(content, "store", where), StoreOptions, "store", where),
    )


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
