"""Image resizing with Pillow's arithmetic and none of its detours: bit for bit the same, several times faster.

The rules are those of Pillow's libImaging/Resample.c for 8-bit channels, which every exact result must repeat:

1. Each axis has a table of weights. Output pixel i looks at the source around (i + 0.5) * length / size; a filter is
   widened by that ratio when shrinking, never narrowed when enlarging. Weights are computed and normalised in double
   precision, then rounded to fixed point with 22 fractional bits, halves away from zero.
2. All rows are resized horizontally first, and their sums rounded to 8 bits: add half, shift right by 22, clip to
   0..255. The vertical pass works on these rounded values, in the same way. Because of the rounding, the order of the
   passes shows: since version 13.0, Pillow goes vertically first where the height shrinks much more than the width
   (python-pillow/Pillow pull request 9549), so its bytes differ from those of version 12 there.
3. An axis that keeps its length is left alone. One weight of exactly 1 gives the same, so it needs no branch here.

What differs is the order of the work. Sixteen rows at a time are turned so that one column of them is 64 neighbouring
bytes (16 rows of R, G, B and one unused byte). A weighted sum of columns then is a weighted sum of 64-byte vectors, as
is the vertical pass over planar rows: one kernel serves both. Finished rows wait in a buffer just as long as the
vertical pass needs them, and the result is planar, [3, size, size], without a transposition of its own.

This module needs numba. It is imported only where the fast engine was asked for.
"""

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import PIL
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from preprocess.transforms import ImageFilter

PRECISION_BITS = 22
"""Fractional bits of a weight: 32, less 8 for the pixel and 2 for filters that overshoot."""

BLOCK_ROWS = 16
"""Source rows that are resized horizontally at once: 16 pixels of 4 bytes fill one cache line."""

LANES = 4 * BLOCK_ROWS
"""Bytes the kernel works on at once."""

VERTICAL_FIRST = int(PIL.__version__.split(".")[0]) >= 13
"""Whether the installed Pillow goes vertically first for some images."""

MAX_WIDTH = 1 << 16
"""Widest image this module takes; the turned block needs 64 bytes for each column."""

MAX_WEIGHTS = 1 << 20
"""Longest table of weights this module makes. Whatever is larger goes to Pillow, which is no slower there."""


class Axis(NamedTuple):
    """How one side of an image is resized."""

    first: NDArray[np.int64]
    """int64 [size]: the first source pixel of each output pixel; first + taps <= length."""
    weights: NDArray[np.int32]
    """int32 [size, taps]: weights in units of 2**-22, padded with zeros to the longest."""


class _Target(NamedTuple):
    """One resized image: its tables and where it goes."""

    columns: NDArray[np.int64]
    column_weights: NDArray[np.int32]
    rows: NDArray[np.int64]
    row_weights: NDArray[np.int32]
    out: NDArray[np.uint8]


