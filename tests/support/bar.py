"""A white bar that moves 2 pixels to the right in each video frame: whether a mask lies on it can be seen."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from miniature.sav import rle_of
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH, STEP = 48, 144, 2
COUNT = 49
"""Frames of the video: 13 are annotated, 00000 to 00048."""
VIDEO_ID = "sav_000001"


def bar_of(number: int) -> NDArray[np.bool_]:
    """Return where the bar is in a video frame, bool [HEIGHT, WIDTH]."""
    covered = np.zeros((HEIGHT, WIDTH), np.bool_)
    covered[16:32, STEP * number : STEP * number + 8] = True
    return covered


def picture_with_bar(number: int) -> NDArray[np.uint8]:
    """Return a video frame, uint8 [HEIGHT, WIDTH, 3]."""
    grey = np.where(bar_of(number), 235, 20).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def at_rate(rate: int) -> list[int]:
    """Return which of the frames a copy of the video shows, at another rate than 24 frames a second."""
    return [min(number * 24 // rate, COUNT - 1) for number in range(round(COUNT * rate / 24))]


def write_bar_json(root: Path, **changes: Any) -> None:
    """Write the annotation of the bar; a field that is changed to None is left out."""
    content = {
        "video_frame_count": float(COUNT),
        "video_height": float(HEIGHT),
        "video_width": float(WIDTH),
        "video_duration": COUNT / 24,
        "masklet": [[rle_of(bar_of(number))] for number in range(0, COUNT, 4)],
        "masklet_id": [0],
    }
    content = {field: value for field, value in (content | changes).items() if value is not None}
    (root / "sav_000").mkdir(parents=True)
    (root / "sav_000" / f"{VIDEO_ID}_manual.json").write_text(json.dumps(content))


def write_bar_jpegs(root: Path, frames: Iterable[tuple[int, int]]) -> None:
    """Write frames as JPEGs, each given as the number in its name and the number of the frame that it shows."""
    folder = root / "JPEGImages_24fps" / VIDEO_ID
    folder.mkdir(parents=True)
    for name, shown in frames:
        Image.fromarray(picture_with_bar(shown)).save(folder / f"{name:05d}.jpg", quality=95)


def write_bar_pngs(root: Path, masks: Iterable[tuple[int, int]]) -> None:
    """Write masks of the val layout, each given as the number in its name and the number of its frame."""
    folder = root / "Annotations_6fps" / VIDEO_ID / "000"
    folder.mkdir(parents=True)
    for name, number in masks:
        Image.fromarray(bar_of(number)).save(folder / f"{name:05d}.png")
    (root / "sav_val.txt").write_text(f"{VIDEO_ID}\n")


def is_on_bar(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> bool:
    """Whether a mask lies on the bar of a picture of the same size, up to the blur of its coding."""
    bright = image[..., 1] > 128
    union = np.count_nonzero(bright | mask)
    # Moved by one frame, 6 of 8 columns agree and 2 on either side do not: 0.6.
    return bool(union) and np.count_nonzero(bright & mask) / union > 0.8


def shown(numbers: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Return the pictures of several frames."""
    return [picture_with_bar(number) for number in numbers]
