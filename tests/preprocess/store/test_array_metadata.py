"""Metadata files against those that zarr-python writes."""

import dataclasses
from typing import Any

import pytest
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from resizeonce.loader.format.layout import COLUMNS, ZSTD_LEVEL, ArraySpec, array_specs
from resizeonce.preprocess.store.array_metadata import describe_array, describe_group
from resizeonce.preprocess.tensors.shipped import RECIPES

SPECS = {
    dataclasses.replace(spec, codec="raw" if spec.codec == "gradient" else spec.codec)
    for recipe in RECIPES.values()
    for frames in (1, 2)
    for spec in array_specs(recipe, frames, COLUMNS)
}


def by_zarr(spec: ArraySpec, length: int) -> bytes:
    files: dict[str, Any] = {}
    shard = (max(length, 1) if not spec.piece_rows else spec.num_chunks(max(length, 1)) * spec.piece_rows,)
    chunk = (1,) if spec.row_chunks else (spec.piece_rows or shard[0],)
    checksum = Crc32cCodec()
    zarr.open_group(MemoryStore(files), mode="w", zarr_format=3).create_array(
        spec.name,
        shape=(length, *spec.row_shape),
        dtype=spec.dtype,
        shards=(*shard, *spec.row_shape),
        chunks=(*chunk, *spec.row_shape),
        compressors=[ZstdCodec(level=ZSTD_LEVEL), checksum] if spec.codec == "zstd" else [checksum],
        fill_value=0,
        dimension_names=spec.dims,
    )
    found: bytes = files[f"{spec.name}/zarr.json"].to_bytes()
    return found


@pytest.mark.parametrize("length", [0, 1, 7, 100_000])
def test_arrays_are_described_as_zarr_python_does(length: int) -> None:
    assert len(SPECS) > 20
    for spec in SPECS:
        assert describe_array(spec, length) == by_zarr(spec, length), spec


def test_tables_are_described_as_zarr_python_does() -> None:
    files: dict[str, Any] = {}
    zarr.open_group(MemoryStore(files), mode="w", zarr_format=3)
    assert describe_group() == files["zarr.json"].to_bytes()
