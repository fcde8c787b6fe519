"""The compiled loops of a batch, made where that was never done on this machine.

`python -m resizeonce.loader.kernels.warm` does so once for all later runs, which takes some ten seconds.
"""

from .native import native_loops

if __name__ == "__main__":
    native_loops()
