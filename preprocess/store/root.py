"""The end of a run: the list of rejects and, last, the root attributes of a store.

The root's `zarr.json` appears in one rename: a folder without it is no store yet, and a store that is appended to is
the old one until then.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...loader.format.errors import StoreError
from ...loader.format.layout import ATTRIBUTES_KEY, JOB_FILE, REJECTS_FILE, TABLES, part_name
from ...loader.format.limits import describe_refused_read
from ...loader.format.metadata import (
    MAX_REJECTS_BYTES,
    Root,
    attributes_digest,
    columns_of,
    has_empty_frames,
    read_attributes,
    read_part_attributes,
)
from ...loader.format.regular_files import open_binary, read_document
from ..sources.records import Reject
from .attempts import sweep_attempts
from .filesystem import write_whole, writing
from .part_writer import PartSummary
from .plan import Plan, library_versions

MAX_LINE_BYTES = 1 << 20
"""Of one reject in a list of them."""

INDEX_REJECTS_FILE = ".index-rejects.jsonl"
"""What the dataset's index itself shows to be unusable; stands in the root of an unfinished store."""


def read_part_summary(store: Path, part: int) -> PartSummary | None:
    """Return what a part holds, None where there is no such part yet.

    Raises:
        StoreError: the part's metadata is damaged.
    """
    folder = store / part_name(part)
    try:
        attributes, digest = read_part_attributes(folder)
        summary = msgspec.convert(attributes, PartSummary)
    except FileNotFoundError:
        return None
    except OSError as err:
        refusal = describe_refused_read(err)
        advice = f"{refusal}; then" if refusal else f"remove {folder} and"
        raise StoreError(
            f"can't read {folder / 'zarr.json'} ({err.strerror or err}): {advice} run the command again"
        ) from err
    except msgspec.ValidationError as err:
        raise StoreError(
            f"{folder / 'zarr.json'} is damaged: remove {folder} and run the command again"
        ) from err
    if attributes["part"] != part:
        raise StoreError(
            f"{folder} says that it is part {attributes['part']}: remove it and run the command again"
        )
    summary.digest = digest
    return summary


def read_rejects(store: Path) -> Iterator[Reject]:
    """Yield what could not be converted, in the order of the dataset.

    Raises:
        StoreError: the list is damaged.
    """
    path = store / REJECTS_FILE
    if not path.exists():
        return
    try:
        with open_binary(path) as file:
            # A line without an end is none of ours.
            yield from _parse_rejects(iter(lambda: file.readline(MAX_LINE_BYTES), b""), path)
    except OSError as err:
        raise StoreError(f"can't read {path}: {err.strerror or err}") from err


def finish_store(out: Path, plan: Plan, summaries: Sequence[PartSummary]) -> dict[str, Any]:
    """Write the list of rejects and, last, the root attributes; return the attributes.

    The summaries are of the plan's parts, in order; fewer than planned where a limit was reached.

    Raises:
        StoreError: the file system refuses, or a part is gone.
    """
    old = read_attributes(out) if plan.first_part else None
    parts = [] if old is None else list(old["parts"])
    index_rejects = _index_rejects(out, old)
    parts += [
        {"name": part_name(part), "rows": summary.rows, "bytes": summary.bytes, "sha256": summary.digest}
        for part, summary in enumerate(summaries, start=plan.first_part)
    ]
    added = {"job": plan.job, "first_part": plan.first_part, "first_scene": plan.first_scene}
    files = _write_rejects(out, index_rejects, parts)
    new = index_rejects if old is None else _read(out / INDEX_REJECTS_FILE)
    totals = sum_summaries(_parse_rejects(new.splitlines(), out / INDEX_REJECTS_FILE), summaries)
    attributes: dict[str, Any] = {
        "format_version": plan.job["format_version"],
        "dataset": plan.job["source"]["name"],
        "dataset_type": plan.dataset_type,
        "paired": plan.paired,
        "recipe": plan.job["recipe"],
        **({"columns": list(columns)} if (columns := columns_of(plan.job["store"])) else {}),
        **({"empty_frames": True} if has_empty_frames(plan.job["source"]) else {}),
        "job": plan.job if old is None else old["job"],
        "appended": [] if old is None else [*old["appended"], added],
        "parts": parts,
        "files": files,
        "totals": totals if old is None else _add(old["totals"], totals),
        "versions": library_versions(),
    }
    attributes["fingerprint"] = fingerprint_of(attributes["job"], attributes["appended"])
    attributes["sha256"] = attributes_digest(attributes)
    try:
        msgspec.convert(attributes, Root)
    except msgspec.ValidationError as err:
        # Only where somebody else wrote the plan or a part.
        raise StoreError(
            f"{out} can't be finished: its plan or one of its parts is damaged, or not of this project ({err}); give "
            "--overwrite to make the store anew, or choose another --out"
        ) from err
    metadata = {"attributes": {ATTRIBUTES_KEY: attributes}, "zarr_format": 3, "node_type": "group"}
    write_whole(out / "zarr.json", json.dumps(metadata, indent=1).encode())
    tidy(out)
    return attributes


