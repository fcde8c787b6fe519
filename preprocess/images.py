"""Raw image files to uint8 RGB arrays: colour modes, EXIF turns, limits, and errors that say what was found.

Rules, each with its reason:

- 16-bit grey keeps its upper 8 bits. Pillow's own conversion clips at 255 and turns a photograph white
  (python-pillow/Pillow issues 2574 and 3011).
- Alpha is dropped, not blended: there is no background that would be right.
- EXIF orientation is applied only where the annotation's size says that it describes the upright picture.
- Truncated files are errors. `LOAD_TRUNCATED_IMAGES` would turn them into grey bands without a word.
- The checksums of a PNG's pixels are compared. Pillow leaves them out, and other pixels come out without a word.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from preprocess.errors import RecordError

MAX_IMAGE_PIXELS = 89_478_485
"""Largest picture that is decoded: Pillow's own default limit, here an error and not a warning."""

MAX_IMAGE_BYTES = 1 << 28
"""Largest image file that is read into memory."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
"""What is decoded, whatever the file's name says. Fewer decoders, fewer ways in."""

ASPECT_TOLERANCE = 0.01
"""How far two aspect ratios may differ and still be one picture in two sizes: rounding moves a side by a pixel."""

# What Pillow's decoders raise on damaged files, found by feeding them such files.
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, ZeroDivisionError,
    AttributeError, MemoryError, RuntimeError, struct.error, Image.DecompressionBombError, Warning,
)  # fmt: skip

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


Size = tuple[int, int]
"""(height, width) in pixels."""

JpegDecoder = Callable[[bytes], NDArray[np.uint8] | None]
"""Takes a JPEG file; returns uint8 [H, W, 3] exactly as Pillow's RGB, or None where Pillow has to do it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image file."""

    image: NDArray[np.uint8]
    """uint8 [H, W, 3], RGB."""
    unsure_turn: bool
    """Whether EXIF asks for a turn that the annotation's size can neither confirm nor refute; it was not applied."""


class ImageDecoder(Protocol):
    """What `decode_image` is; an engine may bring a faster one that gives the same."""

    def __call__(self, encoded: bytes, annotated_size: Size | None = None) -> Picture:
        """Decode an image file to RGB, as `decode_image` does."""


def decode_image(
    encoded: bytes, annotated_size: Size | None = None, decode_jpeg: JpegDecoder | None = None
) -> Picture:
    """Decode an image file to RGB.

    Args:
        encoded: the file's bytes.
        annotated_size: (height, width) of the picture that the annotation describes, if it says so. Where it is
            the stored size, or that in another scale, the pixels stay as stored. Where it is the turned size that
            EXIF asks for, they are turned. Any other size is an error: the annotation is of another picture.
        decode_jpeg: a faster decoder to try first; it gives what Pillow gives, or None.

    Raises:
        RecordError: the file is empty, damaged, too large, of another format, or does not fit `annotated_size`.
    """
    picture = open_image(encoded)
    pixels = decode_jpeg(encoded) if decode_jpeg is not None and picture.format == "JPEG" else None
    if pixels is not None and pixels.shape[:2] != (picture.height, picture.width):
        pixels = None
    try:
        if pixels is None:
            # Before the EXIF is asked for: to find it, Pillow loads a PNG by itself, and what fails there does not
            # fail again.
            picture.load()
        turn, unsure = _choose_turn(
            (picture.height, picture.width), _read_orientation(picture), annotated_size
        )
        if pixels is None:
            pixels = np.asarray(convert_to_rgb(picture if turn is None else picture.transpose(turn)))
        elif turn is not None:
            pixels = np.asarray(Image.fromarray(pixels).transpose(turn))
    except _DECODE_ERRORS as err:
        raise RecordError(f"damaged {picture.format} file: {err}", stage="decode") from err
    return Picture(pixels, unsure)


def decode_bitmap(encoded: bytes) -> NDArray[np.bool_]:
    """Decode a mask file, bool [H, W]: whatever is not zero (black, in a colour file) is covered.

    Raises:
        RecordError: as in `decode_image`.
    """
    picture = open_image(encoded)
    try:
        # Palette files hold label numbers: the number counts, not its colour.
        array: NDArray[np.generic] = np.asarray(picture)
    except _DECODE_ERRORS as err:
        raise RecordError(f"damaged {picture.format} file: {err}", stage="decode") from err
    if array.ndim == 3:
        alpha = picture.mode in ("LA", "RGBA", "PA")
        covered: NDArray[np.bool_] = np.logical_or.reduce(array[..., :-1] if alpha else array, axis=2)
        return covered
    # Not astype: Pillow's 1-bit pictures are bool arrays whose bytes are 0 and 255, and it would keep those.
    nonzero: NDArray[np.bool_] = array != 0
    return nonzero


