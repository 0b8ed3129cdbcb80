"""The functions that a design's cores call, on the host: the C++ source itself, or each function in NumPy.

A design declares each function with its buffers' types and the object that it is linked from:

    func.func private @zero_f32(memref<64x32xf32>) attributes {link_with = "matmul_64x64x32.o"}

Which sources there are, what each defines and how an object's name carries sizes is the family's to say
(kernels/core.py): it is given to `compiled` and `in_numpy`.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from whisper_npu.cache import COMPILED, About, find_or_build
from whisper_npu.errors import WhisperNpuError
from whisper_npu.home import cache_folder
from whisper_npu.host.cxx import COMPILERS, find_cxx
from whisper_npu.host.native import cpu_flags
from whisper_npu.host.vmac import HEADER
from whisper_npu.kernels.core import CoreFunction, CoreObject, CoreSource, ObjectNameError, object_named
from whisper_npu.kernels.verifier.design import Function
from whisper_npu.kernels.verifier.memory import DTYPES
from whisper_npu.kernels.verifier.program import Functions
from whisper_npu.npu.targets import Target

# For this very CPU, but without its fused multiply-add: fp32 products are rounded before they are added.
FLAGS = (
    "-std=c++20",
    "-O2",
    "-march=native",
    "-ffp-contract=off",
    "-DNDEBUG",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
)

_HOST = Path(__file__).parent / "host"
_C_TYPES = {"bf16": "bfloat16", "f32": "float", "i32": "std::int32_t"}
_ERROR_BYTES = 512


class CoreFunctionError(WhisperNpuError):
    """A core function declared or called as its source does not allow, or one that oversteps its buffers."""


class UnknownCoreFunctionError(CoreFunctionError):
    """A function that no source defines, or that the design does not declare."""


class NoCompilerError(CoreFunctionError):
    """No C++ compiler on this machine; `in_numpy` needs none."""


class CompileError(CoreFunctionError):
    """The C++ compiler refused a source for these sizes."""


def compiled(
    declared: Sequence[Function],
    sources: Sequence[CoreSource],
    target: Target,
    *,
    cache_dir: Path | None = None,
) -> Functions:
    """The sources, compiled by this machine's C++ compiler against our header of the AIE API in `host/`.

    declared: a design's functions. Each object is compiled once. Libraries are kept in `cache_dir` (default:
    $WHISPER_NPU_CACHE, or whisper-npu in the user's cache folder) under a hash of source, flags and compiler.

    Raises NoCompilerError, CompileError, or CoreFunctionError if a declaration does not fit its function.
    """
    functions = _checked(declared, sources, target)
    compiler = _compiler(os.environ)
    objects = {function.object.name: function.object for function in functions.values()}
    libraries = {
        name: ctypes.CDLL(str(_library(compiler, found, cache_dir))) for name, found in objects.items()
    }
    return _Compiled(functions, libraries)


def in_numpy(declared: Sequence[Function], sources: Sequence[CoreSource], target: Target) -> Functions:
    """The same functions in NumPy, for machines without a C++ compiler.

    Raises CoreFunctionError if a declaration does not fit its function.
    """
    return _InNumpy(_checked(declared, sources, target))


# --- What a design declares ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Declared:
    """One declared function, found to fit the core function of its name."""

    declaration: Function
    core: CoreFunction
    object: CoreObject

    def check(self, arguments: Sequence[NDArray[Any]]) -> None:
        """Raises CoreFunctionError for arrays that are not as declared."""
        name, memrefs = self.declaration.name, self.declaration.memrefs
        if len(arguments) != len(memrefs):
            raise CoreFunctionError(f"{name} takes {len(memrefs)} arguments, not {len(arguments)}")
        for index, (array, memref) in enumerate(zip(arguments, memrefs, strict=True)):
            dtype = DTYPES[memref.dtype]
            if array.shape != memref.shape or array.dtype != dtype:
                raise CoreFunctionError(
                    f"argument {index} of {name} is {_type(array.shape, array.dtype)}, "
                    f"declared {_type(memref.shape, dtype)}"
                )
            if not array.flags.c_contiguous:
                raise CoreFunctionError(f"argument {index} of {name} is not contiguous; pass a copy")
            if self.core.parameters[index].is_written and not array.flags.writeable:
                raise CoreFunctionError(f"argument {index} of {name} is written, but read-only")


def _checked(
    declared: Sequence[Function], sources: Sequence[CoreSource], target: Target
) -> dict[str, _Declared]:
    """The declared functions by name, each held against what its object defines."""
    functions: dict[str, _Declared] = {}
    for declaration in declared:
        name, found = declaration.name, _object(declaration, sources, target)
        if name not in found.functions:
            raise UnknownCoreFunctionError(
                f"unknown core function {name!r}: {found.source.path.name} has {', '.join(found.functions)}"
            )
        core = found.functions[name]
        if len(declaration.memrefs) != len(core.parameters):
            raise CoreFunctionError(
                f"{name} of {found.name} takes {len(core.parameters)} arguments, "
                f"declared with {len(declaration.memrefs)}"
            )
        for index, (memref, parameter) in enumerate(zip(declaration.memrefs, core.parameters, strict=True)):
            if not parameter.allows(memref.shape, memref.dtype):
                raise CoreFunctionError(
                    f"argument {index} ({parameter.name}) of {name} is declared "
                    f"{_type(memref.shape, memref.dtype)}; "
                    f"in {found.name} it is {_type(parameter.shape or (), parameter.dtype)}"
                )
        if name in functions:
            raise CoreFunctionError(f"{name} is declared twice; a design declares each function once")
        functions[name] = _Declared(declaration, core, found)
    return functions


def _object(declaration: Function, sources: Sequence[CoreSource], target: Target) -> CoreObject:
    try:
        return object_named(declaration.link_with or "", sources, target)
    except ObjectNameError as error:
        raise CoreFunctionError(str(error)) from error


def _type(shape: tuple[int, ...], dtype: object) -> str:
    return "x".join([*map(str, shape), str(dtype)])


@dataclass(frozen=True)
class _Functions(ABC):
    """What both implementations share."""

    functions: Mapping[str, _Declared]

    def reads(self, name: str) -> tuple[bool, ...]:
        """For each argument of `name`, whether all of its contents matter.

        Raises UnknownCoreFunctionError.
        """
        return tuple(parameter.is_read_whole for parameter in self.find(name).core.parameters)

    def macs(self, name: str) -> int:
        return self.find(name).core.macs

    def prepare(self, name: str, arguments: Sequence[NDArray[Any]]) -> Callable[[], None]:
        """The call of `name` on these arrays, for as often as it is made.

        Raises CoreFunctionError for arrays that are not as declared.
        """
        function = self.find(name)
        function.check(arguments)
        return self._prepared(function, arguments)

    def call(self, name: str, arguments: Sequence[NDArray[Any]]) -> None:
        self.prepare(name, arguments)()

    @abstractmethod
    def _prepared(self, function: _Declared, arguments: Sequence[NDArray[Any]]) -> Callable[[], None]:
        """The same, of arrays that are as declared."""

    def find(self, name: str) -> _Declared:
        if name not in self.functions:
            known = ", ".join(self.functions) or "none"
            raise UnknownCoreFunctionError(f"core function {name!r} is not declared; declared: {known}")
        return self.functions[name]


@dataclass(frozen=True)
class _InNumpy(_Functions):
    def _prepared(self, function: _Declared, arguments: Sequence[NDArray[Any]]) -> Callable[[], None]:
        return partial(function.core.in_numpy, arguments)


# --- Compiled -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Compiled(_Functions):
    libraries: Mapping[str, ctypes.CDLL]  # by the object's name

    def _prepared(self, function: _Declared, arguments: Sequence[NDArray[Any]]) -> Callable[[], None]:
        """Calls raise CoreFunctionError where the function reads or writes beyond an argument, too."""
        name, count = function.declaration.name, len(arguments)
        whisper_npu_call = self.libraries[function.object.name].whisper_npu_call
        buffers = (ctypes.c_void_p * count)(*(array.ctypes.data for array in arguments))
        sizes = (ctypes.c_size_t * count)(*(array.nbytes for array in arguments))
        problem = ctypes.create_string_buffer(_ERROR_BYTES)
        given = name.encode(), buffers, sizes, ctypes.c_size_t(count), problem, ctypes.c_size_t(_ERROR_BYTES)

        def call(_alive: object = tuple(arguments)) -> None:  # they are, as long as the call is
            if whisper_npu_call(*given):
                raise CoreFunctionError(f"{name} {problem.value.decode(errors='replace')}")

        return call


def _compiler(environ: Mapping[str, str]) -> tuple[str, ...]:
    if compiler := find_cxx(environ):
        return compiler
    chosen = environ.get("CXX", "").strip()
    missing = f"no {chosen} ($CXX)" if chosen else f"none of {', '.join(COMPILERS)}"
    raise NoCompilerError(f"core functions need a C++ compiler: {missing} on PATH; install g++ or set CXX")


def _library(compiler: tuple[str, ...], found: CoreObject, cache_dir: Path | None) -> Path:
    """The shared library of one object, from the cache or compiled into it."""
    source, target = found.source.path, found.target
    r, s, t = target.micro_tile
    options = (
        *FLAGS,
        *found.defines,
        f"-DHOST_MMUL_R={r}",
        f"-DHOST_MMUL_S={s}",
        f"-DHOST_MMUL_T={t}",
        f"-DHOST_CORE_MEMORY={target.core.memory_bytes}",
    )
    header = _declarations(found)
    key = sha256(repr([compiler, _version(compiler), options, header, cpu_flags()]).encode())
    for part in (*found.source.files, _HOST / "call.cc", _HOST / "aie_api" / "aie.hpp", HEADER):
        key.update(sha256(part.read_bytes()).digest())
    library = f"{Path(found.name).stem}.so"

    def build(folder: Path) -> None:
        (folder / "core_functions.hpp").write_text(header, "utf-8")
        inputs = f"-I{_HOST}", f"-I{HEADER.parent}", f"-I{folder}", str(source), str(_HOST / "call.cc")
        command = [*compiler, *options, *inputs, "-o", str(folder / library)]
        own = {**os.environ, "TMPDIR": str(folder)}  # the compiler's files go with the folder
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=own)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            because = lines[0].strip() if lines else f"exit status {done.returncode}"
            name = Path(found.name).stem
            raise CompileError(f"{compiler[0]} refuses {source.name} for {name}: {because}")

    about = About(COMPILED, source.name)
    return find_or_build(cache_folder(cache_dir), f"core-{key.hexdigest()[:32]}", build, about) / library


@cache
def _version(compiler: tuple[str, ...]) -> str:
    """As it says itself; a process does not live through an update of its compiler."""
    return subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout


def _declarations(found: CoreObject) -> str:
    """core_functions.hpp: what host/call.cc needs to know of one object's functions."""
    functions = found.functions.values()
    lines = [f"// Generated: the functions of {found.source.path.name}.", 'extern "C" {']
    for function in functions:
        types = [f"{_C_TYPES[p.dtype]}{'' if p.is_number else ' *'}" for p in function.parameters]
        lines.append(f"void {function.name}({', '.join(types)});")
    each = " ".join(f"function({function.name})" for function in functions)
    most = max((len(function.parameters) for function in functions), default=0)
    lines += ["}", f"#define CORE_FUNCTIONS(function) {each}", f"#define MAX_ARGUMENTS {most}"]
    return "\n".join(lines) + "\n"
