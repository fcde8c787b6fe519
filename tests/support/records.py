"""What a source gives, read as a run reads it."""

import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resizeonce.preprocess.sources.base import Source
from resizeonce.preprocess.sources.records import Frame


def read(source: Source) -> list[Any]:
    """Return everything the source reports, scenes sent through pickle as to a worker."""
    records: list[Any] = [*source.rejects, *source.skips]
    for index in range(len(source)):
        records += pickle.loads(pickle.dumps(source[index])).read()
    return records


def of_type(kind: type, records: Iterable[Any]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def masks_by_key(records: Iterable[Any]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return the masks of each image, by its key and their ids."""
    return {
        frame.key: {mask.object_id: mask.segmentation.decode() for mask in frame.masks}
        for frame in of_type(Frame, records)
    }
