"""Nothing damaged is delivered: a flipped bit, a row or table that is gone, a file that shrinks are errors that name the sample."""

import errno
import os
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from caches import PIXELS
from damage import flip_bit
from forks import run_in_forks
from publishing import Publisher, published
from stores import COMPACT_IMAGES, READ_WITH_A_SAMPLE, USUAL, specs_of
from torch.utils.data import DataLoader

from resizeonce.loader import (
    BatchLoader,
    BatchOptions,
    CacheOptions,
    Order,
    OrderOptions,
    SampleDataset,
    SampleError,
    SampleIndex,
    Store,
    StoreError,
    collate,
)
from resizeonce.loader.format.shard import shard_path

ROWS = ("masks/masks", "images/pixel_values", "images/g_pixel_values")

FORMS: dict[str, tuple[str, ...]] = {
    "raw": (),
    "float32": ("recipe.pixel_values.stored=float32",),
    "compact": COMPACT_IMAGES,
    "raw 448 and 1024": USUAL,
    "compact 448 and 1024": (*USUAL, *COMPACT_IMAGES),
}


def by_store(store: Path) -> None:
    Store(store).batch(range(10))


def by_dataset(store: Path) -> None:
    list(DataLoader(SampleDataset(store), 5, collate_fn=collate))


def by_loader(workers: int, mode: str, *, compact: bool = False) -> Callable[[Path], None]:
    def read(store: Path) -> None:
        loader = BatchLoader(store, 5, workers, options=BatchOptions(mode=mode, compact=compact))
        try:
            list(loader)
        finally:
            loader.close()

    return read


READERS = {
    "Store": by_store,
    "SampleDataset": by_dataset,
    "in the trainer's thread": by_loader(0, "thread"),
    "compact batches": by_loader(0, "thread", compact=True),
    "by a thread": by_loader(1, "thread"),
}


def file_of(store: Path, part: int, array: str) -> Path:
    return store / f"part-{part:05}" / shard_path(specs_of(store)[array])


def spans(store: Path, array: str) -> Iterator[tuple[int, Path, int, int]]:
    """Yield row, file, first byte and number of bytes of each chunk of an array, its checksum included."""
    opened = Store(store)
    for number in range(len(opened.attributes["parts"])):
        rows = opened.part(number).array(array)
        for row in range(len(rows) if specs_of(store)[array].row_chunks else 1):
            yield (row, rows.path, *rows.span(row))


@pytest.mark.parametrize("form", FORMS)
def test_a_flipped_bit_of_a_row_is_an_error_however_it_is_read(
    coco_of: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    broken = Path(shutil.copytree(coco_of(*FORMS[form]), tmp_path / "broken.zarr"))
    chance = random.Random(form)
    for array in ROWS:
        row, path, start, size = chance.choice(list(spans(broken, array)))
        bit = 8 * start + chance.randrange(8 * size)
        flip_bit(path, bit)
        for name, read in READERS.items():
            with pytest.raises(
                SampleError, match=rf"{path}: row {row} is damaged \(.*\); `resizeonce verify"
            ):
                read(broken)
            assert name
        flip_bit(path, bit)
    by_store(broken)


def test_a_flipped_bit_of_a_row_is_an_error_of_worker_processes(store: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(store, tmp_path / "broken.zarr"))
    _, path, start, _ = next(spans(broken, "masks/masks"))
    flip_bit(path, 8 * start)
    with pytest.raises(SampleError, match=f"{path}: row 0 is damaged"):
        by_loader(2, "process")(broken)


@pytest.mark.parametrize("table", READ_WITH_A_SAMPLE)
def test_a_flipped_bit_of_a_table_is_an_error(sentences: Path, tmp_path: Path, table: str) -> None:
    broken = Path(shutil.copytree(sentences, tmp_path / "broken.zarr"))
    path = file_of(broken, 0, table)
    chance = random.Random(table)
    for _ in range(6):
        bit = chance.randrange(8 * path.stat().st_size)
        flip_bit(path, bit)
        with pytest.raises(SampleError, match=f"sample 0 of {broken} .*{path}"):
            Store(broken).batch([0])
        flip_bit(path, bit)
    Store(broken).batch([0])


def test_of_sixty_bits_flipped_in_rows_none_reaches_a_batch(store: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(store, tmp_path / "broken.zarr"))
    chunks = [(path, start, size) for array in ROWS for _, path, start, size in spans(broken, array)]
    chance = random.Random(60)
    for _ in range(60):
        path, start, size = chance.choice(chunks)
        bit = 8 * start + chance.randrange(8 * (size - 4))
        flip_bit(path, bit)
        with pytest.raises(SampleError):
            by_loader(0, "thread")(broken)
        flip_bit(path, bit)


def test_who_trusts_the_memory_may_do_without_checksums(store: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(store, tmp_path / "broken.zarr"))
    _, path, start, _ = next(spans(broken, "images/g_pixel_values"))
    flip_bit(path, 8 * start)
    trusting = Store(broken, check_rows=False)
    order = Order([SampleIndex(trusting)], OrderOptions(shuffle=None))
    [batch] = BatchLoader(order, 10, 0)
    assert np.array_equal(trusting.batch(range(10))["g_pixel_values"], batch["g_pixel_values"])
    assert np.array_equal(SampleDataset(trusting)[0]["g_pixel_values"], batch["g_pixel_values"][0])
    assert batch["g_pixel_values"][0, 0, 0, 0] == Store(store)[0]["g_pixel_values"][0, 0, 0] ^ 1


def test_an_error_of_a_sample_names_it_in_one_line_and_to_programs(store: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(store, tmp_path / "broken.zarr"))
    path = file_of(broken, 1, "masks/masks")
    flip_bit(path, 8 * 8)
    with pytest.raises(SampleError) as caught:
        Store(broken).batch([0, -6, 1])
    error: SampleError = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value)
    assert str(error) == (
        f"sample -6 of {broken} (coco/3/30): {path}: row 0 is damaged (its checksum is wrong); `resizeonce verify {broken}` "
        f"lists all that is; remove {broken}/part-00001 and run the same `resizeonce convert` again, which makes that part "
        "anew"
    )
    assert (error.store, error.sample, error.part) == (str(broken), 4, "part-00001")
    assert (error.key, error.place, error.is_damage) == ("coco/3/30", 1, True)


