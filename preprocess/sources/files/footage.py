"""What an annotation says of its video, compared with the frames that are there.

Masks find their frames by number alone. In a copy that was re-encoded at another rate or cut, and in a folder that was
numbered anew, each number is another moment, and every mask would lie beside its object without a word. So lengths,
numbering, rate and size are compared first, and a video that does not fit is refused as a whole.

- SA-V's own videos may have a frame or two more or less than their jsons say: `USUAL_DIFFERENCE`.
- A folder of frames may have holes, but has to reach the video's end: one that was numbered anew looks like the video's
  beginning, and so does every 4th frame of a copy at a lower rate. Where the annotation itself is of a beginning only,
  every 4th frame has to reach that one's end.
- A frame lost in the middle leaves a gap in the times of an mp4, also where the count still is within the usual; one
  lost at the beginning makes them begin late.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ...decode.images import Size, describe_misfit
from ...errors import DecodeError, RecordError, SegmentationError

FRAMES_PER_ANNOTATION = 4
"""Annotated at 6 frames a second, filmed at 24: annotated frame t is video frame 4 t."""

FRAMES_PER_SECOND = 24

USUAL_DIFFERENCE = 2
"""How many frames more or less than the annotation says a video may have."""

RATE_TOLERANCE = 0.02
"""How far two rates may differ and be the same: 24 and 25 are 4 % apart, and times in whole milliseconds up to 1.6 %."""

_SHIFTED = "so masks would lie on other frames than their own"
_ANEW = (
    "take the dataset's own frames, or extract all of the original mp4: "
    "ffmpeg -i VIDEO.mp4 -fps_mode passthrough -start_number 0 %05d.jpg"
)


@dataclass(frozen=True, slots=True)
class Footage:
    """What an annotation says of its video."""

    said: str
    """How reasons put its number of frames, such as "its json says 49 (video_frame_count)"."""
    at_least: int
    """How many frames the video has at least."""
    at_most: int | None
    """How many it has at most, None where the annotation does not tell."""
    size: Size | None = None
    """(height, width) in pixels, None where the annotation does not tell."""
    duration: float | None = None
    """How many seconds `at_least` frames take, None where the annotation does not tell."""
    part: int | None = None
    """How many frames it annotates, where it ends long before its video; else None."""
    masks: frozenset[int] = frozenset()
    """Numbers that files of masks have, where masks are files."""

    def excess(self, length: int) -> int:
        """Return how many frames too long a video of this length is, below 0 how many too short; 0 where it may be that one."""
        too_many = 0 if self.at_most is None else max(length - self.at_most, 0)
        return too_many or min(length - self.at_least, 0)


def check_video(footage: Footage, length: int, size: Size, times: Sequence[float] | None) -> None:
    """Raise `RecordError` if an mp4 of `length` frames is not the one that an annotation is of.

    `times`, when each frame is shown, are in seconds, ascending; None where it does not say so.
    """
    if footage.size is not None and (reason := describe_misfit(size, footage.size)):
        raise DecodeError(f"the video's frames are {reason}; take the original mp4")
    remedy = "Take the original mp4, or frames extracted from it"
    if abs(footage.excess(length)) > USUAL_DIFFERENCE:
        cause = "Was it re-encoded at another rate, or cut?"
        raise RecordError(f"the video has {length} frames, but {footage.said}, {_SHIFTED}. {cause} {remedy}")
    if times is not None and (reason := _describe_times(footage, times)):
        raise RecordError(f"{reason}, {_SHIFTED}. {remedy}")


def check_frames(footage: Footage, numbers: Set[int]) -> None:
    """Raise `RecordError` if extracted frames, at least one, are not numbered as those of the annotated video."""
    first, last = min(numbers), max(numbers)
    found = f"the folder has {len(numbers)} frames, {first:05d}.jpg to {last:05d}.jpg, but {footage.said}"
    beyond = footage.at_most is not None and last >= footage.at_most
    if first == 1 or (first == FRAMES_PER_ANNOTATION and beyond):
        cause = f"Are they numbered from {first}? The first frame is 00000.jpg: rename them"
        raise RecordError(f"{found}, and there is no 00000.jpg, {_SHIFTED}. {cause}, or {_ANEW}")
    if footage.excess(last + 1) > USUAL_DIFFERENCE:
        raise RecordError(f"{found}, {_SHIFTED}. Were they extracted at another rate? Then {_ANEW}")
    if not _reaches_end(footage, numbers):
        annotated = footage.part or num_annotated(footage.at_least)
        if _is_every_4th(numbers):
            cause = (
                f"Every 4th frame, as annotated, goes on to {FRAMES_PER_ANNOTATION * (annotated - 1):05d}.jpg: "
                "was the video re-encoded at another rate, or its extraction broken off? Then"
            )
        elif abs(len(numbers) - annotated) <= 1:
            final = FRAMES_PER_ANNOTATION * (annotated - 1)
            cause = (
                f"Annotated are {annotated}: is it every 4th frame, numbered one after the other? "
                f"Rename them to 00000.jpg, 00004.jpg, ..., {final:05d}.jpg, or"
            )
        else:
            cause = (
                "Were they extracted at another rate, or not to the end? Where they do have the video's numbers, "
                "keep only 00000.jpg, 00004.jpg, 00008.jpg and so on; else"
            )
        raise RecordError(f"{found}, {_SHIFTED}. {cause} {_ANEW}")


def check_masks(footage: Footage, length: int) -> None:
    """Raise `RecordError` if files of masks are numbered one after the other, beside `length` frames of the video."""
    others = [number for number in footage.masks if number % FRAMES_PER_ANNOTATION]
    num_fitting = sum(number > 0 for number in footage.masks) - len(others)
    # One name that is wrong is rejected by itself. Masks of every frame end where the frames do.
    if others and len(others) >= num_fitting and length > footage.at_least + USUAL_DIFFERENCE:
        raise SegmentationError(
            f"{len(footage.masks)} masks of every 4th frame are expected as 00000.png, 00004.png, ..., but "
            f"{len(others)} have other numbers, up to {max(footage.masks):05d}.png of {length} frames: numbered one after "
            "the other? Then rename each to 4 times its number; else keep only 00000.png, 00004.png, 00008.png and so on"
        )


def has_usual_difference(footage: Footage, numbers: Set[int]) -> bool:
    """Whether frames that passed `check_frames` are a few more or less than the annotation says."""
    length = max(numbers) + 1
    if _is_every_4th(numbers) and length < footage.at_least:
        # Up to three more frames may follow the last one that was extracted.
        return footage.part is None and length + FRAMES_PER_ANNOTATION - 1 < footage.at_least
    return footage.excess(length) != 0


def num_annotated(length: int) -> int:
    """Return how many of a video's frames are annotated: every 4th, from the first on."""
    return -(-length // FRAMES_PER_ANNOTATION)


def _describe_times(footage: Footage, times: Sequence[float]) -> str:
    """Return what speaks against the times at which frames are shown, "" where nothing does."""
    steps = [after - before for before, after in pairwise(times)]
    if not steps or (usual := median(steps)) <= 0:
        return ""
    length, duration = len(times), footage.duration
    if length < footage.at_least and times[0] >= usual / 2:
        return (
            f"the video has {length} frames, the first at {times[0]:.3f} s, where frames are {usual:.3f} s apart, but "
            f"{footage.said}: frames were dropped at its beginning"
        )
    is_exact = footage.at_least == footage.at_most == length
    rate = footage.at_least / duration if duration else None if is_exact else FRAMES_PER_SECOND
    gap = next((number for number, step in enumerate(steps) if not 0.5 < step / usual < 1.5), None)
    if gap is not None:
        drift = 0.0 if rate is None else (times[-1] - times[0]) * rate - (length - 1)
        if not footage.excess(length) and abs(drift) < 0.5:
            # Filmed at a varying rate, and annotated so.
            return ""
        return (
            f"the video has {length} frames, {footage.said}, and from frame {gap} to the next are {steps[gap]:.3f} s, "
            f"where others are {usual:.3f} s apart: frames were dropped or added there"
        )
    if rate is None:
        # As many frames as were annotated are those frames, however fast they are shown.
        return ""
    found = (length - 1) / (times[-1] - times[0])
    if min(abs(found / rate - 1), abs(found / FRAMES_PER_SECOND - 1)) <= RATE_TOLERANCE:
        return ""
    said = f"{footage.said} in {duration:.3f} s" if duration else f"{footage.said}, and SA-V's videos have"
    return f"the video has {length} frames, {found:.2f} a second, but {said}{',' if duration else ''} {rate:.2f} a second"


def _reaches_end(footage: Footage, numbers: Set[int]) -> bool:
    """Whether frames go on to the end of the video, up to the usual difference."""
    order = sorted(numbers)
    if _is_every_4th(numbers):
        if footage.part is not None:
            return num_annotated(order[-1] + 1) >= footage.part - USUAL_DIFFERENCE
        step = FRAMES_PER_ANNOTATION
    else:
        step = min(after - before for before, after in pairwise(order)) if len(order) > 1 else 1
    return order[-1] + step >= footage.at_least - USUAL_DIFFERENCE


def _is_every_4th(numbers: Set[int]) -> bool:
    return all(number % FRAMES_PER_ANNOTATION == 0 for number in numbers)
