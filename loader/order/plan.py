"""Which samples a rank gets in which batch: a pure function, exactly resumable from a few numbers. numpy only.

Every lane of the mixture is one global sequence of samples, the same for any number of ranks and any batch size. A
step takes the next batch_size * world_size samples of one lane, the same lane on every rank; rank r gets the r-th
slice. So a place in an epoch is how many samples of each lane are consumed, and nothing else.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from ..format.errors import StoreError
from .clips import check_choice
from .index import SampleIndex
from .interleave import Interleaving
from .mixture import Mixture, OrderOptions
from .picks import Picks

STATE_VERSION = 1

_STEPS_AT_ONCE = 64
"""Steps that are put in order at once where batches are asked for one after the other."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of the processes of a training this is."""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} of {self.world_size} ranks")

    @classmethod
    def current(cls) -> "Ranks":
        """Return what `torch.distributed` says; the only rank where this is no process of several.

        Raises:
            RuntimeError: WORLD_SIZE says that there are several, as torchrun sets it, but there is no process group yet:
                each would take itself for the only one, and all would train on the same samples.
        """
        ranks = cls.of_group()
        world_size = os.environ.get("WORLD_SIZE", "")
        if ranks is None and world_size.isdecimal() and int(world_size) > 1:
            raise RuntimeError(
                f"WORLD_SIZE is {world_size}, but torch.distributed has no process group, so which rank this is can't be "
                "told: call init_process_group before the first iteration, or give ranks=Ranks(rank, world_size)"
            )
        return ranks or cls()

    @classmethod
    def of_group(cls) -> "Ranks | None":
        """Return what the process group of `torch.distributed` says; None where it is not imported or initialised."""
        distributed = sys.modules.get("torch.distributed")
        if distributed is None or not distributed.is_available() or not distributed.is_initialized():
            return None
        return cls(distributed.get_rank(), distributed.get_world_size())


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How the sequence is cut; nothing here changes the sequence, and a resumed run may change all of it."""

    batch_size: int
    """Samples in a batch of one rank."""
    tail: Literal["drop", "wrap", "keep"] = "drop"
    """What becomes of the last samples of a lane, too few for a batch on every rank. "drop" leaves them out of this
    epoch; "wrap" fills up with the lane's first samples of this epoch; both give every rank equally many batches, all
    full. "keep", for evaluation, deals them out: no sample twice, none lost, and ranks differ by one sample at most."""
    ranks: Ranks = Ranks()

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is at least 1, not {self.batch_size}")
        check_choice("tail", self.tail, ("drop", "wrap", "keep"))

    @property
    def step(self) -> int:
        """Samples of all ranks' batches together."""
        return self.batch_size * self.ranks.world_size


