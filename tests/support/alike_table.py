"""How many changed pictures `resizeonce audit` finds again by their perceptual hashes, and how many others it takes for them.

Pictures are those of a folder, each different, and photographs of scikit-image. What is changed, and which distances are
counted, is as docs/audit.md has it.
"""

import argparse
import io
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageOps

from resizeonce.preprocess.look.perceptual import differing_bits, open_hasher

PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip

DISTANCES = (30, 40, 50, 60)
SIDE = 448
TILE = 256


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def halved(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)


def cropped(picture: Image.Image, share: float, *, middle: bool) -> Image.Image:
    cut = [round(side * share) for side in picture.size]
    left, top = (pixels // 2 if middle else pixels for pixels in cut)
    return picture.crop((left, top, left + picture.width - cut[0], top + picture.height - cut[1]))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    **{f"JPEG of quality {quality}": lambda one, quality=quality: jpeg(one, quality) for quality in (90, 70, 50, 30)},
    "half the size": halved,
    "half the size; then quality 50": lambda one: jpeg(halved(one), 50),
    "mirrored; then half the size and quality 50": lambda one: jpeg(halved(ImageOps.mirror(one)), 50),
    **{
        f"{share:.0%} of each side cropped, {'in the middle' if middle else 'at a corner'}": (
            lambda one, share=share, middle=middle: cropped(one, share, middle=middle)
        )
        for share in (0.02, 0.05, 0.1, 0.2)
        for middle in (True, False)
    },
}  # fmt: skip


def hashes_of(pictures: list[Image.Image], side: int) -> NDArray[np.uint64]:
    hasher = open_hasher()
    return np.stack(
        [hasher(one.resize((side, side), Image.Resampling.BICUBIC).convert("L")) for one in pictures]
    )


def read_pictures(folder: Path) -> list[Image.Image]:
    """Return the pictures of a folder, one of each that comes several times, of a folder of video frames the first."""
    frames: set[Path] = set()
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".jpeg"))
    paths += [Path(skimage.__file__).parent / "data" / name for name in PHOTOGRAPHS]
    pictures: dict[str, Image.Image] = {}
    for path in paths:
        if "JPEGImages" in str(path.parent):
            if path.parent in frames:
                continue
            frames.add(path.parent)
        picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        pictures.setdefault(sha256(picture.tobytes()).hexdigest(), picture)
    return list(pictures.values())


def tiles_of(picture: Image.Image) -> list[Image.Image]:
    """Return a picture cut into 2 x 2, 3 x 3 and 4 x 4 tiles."""
    width, height = picture.size
    return [
        picture.crop((x * width // n, y * height // n, (x + 1) * width // n, (y + 1) * height // n))
        for n in (2, 3, 4)
        for y in range(n)
        for x in range(n)
    ]


def print_found(pictures: list[Image.Image]) -> None:
    hashes = hashes_of(pictures, SIDE)
    mirrored = hashes_of(list(map(ImageOps.mirror, pictures)), SIDE)
    print(f"\n| changed, of {len(pictures)} pictures |", " | ".join(f"{d} bits" for d in DISTANCES), "|")
    print("|---|" + "---|" * len(DISTANCES))
    for name, change in CHANGES.items():
        changed = hashes_of(list(map(change, pictures)), SIDE)
        bits = np.min([np.diag(differing_bits(changed, side)) for side in (hashes, mirrored)], axis=0)
        print(f"| {name} |", " | ".join(f"{np.mean(bits <= d):.0%}" for d in DISTANCES), "|")


def print_taken(
    pictures: list[Image.Image], cut: Callable[[Image.Image], list[Image.Image]], side: int
) -> None:
    pieces = [(owner, piece) for owner, one in enumerate(pictures) for piece in cut(one)]
    owners = np.array([owner for owner, _ in pieces])
    hashes = hashes_of([piece for _, piece in pieces], side)
    mirrored = hashes_of([ImageOps.mirror(piece) for _, piece in pieces], side)
    counts = np.zeros(257, np.int64)
    for row in range(len(pieces)):
        others = owners > owners[row]
        for turned in (hashes, mirrored):
            counts += np.bincount(differing_bits(hashes[row : row + 1], turned[others])[0], minlength=257)
    totals = np.cumsum(counts)
    found = " | ".join(f"{totals[distance]:,}" for distance in DISTANCES)
    print(f"| of {totals[-1]:,} pairs, the nearest {np.flatnonzero(counts)[:3].tolist()} | {found} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of different pictures")
    pictures = read_pictures(parser.parse_args().folder)
    print_found(pictures)
    print()
    print_taken(pictures, lambda one: [one], SIDE)
    print_taken(pictures, tiles_of, TILE)


if __name__ == "__main__":
    main()
