"""The section `[recipe]` of a config, as a recipe: one that comes with the package, changed or not, or one spelt out."""

from collections.abc import Mapping
from typing import Any, get_args

import msgspec
from msgspec.structs import replace

from ..loader.format.recipe import (
    DEFAULT_VIEWS,
    Arithmetic,
    ImageView,
    Level,
    MaskView,
    Mean,
    Positive,
    Recipe,
    Side,
    View,
)
from .config_tables import check_keys, convert_table, nearest
from .errors import ConfigError
from .tensors.shipped import RECIPES

CUSTOM = "custom"
"""What a recipe is called that does not come with the package."""

_KINDS: dict[str, type[ImageView] | type[MaskView]] = {"image": ImageView, "mask": MaskView}


def parse_recipe(table: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe that a config's section means.

    It begins with the views of the recipe that `name` says, or of `default`. A table `[recipe.NAME]` changes settings of that
    view, or adds one; `NAME = false` leaves it out. Where the name is `custom`, or none is given, and a table says its `kind`,
    the recipe is spelt out: it has the views that it lists, and no others.

    Raises:
        ConfigError: a key or a value is not one that a recipe may have.
    """
    name = table.get("name", "default")
    if not isinstance(name, str) or name not in (*RECIPES, CUSTOM):
        known = ", ".join([*RECIPES, CUSTOM])
        raise ConfigError(
            f"{where}: recipe.name is {name!r}{nearest(name, RECIPES)}; expected one of {known}"
        )
    arithmetic = table.get("arithmetic")
    if arithmetic not in (None, *get_args(Arithmetic)):
        known = ", ".join(get_args(Arithmetic))
        raise ConfigError(f"{where}: recipe.arithmetic is {arithmetic!r}, expected one of {known}")
    base = RECIPES.get(name, RECIPES["default"])
    views = _parse_views(table, {} if _is_spelt_out(table) else base.views, where)
    try:
        recipe = Recipe(name=CUSTOM, views=views, arithmetic=arithmetic)
    except ValueError as err:
        raise ConfigError(f"{where}: recipe: {err}") from err
    if not views:
        raise ConfigError(f"{where}: the recipe has no view")
    is_base = name != CUSTOM and list(views.items()) == list(base.views.items())
    return replace(recipe, name=base.name) if is_base else recipe


def spell_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe with every setting of its views, as JSON values, in the form of a config's section."""
    spelt: dict[str, Any] = {"name": recipe.name}
    if recipe.arithmetic is not None:
        spelt["arithmetic"] = recipe.arithmetic
    return spelt | {name: _spell_view(view) for name, view in recipe.views.items()}


def _spell_view(view: View) -> dict[str, Any]:
    spelt: dict[str, Any] = msgspec.to_builtins(view)
    for key in ("size", "pad"):
        # A square and a grey are one number.
        if isinstance(value := spelt.get(key), tuple) and len(set(value)) == 1:
            spelt[key] = value[0]
    return spelt


def _is_spelt_out(table: Mapping[str, Any]) -> bool:
    """Whether a section lists all views that there are."""
    says_kind = any(isinstance(settings, Mapping) and "kind" in settings for settings in table.values())
    return says_kind and table.get("name", CUSTOM) == CUSTOM


def _parse_views(table: Mapping[str, Any], base: Mapping[str, View], where: str) -> dict[str, View]:
    views = dict(base)
    for name, settings in table.items():
        if name in ("name", "arithmetic"):
            continue
        if settings is False and name in base:
            del views[name]
            continue
        place = f"recipe.{name}"
        if not isinstance(settings, Mapping):
            raise ConfigError(f"{where}: {place} is {settings!r}, expected a table such as {{ size = 448 }}")
        known = views.get(name, DEFAULT_VIEWS.get(name))
        kind = settings.get("kind", known and known.__struct_config__.tag)
        if kind is None:
            raise ConfigError(
                f"{where}: the recipe has no view {name!r}{nearest(name, views)}; it has {', '.join(views)}. A new one says its "
                "kind, image or mask"
            )
        if kind not in _KINDS:
            raise ConfigError(f"{where}: {place}.kind is {kind!r}, expected image or mask")
        begun = views.get(name)
        spelt = {} if begun is None else msgspec.to_builtins(begun)
        if spelt.get("kind", kind) != kind:
            raise ConfigError(f"{where}: {place}.kind is {kind!r}, and {name} is of kind {spelt['kind']!r}")
        views[name] = _parse_view(spelt, settings, _KINDS[kind], place, where)
    return views


_OF_ONE_NUMBER = (("size", 2, Side), ("pad", 3, Level), ("mean", 3, Mean), ("std", 3, Positive))


_FITS_WITH = {"align": ("pad-first",), "pad": ("pad", "pad-first")}
"""Of settings that say how a picture is padded, the fits that pad it."""


def _parse_view(
    base: Mapping[str, Any],
    settings: Mapping[str, Any],
    kind: type[ImageView] | type[MaskView],
    place: str,
    where: str,
) -> View:
    """Return a view with settings on top of those it had."""
    check_keys(settings, ("kind", *kind.__struct_fields__), place, where)
    spelt = {key: value for key, value in {**base, **settings}.items() if key != "kind"}
    # One number for both sides, and for the three channels of a colour.
    for key, count, kind_of_one in _OF_ONE_NUMBER:
        if isinstance(value := spelt.get(key), int | float):
            try:
                spelt[key] = [msgspec.convert(value, kind_of_one)] * count
            except msgspec.ValidationError as err:
                raise ConfigError(f"{where}: {place}.{key} is {value!r}: {err}") from err
    if isinstance(size := spelt.get("size"), str) and (kind is ImageView or size != "own"):
        own = "" if kind is ImageView else ", or 'own'"
        raise ConfigError(f"{where}: {place}.size is {size!r}, expected a side or [height, width]{own}")
    fit = spelt.get("fit", "squash")
    unused = [key for key, fits in _FITS_WITH.items() if fit not in fits]
    # What a view had for another fit goes with that; what is asked for is not passed over in silence.
    spelt = {key: value for key, value in spelt.items() if key in settings or key not in unused}
    view = convert_table(spelt, kind, place, where)
    for key in unused:
        if isinstance(view, ImageView) and getattr(view, key) != getattr(ImageView(size=view.size), key):
            fits = " or ".join(_FITS_WITH[key])
            raise ConfigError(
                f"{where}: {place}.{key} is {settings[key]!r}, and fit {fit!r} does without: leave it out, or take fit {fits}"
            )
    return view
