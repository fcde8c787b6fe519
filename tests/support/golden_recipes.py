"""Digests of what published trainers make of a few pictures: `tests/recipes/golden.json`, the short form of `make test-recipes`.

    PYTHONPATH=tests/support:examples .recipes/bin/python tests/support/golden_recipes.py

writes them, by the trainers' packages and nothing of this project.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

GOLDEN = Path(__file__).parents[1] / "recipes" / "golden.json"


def digest(tensor: Any) -> str:
    """Return the start of the SHA-256 of a view's values: images as they are, masks as 0 and 1 in float32."""
    values = torch.as_tensor(tensor)
    image = values.ndim == 3
    return hashlib.sha256((values if image else values.float()).contiguous().numpy().tobytes()).hexdigest()[
        :16
    ]


def golden() -> dict[str, list[dict[str, str]]]:
    """Return, for each recipe and picture, the digest of each view."""
    from recipe_stores import originals
    from released import TRAINERS, prepare

    return {
        recipe: [
            {name: digest(tensor) for name, tensor in prepare(recipe, *original).items()}
            for original in originals()
        ]
        for recipe in TRAINERS
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n")
