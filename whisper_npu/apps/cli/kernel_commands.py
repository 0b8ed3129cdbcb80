"""What `whisper-npu kernels ...` does: list, verify and build the designs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from whisper_npu.encoder import encoder_problems
from whisper_npu.errors import WhisperNpuError, error_line
from whisper_npu.kernels.build import DesignSource, Toolchain, aie_opt_check, build
from whisper_npu.kernels.designs import DESIGNS, Design, find_design, gemm_design
from whisper_npu.kernels.table import as_markdown, rows
from whisper_npu.kernels.verifier import Design as ParsedDesign
from whisper_npu.kernels.verifier import Functions, parse
from whisper_npu.kernels.verifier.core_functions import Declaration, NoCompilerError, compiled, in_numpy
from whisper_npu.kernels.verify import verify
from whisper_npu.npu.artifacts import kernel_folder
from whisper_npu.npu.contract import contract_as_json
from whisper_npu.npu.cost import gemm_tiles
from whisper_npu.npu.planner import Gemm, choose
from whisper_npu.npu.targets.npu1 import XDNA1
from whisper_npu.released import released_dimensions


def list_designs() -> str:
    """All designs, a row each, and below which of them are built on this machine."""
    folder = kernel_folder(os.environ)
    built = [design.name for design in DESIGNS if (folder / design.name / "manifest.json").is_file()]
    return (
        as_markdown(rows(DESIGNS))
        + f"\nL1, memtile: bytes, of {XDNA1.core.memory_bytes:,} a core and {XDNA1.memtile.memory_bytes:,} a "
        "memtile; dispatches: for (3001,512)@(512,512).\nCycles are MODELLED, at the array's best rates; "
        "whisper-npu kernels verify NAME counts those of every DMA channel too.\n"
        + f"Built in {folder}: {', '.join(built) or 'none; whisper-npu kernels build'}\n"
    )


def verify_designs(names: Sequence[str], wanted: str, *, mlir_aie: bool) -> int:
    """Verify designs, a line each on stdout; go on after one that fails. Returns the exit code.

    wanted: the core functions, as `core_functions` takes it. mlir_aie: also the toolchain's own passes.
    """
    failed = False
    for design in _chosen(names):
        try:
            functions, origin = core_functions(parse(design.text), wanted)
            verdict = verify(design.contract, design.text, functions)
            if mlir_aie:
                aie_opt_check(_source(design), Toolchain.find(os.environ, sys.path))
        except WhisperNpuError as error:
            failed = True
            reason = str(error).removeprefix(f"{design.name}: ")
            print(error_line(f"{design.name}: {reason}"), file=sys.stderr)
            continue
        print(
            f"{design.name}: OK, max error {verdict.max_error:.2g} ({100 * verdict.tolerance_used:.0f} % of "
            f"the tolerance), L1 {verdict.usage.l1_highest:,} B, {verdict.cycles.cycles:,} cycles MODELLED, "
            f"bound by {verdict.cycles.bound}; core functions: {origin}; {verdict.seconds:.1f} s",
            flush=True,
        )
    return 1 if failed else 0


def build_designs(names: Sequence[str], target: str) -> None:
    """Build designs into the user's kernel folder, a line each on stdout."""
    _build(_chosen(names), target)


def build_model(model: str, target: str) -> None:
    """Build what the planner chooses for a released model's encoder: gemms, of one overlay or of two.

    Raises UnknownModelError for a name whose sizes are not known.
    """
    problems = encoder_problems(released_dimensions(model))
    choice = choose(problems, [Gemm(tile) for tile in gemm_tiles()])
    print(f"{model}: {choice.reason}", flush=True)
    _build([gemm_design(contract) for contract in choice.contracts.values()], target)


def _build(designs: Sequence[Design], target: str) -> None:
    folder = kernel_folder(os.environ)
    tools = Toolchain.find(os.environ, sys.path)
    for result in build([_source(design) for design in designs], folder, target=target, tools=tools):
        print(f"{result.name}: {result.outcome.value}, {result.folder}")


def _chosen(names: Sequence[str]) -> Sequence[Design]:
    return [find_design(name) for name in names] if names else DESIGNS


def _source(design: Design) -> DesignSource:
    contract = design.contract
    return DesignSource(design.name, design.text, contract_as_json(contract), contract.overlay)


def core_functions(design: ParsedDesign, wanted: str) -> tuple[Functions, str]:
    """What a design's cores call, and where it comes from in words.

    wanted: "compiler" for kernels/matmul.cc, "numpy", or "auto" for the compiler where there is one.
    """
    declarations = [
        Declaration(
            function.name,
            tuple(memref.shape for memref in function.memrefs),
            tuple(memref.dtype for memref in function.memrefs),
            function.link_with or "",
        )
        for function in design.functions
    ]
    if wanted != "numpy":
        try:
            return compiled(declarations), "matmul.cc, compiled here"
        except NoCompilerError:
            if wanted == "compiler":
                raise
    return in_numpy(declarations), "NumPy"
