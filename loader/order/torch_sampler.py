"""An order as a `batch_sampler` of torch's `DataLoader`. It needs no torch itself."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .picks import Picks
from .plan import Batching, EpochPlan, EpochWalk, Order


class BatchSampler(EpochWalk):
    """Batches of picks for an `OrderDataset`, or of sample numbers, epoch after epoch.

    One store's numbers are its own, for `SampleDataset`; those of several follow each other, for a `ConcatDataset` of
    their datasets in the same order. What is drawn of a unit no number tells: there are picks. Going through it to the end
    leads to the next epoch; stopping early, back to where this round began. A `DataLoader` with workers asks for batches
    ahead of the trainer: there, count the batches trained on and save `state_after(count)`, not `state_dict()`.

    Args:
        order: of the samples.
        batching: how it is cut.
        picks: whether to yield `Picks`; None where samples of a store are drawn.

    Raises:
        ValueError: numbers are asked for, and samples are drawn; or as of `Order.plan`.
    """

    def __init__(self, order: Order, batching: Batching, *, picks: bool | None = None) -> None:
        is_drawn = any(index.draw is not None for index in order.mixture.indexes)
        if is_drawn and picks is False:
            raise ValueError("samples of this order are drawn, which no number tells: leave out picks=False")
        self._yields_picks = is_drawn or bool(picks)
        super().__init__(order.plan(batching))
        self._round = self._plan
        sizes = [index.num_numbers for index in order.mixture.indexes]
        self._offsets = np.cumsum([0, *sizes[:-1]])

    def __iter__(self) -> Iterator[list[int] | Picks]:
        self._leave_finished_epoch()
        plan = self._round = self._plan
        self._done = 0
        for number in range(len(plan)):
            self._done = number + 1
            picks = plan.batch(number)
            yield picks if self._yields_picks else (self._offsets[picks.store] + picks.sample).tolist()
        if self._plan is plan:
            # Also where this rank had no batch at all.
            self._plan, self._done = plan.next_epoch(), 0

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; a resumed place in that epoch is kept."""
        super().set_epoch(epoch)
        # Also where the epoch before led here already.
        self._round = self._plan

    def state_after(self, number: int) -> dict[str, Any]:
        """Return the place after `number` batches of this round, as JSON values.

        A round lasts until the next one is begun: its last batches are trained on after they were asked for.
        """
        return self._round.state_after(number)

    def _go_to(self, plan: EpochPlan) -> None:
        """Go to a place: where the coming round begins, and the one that states are of until then."""
        super()._go_to(plan)
        self._round = plan
