"""RefCOCO, RefCOCO+, RefCOCOg (https://github.com/lichengunc/refer) and gRefCOCO (https://henghuiding.com/GRES).

The tools are under Apache-2.0, the annotations under CC BY 4.0, photographs under the Flickr licence each names::

    refcoco/instances.json   refcoco/refs(unc).p   refcoco/refs(google).p     parsed by `preprocess.sources.files.coco_json`
    refcoco+/instances.json  refcoco+/refs(unc).p                             and `preprocess.sources.files.refer_refs`
    refcocog/instances.json  refcocog/refs(umd).p  refcocog/refs(google).p
    grefcoco/instances.json  grefcoco/grefs(unc).json
    images/mscoco/images/train2014/COCO_train2014_000000581857.jpg

Splits: train, val, testA (people) and testB (other things) by unc; train, val, test by umd and, for RefCOCO, by
google. RefCOCOg by google has train and val, whose images overlap.

A sample is one ref: the object (in gRefCOCO also several objects, their masks united) with all its expressions.

- Pictures are found by `image_id`: the name in `instances.json`, or else the names COCO gave the same picture in 2014
  and 2017.
- The object id is the annotation's id, ids joined by "+" for several, "no-target" for none. Where a split has more
  than one ref for the same object, all but the first of them get "#" and the ref's id behind it.
- Expressions are kept as they stand in the file, neither lower-cased nor stripped: that can be done while training,
  but not undone. (Sa2VA takes `raw`, lower-cased, without a final full stop.)
- A ref without any sentence is left out and counted: the published gRefCOCO has some, and its authors say so. So is one of
  a split that none of the four has. A damaged one is rejected unless its split is another one for sure.
- A ref may point to a crowd; that is accepted, since the words are about it.
- `instances.json` holds all annotations of a picture, with or without a ref.
"""

from typing import Literal

from ...loader.format.errors import SourceError
from ...loader.format.layout import DatasetType
from .base import IndexedSource
from .files.annotated_image import AnnotatedImage, AnnotatedObject
from .files.coco_json import Instances
from .files.leftovers import LeftOut
from .files.picture_folders import check_folder, count_foreign
from .files.raw_files import RawPath, file_digests
from .files.refer_refs import BadRef, Ref, read_refs
from .options import SourceOptions
from .records import Reject, Skip

PUBLISHED_SPLITS = ("train", "val", "test", "testA", "testB")
"""The splits of the four datasets as they are published."""


class Options(SourceOptions, frozen=True, kw_only=True):
    """Options of `[source]` for the RefCOCO family."""

    dataset: Literal["refcoco", "refcoco+", "refcocog", "grefcoco"] = "refcoco"
    """Which of the four; also the folder of its annotations."""
    split_by: str = "unc"
    """Who made the splits: unc, google or umd."""
    split: str = "train"
    """One of the splits in the refs file."""
    images: str = "images/mscoco/images/train2014"
    """The folder of images, relative to the root."""
    refs: str = ""
    """The refs file, relative to the root; "" for its official name, made of `dataset` and `split_by`."""
    instances: str = ""
    """The instances JSON, relative to the root; "" for `<dataset>/instances.json`."""
    sentence: Literal["raw", "sent"] = "raw"
    """Which spelling is the expression: as typed by the annotator, or cleaned by the authors."""
    no_target: Literal["skip", "keep"] = "skip"
    """What becomes of gRefCOCO's expressions for nothing in the picture; kept, they have an all-zero mask."""

    @property
    def refs_file(self) -> str:
        """Path of the refs file below the root."""
        name = f"grefs({self.split_by}).json" if self.dataset == "grefcoco" else f"refs({self.split_by}).p"
        return self.refs or f"{self.dataset}/{name}"

    @property
    def instances_file(self) -> str:
        """Path of the instances JSON below the root."""
        return self.instances or f"{self.dataset}/instances.json"


