"""Watches a training step: raises where a batch's picture or mask is resized, or a normalised picture is taken for pixels.

What is made of a tensor of the batch without weights (a view, a cast, arithmetic) still counts as that tensor; what a
convolution or a matrix product makes of it is the model's own, and may be resized. So a prediction may be scaled to
the size of its target, and the target may not be scaled to the prediction's.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

KEYS = ("pixel_values", "g_pixel_values", "prompt_masks", "masks")

_RESIZES = ("upsample", "interpolate", "grid_sampler", "resize", "pool", "affine_grid", "im2col")
_LEARNED = ("convolution", "mm", "bmm", "addmm", "baddbmm", "linear", "embedding", "scaled_dot_product")
_LARGE = 100.0
"""A factor from here on can only mean the way back to 0..255: what is normalised lies within -2.2..2.7."""


class ResizedInputError(AssertionError):
    """Raised when a tensor of the batch is resized."""


class NormalisedImageError(AssertionError):
    """Raised when a normalised picture is treated as one of 0..255."""


class InputGuard(TorchDispatchMode):
    """Guards the tensors of a batch within a `with` block."""

    def __init__(self, batch: Mapping[str, Any]) -> None:
        super().__init__()
        # Kept, so that their memory is nobody else's as long as the guard stands.
        self._inputs = {
            key: value
            for key, value in batch.items()
            if key.rstrip("12") in KEYS and isinstance(value, torch.Tensor)
        }
        self._storages = {value.untyped_storage().data_ptr(): key for key, value in self._inputs.items()}
        self._derived: Any = WeakTensorKeyDictionary()
        self.seen: set[str] = set()
        """Tensors of the batch that were used."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.split("::")[1]
        used = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        keys = [key for key in map(self._key_of, used) if key]
        self.seen.update(keys)
        # Gradients are the optimiser's business: only what the step computes forward is looked at.
        if keys and "backward" not in name:
            self._check(name, keys[0], args, kwargs)
        made = func(*args, **kwargs)
        if keys and not name.strip("_").startswith(_LEARNED) and "backward" not in name:
            # A normalised picture stays one, whatever it is combined with.
            key = next((key for key in keys if key.startswith("pixel_values")), keys[0])
            for leaf in tree_leaves(made):
                if isinstance(leaf, torch.Tensor):
                    self._derived[leaf] = key
        return made

    def _key_of(self, tensor: torch.Tensor) -> str:
        key: str = self._derived.get(tensor, "")
        return key or self._storages.get(tensor.untyped_storage().data_ptr(), "")

    def _check(self, name: str, key: str, args: Any, kwargs: Any) -> None:
        first = args[0]
        if any(word in name for word in _RESIZES):
            raise ResizedInputError(f"{key} is resized by {name}: it is stored in the size it is needed in")
        if not isinstance(first, torch.Tensor):
            return
        spatial = (first.dim() - 1, first.dim() - 2, -1, -2)
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        if name == "slice" and len(args) > 4 and args[4] != 1 and dim in spatial:
            raise ResizedInputError(f"{key} is resized: of its pixels, every {args[4]}th is taken")
        if name == "index_select" and dim in spatial:
            raise ResizedInputError(f"{key} is resized: some of its rows or columns are taken")
        if name == "index" and any(index is not None for index in list(args[1])[max(first.dim() - 2, 1) :]):
            raise ResizedInputError(f"{key} is resized: some of its pixels are taken")
        if key.startswith("pixel_values"):
            self._check_normalised(name, key, args, kwargs)

    def _check_normalised(self, name: str, key: str, args: Any, kwargs: Any) -> None:
        other = _largest(args[1]) if len(args) > 1 else None
        if name in ("mul", "mul_") and max(other or 0, _largest(args[0]) or 0) >= _LARGE:
            raise NormalisedImageError(
                f"{key} is multiplied by {other}: it is normalised; take g_pixel_values"
            )
        if name in ("div", "div_") and other is not None and 0 < other <= 1 / _LARGE:
            raise NormalisedImageError(f"{key} is divided by {other}: it is normalised; take g_pixel_values")
        if name.startswith(("clamp", "clip")):
            raise NormalisedImageError(f"{key} is clamped: all that is darker than the mean is below 0")
        if name == "_to_copy" and not (kwargs.get("dtype") or torch.float32).is_floating_point:
            raise NormalisedImageError(
                f"{key} is cast to {kwargs['dtype']}: it is normalised; take g_pixel_values"
            )


def _largest(value: Any) -> float | None:
    """Return the largest magnitude of a number or a tensor."""
    if isinstance(value, torch.Tensor):
        return float(value.detach().abs().max()) if value.numel() else None
    return abs(float(value)) if isinstance(value, int | float) else None
