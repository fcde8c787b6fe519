"""The fast kernels against their plain counterparts on random cases, and the self-check files.

::

    python tests/fuzz/fuzz_kernels.py --prove 5000        compare that many random cases of each, bit for bit
    RESIZEONCE_CORE=avx2 python tests/fuzz/fuzz_kernels.py --prove 5000
                                                     with the loops for older processors; also `plain`
    python tests/fuzz/fuzz_kernels.py --write-selfcheck   write preprocess/decode/selfcheck/*.jpg again

`benchmarks/convert.py` times them.
"""

import argparse
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import get_args

import numpy as np
from google_crc32c import value as crc32c
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from resizeonce.loader.format.gradient import pack_gradient
from resizeonce.loader.format.mask_codec import compress_mask
from resizeonce.loader.format.mask_sequences import SHORTEST
from resizeonce.loader.format.recipe import Fit, ImageFilter, ImageView, MaskFilter, MaskView
from resizeonce.loader.kernels.core import CORE as LOADER
from resizeonce.loader.kernels.core import DONE, Action
from resizeonce.preprocess.decode import jpeg
from resizeonce.preprocess.decode.segmentation import parse_rle
from resizeonce.preprocess.kernels import encode
from resizeonce.preprocess.kernels.core import CORE
from resizeonce.preprocess.tensors.arithmetic import INSTALLED
from resizeonce.preprocess.tensors.engine import open_engine

SELFCHECK = Path(jpeg.__file__).parent / "selfcheck"
SELFCHECK_FILES: dict[str, tuple[str, int, int, dict[str, object]]] = {
    "baseline-420": ("RGB", 45, 67, {"quality": 90, "subsampling": "4:2:0"}),
    "baseline-422": ("RGB", 50, 35, {"quality": 60, "subsampling": "4:2:2"}),
    "baseline-444": ("RGB", 31, 33, {"quality": 95, "subsampling": "4:4:4"}),
    "coarse-420": ("RGB", 63, 41, {"quality": 8, "subsampling": "4:2:0"}),
    "grey": ("L", 53, 39, {"quality": 80}),
    "one-pixel": ("RGB", 1, 1, {"quality": 80, "subsampling": "4:2:0"}),
    "narrow-420": ("RGB", 47, 3, {"quality": 80, "subsampling": "4:2:0"}),
    "optimized-420": ("RGB", 49, 33, {"quality": 75, "subsampling": "4:2:0", "optimize": True}),
    "progressive-420": ("RGB", 61, 43, {"quality": 75, "subsampling": "4:2:0", "progressive": True}),
    "progressive-444": ("RGB", 29, 37, {"quality": 85, "subsampling": "4:4:4", "progressive": True}),
    "restart-420": ("RGB", 51, 55, {"quality": 70, "subsampling": "4:2:0", "restart_marker_blocks": 2}),
}
"""Name, mode, height, width and how Pillow writes it. No side is a multiple of 16, so every edge is a partial block."""


def draw_picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Return saturated squares of 5 pixels under noise, uint8 [height, width, 3]: hard edges in every channel."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 2, (height // 5 + 1, width // 5 + 1, 3)) * 255
    picture = np.kron(squares, np.ones((5, 5, 1)))[:height, :width]
    return (picture + rng.normal(0, 12, picture.shape)).clip(0, 255).astype(np.uint8)


