"""Training-time loader: maps a store's shards into batches. Nothing is decoded or resized here.

Names are imported when they are first asked for: what needs only numpy does not wait for torch, and neither do the
worker processes of a `BatchLoader`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loader.batches import BatchLoader
    from loader.cache import CacheOptions
    from loader.checks import BatchError, check_batch
    from loader.compact import to_device
    from loader.dataset import Batch, SampleDataset, collate
    from loader.mixture import OrderOptions, draw_expression
    from loader.order import Batching, Order, Ranks
    from loader.permutation import Shuffle
    from loader.sampler import BatchSampler
    from loader.selection import SampleIndex
    from loader.store import Store
    from loader.subset import KeySet, Subset

__all__ = [
    "Batch",
    "BatchError",
    "BatchLoader",
    "BatchSampler",
    "Batching",
    "CacheOptions",
    "KeySet",
    "Order",
    "OrderOptions",
    "Ranks",
    "SampleDataset",
    "SampleIndex",
    "Shuffle",
    "Store",
    "Subset",
    "check_batch",
    "collate",
    "draw_expression",
    "to_device",
]

_MODULES = {
    "Batch": "dataset",
    "BatchError": "checks",
    "BatchLoader": "batches",
    "BatchSampler": "sampler",
    "Batching": "order",
    "CacheOptions": "cache",
    "KeySet": "subset",
    "Order": "order",
    "OrderOptions": "mixture",
    "Ranks": "order",
    "SampleDataset": "dataset",
    "SampleIndex": "selection",
    "Shuffle": "permutation",
    "Store": "store",
    "Subset": "subset",
    "check_batch": "checks",
    "collate": "dataset",
    "draw_expression": "mixture",
    "to_device": "compact",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'loader' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"loader.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
