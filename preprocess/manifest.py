"""The store's own files at its root: the job while it runs, the attributes and the list of rejects when it is done.

`.job.json` says what the parts of an unfinished store were made from. The root's `zarr.json` is written last, in one
rename: a folder without it is no store yet.
"""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from PIL import features

from preprocess import __version__
from preprocess.config import Config
from preprocess.errors import StoreError
from preprocess.layout import (
    ATTRIBUTES_KEY,
    FORMAT_VERSION,
    JOB_FILE,
    REJECTS_FILE,
    TABLES,
    attributes_digest,
    part_name,
    read_attributes,
    read_part_attributes,
)
from preprocess.records import Reject
from preprocess.sources.base import Source
from preprocess.writer import PartSummary, sync

LOCK_FILE = ".lock"


def describe_job(config: Config, source: Source, limit: int | None) -> dict[str, Any]:
    """Return everything that decides what a store holds, as JSON values."""
    return {
        "format_version": FORMAT_VERSION,
        **config.attributes(),
        "files": source.fingerprint(),
        "limit": limit,
    }


def library_versions() -> dict[str, str]:
    """Return the versions that stored bytes depend on."""
    packages = ("numpy", "pillow", "pycocotools", "numcodecs", "zarr")
    versions = {"resizeonce": __version__, "python": platform.python_version()}
    versions |= {package: version(package) for package in packages}
    return versions | {"libjpeg": features.version("jpg") or "unknown"}


def prepare_store(out: Path, job: dict[str, Any], *, overwrite: bool) -> bool:
    """Make `out` ready for a job, or find it done already; a store that lacks parts is made unfinished again.

    Returns:
        Whether the store is complete and of this very job.

    Raises:
        StoreError: `out` holds something else, or a store of another job.
    """
    if overwrite and out.exists():
        _remove_store(out)
    if (out / "zarr.json").exists():
        attributes = read_attributes(out)
        _check_same_job(out, attributes["job"], job)
        if all((out / part["name"]).exists() for part in attributes["parts"]):
            return True
        # A damaged part is mended by removing it: the store becomes an unfinished one again.
        versions = {"versions": attributes["versions"]}
        _check_same_job(out, versions, {"versions": library_versions()})
        write_whole(out / JOB_FILE, json.dumps(job | versions, indent=1).encode())
        (out / "zarr.json").unlink()
        return False
    # Parts of one store are made by the same libraries, too: Pillow 13 resizes to other bytes than Pillow 12.
    job = job | {"versions": library_versions()}
    if (out / JOB_FILE).exists():
        _check_same_job(out, _read_job(out), job)
        return False
    if out.exists() and any(path.name != LOCK_FILE for path in out.iterdir()):
        raise StoreError(f"{out} exists and is no store: choose another --out, or empty it yourself")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / JOB_FILE, json.dumps(job, indent=1).encode())
    return False


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
    except msgspec.ValidationError as err:
        raise StoreError(
            f"{folder / 'zarr.json'} is damaged: remove {folder} and run the command again"
        ) from err
    summary.digest = digest
    return summary


def read_rejects(store: Path) -> Iterator[Reject]:
    """Yield what could not be converted, in the order of the dataset."""
    path = store / REJECTS_FILE
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                yield msgspec.json.decode(line, type=Reject)


