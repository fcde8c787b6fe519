"""The batch that a trainer is given, of the arrays that were filled for it."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ..batch import Batch, as_tensor
from ..compact import CompactBatch
from ..describe import OBJECT_KEYS
from ..order.picks import Picks
from .worker import Setup


def make_batch(
    setup: Setup, picks: Picks, arrays: Mapping[str, NDArray[Any]], others: Mapping[str, Any]
) -> Batch:
    """Return a batch whose tensors share the memory of the arrays, which have room for as many objects as may be drawn."""
    recipe = setup.stores[picks.store.item(0)].recipe
    if "objects" in others:
        count = others["objects"].item(-1)
        arrays = {key: array[:count] if key in recipe.masks else array for key, array in arrays.items()}
    everything = (*arrays.items(), *others.items(), ("seed", picks.seed))
    items = {name: as_tensor(value) for name, value in everything}
    batch = CompactBatch(items) if setup.compact else Batch(items)
    batch.recipe = recipe
    if "objects" in others:
        batch.object_keys = OBJECT_KEYS | recipe.masks.keys()
    return batch
