"""What is said about objects of videos: `meta_expressions.json`, as Ref-YouTube-VOS began it and MeViS and ReVOS have it.

::

    {"videos": {"0ab4afe7fb46": {"frames": ["00000", "00001", ...],
                                 "expressions": {"0": {"exp": "the bird flying away", "obj_id": [3], "anno_id": [27]}}}}}

- `anno_id` counts through a dataset and names masks of mask_dict.json, `obj_id` counts through a video and names values of
  label maps. Each is a list, or, in Ref-YouTube-VOS, one value as text.
- Several ids mean all of those objects together, no id that nothing in the video is meant.
- Splits whose masks are kept back have neither.
"""

from collections.abc import Container
from itertools import pairwise
from typing import NamedTuple

import msgspec

from ....loader.format.errors import SourceError
from ...errors import RecordError
from ..records import Reject
from .json_files import JSON_ERRORS, explain, read_index
from .leftovers import LeftOut, suffix_of
from .picture_folders import IMAGE_SUFFIXES, number_of
from .raw_files import CHECK_SOURCE, RawPath

MAX_EXPRESSIONS_BYTES = 1 << 29
"""Largest file that is read, several times the largest published one."""

_Id = int | str


class _Expression(msgspec.Struct, frozen=True, gc=False):
    exp: str
    obj_id: list[_Id] | _Id | None = None
    anno_id: list[_Id] | _Id | None = None


class _Video(msgspec.Struct, frozen=True):
    frames: list[str]
    expressions: dict[str, msgspec.Raw]


class _File(msgspec.Struct, frozen=True):
    videos: dict[str, msgspec.Raw]


_EXPRESSION = msgspec.json.Decoder(_Expression)
_VIDEO = msgspec.json.Decoder(_Video)


class Target(NamedTuple):
    """An object, or several together, and what is said about it."""

    members: tuple[str, ...]
    """Ids of the objects."""
    phrases: tuple[str, ...]

    @property
    def object_id(self) -> str:
        """Names it within its video, such as "27" or "27+31"."""
        return "+".join(self.members)


class ListedVideo(NamedTuple):
    """A video with its frames and targets."""

    frames: tuple[str, ...]
    """Their names without the ending of a picture, in the order of time."""
    targets: tuple[Target, ...]


class VideoExpressions:
    """The file, indexed.

    Attributes:
        videos: those with a target, in the order of their names.
        rejects: videos and expressions that can't be used.
        unread: expressions that are left out.
        has_reordered: whether one names the objects of an earlier one in another order.
    """

    def __init__(self, root: RawPath, name: str, prefix: str, known: Container[str] | None) -> None:
        """Parse `root / name`; `known` are the annotations there are, where `anno_id` counts, None where `obj_id` does."""
        self._name = name
        self._prefix = prefix
        self._known = known
        self.rejects: list[Reject] = []
        self.unread = LeftOut()
        self.has_reordered = False
        path = root / name
        fault = "lists no expressions of videos: {}"
        content = read_index(path, MAX_EXPRESSIONS_BYTES, _File, fault, CHECK_SOURCE)
        self.videos: dict[str, ListedVideo] = {}
        for video_id, element in sorted(content.videos.items()):
            try:
                video = _VIDEO.decode(element)
                frames = _in_order(video.frames)
            except JSON_ERRORS as err:
                self._reject(video_id, f"no video of frames and expressions: {explain(err, element)}")
                continue
            except RecordError as err:
                self._reject(video_id, err.reason)
                continue
            if targets := self._read_targets(video_id, video):
                self.videos[video_id] = ListedVideo(frames, targets)
        if not self.videos and not self.rejects:
            raise SourceError(
                f"no expression of {path} says which {self._field} it is of: is it a split whose masks are kept back?"
            )

    @property
    def _field(self) -> str:
        return "obj_id" if self._known is None else "anno_id"

    def _read_targets(self, video_id: str, video: _Video) -> tuple[Target, ...]:
        phrases: dict[frozenset[str], list[str]] = {}
        orders: dict[frozenset[str], tuple[str, ...]] = {}
        for number, element in video.expressions.items():
            where = f"expression {number}"
            try:
                expression = _EXPRESSION.decode(element)
            except JSON_ERRORS as err:
                self._reject(video_id, f"{where} is none: {explain(err, element)}")
                continue
            given = expression.obj_id if self._known is None else expression.anno_id
            ids = given if isinstance(given, list) else [] if given is None else [given]
            members = tuple(dict.fromkeys(map(str, ids)))
            known = self._known
            unknown = [member for member in members if known is not None and member not in known]
            if given is None:
                self.unread.add("expression that does not say which object it is of", f"{video_id}/{number}")
            elif not members:
                self.unread.add("expression of nothing in its video", f"{video_id}/{number}")
            elif not expression.exp.strip():
                self.unread.add("expression without a text", f"{video_id}/{number}")
            elif unknown:
                reason = f"{where} is of {self._field} {', '.join(unknown)}, which there is no mask of"
                self._reject(f"{video_id}/{'+'.join(members)}", reason)
            else:
                # The same objects in another order are the same target, called as the first expression has them.
                self.has_reordered |= orders.setdefault(frozenset(members), members) != members
                phrases.setdefault(frozenset(members), []).append(expression.exp)
        return tuple(Target(orders[objects], tuple(texts)) for objects, texts in phrases.items())

    def _reject(self, key: str, reason: str) -> None:
        self.rejects.append(Reject(f"{self._prefix}/{key}", self._name, "index", reason))


def _in_order(frames: list[str]) -> tuple[str, ...]:
    """Return the names of a video's frames in the order of time: everyone who reads these files sorts them as text.

    The ending of a picture is no part of a name, whether it is given or not.
    """
    ordered = tuple(
        sorted(name.rpartition(".")[0] if suffix_of(name) in IMAGE_SUFFIXES else name for name in frames)
    )
    if (unnumbered := next((name for name in ordered if number_of(name) is None), None)) is not None:
        raise RecordError(f"its frame {unnumbered!r:.100} does not end in a number, as those of pictures do")
    numbers = [number for frame in ordered if (number := number_of(frame)) is not None]
    if not frames or any(a >= b for a, b in pairwise(numbers)):
        raise RecordError(
            f"its {len(frames)} frames, {', '.join(ordered[:3])}, have no one order as text and by number: which mask is of "
            "which frame is not known"
        )
    return ordered
