"""Masks in files of their own beside their picture: nothing but their sizes says that they are of one picture."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from ...decode.images import ImageDecoder, Picture, Size, describe_misfit, is_same_picture
from ...errors import RecordError, SegmentationError
from ..records import Frame, Mask, Record, Reject, Skip
from .leftovers import SCALED_MASK


def read_picture(
    key: str, path: str, encoded: bytes, masks: Sequence[Mask], decode: ImageDecoder
) -> Iterator[Frame | Reject]:
    """Yield a picture file, the way round that the first mask has it which fits at all, with the masks that fit.

    Every other mask is a reject, and so is a damaged picture.
    """
    try:
        picture = _decode_to_fit(decode, encoded, [mask.segmentation.size for mask in masks])
    except RecordError as err:
        yield Reject.from_error(err, key, path)
        return
    height, width = picture.image.shape[:2]
    fitting = []
    for mask in masks:
        if is_same_picture((height, width), mask.segmentation.size):
            fitting.append(mask)
        else:
            misfit = describe_misfit((height, width), mask.segmentation.size)
            error = SegmentationError(f"the image is {misfit}")
            yield Reject.from_error(error, f"{key}/{mask.object_id}", mask.path)
    if fitting:
        yield Frame(key, path, picture.image, tuple(fitting), 0, picture.unsure_turn, picture.source)


def count_scaled(records: Iterable[Record]) -> Iterator[Record]:
    """Yield records, and behind them how many masks have another size than their frame."""
    scaled = 0
    for record in records:
        if isinstance(record, Frame):
            scaled += sum(mask.size != record.image.shape[:2] for mask in record.segmentations)
        yield record
    if scaled:
        yield Skip(SCALED_MASK, scaled)


def _decode_to_fit(decode: ImageDecoder, encoded: bytes, sizes: Iterable[Size]) -> Picture:
    for size in dict.fromkeys(sizes):
        with suppress(RecordError):
            return decode(encoded, size)
    # It is damaged, which the next line says, or no mask fits, which is then said of each mask.
    return decode(encoded)
