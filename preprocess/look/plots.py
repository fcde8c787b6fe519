"""Distributions as SVG that stands in a page: it takes the page's colours and font, so dark mode and print change it, too.

By matplotlib: of the libraries that were tried (pygal, leather) its plots are the smallest, some 4 kB with text left as text, the same
bytes each time, and it draws in 20 ms; importing it takes 0.4 s, of this command only.
"""

import io
import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from .distribution import Distribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 340, 175
"""In CSS pixels: as wide as a phone's screen, so that text is not scaled down there."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 16, 12, 29
"""What is around the bars, fixed: measured text would differ with the fonts of the machine."""
_TEXT, _CHARACTER, _BETWEEN_LABELS = 11, 6.2, 10
"""Height of text, about the width of a character, and between two labels at least."""
_LEAST_BARS = 5
"""There is room for so many."""
_GAP = 0.08
"""Between bars, as a share of their distance."""

_COLOURS = {"#010101": "currentColor", "#020202": "var(--accent)", "#030303": "var(--line)"}
"""matplotlib takes colours, no variables of a page: these stand for them until the plot is drawn."""
_INK, _BAR, _GRID = _COLOURS

_SVG = "http://www.w3.org/2000/svg"


def histogram(distribution: Distribution, name: str, factor: float = 1) -> str:
    """Return a plot as an SVG element.

    Args:
        distribution: what it shows.
        name: what it is, for who does not see it.
        factor: what the edges are multiplied with in its labels: 100 for percent.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        # Not as a user's own settings have it.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {"svg.fonttype": "none", "svg.hashsalt": "resizeonce", "font.size": _TEXT, "text.color": _INK}
        )
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
        sides = _LEFT / WIDTH, _BOTTOM / HEIGHT
        axes = figure.add_axes(
            (*sides, 1 - (_LEFT + _RIGHT) / WIDTH, 1 - (_TOP + _BOTTOM) / HEIGHT), frameon=False
        )
        _draw(axes, distribution, factor)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_a_page(drawn.getvalue(), name)


def _draw(axes: "Axes", distribution: Distribution, factor: float) -> None:
    """Draw bars of equal width, whatever their ranges: those grow with the values."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    counts, num_bars = distribution.counts, len(distribution.counts)
    bars = [
        [(place + _GAP, 0), (place + _GAP, count), (place + 1 - _GAP, count), (place + 1 - _GAP, 0)]
        for place, count in enumerate(counts)
        if count
    ]
    if bars:
        # One path for all: each as a path of its own takes four times the bytes.
        path = Path.make_compound_path(*(Path([*bar, bar[0]], closed=True) for bar in bars))
        axes.add_patch(PathPatch(path, facecolor=_BAR, linewidth=0, clip_on=False))
    # A bar alone is not as wide as the plot.
    margin = max(0, _LEAST_BARS - num_bars) / 2
    axes.set(xlim=(-margin, num_bars + margin), ylim=(0, max(*counts, 1) * 1.04))
    places, labels = _labels(distribution, factor)
    axes.set_xticks(places, labels, color=_INK)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=2, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.tick_params(length=0, pad=5, colors=_INK)
    # The first label at an edge is not to touch the zero.
    axes.tick_params(axis="x", pad=10)
    axes.grid(axis="y", color=_GRID, linewidth=1, clip_on=False)
    axes.set_axisbelow(True)


def _labels(distribution: Distribution, factor: float) -> tuple[list[float], list[str]]:
    """Return where the labels below the bars stand, and what they are: whole numbers under bars, others at edges."""
    edges = [edge * factor for edge in distribution.edges]
    if distribution.is_whole:
        places = [place + 0.5 for place in range(len(edges) - 1)]
        labels = [
            short(start) if end - start == 1 else f"{short(start)}\N{EN DASH}{short(end - (end <= 1000))}"
            for start, end in pairwise(edges)
        ]
    else:
        places, labels = [float(place) for place in range(len(edges))], [short(edge) for edge in edges]
    room = max(map(len, labels)) * _CHARACTER + _BETWEEN_LABELS
    step = math.ceil(len(labels) * room / (WIDTH - _LEFT - _RIGHT))
    return places[::step], labels[::step]


def short(value: float) -> str:
    """Return a number in few characters.

    >>> short(0), short(0.00002), short(640), short(20_000), short(1_500_000)
    ('0', '2e-5', '640', '20k', '1.5M')
    """
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}".replace("e-0", "e-")


def _for_a_page(drawn: str, name: str) -> str:
    """Return a plot as an element of a page: its colours and font, a name, and no ids, which would be there in each plot."""
    ElementTree.register_namespace("", _SVG)
    svg = ElementTree.fromstring(re.sub("|".join(_COLOURS), lambda found: _COLOURS[found[0]], drawn))
    for part in svg.iter():
        part.attrib.pop("id", None)
        for child in list(part):
            if child.tag.rpartition("}")[2] in ("metadata", "defs"):
                part.remove(child)
        if "font-family" in part.get("style", ""):
            part.set("style", re.sub(r"font-family: [^;]*;? ?", "", part.attrib["style"]))
    svg.attrib |= {"role": "img", "aria-label": name, "width": str(WIDTH), "height": str(HEIGHT)}
    text = ElementTree.tostring(svg, encoding="unicode")
    return re.sub(r"\s+", " ", text).replace("> <", "><")
