"""Five frames of an SA-V video with five objects: from a store, against decoding the mp4 and its masklets as Sa2VA does.

::

    python benchmarks/sav_clips.py [--root ROOT]

ROOT is a folder of SA-V's train layout; without it, videos are made. Sa2VA reads the json, decodes every frame and every masklet of
the video, takes five of each and resizes them. Here it is given the frames and objects that the store's sample has, and must make the
same pixels and targets. Both work in this process and take turns, files in the page cache; the decoder may use all cores.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from case import consume
from data import draw_video
from frame import Turn, parser_of, print_about, print_times, scratch, take_turns
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from torch.nn.functional import interpolate

from resizeonce.loader import BatchLoader, Clip, Order, OrderOptions, SampleIndex, Store
from resizeonce.loader.format.recipe import IMAGENET_MEAN, IMAGENET_STD
from resizeonce.preprocess.config import parse_config
from resizeonce.preprocess.run.convert import convert

SIZE, FRAMES, VIDEOS, OBJECTS = (480, 848), 336, 3, 5
"""Of the videos that are made: what SA-V's are like."""
RATE, PER_ANNOTATION = 24, 4
SAMPLES = 6
MEAN, STD = (torch.tensor(numbers)[:, None, None] for numbers in (IMAGENET_MEAN, IMAGENET_STD))

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Pixels for the language model, pixels for the segmenter, and targets of 256 x 256."""


def make_videos(root: Path) -> None:
    for video in range(VIDEOS):
        masklet = []
        with av.open(str(root / f"sav_{video:06d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=RATE)
            (stream.height, stream.width), stream.pix_fmt = SIZE, "yuv420p"
            for time, (picture, labels) in enumerate(draw_video(video, SIZE, FRAMES, OBJECTS, step=1)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                if time % PER_ANNOTATION == 0:
                    masks = [(labels == value + 1).astype(np.uint8, order="F") for value in range(OBJECTS)]
                    encoded = map(coco_mask.encode, masks)
                    masklet.append([{**rle, "counts": rle["counts"].decode()} for rle in encoded])
            container.mux(stream.encode())
        annotation = {"masklet": masklet, "masklet_id": list(range(OBJECTS))}
        (root / f"sav_{video:06d}_manual.json").write_text(json.dumps(annotation))


def from_store(batch: Any) -> Tensors:
    return batch["pixel_values"][0], batch["g_pixel_values"][0], to_targets(batch["masks"])


def from_raw(root: Path, key: str, times: list[int], object_ids: list[str]) -> Tensors:
    """Return the same of a video's own files."""
    video_id = key.split("/")[1]
    (path,) = root.rglob(f"{video_id}.mp4")
    annotation = json.loads(path.with_name(f"{video_id}_manual.json").read_text())
    frames = decode_frames(path)
    masklets = [[decode_mask(rle, frames[0].shape[:2]) for rle in row] for row in annotation["masklet"]]
    pictures = [Image.fromarray(frames[time]) for time in times]
    places = [annotation["masklet_id"].index(int(one.removeprefix("manual-"))) for one in object_ids]
    masks = np.array([[masklets[time // PER_ANNOTATION][place] for time in times] for place in places])
    small = torch.stack([resized(picture, 448) for picture in pictures])
    return (
        (small.float() / 255 - MEAN) / STD,
        torch.stack([resized(picture, 1024) for picture in pictures]),
        to_targets(torch.from_numpy(masks)),
    )


def decode_frames(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def decode_mask(rle: dict[str, Any] | None, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.zeros(shape, np.uint8) if rle is None else coco_mask.decode(rle)


def resized(picture: Image.Image, side: int) -> torch.Tensor:
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def to_targets(masks: torch.Tensor) -> torch.Tensor:
    return interpolate(masks.float(), (256, 256), mode="nearest")


def go_through(made: Iterable[Tensors]) -> None:
    for tensors in made:
        consume(tensors, range(len(tensors)))


def main() -> None:
    parser = parser_of(__doc__, rounds=7)
    parser.add_argument("--root", type=Path, help="SA-V's train layout; default: videos that are made")
    options = parser.parse_args()
    print_about()
    with scratch(options.folder) as folder:
        root = options.root or folder
        if options.root is None:
            make_videos(root)
        source = {"name": "sav", "take": "all", "frames": "mp4"}
        convert(parse_config({"source": source, "recipe": {"name": "sa2va"}}), root, folder / "store")
        clip = Clip(frames=5, pick="spread", objects=5, visible="any")
        order = Order([SampleIndex(Store(folder / "store"), draw=clip)], OrderOptions(epoch_samples=SAMPLES))
        loader = BatchLoader(order, 1, 0)
        drawn = []
        for batch in loader:
            drawn.append((batch["key"][0], batch["times"][0].tolist(), batch["object_ids"]))
            pairs = zip(from_store(batch), from_raw(root, *drawn[-1]), strict=True)
            if not all(torch.equal(ours, theirs) for ours, theirs in pairs):
                raise SystemExit(f"{drawn[-1]} differs between the store and the mp4")
        turns = {
            "store": Turn(SAMPLES, lambda: go_through(map(from_store, loader)), lambda: loader.set_epoch(0)),
            "mp4 and masklets": Turn(SAMPLES, lambda: go_through(from_raw(root, *one) for one in drawn)),
        }
        print_times("five frames", take_turns(turns, options.rounds), "mp4 and masklets")


if __name__ == "__main__":
    main()
