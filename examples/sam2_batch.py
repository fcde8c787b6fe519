"""SAM 2's batch: eight frames of a video, forwards or backwards, and up to three of the objects in the first.

    resizeonce convert sav --root sav_train --out sav.zarr --set source.take=all --set recipe.name=sam2
    python examples/sam2_batch.py sav.zarr

The tensors have the names and shapes of `BatchedVideoDatapoint` in facebookresearch/sam2, training/utils/data_utils.py.
"""

import sys

import torch
from torch import Tensor

from resizeonce.loader import Batch, BatchLoader, Clip, Order, OrderOptions, SampleIndex, Store


def sam2_batch(batch: Batch) -> dict[str, Tensor]:
    """Return what SAM 2's trainer takes: time is the first axis, objects of all videos are the second."""
    frames = batch["g_pixel_values"].transpose(0, 1)
    # Of each object, the video that it is in.
    videos = torch.repeat_interleave(batch["objects"].diff()).expand(len(frames), -1)
    times = torch.arange(len(frames))[:, None].expand_as(videos)
    return {
        "img_batch": frames,  # float32 [T, B, 3, H, W]
        "obj_to_frame_idx": torch.stack([times, videos], dim=-1).int(),  # int32 [T, O, 2]
        "masks": batch["masks"].transpose(0, 1).bool(),  # [T, O, H, W], zero where the object is not there
    }


def main() -> None:
    """Go through the videos once."""
    index = SampleIndex(Store(sys.argv[1]), draw=Clip(frames=8, objects=3, reverse=0.5))
    # Videos that SAM 2's own sampler would silently replace by others.
    print(f"{len(index)} videos, left out: {index.left_out}")
    for batch in BatchLoader(Order([index], OrderOptions(seed=0)), batch_size=2, workers=2):
        given = sam2_batch(batch)
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in given.items())
        print(f"{shapes}; frames {batch['times'].tolist()}")


if __name__ == "__main__":
    main()
