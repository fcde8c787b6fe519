"""Converts damaged raw datasets: each run ends as a store without wrong samples, or as an error said on purpose.

`python tests/fuzz/fuzz_inputs.py --count 2000 --seed 0` damages one file of a miniature dataset 2,000 times and converts
each in a process with a limit on time and memory. A finding is

- an exception that is no `PreprocessError`, a run over its limit, a process that died;
- a sample that does not touch the damaged file and differs from the undamaged dataset's, or is lacking;
- a sample that touches it and is not what `naive.py` reads from the damaged file, or a video's frame of another time;
- a sample that is gone without a reject or a count that says so, though its index file still lists it;
- a reject or a skip that `doctor` counts otherwise.

A case is made again by its number and the seed: `--only 1234 --seed 0`, with `--keep FOLDER` to look at its files.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from miniature.coco import write_coco
from miniature.every import WRITERS
from miniature.npz import write_npz_single
from miniature.sa1b import write_sa1b
from miniature.sav import write_sav_train, write_sav_val
from miniature.shapes import picture_of
from mutate_bytes import BYTES
from mutations import STRUCTURE
from naive import NaiveReader
from odd_places import PLACES, add_oddly_named
from PIL import Image

from resizeonce.loader import Store
from resizeonce.loader.format.errors import PreprocessError
from resizeonce.loader.format.metadata import read_attributes
from resizeonce.preprocess.config import Config, load_config
from resizeonce.preprocess.doctor.diagnose import diagnose
from resizeonce.preprocess.doctor.rejects import check_of
from resizeonce.preprocess.run.convert import convert
from resizeonce.preprocess.sources.files.leftovers import NOTE, split_example
from resizeonce.preprocess.store.root import read_rejects

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIZES = {"pixel_values": 24, "g_pixel_values": 32, "prompt_masks": 8, "masks": 32}
"""Sides of the four tensors, small so that a run takes a tenth of a second."""

SECONDS = 20.0
"""A run that takes longer hangs; it should take a tenth of a second."""

MEMORY = 2 << 30
"""Address space a run may take beyond what its process has: the stated limits of images and masks fit in."""

PICTURES = [
    picture_of(height, width, seed) for seed, (height, width) in enumerate([(48, 64), (60, 40), (40, 52)])
]


def _write_clips(write: Callable[..., None], root: Path) -> None:
    clips = [[np.roll(picture, 9 * t, axis=1) for t in range(4)] for picture in PICTURES]
    write(root, [(f"sav_{number:06d}", pictures) for number, pictures in enumerate(clips)])


def _write_coco_as(root: Path, forms: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Write a COCO tree whose pictures are files of other modes and formats, under the names of JPEGs."""
    write_coco(root, PICTURES)
    for path, (mode, image_format, options) in zip(
        sorted((root / "train2017").iterdir()), forms, strict=True
    ):
        with Image.open(path) as picture:
            if mode == "I;16":
                changed = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
            else:
                changed = picture.convert(mode)
        changed.save(path, image_format, **options)


@dataclass(frozen=True)
class Dataset:
    """A miniature dataset and what in it is damaged."""

    config: str
    write: Callable[[Path], None]
    damaged: dict[str, str]
    """Format by glob pattern of the files that are damaged, each in one run."""
    options: tuple[str, ...] = ()
    refs: str = ""
    index: tuple[str, ...] = ()
    """Patterns of files that every sample depends on."""

    def load_config(self) -> Config:
        """Return the config, with small tensors and all scenes in one part."""
        sizes = [f"recipe.{tensor}.size={size}" for tensor, size in SIZES.items()]
        return load_config(CONFIGS / f"{self.config}.toml", [*sizes, *self.options])


_REFCOCO = partial(WRITERS["refcoco"], pictures=PICTURES)
_EXIF = Image.Exif()
_EXIF[0x0112] = 6

