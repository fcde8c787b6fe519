"""The loops that write a batch, compiled: one pass from a stored row to its place, past the processor's caches.

A batch is larger than the caches. An ordinary store first reads the line that it is going to overwrite from memory; a
non-temporal one writes whole lines, and leaves in the caches what is there. numpy has no such store, and needs four
passes for the normalisation.

No fast-math: each step rounds as in `loader.kernels.batch_kernels.normalize_into`, so the bits are the same. No loop raises anything, not
even where it divides by zero, and none asks for memory: `loader.kernels.object_code` relies on it, and keeps what is compiled.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils as numba_cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

LINE = 64
"""Bytes of a cache line."""

FLOATS = 16
"""float32 values of a cache line."""

AHEAD = 2048
"""Bytes that are asked for before they are read: the processor itself stops at the end of each small page."""

cgutils: Any = numba_cgutils
_numba: Any = numba
carray = _numba.carray

_Loop = TypeVar("_Loop", bound=Callable[..., Any])

_LEVELS = (float(np.float32(1 / 255)), float(np.float32(1 / 255 - float(np.float32(1 / 255)))))
"""1 / 255 in two parts."""

_bytes = ir.VectorType(ir.IntType(8), LINE)
_few_bytes = ir.VectorType(ir.IntType(8), FLOATS)
_wide = ir.VectorType(ir.IntType(32), FLOATS)
_floats = ir.VectorType(ir.FloatType(), FLOATS)


def loop(function: _Loop) -> _Loop:
    """Compile a loop when it is first called."""
    compiled: Any = njit(nogil=True, error_model="numpy")(function)
    return cast("_Loop", compiled)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any, vector: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


def _stream(builder: Any, value: Any, place: Any) -> None:
    """Store a whole line without reading it first; `place` is at the beginning of one."""
    stored = builder.store(value, place, align=LINE)
    stored.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


def _copy_line_code(typing_context: Any, stored: Any, at: Any, out: Any, out_at: Any) -> Any:
    """Copy 64 bytes."""
    # numba hands its typing context over; the types below do not depend on it.
    del typing_context
    signature = types.void(stored, at, out, out_at)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored, at, out, out_at = arguments
        source = _pointer(context, builder, signature.args[0], stored, at, _bytes)
        target = _pointer(context, builder, signature.args[2], out, out_at, _bytes)
        _stream(builder, builder.load(source, align=1), target)
        return context.get_dummy_value()

    return signature, generate


def _expect_line_code(typing_context: Any, stored: Any, at: Any) -> Any:
    """Ask for what is read `AHEAD` bytes later; beyond the end of an array this does nothing."""
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored, at = arguments
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kinds = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kinds)
        later = builder.add(at, at.type(AHEAD))
        place = _pointer(context, builder, signature.args[0], stored, later, ir.IntType(8))
        # For reading, to stay in all caches, of data.
        builder.call(prefetch, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(stored, at), generate


def _load_word_code(typing_context: Any, stored: Any, at: Any) -> Any:
    """Return 8 bytes as a number, the lowest first; the highest bit is its sign."""
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored, at = arguments
        place = _pointer(context, builder, signature.args[0], stored, at, ir.IntType(64))
        return builder.load(place, align=1)

    return types.int64(stored, at), generate


def _widen_line_code(typing_context: Any, stored: Any, at: Any, out: Any, out_at: Any) -> Any:
    """Write 16 bytes as float32: 0 where they are 0, else 1."""
    del typing_context
    signature = types.void(stored, at, out, out_at)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored, at, out, out_at = arguments
        source = _pointer(context, builder, signature.args[0], stored, at, _few_bytes)
        target = _pointer(context, builder, signature.args[2], out, out_at, _floats)
        zeros = ir.Constant(_few_bytes, [0] * FLOATS)
        is_set = builder.icmp_unsigned("!=", builder.load(source, align=1), zeros)
        _stream(builder, builder.uitofp(is_set, _floats), target)
        return context.get_dummy_value()

    return signature, generate


def _normalize_line_code(
    typing_context: Any,
    stored: Any,
    at: Any,
    mean: Any,
    std: Any,
    inverse: Any,
    rest: Any,
    out: Any,
    out_at: Any,
) -> Any:
    """Write 16 bytes as (x / 255 - mean) / std; `inverse` and `rest` are the parts of 1 / std."""
    del typing_context
    signature = types.void(stored, at, mean, std, inverse, rest, out, out_at)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored, at, mean, std, inverse, rest, out, out_at = arguments
        source = _pointer(context, builder, signature.args[0], stored, at, _few_bytes)
        target = _pointer(context, builder, signature.args[6], out, out_at, _floats)
        levels = [ir.FloatType()(number) for number in (255.0, *_LEVELS)]
        divide = _divide if _has_fma(context) else _divide_plainly
        value = _widen(builder, builder.load(source, align=1))
        value = divide(builder, value, *levels)
        value = builder.fsub(value, _spread(builder, mean))
        _stream(builder, divide(builder, value, std, inverse, rest), target)
        return context.get_dummy_value()

    return signature, generate


def _finish_code(typing_context: Any) -> Any:
    """Let every line arrive in memory before anything that is stored later: another thread is told of it.

    On x86 this is a locked instruction, which waits for streamed lines, too (Intel's manual, volume 3, 9.2.2).
    """
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature, arguments
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def _bytes_at_code(typing_context: Any, address: Any) -> Any:
    """Take an address for a pointer to bytes."""
    del typing_context

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    pointer: Any = types.CPointer
    return pointer(types.uint8)(address), generate


def _widen(builder: Any, values: Any) -> Any:
    return builder.uitofp(builder.zext(values, _wide), _floats)


def _spread(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_floats, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_wide, [0] * FLOATS))


def _has_fma(context: Any) -> bool:
    """Whether numba compiles for a processor that multiplies and adds with one rounding; others would call a function."""
    triple, _, features = context.codegen().magic_tuple()
    return "+fma" in features.split(",") or triple.startswith(("aarch64", "arm64"))


def _divide(builder: Any, value: Any, divisor: Any, inverse: Any, rest: Any) -> Any:
    """Return value / divisor, rounded once, without the slow division.

    The inverse comes in two parts, each a float32, and the sum of both products is rounded once. That this is the
    rounded quotient for all 256 levels of all three channels is what `tests/loader/kernels/test_batch_kernels.py` goes through.
    """
    del divisor
    kind = ir.FunctionType(_floats, [_floats] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{FLOATS}f32")
    small = builder.fmul(value, _spread(builder, rest))
    return builder.call(fma, [value, _spread(builder, inverse), small])


def _divide_plainly(builder: Any, value: Any, divisor: Any, inverse: Any, rest: Any) -> Any:
    del inverse, rest
    return builder.fdiv(value, _spread(builder, divisor))


copy_line: Any = intrinsic(_copy_line_code)
load_word: Any = intrinsic(_load_word_code)
_expect_line: Any = intrinsic(_expect_line_code)
_widen_line: Any = intrinsic(_widen_line_code)
_normalize_line: Any = intrinsic(_normalize_line_code)
finish: Any = intrinsic(_finish_code)
bytes_at: Any = intrinsic(_bytes_at_code)


@loop
def _lines(address: int, size: int, per_line: int) -> tuple[int, int]:
    """Return where whole lines begin and end in `size` values at `address`, `per_line` of which fill a line."""
    before = -address % LINE * per_line
    if before % LINE:
        # No value is at the beginning of a line.
        return size, size
    first = min(before // LINE, size)
    return first, first + (size - first) // per_line * per_line


@loop
def copy(stored: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Copy uint8 [N]."""
    copy_streamed(stored, out)
    finish()


@loop
def copy_streamed(stored: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Do what `copy` does, without a `finish`, which has to come before anyone is told of it."""
    first, last = _lines(out.ctypes.data, out.size, LINE)
    for i in range(first):
        out[i] = stored[i]
    for i in range(first, last, LINE):
        _expect_line(stored, i)
        copy_line(stored, i, out, i)
    for i in range(last, out.size):
        out[i] = stored[i]


@loop
def widen(stored: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """Write uint8 [N] into `out`, float32 [N]: 0 where it is 0, else 1."""
    first, last = _lines(out.ctypes.data, out.size, FLOATS)
    for i in range(first):
        out[i] = np.float32(1 if stored[i] else 0)
    for i in range(first, last, FLOATS):
        _widen_line(stored, i, out, i)
    for i in range(last, out.size):
        out[i] = np.float32(1 if stored[i] else 0)
    finish()


@loop
def normalize(
    stored: NDArray[np.uint8], mean: NDArray[np.float32], std: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Write (stored / 255 - mean) / std into `out`, exactly for the mean and std of `loader.format.layout`.

    Args:
        stored: uint8 [3, N].
        mean: float32 [3].
        std: float32 [3].
        out: float32 [3, N].
    """
    for channel in range(3):
        normalize_streamed(stored[channel], mean[channel], std[channel], out[channel])
    finish()


@loop
def normalize_streamed(
    stored: NDArray[np.uint8], mean: np.float32, std: np.float32, out: NDArray[np.float32]
) -> None:
    """Do what `normalize` does with uint8 [N] of one channel, without a `finish`."""
    exact = 1 / np.float64(std)
    inverse = np.float32(exact)
    rest = np.float32(exact - np.float64(inverse))
    first, last = _lines(out.ctypes.data, out.size, FLOATS)
    for i in range(first):
        out[i] = (np.float32(stored[i]) / np.float32(255) - mean) / std
    for i in range(first, last, FLOATS):
        _normalize_line(stored, i, mean, std, inverse, rest, out, i)
    for i in range(last, out.size):
        out[i] = (np.float32(stored[i]) / np.float32(255) - mean) / std


@loop
def copy_rows(addresses: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Copy rows of bytes, given by their addresses, int64 [B], into `out`, uint8 [B, N]."""
    for place in range(addresses.size):
        copy(carray(bytes_at(addresses[place]), (out.shape[1],)), out[place])


@loop
def normalize_rows(
    addresses: NDArray[np.int64],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Do what `normalize` does with images given by their addresses, int64 [B]; `out` is float32 [B, 3, N]."""
    for place in range(addresses.size):
        normalize(carray(bytes_at(addresses[place]), (3, out.shape[2])), mean, std, out[place])
