"""What was found in scenes, counted: small however many there are, and added up in the order of the dataset."""

import hashlib
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from ..findings import MAX_EXAMPLES
from ..run.forecast import SceneSize
from ..sources.records import Frame, Reject, encodable
from .rejects import check_of


@dataclass(slots=True)
class Found:
    """How often something was found, with the first few."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    reason: str = ""
    """Of the first reject."""

    def add(self, other: "Found") -> None:
        """Count what was found later."""
        self.count += other.count
        self.examples = (self.examples + other.examples)[:MAX_EXAMPLES]
        self.reason = self.reason or other.reason


@dataclass(slots=True)
class Tally:
    """What some scenes hold."""

    num_scenes: int = 0
    size: SceneSize = field(default_factory=SceneSize)
    """What they give."""
    found: defaultdict[str, Found] = field(default_factory=lambda: defaultdict(Found))
    """Rejects, and what is likely not meant, by the name of their check."""
    skips: Counter[str] = field(default_factory=Counter)
    """What was left out, by its reason."""
    pictures: "array[int]" = field(default_factory=lambda: array("Q"))
    """Of each still image the scene's number, the digest of its file and that of the file's name."""

    def add_reject(self, reject: Reject) -> None:
        """Count a reject."""
        self.add_found(check_of(reject).name, reject.key, reject.path, reject.reason)

    def add_found(self, check: str, key: str, path: str, reason: str = "") -> None:
        """Count something that a check found."""
        self.found[check].add(Found(1, [f"{key} ({path})" if path else key], reason))

    def add_picture(self, scene: int, frame: Frame) -> None:
        """Note a still image, if its file is at hand."""
        if frame.source is not None:
            self.pictures.extend((scene, _digest(frame.source), _digest(encodable(frame.path).encode())))

    def add(self, other: "Tally") -> None:
        """Add what later scenes hold."""
        self.num_scenes += other.num_scenes
        self.size += other.size
        for check, found in other.found.items():
            self.found[check].add(found)
        self.skips.update(other.skips)
        self.pictures.extend(other.pictures)

    def copies(self) -> list[tuple[int, int]]:
        """Return the scenes of each still image whose file has the bytes of an earlier one of another name: that one's, its."""
        table = np.frombuffer(self.pictures, np.uint64).reshape(-1, 3)
        _, inverse, counts = np.unique(table[:, 1], return_inverse=True, return_counts=True)
        first: dict[int, tuple[int, set[int]]] = {}
        found = []
        for scene, content, name in table[counts[inverse] > 1].tolist():
            earlier, names = first.setdefault(content, (scene, {name}))
            if name not in names:
                names.add(name)
                found.append((earlier, scene))
        return found


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
