"""The root of a store: its attributes, typed, and whether they agree with each other and with what lies beside them."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ...loader.format.errors import FormatVersionError, StoreError
from ...loader.format.layout import FORMAT_VERSIONS, JOB_FILE, format_version_of, part_name
from ...loader.format.metadata import (
    MAX_ROOT_BYTES,
    Root,
    columns_of,
    decode_metadata,
    has_empty_frames,
    is_whole,
)
from ...loader.format.recipe import Recipe
from ...loader.format.recipe import read_recipe as read_recipe_attributes
from ...loader.format.regular_files import read_document
from ..config import parse_config
from ..errors import ConfigError
from ..store.attempts import ATTEMPTS_FOLDER
from ..store.columns import storable
from ..store.lock import LOCK_FILE
from ..store.root import INDEX_REJECTS_FILE
from ..tensors.shipped import FORMER_RECIPES, RECIPES
from .files import file_fault, stop_where_refused
from .findings import REDO_PART, REDO_STORE, RESTORE, Finding
from .metadata import attributes_of

_WORKING_FILES = (JOB_FILE, LOCK_FILE, ATTEMPTS_FOLDER, INDEX_REJECTS_FILE)


def read_root(store: Path) -> tuple[Root | None, list[Finding]]:
    """Return the root attributes, None where they are too damaged to go on, and what is wrong with them.

    Raises:
        StoreError: there is no store at `store`, or it is not finished.
        FormatVersionError: it is a sound store of another format version.
    """
    path = store / "zarr.json"
    try:
        content = decode_metadata(read_document(path, MAX_ROOT_BYTES))
    except FileNotFoundError:
        return None, [_missing_root(store)]
    except OSError as err:
        stop_where_refused(err, path)
        return None, [_root_fault("root-metadata", f"can't be read: {err.strerror or err}")]
    except ValueError as err:
        return None, [_root_fault("root-metadata", f"it is no JSON: {err}")]
    attributes, faults = attributes_of(content)
    findings = [_root_fault("root-metadata", fault) for fault in faults]
    if attributes is None:
        return None, findings
    whole = is_whole(attributes)
    version = attributes.get("format_version")
    if whole and version not in FORMAT_VERSIONS:
        raise FormatVersionError(
            f"{store} has format version {version!r:.100}, this version of resizeonce checks "
            + " and ".join(map(str, FORMAT_VERSIONS))
        )
    if not whole:
        findings.append(_root_fault("root-digest", "the attributes do not agree with their sha256"))
    try:
        root = msgspec.convert(attributes, Root)
    except msgspec.ValidationError as err:
        return None, [*findings, _root_fault("root-attributes", str(err))]
    if unknown := sorted(attributes.keys() - set(Root.__struct_fields__)):
        text = f"unknown attributes, as of a newer version: {', '.join(unknown):.200}"
        findings.append(Finding(check="root-attributes", level="note", array="zarr.json", found=text))
    return root, findings


def _missing_root(store: Path) -> Finding:
    if (store / JOB_FILE).exists():
        raise StoreError(f"{store} is not finished: run the same `resizeonce convert` again to finish it")
    if not any(store.glob("part-[0-9]*")):
        raise StoreError(f"{store} is no store: {store / 'zarr.json'} is missing")
    return _root_fault("missing-file", "zarr.json is missing, though there are parts")


def _root_fault(check: str, found: str, expected: str = "") -> Finding:
    return Finding(check=check, array="zarr.json", found=found, expected=expected, advice=RESTORE)


def read_recipe(root: Root) -> tuple[Recipe | None, list[Finding]]:
    """Return the recipe, None where it is not one, and what is wrong with it: it must be known, or `custom`."""
    try:
        recipe = read_recipe_attributes(root.recipe)
    except msgspec.ValidationError as err:
        return None, [_root_fault("recipe", f"the recipe is none: {err}")]
    findings = []
    meant = [of[recipe.name] for of in (RECIPES, FORMER_RECIPES) if recipe.name in of]
    if meant and all(list(recipe.views.items()) != list(shipped.views.items()) for shipped in meant):
        findings.append(_root_fault("recipe", f"the recipe is called {recipe.name!r} but is not that recipe"))
    version = format_version_of(recipe, root.columns, empty_frames=root.empty_frames)
    if root.format_version != version:
        text = f"format version {root.format_version}"
        findings.append(
            _root_fault("recipe", text, f"{version}, by the recipe's views, columns and frames without masks")
        )
    wanted = {key: value for key, value in recipe.attributes().items() if key in ("mean", "std")}
    norm = {key: root.recipe.get(key) for key in wanted}
    if norm != wanted:
        findings.append(_root_fault("recipe", f"mean and std are {norm}", f"{wanted}"))
    return recipe, findings


def check_root(store: Path, root: Root) -> Iterator[Finding]:
    """Yield where the root disagrees with itself or with the files beside it."""
    whole: Any = [root.job, *msgspec.to_builtins(root.appended)] if root.appended else root.job
    if hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest() != root.fingerprint:
        yield _root_fault(
            "fingerprint", "the fingerprint is not the SHA-256 of the job and what was appended"
        )
    if any(job.get("recipe") != root.recipe for job in root.jobs):
        yield _root_fault("job", "the job's recipe is not the store's")
    if any(columns_of(job["store"]) != tuple(root.columns) for job in root.jobs):
        yield _root_fault("job", "the job asks for other columns than the store's")
    if any(has_empty_frames(job["source"]) != root.empty_frames for job in root.jobs):
        yield _root_fault("job", f"empty_frames is {root.empty_frames}, and the job's take says otherwise")
    first_parts = [appended.first_part for appended in root.appended]
    if first_parts != sorted({part for part in first_parts if 0 < part < len(root.parts)}):
        yield _root_fault(
            "job", f"what was appended begins with parts {first_parts}", "ascending part numbers"
        )
    try:
        config = parse_config({key: root.job[key] for key in ("source", "store")})
        if config.source != root.dataset:
            yield _root_fault("job", f"the job's source is {config.source!r}", repr(root.dataset))
    except (KeyError, ConfigError) as err:
        yield _root_fault("job", f"the job can't be read: {err}")
    for number, entry in enumerate(root.parts):
        if entry.name != part_name(number):
            yield _root_fault("part-list", f"part {number} is called {entry.name!r}", part_name(number))
    yield from _check_listing(store, root)
    yield from _check_files(store, root)


def _check_listing(store: Path, root: Root) -> Iterator[Finding]:
    listed = {entry.name for entry in root.parts}
    try:
        found = {storable(path.name) for path in store.iterdir()}
    except OSError as err:
        stop_where_refused(err, store)
        raise StoreError(f"{store} can't be listed: {err.strerror or err}") from err
    for name in sorted(listed - found):
        yield Finding(check="missing-part", part=name, found="the part's folder is missing", advice=REDO_PART)
    for name in sorted(found - listed - set(root.files) - {"zarr.json"}):
        if name.startswith("part-") and JOB_FILE in found and name > part_name(len(root.parts) - 1):
            text = "is being appended; the root does not list it yet"
            yield Finding(check="leftover", level="note", part=name, found=text)
        elif name.startswith("part-"):
            yield Finding(
                check="extra-part", part=name, found="the root does not list this part", advice=REDO_STORE
            )
        elif name in _WORKING_FILES or name.endswith(".partial"):
            text = "left over from a conversion that was killed or is still running"
            yield Finding(
                check="leftover", level="note", array=name, found=text, advice="remove it if none is running"
            )
        else:
            yield Finding(check="extra-file", level="note", array=name, found="not of the store")


def _check_files(store: Path, root: Root) -> Iterator[Finding]:
    for name, listed in root.files.items():
        fault, is_there = file_fault(store / name, listed), (store / name).is_file()
        if fault and is_there and (store / JOB_FILE).exists():
            # It is replaced just before the root is, in a store that is appended to.
            yield Finding(check="leftover", level="note", array=name, found=fault)
        elif fault:
            check = "file-digest" if is_there else "missing-file"
            yield Finding(check=check, array=name, found=fault, advice=RESTORE)