def finish_store(
    out: Path, job: dict[str, Any], source: Source, summaries: Sequence[PartSummary]
) -> dict[str, Any]:
    """Write the list of rejects and, last, the root attributes; return the attributes."""
    files = _write_rejects(out, source, len(summaries))
    attributes: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "dataset": job["source"]["name"],
        "dataset_type": source.dataset_type,
        "paired": source.paired,
        "recipe": job["recipe"],
        "fingerprint": digest_of(json.dumps(job, sort_keys=True).encode()),
        "job": job,
        "parts": [
            {
                "name": part_name(part),
                "rows": summary.rows,
                "bytes": summary.bytes,
                "sha256": summary.digest,
            }
            for part, summary in enumerate(summaries)
        ],
        "files": files,
        "totals": sum_summaries(source, summaries),
        "versions": library_versions(),
    }
    attributes["sha256"] = attributes_digest(attributes)
    metadata = {"attributes": {ATTRIBUTES_KEY: attributes}, "zarr_format": 3, "node_type": "group"}
    for leftover in out.glob(".part-*.partial"):
        shutil.rmtree(leftover)
    write_whole(out / "zarr.json", json.dumps(metadata, indent=1).encode())
    (out / JOB_FILE).unlink(missing_ok=True)
    return attributes


def sum_summaries(source: Source, summaries: Sequence[PartSummary]) -> dict[str, Any]:
    """Return the totals of a store's parts, with what the source's index rejected."""
    rejects: dict[str, int] = {}
    skips: dict[str, int] = {}
    for reject in source.rejects:
        rejects[reject.stage] = rejects.get(reject.stage, 0) + 1
    for summary in summaries:
        for counts, more in ((rejects, summary.rejects), (skips, summary.skips)):
            for name, count in more.items():
                counts[name] = counts.get(name, 0) + count
    return {
        **{table: sum(summary.rows[table] for summary in summaries) for table in TABLES},
        "empty_prompts": sum(summary.empty_prompts for summary in summaries),
        "small_prompts": sum(summary.small_prompts for summary in summaries),
        "unsure_turns": sum(summary.unsure_turns for summary in summaries),
        "rejects": dict(sorted(rejects.items())),
        "skips": dict(sorted(skips.items())),
        "bytes": sum(summary.bytes for summary in summaries),
    }


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is absent or complete, also after a crash."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def _read_job(out: Path) -> dict[str, Any]:
    try:
        job: dict[str, Any] = json.loads((out / JOB_FILE).read_bytes())
    except ValueError as err:
        raise StoreError(f"{out / JOB_FILE} is damaged: give --overwrite to make the store anew") from err
    return job


def _write_rejects(out: Path, source: Source, num_parts: int) -> dict[str, Any]:
    """Write the list of rejects, if there are any; return it by name with its size and digest."""
    encoder = msgspec.json.Encoder(order="deterministic")
    content = b"".join(encoder.encode(reject) + b"\n" for reject in source.rejects)
    for part in range(num_parts):
        path = out / part_name(part) / REJECTS_FILE
        if path.exists():
            content += path.read_bytes()
    if not content:
        return {}
    write_whole(out / REJECTS_FILE, content)
    return {REJECTS_FILE: {"bytes": len(content), "sha256": digest_of(content)}}


def _remove_store(out: Path) -> None:
    """Remove what a store holds, finished or not; refuse to remove anything else."""
    content = [path for path in out.iterdir() if path.name != LOCK_FILE]
    if content and not _is_ours(out):
        raise StoreError(f"{out} is no store, so --overwrite does not remove it: choose another --out")
    # The root goes first: a half removed store can't be taken for a whole one.
    for path in sorted(content, key=lambda path: path.name != "zarr.json"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_ours(out: Path) -> bool:
    """Whether a folder is a store, finished or not; any other Zarr group is somebody else's."""
    if (out / JOB_FILE).exists():
        return True
    try:
        return ATTRIBUTES_KEY in json.loads((out / "zarr.json").read_bytes())["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_same_job(out: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    differences = list(_differences(found, wanted))
    if differences:
        raise StoreError(
            f"{out} was made by another command, and a store is never a mix. It differs in: "
            + "; ".join(differences)
            + ". Choose another --out, or give --overwrite to make it anew."
        )


def _differences(found: Any, wanted: Any, place: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            yield from _differences(found.get(key), wanted.get(key), f"{place}.{key}" if place else key)
    elif found != wanted:
        yield f"{place} was {found!r}, is now {wanted!r}"
