"""The metadata files of arrays and tables: zarr-specs v3.0, "array metadata" and "group metadata".

Written here, in the form and the order of zarr-python: importing that for a few dozen lines of JSON took a fifth of a
second of each worker process.
"""

import json
from typing import Any

import numpy as np

from ...loader.format.layout import GRADIENT_CODEC, ZSTD_LEVEL, ArraySpec

_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
_CHECKSUM = {"name": "crc32c"}


def describe_array(spec: ArraySpec, length: int) -> bytes:
    """Return the metadata file of an array of `length` rows, all in one shard file."""
    # A chunk can't be of length 0, also where the array is. The last piece reaches beyond its end.
    shard_length = spec.num_chunks(max(length, 1)) * spec.piece_rows or max(length, 1)
    chunk_length = 1 if spec.row_chunks else spec.piece_rows or shard_length
    shards = {
        "chunk_shape": [chunk_length, *spec.row_shape],
        "codecs": _chunk_codecs(spec),
        "index_codecs": [_LITTLE_ENDIAN, _CHECKSUM],
        "index_location": "end",
    }
    metadata = {
        "shape": [length, *spec.row_shape],
        "data_type": spec.dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [shard_length, *spec.row_shape]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": np.zeros((), spec.dtype).item(),
        "codecs": [{"name": "sharding_indexed", "configuration": shards}],
        "attributes": {},
        "dimension_names": spec.dims,
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return json.dumps(metadata, indent=2).encode()


def describe_group() -> bytes:
    """Return the metadata file of a table."""
    return json.dumps({"attributes": {}, "zarr_format": 3, "node_type": "group"}, indent=2).encode()


def _chunk_codecs(spec: ArraySpec) -> list[dict[str, Any]]:
    """Return what makes a chunk's bytes of its values, first to last."""
    if spec.codec == "gradient":
        return [{"name": GRADIENT_CODEC}, _CHECKSUM]
    # Single bytes have no order.
    to_bytes = {"name": "bytes"} if np.dtype(spec.dtype).itemsize == 1 else _LITTLE_ENDIAN
    zstd = {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}
    return [to_bytes, zstd, _CHECKSUM] if spec.codec == "zstd" else [to_bytes, _CHECKSUM]