class Order:
    """The order of the samples of one store or several.

    Args:
        indexes: the stores, and which of their samples take part.
        options: seed, shuffle, weights.

    Raises:
        ValueError: the options don't fit the stores.
    """

    def __init__(self, indexes: Sequence[SampleIndex], options: OrderOptions | None = None) -> None:
        self.options = options or OrderOptions()
        self.mixture = Mixture(indexes, self.options)

    def plan(
        self, batching: Batching, epoch: int = 0, consumed: tuple[int, ...] | None = None
    ) -> "EpochPlan":
        """Return an epoch's batches, from its beginning or from where `consumed` samples of each lane are done.

        Raises:
            ValueError: an epoch has too few samples of a lane for one batch on every rank.
        """
        if epoch < 0:
            raise ValueError(f"epochs are counted from 0, not {epoch}")
        start = consumed or (0,) * len(self.mixture.lanes)
        plan = EpochPlan(self, batching, epoch, start)
        if consumed is None and not all(plan.steps.counts):
            size = min(self.mixture.lane_sizes)
            raise ValueError(
                f"an epoch has {size} samples of a kind, too few for batches of {batching.batch_size} on "
                f'{batching.ranks.world_size} ranks: use a smaller batch, or tail="wrap"'
            )
        return plan

    def state(self, epoch: int, consumed: Sequence[int]) -> dict[str, Any]:
        """Return a place in the order as JSON values."""
        return {
            "version": STATE_VERSION,
            "seed": self.options.seed,
            "epoch": epoch,
            "consumed": list(consumed),
            "options": self.options.describe(),
            "selections": [index.describe() for index in self.mixture.indexes],
            "stores": [index.digest for index in self.mixture.indexes],
        }

    def resume(self, state: Mapping[str, Any], batching: Batching) -> "EpochPlan":
        """Return the batches that follow a state; the next epoch's where this one has none left.

        Raises:
            StoreError: a store is not the one it was.
            ValueError: the state is of another order, or no state.
        """
        expected = self.state(0, ())
        is_state = isinstance(state, Mapping) and state.keys() == expected.keys()
        lists = [state["consumed"], state["stores"]] if is_state else []
        if (
            not is_state
            or type(state["epoch"]) is not int
            or not all(isinstance(one, Sequence) for one in lists)
        ):
            raise ValueError(f"not the state of an order: {state!r:.200}")
        for name in ("version", "seed", "options", "selections"):
            if state[name] != expected[name]:
                raise ValueError(
                    f"the state is of another order: its {name} was {state[name]!r}, now it is {expected[name]!r}"
                )
        if state["stores"] != expected["stores"]:
            raise StoreError(self._changed(state["stores"]))
        epoch, consumed, sizes = state["epoch"], tuple(state["consumed"]), self.mixture.lane_sizes
        if len(consumed) != len(sizes) or not all(
            isinstance(done, int) and 0 <= done <= size for done, size in zip(consumed, sizes, strict=True)
        ):
            raise ValueError(f"the state can't be: {consumed} samples consumed of {sizes}")
        plan = self.plan(batching, epoch, consumed)
        return plan if len(plan.steps) else self.plan(batching, epoch + 1)

    def _changed(self, before: Sequence[str]) -> str:
        indexes = self.mixture.indexes
        if len(before) != len(indexes):
            return f"the state is of {len(before)} stores, not of {len(indexes)}: give the same ones again"
        changed = [one.store for one, digest in zip(indexes, before, strict=True) if one.digest != digest]
        return f"{changed} changed since the state was saved, so its place means nothing there: start anew"


