"""Train a few steps from a store of single images: `python examples/train.py demo/stores/sa1b.zarr`.

The model is as small as one can be: from the image it learns the 16 x 16 cells of the prompt mask.
"""

import sys

import torch
from torch.nn import Conv2d
from torch.nn.functional import binary_cross_entropy_with_logits

from resizeonce.loader import BatchLoader, check_batch

EPOCHS = 2


def main() -> None:
    """Train, and print the loss of each step."""
    torch.manual_seed(0)
    model = Conv2d(3, 1, kernel_size=28, stride=28)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    # Two processes fill the next batches while the model works; each epoch has an order of its own.
    batches = BatchLoader(sys.argv[1], batch_size=2, workers=2)
    for epoch in range(EPOCHS):
        for step, batch in enumerate(batches):
            if epoch == step == 0:
                check_batch(batch)
            cells = model(batch["pixel_values"])[:, 0]
            loss = binary_cross_entropy_with_logits(cells, batch["prompt_masks"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"epoch {epoch}, step {step}: {len(batch['key'])} samples, loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
