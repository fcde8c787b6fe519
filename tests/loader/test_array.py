"""The mapped reader on damaged files: each is refused with the file's name and what to do."""

import struct
from pathlib import Path

import numpy as np
import pytest
from google_crc32c import value as crc32c

from resizeonce.loader.array import MappedArray
from resizeonce.loader.format.errors import StoreError
from resizeonce.loader.format.layout import ArraySpec
from resizeonce.preprocess.store.shard_writer import ShardWriter

RAW = ArraySpec("images", "rows", "uint8", (3, 5), ("image", "y", "x"), row_chunks=True)
PACKED = ArraySpec("masks", "rows", "bool", (64, 64), ("mask", "y", "x"), codec="zstd", row_chunks=True)


def write(path: Path, spec: ArraySpec, rows: np.ndarray) -> Path:
    with ShardWriter(path.parent, path.name, spec.codec) as shard:
        for row in rows:
            shard.append(row)
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write(tmp_path / "raw", RAW, np.arange(60, dtype=np.uint8).reshape(4, 3, 5))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return write(tmp_path / "packed", PACKED, np.arange(3 * 64 * 64).reshape(3, 64, 64) % 7 == 0)


def test_the_bytes_of_a_shard_are_those_of_the_specification(raw: Path) -> None:
    """Worked by hand: 4 rows of 15 bytes, each with its checksum, then 4 index entries and the index's checksum."""
    content = raw.read_bytes()
    assert len(content) == 4 * (15 + 4) + 4 * 16 + 4
    for row in range(4):
        chunk = bytes(range(15 * row, 15 * row + 15))
        assert content[19 * row : 19 * row + 19] == chunk + struct.pack("<I", crc32c(chunk))
    index = b"".join(struct.pack("<QQ", 19 * row, 19) for row in range(4))
    assert content[76:] == index + struct.pack("<I", crc32c(index))


def test_raw_rows_are_read_only_views_of_the_map(raw: Path) -> None:
    array = MappedArray(raw, RAW, 4)
    row = array.row(2)
    assert row.tolist() == np.arange(30, 45).reshape(3, 5).tolist()
    assert not row.flags.writeable
    assert not row.flags.owndata


def test_rows_are_found_by_the_index_and_not_by_arithmetic(raw: Path) -> None:
    content = bytearray(raw.read_bytes())
    index = b"".join(struct.pack("<QQ", 19 * row, 19) for row in (3, 1, 0, 2))
    content[76:] = index + struct.pack("<I", crc32c(index))
    raw.write_bytes(content)
    array = MappedArray(raw, RAW, 4)
    assert [int(array.row(number)[0, 0]) for number in range(4)] == [45, 15, 0, 30]


def test_an_array_of_length_0_needs_no_file(tmp_path: Path) -> None:
    array = MappedArray(tmp_path / "absent", RAW, 0)
    assert len(array) == 0
    assert array.whole().shape == (0, 3, 5)


@pytest.mark.parametrize("cut", [0, 1, 4, 30, 68, 100])
def test_a_cut_file_is_refused(raw: Path, cut: int) -> None:
    raw.write_bytes(raw.read_bytes()[:cut])
    with pytest.raises(StoreError, match=str(raw)):
        MappedArray(raw, RAW, 4)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="resizeonce verify"):
        MappedArray(tmp_path / "absent", RAW, 4)


@pytest.mark.parametrize("byte", range(76, 76 + 68))
def test_a_changed_byte_of_the_index_is_refused(raw: Path, byte: int) -> None:
    content = bytearray(raw.read_bytes())
    content[byte] ^= 4
    raw.write_bytes(content)
    with pytest.raises(StoreError, match="index of the shard is damaged"):
        MappedArray(raw, RAW, 4)


@pytest.mark.parametrize(
    "entry", [(0, 18), (0, 20), (2**63, 19), (70, 19), (2**64 - 1, 2**64 - 1), (2**64 - 10, 19), (0, 2**63)]
)
def test_an_index_that_points_elsewhere_is_refused(raw: Path, entry: tuple[int, int]) -> None:
    content = bytearray(raw.read_bytes())
    content[76 + 16 : 76 + 32] = struct.pack("<QQ", *entry)
    content[-4:] = struct.pack("<I", crc32c(bytes(content[76:-4])))
    raw.write_bytes(content)
    with pytest.raises(StoreError, match="chunk 1 of the index can't be where it says"):
        MappedArray(raw, RAW, 4)


@pytest.mark.parametrize("byte", range(19, 38))
def test_a_changed_byte_of_a_row_is_found(raw: Path, byte: int) -> None:
    content = bytearray(raw.read_bytes())
    content[byte] ^= 1
    raw.write_bytes(content)
    array = MappedArray(raw, RAW, 4)
    array.row(0)
    with pytest.raises(StoreError, match="row 1 is damaged"):
        array.row(1)


def test_compressed_rows_are_decoded(packed: Path) -> None:
    row = MappedArray(packed, PACKED, 3).row(1)
    assert np.array_equal(row, np.arange(64 * 64, 2 * 64 * 64).reshape(64, 64) % 7 == 0)


def test_a_damaged_compressed_row_is_an_error_and_not_a_crash(packed: Path) -> None:
    clean = packed.read_bytes()
    start, size = MappedArray(packed, PACKED, 3).span(1)
    errors = 0
    for byte in range(start, start + size - 4):
        content = bytearray(clean)
        content[byte] ^= 0x55
        packed.write_bytes(content)
        with pytest.raises(StoreError, match="row 1 is damaged"):
            MappedArray(packed, PACKED, 3).row(1)
        try:
            MappedArray(packed, PACKED, 3, check_rows=False).row(1)
        except StoreError:
            errors += 1
    assert errors > 10


def test_a_compressed_row_of_another_size_is_refused(tmp_path: Path) -> None:
    small = ArraySpec("masks", "rows", "bool", (8, 8), ("mask", "y", "x"), codec="zstd", row_chunks=True)
    path = write(tmp_path / "small", small, np.ones((3, 8, 8), np.bool_))
    with pytest.raises(StoreError, match="row 0 is damaged"):
        MappedArray(path, PACKED, 3).row(0)
