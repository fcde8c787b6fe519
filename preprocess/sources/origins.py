"""Where datasets come from: licences and citations, for the cards of stores.

A dataset without an entry is its owner's, who is asked for both. Licences are those that the publishers state; whether
they allow what somebody does with a store is for that person to find out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Licence:
    """What a part of a dataset is licensed under."""

    covers: str
    """Such as "images"."""
    name: str
    address: str = ""
    """Where it is to be read; "" where nothing is published."""
    identifier: str = ""
    """Its identifier on the Hugging Face Hub, "" where that has none."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A published dataset."""

    name: str
    address: str
    licences: tuple[Licence, ...] = ()
    """None where the owner has to say them."""
    citations: tuple[str, ...] = ()
    """In BibTeX."""
    language: str = ""
    """Of its phrases, as an ISO 639-1 code."""
    note: str = ""
    """What the owner has to add."""


def _cc_by(covers: str, version: str) -> Licence:
    address = f"https://creativecommons.org/licenses/by/{version}/"
    return Licence(covers, f"CC BY {version}", address, f"cc-by-{version}")


_COCO_LICENCES = (
    _cc_by("annotations", "4.0"),
    Licence(
        "images",
        "Flickr licences, which the annotations name image by image",
        "https://cocodataset.org/#termsofuse",
    ),
)

_COCO_CITATION = """@inproceedings{lin2014coco,
  title = {Microsoft {COCO}: Common Objects in Context},
  author = {Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona, Pietro and Ramanan, Deva and
            Doll{\\'a}r, Piotr and Zitnick, C. Lawrence},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2014},
}"""

_YU = """@inproceedings{yu2016refcoco,
  title = {Modeling Context in Referring Expressions},
  author = {Yu, Licheng and Poirson, Patrick and Yang, Shan and Berg, Alexander C. and Berg, Tamara L.},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2016},
}"""

_KAZEMZADEH = """@inproceedings{kazemzadeh2014referitgame,
  title = {{ReferItGame}: Referring to Objects in Photographs of Natural Scenes},
  author = {Kazemzadeh, Sahar and Ordonez, Vicente and Matten, Mark and Berg, Tamara},
  booktitle = {Conference on Empirical Methods in Natural Language Processing (EMNLP)},
  year = {2014},
}"""

_MAO = """@inproceedings{mao2016refcocog,
  title = {Generation and Comprehension of Unambiguous Object Descriptions},
  author = {Mao, Junhua and Huang, Jonathan and Toshev, Alexander and Camburu, Oana and Yuille, Alan and Murphy, Kevin},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2016},
}"""

_LIU = """@inproceedings{liu2023gres,
  title = {{GRES}: Generalized Referring Expression Segmentation},
  author = {Liu, Chang and Ding, Henghui and Jiang, Xudong},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2023},
}"""


def _refcoco(name: str, address: str, *citations: str) -> Origin:
    expressions = Licence("expressions", "none that their publishers state", address)
    return Origin(name, address, (*_COCO_LICENCES, expressions), (*citations, _COCO_CITATION), "en")


ORIGINS: dict[str, Origin] = {
    "sav": Origin(
        "SA-V",
        "https://ai.meta.com/datasets/segment-anything-video/",
        (_cc_by("videos and annotations", "4.0"),),
        (
            """@article{ravi2024sam2,
  title = {{SAM} 2: Segment Anything in Images and Videos},
  author = {Ravi, Nikhila and Gabeur, Valentin and Hu, Yuan-Ting and Hu, Ronghang and Ryali, Chaitanya and Ma, Tengyu and
            Khedr, Haitham and R{\\"a}dle, Roman and Rolland, Chloe and Gustafson, Laura and Mintun, Eric and Pan, Junting and
            Alwala, Kalyan Vasudev and Carion, Nicolas and Wu, Chao-Yuan and Girshick, Ross and Doll{\\'a}r, Piotr and
            Feichtenhofer, Christoph},
  journal = {arXiv:2408.00714},
  year = {2024},
}""",
        ),
    ),
    "sa1b": Origin(
        "SA-1B",
        "https://ai.meta.com/datasets/segment-anything/",
        (
            Licence(
                "images and annotations",
                "SA-1B Dataset Research License",
                "https://ai.meta.com/datasets/segment-anything-downloads/",
            ),
        ),
        (
            """@article{kirillov2023segment,
  title = {Segment Anything},
  author = {Kirillov, Alexander and Mintun, Eric and Ravi, Nikhila and Mao, Hanzi and Rolland, Chloe and Gustafson, Laura and
            Xiao, Tete and Whitehead, Spencer and Berg, Alexander C. and Lo, Wan-Yen and Doll{\\'a}r, Piotr and Girshick, Ross},
  journal = {arXiv:2304.02643},
  year = {2023},
}""",
        ),
    ),
    "openimages": Origin(
        "Open Images V7 segmentation",
        "https://storage.googleapis.com/openimages/web/index.html",
        (_cc_by("images", "2.0"), _cc_by("annotations", "4.0")),
        (
            """@inproceedings{benenson2019segmentation,
  title = {Large-Scale Interactive Object Segmentation with Human Annotators},
  author = {Benenson, Rodrigo and Popov, Stefan and Ferrari, Vittorio},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2019},
}""",
            """@article{kuznetsova2020openimages,
  title = {The {Open Images} Dataset {V4}: Unified Image Classification, Object Detection, and Visual Relationship Detection at
           Scale},
  author = {Kuznetsova, Alina and Rom, Hassan and Alldrin, Neil and Uijlings, Jasper and Krasin, Ivan and Pont-Tuset, Jordi and
            Kamali, Shahab and Popov, Stefan and Malloci, Matteo and Kolesnikov, Alexander and Duerig, Tom and
            Ferrari, Vittorio},
  journal = {International Journal of Computer Vision},
  year = {2020},
}""",
        ),
    ),
    "coco": Origin("COCO", "https://cocodataset.org", _COCO_LICENCES, (_COCO_CITATION,)),
    "refcoco": _refcoco("RefCOCO", "https://github.com/lichengunc/refer", _YU, _KAZEMZADEH),
    "refcoco+": _refcoco("RefCOCO+", "https://github.com/lichengunc/refer", _YU, _KAZEMZADEH),
    "refcocog": _refcoco("RefCOCOg", "https://github.com/lichengunc/refer", _MAO, _YU),
    "grefcoco": _refcoco("gRefCOCO", "https://github.com/henghuiding/gRefCOCO", _LIU, _YU),
    "vos": Origin(
        "Videos in the layout of YouTube-VOS",
        "",
        note="Several datasets come in this layout, such as DAVIS, YouTube-VOS, MOSE, LVOS and Long-RVOS, each with a licence "
        "and a citation of its own: say which one this is.",
    ),
    "mevis": Origin(
        "Expressions about objects of videos",
        "",
        note="Several datasets come in this layout, such as MeViS (CC BY-NC-SA 4.0), ReVOS and Ref-YouTube-VOS, each with a "
        "licence and a citation of its own: say which one this is.",
        language="en",
    ),
}
"""By the name of a source, or of its dataset where a source reads several."""

OWN = Origin(
    "Own data",
    "",
    note="Made from data of the owner's own, who alone can say its licence and how to cite it.",
)


def origin_of(source: Mapping[str, Any]) -> Origin:
    """Return where a dataset comes from, by the source options in a store's job."""
    name = source.get("dataset") if source["name"] == "refcoco" else source["name"]
    return ORIGINS.get(str(name), OWN)
