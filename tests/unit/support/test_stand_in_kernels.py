"""The stand-in kernels that devices are tested with: they compute what the contract promises."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import stand_in_kernels
from tests.support.contracts import (
    CONTEXT,
    CONTRACTS,
    MATMUL_64X64,
    MATMUL_64X512,
    SCORES,
    SMALL_CONTEXT,
    SMALL_NORM,
    SMALL_SCORES,
)
from tests.support.stand_in_kernels import (
    FIRST_SIZE,
    Argument,
    Instructions,
    NormOfRows,
    SeparateMatmul,
    decode,
    encode,
    instructions,
    write_kernel,
    xclbin,
)
from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.host.bf16 import on_grid, to_bf16
from whisper_npu.kernels.gemm.kernel import gemm, gemm_of_batch
from whisper_npu.kernels.matmul.kernel import BatchLayout, MatmulContract, matmul_64x64_batch
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import EPSILON, Direction, Norm, Numerics

SMALL = MatmulContract("small", NPU1, m=4, k=8, n=12, core_count=1)
GEMMS = gemm(NPU1, 3072, 512, 576), gemm_of_batch(NPU1, 8, 1536, 64, 1536)


def operands(contract: MatmulContract) -> tuple[F32, F32]:
    """A (batch, m, k) and B (batch, k, n) of small integers: every sum is exact."""
    rng = np.random.default_rng(0)
    a = rng.integers(-8, 9, (contract.batch, contract.m, contract.k))
    b = rng.integers(-8, 9, (contract.batch, contract.k, contract.n))
    return a.astype(np.float32), b.astype(np.float32)


def memory(array: np.ndarray) -> stand_in_kernels.Memory:
    return np.ascontiguousarray(array).ravel().view(np.uint8)


def poisoned(nbytes: int) -> stand_in_kernels.Memory:
    return np.full(nbytes, 0xFF, np.uint8)


@pytest.mark.parametrize(
    "contract", [*CONTRACTS, *GEMMS, SMALL_SCORES, SMALL_CONTEXT, SMALL_NORM], ids=lambda c: c.name
)
def test_instructions_come_back_as_they_went(contract: Contract) -> None:
    what = decode(instructions(contract))
    assert what.operation == stand_in_kernels.operation_of(contract)
    assert len(what.arguments) == len(contract.arguments)
    for decoded, argument in zip(what.arguments, contract.arguments, strict=True):
        assert (decoded.elements, decoded.dtype, decoded.direction) == (
            argument.elements,
            argument.dtype,
            argument.direction,
        )
    assert sum(what.nbytes[-contract.results :]) == contract.bytes_from_device


def test_a_family_without_a_stand_in_is_an_error_that_says_so() -> None:
    class Other(Contract):
        pass

    Other.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    with pytest.raises(NotImplementedError, match="no stand-in for kernels of Other"):
        stand_in_kernels.operation_of(Other("other", NPU1))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        instructions(SMALL)[:-4],
        b"\0" + instructions(SMALL)[1:],
        instructions(SMALL)[:-1] + b"\1",
        instructions(replace(SMALL, k=0)),
        instructions(replace(SMALL_NORM, cols=0)),
    ],
    ids=["nothing", "short", "magic", "padding", "no k", "no columns"],
)
def test_other_bytes_are_no_instructions(content: bytes) -> None:
    with pytest.raises(ValueError, match="stand-in instructions"):
        decode(content)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *[(0, 1), (1, 1), (2, 99), (3, 0), (3, 2), (3, 6)],
        *[
            (4, 31),
            (5, 2),
            (6, 1),
            (11, 2),
            (12, 0),
            (12, 2),
            (13, 1),
        ],  # A: 4 x 8 elements, read; C is written
        *[(FIRST_SIZE + 1, 5), (FIRST_SIZE + 4, 3), (FIRST_SIZE + 5, 9), (FIRST_SIZE + 11, 1)],
    ],
)
def test_every_word_is_checked(word: int, value: int) -> None:
    words = list(struct.unpack("<64I", instructions(SMALL)))
    assert words[word] != value
    words[word] = value
    with pytest.raises(ValueError, match=r"stand-in instructions|argument"):
        decode(struct.pack("<64I", *words))


@pytest.mark.parametrize("result_dtype", DType)
@pytest.mark.parametrize("operand_dtype", DType)
@pytest.mark.parametrize("rounding", Rounding)
def test_a_dispatch_computes_the_product(
    operand_dtype: DType, result_dtype: DType, rounding: Rounding
) -> None:
    contract = replace(
        SMALL, operand_dtype=operand_dtype, result_dtype=result_dtype, result_rounding=rounding
    )
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 8), (8, 12)))
    if operand_dtype is DType.BF16:
        data = [memory(to_bf16(x, Rounding.NEAREST_EVEN)) for x in (a, b)]
        a, b = on_grid(a, Rounding.NEAREST_EVEN), on_grid(b, Rounding.NEAREST_EVEN)
    else:
        data = [memory(a), memory(b)]
    what = decode(instructions(contract))
    c = poisoned(what.nbytes[-1])
    what.compute(*data, c)
    expected = a @ b
    if result_dtype is DType.BF16:
        assert np.array_equal(c, memory(to_bf16(expected, rounding)))
    else:
        assert np.array_equal(c, memory(expected))


def test_pairs_lie_as_the_kernels_take_them() -> None:
    contract = matmul_64x64_batch(NPU1, 16)
    a, b = operands(contract)
    pairs = np.empty((16, a[0].size + b[0].size), "<u2")
    bits = [to_bf16(x, Rounding.NEAREST_EVEN).view("<u2") for x in (a, b)]
    contract.gather(pairs, *bits)  # as the host lays them out
    c = poisoned(contract.bytes_from_device)
    decode(instructions(contract)).compute(memory(pairs), c)
    assert np.array_equal(c.view(np.float32).reshape(16, 64, 64), a @ b)


@pytest.mark.parametrize("layout", [SCORES, CONTEXT], ids=["scores", "context"])
def test_matrices_of_a_batch_lie_below_or_beside_one_another(layout: BatchLayout) -> None:
    contract = replace(SMALL, products=3, batch_layout=layout)
    a, b = operands(contract)
    joined: dict[str, Callable[[list[F32]], F32]] = {"rows": np.vstack, "cols": np.hstack}
    a_bo, b_bo, expected = (
        joined[along.value](list(x)) for x, along in ((a, layout.a), (b, layout.b), (a @ b, layout.c))
    )
    data = [memory(to_bf16(x, Rounding.NEAREST_EVEN)) for x in (a_bo, b_bo)]
    c = poisoned(expected.nbytes)
    decode(instructions(contract)).compute(*data, c)
    assert np.array_equal(c.view(np.float32).reshape(expected.shape), expected)


def test_memory_outside_the_result_is_left_alone() -> None:
    what = decode(instructions(SMALL))
    assert isinstance(what.operation, SeparateMatmul)
    *reads, c_argument = what.arguments
    wide = Instructions(
        replace(what.operation, c_row=20), (*reads, replace(c_argument, elements=3 * 20 + 12))
    )
    a, b = operands(SMALL)
    c = poisoned(4 * 20 * 4)
    wide.compute(*(memory(to_bf16(x, Rounding.NEAREST_EVEN)) for x in (a, b)), c)
    rows = c.view(np.float32).reshape(4, 20)
    assert np.array_equal(rows[:, :12], (a @ b)[0])
    assert np.isnan(rows[:, 12:]).all()


@pytest.mark.parametrize("contract", [SMALL, SMALL_NORM], ids=lambda c: c.name)
def test_memory_that_is_too_small_is_refused(contract: Contract) -> None:
    what = decode(instructions(contract))
    whole = [poisoned(nbytes) for nbytes in what.nbytes]
    for number in range(len(whole)):
        short = [memory[: -4 if at == number else None] for at, memory in enumerate(whole)]
        with pytest.raises(ValueError, match="too few"):
            what.compute(*short)


# --- The norm of rows ---------------------------------------------------------------------------------------

F32_BITS_OF_EPSILON = int(np.float32(EPSILON).view(np.uint32))


def of_rows(rows: int, cols: int, row: int, *, residual: bool, joined: bool) -> bytes:
    """weight and bias in one argument, or in one each."""
    extent = (rows - 1) * row + cols
    parameters = [2 * cols + 3] if joined else [cols, cols + 1]
    reads, writes = [extent] * (1 + residual) + parameters, [extent] * (1 + residual)
    arguments = [Argument(elements, DType.F32, Direction.IN) for elements in reads]
    arguments += [Argument(elements, DType.F32, Direction.OUT) for elements in writes]
    weight, bias = (1 + residual, cols + 3) if joined else (1 + residual, 1)
    sizes = rows, cols, row, F32_BITS_OF_EPSILON, int(residual), weight, 0
    return encode(NormOfRows(*sizes, weight if joined else weight + 1, bias), arguments)


@pytest.mark.parametrize(("residual", "joined"), [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("row", [20, 32])
def test_a_dispatch_normalises_rows(row: int, residual: bool, joined: bool) -> None:
    rows, cols, rng = 6, 20, np.random.default_rng(0)
    what = decode(of_rows(rows, cols, row, residual=residual, joined=joined))
    *_, written = what.nbytes
    data = [
        poisoned(written) if each.is_written else memory(rng.standard_normal(each.elements).astype("f4"))
        for each in what.arguments
    ]
    what.compute(*data)

    def matrix(number: int) -> F32:
        whole = np.full(rows * row, np.nan, np.float32)
        whole[: written // 4] = data[number].view(np.float32)
        return whole.reshape(rows, row)

    first, *second = (memory.view(np.float32) for memory in data[1 + residual : -1 - residual])
    weight, bias = (first, second[0][1:]) if second else (first[:cols], first[cols + 3 :])
    added = [matrix(number)[:, :cols] for number in range(1 + residual)]
    op = Norm(rows, cols, residual)
    results = [matrix(number) for number in range(-1 - residual, 0)]
    bounds = op.tolerance(Numerics(0.0), *added, weight, bias)
    for result, exact, bound in zip(results, op.reference(*added, weight, bias), bounds, strict=True):
        assert (np.abs(result[:, :cols] - exact) <= bound).all()
        assert np.isnan(result[:, cols:]).all()  # between the rows nothing is written


@pytest.mark.parametrize(
    ("number", "value"),
    [(0, 0), (0, 17), (1, 0), (2, 127), (2, 129), (4, 2), (5, 1), (7, 3), (8, 3 * 128 + 1)],
)
def test_sizes_of_a_norm_are_checked(number: int, value: int) -> None:
    words = list(struct.unpack("<64I", instructions(SMALL_NORM)))
    words[FIRST_SIZE + number] = value
    with pytest.raises(ValueError, match=r"impossible sizes|argument"):
        decode(struct.pack("<64I", *words))


# --- Files --------------------------------------------------------------------------------------------------


def test_a_stand_in_lies_where_a_build_would_put_it(tmp_path: Path) -> None:
    """Same files, same fields, same kinds of values, from the tools that only pretend to build."""
    from tests.kernels.test_build import Fake
    from whisper_npu.kernels.build import DesignSource, build

    fake = Fake(tmp_path / "site-packages")
    name = MATMUL_64X512.name
    build([DesignSource.of(MATMUL_64X512)], tmp_path / "built", tools=fake.toolchain)
    write_kernel(tmp_path / "stand-ins", MATMUL_64X512, xclbin(MATMUL_64X512))

    def files(folder: str) -> set[str]:
        return {str(path.relative_to(tmp_path / folder)) for path in (tmp_path / folder).rglob("*")}

    def manifest(folder: str) -> dict[str, object]:
        content: dict[str, object] = json.loads((tmp_path / folder / name / "manifest.json").read_text())
        return content

    built, stood_in = manifest("built"), manifest("stand-ins")
    assert files("stand-ins") == files("built")
    assert list(stood_in) == list(built)
    same = ("schema", "schema_version", "design", "contract", "operands", "toolchain", "target")
    assert [stood_in[field] for field in same] == [built[field] for field in same]
    for field in ("sources", "tools", "outputs"):
        assert sorted(stood_in[field]) == sorted(built[field])
    assert stood_in["outputs"][f"{name}.insts.bin"] == stand_in_kernels._sha256(instructions(MATMUL_64X512))


def test_an_xclbin_belongs_to_its_instructions() -> None:
    assert xclbin(MATMUL_64X64) != xclbin(MATMUL_64X512)
    assert xclbin(MATMUL_64X64) == xclbin(replace(MATMUL_64X64, name="the same product"))