def resize_image(
    image: NDArray[np.uint8],
    size: int,
    image_filter: "ImageFilter",
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Resize an RGB image to a square, bit for bit as Pillow does (antialiased); the aspect ratio is not kept.

    Args:
        image: uint8 [H, W, 3].
        size: side of the result in pixels.
        image_filter: "bilinear", "bicubic" or "lanczos".
        out: uint8 [3, size, size], contiguous, to write the result to.

    Returns:
        uint8 [3, size, size], values 0..255; `out` if it was given.
    """
    _check_image(image)
    result = _check_out(out, size)
    if _needs_pillow(image, size):
        result[:] = _resize_with_pillow(image, size, image_filter)
        return result
    if _is_vertical_first(image, size):
        image = _shrink_height(image, size, image_filter)
    _resample(*_flatten(image), _make_target(image, size, image_filter, result), _no_target())
    return result


def resize_image_twice(
    image: NDArray[np.uint8],
    sizes: tuple[int, int],
    image_filters: tuple["ImageFilter", "ImageFilter"],
    outs: tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None] = (None, None),
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Resize an RGB image to two squares, each directly from the original, in one pass over its rows.

    Args:
        image: uint8 [H, W, 3].
        sizes: sides of the two results in pixels.
        image_filters: the filter of each.
        outs: for each, uint8 [3, size, size], contiguous, to write it to.

    Returns:
        Two arrays uint8 [3, size, size], as `resize_image` makes them one by one.
    """
    _check_image(image)
    results = [_check_out(out, size) for out, size in zip(outs, sizes, strict=True)]
    if any(_needs_pillow(image, size) or _is_vertical_first(image, size) for size in sizes):
        for result, size, image_filter in zip(results, sizes, image_filters, strict=True):
            resize_image(image, size, image_filter, result)
    else:
        targets = (
            _make_target(image, size, image_filter, result)
            for result, size, image_filter in zip(results, sizes, image_filters, strict=True)
        )
        _resample(*_flatten(image), *targets)
    return results[0], results[1]


@cache
def matches_pillow() -> bool:
    """Whether this module repeats the installed Pillow bit for bit on a few pictures, seen once per process.

    Pillow may be compiled with fused multiplications (usual on ARM), or change its arithmetic in a later version:
    then its weights can differ in their last bit, and only Pillow itself is exact.
    """
    names: tuple[ImageFilter, ...] = ("bilinear", "bicubic", "lanczos")
    return all(
        np.array_equal(resize_image(noise, size, name), _resize_with_pillow(noise, size, name))
        for height, width, size in _PROBES
        for noise in (_draw_noise(height, width),)
        for name in names
    )


# Up, down, one axis kept, and the four sides of the rule that chooses the order of the passes.
_PROBES = (
    (331, 467, 29), (331, 467, 331), (331, 467, 448), (467, 331, 448), (80, 64, 48), (81, 64, 48), (96, 40, 96),
    (97, 40, 96), (640, 480, 448), (101, 1, 8),
)  # fmt: skip
"""Height, width and size of the pictures that `matches_pillow` looks at."""


def _draw_noise(height: int, width: int) -> NDArray[np.uint8]:
    """Return noise with rows of extremes in it, uint8 [height, width, 3]: filters overshoot and are clipped."""
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[::2] = np.where(noise[::2] < 128, 0, 255)
    return noise


@lru_cache(maxsize=256)
def make_axis(length: int, size: int, image_filter: "ImageFilter") -> Axis:
    """Return the weights that resize `length` pixels to `size` (precompute_coeffs and normalize_coeffs_8bpc).

    >>> make_axis(4, 2, "bilinear").first.tolist()
    [0, 1]
    >>> (make_axis(4, 2, "bilinear").weights * 7 / 2**22).round(3).tolist()
    [[3.0, 3.0, 1.0], [1.0, 3.0, 3.0]]
    """
    if length == size:
        return _freeze(np.arange(size), np.full((size, 1), 1 << PRECISION_BITS, np.int32))
    support, weigh = _FILTERS[image_filter]
    scale = length / size
    widened = max(scale, 1.0)
    support *= widened
    center = (np.arange(size) + 0.5) * scale
    # Both are cut towards zero, as C's conversion does, and only then limited to the image.
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((center + support + 0.5).astype(np.int64), length)
    taps = int((stop - first).max())
    # Near the end a window of full width starts earlier, so that it never leaves the image; weights there are 0.
    start = np.minimum(first, length - taps)
    pixel = start[:, None] + np.arange(taps)
    # Pillow multiplies by the reciprocal: a division would round differently.
    weights = weigh((pixel - center[:, None] + 0.5) * (1.0 / widened))
    weights[(pixel < first[:, None]) | (pixel >= stop[:, None])] = 0.0
    # Pillow adds them up one by one; numpy's sum would go pairwise.
    weights /= np.add.accumulate(weights, axis=1)[:, -1:]
    fixed = weights * (1 << PRECISION_BITS)
    return _freeze(start, np.where(fixed < 0, fixed - 0.5, fixed + 0.5).astype(np.int32))


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    return np.where(x < 1.0, 1.0 - x, 0.0)


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic with a = -0.5, bracketed as in Pillow: another order of operations rounds differently."""
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sinc times a sinc three times as wide, through the C library's sine: numpy has one of its own."""
    weights = [_sinc(v) * _sinc(v / 3) if -3.0 <= v < 3.0 else 0.0 for v in x.ravel().tolist()]
    return np.array(weights).reshape(x.shape)


def _sinc(x: float) -> float:
    if x == 0.0:
        return 1.0
    x *= math.pi
    return math.sin(x) / x


_Weigh = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_FILTERS: dict[str, tuple[float, _Weigh]] = {
    "bilinear": (1.0, _bilinear),
    "bicubic": (2.0, _bicubic),
    "lanczos": (3.0, _lanczos),
}
"""Half width in source pixels, and weight by distance."""


def _freeze(first: NDArray[np.int64], weights: NDArray[np.int32]) -> Axis:
    """Return the tables read-only: they are shared by every image of the same size."""
    for table in (first, weights):
        table.setflags(write=False)
    return Axis(first, weights)


def _check_image(image: NDArray[np.uint8]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image must be uint8 [H, W, 3], found {image.dtype} {image.shape}")


def _check_out(out: NDArray[np.uint8] | None, size: int) -> NDArray[np.uint8]:
    if out is None:
        return np.empty((3, size, size), np.uint8)
    if out.shape != (3, size, size) or out.dtype != np.uint8 or not out.flags.carray:
        raise ValueError(
            f"out must be writeable, contiguous uint8 {(3, size, size)}, found {out.dtype} {out.shape}"
        )
    return out


def _needs_pillow(image: NDArray[np.uint8], size: int) -> bool:
    """Whether Pillow has to do it: the tables or the turned block would take too much memory, or its rule is unclear."""
    height, width, _ = image.shape
    # At most 3 pixels to either side of the centre, times the ratio: 7 * length bounds every table's weights.
    if width > MAX_WIDTH or 7 * max(height, width, size) > MAX_WEIGHTS:
        return True
    # Version 12.3 goes vertically first for such slivers, earlier ones do not.
    return not VERTICAL_FIRST and height > 100 * width


def _is_vertical_first(image: NDArray[np.uint8], size: int) -> bool:
    """Whether Pillow resizes these rows before these columns: the height shrinks, by over twice what the width does."""
    height, width, _ = image.shape
    return VERTICAL_FIRST and height > size and height - size > 2 * (width - size)


def _shrink_height(image: NDArray[np.uint8], size: int, image_filter: "ImageFilter") -> NDArray[np.uint8]:
    """Return the vertical pass alone, uint8 [size, W, 3]."""
    pixels, height, width = _flatten(image)
    line = 3 * width
    if line < LANES:
        # The kernel reads whole vectors, here beyond the end of the last line.
        pixels = np.append(pixels, np.zeros(LANES, np.uint8))
        pixels.setflags(write=False)
    shrunk = np.empty(size * line + LANES, np.uint8)
    _weigh_lines(pixels, line, *make_axis(height, size, image_filter), shrunk)
    return shrunk[: size * line].reshape(size, width, 3)


def _resize_with_pillow(
    image: NDArray[np.uint8], size: int, image_filter: "ImageFilter"
) -> NDArray[np.uint8]:
    resized = Image.fromarray(image).resize((size, size), Image.Resampling[image_filter.upper()])
    return np.asarray(resized).transpose(2, 0, 1)


def _flatten(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int, int]:
    """Return the pixels in a row, read-only so that numba compiles for one type, and the size."""
    pixels = np.ascontiguousarray(image).reshape(-1).view()
    pixels.setflags(write=False)
    return pixels, image.shape[0], image.shape[1]


def _make_target(
    image: NDArray[np.uint8], size: int, image_filter: "ImageFilter", out: NDArray[np.uint8]
) -> _Target:
    columns = make_axis(image.shape[1], size, image_filter)
    rows = make_axis(image.shape[0], size, image_filter)
    return _Target(*columns, *rows, out.reshape(-1))


@cache
def _no_target() -> _Target:
    """Return a target without pixels: resizing to one size and to two is one compiled function."""
    nothing = _freeze(np.zeros(0, np.int64), np.zeros((0, 1), np.int32))
    return _Target(*nothing, *nothing, np.zeros(0, np.uint8))


def _weigh_lanes_code(
    typing_context: Any,  # noqa: ARG001
    source: Any,
    at: Any,
    stride: Any,
    weights: Any,
    weights_at: Any,
    taps: Any,
    out: Any,
    out_at: Any,
) -> Any:
    """Write clip((half + sum over k of source[at + k * stride + lane] * weights[weights_at + k]) >> 22).

    For all 64 lanes at once, in LLVM's own vectors: the sums stay in registers for any number of taps (four of
    AVX-512, eight of AVX2, sixteen of NEON), which no loop over arrays was compiled to.
    """
    signature = types.void(source, at, stride, weights, weights_at, taps, out, out_at)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes8 = ir.VectorType(ir.IntType(8), LANES)
        lanes32 = ir.VectorType(ir.IntType(32), LANES)

        def splat(value: int) -> Any:
            return ir.Constant(lanes32, [value] * LANES)

        def pointer(array: int, offset: Any) -> Any:
            start = context.make_array(signature.args[array])(context, builder, arguments[array])
            return builder.gep(start.data, [offset])

        _, at, stride, _, weights_at, taps, _, out_at = arguments
        half = splat(1 << (PRECISION_BITS - 1))
        total = cgutils.alloca_once_value(builder, half)  # type: ignore[no-untyped-call]
        with cgutils.for_range(builder, taps) as loop:
            bytes_at = pointer(0, builder.add(at, builder.mul(loop.index, stride)))
            pixels = builder.load(builder.bitcast(bytes_at, lanes8.as_pointer()), align=1)
            weight = builder.load(pointer(3, builder.add(weights_at, loop.index)))
            undefined = ir.Constant(lanes32, ir.Undefined)
            first = builder.insert_element(undefined, weight, ir.IntType(32)(0))
            weight = builder.shuffle_vector(first, undefined, splat(0))
            product = builder.mul(builder.zext(pixels, lanes32), weight)
            builder.store(builder.add(builder.load(total), product), total)
        value = builder.ashr(builder.load(total), splat(PRECISION_BITS))
        value = builder.select(builder.icmp_signed(">", value, splat(0)), value, splat(0))
        value = builder.select(builder.icmp_signed("<", value, splat(255)), value, splat(255))
        result_at = builder.bitcast(pointer(6, out_at), lanes8.as_pointer())
        builder.store(builder.trunc(value, lanes8), result_at, align=1)
        return context.get_dummy_value()

    return signature, generate


_weigh_lanes: Any = intrinsic(_weigh_lanes_code)


def _turn_back_code(
    typing_context: Any,  # noqa: ARG001
    tile: Any,
    out: Any,
    out_at: Any,
    row_stride: Any,
    channel_stride: Any,
) -> Any:
    """Transpose 16 columns of 16 RGB pixels and split their channels.

    `tile` is uint8 [16 columns, 16 rows, 4]. Row r of channel c goes to
    `out[out_at + r * row_stride + c * channel_stride :][:16]`.
    """
    signature = types.void(tile, out, out_at, row_stride, channel_stride)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pixels = ir.VectorType(ir.IntType(32), BLOCK_ROWS)
        lanes8 = ir.VectorType(ir.IntType(8), BLOCK_ROWS)
        tile, out = (
            context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 1)
        )
        _, _, out_at, row_stride, channel_stride = arguments
        index = out_at.type
        start = builder.bitcast(tile, pixels.as_pointer())
        lines = [builder.load(builder.gep(start, [index(column)]), align=1) for column in range(BLOCK_ROWS)]
        # Merging each line with the one half the lines later, element by element, four times over, is the transpose.
        half = BLOCK_ROWS // 2
        for _ in range(BLOCK_ROWS.bit_length() - 1):
            lines = [
                builder.shuffle_vector(line, other, _merge_order(at))
                for line, other in zip(lines[:half], lines[half:], strict=True)
                for at in (0, half)
            ]
        for row, line in enumerate(lines):
            for channel in range(3):
                shift = ir.Constant(pixels, [8 * channel] * BLOCK_ROWS)
                offset = builder.add(
                    builder.mul(row_stride, index(row)),
                    builder.mul(channel_stride, index(channel)),
                )
                place = builder.gep(out, [builder.add(out_at, offset)])
                value = builder.trunc(builder.lshr(line, shift), lanes8)
                builder.store(value, builder.bitcast(place, lanes8.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, generate


_turn_back: Any = intrinsic(_turn_back_code)


def _merge_order(start: int) -> Any:
    """Return the shuffle that merges half of two lines from element `start` on: a0 b0 a1 b1 ..."""
    order = [i for k in range(start, start + BLOCK_ROWS // 2) for i in (k, k + BLOCK_ROWS)]
    return ir.Constant(ir.VectorType(ir.IntType(32), BLOCK_ROWS), order)


# Indices are unsigned below: numba would check signed ones for counting from the end, which stops vectorisation.
_U = np.uintp
_ROWS = np.uintp(BLOCK_ROWS)
_THREE = np.uintp(3)


@njit(cache=True, nogil=True)
def _resample(pixels: NDArray[np.uint8], height: int, width: int, one: _Target, other: _Target) -> None:
    """Resize `pixels` (uint8 [height * width * 3]) to both targets, a block of rows after the other."""
    block = np.empty(width * BLOCK_ROWS, np.uint32)
    # The last rows are copied here: a block is read whole, and one byte beyond its end.
    edge = np.zeros(BLOCK_ROWS * width * 3 + 1, np.uint8)
    one_waiting, other_waiting = _make_buffer(one), _make_buffer(other)
    one_done, other_done = (0, 0), (0, 0)
    for top in range(0, height, BLOCK_ROWS):
        start = top * width * 3
        if top + BLOCK_ROWS < height:
            _turn_block(pixels, _U(start), _U(width), block)
        else:
            for at in range(pixels.size - start):
                edge[at] = pixels[start + at]
            _turn_block(edge, _U(0), _U(width), block)
        one_done = _advance(one, block, one_waiting, one_done, top, height)
        other_done = _advance(other, block, other_waiting, other_done, top, height)


@njit(cache=True, nogil=True)
def _weigh_lines(
    pixels: NDArray[np.uint8],
    line: int,
    rows: NDArray[np.int64],
    row_weights: NDArray[np.int32],
    out: NDArray[np.uint8],
) -> None:
    """Resize lines of `line` bytes vertically, whatever they hold; `out` has 64 bytes more than its lines."""
    taps, weights = row_weights.shape[1], row_weights.reshape(-1)
    for y in range(rows.size):
        for left in range(0, line, LANES):
            # The last vector overlaps the one before; of lines shorter than a vector, the next line hides the rest.
            x = max(min(left, line - LANES), 0)
            _weigh_lanes(pixels, rows[y] * line + x, line, weights, y * taps, taps, out, y * line + x)


@njit(cache=True, nogil=True)
def _make_buffer(target: _Target) -> NDArray[np.uint8]:
    """Return room for the rows that wait for the vertical pass, uint8 [rows, 3, size up to whole vectors]."""
    padded = (target.columns.size + LANES - 1) // LANES * LANES
    return np.zeros((target.row_weights.shape[1] + BLOCK_ROWS, 3, padded), np.uint8)


@njit(cache=True, nogil=True)
def _turn_block(pixels: NDArray[np.uint8], start: Any, width: Any, block: NDArray[np.uint32]) -> None:
    """Write the RGB pixels of 16 rows column by column, uint32 [width, 16]; the fourth byte is arbitrary."""
    stride = _THREE * width
    for x in range(width):
        for row in range(_ROWS):
            # LLVM joins the four bytes to one load.
            at = start + row * stride + _THREE * x
            block[x * _ROWS + row] = (
                np.uint32(pixels[at])
                | np.uint32(np.uint32(pixels[at + _U(1)]) << np.uint32(8))
                | np.uint32(np.uint32(pixels[at + _U(2)]) << np.uint32(16))
                | np.uint32(np.uint32(pixels[at + _U(3)]) << np.uint32(24))
            )


@njit(cache=True, nogil=True)
def _advance(
    target: _Target,
    block: NDArray[np.uint32],
    waiting: NDArray[np.uint8],
    done: tuple[int, int],
    top: int,
    height: int,
) -> tuple[int, int]:
    """Take in the block of source rows from `top` on, and finish every output row that now can be.

    Args:
        target: the image to make.
        block: uint32 [W * 16], turned pixels.
        waiting: rows that went through the horizontal pass, from source row `done[0]` on.
        done: the source row that `waiting` starts with, and the number of finished output rows.
        top: the block's first source row.
        height: number of source rows.

    Returns:
        `done` as it is now.
    """
    held, finished = done
    size, taps = target.rows.size, target.row_weights.shape[1]
    if finished == size:
        return done
    # Rows before the next output row's window are not needed again. Fewer than `taps` stay, or it were finished.
    keep_from = min(target.rows[finished], top)
    row_bytes = waiting.shape[1] * waiting.shape[2]
    rows, dropped = waiting.reshape(-1), (keep_from - held) * row_bytes
    for at in range((top - keep_from) * row_bytes):
        rows[at] = rows[at + dropped]
    _resize_columns(target, block, waiting, top - keep_from)
    available = min(top + BLOCK_ROWS, height)
    while finished < size and target.rows[finished] + taps <= available:
        _resize_rows(target, waiting, target.rows[finished] - keep_from, finished)
        finished += 1
    return keep_from, finished


@njit(cache=True, nogil=True)
def _resize_columns(target: _Target, block: NDArray[np.uint32], waiting: NDArray[np.uint8], row: int) -> None:
    """Resize a turned block horizontally and put its 16 rows into `waiting` from `row` on, planar."""
    size, taps = target.columns.size, target.column_weights.shape[1]
    sources, weights = block.view(np.uint8), target.column_weights.reshape(-1)
    tile = np.zeros(BLOCK_ROWS * LANES, np.uint8)
    padded, out = waiting.shape[2], waiting.reshape(-1)
    for left in range(0, size, BLOCK_ROWS):
        for x in range(left, min(left + BLOCK_ROWS, size)):
            at = target.columns[x] * LANES
            _weigh_lanes(sources, at, LANES, weights, x * taps, taps, tile, (x - left) * LANES)
        _turn_back(tile, out, row * 3 * padded + left, 3 * padded, padded)


@njit(cache=True, nogil=True)
def _resize_rows(target: _Target, waiting: NDArray[np.uint8], row: int, y: int) -> None:
    """Write output row `y` of each channel from the rows of `waiting` from `row` on."""
    size, taps = target.rows.size, target.row_weights.shape[1]
    padded = waiting.shape[2]
    stride, whole = 3 * padded, size - size % LANES
    sources, weights = waiting.reshape(-1), target.row_weights.reshape(-1)
    last = np.empty(LANES, np.uint8)
    for channel in range(3):
        at = row * stride + channel * padded
        out_at = (channel * size + y) * size
        for x in range(0, whole, LANES):
            _weigh_lanes(sources, at + x, stride, weights, y * taps, taps, target.out, out_at + x)
        if whole < size:
            _weigh_lanes(sources, at + whole, stride, weights, y * taps, taps, last, 0)
            for x in range(size - whole):
                target.out[out_at + whole + x] = last[x]
