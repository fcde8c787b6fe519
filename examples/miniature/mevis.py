"""Expressions about videos: `meta_expressions.json`, `mask_dict.json` and `JPEGImages/<id>/*.jpg`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miniature.sav import masks_of, rle_of

Clip = tuple[str, Sequence[NDArray[np.uint8]]]
"""A video id, and its frames."""


def write_mevis(root: Path, clips: Sequence[Clip]) -> None:
    """Write each clip with two objects, of which one is absent at times, and three expressions: one is of both."""
    videos: dict[str, Any] = {}
    mask_dict: dict[str, Any] = {}
    for video_id, pictures in clips:
        folder = root / "JPEGImages" / video_id
        folder.mkdir(parents=True)
        for t, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / f"{t:05d}.jpg", quality=95)
        masks = [masks_of(picture, t) for t, picture in enumerate(pictures)]
        first = len(mask_dict)
        for number in range(2):
            mask_dict[str(first + number)] = [rle_of(of_frame[number]) for of_frame in masks]
        said = (("the still one", [0]), ("the one that comes and goes", [1]), ("both of them", [0, 1]))
        expressions = {
            str(number): {"exp": text, "obj_id": ids, "anno_id": [first + each for each in ids]}
            for number, (text, ids) in enumerate(said)
        }
        frames = [f"{t:05d}" for t in range(len(pictures))]
        videos[video_id] = {"expressions": expressions, "frames": frames}
    (root / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    (root / "mask_dict.json").write_text(json.dumps(mask_dict))
