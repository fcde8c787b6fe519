"""Videos with label maps: `JPEGImages/<id>/*.jpg`, `Annotations/<id>/*.png` of every second frame, and `meta.json`."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miniature.folders import labels_of, save_indexed

Clip = tuple[str, Sequence[NDArray[np.uint8]]]
"""A video id, and its frames."""


def write_vos(root: Path, clips: Sequence[Clip]) -> None:
    """Write each clip's frames, and the masks of its objects 1 and 2 in frames 0, 2, 4, ...; 2 is not in frame 2."""
    objects = {"1": {"category": "person"}, "2": {"category": "dog"}}
    for video_id, pictures in clips:
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / video_id).mkdir(parents=True)
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(root / "JPEGImages" / video_id / f"{number:05d}.jpg", quality=95)
            if number % 2 == 0:
                labels = frame_labels(*picture.shape[:2], number)
                save_indexed(root / "Annotations" / video_id / f"{number:05d}.png", labels)
    videos = {video_id: {"objects": objects} for video_id, _ in clips}
    (root / "meta.json").write_text(json.dumps({"videos": videos}))


def frame_labels(height: int, width: int, number: int) -> NDArray[np.uint8]:
    """Return the label map of a frame, uint8 [height, width]."""
    labels = np.roll(labels_of(height, width, 31), (number, 2 * number), axis=(0, 1))
    return np.where(labels == 2, np.uint8(number != 2) * labels, labels)
