"""Training time: maps a store's shards into batches. Nothing is resized here; masks and compact images are unpacked.

Names are imported when they are first asked for: what needs only numpy does not wait for torch, and neither do the
worker processes of a `BatchLoader`.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Batch, SampleDataset, collate
    from .cache.part_cache import CacheOptions
    from .check import check_batch
    from .check_shapes import BatchError
    from .compact import to_device
    from .fill import SampleError
    from .format.errors import StoreError
    from .order.clips import Clip
    from .order.draws import Objects
    from .order.index import SampleIndex
    from .order.mixture import OrderOptions
    from .order.picks import draw_expression
    from .order.plan import Batching, Order, Ranks
    from .order.shuffle import Shuffle
    from .order.subset import KeySet, Subset
    from .order.torch_sampler import BatchSampler
    from .store import Store
    from .workers.batch_loader import BatchLoader, BatchOptions
    from .workers.order_dataset import OrderDataset

if sys.byteorder != "little":
    raise ImportError(
        "stores are little-endian and are mapped as they are, which this processor is not made for"
    )

__all__ = [
    "Batch",
    "BatchError",
    "BatchLoader",
    "BatchOptions",
    "BatchSampler",
    "Batching",
    "CacheOptions",
    "Clip",
    "KeySet",
    "Objects",
    "Order",
    "OrderDataset",
    "OrderOptions",
    "Ranks",
    "SampleDataset",
    "SampleError",
    "SampleIndex",
    "Shuffle",
    "Store",
    "StoreError",
    "Subset",
    "check_batch",
    "collate",
    "draw_expression",
    "to_device",
]

_MODULES = {
    "Batch": "batch",
    "BatchError": "check_shapes",
    "BatchLoader": "workers.batch_loader",
    "BatchOptions": "workers.batch_loader",
    "BatchSampler": "order.torch_sampler",
    "Batching": "order.plan",
    "CacheOptions": "cache.part_cache",
    "Clip": "order.clips",
    "KeySet": "order.subset",
    "Objects": "order.draws",
    "Order": "order.plan",
    "OrderDataset": "workers.order_dataset",
    "OrderOptions": "order.mixture",
    "Ranks": "order.plan",
    "SampleDataset": "batch",
    "SampleError": "fill",
    "SampleIndex": "order.index",
    "Shuffle": "order.shuffle",
    "Store": "store",
    "StoreError": "format.errors",
    "Subset": "order.subset",
    "check_batch": "check",
    "collate": "batch",
    "draw_expression": "order.picks",
    "to_device": "compact",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
