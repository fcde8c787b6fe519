"""Which samples of a store are looked at: by chance, by their keys, or the worst by something that can be measured."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...loader.fill import SampleError
from ...loader.format.errors import DamageError, StoreError
from ...loader.format.recipe import is_own_size
from ...loader.open_parts import Unit
from ...loader.order.subset import KeySet
from ...loader.part import Part
from ...loader.store import Store
from ..errors import ConfigError
from .matching import text_hashes
from .progress import Progress, silent

Worst = Literal["smallest-prompts", "largest-masks", "least-agreement"]

AT_ONCE = 8
"""Samples whose images are compared at once: 30 MB of the default recipe."""


class Choice(NamedTuple):
    """Samples of a store, and what they were chosen by."""

    samples: list[int]
    """Their numbers, in the order to show them in."""
    how: str
    """In words, such as "by chance, seed 3"."""
    differences: dict[int, float]
    """How much the image views of samples differ, in levels; empty where they were not compared."""
    unread: list[str]
    """What could not be looked at, and why."""


def choose_by_chance(store: Store, count: int, seed: int) -> Choice:
    """Choose samples by chance, in their order in the store; the same ones for the same seed; of a store at a URL from one part."""
    samples, where = _draw_samples(store, count, seed)
    return Choice(samples, f"by chance{where}, seed {seed}", {}, [])


def choose_by_key(store: Store, keys: Sequence[str], count: int) -> Choice:
    """Choose samples by their keys, or all samples of an image by its key.

    Args:
        store: where they are.
        keys: such as "refcoco/581857/1719310", or "refcoco/581857".
        count: how many samples there may be at most.

    Raises:
        ConfigError: there is none of a key.
        StoreError: there is none in the parts that can be read, and others can't be.
    """
    found: dict[str, list[int]] = {key: [] for key in keys}
    unread: list[str] = []
    for part, start in _tables(store, range(len(store.attributes["parts"])), unread):
        for key, row in _find(part, keys):
            found[key].append(start + row)
    for key, samples in found.items():
        if not samples and unread:
            raise StoreError(
                f"no sample with the key {key!r:.200} is in what can be read; can't read {unread[0]}"
            )
        if not samples:
            example = f"; keys of it are such as {store.key(0)!r}" if len(store) else ""
            raise ConfigError(f"{store.name} has no sample with the key {key!r:.200}{example}")
    samples = list(dict.fromkeys(sample for several in found.values() for sample in several))
    more = f", the first {count} of {len(samples):,}" if len(samples) > count else ""
    return Choice(samples[:count], f"by key{more}", {}, unread)


def choose_worst(
    store: Store, worst: Worst, count: int, seed: int, most_compared: int, progress: Progress = silent
) -> Choice:
    """Choose the worst samples, the worst first; among equals by chance.

    Args:
        store: where they are.
        worst: smallest prompts and largest masks are told by columns, of all samples. For the least agreement image views are
            compared as `check_batch` does it, which takes reading them: of some samples, drawn by chance.
        count: how many to choose.
        seed: of what is drawn.
        most_compared: how many samples have their images compared.
        progress: told of each part, or of some samples that were compared.

    Raises:
        ConfigError: the recipe has no prompt, or no two image views.
    """
    if worst == "least-agreement":
        return _choose_least_agreement(store, count, seed, most_compared, progress)
    measure = _MEASURES[worst]
    best: list[tuple[float, float, int]] = []
    unread: list[str] = []
    numbers = progress(range(len(store.attributes["parts"])), "looking")
    for part, start in _tables(store, numbers, unread):
        values = measure(store, part)
        ties = np.random.default_rng((seed, start)).random(len(values))
        rows = np.lexsort((ties, values))[:count].tolist()
        best += [(values.item(row), ties.item(row), start + row) for row in rows]
        best = sorted(best)[:count]
    samples = [sample for *_, sample in best]
    how = f"{worst.replace('-', ' ')} of {len(store):,}"
    return Choice(samples, how, {}, unread)


def _choose_least_agreement(
    store: Store, count: int, seed: int, most_compared: int, progress: Progress
) -> Choice:
    # torch, which it brings, takes longer to import than a sheet to draw.
    from ...loader.check_views import view_differences

    images = tuple(store.recipe.images)
    if len(images) < 2:
        raise ConfigError(
            f"the recipe of {store.name} has one image view, {images[0]}: there is no other to agree with"
        )
    drawn, where = _draw_samples(store, most_compared, seed)
    measured: list[tuple[float, int]] = []
    unread: list[str] = []
    for first in progress(range(0, len(drawn), AT_ONCE), "looking"):
        some = drawn[first : first + AT_ONCE]
        while some:
            try:
                differences = view_differences(store.sized_batch(some, images), store.recipe)
            except SampleError as err:
                unread.append(str(err))
                del some[err.place]
                continue
            measured += zip(differences, some, strict=True)
            break
    # Of each picture one sample: others would show the same.
    of_pictures = {
        _pictures(store, sample): (difference, sample) for difference, sample in reversed(measured)
    }
    best = sorted(of_pictures.values(), key=lambda one: (-one[0], one[1]))[:count]
    of = f"{len(store):,}"
    if len(drawn) < len(store):
        of = f"{len(drawn):,} of {of}, drawn{where} with seed {seed}"
    differences_of = {sample: difference for difference, sample in best}
    return Choice(list(differences_of), f"least agreement of {of}", differences_of, unread)


def _pictures(store: Store, sample: int) -> tuple[int, ...]:
    """Return what tells the pictures of a sample from those of others."""
    number, _ = store.row_of(sample)
    part, masks = store.locate(sample)
    return number, *part.column("masks/image")[masks].tolist()


def _smallest_prompt(store: Store, part: Part) -> NDArray[np.float64]:
    """Return of each sample the set cells of its prompt, of a pair the fewer."""
    if store.recipe.prompt is None:
        raise ConfigError(f"the recipe of {store.name} has no prompt, of which the smallest could be shown")
    cells = part.column("masks/prompt_cells")[part.column("samples/mask")]
    fewest: NDArray[np.float64] = cells.min(axis=1).astype(np.float64)
    return fewest


def _left_uncovered(store: Store, part: Part) -> NDArray[np.float64]:
    """Return of each sample what share its mask does not cover, of a pair the smaller one.

    Of the picture, where no view tells how large masks are themselves: mostly they are as large.
    """
    own = [name for name, view in store.recipe.masks.items() if is_own_size(view)]
    sizes = (
        part.column(f"masks/{own[0]}_size") if own else part.column("images/size")[part.column("masks/image")]
    )
    shares = part.column("masks/area") / sizes.astype(np.int64).prod(axis=1)
    least: NDArray[np.float64] = 1 - shares[part.column("samples/mask")].max(axis=1)
    return least


_MEASURES: dict[Worst, Callable[[Store, Part], NDArray[np.float64]]] = {
    "smallest-prompts": _smallest_prompt,
    "largest-masks": _left_uncovered,
}
"""What is the worst where it is smallest."""


def _find(part: Part, keys: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield which keys are of which samples of a part."""
    # Of millions of images few are of a wanted key: their names are compared as hashes, and no text is made of others.
    beginnings = KeySet(start for key in keys for start in _beginnings(key))
    images = beginnings.contains(text_hashes(part, "images/key"))
    masks = part.column("samples/mask")
    of_samples = part.column("masks/image")[masks]
    for row in np.flatnonzero(images[of_samples].any(axis=1)).tolist():
        names = {
            part.key(masks[row].tolist()),
            *(part.text("images/key", image) for image in of_samples[row].tolist()),
        }
        yield from ((key, row) for key in keys if key in names)


