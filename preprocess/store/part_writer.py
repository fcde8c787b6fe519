"""Writes one part of a store: sifted records and tensors in, a folder out, made visible by one rename.

A part is complete or absent. It is written in a folder of this try alone; `commit` describes the arrays, lists every
file with its size and digest, syncs all of it to the disk and renames the folder.
"""

import errno
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...loader.format.errors import PreprocessError, StoreError
from ...loader.format.layout import (
    ATTRIBUTES_KEY,
    REJECTS_FILE,
    TABLES,
    Column,
    Table,
    array_specs,
    part_name,
)
from ...loader.format.recipe import Recipe
from ...loader.format.shard import shard_path
from ..decode.images import pixel_hash
from ..decode.segmentation import Rle
from ..sources.records import Frame, Mask, Pair, Reject, Skip, source_of
from ..tensors.views import Images, Masks, Views
from .array_metadata import describe_array, describe_group
from .attempts import NO_SCENE, Attempt
from .columns import Columns
from .filesystem import make_parents, sync, writing
from .shard_writer import FileDigest, ShardWriter

SMALL_PROMPT_CELLS = 4
"""Sa2VA drops samples whose prompt has fewer set cells than this."""

SYNC_THREADS = 8


class RejectedError(PreprocessError):
    """Raised at the first reject where the command says `--on-error fail`."""


class PartSummary(msgspec.Struct, kw_only=True):
    """What a part holds, and what was left out of it."""

    rows: dict[Table, int]
    empty_prompts: int = 0
    """Masks whose prompt mask has no cell at all."""
    small_prompts: int = 0
    """Masks whose prompt mask has 1 to 3 cells."""
    unsure_turns: int = 0
    """Images stored as they are although EXIF asks for a turn that nothing could confirm."""
    rejects: dict[str, int] = {}
    """How many records were rejected, by stage."""
    skips: dict[str, int] = {}
    """How many were left out by the config or the dataset's own rules, by reason."""
    bytes: int = 0
    """Size of all files but the part's own zarr.json."""
    digest: str = ""
    """SHA-256 of the part's own zarr.json, which lists the digest of every other file."""


