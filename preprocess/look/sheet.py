"""A contact sheet: samples of a store as tiles, and below each what is to be known of it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from PIL import Image, ImageDraw

from ...loader.fill import SampleError
from ...loader.format.errors import DamageError, StoreError
from ...loader.format.geometry import describe_fit, describe_size
from ...loader.picture import GAP
from ...loader.store import Store
from ..errors import ConfigError
from .choose import Choice
from .lettering import Lettering, describe_escaped
from .progress import Progress, label, silent
from .samples import Facts, draw_unread, read_facts

Colour = tuple[int, int, int]

PAGE: Colour = (236, 238, 241)
CARD: Colour = (255, 255, 255)
RULE: Colour = (205, 210, 218)
INK: Colour = (24, 28, 36)
FAINT: Colour = (88, 96, 110)
ALARM: Colour = (176, 0, 32)

LEAST_WIDTH = 240
"""Of what is written below a tile, in pixels."""

USUAL_WIDTH = 1650
"""Of a sheet in pixels, by which the columns are chosen."""

MOST_PIXELS = 1 << 27
"""Of a sheet: 400 MB."""

KEY_LINES = 2
EXPRESSION_LINES = 2
FAULT_LINES = 4
EXPRESSIONS = 3
"""How many are shown of a sample."""


class Tile(NamedTuple):
    """A sample on a sheet."""

    picture: Image.Image
    lines: list[tuple[str, Colour]]
    facts: Facts | None
    """None where the sample can't be read."""


class Sheet(NamedTuple):
    """A contact sheet."""

    image: Image.Image
    facts: list[Facts]
    """Of the samples that can be read."""
    notes: list[str]
    """What could not be read or drawn."""


