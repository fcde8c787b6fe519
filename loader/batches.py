"""Batches at the speed of memory: workers fill a ring of buffers that are made once and used again.

A batch is the trainer's for as long as any of its tensors lives: a buffer goes back to the ring when the last of them
is gone. Who keeps more than two batches gets copies of the further ones, so nothing is ever overwritten and nothing
waits for ever.
"""

import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loader.cache import CacheOptions
from loader.dataset import Batch
from loader.mixture import OrderOptions
from loader.order import Batching, Order, Ranks
from loader.ring import MAX_LENT, Ring
from loader.selection import SampleIndex
from loader.slots import ArrayLayout
from loader.store import Store, open_store, stay_in_memory
from loader.tensors import TENSORS, check_tensors
from loader.workers import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """What is in a batch, and who fills it."""

    tail: Literal["drop", "wrap", "keep"] = "drop"
    """What becomes of the last samples, too few for a full batch on every rank; see `Batching`."""
    ranks: Ranks | None = None
    """Which process of the training this is; None asks `torch.distributed`."""
    tensors: tuple[str, ...] = TENSORS
    """Which of the four to read."""
    expressions: Literal["all", "first", "drawn"] = "all"
    """Which phrases of an object to give; "drawn" is one, by seed, epoch and sample."""
    compact: bool = False
    """Whether batches are `CompactBatch`es, for `to_device`."""
    mode: Literal["process", "thread"] = "process"
    """Threads start at once and take less memory, but wait for the trainer's Python code."""

    def __post_init__(self) -> None:
        check_tensors(self.tensors)
        for name, allowed in (("mode", ("process", "thread")), ("expressions", ("all", "first", "drawn"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}; not {getattr(self, name)!r}")


class BatchLoader:
    """Epochs of batches. Each `for` over it is one epoch, shuffled anew; a broken off one is begun again.

    The workers don't pause between epochs: `prefetch` batches of the next one are filled by then, unless its parts would
    have to be fetched from a URL.

    Args:
        source: a store, its path or URL, several of these, or an `Order` of them with its own seed and options.
        batch_size: samples in a batch.
        workers: how many fill batches; 0 fills each when it is asked for, in the trainer's thread.
        prefetch: batches filled ahead; by default two for each worker.
        pin_memory: whether the buffers are pinned for copies to a CUDA device.
        options: what is in a batch, and who fills it.
        cache: where parts of URLs are kept, and how many; None for the defaults.

    Raises:
        StoreError: a store is missing, unfinished or damaged.
        ValueError: an option is out of range, or there is a cache for what is no URL.
    """

    def __init__(
        self,
        source: Order | Store | str | Path | Sequence[Store | str | Path],
        batch_size: int = 8,
        workers: int = 2,
        prefetch: int | None = None,
        *,
        pin_memory: bool = False,
        options: BatchOptions | None = None,
        cache: CacheOptions | None = None,
    ) -> None:
        if workers < 0 or (prefetch is not None and prefetch < 1):
            raise ValueError(f"workers is at least 0 and prefetch at least 1, not {workers} and {prefetch}")
        self._options = options or BatchOptions()
        order = _as_order(source, cache)
        self._batching = Batching(
            batch_size=batch_size, tail=self._options.tail, ranks=self._options.ranks or Ranks.current()
        )
        self._plan = order.plan(self._batching)
        self._delivered = 0
        self._prefetch = prefetch or max(2 * workers, 1)
        self._num_workers = workers
        self._pin_memory = pin_memory
        self._setup = _make_setup(order, batch_size, self._options, self._prefetch + MAX_LENT)
        self._ring: Ring | None = None
        self._end: Callable[[], object] | None = None
        self._running: Generator[Batch, None, None] | None = None

    def __len__(self) -> int:
        """Return how many batches the whole epoch gives this rank, also after going on in the middle of it."""
        return len(self._plan.whole_epoch())

    @property
    def epoch(self) -> int:
        """The coming, or running, epoch."""
        return self._plan.epoch

    def __iter__(self) -> Iterator[Batch]:
        """Go through the coming epoch; an iteration that is still under way ends.

        Raises:
            SampleError: a sample can't be read, in the trainer's thread.
            RuntimeError: a worker died.
        """
        if self._running is not None:
            self._running.close()
        self._leave_finished_epoch()
        self._running = self._epoch()
        return self._running

    def state_dict(self) -> dict[str, Any]:
        """Return the place after the batches delivered so far, as JSON values."""
        return self._plan.state_after(self._delivered)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, perhaps with another batch size, world size or number of workers.

        Raises:
            StoreError: a store is not the one it was.
            ValueError: the state is of another order, or no state.
        """
        self._plan = self._plan.order.resume(state, self._batching)
        self._delivered = 0

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; a resumed place in that very epoch is kept."""
        self._leave_finished_epoch()
        if epoch != self._plan.epoch:
            self._plan = self._plan.order.plan(self._batching, epoch)
            self._delivered = 0

    def close(self) -> None:
        """End the workers. The next iteration starts new ones; batches that are held stay valid."""
        if self._ring is not None and self._end is not None:
            # Done once, it lets go of the ring, and with it of the memory for batches; and so does a broken off iteration.
            self._end()
            self._ring = self._end = self._running = None

    def _leave_finished_epoch(self) -> None:
        """Go to the next epoch after the last batch: who knows the length (Lightning) asks for no further one."""
        if 0 < len(self._plan) == self._delivered:
            self._plan = self._plan.next_epoch()
            self._delivered = 0

    def _epoch(self) -> Generator[Batch, None, None]:
        plan = self._plan
        self._delivered = 0
        if self._ring is None:
            self._ring = Ring(self._setup, self._num_workers, self._options.mode, pin_memory=self._pin_memory)
            self._end = weakref.finalize(self, self._ring.close)
        ring = self._ring
        filled = ring.fill(plan)
        try:
            # Counted when handed over: what is only filled ahead is not consumed. No name is given to a batch here,
            # or it would be held until the next one.
            for self._delivered in range(1, len(plan) + 1):
                if ring.is_closed:
                    raise RuntimeError("the BatchLoader was closed during this iteration")
                yield next(filled)
        except (RuntimeError, KeyboardInterrupt, SystemExit):
            # Also where a signal ended the wait for a batch: half of a message may have been read.
            self.close()
            raise
        self._plan = plan.next_epoch()
        self._delivered = 0


def _as_order(
    source: Order | Store | str | Path | Sequence[Store | str | Path], cache: CacheOptions | None
) -> Order:
    if isinstance(source, Order):
        if cache is not None:
            raise ValueError(
                "the stores of an Order are open already, with caches of their own: leave out cache="
            )
        return source
    several = [source] if isinstance(source, Store | str | Path) else source
    stores = [open_store(store, cache) for store in several]
    # A batch of one store has one dataset_type, as the contract says.
    return Order([SampleIndex(store) for store in stores], OrderOptions(batches_of="store"))


def _make_setup(order: Order, batch_size: int, options: BatchOptions, num_slots: int) -> Setup:
    stores = tuple(_store_of(index) for index in order.mixture.indexes)
    stay = stay_in_memory(sum(store.num_bytes for store in set(stores)))
    for store in stores:
        store.stays_in_memory = stay
    layouts = tuple(
        ArrayLayout.of(store.array_layout(batch_size, options.tensors, compact=options.compact))
        for store in stores
    )
    return Setup(
        stores=stores,
        layouts=layouts,
        tensors=options.tensors,
        expressions=options.expressions,
        compact=options.compact,
        seed=order.mixture.options.seed,
        num_slots=num_slots,
        slot_bytes=max(layout.slot_bytes for layout in layouts),
    )


def _store_of(index: SampleIndex) -> Store:
    if not isinstance(index.store, Store):
        raise ValueError(f"batches are read from a loader.Store, not from {index.store!r}")
    return index.store
