"""Objects through a video whose masks are label maps, a file for each annotated frame: an object's id is its value."""

from collections.abc import Callable, Collection, Generator, Mapping
from functools import partial

from ...decode.labels import decode_labels, split_labels
from ...decode.segmentation import Rle
from ...errors import RecordError
from ..records import Reject, Skip
from .masklets import Masklet
from .raw_files import RawPath, read_file, resolve_inside


def read_label_masklets(
    root: RawPath,
    folder: str,
    names: Mapping[int, str],
    key_of: Callable[[int], str],
    ignored: int,
    known: Collection[str] | None = None,
) -> Generator[Reject | Skip, None, tuple[list[Masklet], frozenset[int]]]:
    """Return the objects of a video in the order of their values, and the annotated frames whose file can't be used.

    What speaks against files, and which values are no object's, is yielded. By t, `names` has the file of each annotated
    frame in `folder`, and `key_of` gives its key. `known` are the ids of the objects that there are, None where nothing says so.
    """
    masks: dict[int, dict[int, Rle]] = {}
    lost = set()
    num_ignored = num_unknown = 0
    for t, name in names.items():
        path = f"{folder}/{name}"
        try:
            regions = split_labels(decode_labels(read_file(resolve_inside(root, path)), ignored))
        except RecordError as err:
            lost.add(t)
            yield Reject.from_error(err, key_of(t), path)
            continue
        num_ignored += regions.pop(ignored, None) is not None
        for value, region in regions.items():
            if known is None or str(value) in known:
                masks.setdefault(value, {})[t] = region
            else:
                num_unknown += 1
    if num_ignored:
        yield Skip(f"mask with pixels of the value {ignored}, which are ignored", num_ignored)
    if num_unknown:
        yield Skip("value in a mask that no listed object has", num_unknown)
    masklets = []
    for value, of_object in sorted(masks.items()):
        regions_of = {t: partial(_given, region) for t, region in of_object.items()}
        files = {t: f"{folder}/{names[t]}" for t in of_object}
        masklets.append(Masklet(str(value), folder, regions_of, files))
    return masklets, frozenset(lost)


def _given(region: Rle) -> Rle:
    return region