def open_image(encoded: bytes) -> ImageFile.ImageFile:
    """Read the header of an image file and check its size; its pixels are not decoded yet.

    Raises:
        RecordError: the file is empty, too large, no image of a known format, or a PNG with a wrong checksum.
    """
    if not encoded:
        raise RecordError("the file is empty (0 bytes)", stage="decode")
    if len(encoded) > MAX_IMAGE_BYTES:
        raise RecordError(
            f"the file has {len(encoded)} bytes, over the limit of {MAX_IMAGE_BYTES}",
            stage="decode",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except UnidentifiedImageError as err:
        raise RecordError(
            f"no image of a known format ({', '.join(FORMATS)}): the file begins with {encoded[:12]!r}",
            stage="decode",
        ) from err
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as err:
        raise RecordError(
            f"the image is over the limit of {MAX_IMAGE_PIXELS} pixels: {err}", stage="decode"
        ) from err
    except _DECODE_ERRORS as err:
        raise RecordError(f"damaged image file: {err}", stage="decode") from err
    if picture.height * picture.width > MAX_IMAGE_PIXELS:
        raise RecordError(
            f"the image is {picture.height} x {picture.width}, over the limit of {MAX_IMAGE_PIXELS} pixels",
            stage="decode",
        )
    if picture.format == "PNG":
        _check_png(encoded)
    return picture


def convert_to_rgb(picture: Image.Image) -> Image.Image:
    """Return the picture in mode RGB; alpha is dropped and 16-bit grey keeps its upper 8 bits.

    Raises:
        RecordError: the mode holds something else than colours of 8 or 16 bits.
    """
    if picture.mode.startswith("I;16"):
        grey = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if picture.mode in ("I", "F"):
        raise RecordError(f"pixels of mode {picture.mode!r} (32-bit) have no agreed range", stage="decode")
    with warnings.catch_warnings():
        # Transparency in palettes is announced by a warning; that it is dropped is this function's rule.
        warnings.simplefilter("ignore")
        return picture.convert("RGB")


def _check_png(encoded: bytes) -> None:
    """Raise `RecordError` unless the checksum of every chunk of pixels is right; Pillow compares the others'."""
    at, view = 8, memoryview(encoded)
    while at + 8 <= len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, at)
        stop = at + 8 + length
        if name == b"IEND":
            return
        if name == b"IDAT" and encoded[stop : stop + 4] != struct.pack(">I", zlib.crc32(view[at + 4 : stop])):
            raise RecordError(
                f"damaged PNG file: the checksum of the pixels at byte {at} does not match them",
                stage="decode",
            )
        at = stop + 4


def _read_orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 (as stored) where there is none or it can't be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except _DECODE_ERRORS:
        # Damaged EXIF in a good picture is common; without a readable tag there is no turn to apply.
        return 1
    return orientation if isinstance(orientation, int) else 1


def _choose_turn(
    stored: Size, orientation: int, annotated: Size | None
) -> tuple[Image.Transpose | None, bool]:
    """Return the turn to apply, if any, and whether one is left out that nothing confirms or refutes.

    Raises:
        RecordError: the annotation is of another picture.
    """
    turn = _TURNS.get(orientation)
    if annotated is None:
        return None, turn is not None
    turned = stored[::-1]
    can_turn = orientation in (5, 6, 7, 8)
    # An exact match decides; only then may sizes differ by scale. A nearly square picture would pass both ways.
    if annotated == stored or (is_same_picture(stored, annotated) and not (can_turn and annotated == turned)):
        # A turn by 180 degrees looks the same from outside, and so does any turn of a picture that is square, or
        # nearly square and annotated in another scale.
        fits_both = annotated == turned or (annotated != stored and is_same_picture(turned, annotated))
        return None, turn is not None and (not can_turn or fits_both)
    if can_turn and is_same_picture(turned, annotated):
        return turn, False
    swapped = (
        ": it is the turned picture's, as if height and width were swapped" if annotated == turned else ""
    )
    raise RecordError(
        f"the image is {stored[0]} x {stored[1]} (height x width) but its annotation describes "
        f"{annotated[0]} x {annotated[1]}, which is not the same picture in another size{swapped}",
        stage="decode",
    )


def is_same_picture(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two (height, width) can be one picture in two sizes: aspect ratios agree, up to a pixel of rounding."""
    (height, width), (other_height, other_width) = size, other
    if min(other) < 1 or max(other) > 2**31:
        return False
    scaled = other_height * width / other_width
    return abs(scaled - height) <= max(ASPECT_TOLERANCE * height, width / other_width, 1.0)
