"""The stand-in kernels that devices are tested with: what they say they compute is the contract's product."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.test_build import DESIGN, Fake
from tests.support import stand_in_kernels as standins
from tests.support.stand_in_kernels import (
    Instructions,
    Place,
    compute,
    decode,
    instructions,
    write_kernel,
    xclbin,
)
from whisper_npu.host.bf16 import F32, Rounding, on_grid, to_bf16
from whisper_npu.kernels.build import build
from whisper_npu.kernels.designs import DESIGNS
from whisper_npu.kernels.verify import host_arguments
from whisper_npu.npu.contract import (
    CONTRACTS,
    HEADS_OF_CONTEXT,
    HEADS_OF_SCORES,
    MATMUL_64X64,
    MATMUL_64X512,
    Contract,
    DType,
    HeadsAlong,
    contract_as_json,
    matmul_64x64_batch,
)

SMALL = Contract("small", m=4, k=8, n=12, cores=1)


def operands(contract: Contract) -> tuple[F32, F32]:
    """A (batch, m, k) and B (batch, k, n) of small integers: every sum is exact."""
    rng = np.random.default_rng(0)
    a = rng.integers(-8, 9, (contract.batch, contract.m, contract.k))
    b = rng.integers(-8, 9, (contract.batch, contract.k, contract.n))
    return a.astype(np.float32), b.astype(np.float32)


def memory(array: np.ndarray) -> standins.Memory:
    return np.ascontiguousarray(array).ravel().view(np.uint8)


def poisoned(nbytes: int) -> standins.Memory:
    return np.full(nbytes, 0xFF, np.uint8)


@pytest.mark.parametrize(
    "contract",
    {c.name: c for c in (*CONTRACTS, *(d.contract for d in DESIGNS))}.values(),
    ids=lambda c: c.name,
)
def test_instructions_come_back_as_they_went(contract: Contract) -> None:
    what = decode(instructions(contract))
    assert (what.count, what.m, what.k, what.n) == (contract.batch, contract.m, contract.k, contract.n)
    assert (what.operand_dtype, what.result_dtype) == (contract.operand_dtype, contract.result_dtype)
    assert what.result_rounding is contract.result_rounding
    assert what.nbytes[-1] == contract.bytes_from_device
    assert len(what.nbytes) == (2 if contract.batch > 1 and not contract.heads_along else 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        instructions(SMALL)[:-4],
        b"\0" + instructions(SMALL)[1:],
        instructions(SMALL)[:-1] + b"\1",
        instructions(replace(SMALL, k=0)),
    ],
    ids=["nothing", "short", "magic", "padding", "no k"],
)
def test_other_bytes_are_no_instructions(content: bytes) -> None:
    with pytest.raises(ValueError, match="stand-in instructions"):
        decode(content)


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
    compute(what, *data, c)
    expected = a @ b
    if result_dtype is DType.BF16:
        assert np.array_equal(c, memory(to_bf16(expected, rounding)))
    else:
        assert np.array_equal(c, memory(expected))


def test_pairs_lie_as_the_designs_take_them() -> None:
    contract = matmul_64x64_batch(16)
    a, b = operands(contract)
    pairs, _ = host_arguments(contract, a, b)  # as the verifier hands them to the design
    c = poisoned(contract.bytes_from_device)
    compute(decode(instructions(contract)), memory(pairs), c)
    assert np.array_equal(c.view(np.float32).reshape(16, 64, 64), a @ b)


@pytest.mark.parametrize("heads", [HEADS_OF_SCORES, HEADS_OF_CONTEXT], ids=["scores", "context"])
def test_heads_lie_below_or_beside_one_another(heads: HeadsAlong) -> None:
    contract = replace(SMALL, batch=3, heads_along=heads)
    a, b = operands(contract)
    joined = {"rows": np.vstack, "cols": np.hstack}
    a_bo, b_bo, expected = (
        joined[along.value](list(x)) for x, along in ((a, heads.a), (b, heads.b), (a @ b, heads.c))
    )
    data = [memory(to_bf16(x, Rounding.NEAREST_EVEN)) for x in (a_bo, b_bo)]
    c = poisoned(expected.nbytes)
    compute(decode(instructions(contract)), *data, c)
    assert np.array_equal(c.view(np.float32).reshape(expected.shape), expected)


def test_memory_outside_the_result_is_left_alone() -> None:
    what = decode(instructions(SMALL))
    wide = Instructions(**{**vars(what), "c": Place(row=20, step=0)})
    a, b = operands(SMALL)
    c = poisoned(4 * 20 * 4)
    compute(wide, *(memory(to_bf16(x, Rounding.NEAREST_EVEN)) for x in (a, b)), c)
    rows = c.view(np.float32).reshape(4, 20)
    assert np.array_equal(rows[:, :12], (a @ b)[0])
    assert np.isnan(rows[:, 12:]).all()


def test_memory_that_is_too_small_is_refused() -> None:
    what = decode(instructions(SMALL))
    a, b, c = (poisoned(nbytes) for nbytes in what.nbytes)
    for short in ((a[:-2], b, c), (a, b[:-2], c), (a, b, c[:-4])):
        with pytest.raises(ValueError, match="too few"):
            compute(what, *short)


def test_a_stand_in_lies_where_a_build_would_put_it(tmp_path: Path) -> None:
    """Same files, same fields, same kinds of values, from the tools that only pretend to build."""
    fake = Fake(tmp_path / "site-packages")
    name = MATMUL_64X512.name
    design = replace(DESIGN, name=name, contract=contract_as_json(MATMUL_64X512))
    build([design], tmp_path / "built", tools=fake.toolchain)
    write_kernel(tmp_path / "stand-ins", MATMUL_64X512, xclbin(MATMUL_64X512))

    def files(folder: str) -> set[str]:
        return {str(path.relative_to(tmp_path / folder)) for path in (tmp_path / folder).rglob("*")}

    def manifest(folder: str) -> dict[str, object]:
        content: dict[str, object] = json.loads((tmp_path / folder / name / "manifest.json").read_text())
        return content

    built, stood_in = manifest("built"), manifest("stand-ins")
    assert files("stand-ins") == files("built")
    assert list(stood_in) == list(built)
    same = ("schema", "schema_version", "design", "contract", "target")
    assert [stood_in[field] for field in same] == [built[field] for field in same]
    for field in ("sources", "tools", "outputs"):
        assert sorted(stood_in[field]) == sorted(built[field])
    assert stood_in["outputs"][f"{name}.insts.bin"] == standins._sha256(instructions(MATMUL_64X512))


def test_an_xclbin_belongs_to_its_instructions() -> None:
    assert xclbin(MATMUL_64X64) != xclbin(MATMUL_64X512)
    assert xclbin(MATMUL_64X64) == xclbin(replace(MATMUL_64X64, name="the same product"))
