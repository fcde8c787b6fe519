"""The contact sheet of a store as it is asked for: samples are chosen, and drawn."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from PIL import Image

from ...loader.store import Store
from ..errors import ConfigError
from .choose import Worst, choose_by_chance, choose_by_key, choose_worst
from .progress import Progress, silent
from .sheet import draw_sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions:
    """Which samples are shown, and how.

    Attributes:
        seed: of what is drawn by chance.
        keys: of samples or images to show; none for samples that are drawn.
        worst: what the worst are shown by instead; None for none.
        most_compared: how many samples "least-agreement" compares.
        count: how many samples to show at most.
        columns: of the sheet; None for about 1600 pixels.
        height: of a sample's picture, in pixels.
        progress: told how far it is.
    """

    seed: int = 0
    keys: tuple[str, ...] = ()
    worst: Worst | None = None
    most_compared: int = 1000
    count: int = 12
    columns: int | None = None
    height: int = 256
    progress: Progress = silent


class Preview(NamedTuple):
    """A contact sheet, and what is said of it."""

    image: Image.Image
    summary: str
    """Which samples it shows, in a line."""
    facts: dict[str, Any]
    """The same, and what is written below the samples, as JSON values."""
    notes: list[str]
    """What could not be read or drawn."""


def draw_preview(path: str, options: PreviewOptions) -> Preview:
    """Draw samples of a store.

    Args:
        path: of the store, or its URL.
        options: which samples, and how.

    Raises:
        ConfigError: options contradict each other, or ask for what the store has not.
        StoreError: there is no such store, or it can't be read.
    """
    if options.keys and options.worst:
        raise ConfigError("--key and --worst each say which samples to show: give one of them")
    store = Store(path)
    if not len(store):
        raise ConfigError(f"{store.name} has no sample to show")
    if options.keys:
        choice = choose_by_key(store, options.keys, options.count)
    elif options.worst:
        choice = choose_worst(
            store,
            options.worst,
            options.count,
            options.seed,
            options.most_compared,
            options.progress,
        )
    else:
        choice = choose_by_chance(store, options.count, options.seed)
    sheet = draw_sheet(store, choice, options.height, options.columns, options.progress)
    samples = [asdict(one) | {"difference": choice.differences.get(one.sample)} for one in sheet.facts]
    return Preview(
        sheet.image,
        f"{len(choice.samples)} of {len(store):,} samples, {choice.how}",
        {"store": store.name, "how": choice.how, "samples": samples, "notes": sheet.notes},
        sheet.notes,
    )
