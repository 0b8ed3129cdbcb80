"""The architecture's arrows.

Who may import whom, over all of the code, and what the start-up must not import.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "whisper_npu"
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


def name_of(path: Path) -> str:
    """whisper_npu.npu.plan, for a file of the package; kernels/ lies at the top and belongs to it."""
    relative = path.relative_to(ROOT)
    parts = [*relative.parts[:-1], relative.stem]
    if parts[0] == "kernels":
        parts.insert(0, "whisper_npu")
    return ".".join(parts).removesuffix(".__init__")


FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "kernels").rglob("*.py")])
MODULES = {name_of(path): path for path in FILES if "whisper_npu/kernels" not in path.as_posix()}

# What every room may import besides itself. A room is the longest entry that a module's name begins with;
# the rooms of FREE import nothing of ours and may be imported everywhere.
FREE = {"", "errors", "dtypes", "home", "near", "owned", "untrusted"}
PURE_NPU = {"npu.contract", "npu.kernel", "npu.layout", "npu.plan", "npu.cost", "npu.targets"}
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "dtypes": set(),
    "home": set(),
    "near": set(),
    "owned": set(),
    "untrusted": set(),
    "cache": set(),
    "markdown": set(),
    "screen": set(),
    "page": {"markdown", "screen"},
    "extras": set(),
    "host": {"cache"},
    "energy": set(),
    "ops": set(),
    "npu": set(),
    "npu.targets": set(),
    "npu.layout": set(),
    "npu.options": set(),
    "npu.contract": {"ops", "npu.layout", "npu.targets"},
    "npu.kernel": {"ops", "npu.contract", "npu.plan"},
    "npu.plan": {"ops", "npu.contract", "npu.layout"},
    "npu.cost": {"ops", "npu.contract", "npu.plan", "npu.targets"},
    "kernels": {"ops", *PURE_NPU, "npu.artifacts", "host", "cache", "markdown"},
    "npu.artifacts": {"kernels", *PURE_NPU},
    "npu.planner": {"ops", "kernels", *PURE_NPU},
    "npu.host_ops": {"ops", "host"},
    "npu.checksum": {"ops", "host"},
    "npu.device": {"ops", "kernels", "host", "npu.planner", "npu.host_ops", "npu.checksum", *PURE_NPU},
    "npu.emulator": {"ops", "kernels", "host", "npu.device", "npu.host_ops", "npu.checksum", *PURE_NPU},
    "npu.trials": {"cache"},
    "npu.xrt": {
        "kernels",
        "host",
        "npu.device",
        "npu.checksum",
        "npu.artifacts",
        "npu.options",
        "npu.trials",
        *PURE_NPU,
    },
    "npu.open": {"host", "npu.checksum", "npu.device", "npu.emulator", "npu.xrt", "npu.options"},
    "layers": {"ops", "npu.device"},
    "attention_npu": {"ops", "layers", "npu.device", "npu.open"},
    "staging": {"ops", "cache", "npu.device"},
    "encoder": {"ops", "layers", "attention_npu", "npu.device", "staging"},
    "released": {"encoder"},
    "audio": set(),
    "without_torch": set(),
    "deferred": set(),
    "checkpoint": {"encoder", "cache", "staging", "without_torch", "output"},
    "output": {"transcription.transcript"},
    "transcription.language": set(),
    "transcription.options": {"transcription.language"},
    "transcription.transcript": set(),
    "transcription.took": {"npu.device", "npu.targets"},
    "transcription.result": {"transcription.transcript", "transcription.took", "output", "report"},
    "transcription": {
        "transcription.language",
        "transcription.options",
        "transcription.result",
        "transcription.took",
        "transcription.fallback",
        "transcription.transcript",
        "encoder",
        "audio",
        "checkpoint",
        "npu.device",
        "npu.planner",
        "staging",
        "deferred",
    },
    "transcription.fallback": {
        "transcription.took",
        "checkpoint",
        "encoder",
        "npu.device",
        "npu.emulator",
        "staging",
    },
    "transcription.opening": {
        "transcription",
        "cache",
        "checkpoint",
        "npu.device",
        "npu.emulator",
        "npu.open",
        "npu.options",
        "staging",
    },
    "transcription.load": {
        "transcription",
        "transcription.fallback",
        "transcription.opening",
        "transcription.options",
        "transcription.result",
        "transcription.transcript",
        "audio",
        "checkpoint",
        "npu.device",
        "npu.emulator",
        "npu.options",
    },
    "live": {
        "extras",
        "transcription",
        "transcription.language",
        "transcription.options",
        "transcription.result",
        "transcription.transcript",
        "audio",
    },
    "compat": {
        "transcription",
        "transcription.opening",
        "audio",
        "encoder",
        "checkpoint",
        "npu.device",
        "staging",
    },
    "report": {
        "transcription.took",
        "transcription.transcript",
        "output",
        "kernels",
        "npu.device",
        "npu.cost",
        "npu.planner",
        "npu.targets",
        "ops",
        "energy",
        "page",
        "screen",
    },
}
TOP = {"apps", "benchmark", "doctor", "__main__"}  # may import all that is below, and apps all of the others
START_UP = [
    ["--help"],
    ["config", "--example"],
    ["completion", "bash"],
    ["transcribe", "--help"],
    ["archive", "--help"],
    ["serve", "--help"],
    ["listen", "--help"],
    ["benchmark", "projection", "--help"],
    ["kernels", "--help"],
    ["models", "--help"],
    ["doctor", "--help"],
]
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
    "fastapi",
    "uvicorn",
    "sounddevice",
    "fsspec",
    "ray",
}


def imported(path: Path, *, annotations: bool = True) -> set[str]:
    """Every module that a file imports, at its top or inside a function.

    annotations: also what is imported for type annotations only.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING" and not annotations:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative imports hide who imports whom"
            found.add(node.module)
            # `from package import module` imports the module.
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def ours(path: Path, *, annotations: bool = True) -> set[str]:
    """The modules of the package that a file imports; of a package, the package's own __init__ is meant."""
    return {name for name in imported(path, annotations=annotations) if name in MODULES}


