"""SA-V as a test reads it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from miniature.sav import Clip
from miniature.shapes import picture_of
from numpy.typing import NDArray

from resizeonce.preprocess.sources.records import Frame, Pair, Record, Reject
from resizeonce.preprocess.sources.sav import Options, SavSource

HEIGHT, WIDTH, LENGTH = 64, 96, 12
ALL_PAIRS = Options(pairs_per_object=1000)


def clip(video_id: str = "sav_000001", length: int = LENGTH) -> Clip:
    return video_id, [picture_of(HEIGHT, WIDTH, seed) for seed in range(length)]


def read(root: Path, options: Options, index: int = 0) -> list[Record]:
    return list(SavSource(root, options)[index].read())


def frames_in(records: list[Record]) -> list[Frame]:
    return [record for record in records if isinstance(record, Frame)]


def pairs_in(records: list[Record]) -> list[Pair]:
    return [record for record in records if isinstance(record, Pair)]


def rejects_in(records: list[Record]) -> list[Reject]:
    return [record for record in records if isinstance(record, Reject)]


def edit(root: Path, change: Any, video_id: str = "sav_000001") -> None:
    path = root / "sav_000" / f"{video_id}_manual.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def difference(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(image.astype(np.int16) - other).mean())
