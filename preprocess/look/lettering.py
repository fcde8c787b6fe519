"""Text in pictures: in the fonts that the system has, wrapped and shortened to a width; what none has a glyph for is spelt out."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby

from PIL import ImageDraw, ImageFont, features

FONT_FILES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "Helvetica.ttc",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSansCN-Regular.otf",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansBengali-Regular.ttf",
    "NotoSansTamil-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "Nirmala.ttf",
    "Arial Unicode.ttf",
    "unifont.otf",
)
"""Files of fonts, as Linux, macOS and Windows have them, the most readable first: Pillow finds installed ones by these names."""

MOST_CHARACTERS = 400
"""Of a text, of which more is never shown."""

JOINERS = "\u200c\u200d"
"""Invisible, and needed to write Persian and many Indian languages."""

NO_CHARACTER = "\uffff"
"""What no font has: it is drawn as that which is missing."""

Font = ImageFont.FreeTypeFont


class Lettering:
    """Text of one size.

    Args:
        size: of the letters, in pixels.

    Attributes:
        escaped: the characters that were spelt out, for no font has them.
        is_turned: whether there was text from right to left that this Pillow, built without raqm, draws the wrong way round.
    """

    def __init__(self, size: int) -> None:
        self._candidates = _open_fonts(size)
        self._fonts: list[Font] = []
        self._font_of: dict[str, Font | None] = {}
        self.line_height = round(1.35 * size)
        self.escaped: dict[str, None] = {}
        self.is_turned = False
        self._ellipsis = "\u2026" if self._find_font("\u2026") else "..."

    def readable(self, text: str) -> str:
        r"""Return a text on one line and not too long, with what can't be drawn spelt out, such as "\u4e2d"."""
        text = " ".join(text.split())
        if len(text) > MOST_CHARACTERS:
            text = text[:MOST_CHARACTERS] + self._ellipsis
        if not features.check("raqm"):
            self.is_turned |= any(unicodedata.bidirectional(c) in ("R", "AL") for c in text)
        return "".join(map(self._readable_character, text))

    def wrap(self, text: str, width: float, most: int) -> list[str]:
        """Return a readable text as lines, the last of them shortened where it would take more than may be.

        Args:
            text: as `readable` gives it.
            width: of a line, in pixels.
            most: how many lines there may be.
        """
        lines: list[str] = []
        rest = text
        while rest:
            fitting = self._count_fitting(rest, width)
            if fitting < len(rest) and len(lines) == most - 1:
                fitting = self._count_fitting(rest, width - self.width(self._ellipsis))
                return [*lines, rest[:fitting].rstrip() + self._ellipsis]
            if fitting < len(rest):
                # Between words, or steps of a key; within one where it is longer than half a line.
                between = max(rest.rfind(" ", 0, fitting + 1), rest.rfind("/", 0, fitting) + 1)
                fitting = between if between > fitting // 2 else fitting
            lines.append(rest[:fitting].rstrip())
            rest = rest[fitting:].lstrip()
        return lines

    def width(self, text: str) -> float:
        """Return how wide a line is, in pixels."""
        return sum(font.getlength(run) for run, font in self._runs(text))

    def write(
        self, draw: ImageDraw.ImageDraw, left: float, top: float, text: str, colour: tuple[int, int, int]
    ) -> None:
        """Draw a line of readable text into a picture."""
        for run, font in self._runs(text):
            # Letters of several fonts stand on one line.
            draw.text((left, top + 0.78 * self.line_height), run, colour, font, anchor="ls")
            left += font.getlength(run)

    def _count_fitting(self, text: str, width: float) -> int:
        """Return how many characters from the beginning fit; one at least."""
        return max(
            1, bisect_right(range(1, len(text) + 1), width, key=lambda count: self.width(text[:count]))
        )

    def _readable_character(self, character: str) -> str:
        is_shown = character.isprintable() or character in JOINERS
        if is_shown and self._find_font(character):
            return character
        self.escaped[character] = None
        return character.encode("unicode_escape").decode()

    def _runs(self, text: str) -> Iterator[tuple[str, Font]]:
        """Yield pieces of a text with a font for each; one where a font has all of it, which right to left text needs."""
        fonts = [self._find_font(character) or self._fonts[0] for character in text]
        for font in self._fonts:
            if all(_has_glyph(font, character) for character in text):
                yield text, font
                return
        for _, run in groupby(zip(text, fonts, strict=True), key=lambda one: id(one[1])):
            pieces = list(run)
            yield "".join(character for character, _ in pieces), pieces[0][1]

    def _find_font(self, character: str) -> Font | None:
        """Return the first font that has a character; others are opened only where those that are open lack it."""
        if character not in self._font_of:
            self._font_of[character] = next(
                (font for font in self._all_fonts() if _has_glyph(font, character)), None
            )
        return self._font_of[character]

    def _all_fonts(self) -> Iterator[Font]:
        yield from self._fonts
        for font in self._candidates:
            self._fonts.append(font)
            yield font


def describe_escaped(letterings: Iterable[Lettering]) -> Iterator[str]:
    """Yield what a user should know of text that could not be drawn as it is."""
    several = list(letterings)
    escaped = sorted({character for one in several for character in one.escaped})
    if escaped:
        examples = " ".join(character.encode("unicode_escape").decode() for character in escaped[:5])
        yield (
            f"no font that was found has a glyph for {len(escaped)} characters, which are spelt out ({examples}); with a font "
            "for them, such as Noto Sans, they are drawn"
        )
    if any(one.is_turned for one in several):
        yield "this Pillow is built without raqm: text from right to left is drawn from left to right"


def _open_fonts(size: int) -> Iterator[Font]:
    """Yield the fonts that the system has, then the one that comes with Pillow, which has few letters."""
    for name in FONT_FILES:
        try:
            yield ImageFont.truetype(name, size)
        except OSError:
            continue
    built_in = ImageFont.load_default(size)
    if isinstance(built_in, Font):
        yield built_in


@cache
def _has_glyph(font: Font, character: str) -> bool:
    """Whether a font has a character: else it draws what it draws for any that it lacks."""
    return _drawn(font, character) != _drawn(font, NO_CHARACTER)


@cache
def _drawn(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = _without_shaping(font).getmask(character)
    return mask.size, bytes(mask)


@cache
def _without_shaping(font: Font) -> Font:
    """Return a font that draws each character as it is: shaping adds a circle to an accent that stands alone."""
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)
