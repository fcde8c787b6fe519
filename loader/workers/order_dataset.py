"""`OrderDataset`: the batches of an order for a plain `DataLoader`, as `BatchLoader` gives them."""

from typing import Any

import torch
from torch.utils.data import Dataset

from ..batch import MAX_HELD, Batch
from ..buffers.dataloader_slots import BatchMemory
from ..fill import ReadAhead
from ..kernels.core import warn_without_core
from ..order.picks import Picks
from ..order.plan import Order
from ..own_size import MaskRoom
from .batch_loader import BatchOptions, make_setup
from .make_batch import make_batch
from .worker import fill_arrays, layout_for


class OrderDataset(Dataset[dict[str, Any]]):
    """The samples of an order, drawn ones too, by what a `BatchSampler` of it yields with `picks=True`.

    Give the `DataLoader` that sampler as its `batch_sampler`, and `collate_fn=resizeonce.loader.collate`: whole batches are
    read in one pass, and are those of a `BatchLoader`.

    Args:
        order: of the samples.
        options: what is in a batch: `tensors`, `expressions` and `compact`. Who fills it and where an epoch ends, the
            `DataLoader` and the sampler say.

    Raises:
        ValueError: another option is given, or `tensors` names what a recipe has not.
    """

    def __init__(self, order: Order, options: BatchOptions | None = None) -> None:
        options = options or BatchOptions()
        of_batches = BatchOptions(
            tensors=options.tensors, expressions=options.expressions, compact=options.compact
        )
        if options != of_batches:
            raise ValueError(
                f"an OrderDataset takes tensors, expressions and compact of BatchOptions, and no other; found {options}"
            )
        warn_without_core()
        self._num_samples = sum(order.mixture.lane_sizes)
        self._setup = make_setup(order, 1, options, 1)
        self._memory = BatchMemory(MAX_HELD)
        self._room = MaskRoom(MAX_HELD, torch.from_numpy)
        self._ahead = ReadAhead()

    def __len__(self) -> int:
        """Return the number of samples of an epoch."""
        return self._num_samples

    def __getitem__(self, picks: Picks) -> Batch:
        """Return the batch of some picks, as `DataLoader` asks for it with `batch_size=None`; see `__getitems__`."""
        return self.__getitems__(picks)

    def __getitems__(self, picks: Picks) -> Batch:
        """Return the batch of some picks.

        Args:
            picks: at least one, all of one lane of the order.

        Raises:
            SampleError: a sample can't be read.
            TypeError: these are no picks.
        """
        if not isinstance(picks, Picks):
            raise TypeError(
                f"an OrderDataset is asked for Picks, not for {picks!r:.100}: give the DataLoader "
                "batch_sampler=BatchSampler(order, batching, picks=True)"
            )
        setup, number = self._setup, picks.store.item(0)
        draw, _ = setup.draws[number]
        layout = layout_for(
            setup.stores[number], len(picks), setup.views[number], draw, compact=setup.compact
        )
        arrays, posted = self._memory.take(layout)
        rows = setup.rows_of(picks)
        # The disk reads all of them at once, while the first are filled.
        self._ahead.prefetch(rows)
        others = fill_arrays(picks, rows, setup, arrays).others
        self._room.expand(others)
        return make_batch(setup, picks, arrays, others).post(posted)