DATASETS = {
    "coco": Dataset(
        "coco",
        partial(WRITERS["coco"], pictures=PICTURES),
        {"annotations/*.json": "json", "train2017/*": "jpeg"},
        index=("annotations/*",),
    ),
    "coco-png": Dataset(
        "coco",
        partial(_write_coco_as, forms=[("RGB", "PNG", {}), ("P", "PNG", {}), ("I;16", "PNG", {})]),
        {"train2017/*": "png"},
        index=("annotations/*",),
    ),
    "coco-jpeg": Dataset(
        "coco",
        partial(
            _write_coco_as,
            forms=[
                ("RGB", "JPEG", {"progressive": True, "exif": _EXIF}),
                ("CMYK", "JPEG", {}),
                ("L", "JPEG", {"restart_marker_rows": 1}),
            ],
        ),
        {"train2017/*": "jpeg"},
        index=("annotations/*",),
    ),
    "coco-others": Dataset(
        "coco",
        partial(
            _write_coco_as,
            forms=[("RGB", "WEBP", {"lossless": True}), ("RGBA", "WEBP", {}), ("P", "BMP", {})],
        ),
        {"train2017/*": "image"},
        index=("annotations/*",),
    ),
    "refcoco": Dataset(
        "refcoco",
        _REFCOCO,
        {"refcoco/*.json": "json", "refcoco/refs(unc).p": "pickle"},
        refs="refcoco/refs(unc).p",
        index=("refcoco/*",),
    ),
    "refcocog": Dataset(
        "refcocog",
        _REFCOCO,
        {"refcocog/refs(umd).p": "pickle"},
        refs="refcocog/refs(umd).p",
        index=("refcocog/*",),
    ),
    "grefcoco": Dataset(
        "grefcoco",
        _REFCOCO,
        {"grefcoco/grefs*": "json"},
        refs="grefcoco/grefs(unc).json",
        index=("grefcoco/*",),
    ),
    "sa1b": Dataset(
        "sa1b",
        partial(write_sa1b, pictures=PICTURES),
        {"sa_000000/*.json": "json", "sa_000000/*.jpg": "jpeg"},
    ),
    "sa1b-tar": Dataset(
        "sa1b", partial(write_sa1b, pictures=PICTURES, tar=True), {"*.tar": "tar"}, index=("*.tar",)
    ),
    "sav": Dataset(
        "sav",
        partial(_write_clips, write_sav_train),
        {"sav_000/*.json": "json", "JPEGImages_24fps/*/*.jpg": "jpeg"},
    ),
    "sav-mp4": Dataset(
        "sav", partial(_write_clips, partial(write_sav_train, video=True)), {"sav_000/*.mp4": "mp4"}
    ),
    "sav-val": Dataset(
        "sav_val",
        partial(_write_clips, write_sav_val),
        {"sav_val.txt": "csv", "Annotations_6fps/*/*/*.png": "png"},
        index=("sav_val.txt",),
    ),
    "openimages": Dataset(
        "openimages",
        partial(WRITERS["openimages"], pictures=PICTURES),
        {"train-annotations*.csv": "csv", "train-masks/*.png": "png", "class*.csv": "csv"},
        index=("train-annotations*.csv", "class*.csv"),
    ),
    "folders": Dataset(
        "folders",
        partial(WRITERS["folders"], pictures=PICTURES),
        {"masks/*.png": "png", "images/*.jpg": "jpeg"},
        # What is damaged may not change what the others are taken for.
        options=("source.masks=index",),
    ),
    "vos": Dataset(
        "vos",
        partial(WRITERS["vos"], pictures=PICTURES[:2]),
        {"Annotations/*/*.png": "png", "JPEGImages/*/*.jpg": "jpeg", "meta.json": "json"},
        index=("meta.json",),
    ),
    "mevis": Dataset(
        "mevis",
        partial(WRITERS["mevis"], pictures=PICTURES[:2]),
        {"*.json": "json", "JPEGImages/*/*.jpg": "jpeg"},
        index=("*.json",),
    ),
    "npz": Dataset("npz", partial(WRITERS["npz"], pictures=PICTURES), {"clips/*.npz": "npz"}),
    "npz-single": Dataset(
        "npz",
        partial(write_npz_single, pictures=PICTURES),
        {"stills/*.npz": "npz"},
        options=("source.paired=false",),
    ),
}

