"""The one table from reasons of rejects to checks: what a conversion rejects is an error of the raw data."""

import re
from typing import NamedTuple

from ..sources.records import Reject


class RejectCheck(NamedTuple):
    """What rejects of one kind amount to."""

    name: str
    pattern: str
    """Is in the reasons of these rejects, and in none that an earlier check takes."""
    what: str
    remedy: str


_AGAIN = "fetch these files again"

REJECT_CHECKS = (
    RejectCheck(
        "missing-package",
        r"needs PyAV",
        "videos that this install can't decode",
        "pip install 'resizeonce[video]', or extract their frames",
    ),
    RejectCheck(
        "not-the-file",
        r"pointer: run|HTML page|XML document|copied as text|text in UTF-16|the file is compressed|file is empty \(0 bytes\)"
        r"|no image of a known format",
        "files that hold something else than they should",
        "put the files themselves in their place: git lfs pull, git annex get, or fetch them again",
    ),
    RejectCheck(
        "missing-file",
        r"file is missing|(mp4|json) is missing|is missing or is no regular|there is no \S+ beside it|where nothing is"
        r"|no such folder|No such file or directory|folder holds no|has a picture",
        "files that are listed and not there",
        "fetch or unpack what is missing, or check source.images and its like",
    ),
    RejectCheck(
        "frame-count",
        r"frames?(, [^,]*)*, but |annotated frames|masklet_id names|is not among the extracted frames"
        r"|masks of every 4th|video ends after|listed frames|expected the same numbers|frames were dropped"
        r"|every 4th of|have no one order|does not end in a number|named by its video frame",
        "videos whose frames are not those that were annotated, by number or rate",
        "take frames and annotations of one release, or extract the original mp4 anew",
    ),
    RejectCheck(
        "turned",
        r"transpose|swapped|turned|sides exchanged|other orientation",
        "pictures or masks whose height and width are exchanged",
        "turn these pictures or their annotations; was EXIF applied to one and not to the other?",
    ),
    RejectCheck(
        "other-size",
        r"not the same picture in another size|have size|far beyond its|relative to the picture"
        r"|as its image",
        "sizes that disagree with their pictures",
        "take the pictures that were annotated, uncropped",
    ),
    RejectCheck(
        "polygon",
        r"polygon|no segmentation|segmentation is no valid",
        "outlines that are none",
        "write them as [[x1, y1, x2, y2, ...]], three points at least, or remove them",
    ),
    RejectCheck(
        "run-lengths",
        r"run lengths|run length|a run is longer|compressed counts|counts must be|size must be|size and counts",
        "run lengths that don't add up, or are damaged",
        "write these masks anew, or get the annotation file again",
    ),
    RejectCheck(
        "empty-mask",
        r"covers no pixel|absent in every frame|no mask of the video has an object|no object",
        "objects whose mask covers nothing",
        "remove them from the annotations, or draw them",
    ),
    RejectCheck(
        "id-twice",
        r"of an earlier (image|annotation|category|ref)|for their id|second mask of the same object|earlier row has"
        r"|stands there twice|holds \d+ arrays",
        "ids that are there twice",
        "renumber them, or remove the second of each",
    ),
    RejectCheck(
        "file-twice",
        r"same name|same number|file of this name already|another member of this name|the same image is in|has both",
        "files of one name or number, of which one can be meant",
        "remove one of each",
    ),
    RejectCheck(
        "unlisted",
        r"not list|refers to annotation|is of image|no mask has that|is no image of|; its image has|describes (image|video)|which there is no mask of",
        "records that refer to what is not there, or to another image",
        "take all files from one release",
    ),
    RejectCheck(
        "damaged-picture",
        r"damaged (JPEG|PNG|WEBP|BMP|image|MPO)|whose damage can't be seen|while the picture was decoded|have no agreed range",
        "pictures that are damaged, by what their decoder says",
        f"{_AGAIN}, or give --set source.damaged=accept to take what Pillow makes of them",
    ),
    RejectCheck(
        "mask-values",
        r"mask is a |the mask has |the mask's |masks were taken as|expected only 0 and 1|expected bool|may be ignored",
        "masks whose values don't say what is covered",
        "save them as PNG of 0 and one other value, or of a number for each object",
    ),
    RejectCheck(
        "name",
        r"can't be a file name|no UTF-8|is no video id|bare name|the name is",
        "names that no file can have, or not here",
        "rename what has them",
    ),
    RejectCheck(
        "unreadable",
        r"^can't (read the file|list the folder)|: can't (read|list)",
        "files and folders that can't be read",
        "see to their permissions and to the disk",
    ),
    RejectCheck(
        "damaged-archive",
        r"\btar\b|archive|member|sparse|pax|a compressed file",
        "archives that can't be read whole",
        f"{_AGAIN}, or extract them",
    ),
    RejectCheck(
        "damaged-video", r"video|mp4", "videos that can't be read", f"{_AGAIN}, or extract their frames"
    ),
    RejectCheck(
        "link",
        r"leads out of|\blink\b",
        "files and folders that are links to elsewhere",
        "give --set source.follow_links=true, or copy what they lead to (cp -rL)",
    ),
    RejectCheck(
        "too-large", r"over the limit|between 1 and", "what is over a limit", "cut or scale these records"
    ),
    RejectCheck(
        "pair",
        r"^the pair has no usable",
        "pairs that lost one of their frames to another error",
        "mend the other errors of these videos",
    ),
    RejectCheck(
        "worker",
        r"worker process|memory ran out",
        "scenes that end the process that reads them",
        "look at their files, or give fewer --workers",
    ),
)  # fmt: skip
"""In this order: the first whose pattern is in a reason counts."""

OTHER = RejectCheck(
    "record", "", "records that are not what they should be", "see the reason, and mend or remove them"
)

_PATTERNS = [(re.compile(check.pattern), check) for check in REJECT_CHECKS]


def check_of(reject: Reject) -> RejectCheck:
    """Return what a reject amounts to."""
    return next((check for pattern, check in _PATTERNS if pattern.search(reject.reason)), OTHER)
