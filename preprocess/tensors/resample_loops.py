"""The loops of `preprocess.tensors.resample`, compiled by numba.

Sixteen rows at a time are transposed so that one column of them is 48 neighbouring bytes: 16 of R, of G, and of B. A
weighted sum of columns then is a weighted sum of vectors, as is the vertical pass over planar rows. Finished rows wait
in a buffer just as long as the vertical pass needs them, and the result is planar, [3, size, size], without a
transposition of its own.

Functions that call each other stand in this one file: numba notices changes only in the file of the caller. Nor does it
notice a changed constant of `preprocess.tensors.resample_weights`: then its cache in `__pycache__` has to go.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils as numba_cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from .resample_weights import HIGH_BITS, PRECISION_BITS

cgutils: Any = numba_cgutils

BLOCK_ROWS = 16
"""Source rows that are resized horizontally at once: transposing 16 x 16 bytes takes as many vectors of 16 bytes."""

COLUMN = 3 * BLOCK_ROWS
"""Bytes of one column of a block."""

LANES = 32
"""Bytes that the vertical pass works on at once."""


class Target(NamedTuple):
    """One resized image: its tables, the weights as `preprocess.tensors.resample_weights.split_weights` gives them, and where it goes."""

    columns: NDArray[np.int64]
    column_weights: NDArray[np.int32]
    rows: NDArray[np.int64]
    row_weights: NDArray[np.int32]
    out: NDArray[np.uint8]


def _vector(bits: int, lanes: int) -> Any:
    return ir.VectorType(ir.IntType(bits), lanes)


def _order(places: Any) -> Any:
    """Return the order of a shuffle, of two vectors counted through."""
    return ir.Constant(_vector(32, len(places)), list(places))


def _splat(value: int, lanes: int) -> Any:
    return ir.Constant(_vector(32, lanes), [value] * lanes)


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    """Return a vector of int32 that are all one value."""
    undefined = ir.Constant(_vector(32, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, _splat(0, lanes))


GROUP = 8
"""Sums in one vector of AVX2; where vectors are narrower, LLVM takes them apart."""


def _weigh(lanes: int) -> Any:
    """Return the kernel for so many bytes, a multiple of 16.

    It writes clip((half + sum over t of source[at + t * stride + lane] * weight t) >> 22), for an even number of t.
    Two taps go at once, in LLVM's own vectors: the sums stay in registers for any number of taps, which no loop over
    arrays was compiled to. Sums wrap around at 32 bits, so the halves of the weights need no room of their own.
    """

    def code(
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
        # numba hands its typing context over; the types below do not depend on it.
        del typing_context
        signature = types.void(source, at, stride, weights, weights_at, taps, out, out_at)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def pointer(array: int, offset: Any, bits: int, count: int) -> Any:
                start = context.make_array(signature.args[array])(context, builder, arguments[array])
                place = builder.gep(start.data, [offset])
                return builder.bitcast(place, _vector(bits, count).as_pointer())

            _, at, stride, _, weights_at, taps, _, out_at = arguments
            index = at.type
            add_pairs = _find_add_pairs(context, builder)
            half = _splat(1 << (PRECISION_BITS - 1), GROUP)
            groups = range(lanes // GROUP)
            low = [cgutils.alloca_once_value(builder, half) for _ in groups]
            high = [cgutils.alloca_once_value(builder, _splat(0, GROUP)) for _ in groups]
            with cgutils.for_range(builder, builder.lshr(taps, taps.type(1))) as loop:
                tap = builder.shl(loop.index, index(1))
                pair = builder.load(pointer(3, builder.add(weights_at, tap), 32, 2), align=4)
                weights = [
                    _spread(builder, builder.extract_element(pair, ir.IntType(32)(part)), GROUP)
                    for part in (0, 1)
                ]
                start = builder.add(at, builder.mul(tap, stride))
                for first in range(0, lanes, BLOCK_ROWS):
                    places = [builder.add(start, index(first))]
                    places.append(builder.add(places[0], stride))
                    ones, others = (
                        builder.load(pointer(0, place, 8, BLOCK_ROWS), align=1) for place in places
                    )
                    for group in range(first // GROUP, (first + BLOCK_ROWS) // GROUP):
                        begin = group * GROUP - first
                        order = _order([i for k in range(begin, begin + GROUP) for i in (k, k + BLOCK_ROWS)])
                        pixels = builder.shuffle_vector(ones, others, order)
                        add_pairs(pixels, weights, low[group], high[group])
            for group in groups:
                carried = builder.shl(builder.load(high[group]), _splat(HIGH_BITS, GROUP))
                total = builder.add(builder.load(low[group]), carried)
                value = builder.ashr(total, _splat(PRECISION_BITS, GROUP))
                least, most = _splat(0, GROUP), _splat(255, GROUP)
                value = builder.select(builder.icmp_signed(">", value, least), value, least)
                value = builder.select(builder.icmp_signed("<", value, most), value, most)
                place = builder.add(out_at, index(group * GROUP))
                builder.store(builder.trunc(value, _vector(8, GROUP)), pointer(6, place, 8, GROUP), align=1)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(code)


def _find_add_pairs(context: Any, builder: Any) -> Any:
    """Return what adds pairs of pixels, uint8 [2 * GROUP], times pairs of weights, to the sums low and high.

    AVX2 multiplies 16 numbers of 16 bits and adds them up in pairs, in half the time that it takes to multiply eight of
    32 bits. LLVM takes its own pattern for that apart again, so the instruction is asked for by its name; it is only
    where numba compiles for it. Elsewhere the halves of the weights are joined again, and all goes to the sums low.
    """
    pixels16, sums = _vector(16, 2 * GROUP), _vector(32, GROUP)
    if "+avx2" in context.codegen().magic_tuple()[2].split(","):
        kind = ir.FunctionType(sums, [pixels16, pixels16])
        multiply = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd")

        def add_pairs(pixels: Any, weights: Any, low: Any, high: Any) -> None:
            wide = builder.zext(pixels, pixels16)
            for weight, total in zip(weights, (low, high), strict=True):
                products = builder.call(multiply, [wide, builder.bitcast(weight, pixels16)])
                builder.store(builder.add(builder.load(total), products), total)

        return add_pairs

    def add_both(pixels: Any, weights: Any, low: Any, high: Any) -> None:
        del high
        total = builder.load(low)
        shift = _splat(16, GROUP)
        for tap in (0, 1):
            order = _order(range(tap, 2 * GROUP, 2))
            lanes = builder.zext(builder.shuffle_vector(pixels, pixels, order), sums)
            # The second of two numbers of 16 bits is the upper half of 32; the first is moved there.
            parts = [builder.ashr(w if tap else builder.shl(w, shift), shift) for w in weights]
            weight = builder.add(parts[0], builder.shl(parts[1], _splat(HIGH_BITS, GROUP)))
            total = builder.add(total, builder.mul(lanes, weight))
        builder.store(total, low)

    return add_both


_weigh_column = _weigh(COLUMN)
_weigh_lanes = _weigh(LANES)


def _transpose_code(
    typing_context: Any,
    source: Any,
    at: Any,
    stride: Any,
    out: Any,
    out_at: Any,
    out_stride: Any,
) -> Any:
    """Transpose 16 lines of 16 bytes: byte b of `source[at + line * stride :]` is that of line b of `out`."""
    del typing_context
    signature = types.void(source, at, stride, out, out_at, out_stride)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, at, stride, _, out_at, out_stride = arguments

        def pointer(array: int, start: Any, step: Any, line: int) -> Any:
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            place = builder.gep(data, [builder.add(start, builder.mul(step, step.type(line)))])
            return builder.bitcast(place, _vector(8, BLOCK_ROWS).as_pointer())

        lines = [builder.load(pointer(0, at, stride, line), align=1) for line in range(BLOCK_ROWS)]
        # Merging each line with the one half the lines later, element by element, four times over, is the transpose.
        half = BLOCK_ROWS // 2
        orders = [
            _order([i for k in range(begin, begin + half) for i in (k, k + BLOCK_ROWS)])
            for begin in (0, half)
        ]
        for _ in range(BLOCK_ROWS.bit_length() - 1):
            lines = [
                builder.shuffle_vector(line, other, order)
                for line, other in zip(lines[:half], lines[half:], strict=True)
                for order in orders
            ]
        for number, line in enumerate(lines):
            builder.store(line, pointer(3, out_at, out_stride, number), align=1)
        return context.get_dummy_value()

    return signature, generate


_transpose: Any = intrinsic(_transpose_code)


@njit(cache=True, nogil=True)
def resample(pixels: NDArray[np.uint8], height: int, width: int, one: Target, other: Target) -> None:
    """Resize `pixels` (uint8 [height * width * 3]) to both targets, a block of rows after the other."""
    line = 3 * width
    # One pixel more: a window of an even number of columns may end beyond the last, with a weight of 0.
    block = np.zeros((max(line, BLOCK_ROWS) + 3) * BLOCK_ROWS, np.uint8)
    # Rows that a block lacks, or that are shorter than a vector, are read from a copy that has room behind it.
    edge = np.zeros(BLOCK_ROWS * line + BLOCK_ROWS, np.uint8)
    one_waiting, other_waiting = _make_buffer(one), _make_buffer(other)
    one_done, other_done = (0, 0), (0, 0)
    for top in range(0, height, BLOCK_ROWS):
        start = top * line
        if top + BLOCK_ROWS <= height and line >= BLOCK_ROWS:
            _turn_block(pixels, start, line, block)
        else:
            for at in range(min(BLOCK_ROWS * line, pixels.size - start)):
                edge[at] = pixels[start + at]
            _turn_block(edge, 0, line, block)
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
    """Resize lines of `line` bytes vertically, whatever they hold; `out` has `LANES` bytes more than its lines."""
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
def _turn_block(pixels: NDArray[np.uint8], start: int, line: int, block: NDArray[np.uint8]) -> None:
    """Write the bytes of 16 rows of RGB column by column, uint8 [line, 16]."""
    for left in range(0, line, BLOCK_ROWS):
        # The last square overlaps the one before.
        x = max(min(left, line - BLOCK_ROWS), 0)
        _transpose(pixels, start + x, line, block, x * BLOCK_ROWS, BLOCK_ROWS)


@njit(cache=True, nogil=True)
def _advance(
    target: Target,
    block: NDArray[np.uint8],
    waiting: NDArray[np.uint8],
    done: tuple[int, int],
    top: int,
    height: int,
) -> tuple[int, int]:
    """Take in the block of source rows from `top` on, and finish every output row that now can be.

    Args:
        target: the image to make.
        block: uint8 [W * 48], turned pixels.
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
    # A window may end one row beyond the last, with a weight of 0.
    while finished < size and min(target.rows[finished] + taps, height) <= available:
        _resize_rows(target, waiting, target.rows[finished] - keep_from, finished)
        finished += 1
    return keep_from, finished


@njit(cache=True, nogil=True)
def _resize_columns(target: Target, block: NDArray[np.uint8], waiting: NDArray[np.uint8], row: int) -> None:
    """Resize a turned block horizontally and put its 16 rows into `waiting` from `row` on, planar."""
    size, taps = target.columns.size, target.column_weights.shape[1]
    weights = target.column_weights.reshape(-1)
    tile = np.zeros(BLOCK_ROWS * COLUMN, np.uint8)
    padded, out = waiting.shape[2], waiting.reshape(-1)
    for left in range(0, size, BLOCK_ROWS):
        for x in range(left, min(left + BLOCK_ROWS, size)):
            at = target.columns[x] * COLUMN
            _weigh_column(block, at, COLUMN, weights, x * taps, taps, tile, (x - left) * COLUMN)
        for channel in range(3):
            out_at = (row * 3 + channel) * padded + left
            _transpose(tile, channel * BLOCK_ROWS, COLUMN, out, out_at, 3 * padded)


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
