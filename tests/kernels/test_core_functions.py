"""matmul.cc as the cores would run it: against float64, against NumPy, and against its own mistakes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.toy_target import TOY
from whisper_npu.dtypes import Rounding
from whisper_npu.host.bf16 import on_grid, to_bf16
from whisper_npu.host.vmac import HEADER
from whisper_npu.kernels.core import ObjectNameError, object_named
from whisper_npu.kernels.matmul.core import MATMUL_CC as SOURCE
from whisper_npu.kernels.matmul.kernel import MatmulContract
from whisper_npu.kernels.verifier import Function, Functions, MemRef, core_functions
from whisper_npu.kernels.verifier.core_functions import (
    CompileError,
    CoreFunctionError,
    NoCompilerError,
    UnknownCoreFunctionError,
)
from whisper_npu.npu.targets import NPU1, Target

BF16 = ml_dtypes.bfloat16
MATMUL_CC = SOURCE.path
HOST = Path(core_functions.__file__).parent / "host"
Sizes = tuple[int, int, int]


def compiled(
    declared: Sequence[Function],
    target: Target = NPU1,
    *,
    source: Path = MATMUL_CC,
    cache_dir: Path | None = None,
) -> Functions:
    sources = (replace(SOURCE, path=source),)
    return core_functions.compiled(declared, sources, target, cache_dir=cache_dir)


def in_numpy(declared: Sequence[Function], target: Target = NPU1) -> Functions:
    return core_functions.in_numpy(declared, (SOURCE,), target)


needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler"
)
both = pytest.mark.parametrize("make", [pytest.param(compiled, marks=needs_compiler), in_numpy])
Make = Callable[..., Functions]

UNEQUAL: list[Sizes] = [(64, 64, 32), (16, 8, 48), (48, 40, 16), (128, 32, 32)]


def declaration(
    name: str, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[str], link_with: str
) -> Function:
    return Function(name, tuple(map(MemRef, shapes, dtypes)), link_with)


def declarations(sizes: Sizes) -> list[Function]:
    m, k, n = sizes
    a, b, c, pair = (m, k), (k, n), (m, n), (m * k + k * n,)
    link_with = f"matmul_{m}x{k}x{n}.o"
    return [
        declaration("zero_f32", (c,), ("f32",), link_with),
        declaration("matmul_bf16_f32", (a, b, c), ("bf16", "bf16", "f32"), link_with),
        declaration("matmul_bf16_bf16", (a, b, c), ("bf16", "bf16", "bf16"), link_with),
        declaration("matmul_pair_bf16_f32", (pair, c), ("bf16", "f32"), link_with),
    ]


def tiled(matrix: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Micro-tiles one after the other, by the definition: element by element."""
    rows, columns = matrix.shape
    elements = [
        matrix[i + y, j + x]
        for i in range(0, rows, height)
        for j in range(0, columns, width)
        for y in range(height)
        for x in range(width)
    ]
    return np.array(elements, matrix.dtype).reshape(matrix.shape)


def untiled(buffer: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    places = tiled(np.arange(buffer.size).reshape(buffer.shape), height, width).ravel()
    matrix = np.empty(buffer.size, buffer.dtype)
    matrix[places] = buffer.ravel()
    return matrix.reshape(buffer.shape)


def integers(seed: int, sizes: Sizes) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
    """A, B and C whose products and sums are exact in fp32."""
    m, k, n = sizes
    r = np.random.default_rng(seed)
    a, b = r.integers(-8, 9, (m, k)).astype(BF16), r.integers(-8, 9, (k, n)).astype(BF16)
    return a, b, r.integers(-99, 100, (m, n)).astype(np.float32)


def normals(seed: int, sizes: Sizes) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
    m, k, n = sizes
    r = np.random.default_rng(seed)
    a, b, c = (r.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n)))
    return a.astype(BF16), b.astype(BF16), c


def product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    return a.astype(np.float64) @ b.astype(np.float64)


