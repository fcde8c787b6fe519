"""LISA's batch: up to three sentences of an image, each with the mask of its object.

    resizeonce convert refcoco --root refer_seg --out refcoco.zarr --set recipe.name=lisa --set source.sentence=sent
    python examples/lisa_batch.py refcoco.zarr

The tensors have the names of `collate_fn` in dvlab-research/LISA, utils/dataset.py. Tokens of the conversations are its own.
"""

import random
import sys
from typing import Any

import torch

from resizeonce.loader import Batch, BatchLoader, Objects, Order, OrderOptions, SampleIndex, Store

IGNORED = 255
QUESTIONS = ("Can you segment this: {}?", "Where is what is called: {}?", "Show me: {}.")


def lisa_batch(batch: Batch) -> dict[str, Any]:
    """Return what LISA's model takes: `offset` says which sentences and masks are whose."""
    samples = [batch.of(place) for place in range(len(batch["key"]))]
    masks = [torch.stack(sample["masks"]).float() for sample in samples]
    return {
        "images": batch["g_pixel_values"],
        "images_clip": batch["pixel_values"],
        "offset": batch["objects"],
        "masks_list": masks,
        "label_list": [torch.full(each.shape[1:], float(IGNORED)) for each in masks],
        "resize_list": [tuple(size) for size in batch["g_pixel_values_sizes"].tolist()],
        "sampled_classes_list": [sample["expressions"] for sample in samples],
        "questions_list": [ask(sample["expressions"], sample["seed"]) for sample in samples],
    }


def ask(sentences: list[str], seed: torch.Tensor) -> list[str]:
    """Return a question about each sentence. The sample's number decides which: a run that goes on asks the same."""
    draw = random.Random(int(seed))
    return [draw.choice(QUESTIONS).format(sentence.lower()) for sentence in sentences]


def main() -> None:
    """Go through the sentences once."""
    index = SampleIndex(Store(sys.argv[1]), draw=Objects(at_most=3, of="expressions"))
    for batch in BatchLoader(Order([index], OrderOptions(seed=0)), batch_size=2, workers=2):
        given = lisa_batch(batch)
        sizes = [tuple(masks.shape) for masks in given["masks_list"]]
        print(f"{tuple(given['images'].shape)}, offset {given['offset'].tolist()}, masks {sizes}")
        print(f"  {given['questions_list']}")


if __name__ == "__main__":
    main()
