"""Damages JSON, pickles and CSV: values that no writer of the format means, and what is no text at all."""

import json
import pickle
import re
import struct
from random import Random
from typing import Any

BIG = 10**400


NUMBERS: tuple[Any, ...] = (
    0, -1, -0.0, 0.5, 1e-320, 1e308, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), BIG, -BIG,
    float("nan"), float("inf"), float("-inf"), True, 65500, 100_000,
)  # fmt: skip


NO_TEXTS = (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"a\x80")
"""What is no UTF-8: no first byte, too long a form, half of a surrogate pair, beyond the last code point, cut short."""


NO_CODE_POINTS = (0xD800, 0xDFFF, 0x110000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""What NumPy makes characters of, and nobody else."""


TEXTS = (
    "", ".", "..", "../../etc/passwd", "/etc/passwd", "/dev/zero", "a/../../b", "a\0b", "x" * 5000, "a/" * 3000, "\ud800",
    "\udcff", "\u202e", "con:", "\\\\host\\share", "00000", "train", "\n", "-1", "1e999", "file:///etc/passwd", "=1+1",
)  # fmt: skip


def deep(depth: int) -> Any:
    """Return lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def rles() -> tuple[Any, ...]:
    """Return segmentations that no image has."""
    return (
        {"size": [2**31, 2**31], "counts": [2**62]},
        {"size": [60000, 60000], "counts": [60000 * 60000]},
        {"size": [BIG, 1], "counts": [BIG]},
        {"size": [-4, -4], "counts": [16]},
        {"size": [0, 0], "counts": []},
        {"size": [48.0, 64.0], "counts": [1.0, 48 * 64 - 1]},
        {"size": [48, 64], "counts": [48 * 64 + 5, -5]},
        {"size": [48, 64], "counts": "o" * 4000},
        {"size": [48, 64], "counts": "0" * 200_000},
        {"size": [48, 64], "counts": "\ud800"},
        {"size": [48, 64], "counts": [0] * 100_000 + [48 * 64]},
        {"size": [48, 64], "counts": {"0": 1}},
        {"size": [64, 48], "counts": [10, 48 * 64 - 10]},
        [[0, 0, 999_999, 999_999, -999_999, 999_999]],
        [[1, 1, 10, 1, 10]],
        [[1, 1, 5, 5]],
        [[float("nan")] * 8],
        [[1e300, 0, 0, 1e300, 5, 5]],
        [[3, 3, 3, 3, 3, 3]],
        [[0, 0, 10, 0, 10, 10]] * 3000,
        [[]],
        [None],
        "i\\Y4<",
    )


# JSON.


def change_json(content: bytes, chance: Random) -> bytes:
    """Replace, remove or repeat a value anywhere in a document."""
    tree = json.loads(content)
    holder, key = _place(tree, chance)
    _change_place(holder, key, chance)
    if chance.random() < 0.2:
        _change_place(*_place(tree, chance), chance)
    return json.dumps(tree, ensure_ascii=chance.random() < 0.8).encode("utf-8", "surrogatepass")


def write_json_oddly(content: bytes, chance: Random) -> bytes:
    """Write what a JSON writer would not: huge numbers, broken text, deep nesting, a key twice."""
    odd = chance.choice(
        (
            b"1" * 5000, b"-1e99999", b"0.1e-99999", b"NaN", b"Infinity", b"01", b"0x1F", b"1_000", b"'a'", b"[1,]",
            b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff\xfe"', b'"\\u0000"', b'"\\x"', b'"\xc0\xaf"', b'"\xed\xa0\x80"',
            b"[" * 100_000, b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"0" + b"}" * 3000, b"", b"/* */ 1", b'"a\nb"',
        )
    )  # fmt: skip
    values = list(re.finditer(rb'(?<=: )(-?[0-9.]+|"[^"]*"|null|true|false)', content))
    value = chance.choice(values)
    if chance.random() < 0.2:
        # A key for the second time, before the first.
        keys = list(re.finditer(rb'[{]"([a-z_]+)": ', content))
        key = chance.choice(keys)
        return content[: key.start() + 1] + b'"' + key[1] + b'": ' + odd + b", " + content[key.start() + 1 :]
    return content[: value.start()] + odd + content[value.end() :]


def encode_otherwise(content: bytes, chance: Random) -> bytes:
    """Write the text in another encoding."""
    text = content.decode("utf-8", "replace")
    return text.encode(chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7")))


def _place(tree: Any, chance: Random) -> tuple[Any, Any]:
    """Return a container of the tree and a key of it; shallow and deep ones are equally likely."""
    holder, key = [tree], 0
    for _ in range(chance.randint(1, 7)):
        value = holder[key]
        if not (isinstance(value, dict | list) and value):
            break
        holder, key = (
            value,
            chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value)),
        )
    return holder, key


