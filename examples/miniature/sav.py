"""SA-V trees: `sav_000/<id>_manual.json` with extracted frames or mp4, and the val layout with PNG masks."""

import json
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from miniature.shapes import ellipse_of

Clip = tuple[str, Sequence[NDArray[np.uint8]]]
"""A video id, and the picture of each annotated frame."""


def write_sav_train(root: Path, clips: Sequence[Clip], *, video: bool = False) -> None:
    """Write each clip's json, and its annotated frames as JPEGs or all of its frames as an mp4.

    There are two objects: 0 is in every frame, 1 is absent (null, then an empty mask) in frames 1, 2, 5, 6, 9, ...
    """
    folder = root / "sav_000"
    folder.mkdir(parents=True, exist_ok=True)
    for video_id, pictures in clips:
        (folder / f"{video_id}_manual.json").write_text(json.dumps(_annotation(video_id, pictures)))
        if video:
            every = [frame_of(pictures, number) for number in range(4 * len(pictures))]
            write_mp4(folder / f"{video_id}.mp4", every)
            continue
        frames = root / "JPEGImages_24fps" / video_id
        frames.mkdir(parents=True)
        for t, picture in enumerate(pictures):
            Image.fromarray(picture).save(frames / f"{4 * t:05d}.jpg", quality=95)


def write_sav_val(root: Path, clips: Sequence[Clip]) -> None:
    """Write all frames of each clip and PNG masks of the same two objects; an absent one has no file."""
    for video_id, pictures in clips:
        frames = root / "JPEGImages_24fps" / video_id
        frames.mkdir(parents=True)
        for number in range(4 * len(pictures)):
            Image.fromarray(frame_of(pictures, number)).save(frames / f"{number:05d}.jpg")
        for t, picture in enumerate(pictures):
            for number, mask in enumerate(masks_of(picture, t)):
                folder = root / "Annotations_6fps" / video_id / f"{number:03d}"
                folder.mkdir(parents=True, exist_ok=True)
                if mask is not None and mask.any():
                    Image.fromarray(mask).save(folder / f"{4 * t:05d}.png")
    (root / "sav_val.txt").write_text("".join(f"{video_id}\n" for video_id, _ in clips))


def write_mp4(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    *,
    rate: int = 24,
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """Encode video frames; height and width must be even.

    Args:
        path: the file.
        frames: what to encode.
        rate: frames a second.
        times: when each is shown, in 1 / rate seconds; else one after the other.
        options: of the container.
    """
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", options=options) as container:
        has_x264 = "libx264" in av.codecs_available
        stream = container.add_stream("libx264" if has_x264 else "mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.bit_rate = 20_000_000
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, rate)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number if times is None else times[number], Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def frame_of(pictures: Sequence[NDArray[np.uint8]], number: int) -> NDArray[np.uint8]:
    """Return a video frame: an annotated picture, or the last one before it, moved to the side."""
    t, after = divmod(number, 4)
    return np.roll(pictures[t], 6 * after, axis=1)


def masks_of(picture: NDArray[np.uint8], t: int) -> list[NDArray[np.bool_] | None]:
    """Return the masks of objects 0 and 1 in annotated frame `t`; absent is None or empty."""
    height, width = picture.shape[:2]
    moved = [np.roll(ellipse_of(height, width, seed), (t, 2 * t), axis=(0, 1)) for seed in (31, 32)]
    second = {1: None, 2: np.zeros_like(moved[1])}
    return [moved[0], second.get(t % 4, moved[1])]


def _annotation(video_id: str, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    height, width = pictures[0].shape[:2]
    masks = [masks_of(picture, t) for t, picture in enumerate(pictures)]
    areas = [[0 if mask is None else int(mask.sum()) for mask in row] for row in masks]
    visible = [[areas[t][number] > 0 for t in range(len(masks))] for number in range(2)]
    sizes = [float(np.mean([row[number] for row in areas if row[number]])) for number in range(2)]
    num_frames = len(pictures)
    return {
        "video_id": video_id,
        "video_duration": 4 * num_frames / 24,
        "video_frame_count": float(4 * num_frames),
        "video_height": float(height),
        "video_width": float(width),
        "video_resolution": float(height * width),
        "video_environment": "Outdoor",
        "video_split": "train",
        "masklet": [[rle_of(mask) for mask in row] for row in masks],
        "masklet_id": [0, 1],
        "masklet_size_rel": [size / (height * width) for size in sizes],
        "masklet_size_abs": sizes,
        "masklet_size_bucket": [_bucket(size) for size in sizes],
        "masklet_visibility_changes": [sum(a != b for a, b in pairwise(row)) for row in visible],
        "masklet_first_appeared_frame": [float(row.index(True)) for row in visible],
        "masklet_frame_count": [num_frames, num_frames],
        "masklet_edited_frame_count": [num_frames, num_frames],
        "masklet_type": ["manual", "manual"],
        "masklet_stability_score": [None, None],
        "masklet_num": 2,
    }


def rle_of(mask: NDArray[np.bool_] | None) -> dict[str, Any] | None:
    """Return a mask as SA-V's jsons have it, None where there is none."""
    if mask is None:
        return None
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def _bucket(area: float) -> str:
    return "small" if area < 32**2 else "medium" if area < 96**2 else "large"
