"""Batches at the speed of memory: workers fill a ring of buffers that are made once and used again.

A batch is the trainer's for as long as any of its tensors lives: a buffer goes back to the ring when the last of them
is gone. Who keeps more than two batches gets copies of the further ones, so nothing is ever overwritten and nothing
waits for ever.
"""

import operator
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..batch import Batch
from ..cache.part_cache import CacheOptions
from ..fill import SampleError, choose_views
from ..kernels.core import warn_without_core
from ..order.clips import check_choice
from ..order.index import SampleIndex
from ..order.mixture import OrderOptions
from ..order.plan import Batching, EpochPlan, EpochWalk, Order, Ranks
from ..readahead.free_memory import stay_in_memory
from ..store import Store, open_store
from .damage import SkippedSamples
from .ring import MAX_LENT, Ring
from .worker import Setup, layout_for

MAX_TIMEOUT = 1_000_000
"""Longest time to wait for a batch in seconds: what a system call takes, rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """What is in a batch, and who fills it."""

    tail: Literal["drop", "wrap", "keep"] = "drop"
    """What becomes of the last samples, too few for a full batch on every rank; see `Batching`."""
    ranks: Ranks | None = None
    """Which process of the training this is; None asks `torch.distributed` when the first iteration begins."""
    tensors: tuple[str, ...] | None = None
    """Which of the recipe's views to read, "sources" among them where a store has the files of images; None for all."""
    expressions: Literal["all", "first", "drawn"] = "all"
    """Which phrases of an object to give; "drawn" is one, by seed, epoch and sample."""
    compact: bool = False
    """Whether batches are `CompactBatch`es, for `to_device`."""
    on_damage: Literal["raise", "skip"] = "raise"
    """What becomes of a sample whose row or part is damaged: an error, or the next sample of its batch that can be read stands
    in for it, so that the batch has it twice. That is warned of once for each part, and counted (`BatchLoader.skipped`)."""
    mode: Literal["process", "thread"] = "process"
    """Threads start at once and take less memory, but wait for the trainer's Python code."""

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("process", "thread"))
        check_choice("expressions", self.expressions, ("all", "first", "drawn"))
        check_choice("on_damage", self.on_damage, ("raise", "skip"))