TARGETS = [
    (name, pattern, form) for name, dataset in DATASETS.items() for pattern, form in dataset.damaged.items()
]
"""Datasets with a pattern of files to damage and their format; cases take turns through them."""


@dataclass(frozen=True)
class Case:
    """One damaged file."""

    number: int
    seed: int

    @property
    def target(self) -> tuple[str, str, str]:
        """Name of the dataset, pattern of the file, its format."""
        return TARGETS[self.number % len(TARGETS)]


@dataclass
class Outcome:
    """How a case ended."""

    case: Case
    change: str = ""
    path: str = ""
    ending: str = "lost"
    """"done", "rejects" or "refused"; otherwise it is a finding."""
    problem: str = ""
    """What was found; "" if all is as it should be."""
    compared: int = 0
    """Samples that touch the damaged file and equal what the naive reader reads."""
    seconds: float = 0.0


Sample = tuple[bytes, ...]


@dataclass
class Converted:
    """An undamaged dataset, raw and converted."""

    raw: Path
    files: dict[str, list[str]]
    """Files below the root by pattern."""
    samples: dict[str, Sample]
    touches: dict[str, set[str]]
    """Files, or folders ending in "/", that each sample is made from, by its key."""
    skips: dict[str, int] = field(default_factory=dict)


@cache
def undamaged(name: str, work: Path) -> Converted:
    dataset = DATASETS[name]
    raw = work / name / "raw"
    dataset.write(raw)
    config = dataset.load_config()
    report = convert(config, raw, work / name / "store.zarr")
    if report.num_rejects:
        raise AssertionError(f"the undamaged dataset {name} has rejects")
    samples = dict(_samples_of(work / name / "store.zarr"))
    index = {str(path.relative_to(raw)) for pattern in dataset.index for path in raw.glob(pattern)}
    touches = {
        key: index | set(_files_of(name, key, paths)) for key, paths in _paths_of(work / name / "store.zarr")
    }
    files = {
        pattern: sorted(str(path.relative_to(raw)) for path in raw.glob(pattern))
        for pattern in dataset.damaged
    }
    return Converted(raw, files, samples, touches, report.attributes["totals"]["skips"])


def _samples_of(store: Path) -> Iterator[tuple[str, Sample]]:
    """Yield each sample's key, and its tensors and texts as bytes."""
    opened = Store(store)
    for number in range(len(opened)):
        sample = opened[number]
        arrays = [value.tobytes() for name, value in sorted(sample.items()) if isinstance(value, np.ndarray)]
        yield opened.key(number), (*arrays, repr(opened.expressions(number)).encode())


def _paths_of(store: Path) -> Iterator[tuple[str, list[str]]]:
    opened = Store(store)
    for number in range(len(opened)):
        part, masks = opened.locate(number)
        images = part.column("masks/image")[masks]
        yield opened.key(number), [part.text("images/path", int(image)) for image in images]


def _files_of(name: str, key: str, paths: Iterable[str]) -> Iterator[str]:
    """Yield what a sample is made from, besides index files."""
    yield from paths
    scene, object_id = key.split("/")[1], key.rpartition("/")[2]
    if name == "sa1b":
        yield f"sa_000000/{scene}.json"
    elif name.startswith("sav"):
        # Which frames there are decides which pairs are taken.
        yield from (
            f"sav_000/{scene}_manual.json",
            f"JPEGImages_24fps/{scene}/",
            f"Annotations_6fps/{scene}/{object_id}/",
        )
    elif name == "folders":
        yield f"masks/{scene}.png"
    elif name == "mevis":
        yield f"JPEGImages/{scene}/"
    elif name == "vos":
        # Which frames an object is visible in decides which pairs are taken.
        yield from (f"JPEGImages/{scene}/", f"Annotations/{scene}/")
    elif name == "openimages":
        label, box_id = object_id.split("_")
        yield f"train-masks/{scene}_{label}_{box_id}.png"


