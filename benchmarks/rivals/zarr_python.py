"""zarr-python: rows of our store one at a time."""

import os
from typing import Any

import numpy as np
import zarr
from case import STORED, Rows, TorchCase, deliver, list_places


class ZarrPython(TorchCase):
    """One row of each array at a time, in torch's loader. Small arrays are read once."""

    _opened: tuple[int, Any] = (0, None)

    def _parts(self) -> Any:
        # Its event loop does not survive a fork: each worker opens the store for itself.
        if self._opened[0] != os.getpid():
            parts = []
            for folder in sorted((self.folder / "store.zarr").glob("part-*")):
                group = zarr.open_group(folder, mode="r")
                arrays = {name: group[path] for name, path in STORED.items()}
                arrays["prompt_masks"] = arrays["prompt_masks"][:]
                parts.append(arrays)
            self._opened = (os.getpid(), parts)
        return self._opened[1]

    def dataset(self) -> Any:
        places = list_places(self.folder)

        def read(sample: int) -> dict[str, Any]:
            part, row = places[sample]
            return deliver({name: np.asarray(array[row]) for name, array in self._parts()[part].items()})

        return Rows(len(places), read)
