"""The functions that cores run: what a C++ file defines, and how an object's name carries its sizes.

A family declares its files as `CoreSource`s. The build compiles them with Peano, the verifier with this
machine's C++ compiler, or runs the NumPy version of each function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from whisper_npu.errors import WhisperNpuError, quoted
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Direction

Sizes = tuple[int, ...]
InNumpy = Callable[[Sequence[NDArray[Any]]], None]


class ObjectNameError(WhisperNpuError):
    """A `link_with` that names no object of a family's sources, or sizes that its source does not take."""


@dataclass(frozen=True)
class Parameter:
    """One buffer that a core function takes, or a number by value. A design declares a buffer so, or flat.

    shape: None where the function is told at run time how much of the buffer it works on: any shape is right.
    """

    name: str
    shape: tuple[int, ...] | None  # (): a number
    dtype: str  # the element's name in MLIR: "bf16", "f32" or "i32"
    direction: Direction = Direction.IN
    in_part: bool = False  # a call reads only some of it: how much, other arguments say

    @property
    def is_number(self) -> bool:
        """Whether it comes by value."""
        return self.shape == ()

    def allows(self, shape: tuple[int, ...], dtype: str) -> bool:
        """Never with two sizes exchanged."""
        flat = (prod(self.shape),) if self.shape else ()
        return dtype == self.dtype and (self.shape is None or shape in (self.shape, flat))

    @property
    def is_read_whole(self) -> bool:
        """Whether each element must have been written. What nothing wrote is NaN to those who read it."""
        return self.direction is not Direction.OUT and not self.in_part

    @property
    def is_written(self) -> bool:
        return self.direction is not Direction.IN


@dataclass(frozen=True)
class CoreFunction:
    """One function `extern "C"`, compiled for certain sizes.

    C's parameters are in this order, each a pointer, or a number.
    """

    name: str
    parameters: tuple[Parameter, ...]
    in_numpy: InNumpy  # changes what it writes in place; arrays have the shapes that the design declares
    macs: int = 0  # multiply-accumulates of one call


@dataclass(frozen=True)
class CoreSource:
    """One C++ file.

    sizes: what it is compiled for, for instance ("m", "k", "n"): it gets -DDIM_M=, -DDIM_K=, -DDIM_N=, and
    the target's micro-tile as -DDIM_R=, -DDIM_S=, -DDIM_T=. () for a file whose functions take their sizes at
    run time.
    units: what each of these sizes is a multiple of.
    functions: what the file defines when it is compiled for these sizes.
    headers: files of ours that it includes, as seen from its folder. What they hold is part of the source.
    """

    path: Path
    sizes: tuple[str, ...]
    units: Callable[[Target], Sizes]
    functions: Callable[[Target, Sizes], tuple[CoreFunction, ...]]
    headers: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All whose contents make its objects: the C++ file, then its headers."""
        return self.path, *(self.path.parent / header for header in self.headers)

    @property
    def object_form(self) -> str:
        """How its objects are called: `matmul_<m>x<k>x<n>.o`."""
        sizes = "x".join(f"<{size}>" for size in self.sizes)
        return f"{self.path.stem}_{sizes}.o" if sizes else f"{self.path.stem}.o"

    def object_name(self, *sizes: int) -> str:
        """What a design writes as `link_with`."""
        assert len(sizes) == len(self.sizes)
        return f"{self.path.stem}_{'x'.join(map(str, sizes))}.o" if sizes else f"{self.path.stem}.o"

    def object_named(self, name: str, target: Target) -> CoreObject | None:
        """None where the name is another source's. Raises ObjectNameError for sizes that it does not take."""
        sizes = "x".join(["([1-9][0-9]{0,8})"] * len(self.sizes))
        found = re.fullmatch(f"{re.escape(self.path.stem)}{'_' if sizes else ''}{sizes}\\.o", name)
        if found is None:
            return None
        values, units = tuple(map(int, found.groups())), self.units(target)
        if any(value % unit for value, unit in zip(values, units, strict=True)):
            raise ObjectNameError(
                f"{name}: {','.join(self.sizes)} must be multiples of {','.join(map(str, units))}"
            )
        return CoreObject(self, target, values)


@dataclass(frozen=True)
class CoreObject:
    """A source, compiled for certain sizes and a target."""

    source: CoreSource
    target: Target
    sizes: Sizes

    @property
    def name(self) -> str:
        return self.source.object_name(*self.sizes)

    @property
    def functions(self) -> dict[str, CoreFunction]:
        found = self.source.functions(self.target, self.sizes)
        return {function.name: function for function in found}

    @property
    def defines(self) -> tuple[str, ...]:
        """The sizes as the C++ file takes them."""
        sizes = [*zip(self.source.sizes, self.sizes, strict=True)]
        micro_tile = [*zip("rst", self.target.micro_tile, strict=True)]
        return tuple(f"-DDIM_{name.upper()}={value}" for name, value in (*sizes, *micro_tile))


def object_named(name: str, sources: Sequence[CoreSource], target: Target) -> CoreObject:
    """The object that a design's `link_with` asks for.

    Raises ObjectNameError for a name of another form, or sizes that its source does not take.
    """
    for source in sources:
        if found := source.object_named(name, target):
            return found
    forms = ", ".join(f"{source.object_form} of {source.path.name}" for source in sources)
    raise ObjectNameError(f"link_with = {quoted(name)} names no object: there are {forms}")