def run_case(case: Case, work: Path) -> Outcome:
    """Damage a file, convert, compare; exceptions that are not said on purpose come through."""
    started = time.monotonic()
    name, pattern, form = case.target
    dataset, base = DATASETS[name], undamaged(name, work)
    chance = Random(f"{case.seed}/{case.number}")
    path = chance.choice(base.files[pattern])
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    root = folder / "raw"
    shutil.copytree(base.raw, root, copy_function=os.link)
    change = _damage(root / path, folder, form, chance)
    outcome = Outcome(case, change, path)
    try:
        report = convert(dataset.load_config(), root, folder / "store.zarr")
    except PreprocessError as err:
        outcome.ending = "refused"
        independent = [key for key, touched in base.touches.items() if not _touch(touched, path)]
        if independent:
            outcome.problem = f"the run ended, though {len(independent)} samples don't touch the file: {err}"
    else:
        outcome.ending = "rejects" if report.num_rejects else "done"
        totals = report.attributes["totals"]
        quiet = not report.num_rejects and totals["skips"] == base.skips
        reader = NaiveReader(root, dataset.load_config().source, dataset.refs)
        outcome.problem, outcome.compared = compare(base, folder / "store.zarr", path, reader, quiet)
        outcome.problem = outcome.problem or disagreement(dataset.load_config(), root, folder / "store.zarr")
        if form == "mp4" and not outcome.problem:
            outcome.problem = _find_shift(work / name / "store.zarr", folder / "store.zarr")
    outcome.seconds = time.monotonic() - started
    return outcome


def disagreement(config: Config, root: Path, store: Path) -> str:
    """Return where `doctor` counts otherwise than the conversion of the same files did, "" where nowhere."""
    told, left_out = Counter[str](), Counter[str]()
    for finding in diagnose(config, root).findings:
        counts = told if finding.severity == "error" else left_out
        counts[finding.check if finding.severity == "error" else finding.what] += finding.count
    rejected = Counter(check_of(reject).name for reject in read_rejects(store))
    if rejected != told:
        return f"doctor tells {told}, rejects are {rejected}"
    skipped = Counter[str]()
    for reason, count in read_attributes(store)["totals"]["skips"].items():
        skipped[split_example(reason)[0].removeprefix(NOTE)] += count
    return "" if skipped <= left_out else f"doctor tells {left_out}, left out are {skipped}"


def _damage(file: Path, folder: Path, form: str, chance: Random) -> str:
    """Damage a file; return the name of the kind of damage."""
    roll = chance.random()
    if roll < 0.06:
        place = chance.choice(PLACES)
        (folder / "outside").mkdir()
        os.link(file, folder / "outside" / "original")
        file.unlink()
        place(file, folder / "outside")
        return place.__name__
    if roll < 0.08:
        add_oddly_named(file, chance)
        return "add_oddly_named"
    known = STRUCTURE[form]
    change = chance.choice(known if known and roll < 0.6 else tuple(BYTES.values()))
    content = file.read_bytes()
    changed = change(content, chance)
    if chance.random() < 0.05:
        changed = chance.choice(tuple(BYTES.values()))(changed, chance)
    # Never in place: the undamaged dataset's file is the same one.
    file.unlink()
    file.write_bytes(changed)
    return change.__name__


def _touch(touched: set[str], path: str) -> bool:
    return path in touched or any(one.endswith("/") and path.startswith(one) for one in touched)