def operands(a: NDArray[Any], b: NDArray[Any]) -> list[NDArray[Any]]:
    return [tiled(a, 4, 8), tiled(b, 8, 4)]


def only_64x64x32(source: Path) -> Functions:
    return compiled(declarations((64, 64, 32)), source=source)


# --- The products -------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("sizes", UNEQUAL)
def test_products_of_integers_are_exact(make: Make, sizes: Sizes) -> None:
    functions = make(declarations(sizes))
    a, b, start = integers(sum(sizes), sizes)

    c = tiled(start, 4, 4)
    functions.call("matmul_bf16_f32", [*operands(a, b), c])
    assert np.array_equal(untiled(c, 4, 4), start + product(a, b))

    pair = np.concatenate([operand.ravel() for operand in operands(a, b)])
    c = np.full_like(start, np.nan)
    functions.call("matmul_pair_bf16_f32", [pair, c])
    assert np.array_equal(untiled(c, 4, 4), product(a, b))

    rounded = np.full_like(start, np.nan, BF16)
    functions.call("matmul_bf16_bf16", [*operands(a, b), rounded])
    expected = product(a, b).astype(np.float32).astype(BF16)
    assert np.array_equal(untiled(rounded, 4, 4), expected)

    functions.call("zero_f32", [c])
    assert not c.any()


