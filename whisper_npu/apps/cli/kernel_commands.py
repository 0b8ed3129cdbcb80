"""The work of `whisper-npu kernels ...`: show, verify and build designs; kernel_list.py lists them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from whisper_npu.apps.cli.terminal import print_wrapped
from whisper_npu.encoder import encoder_ops
from whisper_npu.errors import UnknownKernelError, WhisperNpuError, error_line, quoted
from whisper_npu.kernels import registry
from whisper_npu.kernels.build import DesignSource, aie_opt_check, arrays, build
from whisper_npu.kernels.gemm.kernel import GEMM_TILE, Gemm
from whisper_npu.kernels.own_toolchain import site_packages
from whisper_npu.kernels.toolchain import NEWEST, Generation, generation_named
from whisper_npu.kernels.tools import Toolchain, UnknownArrayError
from whisper_npu.kernels.verifier import Functions, Usage, parse
from whisper_npu.kernels.verifier.core_functions import NoCompilerError
from whisper_npu.kernels.verify import compiled_functions, numpy_functions, verify
from whisper_npu.npu.artifacts import kernel_folder
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.cost import BASELINE
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.planner import Choice, choose, smallest
from whisper_npu.npu.targets import DEFAULT, TARGETS, Target
from whisper_npu.ops import Matmul
from whisper_npu.released import released_dimensions

LISTED_MODELS = ("tiny", "base", "small")  # they share one core tile


def designs(target: Target = DEFAULT) -> tuple[Contract, ...]:
    """The listed designs: those of fixed sizes, the baseline's gemm, and what Whisper needs."""
    fixed = [contract for contract in registry.contracts(target) if _has_design(contract)]
    return tuple(dict.fromkeys([*fixed, *_whisper_designs(target)]))


def _has_design(contract: Contract) -> bool:
    return registry.family_of(contract).has_design(contract)


def _whisper_designs(target: Target) -> Iterator[Contract]:
    """For each op of a window, in order: a gemm of one core tile for products, any kernel for other ops."""
    gemm = Gemm(target, GEMM_TILE)
    others = [kernel for kernel in registry.kernels(target) if not kernel.matches(BASELINE.problem)]
    yield gemm.plan(BASELINE.problem).contract
    for model in LISTED_MODELS:
        for op in smallest(encoder_ops(released_dimensions(model))):
            kernels = [gemm] if isinstance(op, Matmul) else [k for k in others if k.matches(op)]
            yield from (kernel.plan(op).contract for kernel in kernels)


def find_design(name: str, target: Target = DEFAULT) -> Contract:
    """The contract of a design, named with or without `matmul_`; a gemm may have any sizes.

    Raises UnknownKernelError, naming the nearest names, or where the array has no such design.
    """
    for called in (name, f"matmul_{name}"):
        found = registry.contract_named(called, target)
        if found is not None and _has_design(found):
            return found
        if found is not None:
            raise UnknownKernelError(
                f"kernel {found.name} has no design for the array, only the emulator has it; "
                "see whisper-npu kernels list"
            )
    return registry.find_contract(name, designs(target))


def show_design(name: str, toolchain: str | None) -> str:
    """The MLIR text of a design, as that generation of the toolchain spells it; a gemm may have any sizes.

    toolchain: None for the newest. Raises UnknownGenerationError, UnknownKernelError.
    """
    return registry.design(find_design(name), NEWEST if toolchain is None else generation_named(toolchain))


def verify_designs(names: Sequence[str], wanted: str, toolchain: str | None, *, mlir_aie: bool) -> int:
    """Verify designs, one line each on stdout, wrapped on a terminal, and go on after a failure.

    Returns the exit code: 1 where a design fails, 2 where one that is not listed cannot exist.
    wanted: the core functions, as `core_functions` takes it. mlir_aie: also the toolchain's own passes.
    toolchain: whose spelling; None for the one that is installed where its passes run, or the newest.
    """
    return _verify(_chosen(names, DEFAULT), wanted, toolchain, mlir_aie=mlir_aie)


def verify_model(model: str, wanted: str, toolchain: str | None, *, mlir_aie: bool) -> int:
    """The same for what the planner chooses for a released model's encoder.

    Raises UnknownModelError for a name whose sizes are not known.
    """
    return _verify(_model_choice(model, DEFAULT).contracts, wanted, toolchain, mlir_aie=mlir_aie)