def draw_sheet(
    store: Store, choice: Choice, height: int, columns: int | None = None, progress: Progress = silent
) -> Sheet:
    """Draw a contact sheet.

    Args:
        store: where the samples are.
        choice: which of them, and why.
        height: of their pictures, in pixels.
        columns: of the sheet; None for about 1600 pixels.
        progress: told of each sample.

    Raises:
        ConfigError: the sheet would be too large.
    """
    small, large = Lettering(max(11, min(20, round(height / 18)))), Lettering(20)
    # Between cards and around them; half of it is within a card, around what is on it.
    margin, count = max(8, height // 20), len(choice.samples)
    text_width = max(_width_of(store, height), LEAST_WIDTH)
    card = text_width + margin
    columns = min(columns or max(1, USUAL_WIDTH // (card + margin)), max(1, count))
    width, least = columns * (card + margin) + margin, -(-count // columns) * height
    if width * least > MOST_PIXELS:
        raise ConfigError(
            f"a sheet of {count} samples of this height would be of more than {width} x {least} pixels, too "
            "large for one picture: take fewer samples, or a smaller height"
        )
    notes = list(choice.unread)
    tiles = [
        _make_tile(store, sample, choice, height, text_width, small, notes)
        for sample in progress(choice.samples, "drawing")
    ]
    title = list(_title_lines(store, choice, width - 2 * margin, (large, small)))
    rows = [tiles[first : first + columns] for first in range(0, count, columns)]
    heights = [
        max(one.picture.height + len(one.lines) * small.line_height for one in row) + 3 * margin // 2
        for row in rows
    ]
    top = sum(letters.line_height for _, letters, _ in title) + 2 * margin
    image = Image.new("RGB", (width, top + sum(heights) + margin * len(rows)), PAGE)
    draw, y = ImageDraw.Draw(image), margin
    for text, letters, colour in title:
        letters.write(draw, margin, y, text, colour)
        y += letters.line_height
    for row, row_height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = margin + column * (card + margin)
            draw.rectangle((left, top, left + card - 1, top + row_height - 1), CARD)
            _paint_tile(image, tile, left + margin // 2, top + margin // 2, margin - margin // 2, small)
        top += row_height + margin
    notes += describe_escaped((small, large))
    return Sheet(image, [tile.facts for tile in tiles if tile.facts], notes)


def _paint_tile(image: Image.Image, tile: Tile, x: int, y: int, space: int, letters: Lettering) -> None:
    """Paint a tile's picture with its upper left corner at x, y, and its lines below, after a space."""
    draw = ImageDraw.Draw(image)
    # A line around it: pictures may be as white as the card.
    draw.rectangle((x - 1, y - 1, x + tile.picture.width, y + tile.picture.height), RULE)
    image.paste(tile.picture, (x, y))
    y += tile.picture.height + space
    for text, colour in tile.lines:
        letters.write(draw, x, y, text, colour)
        y += letters.line_height


def _width_of(store: Store, height: int) -> int:
    """Return how wide the picture of a sample is."""
    widths = [max(1, round(view.size[1] * height / view.size[0])) for view in store.recipe.images.values()]
    return (sum(widths) + GAP * len(widths)) * len(store.suffixes) - GAP


def _title_lines(
    store: Store, choice: Choice, width: int, letterings: tuple[Lettering, Lettering]
) -> Iterator[tuple[str, Lettering, Colour]]:
    """Yield what stands above the tiles: of which store they are, how they were chosen, and what is to be seen."""
    large, small = letterings
    count = f"{len(choice.samples)} of {len(store):,} {'pairs' if store.paired else 'samples'}"
    for line in large.wrap(large.readable(f"{label(store)}: {count}, {choice.how}"), width, 2):
        yield line, large, INK
    views = ", ".join(
        f"{name} ({describe_size(view)}, {describe_fit(view)})" for name, view in store.recipe.images.items()
    )
    frames = ", first the earlier frame, then the later one" if store.paired else ""
    prompt = store.recipe.prompt
    cells = "" if prompt is None else f"; cells: {prompt}"
    for line in small.wrap(
        small.readable(f"From the left: {views}{frames}. Line: outline of the mask{cells}."), width, 3
    ):
        yield line, small, FAINT


def _make_tile(
    store: Store, sample: int, choice: Choice, height: int, width: int, letters: Lettering, notes: list[str]
) -> Tile:
    """Draw a sample and say what it is; what can't be read is said on its tile, and in the notes."""
    try:
        picture, facts = store.picture(sample, height), read_facts(store, sample)
        lines = list(_fact_lines(facts, choice.differences.get(sample)))
    except StoreError as err:
        picture, facts = draw_unread(height, len(store.recipe.images) * len(store.suffixes)), None
        cause = err.__cause__ if isinstance(err.__cause__, DamageError) else err
        finding = cause.finding if isinstance(cause, DamageError) else str(cause)
        key = err.key if isinstance(err, SampleError) else None
        lines = [(key or f"sample {sample}", INK, KEY_LINES), (finding, ALARM, FAULT_LINES)]
        notes.append(str(err))
    wrapped = [
        (line, colour)
        for text, colour, most in lines
        for line in letters.wrap(letters.readable(text), width, most)
    ]
    return Tile(picture, wrapped, facts)


def _fact_lines(facts: Facts, difference: float | None) -> Iterator[tuple[str, Colour, int]]:
    """Yield what stands below a sample: texts, their colours, and how many lines each may take."""
    yield (facts.key, INK, KEY_LINES)
    if facts.category:
        yield (f"class {facts.category}", INK, 1)
    for phrase in facts.expressions[:EXPRESSIONS]:
        yield (f'"{phrase}"', INK, EXPRESSION_LINES)
    if len(facts.expressions) > EXPRESSIONS:
        yield (f"and {len(facts.expressions) - EXPRESSIONS} expressions more", FAINT, 1)
    sizes = _of_frames(f"{width} wide, {height} high" for height, width in facts.sizes)
    yield (f"{sizes}; mask of {_of_frames(f'{area:,}' for area in facts.areas)} pixels", FAINT, 2)
    if facts.prompt_cells:
        cells = _of_frames(map(str, facts.prompt_cells))
        yield (f"prompt cells {cells}", ALARM if min(facts.prompt_cells) == 0 else FAINT, 1)
    if facts.boxes:
        yield ("box " + _of_frames(" ".join(f"{side:g}" for side in box) for box in facts.boxes), FAINT, 2)
    if difference is not None:
        yield (f"views differ by {difference:.1f} levels", INK, 1)


def _of_frames(texts: Iterable[str]) -> str:
    """Return what is said of frames, once where it is the same of all."""
    return ", ".join(dict.fromkeys(texts))