class PartWriter:
    """Collects records into one part; leaving the `with` block without `commit` leaves nothing behind.

    Args:
        store: its folder.
        part: number of the part.
        recipe: the views.
        paired: whether samples are pairs of frames.
        columns: which there are beside those of each store.
        max_samples: how many samples to take at most.
        stop_on_reject: whether the first reject is an error.
        run: names the run that this try belongs to.
    """

    def __init__(
        self,
        store: Path,
        part: int,
        recipe: Recipe,
        *,
        paired: bool,
        columns: Collection[Column] = (),
        max_samples: int | None = None,
        stop_on_reject: bool = False,
        run: str = "",
    ) -> None:
        self._store = store
        self._part = part
        self._paired = paired
        self._max_samples = max_samples
        self._stop_on_reject = stop_on_reject
        self._attempt = Attempt(store, part_name(part), run)
        self._folder = self._attempt.folder
        self._recipe = recipe
        self._optional = columns
        self._specs = array_specs(recipe, 2 if paired else 1, columns)
        self._shards: dict[str, ShardWriter] = {}
        self._columns = Columns(self._specs, self._shards)
        self._prompt_cells: Counter[int] = Counter()
        self._rejects: list[Reject] = []
        self._skips: Counter[str] = Counter()
        self._unsure_turns = 0
        self._scene = NO_SCENE
        self._rows: dict[tuple[int, str], int] = {}
        """Of the scene's masks, by frame and object."""
        self._open_shards = ExitStack()

    def __enter__(self) -> "PartWriter":
        with ExitStack() as stack:
            stack.enter_context(self._attempt)
            with writing(self._store):
                self._folder.mkdir()
            stack.push(self._open_shards)
            for spec in self._specs:
                piece_bytes = spec.piece_rows * spec.row_bytes
                shard = ShardWriter(self._folder, shard_path(spec), spec.codec, piece_bytes)
                self._shards[spec.path] = self._open_shards.enter_context(shard)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, trace)

    def deaths(self) -> Counter[int]:
        """Return how many processes of this run died at this part, by the number of the scene they died in."""
        return self._attempt.deaths()

    @property
    def num_rejects(self) -> int:
        """How many records were rejected so far."""
        return len(self._rejects)

    @property
    def is_full(self) -> bool:
        """Whether `max_samples` have been taken."""
        return self._max_samples is not None and self._columns.num_rows("samples") >= self._max_samples

    def room(self) -> int | None:
        """Return how many masks, or pairs, may still be taken, None for any number: of single frames each mask is a sample."""
        if self.is_full:
            return 0
        if self._paired or self._max_samples is None:
            return None
        return self._max_samples - self._columns.num_rows("masks")

    def start_scene(self, scene: int, key: str) -> None:
        """Say which scene of the dataset the next records belong to."""
        self._attempt.enter_scene(scene)
        self._scene = scene
        with writing(self._store):
            self._columns.append_text("scenes/key", key)
        self._rows.clear()

    def add_frame(self, frame: Frame, views: Views) -> None:
        """Take one frame of the current scene, with its tensors, each of which is made here.

        Raises:
            StoreError: the file system refuses to take it.
        """
        images = views.images()
        with writing(self._store):
            self._write_image(frame, images)
            for mask, make_masks in zip(frame.masks, views.masks, strict=True):
                self._rows[frame.time, mask.object_id] = self._columns.num_rows("masks")
                self._write_mask(mask, make_masks(), frame.image.shape[:2])

    def add(self, record: Pair | Reject | Skip) -> None:
        """Take one record of the current scene that has no tensors; of a pair, the masks of both frames are there.

        Raises:
            RejectedError: the record is a reject, and the first one is to stop the run.
            StoreError: the file system refuses to take it.
        """
        if isinstance(record, Pair):
            rows = [self._rows[time, record.object_id] for time in (record.time1, record.time2)]
            with writing(self._store):
                self._columns.append("samples/mask", rows)
        elif isinstance(record, Skip):
            self._skips[record.reason] += record.count
        elif self._stop_on_reject:
            raise RejectedError(f"{record.key} ({record.path}), stage {record.stage}: {record.reason}")
        else:
            self._rejects.append(record)

    def commit(self) -> PartSummary:
        """Finish the part's files and make it visible under its final name.

        Raises:
            StoreError: the file system refuses; nothing became visible.
        """
        self._attempt.enter_scene(NO_SCENE)
        with writing(self._store):
            files = self._finish_arrays() | self._write_documents()
            summary = self._describe(files)
            self._publish(summary.digest)
        return summary

    def _write_image(self, frame: Frame, images: Images) -> None:
        for name, image in images.items():
            self._shards[f"images/{name}"].append(image)
        self._columns.append("images/size", frame.image.shape[:2])
        self._columns.append("images/scene", self._scene)
        self._columns.append("images/time", frame.time)
        self._columns.append_text("images/key", frame.key)
        self._columns.append_text("images/path", frame.path)
        if "sources" in self._optional:
            self._columns.append_bytes("images/source", source_of(frame))
        if "hashes" in self._optional:
            digest = pixel_hash(frame.image)
            self._columns.append("images/pixel_sha256", np.frombuffer(digest, np.uint8))
        self._unsure_turns += frame.unsure_turn

    def _write_mask(self, mask: Mask, masks: Masks, image_size: tuple[int, ...]) -> None:
        row = self._columns.num_rows("masks")
        for name, resized in masks.items():
            if not isinstance(resized, np.ndarray):
                self._columns.append_runs(f"masks/{name}", resized.size, resized.run_lengths)
            elif name == self._recipe.prompt:
                self._columns.append(f"masks/{name}", resized)
                cells = int(np.count_nonzero(resized))
                self._prompt_cells[cells] += 1
                self._columns.append("masks/prompt_cells", cells)
            else:
                self._shards[f"masks/{name}"].append(resized)
        self._columns.append("masks/image", self._columns.num_rows("images") - 1)
        self._columns.append("masks/area", mask.segmentation.area)
        if "boxes" in self._optional:
            self._columns.append("masks/box", _box_in_image(mask.segmentation, image_size))
        self._columns.append_text("masks/object_id", mask.object_id)
        self._columns.append_text("masks/category", mask.category)
        for expression in mask.expressions:
            self._columns.append("expressions/mask", row)
            self._columns.append_text("expressions/text", expression)
        if not self._paired:
            self._columns.append("samples/mask", (row,))

    def _finish_arrays(self) -> dict[str, FileDigest]:
        """Close every shard file; return the files' digests by their path below the part."""
        self._columns.flush()
        self._open_shards.close()
        digests = {shard_path(spec): self._shards[spec.path].digest for spec in self._specs}
        return {path: digest for path, digest in digests.items() if digest}

    def _write_documents(self) -> dict[str, FileDigest]:
        """Write the metadata of tables and arrays, and the rejects; return the digests as `_finish_arrays` does."""
        files = {f"{table}/zarr.json": describe_group() for table in TABLES}
        for spec in self._specs:
            files[f"{spec.path}/zarr.json"] = describe_array(spec, self._columns.length(spec))
        if self._rejects:
            files[REJECTS_FILE] = encode_rejects(self._rejects)
        for path, content in files.items():
            make_parents(self._folder, path)
            (self._folder / path).write_bytes(content)
        return {path: _digest_of(content) for path, content in files.items()}

    def _describe(self, files: Mapping[str, FileDigest]) -> PartSummary:
        """Write the part's own metadata; return what it says of the part, with its digest."""
        summary = PartSummary(
            rows={table: self._columns.num_rows(table) for table in TABLES},
            empty_prompts=self._prompt_cells[0],
            small_prompts=sum(self._prompt_cells[few] for few in range(1, SMALL_PROMPT_CELLS)),
            unsure_turns=self._unsure_turns,
            rejects=dict(Counter(reject.stage for reject in self._rejects)),
            skips=dict(self._skips),
            bytes=sum(digest.bytes for digest in files.values()),
        )
        attributes: dict[str, Any] = {"part": self._part, **msgspec.to_builtins(summary)}
        del attributes["digest"]
        attributes["files"] = {path: asdict(files[path]) for path in sorted(files)}
        metadata = {"attributes": {ATTRIBUTES_KEY: attributes}, "zarr_format": 3, "node_type": "group"}
        encoded = json.dumps(metadata, indent=1).encode()
        (self._folder / "zarr.json").write_bytes(encoded)
        summary.digest = _digest_of(encoded).sha256
        return summary

    def _publish(self, digest: str) -> None:
        found = [Path(folder, name) for folder, _, names in os.walk(self._folder) for name in ("", *names)]
        with ThreadPoolExecutor(SYNC_THREADS) as threads:
            # Syncs that wait together share the disk's journal; one after the other, each waits for its own turn.
            list(threads.map(sync, found))
        target = self._store / part_name(self._part)
        try:
            self._folder.rename(target)
        except OSError as err:
            if err.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # A try on another machine that was believed dead may have been first, with the same bytes.
            if _digest_of((target / "zarr.json").read_bytes()).sha256 != digest:
                raise StoreError(
                    f"{target} was written by another run meanwhile: see that none runs, then begin again"
                ) from err
        sync(self._store)


def _box_in_image(mask: Rle, image_size: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the box around a mask, x0, y0, x1, y1 in pixels of its image, which may be of another resolution."""
    (height, width), (mask_height, mask_width) = image_size, mask.size
    scale = np.array([width / mask_width, height / mask_height] * 2)
    return scale * mask.box


def encode_rejects(rejects: Iterable[Reject]) -> bytes:
    """Return rejects as lines of JSON."""
    encoder = msgspec.json.Encoder(order="deterministic")
    return b"".join(encoder.encode(reject) + b"\n" for reject in rejects)


def _digest_of(encoded: bytes) -> FileDigest:
    return FileDigest(len(encoded), hashlib.sha256(encoded).hexdigest())
