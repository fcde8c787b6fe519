"""Which pictures look alike: perceptual hashes of the stored views, by the package ImageHash, and the search among them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ...loader.format.geometry import view_axes
from ...loader.format.norms import Norm
from ...loader.format.recipe import ImageView, Recipe
from ...loader.store import Store
from .extras import require_package
from .progress import Progress, label, silent

SIDE = 16
"""Of the block of frequencies whose signs are the hash."""
BITS = SIDE * SIDE

DISTANCE = 50
"""Up to how many of the bits differ between pictures that are called near (docs/audit.md has the figures it is chosen by)."""

LEAST_SIDE = 128
"""Of a view that hashes are made of: ImageHash looks at 64 x 64 pixels."""

LEAST_SPREAD = 4.0
"""Standard deviation in levels: a picture of less, such as a black frame, looks like every other of them, and is not compared."""

WORDS = BITS // 64

ROWS_AT_ONCE = 1 << 20
"""Of distances that are computed together: 32 bytes each for a moment."""


class Looks(NamedTuple):
    """How the pictures of a store look."""

    hashes: NDArray[np.uint64]
    """uint64 [I, 4]."""
    mirrored: NDArray[np.uint64]
    """Likewise, of the pictures mirrored left to right; [0, 4] where they were not asked for."""
    plain: NDArray[np.bool_]
    """bool [I]: which show too little to be compared."""
    view: str
    """The view that was looked at."""


class Nearest(NamedTuple):
    """What comes nearest to each picture among those of another store."""

    distance: NDArray[np.int64]
    """int64 [I]: differing bits, BITS + 1 where nothing was compared."""
    place: NDArray[np.int64]
    """int64 [I]: which picture that is."""
    is_mirrored: NDArray[np.bool_]
    """bool [I]: whether it is nearer mirrored."""


def look_at(store: Store, progress: Progress, *, mirrored: bool) -> Looks:
    """Hash every picture of a store as one of its views shows it; what is padding is cut away first.

    Raises:
        ConfigError: the package ImageHash is not installed.
        StoreError: a part is damaged.
    """
    hasher = open_hasher()
    name = choose_view(store.recipe)
    view = store.recipe.images[name]
    count = store.count("images")
    hashes = np.zeros((count, WORDS), np.uint64)
    of_mirrored = np.zeros((count if mirrored else 0, WORDS), np.uint64)
    plain = np.zeros(count, bool)
    image = 0
    for number in progress(range(len(store.attributes["parts"])), f"looks of {label(store)}"):
        part = store.part(number)
        array, sizes = part.array(f"images/{name}"), part.column("images/size")
        for row, (height, width) in enumerate(sizes.tolist()):
            picture = _picture(array.row(row), view, height, width)
            hashes[image] = hasher(picture)
            if mirrored:
                of_mirrored[image] = hasher(ImageOps.mirror(picture))
            small = picture.resize((4 * SIDE, 4 * SIDE), Image.Resampling.BOX)
            plain[image] = np.asarray(small).std() < LEAST_SPREAD
            image += 1
    return Looks(hashes, of_mirrored, plain, name)


def nearest(train: Looks, against: Looks, progress: Progress = silent) -> Nearest:
    """Return for each picture of one store the nearest one of another, as that is or mirrored.

    Every pair is compared: 0.6 billion of them, 120,000 x 5,000, take 5 s of one core.
    """
    others = np.flatnonzero(~against.plain)
    distance = np.full(len(train.hashes), BITS + 1)
    place = np.zeros(len(train.hashes), np.int64)
    is_mirrored = np.zeros(len(train.hashes), bool)
    step = max(ROWS_AT_ONCE // max(len(others), 1), 1)
    blocks = range(-(-len(train.hashes) // step) if len(others) else 0)
    for block in progress(blocks, "pairs that are alike"):
        rows = slice(block * step, (block + 1) * step)
        for turned, hashes in ((False, against.hashes), (True, against.mirrored)):
            bits = differing_bits(train.hashes[rows], hashes[others])
            best = bits.argmin(axis=1)
            least = bits[np.arange(len(bits)), best]
            better = least < distance[rows]
            distance[rows][better] = least[better]
            place[rows][better] = others[best[better]]
            is_mirrored[rows][better] = turned
    distance[train.plain] = BITS + 1
    return Nearest(distance, place, is_mirrored)


def choose_view(recipe: Recipe) -> str:
    """Return the name of the image view that is looked at: one with all of the picture, the smallest that is large enough."""
    whole = {name: view for name, view in recipe.images.items() if view.fit != "crop"} or recipe.images
    enough = [name for name, view in whole.items() if min(view.size) >= LEAST_SIDE]
    area = {name: view.size[0] * view.size[1] for name, view in whole.items()}
    return min(enough, key=area.__getitem__) if enough else max(area, key=area.__getitem__)


def open_hasher() -> Callable[[Image.Image], NDArray[np.uint64]]:
    """Return what gives the hash of a grey picture, uint64 [4].

    Raises:
        ConfigError: the package ImageHash is not installed.
    """
    require_package(
        "imagehash", "ImageHash", "look", "looking for pictures that are alike (unless --no-near)"
    )
    import imagehash

    def hasher(picture: Image.Image) -> NDArray[np.uint64]:
        return np.packbits(imagehash.phash(picture, hash_size=SIDE).hash.ravel()).view("<u8")

    return hasher


def differing_bits(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Return how many bits differ, uint16 [I, J], of uint64 [I, 4] and [J, 4]."""
    bits = np.zeros((len(first), len(second)), np.uint16)
    for word in range(WORDS):
        bits += np.bitwise_count(first[:, word, None] ^ second[None, :, word])
    return bits


def _picture(row: NDArray[Any], view: ImageView, height: int, width: int) -> Image.Image:
    """Return in grey what a stored row, [3, H, W], shows of an original of `height` x `width` pixels, padding cut away."""
    (top, bottom), (left, right) = (
        (round(first), max(round(last), round(first) + 1))
        for first, last in (axis.picture for axis in view_axes(view, height, width))
    )
    seen = row[:, top:bottom, left:right]
    if view.stored == "float32":
        seen = Norm.of(view).to_whole_levels(seen)
    bands = [Image.fromarray(np.ascontiguousarray(band)) for band in seen]
    return Image.merge("RGB", bands).convert("L")
