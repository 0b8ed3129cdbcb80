"""The architecture's arrows: who may import whom, and what the start-up must not import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "whisper_npu"
MODULES = sorted(PACKAGE.rglob("*.py"))
PURE = {"limits", "bf16", "contract", "plan", "cost", "planner"}
PARTICULAR_DEVICES = {
    f"whisper_npu.npu.{module}" for module in ("emulator", "emulator_runs", "cpu_gemm", "xrt")
}
DEVICES = {*PARTICULAR_DEVICES, "whisper_npu.npu.device"}
# Of models and devices; of use to both.
NEITHER = {"whisper_npu.errors", "whisper_npu.host.native", "whisper_npu.host.rows"}
# What costs tenths of a second and more; only the command that needs it may pay.
HEAVY = {
    "numpy",
    "librosa",
    "numba",
    "scipy",
    "transformers",
    "faster_whisper",
    "ctranslate2",
    "av",
    "onnxruntime",
    "matplotlib",
    "jiwer",
}


def imports(module: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def name(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_only_xrt_imports_pyxrt(module: Path) -> None:
    if module != PACKAGE / "npu/xrt.py":
        assert not any(i.split(".")[0] == "pyxrt" for i in imports(module))


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_nothing_imports_torch(module: Path) -> None:
    assert not any(i.split(".")[0] == "torch" for i in imports(module))


@pytest.mark.parametrize("module", sorted((PACKAGE / "npu").glob("*.py")), ids=name)
def test_device_code_knows_no_model(module: Path) -> None:
    own = {i for i in imports(module) if i.startswith("whisper_npu")}
    assert all(i.startswith("whisper_npu.npu") or i in NEITHER for i in own)


@pytest.mark.parametrize("neither", sorted(NEITHER | {"whisper_npu.cache", "whisper_npu.host.cxx"}))
def test_what_knows_neither_model_nor_device(neither: str) -> None:
    own = imports(PACKAGE / f"{neither.removeprefix('whisper_npu.')}.py")
    own = {i for i in own if i.startswith("whisper_npu")}
    assert own <= NEITHER | {"whisper_npu.cache", "whisper_npu.host.cxx"}


@pytest.mark.parametrize("pure", sorted(PURE))
def test_pure_modules_import_no_device(pure: str) -> None:
    assert not imports(PACKAGE / "npu" / f"{pure}.py") & (DEVICES | {"whisper_npu.npu.matmul"})


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_model_code_knows_no_particular_device(module: Path) -> None:
    if module.parent != PACKAGE / "npu" and module != PACKAGE / "doctor/machine.py":  # which examines the NPU
        assert not imports(module) & PARTICULAR_DEVICES


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["transcribe", "--help"],
        ["benchmark", "projection", "--help"],
        ["doctor", "--help"],
    ],
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from whisper_npu.apps.cli import run; code = run(sys.argv[1:]); "
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout
    assert done.stderr.strip() == "[]"


def test_the_public_names_are_there() -> None:
    import whisper_npu

    for public in set(whisper_npu.__all__) - {"__version__"}:
        assert callable(getattr(whisper_npu, public))  # not a module that happens to have the name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = whisper_npu.nonsense
