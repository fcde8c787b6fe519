"""The normalisations that models of this family are trained with: by them a wrong one is told by its name."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .recipe import IMAGENET_MEAN, IMAGENET_STD, Channels, ImageView


class Norm(NamedTuple):
    """(v / scale - mean) / std of levels 0..255, each step rounded to float32."""

    mean: Channels
    std: Channels
    scale: float

    @classmethod
    def of(cls, view: ImageView) -> "Norm":
        """Return that of a view."""
        return cls(view.mean, view.std, view.scale)

    def to_levels(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return normalised values [3, H, W] as levels, not rounded to whole ones."""
        mean, std = (np.array(numbers)[:, None, None] for numbers in (self.mean, self.std))
        levels: NDArray[np.float64] = (values * std + mean) * self.scale
        return levels

    def to_whole_levels(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return normalised values [3, H, W] as the levels that they were made of; 0 for what is no number."""
        levels = np.nan_to_num(np.rint(self.to_levels(values)))
        return levels.clip(0, 255).astype(np.uint8)


# openai/clip-vit-large-patch14, preprocessor_config.json.
CLIP = Norm((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 255.0)

# facebookresearch/segment-anything, build_sam.py: of values 0..255, which are not divided first.
SAM = Norm((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 1.0)

KNOWN_NORMS = {
    "ImageNet's": Norm(IMAGENET_MEAN, IMAGENET_STD, 255.0),
    "CLIP's": CLIP,
    "0.5": Norm((0.5,) * 3, (0.5,) * 3, 255.0),
    "SAM's, of 0..255,": SAM,
    "0 and 1": Norm((0.0,) * 3, (1.0,) * 3, 255.0),
    "0 and 1, of 0..255,": Norm((0.0,) * 3, (1.0,) * 3, 1.0),
}
"""By words for their mean and std."""
