"""Ids that datasets share: which published picture or video a raw file is, as far as its name says so."""

import re
from typing import NamedTuple


class IdRule(NamedTuple):
    """One kind of id."""

    name: str
    """What it is, in words."""
    pattern: re.Pattern[str]
    """Finds it in a raw file's path; the id is its one group."""
    dataset_types: tuple[str, ...] = ()
    """Of stores of these the path says it; of all, where there are none."""


RULES = (
    IdRule("COCO picture", re.compile(r"(?:^|/)COCO_(?:train|val|test)20\d\d_(\d{12})\.\w+$")),
    IdRule("COCO picture", re.compile(r"(?:^|/)(?:train|val|test|unlabeled)20(?:14|15|17)/(\d{12})\.\w+$")),
    IdRule("COCO picture", re.compile(r"(?:^|/)(\d{12})\.\w+$"), ("refcoco",)),
    IdRule("Visual Genome picture", re.compile(r"(?:^|/)VG_100K(?:_2)?/(\d+)\.\w+$")),
    IdRule("SA-1B picture", re.compile(r"(?:^|/)(sa_\d+)\.\w+$")),
    IdRule("SA-V video", re.compile(r"(?:^|/)(sav_\d{6})(?:\.\w+|/.*)$")),
    IdRule("OpenImages picture", re.compile(r"(?:^|/)([0-9a-f]{16})\.\w+$")),
    IdRule(
        "video of a hexadecimal name",
        re.compile(r"(?:^|/)JPEGImages/(?=\d*[a-f])([0-9a-f]{8}|[0-9a-f]{10}|[0-9a-f]{12})/[^/]+$"),
    ),
    IdRule("DAVIS video", re.compile(r"(?:^|/)JPEGImages/(?:480p|1080p|Full-Resolution)/([^/]+)/[^/]+$")),
)
"""The first that finds an id has it. COCO 2014 and 2017, RefCOCO, LVIS and others have the same pictures under the same
numbers; YouTube-VOS and Ref-YouTube-VOS, MeViS and its splits the same videos."""


def shared_id(dataset_type: str, path: str) -> str:
    """Return which published picture or video a raw file is, "" where its name says nothing.

    >>> shared_id("refcoco", "images/train2014/COCO_train2014_000000581857.jpg")
    'COCO picture 000000581857'
    >>> shared_id("coco", "train2017/000000581857.jpg")
    'COCO picture 000000581857'
    """
    for rule in RULES:
        if rule.dataset_types and dataset_type not in rule.dataset_types:
            continue
        if found := rule.pattern.search(path):
            return f"{rule.name} {found[1]}"
    return ""