def encode_jpeg(picture: NDArray[np.uint8], mode: str, **options: object) -> bytes:
    stream = BytesIO()
    Image.fromarray(picture).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def draw_image(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Return noise, only its extremes, where filters overshoot, a checkerboard, or a slope."""
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = rng.integers(4)
    if content == 0:
        image = np.where(image < 128, 0, 255).astype(np.uint8)
    elif content == 1:
        image[:] = (np.indices((height, width)).sum(0) % 2 * 255)[..., None]
    elif content == 2:
        image[:] = np.linspace(0, 255, width).astype(np.uint8)[:, None]
    return image


def prove_resize(rng: np.random.Generator) -> bool:
    def side() -> int:
        return int(np.exp(rng.uniform(0, np.log(rng.choice([8, 64, 700, 2500])))))

    height, width = side(), side()

    def view() -> ImageView:
        rows, columns = (int(rng.choice([side(), height, width, 448])) for _ in range(2))
        return ImageView(
            size=(rows, columns),
            filter=rng.choice(get_args(ImageFilter)),
            # A crop of a sliver is cut from a picture of gigabytes.
            fit=rng.choice(get_args(Fit)) if max(height, width) < 9 * min(height, width) else "squash",
            align=rng.choice(["centre", "corner"]),
            values="uint8",
            pad=(250, 3, 120),
        )

    views = [view() for _ in range(2)]
    image = draw_image(rng, height, width)
    fast, plain = (
        open_engine(name).resize_images(image, views, INSTALLED) for name in ("exact-fast", "pillow")
    )
    return all(map(np.array_equal, fast, plain))


def draw_mask(rng: np.random.Generator, height: int, width: int) -> NDArray[np.bool_]:
    """Return single pixels, or blobs: there both axes come in stretches."""
    covered = rng.random((height, width)) < rng.choice([0.0, 0.01, 0.5, 0.99, 1.0])
    if rng.random() < 0.5:
        covered = np.kron(covered, np.ones((7, 5), np.bool_))[:height, :width]
    return covered


def prove_mask(rng: np.random.Generator) -> bool:
    height, width, size = (int(side) for side in rng.integers(1, rng.choice([4, 40, 300]), 3))
    covered = draw_mask(rng, height, width)
    mask = parse_rle(coco_mask.encode(np.asfortranarray(covered, np.uint8)))
    plain, fast = open_engine("pillow").resize_mask, open_engine("exact-fast").resize_mask
    over = ImageView(size=(size, size), fit=rng.choice(get_args(Fit)))
    views = [MaskView(over="image", size=(size, width), filter=name) for name in get_args(MaskFilter)]
    given = over, (height, width)
    return np.array_equal(mask.decode(), covered) and all(
        np.array_equal(fast(mask, view, *given), plain(mask, view, *given)) for view in views
    )


def stored(row: bytes) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Return a row as the loader's core takes it: a file, and the row's place there with its checksum."""
    file = np.frombuffer(row + crc32c(row).to_bytes(4, "little"), np.uint8)
    return [file], np.array([[0, file.size]], np.int64)


def prove_frame(rng: np.random.Generator) -> bool:
    """Of a mask's frame, and of the frame that it would have if libzstd were not better at it."""
    height, width = (int(side) for side in rng.integers(1, rng.choice([9, 40, 150]), 2))
    mask = np.ascontiguousarray(draw_mask(rng, height, width))
    frame = encode.compress_mask(mask).tobytes()
    same = frame == compress_mask(mask).tobytes()
    assert CORE is not None
    assert LOADER is not None
    own = CORE.make_frame(mask.reshape(-1).view(np.uint8), width, mask.size) if width >= SHORTEST else None
    for one in (frame, own):
        if one is not None:
            out = np.empty((1, height, width), np.float32)
            (state,) = LOADER.fill_rows(Action.EXPAND, *stored(one), out, height, width, None, None, True)
            same &= Zstd().decode(one) == mask.tobytes()
            same &= np.array_equal(out[0], mask) if state == DONE else one is not own
    return same


def prove_packed(rng: np.random.Generator) -> bool:
    image = draw_image(rng, *(int(side) for side in rng.integers(1, rng.choice([60, 300]), 2))).transpose(
        2, 0, 1
    )
    image = np.ascontiguousarray(image >> np.uint8(rng.integers(8)))
    packed = encode.pack_image(image).tobytes()
    assert LOADER is not None
    out = np.empty((1, *image.shape), np.uint8)
    (state,) = LOADER.fill_rows(Action.UNPACK, *stored(packed), out, *out.shape[2:], None, None, True)
    return packed == pack_gradient(image).tobytes() and state == DONE and np.array_equal(out[0], image)


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
    parser.add_argument("--prove", type=int, default=1000, metavar="CASES", help="of each kernel")
    parser.add_argument("--write-selfcheck", action="store_true", help="write the JPEG files anew instead")
    options = parser.parse_args()
    if options.write_selfcheck:
        for name, (mode, height, width, how) in SELFCHECK_FILES.items():
            picture = draw_picture(height, width, len(name))
            (SELFCHECK / f"{name}.jpg").write_bytes(encode_jpeg(picture, mode, **how))
        return 0
    seed = time.time_ns()
    print(f"instructions: {'none' if CORE is None else CORE.level()}, seed {seed}")
    rng = np.random.default_rng(seed)
    different = 0
    for proof in (prove_resize, prove_mask, prove_frame, prove_packed, prove_jpeg):
        wrong = sum(not proof(rng) for _ in range(options.prove))
        print(f"{proof.__name__}: {options.prove - wrong} of {options.prove} the same", flush=True)
        different += wrong
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
