"""Changes what a store says and signs it anew: every checksum and digest is right, only the content is hostile.

A `Forgery` holds the files of one store in memory. `write` makes digests, sizes and sums agree with whatever was changed.
"""

import hashlib
import json
import os
import re
import struct
import zlib
from math import prod
from pathlib import Path
from random import Random
from typing import Any

from google_crc32c import value as crc32c

from resizeonce.loader.format.metadata import attributes_digest

Shard = list[tuple[int, int]]
"""Offset and size of each chunk, checksums included, as the index says."""

NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 64, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 10**30, 0.5, 64.0, 1e308,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *NUMBERS, None, True, False, "", "64", "uint8", "compact", "float32", "part-00000", "../part-00000", "/dev/zero", "a" * 5000,
    "\x1b[31m", "‮", "é", "zarr.json", "0" * 64, [], [1], {}, {"a": 1}, [[]] * 3, "2024", "coco", ".", "..",
)  # fmt: skip


class Forgery:
    """The files of a store, to be changed and written elsewhere.

    Attributes:
        root: the attributes of the root.
        parts: those of each part, by its folder.
        files: the bytes of every other file, by its path below the store.
    """

    def __init__(self, store: Path) -> None:
        self.files = {
            path.relative_to(store).as_posix(): path.read_bytes()
            for path in sorted(store.rglob("*"))
            if path.is_file()
        }
        self.root = _attributes(self.files.pop("zarr.json"))
        self.parts = {
            entry["name"]: _attributes(self.files.pop(f"{entry['name']}/zarr.json"))
            for entry in self.root["parts"]
        }
        self._chunks = {
            path: _count_chunks(json.loads(self.files[_metadata_of(path)])) for path in self.shards()
        }

    def shards(self) -> list[str]:
        """Return the paths of all shard files."""
        return [path for path in self.files if "/c/" in path]

    def num_chunks(self, path: str) -> int:
        """Return how many chunks a shard has, as the store said before it was changed."""
        return self._chunks[path]

    def chunks(self, path: str) -> list[bytes]:
        """Return the chunks of a shard, without their checksums."""
        content, count = self.files[path], self.num_chunks(path)
        index = struct.unpack_from(f"<{2 * count}Q", content, len(content) - 16 * count - 4)
        return [content[at : at + size - 4] for at, size in zip(index[::2], index[1::2], strict=True)]

    def set_chunks(self, path: str, chunks: list[bytes], index: Shard | None = None) -> None:
        """Replace all chunks of a shard, and its index by another one where that is given; its digest follows."""
        body, sums, places = b"", b"", []
        for chunk in chunks:
            checksum = struct.pack("<I", crc32c(chunk))
            places.append((len(body), len(chunk) + 4))
            body, sums = body + chunk + checksum, sums + checksum
        pairs = b"".join(struct.pack("<QQ", *place) for place in (index or places))
        end = pairs + struct.pack("<I", crc32c(pairs))
        self.files[path] = body + end
        part, _, name = path.partition("/")
        self._list(part, name, len(body + end), hashlib.sha256(sums + end).hexdigest())

    def set_file(self, path: str, content: bytes) -> None:
        """Replace a file that is no shard; its digest follows."""
        self.files[path] = content
        part, _, name = path.partition("/")
        if part in self.parts:
            self._list(part, name, len(content), hashlib.sha256(content).hexdigest())
        else:
            self.root["files"][path] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def _list(self, part: str, name: str, size: int, digest: str) -> None:
        """Have a part list a file, and every sum of sizes follow, as far as nobody has changed them."""
        files = self.parts[part]["files"]
        entries = [entry for entry in self.root.get("parts") or [] if isinstance(entry, dict)]
        sums = [
            self.parts[part],
            *(entry for entry in entries if entry.get("name") == part),
            self.root.get("totals"),
        ]
        more = size - files.get(name, {"bytes": 0})["bytes"]
        files[name] = {"bytes": size, "sha256": digest}
        for place in sums:
            if isinstance(place, dict) and isinstance(place.get("bytes"), int):
                place["bytes"] += more

    def write(self, folder: Path) -> None:
        """Write the store, with sizes, sums and digests made right wherever there is a place for them."""
        for path, content in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        for number, (name, attributes) in enumerate(self.parts.items()):
            content = _metadata(attributes)
            (folder / name / "zarr.json").write_bytes(content)
            entries = self.root.get("parts")
            if isinstance(entries, list) and number < len(entries) and isinstance(entries[number], dict):
                entries[number]["sha256"] = hashlib.sha256(content).hexdigest()
        self.root["sha256"] = attributes_digest(self.root)
        (folder / "zarr.json").write_bytes(_metadata(self.root))


