"""WebDataset: tar files of .npy members, read in sequence and shuffled in a buffer."""

from typing import Any

import webdataset
from case import TENSORS, TorchCase, compact_rows, expand


def _finish(sample: dict[str, Any]) -> dict[str, Any]:
    return expand({name: sample[f"{name}.npy"] for name in TENSORS})


class WebDataset(TorchCase):
    """Its dataset, which shuffles by itself, in torch's loader."""

    def prepare(self) -> None:
        out = self.folder / "wds"
        out.mkdir()
        with webdataset.ShardWriter(f"{out}/%05d.tar", maxcount=24, verbose=0) as sink:
            for row, compact in enumerate(compact_rows(self.folder)):
                members = {f"{name}.npy": array for name, array in compact.items()}
                sink.write({"__key__": f"{row + 1:06}"} | members)

    def dataset(self) -> Any:
        urls = sorted(map(str, (self.folder / "wds").glob("*.tar")))
        return webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(32).decode().map(_finish)

    def options(self) -> dict[str, Any]:
        return {}
