"""Annotation files in JSON, as the tools of many people write them.

A byte order mark is passed over. Python's own writer puts NaN and Infinity, which are no JSON, where a number is not
one. A file that has them is read all the same: in a field that nobody reads they do no harm, in one that is read the
record is rejected. For that each is replaced in a copy, in place, by `{}`, which is no value of any field that is read.
"""

import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from preprocess.sources.contents import check_text

JSON_ERRORS = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What msgspec raises for bytes that are no JSON, no UTF-8, of another form, or nested too deep."""

_MARK = b"\xef\xbb\xbf"
_NO_NUMBER = b"{} "
_STRING_OR_NO_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|(-?Infinity|NaN)', re.DOTALL)
"""A string that does not end goes to the end of the file, or each of its quotes would be looked at as a beginning."""

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
        mended = _without_nan(view)
        if mended is None:
            raise
    return decode(mended)


def explain(error: Exception, element: bytes | memoryview | msgspec.Raw) -> str:
    """Return why an element of a file can't be used, in words for a reason."""
    if _NO_NUMBER in bytes(element):
        return f"{error} (NaN or Infinity stands in it, which is no number)"
    return f"{error}"


def _without_nan(content: memoryview) -> bytearray | None:
    """Return a copy in which each NaN and Infinity outside of strings is an empty object; None where there is none."""
    places = [match.span(1) for match in _STRING_OR_NO_NUMBER.finditer(content) if match[1]]
    if not places:
        return None
    copy = bytearray(content)
    for start, stop in places:
        copy[start:stop] = _NO_NUMBER.ljust(stop - start)
    return copy