def _metadata_of(shard: str) -> str:
    """Return the metadata file of the array that a shard is of."""
    return shard.partition("/c/")[0] + "/zarr.json"


def _count_chunks(metadata: dict[str, Any]) -> int:
    """Return how many inner chunks the one shard of an array has."""
    [shard] = metadata["codecs"]
    whole = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    return prod(
        side // inner for side, inner in zip(whole, shard["configuration"]["chunk_shape"], strict=True)
    )


def _attributes(content: bytes) -> dict[str, Any]:
    attributes: dict[str, Any] = json.loads(content)["attributes"]["resizeonce"]
    return attributes


def _metadata(attributes: dict[str, Any]) -> bytes:
    content = {"attributes": {"resizeonce": attributes}, "zarr_format": 3, "node_type": "group"}
    return json.dumps(content, indent=1).encode()


# ---- changes, each drawn by chance


def change_json(value: Any, chance: Random) -> str:
    """Change one place in nested dictionaries and lists, or take it away, or add one; return which."""
    path: list[Any] = []
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return "nothing"
        key = chance.choice(keys)
        path.append(key)
        inner = value[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.8:
            value = inner
            continue
        break
    kind = chance.choice(["replace"] * 6 + ["remove", "add", "swap"])
    if kind == "remove":
        del value[key]
    elif kind == "add" and isinstance(value, dict):
        value[chance.choice([f"new_{key}", "\x1b]0;x\a", "../x", ""])] = chance.choice(VALUES)
    elif kind == "swap":
        other = chance.choice(keys)
        value[key], value[other] = value[other], value[key]
    else:
        value[key] = chance.choice(VALUES)
    return f"{kind} {path} = {str(value.get(key) if isinstance(value, dict) else '')[:40]}"


def change_root(forgery: Forgery, chance: Random) -> str:
    """Change the root's attributes."""
    return f"root {change_json(forgery.root, chance)}"


def change_part(forgery: Forgery, chance: Random) -> str:
    """Change a part's attributes; the root lists the same rows and bytes, where that can be."""
    name = chance.choice(list(forgery.parts))
    text = change_json(forgery.parts[name], chance)
    if chance.random() < 0.5:
        entry = next(entry for entry in forgery.root["parts"] if entry["name"] == name)
        entry |= {key: forgery.parts[name].get(key) for key in ("rows", "bytes")}
    return f"part {text}"


def change_metadata(forgery: Forgery, chance: Random) -> str:
    """Change the metadata of an array or a table."""
    path = chance.choice([path for path in forgery.files if path.endswith("/zarr.json")])
    content = json.loads(forgery.files[path])
    text = change_json(content, chance)
    forgery.set_file(path, json.dumps(content).encode())
    return f"{path} {text}"


def change_index(forgery: Forgery, chance: Random) -> str:
    """Change where chunks are said to lie."""
    path = chance.choice(forgery.shards())
    chunks = forgery.chunks(path)
    index, at = [], 0
    for chunk in chunks:
        index.append((at, len(chunk) + 4))
        at += len(chunk) + 4
    row = chance.randrange(len(index))
    entry = list(index[row])
    number = chance.choice([number for number in NUMBERS if isinstance(number, int) and 0 <= number < 2**64])
    entry[chance.randrange(2)] = chance.choice([number, len(forgery.files[path]), entry[1] + 4, entry[1] - 1])
    index[row] = (max(entry[0], 0), max(entry[1], 0))
    forgery.set_chunks(path, chunks, index)
    return f"{path} index {row} {index[row]}"


_WHOLE = (-(2**63), -1, 0, 1, 5, 10**9, 2**31, 2**62, 2**63 - 1)
_HALVES = (0, 1, 5, 4096, 2**14, 2**28, 2**31 - 1, 2**31, 2**32 - 1, 0x7FC00000, 0x7F800000)
"""Sides, run lengths, and what is no number, or endless, as a float32."""


def _row_shards(forgery: Forgery) -> list[str]:
    """Return the shards of views, and of columns in several pieces."""
    return [
        path
        for path in forgery.shards()
        if forgery.num_chunks(path) > 1 or len(path.partition("/c/")[2].split("/")) > 2
    ]


def change_column(forgery: Forgery, chance: Random) -> str:
    """Change numbers or bytes of a column, or its length."""
    columns = [path for path in forgery.shards() if path not in _row_shards(forgery)]
    path = chance.choice(columns)
    [chunk] = forgery.chunks(path)
    kind = chance.choice(["number", "half", "bytes", "short", "long", "all"])
    if kind in ("number", "half") and len(chunk) >= 8:
        code, size, numbers = ("<q", 8, _WHOLE) if kind == "number" else ("<I", 4, _HALVES)
        at = size * chance.randrange(len(chunk) // size)
        chunk = chunk[:at] + struct.pack(code, chance.choice(numbers)) + chunk[at + size :]
    elif kind == "short":
        chunk = chunk[: chance.randrange(len(chunk) + 1)]
    elif kind == "long":
        chunk += chance.randbytes(chance.choice([1, 8, 800]))
    elif kind == "all":
        chunk = chance.choice([b"\xff", b"\0", b"\x1b", b"\x80"]) * len(chunk)
    else:
        at = chance.randrange(len(chunk))
        chunk = chunk[:at] + chance.randbytes(1) + chunk[at + 1 :]
    forgery.set_chunks(path, [chunk])
    return f"{path} {kind}"


def frame(states: int, holds: int) -> bytes:
    """Return a Zstandard frame that states one size and unpacks to another, out of blocks of one repeated byte (RFC 8878)."""
    blocks = b""
    while holds > 0:
        size = min(holds, 1 << 17)
        holds -= size
        blocks += (size << 3 | 2 | (holds == 0)).to_bytes(3, "little") + b"\1"
    return b"\x28\xb5\x2f\xfd\xe0" + states.to_bytes(8, "little") + blocks


def change_rows(forgery: Forgery, chance: Random) -> str:
    """Change rows that are chunks of their own: compressed masks, raw and compact images; and pieces of a column."""
    path = chance.choice(_row_shards(forgery))
    chunks = forgery.chunks(path)
    row = chance.randrange(len(chunks))
    chunk = chunks[row]
    kind = chance.choice(
        ["flip", "flips", "cut", "long", "bytes", "ones", "slack", "frame", "empty", "other"]
    )
    if kind in ("flip", "flips"):
        changed = bytearray(chunk)
        for _ in range(1 if kind == "flip" else 20):
            at = chance.randrange(min(len(changed), chance.choice([16, len(changed)])))
            changed[at] ^= 1 << chance.randrange(8)
        chunk = bytes(changed)
    elif kind == "cut":
        chunk = chunk[: chance.randrange(len(chunk))]
    elif kind == "long":
        chunk += chance.randbytes(chance.choice([1, 8, 4000]))
    elif kind == "bytes":
        chunk = chance.randbytes(len(chunk))
    elif kind == "ones":
        chunk = chance.choice([b"\xff", b"\x88", b"\0", b"\x08"]) * len(chunk)
    elif kind == "slack":
        chunk = chunk[:-8] + b"\xff" * 8
    elif kind == "frame":
        states, holds = chance.choice(
            [(3 << 30, 3 << 30), (1 << 50, 4096), (1 << 63, 4096), (4096, 1 << 28), (0, 0)]
        )
        chunk = frame(states, holds)
    elif kind == "empty":
        chunk = b""
    else:
        chunk = chunks[chance.randrange(len(chunks))][::-1]
    chunks[row] = chunk
    forgery.set_chunks(path, chunks)
    return f"{path} row {row} {kind}"


def change_text(forgery: Forgery, chance: Random) -> str:
    """Put other characters into a column of text: no UTF-8, controls, steps that lead elsewhere."""
    path = chance.choice([path for path in forgery.shards() if path.endswith("_bytes/c/0")])
    [chunk] = forgery.chunks(path)
    text = chance.choice(
        [b"\xff\xfe", b"\xed\xa0\x80", b"\x1b]0;a\a", b"../../", b"\0\0", b"\n\r", "‮".encode(), b"//"]
    )
    at = chance.randrange(len(chunk))
    forgery.set_chunks(path, [(chunk[:at] + text + chunk[at:])[: len(chunk)]])
    return f"{path} {text!r}"


def change_runs(forgery: Forgery, chance: Random) -> str:
    """Give masks at their own size another size, and run lengths that fill it, or nearly."""
    ending = "_runs/c/0"
    paths = [path.removesuffix(ending) for path in forgery.shards() if path.endswith(ending)]
    if not paths:
        return "no runs"
    path = chance.choice(paths)
    [sizes], [offsets] = (forgery.chunks(path + name) for name in ("_size/c/0/0", "_offsets/c/0"))
    row = chance.randrange(len(sizes) // 8)
    height, width = chance.choice(
        [(1, 1), (1, 1 << 28), (1 << 14, 1 << 14), (1 << 14, (1 << 14) + 1), (7, 1 << 30)]
    )
    forgery.set_chunks(
        path + "_size/c/0/0", [sizes[: 8 * row] + struct.pack("<ii", height, width) + sizes[8 * row + 8 :]]
    )
    first, last = struct.unpack_from("<2q", offsets, 8 * row)
    number, at = divmod(first, 4096)
    chunks = forgery.chunks(path + ending)
    count = min(last - first, 4096 - at)
    filled = (height * width + chance.choice([0, 0, 1, -1])) % 2**32
    runs = [filled] + [0] * (count - 1) if chance.random() < 0.5 else [0] * (count - 1) + [filled]
    chunks[number] = (
        chunks[number][: 4 * at] + struct.pack(f"<{count}I", *runs) + chunks[number][4 * (at + count) :]
    )
    forgery.set_chunks(path + ending, chunks)
    return f"{path} row {row} of {height} x {width}"


def change_source(forgery: Forgery, chance: Random) -> str:
    """Have a file say that it is a picture of another size: PNG's header, its checksum made right."""
    paths = [path for path in forgery.shards() if path.endswith("/source_bytes/c/0")]
    if not paths:
        return "no files"
    path = chance.choice(paths)
    content = b"".join(forgery.chunks(path))
    at = chance.choice([0, *(found.start() for found in re.finditer(b"\x89PNG|\xff\xd8\xff", content))])
    side = chance.choice([0, 1, 60, 9000, 13_000, 30_000, 2**31 - 1])
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    content = (content[:at] + header + content[at + len(header) :])[: len(content)]
    forgery.set_chunks(path, [content[at : at + (1 << 16)] for at in range(0, len(content), 1 << 16)])
    if chance.random() < 0.5:
        size = path.replace("source_bytes/c/0", "size/c/0/0")
        [sizes] = forgery.chunks(size)
        forgery.set_chunks(size, [struct.pack("<I", side) * (len(sizes) // 4)])
    return f"{path} {side} x {side} from byte {at}"


CHANGES = (
    change_runs, change_source,
    change_rows, change_rows, change_column, change_column, change_text, change_index, change_metadata, change_part, change_root,
    change_root,
)  # fmt: skip
"""Those of files first: they go by the attributes, which the others may leave in any shape."""


def change_some(forgery: Forgery, chance: Random) -> str:
    """Make one change or two; return which."""
    drawn = sorted(chance.randrange(len(CHANGES)) for _ in range(chance.choice([1, 1, 2])))
    return "; ".join(CHANGES[number](forgery, chance) for number in drawn)


def swap_file(store: Path, chance: Random) -> str:
    """Put something else where a file of a written store is."""
    files = sorted(path for path in store.rglob("*") if path.is_file() and not path.is_symlink())
    path = chance.choice([*files, *[store / "zarr.json"] * 3])
    kind = chance.choice(
        ["device", "pipe", "folder", "sparse", "link", "loop", "empty", "deep", "long", "garbage", "extra"]
    )
    if kind == "extra":
        name = chance.choice([b"\xff", b"\x1b[31m", b"part-99999", b"a\nb", b".x", b"part-"])
        os.close(os.open(bytes(path.parent) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    elif kind == "sparse":
        os.truncate(path, 8 << 40)
    elif kind == "deep":
        path.write_text("[" * 200_000 + "]" * 200_000)
    elif kind == "long":
        path.write_bytes(b'{"attributes": [' + b"[]," * (8 << 20))
    elif kind == "garbage":
        path.write_bytes(chance.randbytes(chance.randrange(1, 300)))
    else:
        path.unlink()
        if kind == "device":
            path.symlink_to(chance.choice(["/dev/zero", "/dev/null", "/dev/random", "/dev/tty"]))
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(chance.choice(["nowhere", "/etc/passwd", "/proc/self/mem", "/proc/kmsg", "."]))
        elif kind == "loop":
            path.symlink_to(path.name)
        else:
            path.touch()
    return f"{path.relative_to(store)} {kind}"
