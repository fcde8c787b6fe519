"""The two loops that turn stored rows into what the trainer gets, compiled: one pass from the row to its place.

numpy needs four passes over memory for the same normalisation. No fast-math: each step rounds as in
`loader.tensors.normalize_into`, so the bits are the same.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def normalize(
    stored: NDArray[np.uint8], mean: NDArray[np.float32], std: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Write (stored / 255 - mean) / std into `out`.

    Args:
        stored: uint8 [3, N].
        mean: float32 [3].
        std: float32 [3].
        out: float32 [3, N].
    """
    for channel in range(3):
        channel_mean, channel_std = mean[channel], std[channel]
        for i in range(stored.shape[1]):
            out[channel, i] = (np.float32(stored[channel, i]) / np.float32(255) - channel_mean) / channel_std


@njit(cache=True, nogil=True)
def widen(stored: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """Write values 0 and 1, uint8 [N], into `out`, float32 [N]."""
    for i in range(stored.size):
        out[i] = np.float32(stored[i])
