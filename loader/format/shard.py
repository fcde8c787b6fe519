"""Where the one shard file of an array lies, and the sizes of what is in it (docs/format.md)."""

from .layout import ArraySpec

CHECKSUM_BYTES = 4
"""The CRC-32C behind each chunk, and behind the index."""

INDEX_ENTRY_BYTES = 16
"""Offset and size of a chunk, uint64 each."""


def shard_path(spec: ArraySpec) -> str:
    """Return the path below a part of an array's one shard file, such as "images/key_bytes/c/0"."""
    return "/".join([spec.path, "c", *["0"] * (1 + len(spec.row_shape))])
