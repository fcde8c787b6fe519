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

from ....loader.format.errors import SourceError
from ...errors import RecordError, SegmentationError
from .raw_files import RawPath, check_text, read_file

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
        JSON_ERRORS: what `decode` raises.
    """
    view = memoryview(content)[len(_MARK) :] if content.startswith(_MARK) else memoryview(content)
    try:
        return decode(view)
    except msgspec.ValidationError:
        raise
    except JSON_ERRORS:
        check_text(content)
        mended = bytearray(view)
        places = [
            *_replace(mended, _STRING_OR_NO_NUMBER, _NO_NUMBER),
            *_replace(mended, _ESCAPE, _QUESTION_MARK),
        ]
        if not places:
            raise
    return decode(mended)


def read_index(
    path: RawPath, limit: int, form: type[T], fault: str, advice: str = "", *, strict: bool = True
) -> T:
    """Return a file that a dataset can't be read without, as `form`; unless `strict`, numbers may be text, or 1.0.

    Raises:
        SourceError: it can't be read, which `advice` follows; or it holds something else, `fault`, with what is wrong as "{}".
    """
    try:
        return decode_json(read_file(path, limit), msgspec.json.Decoder(form, strict=strict).decode)
    except RecordError as err:
        raise SourceError(f"can't read {path}: {err}{advice}") from err
    except JSON_ERRORS as err:
        raise SourceError(f"{path} {fault.format(err)}") from err


def decode_mask(element: msgspec.Raw, what: str) -> object:
    """Return a mask of an annotation file as its JSON has it; `what` begins the reason where that is none."""
    try:
        return msgspec.json.decode(element)
    except JSON_ERRORS as err:
        raise SegmentationError(f"the {what} no valid JSON: {err}") from err


def explain(error: Exception, element: bytes | memoryview | msgspec.Raw) -> str:
    """Return why an element of a file can't be used, in words for a reason."""
    if _NO_NUMBER in bytes(element):
        return f"{error} (NaN or Infinity stands in it, which is no number)"
    return f"{error}"


def _replace(content: bytearray, pattern: re.Pattern[bytes], substitute: bytes) -> Iterator[int]:
    """Put `substitute` in the place of each match's group; yield where they were."""
    for start, stop in [match.span(1) for match in pattern.finditer(content) if match[1]]:
        content[start:stop] = substitute.ljust(stop - start)
        yield start
