"""The loops of `preprocess.resample`, compiled by numba.

Sixteen rows at a time are turned so that one column of them is 64 neighbouring bytes (16 rows of R, G, B and one unused
byte). A weighted sum of columns then is a weighted sum of 64-byte vectors, as is the vertical pass over planar rows:
one kernel serves both. Finished rows wait in a buffer just as long as the vertical pass needs them, and the result is
planar, [3, size, size], without a transposition of its own.

Functions that call each other stand in this one file: numba notices changes only in the file of the caller.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils as numba_cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from preprocess.weights import PRECISION_BITS

cgutils: Any = numba_cgutils

BLOCK_ROWS = 16
"""Source rows that are resized horizontally at once: 16 pixels of 4 bytes fill one cache line."""

LANES = 4 * BLOCK_ROWS
"""Bytes the kernel works on at once."""


class Target(NamedTuple):
    """One resized image: its tables and where it goes."""

    columns: NDArray[np.int64]
    column_weights: NDArray[np.int32]
    rows: NDArray[np.int64]
    row_weights: NDArray[np.int32]
    out: NDArray[np.uint8]


def _weigh_lanes_code(
    typing_context: Any,
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
    # numba hands its typing context over; the types below do not depend on it.
    del typing_context
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
        total = cgutils.alloca_once_value(builder, half)
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
    typing_context: Any,
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
    del typing_context
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
def resample(pixels: NDArray[np.uint8], height: int, width: int, one: Target, other: Target) -> None:
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
def weigh_lines(
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
def _make_buffer(target: Target) -> NDArray[np.uint8]:
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
    target: Target,
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
def _resize_columns(target: Target, block: NDArray[np.uint32], waiting: NDArray[np.uint8], row: int) -> None:
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
def _resize_rows(target: Target, waiting: NDArray[np.uint8], row: int, y: int) -> None:
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