def _verify(contracts: Sequence[Contract], wanted: str, toolchain: str | None, *, mlir_aie: bool) -> int:
    tools = find_tools()
    spelling = _generation(toolchain, tools) if toolchain or mlir_aie else NEWEST
    exit_code = 0
    for contract in contracts:
        try:
            source = DesignSource.of(contract, spelling)
            functions, origin = core_functions(contract, source.mlir_text, wanted)
            verdict = verify(contract, source.mlir_text, functions)
            accepted = f"accepted by {aie_opt_check(source, tools)}; " if mlir_aie else ""
        except WhisperNpuError as error:
            is_ours = contract in designs(contract.target)
            exit_code = max(exit_code, 1 if is_ours else error.exit_code)
            reason = str(error).removeprefix(f"{contract.name}: ")
            print(error_line(f"{contract.name}: {reason}"), file=sys.stderr)
            continue
        print_wrapped(
            f"{verdict.name}: OK, max error {verdict.max_error:.2g} ({100 * verdict.tolerance_used:.0f} % of "
            f"the tolerance), L1 {verdict.usage.l1_highest:,} B, {_banks(verdict.usage)}"
            f"at least {verdict.cycles.cycles:,} cycles MODELLED, "
            f"bound by {verdict.cycles.bound}; core functions: {origin}; {accepted}{verdict.seconds:.1f} s"
        )
    return exit_code


def _banks(usage: Usage) -> str:
    """A warning: what a core reads at once should lie in different banks."""
    conflicts = usage.bank_conflicts
    return f"{conflicts} pairs of inputs share a bank of L1, " if conflicts.sharing else ""


def build_designs(names: Sequence[str], array: str, toolchain: str | None = None) -> None:
    """Build designs into the user's kernel folder, one line each on stdout.

    array: MLIR-AIE's name, as in `aie.device`. toolchain: the generation; None for the one that is installed.
    """
    _build(_chosen(names, _target(array)), array, toolchain)


def build_model(model: str, array: str, toolchain: str | None = None) -> None:
    """Build what the planner chooses for a released model's encoder.

    Raises UnknownModelError for a name whose sizes are not known.
    """
    choice = _model_choice(model, _target(array))
    print(f"{model}: {choice.reason}", flush=True)
    _build(choice.contracts, array, toolchain)


def _model_choice(model: str, target: Target) -> Choice:
    return choose(encoder_ops(released_dimensions(model)), _kernels_for_any_op(target))


def _kernels_for_any_op(target: Target) -> Sequence[Kernel]:
    """The kernels that take ops of any size; for products that is gemm."""
    kernels = registry.kernels(target)
    return [kernel for kernel in kernels if isinstance(kernel, Gemm) or not kernel.matches(BASELINE.problem)]


def _target(array: str) -> Target:
    for target in TARGETS.values():
        if array in arrays(target):
            return target
    known = ", ".join(name for target in TARGETS.values() for name in arrays(target))
    raise UnknownArrayError(f"unknown target {quoted(array)}: there are {known}")


def _build(contracts: Sequence[Contract], array: str, toolchain: str | None) -> None:
    folder = kernel_folder(os.environ)
    tools = find_tools()
    tools.check_complete(None if toolchain is None else generation_named(toolchain))
    generation = _generation(toolchain, tools)
    print(f"toolchain {generation}, tested with {generation.pair}", flush=True)
    if mismatch := tools.mismatch(generation):
        print(f"whisper-npu: warning: {mismatch}", file=sys.stderr)
    sources = [DesignSource.of(contract, generation) for contract in contracts]
    for result in build(sources, folder, array=array, tools=tools):
        print(f"{result.name}: {result.outcome}, {result.folder}")
        for name, program in result.programs.items():
            print(f"  {name}: {program}")


def find_tools() -> Toolchain:
    """The tools that the environment names, or this Python has, or `kernels setup` has made, or PATH has."""
    return Toolchain.find(os.environ, [*sys.path, *site_packages(os.environ)])


def _generation(toolchain: str | None, tools: Toolchain) -> Generation:
    """The one that the user names, or that is installed. Raises as they do."""
    return tools.generation() if toolchain is None else generation_named(toolchain)


def _chosen(names: Sequence[str], target: Target) -> Sequence[Contract]:
    return [find_design(name, target) for name in names] if names else designs(target)


def core_functions(contract: Contract, text: str, wanted: str) -> tuple[Functions, str]:
    """The functions that a design's cores call, and in words where they come from.

    wanted: "compiler" for the C++ sources, "numpy", or "auto" for the compiler where there is one.
    """
    design = parse(text)
    if wanted != "numpy":
        try:
            sources = ", ".join(source.path.name for source in registry.family_of(contract).core_sources())
            return compiled_functions(contract, design), f"{sources}, compiled here"
        except NoCompilerError:
            if wanted == "compiler":
                raise
    return numpy_functions(contract, design), "NumPy"
