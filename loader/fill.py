"""The way from stored rows to the arrays of a batch, for a batch of any size, one sample included.

One tensor of all samples is filled at once, in one call of a compiled loop. Between two samples a batch's bytes have driven
everything else out of the processor's caches: what Python does for each sample then takes four times as long as it does
for all of them in one go. And a thread gives the interpreter away once for a batch, and not for each row.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, chain, groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .array import MappedArray
from .describe import ChooseExpressions, Describer, Description, Location, join_descriptions
from .format.errors import DamageError, StoreError
from .format.layout import view_path
from .format.recipe import ImageView, MaskView, View, is_own_size, shown_size
from .kernels.batch_kernels import KERNELS, Delivery, Form, Rows, fill_rows, norm_of
from .kernels.core import DAMAGED, DONE, LEFT
from .open_parts import OpenParts, Unit
from .order.clips import Clip
from .order.draws import Draw, draw_sample
from .order.subset import Subset
from .part import Part

SOURCES = "sources"
"""Where views are named: the files that images were read from, of a store that keeps them."""

SURE_AFTER = 64
"""After so many batches in a row that were in memory, most are no longer looked up."""

SKIPPED = 7
"""How many are not, before the next one is. Where that is not in memory, every batch is looked up again; the few that were passed
over are read when they are filled."""


class SampleError(StoreError):
    """Raised when a sample can't be read; names it, the store, the row and what to do.

    Attributes:
        store: the store's path, or its URL without a password.
        sample: its number there; where samples are drawn, that of the image that it is drawn from, a clip's first.
        part: the name of its part, such as "part-00003".
        key: its id, None where the part's tables can't be read.
        place: where it stands in the batch.
        is_damage: whether bytes of the store are not those that were written, or are gone. A part that can't be fetched for
            now, a store that is gone as a whole, or a limit of the system, is no damage.
    """

    def __init__(
        self,
        message: str,
        *,
        store: str = "",
        sample: int = -1,
        part: str = "",
        key: str | None = None,
        place: int = 0,
        is_damage: bool = False,
    ) -> None:
        super().__init__(message)
        self.store, self.sample, self.part = store, sample, part
        self.key, self.place, self.is_damage = key, place, is_damage


_FAULTS = (StoreError, OSError, ValueError, IndexError)
"""What a sample that can't be read raises."""


class Drawing(NamedTuple):
    """What a sample is drawn by, of an image, or of the scene whose first image that is."""

    draw: Draw
    subset: Subset
    key: int
    """Decides what is drawn."""


