"""Refs files: which words refer to which annotations (lichengunc/refer, henghuiding/gRefCOCO).

A list of records, one for each referred object::

    {"ref_id": 0, "image_id": 581857, "ann_id": 1719310, "category_id": 1, "split": "train", "sent_ids": [0],
     "file_name": "COCO_train2014_000000581857_16.jpg",
     "sentences": [{"sent_id": 0, "raw": "THE LADY WITH THE BLUE SHIRT", "sent": "the lady with the blue shirt",
                    "tokens": ["the", "lady", ...]}, ...]}

- RefCOCO, RefCOCO+ and RefCOCOg are pickles of Python 2, gRefCOCO is JSON.
- gRefCOCO's `ann_id` is a list; [-1] together with `no_target` says that nothing in the picture is meant.
- Ids may be written as 1.0 or as text.
- `file_name` names no file (it has a running number or the annotation's id in it) and is not read.

A pickle is a program, and these come from strangers. So its instructions are gone through before any is carried
out: only those that build lists, dicts, text and numbers are admitted, and only as many as `MAX_OPCODES`. Then it is
loaded by an unpickler that can't import anything. Python 2 text without an encoding is read as UTF-8, or, where that
fails anywhere in the file, the whole file as Latin-1.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec

from ....loader.format.errors import SourceError
from ...errors import RecordError
from .folder_tree import list_if_possible
from .json_files import JSON_ERRORS, decode_json, explain
from .raw_files import RawPath, compression_of, read_file

MAX_REFS_BYTES = 1 << 29
"""Largest refs file that is read, several times the largest published one."""

MAX_REFS = 1 << 21
"""Most records in a refs file; RefCOCO has 50,000."""

MAX_OPCODES = 1 << 25
"""Most instructions in a pickle; each takes some 80 bytes of memory at most, beside its text."""

_Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Target = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
_Text = Annotated[str, msgspec.Meta(max_length=10_000)]


class Sentence(msgspec.Struct, frozen=True, gc=False):
    """One expression in two spellings."""

    raw: _Text = ""
    """As the annotator typed it."""
    sent: _Text = ""
    """Cleaned by the dataset's authors: lower case, no punctuation."""

    def __post_init__(self) -> None:
        # Halves of surrogate pairs, which Python 2 could pickle, can't be written as UTF-8: a ValueError.
        f"{self.raw}{self.sent}".encode()


class Ref(msgspec.Struct, frozen=True, gc=False):
    """One record: expressions for one object, for several together (gRefCOCO), or for none."""

    ref_id: _Id
    image_id: _Id
    split: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    ann_id: _Target | Annotated[list[_Target], msgspec.Meta(max_length=1000)]
    sentences: list[Sentence] | None = None
    no_target: bool = False

    def __post_init__(self) -> None:
        if self.no_target and self.targets:
            raise ValueError(f"no_target is set, but ann_id names {len(self.targets)} annotations")
        if not self.no_target and self.ann_id == []:
            raise ValueError("ann_id is empty, but no_target is not set")
        if -1 in self.targets:
            raise ValueError("ann_id is -1, no target, beside others")

    @property
    def targets(self) -> tuple[int, ...]:
        """Annotation ids in the order of the file; none for a no-target record."""
        ids = tuple(self.ann_id) if isinstance(self.ann_id, list) else (self.ann_id,)
        return () if ids == (-1,) else ids


class BadRef(NamedTuple):
    """A record that can't be read."""

    place: int
    split: str
    """The split it is of, "" if it does not say so."""
    reason: str


class _Split(msgspec.Struct, frozen=True, gc=False):
    split: str


def read_refs(path: RawPath) -> list[Ref | BadRef]:
    """Read a refs file, in the order of the file: JSON if its name ends in ".json", else a pickle."""
    try:
        content = read_file(path, MAX_REFS_BYTES)
    except RecordError as err:
        there = sorted(entry.name for entry in list_if_possible(path.parent) if "refs" in entry.name)
        raise SourceError(
            f"can't read {path}: {err}; refs files there: {', '.join(there) or 'none'}; check --root and the config's dataset "
            "and split_by"
        ) from err
    if not content:
        raise SourceError(f"{path} is empty (0 bytes); download it again")
    if path.suffix == ".json":
        try:
            elements = decode_json(content, msgspec.json.Decoder(list[msgspec.Raw]).decode)
        except RecordError as err:
            raise SourceError(f"can't read {path}: {err}") from err
        except JSON_ERRORS as err:
            raise SourceError(f"{path} is no JSON list of refs: {err}") from err
        return _parse(elements, msgspec.json.decode, path)
    if kind := compression_of(content):
        raise SourceError(f"{path} is compressed ({kind}): decompress it")
    return _parse(load_pickle(content, path), msgspec.convert, path)


def _parse(elements: Sequence[object], decode: Callable[..., Any], path: RawPath) -> list[Ref | BadRef]:
    if len(elements) > MAX_REFS:
        raise SourceError(f"{path} holds {len(elements)} records, over the limit of {MAX_REFS}")
    refs: list[Ref | BadRef] = []
    for place, element in enumerate(elements):
        try:
            refs.append(decode(element, type=Ref, strict=False))
        except JSON_ERRORS as err:
            reason = explain(err, element) if isinstance(element, msgspec.Raw) else f"{err}"
            refs.append(BadRef(place, _read_split(decode, element), f"not a ref: {reason}"))
    return refs


