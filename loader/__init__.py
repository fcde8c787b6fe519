"""Training time: maps a store's shards into batches. Nothing is resized here; masks and compact images are unpacked.

Names are imported when they are first asked for: what needs only numpy does not wait for torch, and neither do the
worker processes of a `BatchLoader`.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Batch as Batch
    from .batch import SampleDataset as SampleDataset
    from .batch import collate as collate
    from .cache.part_cache import CacheOptions as CacheOptions
    from .check import check_batch as check_batch
    from .check_shapes import BatchError as BatchError
    from .compact import to_device as to_device
    from .fill import SampleError as SampleError
    from .format.errors import StoreError as StoreError
    from .order.clips import Clip as Clip
    from .order.draws import Objects as Objects
    from .order.index import SampleIndex as SampleIndex
    from .order.mixture import OrderOptions as OrderOptions
    from .order.picks import draw_expression as draw_expression
    from .order.plan import Batching as Batching
    from .order.plan import Order as Order
    from .order.plan import Ranks as Ranks
    from .order.shuffle import Shuffle as Shuffle
    from .order.subset import KeySet as KeySet
    from .order.subset import Subset as Subset
    from .order.torch_sampler import BatchSampler as BatchSampler
    from .store import Store as Store
    from .workers.batch_loader import BatchLoader as BatchLoader
    from .workers.batch_loader import BatchOptions as BatchOptions
    from .workers.order_dataset import OrderDataset as OrderDataset

if sys.byteorder != "little":
    raise ImportError(
        "stores are little-endian and are mapped as they are, which this processor is not made for"
    )

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

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