def _beginnings(key: str) -> Iterator[str]:
    """Yield what of a sample's key can be that of its first image."""
    yield key
    yield from (key[:place] for place, character in enumerate(key) if character in "/+")


def _tables(store: Store, numbers: Iterable[int], unread: list[str]) -> Iterator[tuple[Part, int]]:
    """Yield the tables of parts that can be read, each with the number of its first sample; what can't is added to `unread`."""
    for number in numbers:
        try:
            part = store.open_part(number)
            for path in ("samples/mask", "masks/image"):
                part.column(path)
            yield part, store.numbers_in(number).start
        except DamageError as err:
            unread.append(str(err))


def draw(
    store: Store, unit: Unit, count: int, chance: Random, most_parts: int
) -> tuple[list[int], list[int]]:
    """Draw different samples, or images: their numbers, ascending; and those of the parts they are drawn from.

    Of a store at a URL they are of so many parts, drawn by chance, too: parts are fetched whole.
    """
    parts = list(range(len(store.attributes["parts"])))
    numbers: Sequence[int] = range(store.count(unit))
    if not store.is_local and len(parts) > most_parts:
        filled = [part for part in parts if store.numbers_in(part, unit)]
        parts = sorted(chance.sample(filled, min(most_parts, len(filled))))
        numbers = [number for part in parts for number in store.numbers_in(part, unit)]
    return sorted(chance.sample(numbers, min(count, len(numbers)))), parts


def _draw_samples(store: Store, count: int, seed: int) -> tuple[list[int], str]:
    """Draw samples, of a store at a URL from one part; return where from in words, if that is not the whole store."""
    samples, parts = draw(store, "samples", count, Random(seed), 1)
    is_part = len(parts) == 1 < len(store.attributes["parts"])
    return samples, f" from {store.part_name(parts[0])}" if is_part else ""
