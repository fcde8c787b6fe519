"""Single images that are stored compact, unpacked by the compiled core where there is one."""

import numpy as np
from numpy.typing import NDArray

from ..format.gradient import unpack_gradient
from ..format.shard import CHECKSUM_BYTES
from .core import CORE, DONE, Action


def unpack_image(packed: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Do what `loader.format.gradient.unpack_gradient` does; arguments and errors are its own."""
    fits = out.ndim == 3 and out.shape[0] == 3 and out.size and out.dtype == np.uint8 and out.flags.carray
    fits = fits and packed.ndim == 1 and packed.dtype == np.uint8 and packed.flags.c_contiguous
    if CORE is None or not fits:
        unpack_gradient(packed, out)
        return
    # The bytes of a checksum follow a row; they are not compared.
    file = np.append(packed, np.zeros(CHECKSUM_BYTES, np.uint8))
    span = np.array([[0, file.size]], np.int64)
    _, height, width = out.shape
    (state,) = CORE.fill_rows(Action.UNPACK, [file], span, out, height, width, None, None, False)
    if state != DONE:
        raise ValueError(f"{len(packed)} bytes are no packed image of {height} x {width}")
