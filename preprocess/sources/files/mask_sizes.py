"""Masks in files of their own beside their picture: nothing but their sizes says that they are of one picture."""

from collections.abc import Iterable
from contextlib import suppress

from ...decode.images import ImageDecoder, Picture, Size, is_same_picture
from ...errors import RecordError, SegmentationError


def decode_to_fit(decode: ImageDecoder, encoded: bytes, sizes: Iterable[Size]) -> Picture:
    """Decode an image the way round that the first mask has it which fits at all.

    Raises:
        RecordError: the file is damaged.
    """
    for size in dict.fromkeys(sizes):
        with suppress(RecordError):
            return decode(encoded, size)
    # It is damaged, which the next line says, or no mask fits, which is then said of each mask.
    return decode(encoded)


def misfit(image: Size, mask: Size) -> RecordError:
    """Return the error of a mask that can't be of an image."""
    turned = "; it fits the turned picture" if is_same_picture(image[::-1], mask) else ""
    return SegmentationError(
        f"the mask is {mask[0]} x {mask[1]} (height x width), the image {image[0]} x {image[1]}: "
        f"that can't be one picture in two sizes{turned}"
    )