@needs_compiler
@settings(max_examples=6)  # each size is compiled
@given(
    sizes=st.tuples(
        st.integers(1, 5).map(lambda i: 16 * i),
        st.integers(1, 9).map(lambda i: 8 * i),
        st.integers(1, 5).map(lambda i: 16 * i),
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_data_of_any_size_is_within_fp32_sums_of_float64_and_equal_in_numpy(
    sizes: Sizes, seed: int
) -> None:
    a, b, start = normals(seed, sizes)
    results = []
    for functions in (compiled(declarations(sizes)), in_numpy(declarations(sizes))):
        c, rounded = tiled(start, 4, 4), np.empty_like(start, BF16)
        functions.call("matmul_bf16_f32", [*operands(a, b), c])
        functions.call("matmul_bf16_bf16", [*operands(a, b), rounded])
        results.append((c, rounded))
    (c, rounded), (c_numpy, rounded_numpy) = results
    assert np.array_equal(c, c_numpy)
    assert np.array_equal(rounded, rounded_numpy)

    magnitude = product(abs(a), abs(b)) + abs(start)
    error = np.abs(untiled(c, 4, 4) - (product(a, b) + start))
    assert (error <= (sizes[1] + 1) * 2.0**-24 * magnitude).all()


@needs_compiler
@settings(max_examples=25)
@given(
    target=st.sampled_from([NPU1, TOY]),
    exponents=st.sampled_from([(1, 3), (0, 60), (100, 140), (117, 137), (190, 254), (0, 255)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_matmul_cc_numpy_and_the_contract_give_the_same_bits_whatever_the_operands(
    target: Target, exponents: tuple[int, int], seed: int
) -> None:
    """Near each other, far apart, subnormal, overflowing, infinite, NaN; and much that cancels."""
    sizes = m, k, n = (64, 64, 32)
    r, s, t = target.micro_tile
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> NDArray[Any]:
        bits = (
            rng.integers(0, 2**16, shape) & 0x807F | rng.integers(exponents[0], exponents[1] + 1, shape) << 7
        )
        bits[rng.random(shape) < 0.05] = 0
        return bits.astype(np.uint16).view(BF16)

    a, b = numbers(m, k), numbers(k, n)
    a[:, k // 2 :], b[k // 2 :] = a[:, : k // 2], -b[: k // 2]
    b[k // 2, : n // 2] = 0
    results = []
    for functions in (compiled(declarations(sizes), target), in_numpy(declarations(sizes), target)):
        c = np.zeros((m, n), np.float32)
        functions.call("matmul_bf16_f32", [tiled(a, r, s), tiled(b, s, t), c])
        results.append(untiled(c, r, t))
    contract = MatmulContract("any", target, *sizes, core_count=1)
    results += contract.compute(a.astype(np.float32), b.astype(np.float32))
    for other in results[1:]:
        same = (results[0].view(np.uint32) == other.view(np.uint32)) | np.isnan(results[0]) & np.isnan(other)
        assert same.all()


@both
def test_of_2_to_the_30_its_negative_and_1_nothing_remains(make: Make) -> None:
    a, b = np.zeros((16, 8), BF16), np.zeros((8, 16), BF16)
    a[:, :3], b[:3] = [2.0**15, 2.0**15, 1], [[2.0**15], [-(2.0**15)], [1]]
    c = np.full((16, 16), np.nan, np.float32)
    functions = make(declarations((16, 8, 16)))
    functions.call("zero_f32", [c])
    functions.call("matmul_bf16_f32", [*operands(a, b), c])
    assert not c.any()


@both
def test_a_long_product_is_the_sum_of_its_chunks(make: Make) -> None:
    functions = make(declarations((16, 8, 16)))
    a, b, _ = integers(3, (16, 32, 16))
    c = np.full((16, 16), np.nan, np.float32)
    functions.call("zero_f32", [c])
    for k in range(0, 32, 8):
        functions.call("matmul_bf16_f32", [*operands(a[:, k : k + 8], b[k : k + 8]), c])
    assert np.array_equal(untiled(c, 4, 4), product(a, b))


# --- Another target -----------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("sizes", [(32, 4, 24), (64, 12, 8)])
def test_another_micro_tile_is_the_targets(make: Make, sizes: Sizes) -> None:
    r, s, t = TOY.micro_tile
    functions = make(declarations(sizes), TOY)
    a, b, start = integers(sum(sizes), sizes)
    c = tiled(start, r, t)
    functions.call("matmul_bf16_f32", [tiled(a, r, s), tiled(b, s, t), c])
    assert np.array_equal(untiled(c, r, t), start + product(a, b))


def test_an_object_carries_its_sizes() -> None:
    found = object_named("matmul_64x8x32.o", (SOURCE,), NPU1)
    assert (found.sizes, found.name) == ((64, 8, 32), "matmul_64x8x32.o")
    assert " ".join(found.defines) == "-DDIM_M=64 -DDIM_K=8 -DDIM_N=32 -DDIM_R=4 -DDIM_S=8 -DDIM_T=4"
    assert object_named("matmul_32x4x8.o", (SOURCE,), TOY).defines[3:] == (
        "-DDIM_R=8",
        "-DDIM_S=4",
        "-DDIM_T=2",
    )
    for name in (
        "mm_64x64x32.o",
        "matmul_64x64.o",
        "matmul_64x64x32.a",
        "../matmul_64x64x32.o",
        "matmul_064x8x16.o",
    ):
        with pytest.raises(
            ObjectNameError, match=r"names no object: there are matmul_<m>x<k>x<n>\.o of matmul"
        ):
            object_named(name, (SOURCE,), NPU1)
    for name in ("matmul_24x8x16.o", "matmul_16x12x16.o", "matmul_16x8x8.o"):
        with pytest.raises(ObjectNameError, match="must be multiples of 16,8,16"):
            object_named(name, (SOURCE,), NPU1)
    with pytest.raises(ObjectNameError, match="must be multiples of 32,4,8"):
        object_named("matmul_16x8x16.o", (SOURCE,), TOY)


def test_a_source_of_no_sizes_has_one_object() -> None:
    plain = replace(SOURCE, sizes=(), units=lambda target: (), functions=lambda target, sizes: ())
    assert plain.object_form == plain.object_name() == "matmul.o"
    assert object_named("matmul.o", (SOURCE, plain), NPU1).defines == ("-DDIM_R=4", "-DDIM_S=8", "-DDIM_T=4")
    assert plain.object_named("matmul_64x64x32.o", NPU1) is None


# --- Rounding -----------------------------------------------------------------------------------------------

# 1 + 2^-8 lies between two bf16 neighbours, as does 1 + 3 * 2^-8; the even ones are 1 and 1 + 2^-6.
TIES = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, -1 - 3 * 2**-8, 1 + 2**-8 + 2**-12, -(1 + 2**-10)])


def sums(values: NDArray[np.float64]) -> list[NDArray[Any]]:
    """A 16x16 and B 16x16 whose product has `values` in its first row: each split into two bf16 terms."""
    a, b = np.zeros((16, 16), BF16), np.zeros((16, 16), BF16)
    high = on_grid(values.astype(np.float32), Rounding.TOWARD_ZERO)
    a[0, :2] = 1
    b[0, : values.size] = high
    b[1, : values.size] = values - high
    assert np.array_equal(product(a, b)[0, : values.size], values)
    return operands(a, b)


@both
def test_bf16_results_are_rounded_to_nearest_even(make: Make) -> None:
    functions = make(declarations((16, 16, 16)))
    c = np.empty((16, 16), BF16)
    functions.call("matmul_bf16_bf16", [*sums(TIES), c])
    row = untiled(c, 4, 4)[0, : TIES.size].astype(np.float64)
    assert row.tolist() == [1, 1 + 2**-6, -1, -1 - 2**-6, 1 + 2**-7, -1]


@needs_compiler
def test_without_set_rounding_a_core_floors(tmp_path: Path) -> None:
    source = mutated(tmp_path, "aie::set_rounding(aie::rounding_mode::conv_even);", "")
    functions = compiled(declarations((16, 16, 16)), source=source)
    c = np.empty((16, 16), BF16)
    functions.call("matmul_bf16_bf16", [*sums(TIES), c])
    row = untiled(c, 4, 4)[0, : TIES.size]
    assert row.tolist() == to_bf16(TIES.astype(np.float32), Rounding.FLOOR).tolist()
    assert row.tolist() != to_bf16(TIES.astype(np.float32), Rounding.NEAREST_EVEN).tolist()


# --- Mistakes in the kernel ---------------------------------------------------------------------------------


def mutated(folder: Path, old: str, new: str) -> Path:
    """matmul.cc with one mistake, in itself or in its header."""
    texts = {file.name: file.read_text("utf-8") for file in SOURCE.files}
    assert sum(text.count(old) for text in texts.values()) == 1, old
    for name, text in texts.items():
        (folder / name).write_text(text.replace(old, new), "utf-8")
    return folder / "matmul.cc"


@needs_compiler
@pytest.mark.parametrize(
    ("old", "new", "function", "problem"),
    [
        (
            "for (unsigned step = 0; step < k / s",
            "for (unsigned step = 0; step <= k / s",
            "matmul_bf16_f32",
            r"matmul_bf16_f32 reads 64 bytes at offset 4096 of argument 1, which has 4096",
        ),
        (
            "pair + m * k",
            "pair + m * k + k * n",
            "matmul_pair_bf16_f32",
            r"matmul_pair_bf16_f32 reads 64 bytes at offset 12288 of argument 0, which has 12288",
        ),
        (
            "i < m * n; i += MMUL::size_C",
            "i <= m * n; i += MMUL::size_C",
            "zero_f32",
            r"zero_f32 writes 64 bytes at offset 8192 of argument 0, which has 8192",
        ),
        (
            "aie::store_v(c + i,",
            "aie::store_v(c + i - 8,",
            "zero_f32",
            r"zero_f32 writes 64 bytes at offset -32 of argument 0, which has 8192",
        ),
        (
            "aie::store_v(c + i,",
            "aie::store_v(c + i + 4,",
            "zero_f32",
            r"zero_f32 writes 64 bytes at offset 16 of argument 0: .* aligned to 32",
        ),
        (
            "aie::store_v(c + i,",
            "aie::store_v(c + (i + 1) * 100000,",
            "zero_f32",
            "far outside its arguments",
        ),
    ],
)
def test_an_access_outside_an_argument_is_an_error(
    tmp_path: Path, old: str, new: str, function: str, problem: str
) -> None:
    functions = only_64x64x32(mutated(tmp_path, old, new))
    a, b, c = integers(1, (64, 64, 32))
    arguments = {
        "matmul_bf16_f32": [a, b, c],
        "matmul_pair_bf16_f32": [np.concatenate([a.ravel(), b.ravel()]), c],
        "zero_f32": [c],
    }
    with pytest.raises(CoreFunctionError, match=problem):
        functions.call(function, arguments[function])


@needs_compiler
def test_sums_that_start_from_nothing_are_nan(tmp_path: Path) -> None:
    source = mutated(tmp_path, "C[y][x] = MMUL(aie::zeros<float, MMUL::size_C>());", ";")
    c = np.zeros((64, 32), np.float32)
    a, b, _ = integers(1, (64, 64, 32))
    pair = np.concatenate([a.ravel(), b.ravel()])
    only_64x64x32(source).call("matmul_pair_bf16_f32", [pair, c])
    assert np.isnan(c).all()


@needs_compiler
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("r = DIM_R, s = DIM_S", "r = 2 * DIM_R, s = DIM_S / 2"),
        ("A[y] = aie::load_v<MMUL::size_A>", "A[y] = aie::load_v<MMUL::size_C>"),
        ("aie::vector<bfloat16, MMUL::size_B> B[block]", "aie::vector<bfloat16, MMUL::size_C> B[block]"),
        ("aie::vector<bfloat16, MMUL::size_A> A[block]", "aie::vector<bfloat16, 24> A[block]"),
        ("bfloat16, bfloat16, accfloat>", "bfloat16, float, accfloat>"),
        ("const bfloat16 *a_row = a +", "const bfloat16 *a_row = c +"),
    ],
)
def test_wrong_sizes_and_types_do_not_compile(tmp_path: Path, old: str, new: str) -> None:
    source = mutated(tmp_path, old, new)
    with pytest.raises(CompileError, match=r"refuses matmul\.cc for matmul_64x64x32: .*error"):
        only_64x64x32(source)


MICRO_TILE = list(zip("RST", NPU1.micro_tile, strict=True))


@needs_compiler
@pytest.mark.parametrize(("m", "k", "n"), [(24, 64, 32), (64, 60, 32), (64, 64, 8)])
def test_sizes_that_leave_part_of_a_block_do_not_compile(m: int, k: int, n: int) -> None:
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
    command = [
        compiler,
        "-std=c++20",
        "-fsyntax-only",
        f"-I{HOST}",
        f"-I{HEADER.parent}",
        f"-DDIM_M={m}",
        f"-DDIM_K={k}",
        f"-DDIM_N={n}",
        *(f"-D{prefix}_{name}={size}" for prefix in ("DIM", "HOST_MMUL") for name, size in MICRO_TILE),
    ]
    done = subprocess.run([*command, MATMUL_CC], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "is a multiple of" in done.stderr


# --- Mistakes in a design -----------------------------------------------------------------------------------

F32_C = ((64, 32),)


@both
@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        (declaration("zero_f32", F32_C, ("f32",), "zero.o"), r"link_with = 'zero.o'.*matmul_<m>x<k>x<n>.o"),
        (declaration("zero_f32", F32_C, ("f32",), "matmul_60x64x32.o"), "m,k,n must be multiples of 16,8,16"),
        (
            declaration("gelu", F32_C, ("f32",), "matmul_64x64x32.o"),
            "unknown core function 'gelu'.* zero_f32",
        ),
        (declaration("zero_f32", ((32, 64),), ("f32",), "matmul_64x64x32.o"), "32x64xf32; .* 64x32xf32"),
        (declaration("zero_f32", F32_C, ("bf16",), "matmul_64x64x32.o"), "64x32xbf16; .* 64x32xf32"),
        (
            declaration("zero_f32", F32_C * 2, ("f32",) * 2, "matmul_64x64x32.o"),
            "takes 1 arguments, .* with 2",
        ),
    ],
)
def test_a_declaration_that_does_not_fit_is_an_error(make: Make, declared: Function, problem: str) -> None:
    with pytest.raises(CoreFunctionError, match=problem):
        make([declared])


@both
def test_arguments_are_held_to_their_declaration(make: Make) -> None:
    functions = make(declarations((64, 64, 32)))
    c = np.zeros((64, 32), np.float32)
    frozen = c.copy()
    frozen.flags.writeable = False
    cases: list[tuple[list[NDArray[Any]], str]] = [
        ([c, c], "takes 1 arguments, not 2"),
        ([np.zeros((32, 64), np.float32)], "argument 0 of zero_f32 is 32x64xfloat32, declared 64x32xfloat32"),
        ([c.astype(np.float64)], "64x32xfloat64"),
        ([np.zeros((32, 64), np.float32).T], "not contiguous"),
        ([frozen], "read-only"),
    ]
    for arguments, problem in cases:
        with pytest.raises(CoreFunctionError, match=problem):
            functions.call("zero_f32", arguments)
    with pytest.raises(UnknownCoreFunctionError, match="'relu' is not declared; declared: zero_f32"):
        functions.call("relu", [c])


@both
def test_flat_buffers_are_allowed_and_their_neighbours_stay_untouched(make: Make) -> None:
    functions = make([declaration("zero_f32", ((2048,),), ("f32",), "matmul_64x64x32.o")])
    memory = np.ones(3 * 2048, np.float32)
    functions.call("zero_f32", [memory[2048:4096]])
    assert np.array_equal(memory, np.repeat([1, 0, 1], 2048))


@both
def test_reads_tells_which_contents_matter(make: Make) -> None:
    functions = make(declarations((16, 8, 16)))
    reads = {d.name: functions.reads(d.name) for d in declarations((16, 8, 16))}
    assert reads == {
        "zero_f32": (False,),
        "matmul_bf16_f32": (True, True, True),
        "matmul_bf16_bf16": (True, True, False),
        "matmul_pair_bf16_f32": (True, False),
    }
    with pytest.raises(UnknownCoreFunctionError):
        functions.reads("relu")


@both
def test_macs_are_those_of_a_product(make: Make) -> None:
    functions = make(declarations((48, 40, 16)))
    macs = {d.name: functions.macs(d.name) for d in declarations((48, 40, 16))}
    product = 48 * 40 * 16
    assert macs == {
        "zero_f32": 0,
        "matmul_bf16_f32": product,
        "matmul_bf16_bf16": product,
        "matmul_pair_bf16_f32": product,
    }


# --- The compiler -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cxx", [None, "/nowhere/c++"])
def test_without_a_compiler_the_error_names_them(monkeypatch: pytest.MonkeyPatch, cxx: str | None) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    if cxx:
        monkeypatch.setenv("CXX", cxx)
    with pytest.raises(NoCompilerError, match=re.escape(cxx or "c++, g++, clang++")):
        compiled(declarations((16, 8, 16)))


@needs_compiler
def test_a_library_is_compiled_once_and_again_when_the_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, calls = tmp_path / "cache", tmp_path / "calls"
    wrapper = tmp_path / "cxx"
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
    wrapper.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo >> "{calls}"\nexec "{compiler}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("CXX", str(wrapper))
    for file in SOURCE.files:
        shutil.copy(file, tmp_path)
    source = tmp_path / "matmul.cc"

    for expected in (1, 1):
        compiled(declarations((16, 8, 16)), cache_dir=cache, source=source)
        assert len(calls.read_text()) == expected
    for number, changed in enumerate((source, tmp_path / "product.hpp")):
        changed.write_text(changed.read_text("utf-8") + "\n", "utf-8")
        compiled(declarations((16, 8, 16)), cache_dir=cache, source=source)
        assert len(calls.read_text()) == 2 + number
