"""Buffers for rows that are decoded on their way into a batch, one for each thread and use: they stay in the processor's cache."""

import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class DecodeBuffers(threading.local):
    """Arrays that a thread uses again and again."""

    def __init__(self) -> None:
        self._rooms: dict[tuple[str, tuple[int, ...]], NDArray[Any]] = {}

    def of(self, shape: tuple[int, ...], use: str, dtype: DTypeLike = np.uint8) -> NDArray[Any]:
        """Return this thread's array of a shape for a use, each of one dtype; it holds whatever was left in it."""
        room = self._rooms.get((use, shape))
        if room is None:
            room = self._rooms[use, shape] = np.empty(shape, dtype)
        return room


DECODE_BUFFERS = DecodeBuffers()
