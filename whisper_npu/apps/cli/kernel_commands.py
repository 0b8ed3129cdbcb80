"""The work of `whisper-npu kernels ...`: show, verify and build designs; kernel_list.py lists them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from whisper_npu.apps.cli.terminal import Stderr, print_lines, print_wrapped, say
from whisper_npu.encoder import encoder_ops
from whisper_npu.errors import UnknownKernelError, WhisperNpuError, error_line, quoted
from whisper_npu.host.gemm import blas
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
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.npu.planner import Choice, smallest
from whisper_npu.npu.targets import DEFAULT, TARGETS, Target
from whisper_npu.ops import Matmul
from whisper_npu.released import released_dimensions

# How long a dispatch may take. One of a layer of base, 7.2e9 MACs, takes 18 CPU seconds (MEASURED), and on a
# busy machine many times as long.
VERIFY_SECONDS, VERIFIED_MACS_PER_SECOND = 30.0, 5e7
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
        if found is not None:
            return _with_design(found)
    return registry.find_contract(name, designs(target))


def _with_design(contract: Contract) -> Contract:
    if _has_design(contract):
        return contract
    raise UnknownKernelError(
        f"kernel {contract.name} has no design for the array, only the emulator has it; "
        "see whisper-npu kernels list"
    )


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


def verify_model(
    model: str, wanted: str, toolchain: str | None, *, mlir_aie: bool, kernel: str = "auto"
) -> int:
    """The same for what the planner chooses for a released model's encoder.

    kernel: as in `transcribe`. Raises UnknownModelError for a name whose sizes are not known, and
    UnknownKernelError.
    """
    contracts = _needed(model_choice(model, DEFAULT, kernel))
    return _verify(contracts, wanted, toolchain, mlir_aie=mlir_aie)


def _verify(contracts: Sequence[Contract], wanted: str, toolchain: str | None, *, mlir_aie: bool) -> int:
    tools = find_tools()
    spelling = _generation(toolchain, tools) if toolchain or mlir_aie else NEWEST
    exit_code = 0
    for contract in contracts:
        try:
            source = DesignSource.of(contract, spelling)
            functions, origin = core_functions(contract, source.mlir_text, wanted)
            seconds = VERIFY_SECONDS + contract.macs / VERIFIED_MACS_PER_SECOND
            verdict = verify(contract, source.mlir_text, functions, timeout_seconds=seconds)
            accepted = f"accepted by {aie_opt_check(source, tools)}; " if mlir_aie else ""
        except WhisperNpuError as error:
            is_ours = contract in designs(contract.target)
            exit_code = max(exit_code, 1 if is_ours else error.exit_code)
            reason = str(error).removeprefix(f"{contract.name}: ")
            Stderr(sys.stderr).print(error_line(f"{contract.name}: {reason}"))
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


def build_model(model: str, array: str, toolchain: str | None = None, kernel: str = "auto") -> None:
    """Build what the planner chooses for a released model's encoder.

    kernel: as in `transcribe`. Raises UnknownModelError for a name whose sizes are not known, and
    UnknownKernelError.
    """
    choice = model_choice(model, _target(array), kernel)
    contracts = _needed(choice)
    print_lines(f"{model}: {choice.reason or choice.name}")
    _build(contracts, array, toolchain)


def model_choice(model: str, target: Target, kernel: str = "auto") -> Choice:
    """What a device that has every kernel takes for a released model's encoder."""
    with Emulator(target=target, gemm_of=blas) as device:  # it multiplies nothing
        return device.chosen(encoder_ops(released_dimensions(model)), kernel)


def _needed(choice: Choice) -> list[Contract]:
    return [_with_design(contract) for contract in choice.contracts]


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
    print_lines(f"toolchain {generation}, tested with {generation.pair}")
    if mismatch := tools.mismatch(generation):
        say(f"warning: {mismatch}")
    sources = [DesignSource.of(contract, generation) for contract in contracts]
    for result in build(sources, folder, array=array, tools=tools):
        print_lines(f"{result.name}: {result.outcome}, {result.folder}")
        for name, program in result.programs.items():
            print_lines(f"  {name}: {program}")


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
