"""Sa2VA's batch of videos: five frames in order of time, five expressions, and targets of 256 x 256.

    resizeonce convert mevis --root mevis/train --out mevis.zarr --set source.take=all --set recipe.name=sa2va
    python examples/sa2va_batch.py mevis.zarr

The tensors have the names of `sa2va_collect_fn` in bytedance/Sa2VA, projects/sa2va/datasets/data_utils.py.
"""

import sys
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from resizeonce.loader import Batch, BatchLoader, Clip, Order, OrderOptions, SampleIndex, Store

PREDICTED = (256, 256)


def sa2va_batch(batch: Batch) -> dict[str, Any]:
    """Return what Sa2VA's model takes: lists of samples, of frames, and of masks by object and frame."""
    samples = [batch.of(place) for place in range(len(batch["key"]))]
    return {
        "pixel_values": [sample["pixel_values"] for sample in samples],
        "g_pixel_values": [frame for sample in samples for frame in sample["g_pixel_values"]],
        "frames_per_batch": [len(sample["g_pixel_values"]) for sample in samples],
        "masks": [sample["masks"].flatten(0, 1) for sample in samples],
    }


def targets(masks: Tensor) -> Tensor:
    """Return the targets of the loss, by torch's nearest, as the model makes them.

    Of a mask of the recipe `sa2va` that takes every fourth position, which are those it would take of the mask at its own size.
    """
    return interpolate(masks[None], PREDICTED, mode="nearest")[0]


def main() -> None:
    """Go through the videos once."""
    clip = Clip(
        frames=5, pick="spread", short="repeat", objects=5, at_least=5, of="expressions", visible="any"
    )
    index = SampleIndex(Store(sys.argv[1]), draw=clip)
    for batch in BatchLoader(Order([index], OrderOptions(seed=0)), batch_size=1, workers=2):
        given = sa2va_batch(batch)
        drawn = [tuple(targets(masks).shape) for masks in given["masks"]]
        print(f"{given['frames_per_batch']} frames {batch['times'].tolist()}, targets {drawn}")
        print(f"  {batch['expressions']}")


if __name__ == "__main__":
    main()