class BatchRows:
    """The samples of one batch: where each is stored is looked up once, for reading ahead as for filling.

    Args:
        stores: of each sample; all paired or all single, with views of the same names and delivered forms.
        samples: number of each in its store.
        views: names of those to read; "sources" among them are the files of the images.
        drawings: of each sample; None where the stores' own samples are meant.
    """

    def __init__(
        self,
        stores: Sequence[OpenParts],
        samples: Sequence[int],
        views: Sequence[str],
        drawings: Sequence[Drawing] | None = None,
    ) -> None:
        self._stores = stores
        self._samples = samples
        self._views = views
        self._drawings = drawings
        self._unit: Unit = "samples" if drawings is None else "images"
        self._locations: list[Location | None] = [None] * len(samples)
        # Parts of which the lengths of files were compared for this batch.
        self._checked: set[tuple[OpenParts, int]] = set()
        self._describers: dict[OpenParts, Describer] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def with_samples_of(self, places: Sequence[int]) -> "BatchRows":
        """Return a batch of these samples, by their places in this one."""
        stores = [self._stores[place] for place in places]
        drawings = self._drawings and [self._drawings[place] for place in places]
        return BatchRows(stores, [self._samples[place] for place in places], self._views, drawings)

    def _views_of(self, place: int) -> dict[str, View]:
        """Return the views to read of a sample, by their names."""
        views = self._stores[place].recipe.views
        return {name: views[name] for name in self._views if name != SOURCES}

    def _reads_sources(self, place: int) -> bool:
        return SOURCES in self._views and SOURCES in self._stores[place].columns

    def prefetch(self) -> bool:
        """Ask the system to read ahead, and of stores at a URL to fetch ahead, what `fill` will need.

        Returns:
            Whether all of it is known to be in memory.
        """
        self._checked.clear()
        # Filling the batch meets the same fault, and says which sample has it.
        with suppress(*_FAULTS):
            is_there = all(store.is_local for store in self._stores)
            # Locating a sample of a part that has to be fetched would wait for it, and hold up the batches before this one.
            for place in [place for place, is_near in enumerate(self._expect()) if is_near]:
                location = self._locate(place)
                part = self._part(place, location.part)
                if self._reads_sources(place):
                    for row in location.images:
                        is_there &= part.advise_pieces("images/source", "bytes", row)
                for name, view in self._views_of(place).items():
                    path = view_path(name, view)
                    for row in location.rows_of(view):
                        if row < 0:
                            continue
                        if is_own_size(view):
                            is_there &= part.advise_pieces(path, "runs", row)
                        elif not _is_column(view):
                            is_there &= part.array(path).advise(row)
            return is_there
        return False

    def fill(
        self,
        arrays: Mapping[str, NDArray[Any]],
        choose: ChooseExpressions = lambda phrases, _: phrases,
    ) -> dict[str, Any]:
        """Write the samples into the rows of `arrays`; return the other keys of the batch.

        Masks at their own size are lists of `RunLengths`, for `loader.own_size` to expand.

        Args:
            arrays: by name with suffix, such as "masks1", in C order, each of at least as many rows as samples, or as objects.
            choose: which phrases of an object to give.

        Raises:
            IndexError: there is no such sample.
            SampleError: a sample can't be read, for the reason that is its cause.
        """
        self._checked.clear()
        # Parts at a URL arrive side by side while the first of them are read.
        self._expect()
        found: list[Description] = []
        at_once = min(store.max_at_once() for store in set(self._stores))
        filled = dict.fromkeys(arrays, 0)
        for first in range(0, len(self._samples), at_once):
            group = range(first, min(first + at_once, len(self._samples)))
            # In a function of its own, so that nothing keeps its parts open while those of the next are opened.
            found += self._fill_group(group, arrays, filled)
        types = [store.dataset_type for store in self._stores]
        described: dict[str, Any] = {
            "dataset_type": types[0] if len(set(types)) == 1 else types,
            "has_paired_frame": self._drawings is None and self._stores[0].paired,
        }
        return described | join_descriptions(found, choose, is_drawn=self._drawings is not None)

    def _expect(self) -> list[bool]:
        """Begin to read or fetch what is needed of parts; return of each sample whether it waits for a disk at most."""
        return [
            store.expect(sample, self._unit)
            for store, sample in zip(self._stores, self._samples, strict=True)
        ]

    def _part(self, place: int, number: int) -> Part:
        """Return the part of a sample; once for a batch it is looked whether its files are as long as they were."""
        store = self._stores[place]
        part = store.part(number)
        if (store, number) not in self._checked:
            part.check_lengths()
            self._checked.add((store, number))
        return part

    def _locate(self, place: int) -> Location:
        """Return where a sample is stored, looked up now where it was not before."""
        location = self._locations[place]
        if location is None:
            number, row = self._row_of(place)
            part = self._part(place, number)
            if self._drawings is None:
                masks = part.column("samples/mask")[row].tolist()
                images = part.column("masks/image")
                location = Location(number, [images.item(mask) for mask in masks], [masks])
            else:
                drawing = self._drawings[place]
                drawn = draw_sample(part, row, drawing.key, drawing.draw, drawing.subset)
                expressions = drawn.expressions.tolist() if drawing.draw.of == "expressions" else None
                location = Location(number, drawn.images.tolist(), drawn.masks.tolist(), expressions)
            self._locations[place] = location
        return location

    def _row_of(self, place: int) -> tuple[int, int]:
        return self._stores[place].row_of(self._samples[place], self._unit)

    def _fill_group(
        self, group: range, arrays: Mapping[str, NDArray[Any]], filled: dict[str, int]
    ) -> list[Description]:
        """Fill the rows of samples whose parts may be open at once; return the other keys of each.

        `filled` is how many rows of each array are; what is written here is added.
        """
        described: list[Description] = []
        parts: list[Part] = []
        locations: list[Location] = []
        for place in group:
            if self._locations[place] is None:
                # Outside of what is told as the sample's fault: a number that the store has not is the caller's.
                self._row_of(place)
            try:
                location = self._locate(place)
                part = self._part(place, location.part)
                described.append(self._describe(place, part, location))
            except _FAULTS as err:
                raise self._error(place, err) from err
            parts.append(part)
            locations.append(location)
        recipes = [self._stores[place].recipe for place in group]
        for key, name, frame in self._name_views(arrays):
            views = [recipe.views[name] for recipe in recipes]
            rows = [one.rows_of(view, frame) for one, view in zip(locations, views, strict=True)]
            ends = list(accumulate(map(len, rows), initial=filled[key]))
            filled[key] = ends[-1]
            out = _flat_rows(arrays[key], views[0])
            whose = [at for at, own in enumerate(rows) for _ in own]
            with suppress(*_FAULTS):
                of_rows = [views[at] for at in whose], [parts[at] for at in whose], list(chain(*rows))
                _fill_view(name, *of_rows, out[ends[0] : ends[-1]])
                continue
            # One of them is damaged or can't be read: which one, batches of one tell.
            for at, place in enumerate(group):
                count = len(rows[at])
                try:
                    _fill_view(
                        name, [views[at]] * count, [parts[at]] * count, rows[at], out[ends[at] : ends[at + 1]]
                    )
                except _FAULTS as err:
                    raise self._error(place, err) from err
        return described

    def _name_views(self, arrays: Iterable[str]) -> list[tuple[str, str, int | None]]:
        """Return the key in the batch, the view and the frame of each array; None is all frames, along an axis."""
        if self._drawings is not None:
            return [(key, key, None) for key in arrays]
        return [
            (key, key.removesuffix(suffix), frame)
            for frame, suffix in enumerate(self._stores[0].suffixes)
            for key in arrays
            if key.endswith(suffix)
        ]

    def _describe(self, place: int, part: Part, location: Location) -> Description:
        """Return what a batch says of a sample beside its arrays."""
        store = self._stores[place]
        if store not in self._describers:
            reads_sources = self._reads_sources(place)
            self._describers[store] = Describer(store, self._views_of(place), reads_sources=reads_sources)
        describer = self._describers[store]
        if self._drawings is None:
            return describer.describe_sample(part, location)
        is_clip = isinstance(self._drawings[place].draw, Clip)
        return describer.describe_drawn(part, location, is_clip=is_clip)

    def _error(self, place: int, fault: Exception) -> SampleError:
        """Return a fault as one that names its sample."""
        store, sample = self._stores[place], self._samples[place]
        number, _ = self._row_of(place)
        key = None
        # A part that could not be fetched would be asked for once more, and waited for as long.
        if store.is_local or store.is_open(number):
            with suppress(*_FAULTS):
                # Of a part of which the tables can be read.
                location = self._locate(place)
                part = self._part(place, location.part)
                key = (
                    part.key(location.masks[0])
                    if self._drawings is None
                    else part.image_keys(location.images)
                )
        finding = str(fault)
        is_damage = isinstance(fault, DamageError) and store.is_there()
        if isinstance(fault, DamageError):
            remedy = store.describe_mending(number) if is_damage else "the store was moved, or is not mounted"
            finding = f"{fault.finding}; {remedy}"
        return SampleError(
            f"{self._unit[:-1]} {sample} of {store.name} ({key or 'key unknown'}): {finding}",
            store=store.name,
            sample=int(sample) % store.count(self._unit),
            part=store.part_name(number),
            key=key,
            place=place,
            is_damage=is_damage,
        )