def tidy(out: Path) -> None:
    """Remove what a run left beside a finished store."""
    with writing(out):
        for name in (JOB_FILE, INDEX_REJECTS_FILE):
            (out / name).unlink(missing_ok=True)
        sweep_attempts(out)


def fingerprint_of(job: Mapping[str, Any], appended: Sequence[Mapping[str, Any]]) -> str:
    """Return what identifies all that decides what a store holds: the SHA-256 of its job, and of what was appended."""
    whole: Any = [job, *appended] if appended else job
    return digest_of(json.dumps(whole, sort_keys=True).encode())


def sum_summaries(index_rejects: Iterable[Reject], summaries: Iterable[PartSummary]) -> dict[str, Any]:
    """Return the totals of parts, with what the source's index rejected."""
    totals: dict[str, Any] = dict.fromkeys((*TABLES, "empty_prompts", "small_prompts"), 0)
    stages = Counter(reject.stage for reject in index_rejects)
    totals |= {"unsure_turns": 0, "rejects": stages, "skips": {}, "bytes": 0}
    for summary in summaries:
        counts = msgspec.to_builtins(summary)
        totals = _add(totals, counts["rows"] | {name: counts[name] for name in totals if name not in TABLES})
    for name in ("rejects", "skips"):
        totals[name] = dict(sorted(totals[name].items()))
    return totals


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def _parse_rejects(lines: Iterable[bytes], path: Path) -> Iterator[Reject]:
    for number, line in enumerate(lines, start=1):
        try:
            yield msgspec.json.decode(line, type=Reject)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
            raise StoreError(
                f"{path} is damaged: line {number} is no reject ({err}); restore the file from a copy of the store, or "
                "convert again with --overwrite"
            ) from err


def _add(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sums of counts, and of counts by name, under each key of either."""
    return {
        name: _add(first.get(name, {}), second.get(name, {}))
        if isinstance(first.get(name, second.get(name)), Mapping)
        else first.get(name, 0) + second.get(name, 0)
        for name in {**first, **second}
    }


def _index_rejects(out: Path, old: Mapping[str, Any] | None) -> bytes:
    """Return the index's rejects as lines: those that the store has already, then those of this run."""
    if old is None:
        return _read(out / INDEX_REJECTS_FILE)
    # In the list they come before those of the parts; also in a list that a killed run wrote for the new root.
    listed = sum(file["bytes"] for name, file in old["files"].items() if name == REJECTS_FILE)
    of_parts = sum(len(_read(out / part["name"] / REJECTS_FILE)) for part in old["parts"])
    return _read(out / REJECTS_FILE)[: listed - of_parts] + _read(out / INDEX_REJECTS_FILE)


def _write_rejects(out: Path, index_rejects: bytes, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write the list of rejects, if there are any; return it by name with its size and digest."""
    for part in parts:
        if not (out / part["name"] / "zarr.json").exists():
            raise StoreError(f"{out / part['name']} was there and is gone: run the same command again")
    content = index_rejects + b"".join(_read(out / part["name"] / REJECTS_FILE) for part in parts)
    if not content:
        # One that is there is nobody's: a store without rejects has no list.
        with writing(out):
            (out / REJECTS_FILE).unlink(missing_ok=True)
        return {}
    write_whole(out / REJECTS_FILE, content)
    return {REJECTS_FILE: {"bytes": len(content), "sha256": digest_of(content)}}


def _read(path: Path) -> bytes:
    """Return a list of rejects, b"" where there is none."""
    try:
        return read_document(path, MAX_REJECTS_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as err:
        refusal = describe_refused_read(err)
        advice = f"{refusal}; then" if refusal else "remove it and"
        raise StoreError(f"can't read {path}: {err.strerror or err}; {advice} run the command again") from err