class BatchLoader(EpochWalk):
    """Epochs of batches. Each `for` over it is one epoch, shuffled anew; a broken off one is begun again.

    The workers don't pause between epochs: `prefetch` batches of the next one are filled by then, unless its parts would
    have to be fetched from a URL. One iteration is valid at a time, the last one begun: earlier ones raise.

    A copy, by `copy.deepcopy` or `pickle`, has the same state and goes through the same epochs; it has no workers until it
    is iterated. So has the loader itself in a process that was forked. One thread at a time iterates.

    Args:
        source: a store, its path or URL, several of these, or an `Order` of them with its own seed and options. A
            `Store(path, check_rows=False)` leaves out checksums.
        batch_size: samples in a batch.
        workers: how many fill batches; 0 fills each when it is asked for, in the trainer's thread.
        prefetch: batches filled ahead; by default two for each worker.
        pin_memory: whether the buffers are pinned for copies to a CUDA device.
        timeout: seconds to wait for a batch of a worker before that is an error, its start included; 0 for as long as it
            takes.
        options: what is in a batch, and who fills it.
        cache: where parts of URLs are kept, and how many; None for the defaults.

    Raises:
        StoreError: a store is missing, unfinished or damaged.
        TypeError: one that counts is no whole number.
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
        timeout: float = 0,
        options: BatchOptions | None = None,
        cache: CacheOptions | None = None,
    ) -> None:
        # As Python's own: what computes with them may be a tensor's arithmetic else, and a state is JSON.
        batch_size, workers = operator.index(batch_size), operator.index(workers)
        prefetch = None if prefetch is None else operator.index(prefetch)
        if workers < 0 or (prefetch is not None and prefetch < 1):
            raise ValueError(f"workers is at least 0 and prefetch at least 1, not {workers} and {prefetch}")
        if not 0 <= timeout <= MAX_TIMEOUT:
            raise ValueError(f"timeout is from 0 to {MAX_TIMEOUT} seconds, not {timeout}")
        warn_without_core()
        self._options = options or BatchOptions()
        order = _as_order(source, cache)
        ranks = self._options.ranks or Ranks.of_group() or Ranks()
        batching = Batching(batch_size=batch_size, tail=self._options.tail, ranks=ranks)
        super().__init__(order.plan(batching))
        self._prefetch = prefetch or max(2 * workers, 1)
        self._num_workers = workers
        self._pin_memory = pin_memory
        self._timeout = timeout or None
        # Where nothing is repeated, a batch has no more samples than there are of its kind.
        most = batch_size if self._options.tail == "wrap" else min(batch_size, max(order.mixture.lane_sizes))
        self._setup = make_setup(order, most, self._options, self._prefetch + MAX_LENT)
        self._skipped = SkippedSamples()
        self._forget_workers()

    def _forget_workers(self) -> None:
        """Be as one that was never iterated: a new one, a copy, or one in a process that was forked."""
        self._ring: Ring | None = None
        self._end: Callable[[], object] | None = None
        self._process = os.getpid()
        self._has_begun = False
        # Not the iteration itself: it holds this loader, and workers would stay until that circle is found.
        self._running: Callable[[], _Iteration | None] = lambda: None

    def __getstate__(self) -> dict[str, Any]:
        own = ("_ring", "_end", "_process", "_has_begun", "_running", "_skipped")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._skipped = SkippedSamples()
        self._forget_workers()

    @property
    def skipped(self) -> int:
        """How many damaged samples others stood in for since the loader was made, with `on_damage="skip"`."""
        return self._skipped.count

    @property
    def skipped_samples(self) -> list[SampleError]:
        """Those samples, each once, as the errors that they would have been."""
        return list(self._skipped.samples.values())

    def __iter__(self) -> Iterator[Batch]:
        """Go through the coming epoch; an iteration that is still under way raises when it is asked for its next batch.

        Raises:
            SampleError: a sample can't be read; with `on_damage="skip"`, none of its batch can, or not for damage. Raised in
                the trainer's thread.
            RuntimeError: a worker died or timed out, another iteration began or the loader was closed meanwhile; or, at the
                beginning, there is too little memory, which rank this is can't be told, or it is another one than before.
        """
        if self._process != os.getpid():
            # Forked: what is here belongs to the other process. Dropping it there would end that one's workers.
            if self._end is not None:
                self._end()
            self._forget_workers()
        self._check_rank()
        self._leave_finished_epoch()
        self._go_to(self._plan_from_here())
        self._has_begun = True
        if self._ring is None:
            ring = Ring(
                self._setup,
                self._skipped,
                self._num_workers,
                self._options.mode,
                pin_memory=self._pin_memory,
                timeout=self._timeout,
            )
            self._ring, self._end = ring, weakref.finalize(self, ring.close)
        running = _Iteration(self, self._plan, self._ring)
        self._running = weakref.ref(running)
        return running

    def close(self) -> None:
        """End the workers. The next iteration starts new ones; batches that are held stay valid."""
        if self._end is not None:
            # Done once, it lets go of the ring, and with it of the memory for batches.
            self._end()
            self._ring = self._end = None

    def _known_batching(self) -> Batching:
        """Return how epochs are cut, as far as is known now: until an iteration began, the process group may yet come."""
        batching = self._plan.batching
        if self._options.ranks is not None or (self._has_begun and self._process == os.getpid()):
            return batching
        return replace(batching, ranks=Ranks.of_group() or Ranks())

    def _plan_from_here(self) -> EpochPlan:
        """Return the plan that an iteration follows, by which rank this is."""
        plan, batching = self._plan, self._known_batching()
        if plan.batching == batching:
            return plan
        if not any(plan.consumed):
            return plan.order.plan(batching, plan.epoch)
        return plan.order.resume(plan.order.state(plan.epoch, plan.consumed), batching)

    def _check_rank(self) -> None:
        """Raise `RuntimeError` where several processes would train on the same samples."""
        if self._options.ranks is not None:
            return
        now, known = Ranks.current(), self._plan.batching.ranks
        if self._has_begun and now != known:
            raise RuntimeError(
                f"this BatchLoader is of rank {known.rank} of {known.world_size}, and by now torch.distributed has rank "
                f"{now.rank} of {now.world_size}: make a new one, and load_state_dict this one's state_dict to go on"
            )


_CLOSED = "the BatchLoader was closed during this iteration"


class _Iteration(Iterator[Batch]):
    """One time through the rest of an epoch.

    A class, and no generator: no signal comes between counting a batch and handing it over, so that the loader's state is
    right in its handler, too. And no name is left with a batch, which would hold it until the next one.
    """

    def __init__(self, loader: BatchLoader, plan: EpochPlan, ring: Ring) -> None:
        self._loader = loader
        self._plan = plan
        self._ring = ring
        self._filled = ring.fill(plan)
        self._delivered = 0
        self._fault = ""

    def __next__(self) -> Batch:
        loader = self._loader
        if self._delivered == len(self._plan) and not self._fault:
            if loader._running() is self and loader._plan is self._plan:
                loader._go_to(self._plan.next_epoch())
            raise StopIteration
        self._check()
        try:
            batch = next(self._filled)
        except SampleError as err:
            self._fault = f"a sample could not be read: {err}"
            raise
        except BaseException as err:
            self._fault = f"it ended with {err!r}"
            if self._ring.is_closed and isinstance(err, Exception):
                # A signal handler did that, in the middle of anything.
                raise RuntimeError(_CLOSED) from err
            # Also where a signal ended the wait for a batch: half of a message may have been read.
            if loader._ring is self._ring:
                loader.close()
            raise
        self._delivered += 1
        loader._done = self._delivered
        return batch

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an iteration over a BatchLoader can't be copied: copy the BatchLoader")

    def _check(self) -> None:
        """Raise `RuntimeError` unless this iteration may go on."""
        if self._fault:
            raise RuntimeError(f"this iteration over the BatchLoader is over: {self._fault}")
        if self._loader._process != os.getpid() or not self._ring.is_of_this_process:
            raise RuntimeError(
                "this iteration over the BatchLoader is that of the process that this one was forked from: begin a new one"
            )
        if self._loader._running() is not self:
            raise RuntimeError(
                "another iteration over this BatchLoader began during this one (by iter, zip or another loop), and only the "
                "last is valid: make a BatchLoader for each"
            )
        if self._loader._plan is not self._plan:
            raise RuntimeError(
                "the BatchLoader was sent to another place during this iteration, by load_state_dict or set_epoch: begin a "
                "new one there"
            )
        if self._ring.is_closed:
            raise RuntimeError(_CLOSED)


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


def make_setup(order: Order, batch_size: int, options: BatchOptions, num_slots: int) -> Setup:
    """Return what workers need to know, and decide together whether the stores stay in memory."""
    stores = tuple(_store_of(index) for index in order.mixture.indexes)
    stay = stay_in_memory(sum(store.num_bytes for store in set(stores)))
    for store in stores:
        store.stays_in_memory = stay
    views = tuple(choose_views(store, options.tensors) for store in stores)
    # Of a subset workers need only what it says of masks.
    draws = tuple((index.draw, index.subset.of_masks) for index in order.mixture.indexes)
    layouts = tuple(
        layout_for(store, batch_size, names, draw, compact=options.compact)
        for store, names, (draw, _) in zip(stores, views, draws, strict=True)
    )
    return Setup(
        stores=stores,
        layouts=layouts,
        views=views,
        draws=draws,
        expressions=options.expressions,
        compact=options.compact,
        skip_damage=options.on_damage == "skip",
        seed=order.mixture.options.seed,
        num_slots=num_slots,
        slot_bytes=max(layout.slot_bytes for layout in layouts),
    )


def _store_of(index: SampleIndex) -> Store:
    if not isinstance(index.store, Store):
        raise ValueError(f"batches are read from a resizeonce.loader.Store, not from {index.store!r}")
    return index.store
