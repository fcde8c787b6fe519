"""Every compiled loop of the loader, loaded, or compiled where that was never done on this machine.

`python -m loader.warm` does so once for all later runs, which takes some ten seconds.
"""

import numpy as np

from loader.native import native_loops
from preprocess.gradient import pack_gradient, unpack_gradient


def load_compiled_loops(*, compact_images: bool = True) -> None:
    """Load the loops before they are needed: where workers are forked, once for all of them.

    Args:
        compact_images: whether also those for images that are stored compact, for which numba has to be imported.
    """
    native_loops()
    if compact_images:
        unpack_gradient(pack_gradient(np.zeros((3, 1, 1), np.uint8)), np.empty((3, 1, 1), np.uint8))


if __name__ == "__main__":
    load_compiled_loops()