class ReadAhead:
    """Has what batches need read ahead, and looks less often where all is in memory: that takes a fortieth of all time."""

    def __init__(self) -> None:
        self._num_found = self._num_skipped = 0

    def prefetch(self, rows: BatchRows) -> None:
        """Have what a batch needs read ahead, as far as it is worth the while to look."""
        if self._num_found >= SURE_AFTER and self._num_skipped < SKIPPED:
            self._num_skipped += 1
            return
        self._num_found = self._num_found + 1 if rows.prefetch() else 0
        self._num_skipped = 0


def choose_views(store: OpenParts, tensors: Sequence[str] | None) -> tuple[str, ...]:
    """Return which views of a store to read: those that are named, or all; "sources" of a store that has them are one.

    Raises:
        ValueError: the recipe has no such view.
    """
    views = (*store.recipe.views, *([SOURCES] if SOURCES in store.columns else []))
    if tensors is None:
        return views
    if unknown := set(tensors) - set(views):
        raise ValueError(
            f"tensors of {store.name} are {', '.join(views)}; not {', '.join(sorted(unknown))}; what is known of a sample, as "
            "its boxes, comes along always"
        )
    return tuple(tensors)


def _is_column(view: View) -> bool:
    """Whether rows of a view are not chunks of their own."""
    return isinstance(view, MaskView) and view.role == "prompt"


