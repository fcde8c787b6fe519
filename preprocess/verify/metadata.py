"""What each `zarr.json` of a part must say, spelt out from docs/format.md."""

from collections.abc import Iterator
from typing import Any

from ...loader.format.layout import ATTRIBUTES_KEY, ZSTD_LEVEL, ArraySpec

# What Zarr allows to be there without a meaning for a reader of this store.
_EMPTY: dict[str, Any] = {"storage_transformers": [], "consolidated_metadata": None, "attributes": {}}

_LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
_CHECKSUM = {"name": "crc32c"}


def array_metadata(spec: ArraySpec, length: int) -> dict[str, Any]:
    """Return the metadata of an array of `length` rows."""
    shape = [length, *spec.row_shape]
    shard = [max(length, 1), *spec.row_shape]
    if spec.piece_rows:
        shard = [(max(length, 1) + spec.piece_rows - 1) // spec.piece_rows * spec.piece_rows]
    one_byte = spec.dtype in ("bool", "uint8")
    codecs: list[dict[str, Any]] = [{"name": "bytes"} if one_byte else _LITTLE]
    if spec.codec == "zstd":
        codecs.append({"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}})
    elif spec.codec == "gradient":
        codecs = [{"name": "resizeonce.gradient"}]
    sharding = {
        "chunk_shape": [spec.piece_rows]
        if spec.piece_rows
        else [1, *spec.row_shape]
        if spec.row_chunks
        else shard,
        "codecs": [*codecs, _CHECKSUM],
        "index_codecs": [_LITTLE, _CHECKSUM],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": spec.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": False if spec.dtype == "bool" else 0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": list(spec.dims),
    }


def group_metadata() -> dict[str, Any]:
    """Return the metadata of a table."""
    return {"zarr_format": 3, "node_type": "group"}


def metadata_differences(found: object, wanted: dict[str, Any]) -> Iterator[str]:
    """Yield in words where metadata is not what the layout says."""
    if not isinstance(found, dict):
        yield f"it is no JSON object but {found!r:.60}"
        return
    for name in sorted(found.keys() | wanted.keys()):
        if name in wanted:
            if not _is_same(found.get(name), wanted[name]):
                yield f"{name} is {found.get(name)!r:.300}, expected {wanted[name]!r}"
        elif name not in _EMPTY or found[name] != _EMPTY[name]:
            yield f"{name} is {found[name]!r:.300}, expected nothing of that name"


def attributes_of(content: object) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the project's attributes out of a group's metadata (None if there are none), and what else is wrong."""
    if not isinstance(content, dict):
        return None, ["it is no JSON object"]
    attributes = content.get("attributes")
    others = {name: value for name, value in content.items() if name != "attributes"}
    faults = list(metadata_differences(others, group_metadata()))
    if not isinstance(attributes, dict) or not isinstance(attributes.get(ATTRIBUTES_KEY), dict):
        return None, [*faults, f"it has no attributes under {ATTRIBUTES_KEY!r}"]
    faults += [f"unknown attribute {name!r} beside ours" for name in attributes if name != ATTRIBUTES_KEY]
    return attributes[ATTRIBUTES_KEY], faults


def _is_same(found: object, wanted: object) -> bool:
    """Whether two JSON values are equal and of one kind: 1, 1.0 and true are not the same, but 0 and 0.0 are."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_is_same(found[name], wanted[name]) for name in wanted)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_is_same, found, wanted))
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted
