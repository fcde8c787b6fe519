"""A report as one page that holds all of itself: no script, and nothing from anywhere else.

What it says of a store is escaped by the template engine wherever it stands, and shown without characters that nobody sees.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ...loader.format.geometry import describe_size
from ...loader.format.recipe import ImageView, Recipe, View, read_recipe
from ..findings import Diagnosis
from ..printable import printable
from ..run.forecast import format_bytes
from .distribution import Distribution
from .extras import require_package
from .plots import histogram
from .samples import Tile
from .statistics import Statistics

TEMPLATE = Path(__file__).with_name("report.html")

MOST_CLASSES = 20
"""Listed on a page."""
MOST_ARRAYS = 8

FEW_MASKS = 10
"""Of a class: it is hardly learnt from fewer."""


class _Shown(NamedTuple):
    """How a distribution is shown."""

    title: str
    unit: str
    of: str
    """What its values are of."""


_MASKS = {
    "area": _Shown("Area", "pixels of the original", "masks"),
    "area_share": _Shown("Area as a share of the image", "% of the original", "masks"),
    "prompt_cells": _Shown("Prompt cells", "set cells of the prompt mask", "masks"),
    "masks_per_image": _Shown("Masks per image", "number of masks", "images"),
}
_IMAGES = {
    "width": _Shown("Width", "pixels of the original", "images"),
    "height": _Shown("Height", "pixels of the original", "images"),
    "aspect_ratio": _Shown("Width by height", "width divided by height", "images"),
}
_WORDS = {"words": _Shown("Length of expressions", "words between white space", "expressions")}


class Plot(NamedTuple):
    """A distribution as the page shows it."""

    title: str
    caption: str
    svg: str
    unit: str
    rows: list[tuple[str, int, float]]
    """Range, count, and share of all."""


def require_packages() -> None:
    """See that the packages are there that a page is made with: before a store is measured for an hour.

    Raises:
        ConfigError: one is not installed.
    """
    for module, package in (("matplotlib", "matplotlib"), ("jinja2", "Jinja2")):
        require_package(module, package, "look", "a report")


def render_report(statistics: Statistics, gallery: Sequence[Tile], doctor: Diagnosis | None = None) -> str:
    """Return the page of a store, with what a doctor found in its raw data; the same arguments give the same page."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_visible
    )
    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "size": format_bytes,
        "settings": _settings,
    }
    recipe = read_recipe(statistics.made["recipe"])
    plots = partial(_plots, statistics, _notes(recipe))
    classes = [(name, count) for name, count in statistics.classes.items() if name]
    arrays = list(statistics.arrays.items())
    other_bytes = sum(size for _, size in arrays[MOST_ARRAYS:])
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        s=statistics,
        gallery=gallery,
        doctor=doctor,
        recipe=recipe,
        views=[(name, *_describe(view)) for name, view in recipe.views.items()],
        masks=plots(_MASKS),
        images=plots(_IMAGES),
        words=plots(_WORDS),
        classes=classes[:MOST_CLASSES],
        num_classes=len(classes),
        rare_classes=sum(count < FEW_MASKS for _, count in classes),
        few=FEW_MASKS,
        unnamed=statistics.classes.get("", 0),
        arrays=arrays[:MOST_ARRAYS],
        num_others=len(arrays[MOST_ARRAYS:]),
        other_bytes=other_bytes,
        most_bytes=max(other_bytes, *statistics.arrays.values(), 1),
        num_rejects=sum(kind.count for kind in statistics.rejects),
    )


def _notes(recipe: Recipe) -> dict[str, str]:
    """Return what is to be said of distributions besides; a view of masks at their own size tells their resolution."""
    notes = {
        "aspect_ratio": "The ranges are cut so that 1:1, 4:3, 3:2 and 16:9 stand apart, lying and standing."
    }
    if all(view.size != "own" for view in recipe.masks.values()):
        own = "A mask in another resolution than its image is counted in its own."
        notes |= {"area": own, "area_share": own}
    return notes


def _plots(statistics: Statistics, notes: dict[str, str], shown: dict[str, _Shown]) -> list[Plot]:
    """Return the plots of those distributions that have any value."""
    return [
        _plot(distribution, how, notes.get(name, ""), 100 if name == "area_share" else 1)
        for name, how in shown.items()
        if (distribution := statistics.distributions.get(name)) and distribution.total
    ]


def _plot(distribution: Distribution, shown: _Shown, note: str, factor: float) -> Plot:
    ranges = [_range(distribution, place, factor) for place in range(len(distribution.counts))]
    most = distribution.counts.index(max(distribution.counts))
    smallest, mean, largest = (
        _number(value * factor)
        for value in (distribution.smallest, distribution.mean, distribution.largest)
        if value is not None
    )
    caption = (
        f"{shown.unit[0].upper()}{shown.unit[1:]}, of {distribution.total:,} {shown.of}: smallest {smallest}, median "
        f"{ranges[distribution.middle]}, mean {mean}, largest {largest}."
    )
    name = (
        f"{shown.title}, in {shown.unit}: {len(ranges)} ranges from {smallest} to {largest}, most {shown.of} "
        f"({distribution.counts[most]:,}) in {ranges[most]}"
    )
    rows = [
        (text, count, count / distribution.total)
        for text, count in zip(ranges, distribution.counts, strict=True)
    ]
    svg = histogram(distribution, name, factor)
    return Plot(shown.title, f"{caption} {note}".strip(), svg, shown.unit, rows)


def _range(distribution: Distribution, place: int, factor: float) -> str:
    """Return one range in words."""
    start, end = (edge * factor for edge in distribution.edges[place : place + 2])
    if not distribution.is_whole:
        return f"{_number(start)} to {_number(end)}"
    return _number(start) if end - start == 1 else f"{_number(start)} to {_number(end - 1)}"


def _describe(view: View) -> tuple[str, str, str, str]:
    """Return kind, size, how it is resized, and what its values are."""
    size = describe_size(view, "own")
    if not isinstance(view, ImageView):
        return view.role or "mask", size, f"{view.filter}, over {view.over}", "0 or 1"
    values = f"0 to 255, stored as {view.stored}"
    if view.values == "normalized":
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (view.mean, view.std))
        values = f"(v / {view.scale:g} - mean {mean}) / std {std}, stored as {view.stored}"
    return "image", size, f"{view.filter}, {view.fit}", values


def _settings(job: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a job was told, as keys of its config."""
    tables = [(name, job[name]) for name in ("source", "store")]
    told = [(f"{name}.{key}", json.dumps(value)) for name, table in tables for key, value in table.items()]
    return told if job["limit"] is None else [*told, ("limit", str(job["limit"]))]


def _number(value: float) -> str:
    """Return a number as it is read: whole ones in full, others to three places."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _percent(share: float) -> str:
    """Return a share in percent; of what is there, never 0."""
    return "under 0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def _visible(value: Any) -> Any:
    """Return text of strangers without what a page would obey unseen; other values as they are."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
