"""What the reasons of skips amount to: notes for the most part, and a warning where somebody forgot a step."""

import re
from typing import NamedTuple

from ..findings import Finding, Severity
from ..sources.files.leftovers import (
    ARCHIVE,
    COPIES,
    LOST_FOUND,
    NOTE,
    SAME_FILE,
    SCALED_MASK,
    SPLIT,
    SYSTEM_FILE,
    UNFINISHED,
    split_example,
)
from ..sources.records import DAMAGE_ACCEPTED, Skip

KEEPING_OPTIONS = {
    "crowd annotation": "source.crowds=true",
    "no-target ref": "source.no_target=keep",
    "object visible in one frame only": "source.lone_frames=repeat",
    "mask under min_area": "a smaller source.min_area",
    "mask over max_area_share": "a larger source.max_area_share",
    "mask under min_predicted_iou": "a smaller source.min_predicted_iou",
    "mask under min_stability_score": "a smaller source.min_stability_score",
    "object not visible in two frames a permitted gap apart": "another source.gaps",
}
"""The option that makes samples of what was left out, by the reason that is counted."""


class SkipCheck(NamedTuple):
    """What skips of one kind amount to."""

    name: str
    severity: Severity
    pattern: str
    """Begins the reasons of these skips, or stands in them."""
    remedy: str


SKIP_CHECKS = (
    SkipCheck("system-file", "note", "|".join(map(re.escape, (SYSTEM_FILE, COPIES, LOST_FOUND))), "nothing: they are passed over"),
    SkipCheck("archive", "warning", re.escape(ARCHIVE), "unpack them if they belong to the dataset"),
    SkipCheck("archive", "note", r"^archive, not read: pairs are read beside it", "unpack it where it holds more"),
    SkipCheck("unfinished", "warning", re.escape(UNFINISHED), "finish the download"),
    SkipCheck("unfinished", "warning", re.escape(SPLIT), "join parts in order (cat), remove copies"),
    SkipCheck(
        "file-twice", "warning", re.escape(SAME_FILE),
        "see whether it is one picture listed twice, or two that had one name before their folders were merged",
    ),
    SkipCheck("damage-accepted", "warning", re.escape(DAMAGE_ACCEPTED), "leave source.damaged at reject, or look at them"),
    SkipCheck("other-size", "note", re.escape(SCALED_MASK), "nothing, if the masks were drawn at that size"),
    SkipCheck("mask-values", "note", r"masks taken as", "say it: --set source.masks=binary or index"),
    SkipCheck(
        "frame-count", "note", r"fewer frames than|a frame or two more or less|beyond the last frame|since a mask of it",
        "nothing, where they are few: published files have some",
    ),
    SkipCheck(
        "unreferenced", "note",
        r"not read|not looked into|not list|without|no listed frame|is absent|under another name|not used",
        "see whether something is missing beside them; otherwise nothing",
    ),
)  # fmt: skip
"""In this order: the first whose pattern is in a reason counts."""


def finding_of(skip: Skip, in_all: str = "") -> Finding:
    """Return the finding that a skip amounts to; `in_all` says how many there are in the whole dataset."""
    reason, example = split_example(skip.reason)
    if option := KEEPING_OPTIONS.get(reason):
        found = SkipCheck("left-out", "note", "", f"nothing; {option} keeps them")
    else:
        other = SkipCheck("left-out", "note", "", "nothing, if that is meant")
        found = next((check for check in SKIP_CHECKS if re.search(check.pattern, reason)), other)
    return Finding(
        check=found.name,
        severity=found.severity,
        count=skip.count,
        what=f"{reason.removeprefix(NOTE)}{in_all}",
        examples=[example] if example else [],
        remedy=found.remedy,
    )