@dataclass(frozen=True)
class EpochPlan:
    """The batches of one rank, from some place of an epoch to its end."""

    order: Order
    batching: Batching
    epoch: int
    consumed: tuple[int, ...]
    """Samples of each lane that are done, of all ranks together."""

    def __len__(self) -> int:
        """Return how many batches this rank gets; with tail "keep" others may get one more or less of each lane."""
        return len(self._own_steps)

    def __iter__(self) -> Iterator[Picks]:
        for first in range(0, len(self), _STEPS_AT_ONCE):
            lanes, steps = self._own_steps.items(first, min(first + _STEPS_AT_ONCE, len(self)))
            yield from map(self._pick, lanes.tolist(), steps.tolist())

    def batch(self, number: int) -> Picks:
        """Return a batch of this rank, counted from 0 at the place where the plan begins.

        Raises:
            IndexError: there is no such batch.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"batch {number} of a plan of {len(self)} batches")
        lanes, steps = self._own_steps.items(number, number + 1)
        return self._pick(int(lanes[0]), int(steps[0]))

    def _pick(self, lane: int, step: int) -> Picks:
        """Return this rank's batch of a lane's step."""
        first, stop = self._slice(lane, step)
        size = self.order.mixture.lane_sizes[lane]
        laps = range(first // size, -(-stop // size))
        spans = [(max(first - lap * size, 0), min(stop - lap * size, size)) for lap in laps]
        return Picks.join([self.order.mixture.pick(lane, self.epoch, *span) for span in spans])

    def state_after(self, number: int) -> dict[str, Any]:
        """Return the state when `number` batches of this plan are done; after the last, the next epoch's beginning."""
        if number >= len(self):
            return self.order.state(self.epoch + 1, (0,) * len(self.consumed))
        lanes, steps = self._own_steps.items(number, number + 1)
        lane, time = int(lanes[0]), self.steps.time(int(lanes[0]), int(steps[0]))
        # Steps in which this rank has no batch are over, too, when its next one comes.
        done = self.steps.earlier(time)
        for other in range(lane):
            if done[other] < self.steps.counts[other] and self.steps.time(other, done[other]) == time:
                done[other] += 1
        sizes = zip(self.consumed, done, self.order.mixture.lane_sizes, strict=True)
        return self.order.state(
            self.epoch, [min(start + steps * self.batching.step, size) for start, steps, size in sizes]
        )

    def next_epoch(self) -> "EpochPlan":
        """Return the whole next epoch."""
        return self.order.plan(self.batching, self.epoch + 1)

    @cached_property
    def steps(self) -> Interleaving:
        """The steps of all ranks: one sequence for each lane."""
        step, sizes = self.batching.step, self.order.mixture.lane_sizes
        left = [size - start for size, start in zip(sizes, self.consumed, strict=True)]
        counts = [n // step if self.batching.tail == "drop" else -(-n // step) for n in left]
        return Interleaving(tuple(counts), sizes, self.consumed, step)

    @cached_property
    def _own_steps(self) -> Interleaving:
        """The steps in which this rank has a batch: all, but perhaps for the last of a lane."""
        counts = []
        for lane, count in enumerate(self.steps.counts):
            first, stop = self._slice(lane, count - 1) if count else (0, 1)
            counts.append(count if stop > first else count - 1)
        return replace(self.steps, counts=tuple(counts))

    def _slice(self, lane: int, step: int) -> tuple[int, int]:
        """Return the positions of this rank's batch in a step: first, and one after the last."""
        ranks = self.batching.ranks
        first = self.consumed[lane] + step * self.batching.step
        size = self.batching.step
        if self.batching.tail == "keep":
            size = min(size, self.order.mixture.lane_sizes[lane] - first)
        start, stop = (rank * size // ranks.world_size for rank in (ranks.rank, ranks.rank + 1))
        return first + start, first + stop


class EpochWalk:
    """A place in an order, which goes on from epoch to epoch: what hands batches out begins as this."""

    def __init__(self, plan: EpochPlan) -> None:
        self._plan = plan
        # Batches of the plan that were handed out.
        self._done = 0

    def __len__(self) -> int:
        """Return how many batches the whole epoch gives this rank, also after going on in the middle of it."""
        plan = self._plan
        return len(replace(plan, consumed=(0,) * len(plan.consumed), batching=self._known_batching()))

    @property
    def epoch(self) -> int:
        """The coming, or running, epoch."""
        return self._plan.epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the place after the batches handed out so far, as JSON values: also after an error, or in a signal handler."""
        return self._plan.state_after(self._done)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, perhaps with another batch size, world size or number of workers.

        Raises:
            StoreError: a store is not the one it was.
            ValueError: the state is of another order, or no state.
        """
        self._go_to(self._plan.order.resume(state, self._known_batching()))

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; a resumed place in that very epoch is kept.

        Raises:
            ValueError: it is below 0.
        """
        self._leave_finished_epoch()
        if epoch != self._plan.epoch:
            self._go_to(self._plan.order.plan(self._known_batching(), epoch))

    def _known_batching(self) -> Batching:
        """Return how epochs are cut, as far as is known now."""
        return self._plan.batching

    def _go_to(self, plan: EpochPlan) -> None:
        self._plan, self._done = plan, 0

    def _leave_finished_epoch(self) -> None:
        """Go to the next epoch after the last batch: who knows the length, as Lightning does, asks for no further one."""
        if 0 < len(self._plan) == self._done:
            self._plan, self._done = self._plan.next_epoch(), 0