def compare(base: Converted, store: Path, path: str, reader: NaiveReader, quiet: bool) -> tuple[str, int]:
    """Return what is wrong with a store, and how many of its samples were compared with the naive reader's."""
    found = dict(_samples_of(store))
    for key, touched in base.touches.items():
        if _touch(touched, path):
            continue
        if key not in found:
            return f"{key} is lacking, though it doesn't touch the damaged file", 0
        if found[key] != base.samples[key]:
            return f"{key} changed, though it doesn't touch the damaged file", 0
    if quiet and (gone := base.samples.keys() - found.keys()):
        try:
            lost = gone & reader.listed()
        except Exception:
            lost = set()
        if lost:
            return f"{sorted(lost)[0]} is gone, and nothing says so", 0
    compared = 0
    opened = Store(store)
    for number in range(len(opened)):
        if found[opened.key(number)] != base.samples.get(opened.key(number)):
            compared += 1
            if problem := _differs(opened, number, reader):
                return f"{opened.key(number)}: {problem}", compared
    return "", compared


def _find_shift(undamaged: Path, store: Path) -> str:
    """Return which frame of a video shows another time than it is said to; "" if none does.

    The naive reader counts the frames that a decoder gives, too, and does not notice if one is dropped.
    """
    frames = dict(_frames_of(undamaged))
    for key, picture in _frames_of(store):
        video = key.rpartition("/")[0]
        apart = {other: np.abs(picture - frames[other]).mean() for other in frames if other.startswith(video)}
        nearest = min(apart, key=lambda other: float(apart[other]))
        if nearest != key:
            return f"{key} shows {nearest}"
    return ""


