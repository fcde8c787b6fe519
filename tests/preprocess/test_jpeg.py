"""The fast JPEG decoder against Pillow: the same pixels, or left to Pillow."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preprocess import jpeg
from preprocess.errors import RecordError
from preprocess.images import decode_image
from preprocess.jpeg import decode_jpeg, matches_pillow

pytest.importorskip("simplejpeg")

SELFCHECK = sorted((Path(jpeg.__file__).parent / "selfcheck").glob("*.jpg"))
MUTATIONS_PER_FILE = 50


def encode(mode: str = "RGB", height: int = 45, width: int = 67, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def check_outcome(encoded: bytes) -> bool:
    """Require Pillow's pixels of what is decoded, for a file whose header Pillow takes; return whether it was."""
    try:
        expected = decode_image(encoded).image
    except RecordError as err:
        # The header is Pillow's to judge before: only what it would decode may not be decoded differently.
        if "damaged" in err.reason:
            assert decode_jpeg(encoded) is None
        return False
    decoded = decode_jpeg(encoded)
    if decoded is not None:
        assert decoded.dtype == np.uint8
        assert np.array_equal(decoded, expected)
    return decoded is not None


@pytest.mark.parametrize("path", SELFCHECK, ids=lambda path: path.stem)
def test_selfcheck_files_are_decoded_as_pillow_does(path: Path) -> None:
    assert check_outcome(path.read_bytes())


def test_selfcheck_passes_here_and_is_a_few_kilobytes() -> None:
    assert matches_pillow()
    assert len(SELFCHECK) == 11
    assert sum(path.stat().st_size for path in SELFCHECK) < 32_000


@pytest.mark.parametrize("path", SELFCHECK, ids=lambda path: path.stem)
def test_damaged_files_come_out_as_from_pillow(path: Path) -> None:
    rng = np.random.default_rng(len(path.stem))
    whole = path.read_bytes()
    for _ in range(MUTATIONS_PER_FILE):
        at, other = (int(place) for place in rng.integers(2, len(whole), 2))
        flipped = bytes((whole[at] ^ (1 << int(rng.integers(8))),))
        for damaged in (
            whole[:at],
            whole[:at] + b"\xff\xd9",
            whole[:at] + flipped + whole[at + 1 :],
            whole[:at] + whole[at + 3 :],
            whole[:at] + whole[other : other + 20] + whole[at:],
            whole[:at] + bytes(len(whole) - at),
        ):
            check_outcome(damaged)


@pytest.mark.parametrize("missing", [1, 2, 3, 10])
def test_truncated_files_are_left_to_pillow(missing: int) -> None:
    assert decode_jpeg(encode()[:-missing]) is None


def test_bytes_after_the_end_do_not_matter() -> None:
    assert check_outcome(encode() + b"appended")


def test_other_colours_are_left_to_pillow() -> None:
    assert decode_jpeg(encode("CMYK")) is None
    assert decode_jpeg(encode(keep_rgb=True)) is None


@pytest.mark.parametrize("encoded", [b"", b"\xff\xd8", b"\x89PNG\r\n", b"\xff\xd8\xff\xd9", bytes(100)])
def test_what_is_no_jpeg_is_left_to_pillow(encoded: bytes) -> None:
    assert decode_jpeg(encoded) is None


def test_without_simplejpeg_everything_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    assert decode_jpeg(encode()) is None
    assert not matches_pillow.__wrapped__()


def test_real_odd_files(shared_data: Path) -> None:
    paths = sorted((shared_data / "odd").rglob("*.jpg"))
    assert sum(check_outcome(path.read_bytes()) for path in paths) > len(paths) // 2
