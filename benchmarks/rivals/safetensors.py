"""safetensors files of 64 samples, mapped, read row by row."""

from functools import cached_property
from typing import Any

import numpy as np
import safetensors.numpy
from case import TENSORS, Rows, TorchCase, compact_arrays, count_rows, expand

ROWS_PER_FILE = 64


class Safetensors(TorchCase):
    """Its slices in torch's loader."""

    def prepare(self) -> None:
        stored, out = compact_arrays(self.folder), self.folder / "safetensors"
        out.mkdir()
        for start in range(0, count_rows(self.folder), ROWS_PER_FILE):
            arrays = {name: np.array(array[start : start + ROWS_PER_FILE]) for name, array in stored.items()}
            safetensors.numpy.save_file(arrays, out / f"{start:06}.safetensors")

    @cached_property
    def _files(self) -> list[Any]:
        paths = sorted((self.folder / "safetensors").glob("*.safetensors"))
        opened = [safetensors.safe_open(path, framework="np") for path in paths]
        return [{name: file.get_slice(name) for name in TENSORS} for file in opened]

    def dataset(self) -> Any:
        def read(row: int) -> dict[str, Any]:
            file, place = self._files[row // ROWS_PER_FILE], row % ROWS_PER_FILE
            return expand({name: file[name][place] for name in TENSORS})

        return Rows(count_rows(self.folder), read)
