"""Raw image files to uint8 RGB arrays: colour modes, EXIF turns, limits, and errors that say what was found.

Rules, each with its reason:

- 16-bit grey keeps its upper 8 bits. Pillow's own conversion clips at 255 and turns a photograph white
  (python-pillow/Pillow issues 2574 and 3011).
- Alpha is dropped, not blended: there is no background that would be right.
- EXIF orientation is applied only where the annotation's size says that it describes the upright picture.
- A picture that its decoder warns about is no picture, since what is missing is filled with grey. Pillow passes
  libjpeg's warnings over, so every JPEG file goes through `preprocess.decode.jpeg`, and every PNG through `preprocess.decode.png`,
  which compares its checksums and counts its rows. Cut WebP and BMP files are errors of Pillow's own.
- A mask is exact or none. JPEG and lossy WebP leave noise beside an object's edge, anti-aliasing a fringe, a label map
  other objects: none of that is "not zero, so covered". Of 16 bits in colour Pillow keeps the upper 8, and small values are gone.
"""

import hashlib
import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from ..errors import DecodeError, MisfitError, RecordError, SegmentationError
from .jpeg import decode_jpeg
from .png import PNG_SIGNATURE, check_png

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

OnDamage = Literal["reject", "accept"]
"""What becomes of a picture that its decoder warns about."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image file."""

    image: NDArray[np.uint8]
    """uint8 [H, W, 3], RGB."""
    unsure_turn: bool
    """Whether EXIF asks for a turn that the annotation's size can neither confirm nor refute; it was not applied."""
    is_damaged: bool = False
    """Whether its decoder warns about it, and it was accepted all the same."""
    source: bytes | None = None
    """The file, where whoever opens it with Pillow and converts it to RGB has `image`, whether they apply EXIF's turn or not."""


class ImageDecoder(Protocol):
    """What `decode_image` is; an engine may bring a faster one that gives the same."""

    def __call__(self, encoded: bytes, annotated_size: Size | None = None) -> Picture:
        """Decode an image file to RGB, as `decode_image` does."""


class CountingDecoder:
    """Decodes image files by another decoder, and counts those that were accepted though damaged."""

    def __init__(self, decode: ImageDecoder) -> None:
        self._decode = decode
        self.num_damaged = 0

    def __call__(self, encoded: bytes, annotated_size: Size | None = None) -> Picture:
        """Decode an image file to RGB, as `decode_image` does."""
        picture = self._decode(encoded, annotated_size)
        self.num_damaged += picture.is_damaged
        return picture


def decode_image(
    encoded: bytes,
    annotated_size: Size | None = None,
    *,
    accept_damage: bool = False,
    fast_jpeg: bool = False,
) -> Picture:
    """Decode an image file to RGB.

    Args:
        encoded: the file's bytes.
        annotated_size: (height, width) of the picture that the annotation describes, if it says so. Where it is
            the stored size, or that in another scale, the pixels stay as stored. Where it is the turned size that
            EXIF asks for, they are turned. Any other size is an error: the annotation is of another picture.
        accept_damage: whether a damaged picture is taken as far as Pillow decodes it.
        fast_jpeg: whether simplejpeg's pixels are used where they are Pillow's, too.

    Raises:
        RecordError: the file is empty, damaged, too large, of another format, or does not fit `annotated_size`.
    """
    picture = open_image(encoded)
    pixels: NDArray[np.uint8] | None = None
    is_damaged = False
    try:
        pixels = _look_for_damage(picture, encoded, fast_jpeg)
    except RecordError as err:
        if not accept_damage:
            other = ', or give source.damaged="accept" to take what Pillow makes of it'
            raise RecordError(
                f"{err.reason}; get it anew{other if _is_loadable(picture) else ''}", err.stage
            ) from err
        is_damaged = True
    except MemoryError as err:
        raise _as_record_error("", err) from err
    try:
        if pixels is None:
            # Before the EXIF is asked for: to find it, Pillow loads a PNG by itself, and what fails there does not
            # fail again.
            picture.load()
        orientation = _read_orientation(picture)
        turn, unsure = _choose_turn((picture.height, picture.width), orientation, annotated_size)
        if pixels is None:
            pixels = np.asarray(convert_to_rgb(picture if turn is None else picture.transpose(turn)))
        elif turn is not None:
            pixels = np.asarray(Image.fromarray(pixels).transpose(turn))
    except _DECODE_ERRORS as err:
        raise _as_record_error(f"{picture.format} file: {err}", err) from err
    # Pillow turns 16-bit grey to other values than here, and refuses what is damaged.
    is_plain = not is_damaged and orientation not in _TURNS and not picture.mode.startswith("I;16")
    return Picture(pixels, unsure, is_damaged, encoded if is_plain else None)


