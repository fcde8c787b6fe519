"""The fast kernels against their plain counterparts: speed, proof on random cases, and the self-check files.

::

    python benchmarks/kernels.py                     time every kernel on one thread
    python benchmarks/kernels.py --prove 5000        compare that many random cases of each, bit for bit
    python benchmarks/kernels.py --write-selfcheck   write preprocess/selfcheck/*.jpg again

Times are medians of interleaved rounds: both sides of a row see the same noise of the machine.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numcodecs import Zstd
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from resizeonce.loader.format.layout import GROUNDING_SIZE, PIXEL_SIZE, PROMPT_SIZE, ZSTD_LEVEL
from resizeonce.loader.format.mask_codec import compress_mask
from resizeonce.preprocess.decode import jpeg, segmentation
from resizeonce.preprocess.tensors import resample, transforms
from resizeonce.preprocess.tensors import rle as runs

ROUNDS = 15
SIZES = {"SA-1B": (1500, 2250), "SA-1B turned": (2250, 1500), "COCO": (480, 640)}
SELFCHECK = Path(jpeg.__file__).parent / "selfcheck"

SELFCHECK_FILES: dict[str, tuple[str, tuple[int, int], dict[str, object]]] = {
    "baseline-420": ("RGB", (45, 67), {"quality": 90, "subsampling": "4:2:0"}),
    "baseline-422": ("RGB", (50, 35), {"quality": 60, "subsampling": "4:2:2"}),
    "baseline-444": ("RGB", (31, 33), {"quality": 95, "subsampling": "4:4:4"}),
    "coarse-420": ("RGB", (63, 41), {"quality": 8, "subsampling": "4:2:0"}),
    "grey": ("L", (53, 39), {"quality": 80}),
    "one-pixel": ("RGB", (1, 1), {"quality": 80, "subsampling": "4:2:0"}),
    "narrow-420": ("RGB", (47, 3), {"quality": 80, "subsampling": "4:2:0"}),
    "optimized-420": ("RGB", (49, 33), {"quality": 75, "subsampling": "4:2:0", "optimize": True}),
    "progressive-420": (
        "RGB",
        (61, 43),
        {"quality": 75, "subsampling": "4:2:0", "progressive": True},
    ),
    "progressive-444": (
        "RGB",
        (29, 37),
        {"quality": 85, "subsampling": "4:4:4", "progressive": True},
    ),
    "restart-420": (
        "RGB",
        (51, 55),
        {"quality": 70, "subsampling": "4:2:0", "restart_marker_blocks": 2},
    ),
}
"""Name, mode, (height, width) and how Pillow writes it. No side is a multiple of 16, so every edge is a partial block."""


def draw_picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return saturated squares of 5 pixels under noise, uint8 [height, width, 3]: hard edges in every channel."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 2, (height // 5 + 1, width // 5 + 1, 3)) * 255
    picture = np.kron(squares, np.ones((5, 5, 1)))[:height, :width]
    return (picture + rng.normal(0, 12, picture.shape)).clip(0, 255).astype(np.uint8)


def draw_photo(height: int, width: int) -> NDArray[np.uint8]:
    """Return something as detailed as a photograph, uint8 [height, width, 3]: noise of every scale."""
    rng = np.random.default_rng(1)
    picture = np.zeros((height, width, 3))
    for cell in (4, 16, 64, 256):
        coarse = rng.integers(0, 256, (height // cell + 2, width // cell + 2, 3), dtype=np.uint8)
        picture += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)) * (
            cell**0.5
        )
    return (picture * (255 / picture.max())).astype(np.uint8)


def draw_mask(height: int, width: int, part: float, seed: int = 0) -> NDArray[np.bool_]:
    """Return blobs that cover `part` of the image, bool [height, width]."""
    rng = np.random.default_rng(seed)
    y, x = np.arange(height)[:, None] / height, np.arange(width) / width
    waves = [
        np.sin(6.28 * (rng.uniform(1, 9) * y + rng.random()))
        * np.sin(6.28 * (rng.uniform(1, 9) * x + rng.random()))
        for _ in range(5)
    ]
    field = np.sum(waves, axis=0)
    covered: NDArray[np.bool_] = field > np.quantile(field, 1 - part)
    return covered


def encode_jpeg(picture: NDArray[np.uint8], mode: str = "RGB", **options: object) -> bytes:
    stream = BytesIO()
    Image.fromarray(picture).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def write_selfcheck() -> None:
    SELFCHECK.mkdir(exist_ok=True)
    for name, (mode, (height, width), options) in SELFCHECK_FILES.items():
        encoded = encode_jpeg(draw_picture(height, width, len(name)), mode, **options)
        (SELFCHECK / f"{name}.jpg").write_bytes(encoded)
        print(f"{name}.jpg: {len(encoded)} bytes")


def compare(name: str, plain: Callable[[], object], fast: Callable[[], object]) -> None:
    """Print the median milliseconds of both, called in turns, and their ratio."""
    times: tuple[list[float], list[float]] = ([], [])
    for round_number in range(ROUNDS + 1):
        for call, spent in zip((plain, fast), times, strict=True):
            start = time.perf_counter()
            call()
            # The first round compiles and fills caches.
            if round_number:
                spent.append((time.perf_counter() - start) * 1000)
    slow, quick = (statistics.median(spent) for spent in times)
    print(f"{name:<44}{slow:>9.2f}{quick:>9.2f}{slow / quick:>8.1f} x", flush=True)


def time_images() -> None:
    for source, (height, width) in SIZES.items():
        photo = draw_photo(height, width)
        encoded = encode_jpeg(photo, quality=90)
        outs = tuple(np.empty((3, size, size), np.uint8) for size in (PIXEL_SIZE, GROUNDING_SIZE))
        label = f"{source} {height} x {width}"
        compare(
            f"{label}: decode JPEG",
            lambda encoded=encoded: np.asarray(Image.open(BytesIO(encoded)).convert("RGB")),
            lambda encoded=encoded: jpeg.decode_jpeg(encoded),
        )
        for size in (PIXEL_SIZE, GROUNDING_SIZE):
            compare(
                f"{label}: bilinear to {size}",
                lambda photo=photo, size=size: transforms_with_pillow(photo, size),
                lambda photo=photo, size=size: resample.resize_image(photo, size, "bilinear"),
            )
        for name in ("bilinear", "bicubic"):
            compare(
                f"{label}: {name} to both",
                lambda photo=photo, name=name: [
                    transforms_with_pillow(photo, size, name) for size in (PIXEL_SIZE, GROUNDING_SIZE)
                ],
                lambda photo=photo, name=name, outs=outs: resample.resize_image_twice(
                    photo, (PIXEL_SIZE, GROUNDING_SIZE), (name, name), outs
                ),
            )


def transforms_with_pillow(
    image: NDArray[np.uint8], size: int, image_filter: str = "bilinear"
) -> NDArray[np.uint8]:
    """Resize as plainly as can be; not `transforms.resize_image`, which may come to use the fast kernel."""
    resized = Image.fromarray(image).resize((size, size), Image.Resampling[image_filter.upper()])
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def time_masks() -> None:
    height, width = SIZES["SA-1B"]
    codec = Zstd(ZSTD_LEVEL)
    out = np.empty((GROUNDING_SIZE, GROUNDING_SIZE), np.bool_)
    for part in (0.01, 0.1, 0.5):
        covered = draw_mask(height, width, part)
        coded = coco_mask.encode(np.asfortranarray(covered, np.uint8))
        label = f"mask of {part:.0%}, {height} x {width}"

        def plain(coded: dict[str, object] = coded) -> object:
            decoded = Image.fromarray(np.ascontiguousarray(coco_mask.decode(coded)) * 255)
            for size in (PROMPT_SIZE, GROUNDING_SIZE):
                resized = decoded.resize((size, size), Image.Resampling.NEAREST)
                sampled = np.asarray(resized) > 0
            return codec.encode(sampled)

        def fast(coded: dict[str, bytes] = coded) -> object:
            lengths = runs.decompress_counts(coded["counts"])
            assert lengths is not None
            rle = (lengths, height, width)
            for size, target in ((PROMPT_SIZE, None), (GROUNDING_SIZE, out)):
                grid = [transforms.pillow_positions(side, size) for side in (height, width)]
                sampled = runs.sample_runs(*rle, *grid, out=target)
            return compress_mask(sampled)

        compare(f"{label}: counts to zstd", plain, fast)
        lengths = segmentation.parse_rle(coded).runs
        compare(
            f"{label}: cover {PROMPT_SIZE}",
            lambda covered=covered: transforms._cover(covered, PROMPT_SIZE),
            lambda lengths=lengths: runs.cover_runs(lengths, height, width, PROMPT_SIZE),
        )


def prove(cases: int) -> int:
    """Compare random cases of every kernel with its plain counterpart; return how many differ."""
    rng = np.random.default_rng(time.time_ns())
    different = 0
    for proof in (prove_resize, prove_mask, prove_jpeg):
        wrong = sum(not proof(rng) for _ in range(cases))
        print(f"{proof.__name__}: {cases - wrong} of {cases} the same", flush=True)
        different += wrong
    return different


def prove_resize(rng: np.random.Generator) -> bool:
    def side() -> int:
        return int(np.exp(rng.uniform(0, np.log(rng.choice([8, 64, 700, 2500])))))

    height, width = side(), side()
    sizes = tuple(int(rng.choice([side(), height, width, 448])) for _ in range(2))
    names = tuple(str(name) for name in rng.choice(["bilinear", "bicubic", "lanczos"], 2))
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = rng.integers(4)
    if content == 0:  # only the extremes, where filters overshoot
        image = np.where(image < 128, 0, 255).astype(np.uint8)
    elif content == 1:
        image[:] = (np.indices((height, width)).sum(0) % 2 * 255)[..., None]
    elif content == 2:
        image[:] = np.linspace(0, 255, width).astype(np.uint8)[:, None]
    results = resample.resize_image_twice(image, sizes, names)
    return all(
        np.array_equal(result, transforms_with_pillow(image, size, name))
        for result, size, name in zip(results, sizes, names, strict=True)
    ) and np.array_equal(results[0], resample.resize_image(image, sizes[0], names[0]))


def prove_mask(rng: np.random.Generator) -> bool:
    height, width, size = (int(side) for side in rng.integers(1, rng.choice([4, 40, 300]), 3))
    covered = rng.random((height, width)) < rng.choice([0.0, 0.01, 0.5, 0.99, 1.0])
    if rng.random() < 0.5:
        covered = draw_mask(height, width, float(rng.random()), int(rng.integers(1000)))
    counts = coco_mask.encode(np.asfortranarray(covered, np.uint8))["counts"]
    lengths = runs.decompress_counts(counts)
    if lengths is None or not np.array_equal(lengths, segmentation._decompress_counts(counts)):
        return False
    same = True
    for positions in (transforms.pillow_positions, transforms.torch_positions):
        rows, columns = positions(height, size), positions(width, size)
        sampled = runs.sample_runs(lengths, height, width, rows, columns)
        same &= np.array_equal(sampled, covered[rows[:, None], columns])
    cells = runs.cover_runs(lengths, height, width, size)
    return bool(same and np.array_equal(cells, transforms._cover(covered, size)))


def prove_jpeg(rng: np.random.Generator) -> bool:
    height, width = (int(side) for side in rng.integers(1, 120, 2))
    encoded = encode_jpeg(
        draw_picture(height, width, int(rng.integers(1000))),
        str(rng.choice(["RGB", "L"])),
        quality=int(rng.integers(1, 101)),
        subsampling=int(rng.integers(3)),
        progressive=bool(rng.integers(2)),
        optimize=bool(rng.integers(2)),
        restart_marker_blocks=int(rng.integers(4)),
    )
    pixels, is_plain = jpeg.decode_jpeg(encoded)
    return is_plain and np.array_equal(pixels, np.asarray(Image.open(BytesIO(encoded)).convert("RGB")))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prove", type=int, metavar="CASES", help="compare random cases instead")
    parser.add_argument("--write-selfcheck", action="store_true", help="write the JPEG files anew")
    options = parser.parse_args()
    if options.write_selfcheck:
        write_selfcheck()
        return 0
    if options.prove:
        return 1 if prove(options.prove) else 0
    print(f"{'milliseconds, one thread':<44}{'plain':>9}{'fast':>9}{'ratio':>10}")
    time_images()
    time_masks()
    return 0


if __name__ == "__main__":
    sys.exit(main())
