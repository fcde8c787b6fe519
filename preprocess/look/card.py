"""The card of a store: a page for the Hugging Face Hub, a Croissant document, and a preview in Parquet if it is asked for."""

import re
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from ...loader import Store
from ...loader.format.metadata import MAX_ROOT_BYTES, parse_attributes
from ...loader.format.regular_files import read_document
from ...loader.format.user_cache import absolute
from ..errors import ConfigError
from ..remote.path import local_path
from ..sources.origins import Licence, Origin, origin_of
from ..store.root_files import root_folder
from .card_text import CardFacts, card_text
from .croissant import croissant
from .output_file import check_output_folder, write_output
from .parquet_preview import PREVIEW_FILE, make_preview

PAGE_FILE = "README.md"
CROISSANT_FILE = "croissant.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardOptions:
    """What a card says beside what its store does."""

    name: str = ""
    """Of the dataset; by default its origin's."""
    licence: str = ""
    """The Hub's identifier of a licence, for data whose origin has none, or another one than that."""
    address: str = ""
    """Where the dataset is described, likewise."""
    parquet: Path | None = None
    """The folder of the preview, the card's own or one below it; None for none."""
    count: int = 100
    """How many samples the preview has at most."""
    height: int = 256
    """Of its thumbnails, in pixels."""
    seed: int = 0
    """Which samples."""
    overwrite: bool = False
    """Whether files of those names may be replaced."""
    today: date | None = None
    """The date that the card has; by default today."""


def write_card(store: str | Path, out: Path, options: CardOptions | None = None) -> list[Path]:
    """Write the card of a store at a path or URL into a folder, which is made where it is missing; return its files.

    Raises:
        ConfigError: files are there already, can't be written, or an option can't be used.
        StoreError: the store can't be read.
    """
    options = options or CardOptions()
    out = absolute(out)
    preview_folder = out if options.parquet is None else absolute(options.parquet)
    files = [out / PAGE_FILE, out / CROISSANT_FILE]
    if options.parquet is not None:
        files.append(preview_folder / PREVIEW_FILE)
    _check(out, preview_folder, files, options)
    opened = Store(store)
    with root_folder(store) as root:
        document = read_document(root / "zarr.json", MAX_ROOT_BYTES)
        attributes = parse_attributes(document, opened.name)
    origin = _owned(origin_of(attributes["job"]["source"]), options)
    reference = _reference(store, out)
    facts = CardFacts(
        store=opened,
        attributes=attributes,
        root_document=document,
        origin=origin,
        title=options.name or (f"{origin.name} for training" if origin.address else Path(reference).stem),
        reference=reference,
        date=options.today or date.today(),
        preview=None
        if options.parquet is None
        else make_preview(opened, options.count, options.height, options.seed),
        preview_path=(preview_folder / PREVIEW_FILE).relative_to(out).as_posix(),
    )
    contents = [card_text(facts).encode(), croissant(facts).encode()]
    if facts.preview is not None:
        contents.append(facts.preview.content)
    for path, content in zip(files, contents, strict=True):
        write_output(path, content)
    return files


def _check(out: Path, preview_folder: Path, files: list[Path], options: CardOptions) -> None:
    check_output_folder(out)
    check_output_folder(preview_folder)
    if not preview_folder.is_relative_to(out):
        raise ConfigError(
            f"{preview_folder} is outside of the card's folder, {out}: the card names the preview by its path below that"
        )
    if options.licence and not re.fullmatch("[a-z0-9][a-z0-9.-]*", options.licence):
        raise ConfigError(
            f"{options.licence!r} is no identifier of a licence as the Hugging Face Hub has them, such as cc-by-4.0"
        )
    there = [path for path in files if path.exists() or path.is_symlink()]
    if there and not options.overwrite:
        raise ConfigError(f"{there[0]} is there already: give another folder, or --overwrite to replace it")


def _owned(origin: Origin, options: CardOptions) -> Origin:
    """Return an origin with what the owner says of it."""
    if options.name:
        origin = replace(origin, name=options.name)
    if options.licence:
        licence = Licence("data", options.licence, identifier=options.licence)
        origin = replace(origin, licences=(licence,), note="")
    return replace(origin, address=options.address) if options.address else origin


def _reference(store: str | Path, out: Path) -> str:
    """Return how a card names its store: by its URL without secrets, by its path below the card's folder, or as if it lay there."""
    folder = local_path(store)
    if folder is None:
        # Whoever reads the card needs another name and password, and another signature, than whoever wrote it.
        return re.sub("//[^/@]*@", "//", str(store)).partition("?")[0].rstrip("/")
    folder = absolute(folder)
    return folder.relative_to(out).as_posix() if folder.is_relative_to(out) else folder.name