def _flat_rows(array: NDArray[Any], view: View) -> NDArray[Any]:
    """Return an array of a batch with all rows of a view along one axis, frames and objects alike."""
    return array.reshape(-1, *array.shape[-3 if isinstance(view, ImageView) else -2 :])


def _fill_view(
    name: str, views: Sequence[View], parts: Sequence[Part], numbers: Sequence[int], out: NDArray[Any]
) -> None:
    """Write one view of samples into the rows of `out`; raise any of the faults where one can't be read.

    Of each row are given what its recipe says of the view, its part, and its number in the table of masks or images there, -1
    for zeros. `out` is of the view's shape and dtype, or those of its compact form, in C order.
    """
    if -1 in numbers:
        # Of objects that are not there in a frame.
        is_there = [number >= 0 for number in numbers]
        for present, stretch in groupby(range(len(numbers)), key=is_there.__getitem__):
            places = list(stretch)
            one = slice(places[0], places[-1] + 1)
            if present:
                _fill_view(name, views[one], parts[one], numbers[one], out[one])
            else:
                out[one] = 0
        return
    if not numbers:
        return
    path = view_path(name, views[0])
    if _is_column(views[0]):
        for room, part, number in zip(out, parts, numbers, strict=True):
            np.copyto(room, part.column(path)[number])
        return
    arrays = [part.array(path) for part in parts]
    (codec, stored, shape, is_checked), *others = {array.form for array in arrays}
    if others:
        # Of stores of several forms.
        for at in range(len(parts)):
            one = slice(at, at + 1)
            _fill_view(name, views[one], parts[one], numbers[one], out[one])
        return
    action, finish_row = KERNELS[Form(codec, stored, out.dtype)]
    delivery = _delivery_of(views[0], shape, parts, numbers)
    done = bytes([LEFT]) * len(arrays)
    # Masks may be delivered as bits: then only their height is that of a row.
    if out.flags.carray and shape[:-1] == out.shape[1:-1]:
        done = fill_rows(action, _rows(arrays, numbers, is_checked), out, delivery)
    if done.count(DONE) == len(done):
        return
    for place, (array, number, state) in enumerate(zip(arrays, numbers, done, strict=True)):
        if state == DAMAGED:
            raise array.damage(number)
        if state == LEFT:
            finish_row(array.row(number), out[place], delivery, place)


def _delivery_of(
    view: View, shape: tuple[int, ...], parts: Sequence[Part], numbers: Sequence[int]
) -> Delivery:
    if not isinstance(view, ImageView) or view.values == "uint8":
        return Delivery(shape)
    if view.fit != "pad":
        return Delivery(shape, norm_of(view))
    sizes = [part.column("images/size")[number].tolist() for part, number in zip(parts, numbers, strict=True)]
    return Delivery(shape, norm_of(view), np.array([shown_size(view, *size) for size in sizes], np.int64))


def _rows(arrays: Sequence[MappedArray], numbers: Sequence[int], is_checked: bool) -> Rows:
    """Return where rows are stored."""
    spans = [array.span(number) for array, number in zip(arrays, numbers, strict=True)]
    return Rows([array.content for array in arrays], np.array(spans, np.int64), is_checked)
