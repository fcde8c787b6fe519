"""The loops of a batch without their compiler: object code that numba made once, linked by llvmlite alone.

To import numba and have it load what it keeps itself takes 0.4 s of each process that reads batches, and 30 MiB; this
takes 25 ms. Object code is made by the first process that finds none for this processor, these sources
and these versions, which takes some ten seconds, or by `python -m resizeonce.loader.kernels.warm`. It is kept where numba would keep it:
in `NUMBA_CACHE_DIR`, else in `__pycache__` beside the sources, else in the user's cache. numba's own cache is not used: it
notices changes only in the file of a caller.

A loop that raised an exception would call functions that only numba has. These don't (`loader.kernels.loops`), so whatever would
be called then is linked to `abort`, by a name of its own: numba may come later, and looks its functions up by theirs.
"""

import base64
import ctypes
import hashlib
import json
import os
import threading
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..format.compiled import compiled
from ..format.user_cache import user_cache

_SOURCES = (
    "format/gradient.py",
    "format/gradient_loops.py",
    "format/layout.py",
    "format/mask_sequences.py",
    "format/zstd_tables.py",
    "kernels/loops.py",
    "kernels/mask_frames.py",
    "kernels/object_code.py",
    "kernels/packed_images.py",
    "kernels/row_loops.py",
)
"""What the object code is made of, and how."""

_SETTINGS = (
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "NUMBA_ENABLE_AVX",
    "NUMBA_OPT",
    "NUMBA_LOOP_VECTORIZE",
    "NUMBA_SLP_VECTORIZE",
    "NUMBA_BOUNDSCHECK",
)
"""Variables of the environment from which numba makes other code."""

_FOLDER = Path(__file__).parent

_OF_LLVM = "llvm."
"""What the names of LLVM's own functions begin with: they become instructions."""

_FROM_LIBC = ("memcpy", "memmove", "memset")
"""What LLVM calls of its own accord."""

_NEVER_CALLED = "resizeonce_never_called_"


class ObjectCodeError(Exception):
    """Raised where what is kept is damaged."""


@dataclass(frozen=True)
class ObjectCode:
    """Functions as object code."""

    symbols: dict[str, str]
    """What each function is called in it."""
    never_called: list[str]
    """What it calls where an exception is raised."""
    code: bytes

    def to_bytes(self) -> bytes:
        """Return this as a file's content."""
        values = asdict(self) | {"code": base64.b64encode(self.code).decode()}
        content = json.dumps(values).encode()
        return _digest([content]).encode() + b"\n" + content

    @classmethod
    def from_bytes(cls, content: bytes) -> "ObjectCode":
        """Return what `to_bytes` wrote.

        Raises:
            ObjectCodeError: it is damaged.
        """
        digest, _, rest = content.partition(b"\n")
        if digest.decode("latin-1") != _digest([rest]):
            raise ObjectCodeError("kept object code is damaged")
        values: dict[str, Any] = json.loads(rest)
        return cls(values["symbols"], values["never_called"], base64.b64decode(values["code"]))


@cache
def load_functions() -> Mapping[str, int] | None:
    """Return the addresses of the functions of `loader.kernels.row_loops` by name; None where there is no numba to compile them."""
    try:
        name = file_name()
    except (OSError, ImportError) as err:
        warnings.warn(f"batches are filled by numpy, more slowly: {err}", stacklevel=2)
        return None
    if name is None:
        return None
    for folder in folders():
        # Missing, not ours to read, or damaged: then it is made anew.
        with suppress(OSError, ObjectCodeError):
            return link(ObjectCode.from_bytes((folder / name).read_bytes()))
    module = compiled("resizeonce.loader.kernels.row_loops")
    if module is None:
        return None
    _keep(name, make_code(module.FUNCTIONS))
    return {name: function.address for name, function in module.FUNCTIONS.items()}


def file_name() -> str | None:
    """Return the name of the file that holds object code for this processor, these sources and versions.

    Raises:
        OSError: the sources are not there to be compiled.
        ImportError: llvmlite is not for this system.
    """
    # Neither imports numba.
    numba, llvmlite = find_spec("numba"), find_spec("llvmlite")
    if (
        numba is None
        or numba.origin is None
        or llvmlite is None
        or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"
    ):
        return None
    llvm: Any = import_module("llvmlite.binding")
    parts = [(_FOLDER.parent / source).read_bytes() for source in _SOURCES]
    parts += [Path(numba.origin).with_name("_version.py").read_bytes()]
    parts += [str(import_module("llvmlite").__version__).encode()]
    parts += [llvm.get_process_triple().encode(), llvm.get_host_cpu_name().encode()]
    parts += [llvm.get_host_cpu_features().flatten().encode()]
    parts += [os.environ.get(name, "").encode() for name in _SETTINGS]
    return f"row_loops.{_digest(parts)}.json"


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def folders() -> list[Path]:
    """Return where object code may be kept, the best place first."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(chosen)] if chosen else []
    folders.append(_FOLDER / "__pycache__")
    # Where there is no home, nothing is kept there.
    with suppress(RuntimeError):
        folders.append(user_cache())
    return folders


def _keep(name: str, made: ObjectCode) -> None:
    """Write object code to the first place that can be written to."""
    for folder in folders():
        unfinished = folder / f"{name}.{os.getpid()}.{threading.get_ident()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(made.to_bytes())
            unfinished.replace(folder / name)
        except OSError:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        else:
            return
    warnings.warn(
        "compiled loops have no place to be kept in, so every process compiles for some ten seconds: "
        "set NUMBA_CACHE_DIR to a folder that only you may write",
        stacklevel=4,
    )


def make_code(functions: Mapping[str, Any]) -> ObjectCode:
    """Return functions that numba compiled as one piece of object code."""
    llvm: Any = import_module("llvmlite.binding")
    registry: Any = import_module("numba.core.registry")
    triple, cpu, features = registry.cpu_target.target_context.codegen().magic_tuple()
    whole, *others = (llvm.parse_assembly(function.inspect_llvm()) for function in functions.values())
    for other in others:
        whole.link_in(other)
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, jit=True
    )
    declared = [one for one in (*whole.functions, *whole.global_variables) if one.is_declaration]
    never_called = [one for one in declared if not one.name.startswith((_OF_LLVM, *_FROM_LIBC))]
    for one in never_called:
        one.name = _NEVER_CALLED + one.name
    return ObjectCode(
        symbols={name: function.native_name for name, function in functions.items()},
        never_called=[one.name for one in never_called],
        code=machine.emit_object(whole),
    )


def link(made: ObjectCode) -> dict[str, int]:
    """Load object code into this process, for as long as it runs; return the address of each function by name."""
    llvm: Any = import_module("llvmlite.binding")
    # LLVM ends the process where a name is missing.
    abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for symbol in made.never_called:
        llvm.add_symbol(symbol, abort)
    engine = _new_engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(made.code))
    engine.finalize_object()
    addresses = {name: engine.get_function_address(symbol) for name, symbol in made.symbols.items()}
    if not all(addresses.values()):
        raise ObjectCodeError("kept object code has not all functions")
    return addresses


def _new_engine() -> Any:
    """Return what links object code; of the processor it needs to know nothing."""
    llvm: Any = import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    _ENGINES.append(engine)
    return engine


_ENGINES: list[Any] = []
"""What an engine has linked goes with it; two threads may come at the same time, and each makes one."""
