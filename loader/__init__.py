"""Training-time loader: maps a store's shards into batches. Nothing is decoded, resized or downloaded here."""

from loader.dataset import Batch, SampleDataset, collate
from loader.store import Store

__all__ = ["Batch", "SampleDataset", "Store", "collate"]
