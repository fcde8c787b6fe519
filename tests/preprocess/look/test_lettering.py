"""Text in pictures: fonts, escapes, lines."""

import pytest
from PIL import Image, ImageDraw, ImageFont, features

from resizeonce.preprocess.look import lettering
from resizeonce.preprocess.look.lettering import Lettering, describe_escaped


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Lettering:
    """Letters of a system without fonts: those that come with Pillow."""
    monkeypatch.setattr(lettering, "FONT_FILES", ("no such font.ttf",))
    return Lettering(14)


def test_what_no_font_has_is_spelt_out_and_said_once(plain: Lettering) -> None:
    assert plain.readable("a dog") == "a dog"
    assert list(describe_escaped([plain])) == []
    assert plain.readable("\u4e2d \u4e2d dog \u6587") == r"\u4e2d \u4e2d dog \u6587"
    (said,) = describe_escaped([plain, plain])
    assert "2 characters" in said
    assert r"(\u4e2d \u6587)" in said


def test_an_accent_that_a_font_lacks_is_spelt_out_even_where_shaping_draws_a_circle_for_it(
    plain: Lettering,
) -> None:
    assert plain.readable("\u0928\u094d") == r"\u0928\u094d"


def test_what_is_no_letter_is_spelt_out_and_lines_are_joined(plain: Lettering) -> None:
    assert plain.readable("a\x1b[2J\n\t b\u202e") == r"a\x1b[2J b\u202e"


def test_each_character_is_drawn_in_the_first_font_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 14)
    except OSError:
        pytest.skip("a font with other letters than Pillow's own is not installed: DejaVu Sans")
    monkeypatch.setattr(lettering, "FONT_FILES", ("DejaVuSans.ttf",))
    letters = Lettering(14)
    assert (
        letters.readable("\u0434\u043e\u043c, \u05d1\u05d9\u05ea") == "\u0434\u043e\u043c, \u05d1\u05d9\u05ea"
    )
    assert not letters.escaped


def drawn(letters: Lettering, text: str) -> bytes:
    image = Image.new("RGB", (200, 30), "white")
    letters.write(ImageDraw.Draw(image), 5, 5, text, (0, 0, 0))
    return image.tobytes()


def test_text_is_drawn_as_pillow_draws_it(plain: Lettering) -> None:
    image = Image.new("RGB", (200, 30), "white")
    font = ImageFont.load_default(14)
    ImageDraw.Draw(image).text((5, 5 + 0.78 * plain.line_height), "a dog", (0, 0, 0), font, anchor="ls")
    assert drawn(plain, plain.readable("a dog")) == image.tobytes()


def test_a_pillow_that_can_not_turn_text_is_told(plain: Lettering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "raqm")
    plain.readable("a dog")
    assert list(describe_escaped([plain])) == []
    plain.readable("\u05d1\u05d9\u05ea")
    assert any("without raqm" in said for said in describe_escaped([plain]))


@pytest.mark.parametrize(
    "text",
    [
        "the white ceramic bowl that is not on the counter, left of the other one",
        "refcoco/annotations/of/a/long/key/00000000000000000000000000581857/1719310",
        "x" * 300,
        "word " * 200,
    ],
)
def test_lines_are_no_wider_than_they_may_be_and_lose_nothing_but_the_end(
    plain: Lettering, text: str
) -> None:
    readable = plain.readable(text)
    font = ImageFont.load_default(14)
    for most in (1, 2, 50):
        lines = plain.wrap(readable, 160, most)
        assert len(lines) <= most
        assert all(font.getlength(line) <= 160 for line in lines)
        joined = "".join(lines).replace(" ", "")
        whole = readable.replace(" ", "")
        assert joined == whole or (joined[-1] == "\u2026" and whole.startswith(joined[:-1]))
    assert "".join(plain.wrap(readable, 160, 50)).replace(" ", "") == whole


def test_lines_end_between_words(plain: Lettering) -> None:
    text = "the white ceramic bowl that is not on the counter"
    lines = plain.wrap(text, 120, 9)
    assert " ".join(lines) == text
    assert len(lines) > 2


def test_a_very_long_text_is_cut() -> None:
    assert len(Lettering(12).readable("a" * 100_000)) < 1000
