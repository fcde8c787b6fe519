"""What a frame becomes: the views of its recipe, made one after the other while they are written."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..decode.segmentation import Rle

Images: TypeAlias = Mapping[str, NDArray[Any]]
"""Each image view as it is stored, uint8 0..255 or float32, [3, H, W]."""
Masks: TypeAlias = Mapping[str, NDArray[np.bool_] | Rle]
"""Each mask view of one object, bool [H, W]; one at its own size is the mask itself."""


class Views(NamedTuple):
    """The tensors of a frame, each made when it is called for: a frame may have hundreds of masks."""

    images: Callable[[], Images]
    masks: Sequence[Callable[[], Masks]]
    """Of each mask, in the frame's order."""
