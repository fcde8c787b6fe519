"""One's own pictures: `python examples/own_folder.py my_data`, with my_data/images/1.jpg, my_data/masks/1.png and so on.

A mask file may be black and white, have a value for each object, or be one of several in a folder of its picture's name.
The store lies beside the folder, and is made once. A model as small as one can be learns the objects' cells from it.
"""

import sys
from pathlib import Path

import torch
from torch.nn import Conv2d
from torch.nn.functional import binary_cross_entropy_with_logits

from resizeonce.loader import BatchLoader, Objects, Order, OrderOptions, SampleIndex, Store
from resizeonce.preprocess import convert


def main() -> None:
    """Convert the folder, if that was not done; then train for an epoch."""
    root = Path(sys.argv[1])
    store = root.with_suffix(".zarr")
    if not store.exists():
        report = convert("folders", root, store)
        totals = report.attributes["totals"]
        print(f"{totals['images']} images, {totals['masks']} masks, {report.num_rejects} rejects")
    model = Conv2d(3, 1, kernel_size=28, stride=28)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    index = SampleIndex(Store(store), draw=Objects(at_most=8))
    for batch in BatchLoader(Order([index], OrderOptions(seed=0)), batch_size=2, workers=2):
        # An image goes through the model once, however many of its objects were drawn.
        cells = model(batch["pixel_values"])
        of_objects = cells[torch.repeat_interleave(batch["objects"].diff())]
        loss = binary_cross_entropy_with_logits(of_objects[:, 0], batch["prompt_masks"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"{batch['key']}: {len(of_objects)} objects, loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