def decode_bitmap(encoded: bytes) -> NDArray[np.bool_]:
    """Decode a mask file, bool [H, W]: whatever is not zero (black, in a colour file) is covered.

    Raises:
        RecordError: as in `decode_image`, damage is never accepted; or the file is lossy, or holds more than
            background and one object.
    """
    return covered_by(*decode_exact(encoded))


def covered_by(picture: Image.Image, array: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return what a decoded mask file covers, bool [H, W], as `decode_bitmap` does.

    Raises:
        RecordError: it holds more than background and one object.
    """
    alpha = None
    if picture.mode in ("LA", "RGBA", "PA"):
        array, alpha = array[..., 0] if array.shape[2] == 2 else array[..., :-1], array[..., -1]
    covered = _check_two_values(array)
    if picture.mode in ("P", "PA"):
        check_palette(picture, np.unique(array).tolist())
    if alpha is not None:
        _check_alpha(alpha, covered)
    return covered


def decode_exact(encoded: bytes) -> tuple[ImageFile.ImageFile, NDArray[np.generic]]:
    """Decode a file whose values mean something each, in its own mode: numbers of a palette are not made colours.

    Returns:
        The picture, and its values [H, W] or [H, W, C].

    Raises:
        RecordError: as in `decode_image`, damage is never accepted; or the file is lossy.
    """
    picture = open_image(encoded)
    if lossy := _lossy_format(picture, encoded):
        raise SegmentationError(
            f"the mask is a {lossy}: beside the object's edge it holds noise, not zeros; "
            "save the mask anew from its source, as PNG"
        )
    # The 25th byte of a PNG file is its depth in bits.
    if picture.format == "PNG" and encoded[24] == 16 and not picture.mode.startswith("I"):
        raise SegmentationError(
            "the mask has 16 bits in colours or beside an alpha channel, of which the decoder keeps 8: save it as grey, or with "
            "8 bits"
        )
    try:
        _look_for_damage(picture, encoded)
        return picture, np.asarray(picture)
    except _DECODE_ERRORS as err:
        raise _as_record_error(f"{picture.format} file: {err}", err) from err


def open_image(encoded: bytes) -> ImageFile.ImageFile:
    """Read the header of an image file and check its size; its pixels are not decoded yet.

    Raises:
        RecordError: the file is empty, too large, or no image of a known format.
    """
    if not encoded:
        raise DecodeError("the file is empty (0 bytes)")
    if len(encoded) > MAX_IMAGE_BYTES:
        raise DecodeError(f"the file has {len(encoded)} bytes, over the limit of {MAX_IMAGE_BYTES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except UnidentifiedImageError as err:
        if encoded.startswith(PNG_SIGNATURE):
            check_png(encoded)
        text_mode = ", a PNG file that went through a transfer as text: get it anew, as binary"
        raise DecodeError(
            f"no image of a known format ({', '.join(FORMATS)}): the file begins with {encoded[:12]!r}"
            f"{text_mode if encoded[1:4] == PNG_SIGNATURE[1:4] else ''}"
        ) from err
    except Image.DecompressionBombError as err:
        raise DecodeError(f"the image is over the limit of {MAX_IMAGE_PIXELS} pixels: {err}") from err
    except _DECODE_ERRORS as err:
        raise _as_record_error(_describe_failure(encoded, err), err) from err
    if picture.height * picture.width > MAX_IMAGE_PIXELS:
        raise DecodeError(
            f"the image is {picture.height} x {picture.width}, over the limit of {MAX_IMAGE_PIXELS} pixels"
        )
    return picture


def pixel_hash(image: NDArray[np.uint8]) -> bytes:
    """Return the SHA-256 of a picture's height and width, as two little-endian uint32, and of its pixels.

    They are uint8 [H, W, 3], RGB, upright: the original, as a source gives it, whatever file it was decoded from. By the
    hash one picture is known again in several stores.
    """
    digest = hashlib.sha256(np.array(image.shape[:2], "<u4").tobytes())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def _as_record_error(failure: str, err: BaseException) -> RecordError:
    """Return the error of a picture that its decoder gives up; for lack of memory the picture may not be at fault."""
    if isinstance(err, MemoryError):
        return DecodeError(
            "memory ran out while the picture was decoded: it is damaged and claims more than it holds, or the limit is too "
            "low for it (ulimit -v, or the container's)"
        )
    return DecodeError(f"damaged {failure}")


def _is_loadable(picture: ImageFile.ImageFile) -> bool:
    """Whether Pillow decodes a picture, damaged as it is."""
    try:
        picture.load()
    except _DECODE_ERRORS:
        return False
    return True


def _describe_failure(encoded: bytes, err: BaseException) -> str:
    """Return which file Pillow could not open, and why; of a WebP file it does not say much."""
    if encoded[:4] != b"RIFF" or encoded[8:12] != b"WEBP":
        return f"image file: {err}"
    size = 8 + int.from_bytes(encoded[4:8], "little")
    cut = f"it has {len(encoded)} bytes where its header says {size}: " if len(encoded) < size else ""
    return f"WEBP file: {cut}{err}"


def convert_to_rgb(picture: Image.Image) -> Image.Image:
    """Return the picture in mode RGB; alpha is dropped and 16-bit grey keeps its upper 8 bits.

    Raises:
        RecordError: the mode holds something else than colours of 8 or 16 bits.
    """
    if picture.mode.startswith("I;16"):
        grey = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if picture.mode in ("I", "F"):
        raise DecodeError(f"pixels of mode {picture.mode!r} (32-bit) have no agreed range")
    with warnings.catch_warnings():
        # Transparency in palettes is announced by a warning; that it is dropped is this function's rule.
        warnings.simplefilter("ignore")
        return picture.convert("RGB")


def _look_for_damage(
    picture: ImageFile.ImageFile, encoded: bytes, fast_jpeg: bool = False
) -> NDArray[np.uint8] | None:
    """Look for the damage that Pillow passes over; return the pixels where that gave them already."""
    if picture.format == "PNG":
        check_png(encoded)
    if picture.format == "WEBP":
        _check_webp(encoded, picture.height * picture.width)
    if not isinstance(picture, JpegImageFile):
        return None
    if any(0 in picture.quantization.get(table, ()) for *_, table in picture.layer):
        # libjpeg does not look, and what is multiplied by 0 comes out grey.
        raise DecodeError("damaged JPEG file: a quantisation table holds 0")
    pixels, is_plain = decode_jpeg(encoded)
    if pixels.shape[:2] != (picture.height, picture.width):
        raise DecodeError(
            f"damaged JPEG file: its header says {picture.height} x {picture.width} (height x width), "
            f"its pixels are {pixels.shape[0]} x {pixels.shape[1]}"
        )
    return pixels if fast_jpeg and is_plain else None


def _lossy_format(picture: ImageFile.ImageFile, encoded: bytes) -> str:
    """Return what a file is called whose format keeps pixels nearly only, "" for any other."""
    if isinstance(picture, JpegImageFile):
        return "JPEG, a lossy format"
    # A frame in the lossy form is "VP8 ", one in the lossless form "VP8L".
    first, _ = next(_webp_frames(encoded), (b"", b"")) if picture.format == "WEBP" else (b"", b"")
    return "WebP of the lossy kind" if first == b"VP8 " else ""


def _webp_frames(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of each chunk of a WebP file that holds pixels."""
    at = 12
    while at + 8 <= len(encoded):
        name, length = struct.unpack_from("<4sI", encoded, at)
        if name in (b"VP8 ", b"VP8L"):
            yield name, encoded[at + 8 : at + 8 + length]
        # A frame of an animation: 16 bytes, then chunks of its own.
        at += 8 + (16 if name == b"ANMF" else length + length % 2)


def _check_webp(encoded: bytes, num_pixels: int) -> None:
    """Raise `RecordError` where coded pixels are zeros, as of a download that was broken off in a file made to size.

    libwebp decodes them without a word. Of a flat picture some are real: up to one in 10,000 pixels in all that were
    tried. In the lossless form they may be so anywhere but at the end.
    """
    most = 32 + num_pixels // 5000
    for name, content in _webp_frames(encoded):
        has_hole = content.find(bytes(most)) >= 0 if name == b"VP8 " else content.endswith(bytes(most))
        if has_hole:
            raise DecodeError(
                f"damaged WEBP file: it holds {most} zeros and more in a row where pixels are expected"
            )


def _check_two_values(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a mask of [H, W] or colours [H, W, C] is not zero, bool [H, W]; it must have two values at most."""
    # Not astype: Pillow's 1-bit pictures are bool arrays whose bytes are 0 and 255, and it would keep those.
    nonzero: NDArray[np.bool_] = array != 0
    covered: NDArray[np.bool_] = np.logical_or.reduce(nonzero, axis=2) if array.ndim == 3 else nonzero
    if array.dtype == np.bool_:
        return covered
    for channel in array.transpose(2, 0, 1) if array.ndim == 3 else array[None]:
        value = channel.max()
        if value and not np.array_equal(channel == value, covered):
            raise SegmentationError(
                f"the mask has {_describe_values(array)}; expected 0 and one other value: threshold an anti-aliased "
                "mask at half, split a label map into one mask for each object"
            )
    return covered


def check_palette(picture: Image.Image, used: Sequence[int]) -> None:
    """Raise `RecordError` where 0 is coloured and another of the numbers `used` is black: which is background is not known."""
    palette = picture.getpalette("RGB") or []
    black = [value for value in used if not any(palette[3 * value : 3 * value + 3] or [1])]
    if any(palette[:3]) and black:
        raise SegmentationError(
            f"the mask's palette has black for {black[0]} and another colour for 0: which of them is background is not "
            "known; save it with 0 for the background, or as grey"
        )


def _describe_values(array: NDArray[Any]) -> str:
    """Return how many values or colours a mask has, and the first of them."""
    values = np.unique(array) if array.ndim == 2 else np.unique(array.reshape(-1, array.shape[2]), axis=0)
    shown = ", ".join(str(value) for value in values[:5].tolist())
    kind = "values" if array.ndim == 2 else "colours"
    return f"{len(values)} {kind}: {shown}{', ...' if len(values) > 5 else ''}"


def _check_alpha(alpha: NDArray[Any], covered: NDArray[np.bool_]) -> None:
    """Raise `RecordError` where the alpha channel, which is dropped, is what shows the object."""
    is_shape = not alpha.all() and (covered.all() or (alpha.any() and not covered.any()))
    if is_shape or ((alpha != alpha.min()) & (alpha != alpha.max())).any():
        raise SegmentationError(
            f"the mask's alpha channel has values {alpha.min()}..{alpha.max()} and may be what is meant; "
            "expected an object in colour or grey alone: save the mask as PNG without alpha"
        )


def _read_orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 (as stored) where there is none or it can't be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except MemoryError as err:
        # Not to know is to turn a picture that may need it, or not to.
        raise _as_record_error("EXIF", err) from err
    except _DECODE_ERRORS:
        # Damaged EXIF in a good picture is common; without a readable tag there is no turn to apply.
        return 1
    return orientation if isinstance(orientation, int) else 1


def _choose_turn(
    stored: Size, orientation: int, annotated: Size | None
) -> tuple[Image.Transpose | None, bool]:
    """Return the turn to apply, if any, and whether one is left out that nothing confirms or refutes."""
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
    raise MisfitError(f"the image is {describe_misfit(stored, annotated)}")


def describe_misfit(found: Size, annotated: Size) -> str:
    """Return how a picture differs from the one that an annotation describes, "" where it may only be scaled."""
    sizes = f"{found[0]} x {found[1]} (height x width) but its annotation describes {annotated[0]} x {annotated[1]}"
    if is_same_picture(found, annotated) and not is_turned(found, annotated):
        return ""
    if is_same_picture(found[::-1], annotated):
        return f"{sizes}, the sides exchanged: turned by a quarter, or transposed"
    return f"{sizes}, which is not the same picture in another size"


def is_turned(size: Size, other: Size) -> bool:
    """Whether one is upright and the other lies; rounding does not do that, however near they are to a square."""
    return (size[0] - size[1]) * (other[0] - other[1]) < 0


def is_same_picture(size: Size, other: Size) -> bool:
    """Whether two (height, width) can be one picture in two sizes: aspect ratios agree, up to a pixel of rounding."""
    (height, width), (other_height, other_width) = size, other
    if min(other) < 1 or max(other) > 2**31:
        return False
    scaled = other_height * width / other_width
    return abs(scaled - height) <= max(ASPECT_TOLERANCE * height, width / other_width, 1.0)
