"""Every compiled loop of the loader, loaded, or compiled where that was never done on this machine.

`python -m loader.warm` does so once for all later runs, which takes some ten seconds.
"""

from functools import cache

import numpy as np

from loader.passes import load_passes
from loader.rows import load_row_loops
from preprocess.gradient import pack_gradient, unpack_gradient


@cache
def load_compiled_loops() -> None:
    """Load each loop, before workers are forked that would each do so."""
    load_passes()
    load_row_loops()
    unpack_gradient(pack_gradient(np.zeros((3, 1, 1), np.uint8)), np.empty((3, 1, 1), np.uint8))


if __name__ == "__main__":
    load_compiled_loops()
