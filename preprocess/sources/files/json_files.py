"""Annotation files in JSON, as the tools of many people write them.

A byte order mark is passed over. Python's own writer puts NaN and Infinity, which are no JSON, where a number is not
one. A file that has them is read all the same: in a field that nobody reads they do no harm, in one that is read the
record is rejected. For that each is replaced in a copy, in place, by `{}`, which is no value of any field that is read.

Half a character, as JavaScript leaves where it cuts a text within an emoji, becomes a question mark, as everywhere in a store.
"""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from .contents import check_text

JSON_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, of another form, or nested too deep."""

_MARK = b"\xef\xbb\xbf"
_NO_NUMBER = b"{} "
_STRING_OR_NO_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|(-?Infinity|NaN)', re.DOTALL)
"""A string that does not end goes to the end of the file, or each of its quotes would be looked at as a beginning."""

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""What a backslash begins: a whole pair, half a pair, or anything else."""
_QUESTION_MARK = rb"u003f"

T = TypeVar("T")


def decode_json(content: bytes, decode: Callable[[bytes | memoryview | bytearray], T]) -> T:
    """Return what `decode` makes of a whole file.

    Raises:
        RecordError: the file is text in UTF-16, or compressed.
        msgspec.DecodeError, UnicodeError, RecursionError: what `decode` raises.
    """
    view = memoryview(content)[len(_MARK) :] if content.startswith(_MARK) else memoryview(content)
    try:
        return decode(view)
    except msgspec.ValidationError:
        raise
    except JSON_ERRORS:
        check_text(content)
        mended = bytearray(view)
        places = [*_replace_nan(mended), *_replace_halves(mended)]
        if not places:
            raise
    return decode(mended)


def explain(error: Exception, element: bytes | memoryview | msgspec.Raw) -> str:
    """Return why an element of a file can't be used, in words for a reason."""
    if _NO_NUMBER in bytes(element):
        return f"{error} (NaN or Infinity stands in it, which is no number)"
    return f"{error}"


def _replace_nan(content: bytearray) -> Iterator[int]:
    """Make each NaN and Infinity outside of strings an empty object; yield where they were."""
    for start, stop in [match.span(1) for match in _STRING_OR_NO_NUMBER.finditer(content) if match[1]]:
        content[start:stop] = _NO_NUMBER.ljust(stop - start)
        yield start


def _replace_halves(content: bytearray) -> Iterator[int]:
    """Make each half of a UTF-16 pair that stands alone a question mark; yield where they were."""
    for start, stop in [match.span(1) for match in _ESCAPE.finditer(content) if match[1]]:
        content[start:stop] = _QUESTION_MARK
        yield start