def room_of(module: str) -> str:
    place = module.removeprefix("whisper_npu").removeprefix(".")
    rooms = [room for room in (*ARROWS, *TOP) if place == room or place.startswith(f"{room}.")]
    return max(rooms, key=len, default="")


def test_every_module_has_a_room() -> None:
    homeless = [module for module in MODULES if module != "whisper_npu" and not room_of(module)]
    assert homeless == []
    assert set(map(room_of, MODULES)) >= set(ARROWS)  # no room of the table is empty


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows(module: str) -> None:
    room = room_of(module)
    others = {name for name in ours(MODULES[module]) if room_of(name) != room}
    if room in TOP:
        above = {"apps", "__main__"} if room in ("benchmark", "doctor") else set()
        assert not {room_of(name) for name in others} & above, others
    elif module != "whisper_npu":
        allowed = ARROWS[room] | FREE | {"npu"}
        forbidden = {name for name in others if room_of(name) not in allowed}
        assert not forbidden, f"{module} may import {sorted(allowed)}, and imports {sorted(forbidden)}"


def test_compat_imports_what_is_not_ours_to_install_inside_functions() -> None:
    theirs = {"torch", "transformers", "whisper"}
    for module in (name for name in MODULES if room_of(name) == "compat"):
        tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not theirs & {name.split(".")[0] for name in names}, module


@pytest.mark.parametrize("module", sorted(name for name in MODULES if ".apps." in name))
def test_the_command_line_is_above_the_server(module: str) -> None:
    """It starts the server; what both need lies beside them."""
    if not module.startswith("whisper_npu.apps.cli"):
        assert not [name for name in ours(MODULES[module]) if name.startswith("whisper_npu.apps.cli")]


def test_no_module_imports_itself_by_a_detour() -> None:
    """No circle of imports, those inside functions counted."""
    graph = {name: ours(path, annotations=False) - {name} for name, path in MODULES.items()}
    graph.pop("whisper_npu", None)  # hands names on when they are asked for
    for package in [name for name, path in MODULES.items() if path.name == "__init__.py"]:
        for names in graph.values():
            # `from package import module` is an arrow to the module; the package's __init__ comes first
            # anyway.
            if any(name.startswith(f"{package}.") for name in names):
                names.discard(package)
    state: dict[str, int] = {}
    circles: list[list[str]] = []

    def visit(name: str, path: list[str]) -> None:
        state[name] = 1
        for other in sorted(graph.get(name, ())):
            if state.get(other) == 1:
                circles.append([*path[path.index(other) :], other] if other in path else [*path, other])
            elif other not in state:
                visit(other, [*path, other])
        state[name] = 2

    for name in sorted(graph):
        if name not in state:
            visit(name, [name])
    assert circles == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_one_place_imports_what_it_stands_for_and_nothing_the_tests(module: str) -> None:
    roots = {name.split(".")[0] for name in imported(MODULES[module])}
    assert "torch" not in roots or module == "whisper_npu.compat.forward"
    assert "tests" not in roots
    assert "pyxrt" not in roots or module.startswith("whisper_npu.npu.xrt")
    assert "sounddevice" not in roots or module == "whisper_npu.live.microphones"
    assert "ray" not in roots or module == "whisper_npu.apps.archive.cluster"
    assert "fsspec" not in roots or module in {
        f"whisper_npu.apps.archive.{one}" for one in ("storage", "stores")
    }


def test_kernels_is_empty_under_its_second_name() -> None:
    """transformers imports what has the name of a package that it can use, and must not fail at it."""
    code = "import kernels, pkgutil; print(list(pkgutil.iter_modules(kernels.__path__)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import kernels.registry"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_no_tests(script: Path) -> None:
    assert "tests" not in {name.split(".")[0] for name in imported(script)}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_generation_is_named_by_its_target_only(module: str) -> None:
    """Docstrings and comments may speak of it."""
    if module.startswith("whisper_npu.npu.targets"):
        return
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    documented = [
        node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    docstrings = {
        id(node.body[0].value) for node in documented if ast.get_docstring(node, clean=False) is not None
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            assert "XDNA1" not in (getattr(node, "id", "") or getattr(node, "attr", ""))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            assert not re.search(r"XDNA1|npu1", node.value) or module in SPEAKS_TO_USERS, node.value


@pytest.mark.parametrize("module", sorted(MODULES))
def test_home_folders_are_resolved_in_one_place(module: str) -> None:
    """Elsewhere nobody thinks of those who have none: a folder named ~, or a RuntimeError."""
    text = MODULES[module].read_text(encoding="utf-8")
    assert module == "whisper_npu.home" or not re.search(r"expanduser|Path\.home", text)


# Words on what the program is, for people who have not opened a device yet.
SPEAKS_TO_USERS = {"whisper_npu.apps.cli.app"}


@pytest.mark.parametrize("arguments", START_UP)
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
