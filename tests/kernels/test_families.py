"""What holds for every family of kernels: where its files lie, what it imports, which numbers it may know."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.toy_family import ToyFamily
from tests.support.toy_target import TOY
from whisper_npu.apps.cli.kernel_commands import core_functions
from whisper_npu.kernels import registry
from whisper_npu.kernels.build import DesignSource
from whisper_npu.kernels.layer.kernel import LayerContract
from whisper_npu.kernels.table import figures
from whisper_npu.kernels.verify import WrongResultError, verify
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.targets import NPU1, TARGETS, Target

FOLDER = Path(registry.__file__).parent
MODULES = sorted(path for path in FOLDER.rglob("*.py"))

ALLOWED = (
    *("whisper_npu.kernels", "whisper_npu.ops"),
    *(f"whisper_npu.host.{part}" for part in ("bf16", "vmac", "cxx", "native")),
    *(
        "whisper_npu.__version__",
        "whisper_npu.cache",
        "whisper_npu.dtypes",
        "whisper_npu.errors",
        "whisper_npu.home",
        "whisper_npu.near",
        "whisper_npu.owned",
        "whisper_npu.markdown",
        "whisper_npu.untrusted",
    ),
    *(
        f"whisper_npu.npu.{pure}"
        for pure in ("contract", "kernel", "layout", "plan", "cost", "targets", "artifacts")
    ),
)


def imports(tree: ast.AST) -> Iterator[str]:
    """Names of all modules that a module imports, within functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "whisper_npu":
            yield from (f"whisper_npu.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def strings(tree: ast.AST) -> Iterator[str]:
    """Every string that is no documentation, f-strings included."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and hasattr(node, "value")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_kernels_know_ops_and_the_pure_part_of_npu(path: Path) -> None:
    ours = [name for name in imports(parsed(path)) if name.startswith("whisper_npu")]
    assert [name for name in ours if not name.startswith(ALLOWED)] == []


def test_kernels_know_no_target_by_name() -> None:
    """Every number of an array comes with a contract's target."""
    for path in (*MODULES, *FOLDER.rglob("*.cc"), *FOLDER.rglob("*.hpp")):
        text = path.read_text(encoding="utf-8")
        for target in TARGETS.values():
            assert target.title not in text, path
            if path.suffix == ".py":
                assert target.name.upper() not in text, path
                names = (target.name, target.compiler_triple)
                assert [s for s in strings(parsed(path)) if any(name in s for name in names)] == [], path


def test_every_folder_with_a_kernel_is_registered() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/kernel.py")}
    types = [family.CONTRACT for family in registry.FAMILIES]
    assert folders == {kind.__module__.split(".")[-2] for kind in types}
    assert len(set(types)) == len(types)


@pytest.mark.parametrize("target", [NPU1, TOY], ids=lambda target: target.name)
def test_a_contract_is_found_by_its_name_and_belongs_to_one_family(target: Target) -> None:
    for family in registry.FAMILIES:
        for contract in family.contracts(target):
            assert registry.contract_named(contract.name, target) == contract
            assert registry.family_of(contract) is family
            assert contract.target is target


def test_a_dispatch_is_one_and_fills_the_kernel() -> None:
    for family in registry.FAMILIES:
        for contract in (*family.contracts(NPU1), *family.goldens(NPU1)):
            plan = family.dispatch(contract)
            assert (plan.dispatches, plan.contract) == (1, contract)
            # A layer's rows are padded to whole rounds, and its heads to whole groups.
            assert plan.op.macs == contract.macs or isinstance(contract, LayerContract)


# ------------------------------------------------------------------------------------------ a new family


@pytest.fixture
def sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contract:
    """A kernel of a family that nothing but the registry knows."""
    family = ToyFamily(tmp_path)
    monkeypatch.setattr(registry, "FAMILIES", (*registry.FAMILIES, family))
    contract = registry.contract_named("sums_5x48", NPU1)
    assert contract is not None
    return contract


@pytest.mark.parametrize("wanted", ["auto", "numpy"])
def test_a_new_family_is_verified(sums: Contract, wanted: str) -> None:
    text = registry.design(sums)
    functions, origin = core_functions(sums, text, wanted)
    verdict = verify(sums, text, functions)
    assert 0 < verdict.tolerance_used <= 1
    assert verdict.usage.l1_highest == sums.l1_bytes
    assert verdict.execution.dram_bytes == sums.bytes_to_device + sums.bytes_from_device
    assert origin in ("NumPy", "sums.cc, compiled here")


@pytest.mark.parametrize("result", ["y", "z"])
def test_every_result_of_a_new_family_is_compared(sums: Contract, result: str) -> None:
    """Where one result's rows leave in another order, that result is named."""
    right = f"dma_memcpy_nd(%{result}[0, 0, 0, 0][1, 1, 5, 48][0, 0, 48, 1])"
    text = registry.design(sums)
    assert right in text
    text = text.replace(right, right.replace("[1, 1, 5, 48][0, 0, 48, 1]", "[1, 3, 5, 16][0, 16, 48, 1]"))
    with pytest.raises(WrongResultError, match=rf"sums_5x48: {result}\[\d+,\d+\] is "):
        verify(sums, text, core_functions(sums, text, "numpy")[0])


def test_a_new_family_is_listed_and_built(sums: Contract) -> None:
    (row,) = figures([sums])
    assert (row.dispatches, row.core_cycles, row.cells["result"]) == (None, (0, 0), "f32")
    source = DesignSource.of(sums)
    assert [found.name for found in source.objects] == ["sums.o"]
    assert source.objects[0].defines == ("-DDIM_R=4", "-DDIM_S=8", "-DDIM_T=4")