def _frames_of(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the key and the segmenter's picture of each image of a store."""
    store = Store(path)
    for number in range(len(store)):
        part, masks = store.locate(number)
        for image in map(int, part.column("masks/image")[masks]):
            yield part.text("images/key", image), part.array("images/g_pixel_values").row(image).astype(int)


def _differs(store: Store, number: int, reader: NaiveReader) -> str:
    """Return how a sample differs from what the naive reader reads; "" if it doesn't."""
    part, masks = store.locate(number)
    for mask in masks:
        image = int(part.column("masks/image")[mask])
        key, path = part.text("images/key", image), part.text("images/path", image)
        object_id, time_of = part.text("masks/object_id", int(mask)), int(part.column("images/time")[image])
        try:
            pictures = list(reader.images(path, key))
            segmentation = reader.mask(path, key, object_id, time_of)
        except Exception:
            return f"accepted, but can't be read naively: {traceback.format_exc(limit=-2)}"
        for tensor in ("pixel_values", "g_pixel_values"):
            stored = part.array(f"images/{tensor}").row(image).transpose(1, 2, 0)
            side = (SIZES[tensor], SIZES[tensor])
            resized = [np.asarray(one.resize(side, Image.Resampling.BILINEAR)) for one in pictures]
            if not any(np.array_equal(stored, one) for one in resized):
                return f"{tensor} is not the picture's"
        for tensor, rows in (("prompt_masks", part.column("masks/prompt_masks")), ("masks", None)):
            row = part.array("masks/masks").row(int(mask)) if rows is None else rows[mask]
            drawn = Image.fromarray(segmentation.astype(np.uint8))
            expected = np.asarray(drawn.resize((SIZES[tensor],) * 2, Image.Resampling.NEAREST))
            if not np.array_equal(row, expected):
                return f"{tensor} is not the object's"
    said = store.expressions(number)
    if store.dataset_type in ("refcoco", "mevis") and not set(said) <= reader.expressions(key, object_id):
        return f"{said} is not said about it"
    return ""


# Processes.


def _serve(pipe: Connection, work: Path) -> None:
    """Run cases as they come, within the limit of memory."""
    # Nothing here has to outlive the machine, and waiting for the disk takes most of a run's time.
    os.fsync = lambda _: None
    # Pillow warns of damaged EXIF when the naive reader asks for it.
    warnings.simplefilter("ignore")
    for name in DATASETS:
        undamaged(name, work)
    with Path("/proc/self/statm").open() as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    pipe.send(None)
    while (case := pipe.recv()) is not None:
        try:
            outcome = run_case(case, work)
        except BaseException:
            outcome = Outcome(case, ending="exception", problem=traceback.format_exc(limit=-6))
        pipe.send(outcome)


class _Child:
    """A process that runs cases, one at a time; after a crash or a hang there is a new one."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self.case: Case | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        shutil.rmtree(self._work, ignore_errors=True)
        self._process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        self._process.start()
        theirs.close()
        if not self.pipe.poll(120):
            raise RuntimeError("a process did not start")
        self.pipe.recv()

    def give(self, case: Case) -> None:
        self.case = case
        self.deadline = time.monotonic() + SECONDS
        self.pipe.send(case)

    def take(self) -> Outcome | None:
        """Return the outcome if there is one, or if there never will be."""
        assert self.case is not None
        problem = ""
        if self.pipe.poll(0.005):
            try:
                outcome: Outcome = self.pipe.recv()
            except EOFError:
                self._process.join()
                problem = f"the process died (exit code {self._process.exitcode})"
            else:
                self.case = None
                return outcome
        elif time.monotonic() > self.deadline:
            problem = f"over {SECONDS} s"
        if not problem:
            return None
        outcome = Outcome(self.case, ending="crash or hang", problem=problem)
        self.stop()
        self.case = None
        self._start()
        return outcome

    def stop(self) -> None:
        if self._process.is_alive() and self.case is None:
            self.pipe.send(None)
            self._process.join(5)
        self._process.kill()
        self._process.join()
        self.pipe.close()


def fuzz(cases: Iterable[Case], work: Path, workers: int = 2) -> Iterator[Outcome]:
    """Run cases in some processes; yield how each ended, in no order."""
    waiting = iter(cases)
    children = [_Child(work / str(number)) for number in range(workers)]
    try:
        busy: list[_Child] = []
        while True:
            for child in children:
                if child not in busy and (case := next(waiting, None)) is not None:
                    child.give(case)
                    busy.append(child)
            if not busy:
                return
            for child in list(busy):
                if (outcome := child.take()) is not None:
                    busy.remove(child)
                    yield outcome
    finally:
        for child in children:
            child.stop()


def describe(outcomes: Sequence[Outcome]) -> str:
    """Return a table: how the cases of each format ended."""
    lines = [
        f"{'format':<8} {'cases':>6} {'done':>6} {'rejects':>8} {'refused':>8} {'findings':>9} {'compared':>9}"
    ]
    by_form: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_form.setdefault(outcome.case.target[2], []).append(outcome)
    for form, found in [*sorted(by_form.items()), ("all", list(outcomes))]:
        endings = Counter(outcome.ending for outcome in found)
        problems = sum(bool(outcome.problem) for outcome in found)
        lines.append(
            f"{form:<8} {len(found):>6} {endings['done']:>6} {endings['rejects']:>8} {endings['refused']:>8} "
            f"{problems:>9} {sum(outcome.compared for outcome in found):>9}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the cases of the command line; exit code 1 says that something was found."""
    parser = argparse.ArgumentParser(description="Convert damaged raw datasets.")
    parser.add_argument("--count", type=int, default=2000, help="number of cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, help="run the case of this number in this process")
    parser.add_argument("--keep", type=Path, help="where to leave the files of --only")
    options = parser.parse_args()
    if options.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(run_case(Case(options.only, options.seed), options.keep or Path(folder)))
        return
    outcomes = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        cases = (Case(number, options.seed) for number in range(options.count))
        for outcome in fuzz(cases, Path(folder), options.workers):
            outcomes.append(outcome)
            if outcome.problem:
                what = f"{outcome.case} {outcome.case.target} {outcome.path} {outcome.change}"
                print(f"{what}\n  {outcome.problem}", flush=True)
    print(describe(outcomes))
    print(
        f"{time.monotonic() - started:.0f} s; the slowest took {max(one.seconds for one in outcomes):.1f} s"
    )
    sys.exit(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    main()
