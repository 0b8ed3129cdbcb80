"""Every family of kernels, one line each: a new one is a folder beside this file and its line here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from whisper_npu.dtypes import F32
from whisper_npu.errors import UnknownKernelError, quoted
from whisper_npu.kernels.gemm import family as gemm
from whisper_npu.kernels.layer import family as layer
from whisper_npu.kernels.matmul import family as matmul
from whisper_npu.kernels.mlir import check_reach
from whisper_npu.kernels.norm import family as norm
from whisper_npu.kernels.toolchain import NEWEST, Generation
from whisper_npu.near import did_you_mean
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.plan import Plan
from whisper_npu.npu.targets import Target
from whisper_npu.ops import Op

if TYPE_CHECKING:
    from whisper_npu.kernels.core import CoreSource


class Family(Protocol):
    """What the module kernels/<family>/family.py gathers from the files beside it."""

    NAME: str  # of its folder
    MAKES: str  # what one dispatch makes, in a few words
    CONTRACT: type[Contract]  # the type of its contracts, which no other family has

    # for the planner, in kernel.py

    def contracts(self, target: Target) -> tuple[Contract, ...]:
        """The kernels of fixed sizes, which have a name each."""

    def contract_named(self, name: str, target: Target) -> Contract | None:
        """The contract of exactly this name, of whatever sizes."""

    def kernels(self, target: Target) -> tuple[Kernel, ...]:
        """What the planner may choose from where every kernel can be had."""

    def kernels_built(self, built: Iterable[Contract]) -> tuple[Kernel, ...]:
        """What it may choose from where only these are built."""

    def kernel_of(self, contract: Contract) -> Kernel | None:
        """This contract for every product; None where it makes none."""

    # for the build and the verifier

    def core_sources(self) -> tuple[CoreSource, ...]:
        """What its designs link."""

    def has_design(self, contract: Contract) -> bool:
        """False for a contract that is only emulated."""

    def design(self, contract: Contract, toolchain: Generation = NEWEST) -> str:
        """Its MLIR text, for `contract.target`, as a generation of the toolchain spells it.

        Raises DesignParameterError, before a line is printed, for what the array cannot hold.
        """

    def goldens(self, target: Target) -> tuple[Contract, ...]:
        """One contract for each path of the generator: their texts are committed beside it."""

    def plan_with(self, contract: Contract, op: Op) -> Plan | None:
        """How this one kernel makes the op; None where it is for others."""

    def dispatch(self, contract: Contract) -> Plan:
        """A plan of one dispatch that fills the kernel: what the verifier checks the design with."""

    def trial(self, contract: Contract) -> Plan:
        """A plan of one dispatch for `contract.trial_op`: to try a device with."""

    def host_arrays(self, plan: Plan, inputs: tuple[F32, ...]) -> list[NDArray[Any]]:
        """What the design's runtime sequence reads, in the order of `contract.arguments`, flat.

        plan: from `dispatch`. inputs: float32, of the shapes of the plan's input layouts.
        """


FAMILIES: tuple[Family, ...] = (matmul, gemm, norm, layer)


def family_of(contract: Contract) -> Family:
    return next(family for family in FAMILIES if family.CONTRACT is type(contract))


def contracts(target: Target) -> tuple[Contract, ...]:
    """The kernels of fixed sizes."""
    return tuple(contract for family in FAMILIES for contract in family.contracts(target))


def contract_named(name: str, target: Target) -> Contract | None:
    """The contract of exactly this name, a gemm's of any sizes too; None for any other name."""
    found = (family.contract_named(name, target) for family in FAMILIES)
    return next((contract for contract in found if contract is not None), None)


def kernels(target: Target) -> tuple[Kernel, ...]:
    """All that the planner may choose from."""
    return tuple(kernel for family in FAMILIES for kernel in family.kernels(target))


def kernels_built(built: Iterable[Contract]) -> tuple[Kernel, ...]:
    """The same on a device that has only these kernels."""
    built = tuple(built)
    return tuple(kernel for family in FAMILIES for kernel in family.kernels_built(built))


def kernel_of(contract: Contract) -> Kernel:
    """This contract for every product. Raises UnknownKernelError where it makes none."""
    kernel = family_of(contract).kernel_of(contract)
    if kernel is None:
        raise UnknownKernelError(f"kernel {contract.name} makes no matrix products: take one that does")
    return kernel


def design(contract: Contract, toolchain: Generation = NEWEST) -> str:
    """The MLIR text of any contract. Raises DesignParameterError where there can be none."""
    check_reach(contract)
    return family_of(contract).design(contract, toolchain)


def find_contract(name: str, known: Iterable[Contract], others: Iterable[str] = ()) -> Contract:
    """The contract called `name`, with or without its `matmul_` in front.

    others: what else the user may have meant. Raises UnknownKernelError, naming the nearest names, and those
    of `others` that are words; all would be a hundred.
    """
    by_name = {contract.name: contract for contract in known}
    found = by_name.get(name) or by_name.get(f"matmul_{name}")
    if found is None:
        others = tuple(others)
        short = [*others, *(n.removeprefix("matmul_") for n in by_name)]
        hint = did_you_mean(name.removeprefix("matmul_"), short)
        words = [other for other in others if other.isalpha()]
        there_are = f"there are {', '.join(words)}, and names of kernels: " if words else ""
        raise UnknownKernelError(
            f"unknown kernel {quoted(name)}: {hint and f'{hint} '}{there_are}see whisper-npu kernels list"
        )
    return found
