"""The floor that memory sets, for `cases.py`."""

import multiprocessing
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

import case
import numpy as np
from numpy.typing import NDArray

from resizeonce.loader.kernels.core import CORE, Action

ROWS = 128
"""Rows kept in memory: many times the processor's caches."""
NORM = np.array([*case.MEAN, *case.STD, 255], np.float32)


class Floor(case.Case):
    """Rows in memory; each worker fills two buffers of its own in turn and reads them as the consumer does.

    Args:
        folder: as everywhere.
        workers: how many.
        processes: whether they are processes or threads.
    """

    def __init__(self, folder: Path, workers: int, *, processes: bool) -> None:
        super().__init__(folder, workers)
        self._processes = processes
        self._rows = {name: np.array(array[:ROWS]) for name, array in case.compact_arrays(folder).items()}
        self._rows["masks"] = np.unpackbits(self._rows["masks"], axis=2)
        # The core's rows are followed by four bytes of a checksum, which is not compared here.
        self._files = {
            name: np.append(rows.reshape(-1), np.zeros(4, np.uint8)) for name, rows in self._rows.items()
        }

    def batches(self, epoch: int) -> Iterator[case.Arrays]:
        batch = case.new_batch()
        for start in range(0, ROWS, case.BATCH_SIZE):
            self._fill(batch, range(start, start + case.BATCH_SIZE))
            yield batch

    def time(self, seconds: float, *, busy: bool = False) -> tuple[int, float]:
        if busy:
            # The trainer alone gets the same batch again and again.
            batch = next(self.batches(0))
            return case.time_epochs(repeat([batch]), case.TENSORS, seconds, busy=True)
        started = time.perf_counter()
        for pipe in self._pipes:
            pipe.send(seconds)
        batches = sum(pipe.recv() for pipe in self._pipes)
        return batches * case.BATCH_SIZE, time.perf_counter() - started

    @cached_property
    def _pipes(self) -> list[Any]:
        """One to each worker."""
        start = multiprocessing.get_context("fork").Process if self._processes else threading.Thread
        pipes = []
        for _ in range(self.workers):
            ours, theirs = multiprocessing.Pipe()
            start(target=self._serve, args=(theirs,), daemon=True).start()
            pipes.append(ours)
        return pipes

    def _serve(self, pipe: Any) -> None:
        """Fill batches for so long as each message says, and answer how many that were."""
        buffers, rng = [case.new_batch(), case.new_batch()], np.random.default_rng()
        for batch in buffers:
            # Their pages are made here.
            self._fill(batch, range(case.BATCH_SIZE))
        with suppress(EOFError):
            while True:
                end, number = time.perf_counter() + pipe.recv(), 0
                while time.perf_counter() < end:
                    batch = buffers[number % 2]
                    self._fill(batch, rng.integers(0, ROWS, case.BATCH_SIZE).tolist())
                    case.consume(batch)
                    number += 1
                pipe.send(number)

    def _fill(self, batch: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> None:
        assert CORE is not None
        for name, action in (("pixel_values", Action.NORMALIZE), ("g_pixel_values", Action.COPY)):
            out, size = batch[name], self._rows[name][0].nbytes
            spans = np.array([(row * size, size + 4) for row in rows], np.int64)
            CORE.fill_rows(
                action, [self._files[name]] * len(rows), spans, out, *out.shape[2:], NORM, None, False
            )
        batch["prompt_masks"][:] = self._rows["prompt_masks"][rows]
        for row, out in zip(rows, batch["masks"], strict=True):
            CORE.widen(self._rows["masks"][row], out)
