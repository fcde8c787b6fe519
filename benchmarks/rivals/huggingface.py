"""Hugging Face datasets: Arrow files, mapped, as numpy arrays of uint8, which it makes int64 unless it is told not to."""

from typing import Any

import datasets
import numpy as np
from case import COMPACT_SHAPES, Rows, TorchCase, compact_rows, expand


class HuggingFace(TorchCase):
    """Its table in torch's loader."""

    def prepare(self) -> None:
        shaped = {2: datasets.Array2D, 3: datasets.Array3D}
        features = {name: shaped[len(shape)](shape, "uint8") for name, shape in COMPACT_SHAPES.items()}
        dataset = datasets.Dataset.from_generator(
            compact_rows,
            gen_kwargs={"folder": self.folder},
            features=datasets.Features(features),
            cache_dir=str(self.folder / "hf-cache"),
            writer_batch_size=16,
        )
        dataset.save_to_disk(str(self.folder / "hf"))

    def dataset(self) -> Any:
        samples = datasets.load_from_disk(str(self.folder / "hf")).with_format("numpy", dtype=np.uint8)
        return Rows(len(samples), lambda row: expand(samples[row]))