def _change_place(holder: Any, key: Any, chance: Random) -> None:
    how = chance.randrange(8)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, list):
        holder.insert(chance.randrange(len(holder) + 1), holder[key])
    elif how == 2 and isinstance(holder, list):
        holder.append(_value(chance))
    elif how == 3 and isinstance(holder, dict):
        holder[chance.choice(list(holder))] = holder[key]
    elif how == 4 and isinstance(holder, dict) and "segmentation" in holder:
        holder["segmentation"] = chance.choice(rles())
    elif how == 5 and isinstance(holder, dict):
        holder[chance.choice(TEXTS)] = holder.pop(key)
    else:
        holder[key] = _value(chance)


def _value(chance: Random) -> Any:
    fixed = (None, [], {}, [[]], {"a": 1}, [0] * 1000, deep(400), True)
    return chance.choice(
        (chance.choice(NUMBERS), chance.choice(TEXTS), chance.choice(fixed), chance.choice(rles()))
    )


# Pickles.


def change_pickle(content: bytes, chance: Random) -> bytes:
    """Replace, remove or repeat a value anywhere in a pickled list, written in any protocol."""
    tree = pickle.loads(content)
    for _ in range(chance.randint(1, 3)):
        holder, key = _place(tree, chance)
        _change_place(holder, key, chance)
    if chance.random() < 0.3:
        holder, key = _place(tree, chance)
        foreign: tuple[Any, ...] = (
            b"bytes",
            (1, (2,)),
            {1, 2},
            1j,
            Random,
            frozenset(),
            bytearray(b"a"),
            tree,
            range(3),
        )
        if not isinstance(holder, list) or key < len(holder):
            holder[key] = chance.choice(foreign)
    return pickle.dumps(tree, chance.randrange(6))


def write_pickle_oddly(content: bytes, chance: Random) -> bytes:
    """Put instructions in that no refs file needs."""
    odd = chance.choice(
        (
            b"cos\nsystem\n(S'false'\ntR.", b"(i__builtin__\nexit\n.", b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
            b"r\xff\xff\xff\x7f", b"p99999999999\n", b"j\xff\xff\xff\xff", b"\x8a\xff" + b"\xff" * 255,
            b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\xff", b"\x8d" + b"\xff" * 8, b"(" * 50_000, b"]" * 5000 + b"a" * 5000,
            b"I" + b"9" * 10_000 + b"\n", b"L" + b"9" * 10_000 + b"L\n", b"F1e999\n", b"V\\ud800\n", b"S'\\xff'\n",
            b"P1\n", b"Q", b"\x82\x01", b"0" * 10, b"2" * 1000, b"t", b"\x95" + b"\xff" * 8, b"\x80\xff", b"e" * 100, b".",
        )
    )  # fmt: skip
    lines = [found.end() for found in re.finditer(rb"\n", content)]
    place = chance.choice((0, chance.randrange(len(content)), chance.choice(lines or [0])))
    over = chance.choice((0, len(odd)))
    return content[:place] + odd + content[place + over :]


def write_pickle_text(content: bytes, chance: Random) -> bytes:
    """Put what is no text, or no number that anybody can use, in the place of a text: of the right length, and well formed."""
    content = pickle.dumps(pickle.loads(content), 3)
    texts = list(re.finditer(rb"X(..\0\0)", content, re.DOTALL))
    found = chance.choice(texts)
    stop = found.end() + int.from_bytes(found[1], "little")
    odd = chance.choice(
        (
            *(b"X" + struct.pack("<I", len(text)) + text for text in NO_TEXTS), b"V\\U00110000\n", b"V\\ud800\n", b"V\\u12\n",
            b"S'\\xff\\xed'\n", b"T\x02\0\0\0\xff\xfe", b"X\x01\0\0\0\0", b"\x8a\xff" + b"\x7f" * 255, b"Fnan\n", b"Finf\n",
            b"I" + b"9" * 4301 + b"\n", b"G\x7f\xf0" + bytes(6), b"X" + struct.pack("<I", 100_000) + b"\xc4\x80" * 50_000,
        )
    )  # fmt: skip
    return content[: found.start()] + odd + content[stop:]


# CSV and lists.


def change_csv(content: bytes, chance: Random) -> bytes:
    """Replace, move, remove or repeat a field or a line."""
    lines = [line.split(b",") for line in content.splitlines()]
    line = chance.choice(lines)
    texts = [text.encode("utf-8", "surrogatepass") for text in TEXTS]
    odd = [
        b'"',
        b'""',
        b'"a,b',
        b"\xff\xfe",
        b'"' + b"x" * (1 << 21),
        b"a;b",
        b"\t",
        b" ",
        b"1" * 500,
        b",,,,",
        b"\r",
    ]
    place = chance.randrange(len(line))
    how = chance.randrange(6)
    if how < 3:
        line[place] = chance.choice(texts + odd)
    elif how == 3:
        other = chance.choice(lines)
        line[place], other[-1] = other[-1], line[place]
    elif how == 4:
        del line[place]
    else:
        lines.insert(chance.randrange(len(lines) + 1), list(line))
    end = chance.choice((b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b"\0"))
    return end.join(b",".join(fields) for fields in lines) + chance.choice((b"", end))
