"""JPEG files: the same pixels as Pillow's from whichever decoder, and none where libjpeg warns."""

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from miniature.shapes import picture_of
from PIL import Image

from resizeonce.preprocess.decode import jpeg
from resizeonce.preprocess.decode.images import decode_image
from resizeonce.preprocess.decode.jpeg import decode_jpeg, matches_pillow
from resizeonce.preprocess.errors import RecordError

SELFCHECK = sorted((Path(jpeg.__file__).parent / "selfcheck").glob("*.jpg"))
MUTATIONS_PER_FILE = 50


def encode(mode: str = "RGB", height: int = 45, width: int = 67, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def write_flat(
    factors: Sequence[tuple[int, int]],
    names: bytes = b"\1\2\3\4",
    transform: int | None = None,
    *,
    frame: int = 0xC0,
    bits: int = 8,
) -> bytes:
    """Write a grey picture of 20 x 30 by hand, of components with any sampling factors.

    Each block is two codes of one bit, both 0: no difference to the block before, and no detail.
    """
    components = list(zip(names, factors, strict=False))
    described = b"".join(
        struct.pack(">BBB", name, across << 4 | down, 0) for name, (across, down) in components
    )
    across, down = (max(factor[side] for factor in factors) for side in (0, 1))
    blocks = -(-20 // (8 * down)) * -(-30 // (8 * across)) * sum(h * v for h, v in factors)
    coded = bytearray(-(-2 * blocks // 8))
    coded[-1] |= (1 << (8 * len(coded) - 2 * blocks)) - 1
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform])) if transform is not None else b"",
            segment(0xDB, b"\0" + b"\x08" * 64),
            segment(frame, struct.pack(">BHHB", bits, 20, 30, len(factors)) + described),
            *(segment(0xC4, bytes([kind, 1, *[0] * 15, 0])) for kind in (0x00, 0x10)),
            segment(
                0xDA, bytes([len(factors), *(byte for name, _ in components for byte in (name, 0)), 0, 63, 0])
            ),
            bytes(coded),
            b"\xff\xd9",
        )
    )


def outcome_of(encoded: bytes, fast_jpeg: bool) -> np.ndarray | str:
    """Return the pixels, or why there are none."""
    try:
        return decode_image(encoded, fast_jpeg=fast_jpeg).image
    except RecordError as err:
        return err.reason


def check_outcome(encoded: bytes) -> bool:
    """Require Pillow's pixels of what is decoded, from both engines, or the same error; return whether it was."""
    found, slow = (outcome_of(encoded, fast_jpeg) for fast_jpeg in (True, False))
    if isinstance(found, str):
        assert found == slow
        return False
    with Image.open(io.BytesIO(encoded)) as picture:
        expected = np.asarray(picture.convert("RGB"))
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    assert np.array_equal(slow, expected)
    return True


@pytest.mark.parametrize("path", SELFCHECK, ids=lambda path: path.stem)
def test_selfcheck_files_are_decoded_as_pillow_does(path: Path) -> None:
    assert check_outcome(path.read_bytes())


def test_selfcheck_passes_here_and_is_a_few_kilobytes() -> None:
    assert matches_pillow()
    assert len(SELFCHECK) == 11
    assert sum(path.stat().st_size for path in SELFCHECK) < 32_000


@pytest.mark.parametrize("path", SELFCHECK, ids=lambda path: path.stem)
def test_damaged_files_come_out_as_from_pillow_or_not_at_all(path: Path) -> None:
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


KINDS: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: photo(),
    "4:4:4, own tables": lambda: photo(subsampling=0, optimize=True),
    "progressive": lambda: photo(progressive=True),
    "grey": lambda: photo("L"),
    "grey progressive": lambda: photo("L", progressive=True),
    "restarts": lambda: photo(restart_marker_rows=1),
    "CMYK": lambda: photo("CMYK"),
    "CMYK progressive": lambda: photo("CMYK", progressive=True),
    "RGB": lambda: photo(keep_rgb=True),
    "two pictures": lambda: photo(kind="MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
}