class RefcocoSource(IndexedSource[Options, int]):
    """One split of one of the four: one scene for each image with refs, in the order of the image ids."""

    dataset_type: DatasetType = "refcoco"

    def __init__(self, root: RawPath, options: Options) -> None:
        super().__init__(root, options)
        unread = LeftOut()
        refs = self._read_split(unread)
        self._instances = Instances(root, options.instances_file, options.dataset, by_id=True)
        self.rejects = self._instances.rejects
        self._by_image: dict[int, dict[str, Ref]] = {}
        num_silent = self._index_refs(refs)
        self._entries = sorted(self._by_image)
        if self._entries:
            check_folder(root, options.images)
        count_foreign(root, options.images, unread)
        silent = Skip("ref without sentence", num_silent)
        self.skips = (*unread.skips, silent) if num_silent else unread.skips
        if num_silent == len(refs):
            raise SourceError(
                f"no ref of split {options.split!r} in {root / options.refs_file} has a sentence"
            )

    def _scene(self, entry: int) -> AnnotatedImage:
        objects, num_no_target, num_blank = [], 0, 0
        for object_id, ref in self._by_image[entry].items():
            if not ref.targets and self._options.no_target == "skip":
                num_no_target += 1
                continue
            expressions = self._expressions(ref)
            num_blank += len(ref.sentences or ()) - len(expressions)
            annotations = tuple(self._instances.annotations[target] for target in ref.targets)
            names = dict.fromkeys(map(self._instances.category, annotations))
            objects.append(AnnotatedObject(object_id, annotations, "+".join(names), expressions))
        skips = (Skip("no-target ref", num_no_target), Skip("blank sentence", num_blank))
        number = f"{entry:012d}.jpg"
        return AnnotatedImage(
            f"{self._options.dataset}/{entry}",
            self._root,
            self._options.images,
            self._instances.images[entry],
            tuple(objects),
            skips,
            (f"COCO_train2014_{number}", number),
        )

    def fingerprint(self) -> dict[str, str]:
        """Return the digests of the refs file and the instances JSON."""
        return file_digests(self._root, self._options.refs_file, self._options.instances_file)

    def _read_split(self, unread: LeftOut) -> list[tuple[int, Ref | BadRef]]:
        """Return the records of the split, each with its place in the file, and damaged ones that may be of it.

        A damaged record is of another split only if a sound one is of that, too. Sound ones of a split that none of the
        datasets has are counted: its name may be damaged.
        """
        options = self._options
        path = self._root / options.refs_file
        refs = list(enumerate(read_refs(path)))
        splits = sorted({ref.split for _, ref in refs if ref.split})
        if options.split not in splits:
            raise SourceError(
                f"{path} has no ref of split {options.split!r}; its splits: {', '.join(map(repr, splits)) or 'none'}"
            )
        kind = "ref of a split that none of the datasets has, not read"
        for place, ref in refs:
            if isinstance(ref, Ref) and ref.split not in (options.split, *PUBLISHED_SPLITS):
                unread.add(kind, f"refs[{place}], {ref.split!r}")
        others = {*PUBLISHED_SPLITS, *(ref.split for _, ref in refs if isinstance(ref, Ref))} - {
            options.split
        }
        return [(place, ref) for place, ref in refs if ref.split not in others]

    def _index_refs(self, refs: list[tuple[int, Ref | BadRef]]) -> int:
        """Note the refs of each image; return how many have no sentence, which are left out."""
        seen: set[int] = set()
        num_silent = 0
        for place, ref in refs:
            if isinstance(ref, BadRef):
                self._reject(f"refs[{place}]", ref.reason)
                continue
            if not any((sentence.raw + sentence.sent).strip() for sentence in ref.sentences or ()):
                num_silent += 1
                continue
            object_id = "+".join(map(str, ref.targets)) or "no-target"
            of_image = self._by_image.get(ref.image_id, {})
            if object_id in of_image:
                object_id += f"#{ref.ref_id}"
            if ref.ref_id in seen:
                fault = f"has the ref_id {ref.ref_id} of an earlier ref"
            else:
                fault = self._find_fault(ref)
            seen.add(ref.ref_id)
            if fault:
                self._reject(f"{ref.image_id}/{object_id}", f"refs[{place}] {fault}")
            else:
                of_image[object_id] = ref
                self._by_image[ref.image_id] = of_image
        return num_silent

    def _find_fault(self, ref: Ref) -> str:
        """Return why a ref can't become a sample, "" if it can."""
        instances, name = self._instances, self._options.instances_file
        if ref.image_id not in instances.images:
            return f"belongs to image {ref.image_id}, which {name} does not list"
        for target in ref.targets:
            annotation = instances.annotations.get(target)
            if annotation is None:
                return f"refers to annotation {target}, which {name} does not list"
            if annotation.image_id != ref.image_id:
                return f"is of image {ref.image_id}, but its annotation {target} is of image {annotation.image_id}"
        if not self._expressions(ref):
            return f"has no sentence with a text under {self._options.sentence!r}"
        return ""

    def _expressions(self, ref: Ref) -> tuple[str, ...]:
        texts = (getattr(sentence, self._options.sentence) for sentence in ref.sentences or ())
        return tuple(text for text in texts if text.strip())

    def _reject(self, key: str, reason: str) -> None:
        options = self._options
        self.rejects.append(Reject(f"{options.dataset}/{key}", options.refs_file, "index", reason))