def test_a_part_in_the_cache_is_mended_by_fetching_it_again(store: Path, tmp_path: Path) -> None:
    with published(store.parent) as web:
        opened = Store(f"{web.url}/coco.zarr", cache=CacheOptions(folder=tmp_path))
        opened.batch([0])
        flip_bit(opened.path / "part-00000" / PIXELS, 8 * 8)
        with pytest.raises(SampleError, match=r"remove .*/part-00000, and it is fetched again$") as caught:
            opened.batch([0])
        assert caught.value.is_damage
        shutil.rmtree(opened.path / "part-00000")
        Store(f"{web.url}/coco.zarr", cache=CacheOptions(folder=tmp_path)).batch([0])


def test_what_can_not_be_fetched_or_mapped_for_now_is_no_damage(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resizeonce.loader.cache.fetch.PAUSES", (0.0, 0.0))
    with published(store.parent) as web:
        opened = Store(f"{web.url}/coco.zarr", cache=CacheOptions(folder=tmp_path))
        _refuse(web)
        with pytest.raises(SampleError, match="503") as caught:
            opened.batch([0])
    assert not caught.value.is_damage

    def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("resizeonce.loader.array.MappedFile", refuse)
    with pytest.raises(SampleError, match="raise the limit") as caught:
        Store(store).batch([0])
    assert not caught.value.is_damage


def test_a_file_that_can_not_be_looked_at_is_not_told_as_missing(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = Path.stat

    def lose(path: Path, **options: bool) -> os.stat_result:
        if "g_pixel_values" in path.parts:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", lose)
    with pytest.raises(SampleError, match="Stale file handle") as caught:
        Store(store).batch([0])
    assert not caught.value.is_damage


def _refuse(web: Publisher) -> None:
    web.status = lambda _path, _number: 503


SHRINK = """
import os, sys, time
from pathlib import Path
from resizeonce.loader import *
from resizeonce.loader import part

def by_store(opened):
    while True:
        yield opened.batch([0, 1, 2])

def by_key(opened):
    while True:
        yield opened.key(0), opened.expressions(0)

def by_dataset(opened):
    dataset = SampleDataset(opened)
    while True:
        yield dataset[1]

def by_loader(opened, workers=0):
    order = Order([SampleIndex(opened)], OrderOptions(shuffle=None))
    yield from BatchLoader(order, 1, workers, 1, options=BatchOptions(mode="thread"))

def by_thread(opened):
    for batch in by_loader(opened, 1):
        # Until the thread has filled all that it was asked for: between a look at files and their reading nobody looks again.
        time.sleep(0.5)
        yield batch

def shrink(way, store, file):
    batches = way(Store(store))
    next(batches)
    content = Path(file).read_bytes()
    os.truncate(file, len(content) // 2 if len(content) > 8192 else 0)
    try:
        # One may be filled already.
        next(batches), next(batches)
    except StoreError as error:
        print(file, error)
    else:
        print(file, "nothing was said")
    Path(file).write_bytes(content)

part.COPIED_BYTES = 0
store, *files = sys.argv[1:]
for way in (by_store, by_dataset, by_loader):
    for file in files:
        shrink(way, store, file)
for file in files[3:]:
    if "masks/prompt" not in file:
        shrink(by_key, store, file)
for file in files[2:4]:
    shrink(by_thread, store, file)
"""


def test_a_mapped_file_that_shrinks_is_an_error_that_names_it_and_not_the_end_of_the_trainer(
    sentences: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(sentences, tmp_path / "store.zarr"))
    files = [file_of(store, 0, array) for array in (*ROWS, *READ_WITH_A_SAMPLE)]
    [(status, said)] = run_in_forks(tmp_path, [(SHRINK, [store, *files])])
    assert status == 0, said
    lines = said.splitlines()
    assert len(lines) == 3 * 14 + 9 + 2
    for line in lines:
        assert f"{line.partition(' ')[0]} shrank while it was mapped: something writes over the store" in line


def test_a_small_table_that_shrinks_was_read_already(sentences: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(sentences, tmp_path / "store.zarr"))
    opened = Store(store)
    expected = opened.batch([0, 1])
    for table in READ_WITH_A_SAMPLE:
        file_of(store, 0, table).write_bytes(b"")
    assert opened.batch([0, 1])["key"] == expected["key"]
    with pytest.raises(StoreError, match="has 0 bytes, expected"):
        Store(store).batch([0])