def photo(mode: str = "RGB", kind: str = "JPEG", **options: object) -> bytes:
    """Return a picture with detail everywhere, so that damage anywhere shows."""
    noise = np.random.default_rng(3).integers(0, 40, (120, 150, 3))
    picture = Image.fromarray((picture_of(120, 150, 3) // 2 + noise).astype(np.uint8)).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, kind, quality=85, **options)
    return stream.getvalue()


def reason_of(encoded: bytes) -> str:
    """Return why a file is rejected, which both engines say in the same words."""
    reason = outcome_of(encoded, fast_jpeg=False)
    assert isinstance(reason, str)
    assert outcome_of(encoded, fast_jpeg=True) == reason
    return reason


def first_end(encoded: bytes) -> int:
    """Return where the (first) picture's end marker is."""
    return encoded.index(b"\xff\xd9")


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_picture_of_any_kind_is_pillows_and_what_follows_its_end_does_not_matter(kind: str) -> None:
    encoded = KINDS[kind]()
    assert check_outcome(encoded)
    assert check_outcome(encoded + b"junk \xff\xd8\xff\n" + bytes(600))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9", bytes(500), bytes(500) + b"\xff\xd9"])
def test_cut_picture_is_rejected_in_libjpegs_words_also_with_an_end_mark(
    kind: str, share: float, ending: bytes
) -> None:
    encoded = KINDS[kind]()
    cut = encoded[: int(first_end(encoded) * share)] + ending
    # What Pillow makes of it has grey rows, or is an error.
    assert "damaged JPEG file: " in reason_of(cut)


@pytest.mark.parametrize("kind", KINDS)
def test_picture_without_its_end_mark_is_rejected(kind: str) -> None:
    encoded = KINDS[kind]()
    assert "damaged JPEG file: Premature end of JPEG file" in reason_of(encoded[: first_end(encoded)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [64, 512])
def test_hole_of_zeros_in_the_coded_pixels_is_rejected_wherever_it_is(kind: str, size: int) -> None:
    """libjpeg alone passes over many of them: it reads zeros as codes, and finds its way back."""
    encoded = KINDS[kind]()
    end = first_end(encoded)
    # Of a progressive file the last scan, which is the longest.
    start = encoded[:end].rindex(b"\xff\xda") + 14
    for at in range(start, end - size, (end - size - start) // 12):
        assert "damaged JPEG file: " in reason_of(encoded[:at] + bytes(size) + encoded[at + size :])


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_flat_picture_may_be_zeros(mode: str, options: dict[str, bool]) -> None:
    """Where the code of zeros means a block without detail, a long run of them is a flat area."""
    flat = Image.new("RGB", (600, 500)).convert(mode)
    stream = io.BytesIO()
    flat.save(stream, "JPEG", **options)
    assert check_outcome(stream.getvalue())
    assert check_outcome(write_flat([(1, 1)] * 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "transfer",
    [
        lambda file: file.replace(b"\n", b"\r\n"),
        lambda file: file.replace(b"\r", b"\n"),
        lambda file: file.decode("latin-1").encode("utf-8"),
        lambda file: file.decode("utf-8", "replace").encode("utf-8"),
        lambda file: bytes(byte & 127 for byte in file),
    ],
    ids=["LF to CR LF", "CR to LF", "as UTF-8", "through UTF-8", "7 bits"],
)
def test_picture_that_was_transferred_as_text_is_rejected(
    kind: str, transfer: Callable[[bytes], bytes]
) -> None:
    encoded = KINDS[kind]()
    assert transfer(encoded) != encoded
    reason_of(transfer(encoded))


def test_lost_and_surplus_coded_bytes_are_rejected() -> None:
    encoded = photo()
    end = first_end(encoded)
    assert "premature end of data segment" in reason_of(encoded[: end - 300] + encoded[end:])
    assert "extraneous bytes before marker 0xd9" in reason_of(encoded[:end] + b"\x12" * 300 + encoded[end:])


@pytest.mark.parametrize("number", [0, 1])
def test_zero_in_a_quantisation_table_is_rejected(number: int) -> None:
    """libjpeg multiplies by it without a word, and the frequency is gone from every block."""
    encoded = bytearray(photo())
    places = [at for at in range(len(encoded)) if encoded[at : at + 2] == b"\xff\xdb"]
    encoded[places[number] + 5 + 3] = 0
    assert "a quantisation table holds 0" in reason_of(bytes(encoded))


def test_junk_before_the_tables_does_no_harm_but_hides_nothing() -> None:
    encoded = photo()
    at = encoded.index(b"\xff\xdb")
    with_junk = encoded[:at] + b"five!" + encoded[at:]
    assert check_outcome(with_junk)
    end = first_end(with_junk)
    assert "premature end of data segment" in reason_of(with_junk[: end - 300] + with_junk[end:])
    for hole in range(at + 1200, end - 512, 400):
        reason_of(with_junk[:hole] + bytes(512) + with_junk[hole + 512 :])


def test_byte_too_many_in_a_table_is_rejected() -> None:
    """All entries behind it are displaced, and the last of them lies behind the table as junk."""
    encoded = photo()
    at = encoded.index(b"\xff\xdb") + 20
    assert "1 extraneous bytes before marker 0xdb" in reason_of(encoded[:at] + b"\r" + encoded[at:])


@pytest.mark.parametrize(
    ("factors", "options"),
    [
        ([(1, 1)] * 3, {"transform": 0}),
        ([(1, 1)] * 3, {"names": b"RGB"}),
        ([(1, 1)] * 3, {"frame": 0xC9}),
        ([(1, 1)] * 4, {"transform": 0}),
        ([(1, 1)] * 4, {"transform": 2}),
        ([(2, 2), (1, 1), (1, 1), (2, 2)], {"transform": 2}),
        ([(4, 1), (1, 1), (1, 1)], {}),
        ([(1, 2), (1, 1), (1, 1)], {}),
    ],
    ids=["Adobe RGB", "components R G B", "arithmetic", "CMYK", "YCCK", "YCCK 4:2:0", "4:1:1", "4:4:0"],
)
def test_kinds_that_pillow_decodes_are_asked_for_warnings_too(
    factors: list[tuple[int, int]], options: dict[str, object]
) -> None:
    encoded = write_flat(factors, **options)
    assert check_outcome(encoded)
    assert "damaged JPEG file: Premature end of JPEG file" in reason_of(encoded[:-2])


@pytest.mark.parametrize("factors", [[(3, 1), (1, 1), (1, 1)], [(2, 2), (2, 1), (1, 2)]])
def test_kind_that_can_not_be_asked_for_warnings_is_rejected_and_says_so(
    factors: list[tuple[int, int]],
) -> None:
    encoded = write_flat(factors)
    reason = reason_of(encoded)
    assert (
        "a kind whose damage can't be seen (tjDecompressHeader3(): Could not determine subsampling" in reason
    )
    # The message names the way out, and it is one.
    assert 'source.damaged="accept"' in reason
    assert decode_image(encoded, accept_damage=True).image.shape == (20, 30, 3)


@pytest.mark.parametrize("fast", [False, True])
def test_damage_that_is_accepted_gives_what_pillow_makes_of_it(fast: bool) -> None:
    encoded = photo()
    cut = encoded[: len(encoded) // 2] + b"\xff\xd9"
    picture = decode_image(cut, accept_damage=True, fast_jpeg=fast)
    assert picture.is_damaged
    assert np.array_equal(picture.image, np.asarray(Image.open(io.BytesIO(cut)).convert("RGB")))
    whole = decode_image(encoded, accept_damage=True, fast_jpeg=fast)
    assert not whole.is_damaged
    assert np.array_equal(whole.image, decode_image(encoded).image)
    # Here Pillow has nothing to give either.
    with pytest.raises(RecordError, match="truncated"):
        decode_image(encoded[: len(encoded) // 2], accept_damage=True, fast_jpeg=fast)


def test_plain_pictures_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Image.Image) -> None:
        raise OSError("Pillow was asked")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    assert decode_image(photo(), fast_jpeg=True).image.shape == (120, 150, 3)
    with pytest.raises(RecordError, match="Pillow was asked"):
        decode_image(photo("CMYK"), fast_jpeg=True)


@pytest.mark.parametrize(
    "kind", [{"bits": 12}, {"frame": 0xC3}, {"frame": 0xC5}], ids=["12 bits", "lossless", "hierarchical"]
)
def test_kinds_that_nothing_decodes_are_rejected(kind: dict[str, int]) -> None:
    reason_of(write_flat([(1, 1)] * 3, **kind))


@pytest.mark.parametrize("encoded", [b"", b"\xff\xd8", b"\x89PNG\r\n", b"\xff\xd8\xff\xd9", bytes(100)])
def test_what_is_no_jpeg_is_an_error(encoded: bytes) -> None:
    with pytest.raises(RecordError):
        decode_jpeg(encoded)


def test_real_odd_files(shared_data: Path) -> None:
    paths = sorted((shared_data / "odd").rglob("*.jpg"))
    assert sum(check_outcome(path.read_bytes()) for path in paths) > len(paths) // 2