def _read_split(decode: Callable[..., Any], element: object) -> str:
    try:
        split: str = decode(element, type=_Split).split
    except JSON_ERRORS:
        return ""
    return split


def load_pickle(content: bytes, path: RawPath) -> list[object]:
    """Return the list that a pickle of plain values holds; `path` is named in errors.

    Raises:
        SourceError: the pickle is damaged, wants to import something, or is no list.
    """
    if not content.startswith(pickle.PROTO):
        _check_lines(content, path)
    try:
        num_opcodes = _check_opcodes(content, path)
    except SourceError:
        _check_lines(content, path)
        raise
    try:
        try:
            refs = _PlainUnpickler(io.BytesIO(content), encoding="utf-8").load()
        except UnicodeDecodeError:
            refs = _PlainUnpickler(io.BytesIO(content), encoding="latin-1").load()
    except _ForbiddenImportError as err:
        raise SourceError(f"{path} is refused: {err}") from err
    except _UNPICKLING_ERRORS as err:
        raise SourceError(f"{path} is a damaged pickle: {err}; download it again") from err
    if not isinstance(refs, list):
        raise SourceError(f"{path} holds a {type(refs).__name__}, expected a list of refs")
    # One list can stand in a pickle once and be pointed to a million times: small in memory until it is copied.
    if sum(map(_count_parts, refs)) > num_opcodes:
        raise SourceError(f"{path} is refused: its records share their lists of sentences")
    return refs


def _check_lines(content: bytes, path: RawPath) -> None:
    """Raise `SourceError` if each line ends in CR LF: no pickle is written so, and some transfers make it so."""
    if 0 < content.count(b"\n") == content.count(b"\r\n"):
        raise SourceError(
            f"{path} is a damaged pickle: each of its lines ends in CR LF, as after a transfer in text mode (FTP, git "
            "autocrlf); fetch it again as binary"
        )


class _ForbiddenImportError(pickle.UnpicklingError):
    pass


class _PlainUnpickler(pickle.Unpickler):
    """Loads plain values only; `persistent_load` is left undefined, so persistent ids are refused, too."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse every import: a pickle that may name a function may run it."""
        hint = "refs files need none"
        if module.split(".")[0] == "numpy":
            hint = "convert its NumPy values to plain ones with .item() or .tolist() and pickle it again"
        raise _ForbiddenImportError(
            f"the pickle wants to import {module[:80]!r} {name[:80]!r}, which is never done; {hint}"
        )


# What unpickling raises on damaged bytes: the pickle documentation names the first five, the rest come from applying
# an instruction to a value of another kind.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError,
    KeyError, OverflowError, RecursionError, TypeError, ValueError,
)  # fmt: skip

_PLAIN_OPCODES = (
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE",
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "DICT", "EMPTY_DICT", "SETITEM", "SETITEMS",
    "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE",
)  # fmt: skip
_OPCODES = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
_ARGUMENT_BYTES = {
    code: opcode.arg.n if opcode.arg else 0
    for code, opcode in _OPCODES.items()
    if opcode.name in _PLAIN_OPCODES
}
_COUNT_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
}
_IMPORTS = frozenset(pickle.GLOBAL + pickle.INST + pickle.STACK_GLOBAL)
_PUTS = frozenset(pickle.PUT + pickle.LONG_BINPUT)


def _check_opcodes(content: bytes, path: RawPath) -> int:
    """Return the number of instructions up to the end, or up to an import, where the unpickler stops with its reason.

    A place in the memo is checked because C's unpickler takes memory up to any place a pickle claims; tuples are not
    admitted because hashing a deeply nested one overflows C's stack.
    """
    at = num_opcodes = 0
    try:
        while (code := content[at]) != pickle.STOP[0] and code not in _IMPORTS:
            num_opcodes += 1
            if code not in _ARGUMENT_BYTES:
                name = _OPCODES[code].name if code in _OPCODES else hex(code)
                raise SourceError(
                    f"{path} is no pickle of plain values: found instruction {name} at byte {at}; a refs file is "
                    "lists, dicts, text and numbers"
                )
            start, length = at + 1, _ARGUMENT_BYTES[code]
            if length >= 0:
                at = start + length
            elif length == pickletools.UP_TO_NEWLINE:
                at = content.index(b"\n", start) + 1
            else:
                counted = start + _COUNT_BYTES[length]
                at = counted + int.from_bytes(content[start:counted], "little")
            if code in _PUTS:
                argument = content[start:at]
                place = int(argument) if code == pickle.PUT[0] else int.from_bytes(argument, "little")
                if place > num_opcodes:
                    raise SourceError(
                        f"{path} is refused: at byte {start} it claims place {place} of the memo, after only "
                        f"{num_opcodes} instructions"
                    )
    except (IndexError, ValueError) as err:
        raise SourceError(
            f"{path} is a damaged pickle: it ends or breaks off within its {len(content)} bytes; download it again"
        ) from err
    if num_opcodes > MAX_OPCODES:
        raise SourceError(f"{path} is refused: {num_opcodes} instructions, over the limit of {MAX_OPCODES}")
    return num_opcodes


def _count_parts(ref: object) -> int:
    if not isinstance(ref, dict):
        return 0
    fields = (ref.get("sentences"), ref.get("ann_id"))
    return sum(len(field) for field in fields if isinstance(field, list))
