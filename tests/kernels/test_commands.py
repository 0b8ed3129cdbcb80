"""`whisper-npu kernels ...`: what a kernel engineer types, in a checkout and from an installed wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.terminal import terminal
from whisper_npu.apps.cli import run
from whisper_npu.apps.cli.kernel_commands import (
    LISTED_MODELS,
    build_model,
    designs,
    find_design,
    model_choice,
)
from whisper_npu.apps.cli.kernel_list import SUMMARY, ListOptions, list_designs
from whisper_npu.encoder import encoder_ops
from whisper_npu.errors import UnknownModelError
from whisper_npu.kernels.build import BuildResult, DesignSource, array_part
from whisper_npu.kernels.matmul import design as matmul_design
from whisper_npu.kernels.registry import contract_named, contracts, design, kernels_built
from whisper_npu.kernels.table import as_markdown, figures
from whisper_npu.kernels.toolchain import G1, G4, GENERATIONS, NEWEST
from whisper_npu.kernels.tools import Toolchain
from whisper_npu.kernels.verifier import Design as ParsedDesign
from whisper_npu.kernels.verifier import DesignError, parse
from whisper_npu.npu.artifacts import MANIFEST
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.planner import whole_by
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import flattened
from whisper_npu.released import released_dimensions
from whisper_npu.screen import Screen

ROOT = Path(__file__).parents[2]
DESIGNS = designs()
CHOSEN = {model: model_choice(model, NPU1).contracts for model in LISTED_MODELS}
ALL_CHOSEN = {contract for chosen in CHOSEN.values() for contract in chosen}
LISTED = list(dict.fromkeys([*DESIGNS, *(contract for chosen in CHOSEN.values() for contract in chosen)]))


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without mlir-aie and Peano, and a kernel folder of its own."""
    monkeypatch.setenv("WHISPER_NPU_KERNELS", str(tmp_path / "kernels"))
    for variable in ("MLIR_AIE_INSTALL_DIR", "PEANO_INSTALL_DIR", "AIE_XCLBINUTIL", "XILINX_XRT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WHISPER_NPU_TOOLCHAIN", str(tmp_path / "toolchain"))


def build(contract: Contract, folder: Path) -> None:
    """As far as the list looks."""
    (folder / contract.name).mkdir(parents=True)
    (folder / contract.name / MANIFEST).touch()


def listed(family: str) -> str:
    """How many there are, built, and chosen."""
    designs = [contract for contract in LISTED if contract.name.startswith(f"{family}_")]
    return f" {len(designs)}      0  {len(ALL_CHOSEN.intersection(designs)):6}"


def test_the_list_is_a_summary_by_family_and_says_what_can_be_done(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["kernels", "list"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{len(LISTED)} designs for the XDNA1 NPU, none of them built.")
    assert f"built: in {tmp_path}/kernels" in " ".join(text.split())
    table = text.partition("------  ")[2].splitlines()[1:5]
    assert [line.split()[0] for line in table] == ["matmul", "gemm", "norm", "layer"]
    assert table[0].endswith(f"{listed('matmul')}  3,008 to 47")
    assert table[1].endswith(f"{listed('gemm')}            1")
    assert table[2].endswith(f"{listed('norm')}            -")
    assert table[3].endswith(f"{listed('layer')}            -")
    for command in ("fetch", "setup", "build", "verify", "list --all"):
        assert f"  whisper-npu kernels {command}" in text


@pytest.mark.parametrize("width", [45, 60, 80])
def test_the_lists_fit_the_screen(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_NPU_KERNELS", "/home/anna/kernels")
    for options in (SUMMARY, ListOptions(all=True)):
        text = list_designs(options, Screen(width))
        assert max(map(len, text.splitlines())) <= width


def test_the_list_of_all_has_a_line_for_every_design(tmp_path: Path) -> None:
    build(find_design("64x512"), tmp_path / "kernels")
    lines = list_designs(ListOptions(all=True)).splitlines()
    cells: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith(("matmul_", "gemm_", "norm_", "layer_")):
            cells.setdefault(line.split()[0], line.split())  # where a table is cut, its first part
    assert list(cells) == [contract.name for contract in LISTED]
    assert [name for name, row in cells.items() if row[1] == "yes"] == ["matmul_64x512"]
    assert cells[CHOSEN["small"][-1].name][2] == "small"
    assert "1 of them built" in lines[0]


def test_the_list_for_programs_has_every_figure() -> None:
    document = json.loads(list_designs(ListOptions(json=True)))
    assert document["schema"] == "whisper-npu/kernels-list"
    rows = {row["name"]: row for row in document["designs"]}
    assert list(rows) == [contract.name for contract in LISTED]
    wide = rows["matmul_64x512"]
    assert (wide["family"], wide["built"], wide["dispatches"]) == ("matmul", False, 376)
    assert wide["modelled_work_seconds"]["optimistic"] < wide["modelled_work_seconds"]["cautious"]
    assert rows[CHOSEN["tiny"][0].name]["chosen_for"] == ["tiny"]


def test_the_wide_table_goes_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "kernels.md"
    assert list_designs(ListOptions(markdown=path)).endswith(f"\nwrote {path}\n")
    text = path.read_text(encoding="utf-8")
    assert as_markdown(figures(LISTED)) in text
    assert f"Built in {tmp_path}/kernels: none" in text
    assert "MODELLED" in text


def test_the_list_counts_the_baselines_dispatches() -> None:
    names = ("64x64", "64x512", "128x512", "64x512_k512", "gemm_96x64x48_3072x512x576", "64x512_k2048")
    counted = [row.cells["dispatches"] for row in figures(map(find_design, names))]
    assert counted == ["3,008", "376", "192", "47", "1", "-"]


def test_the_list_reads_one_text_of_each_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading all of them, or executing them, takes longer than anybody waits for a list."""
    texts: list[str] = []

    def reading(text: str) -> ParsedDesign:
        texts.append(text)
        return parse(text)

    monkeypatch.setattr("whisper_npu.kernels.table.parse", reading)
    figures(DESIGNS)
    assert len(texts) == len({contract.overlay for contract in DESIGNS}) < len(DESIGNS) / 3


def test_the_readmes_table_is_the_programs() -> None:
    """Without the designs that a model asks for: those of fixed sizes, and the experiment's gemm."""
    readme = (ROOT / "whisper_npu/kernels/README.md").read_text(encoding="utf-8")
    fixed = [contract for contract in DESIGNS if contract in contracts(NPU1)]
    assert as_markdown(figures([*fixed, find_design("gemm_96x64x48_3072x512x576")])) in readme


def test_show_prints_the_design(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "show", "64x512"]) == 0
    assert capsys.readouterr().out == design(find_design("64x512"))


@pytest.mark.parametrize("toolchain", GENERATIONS)
def test_show_prints_the_spelling_of_any_toolchain(
    toolchain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["kernels", "show", "64x512", "--toolchain", toolchain]) == 0
    text = capsys.readouterr().out
    assert text == design(find_design("64x512"), GENERATIONS[toolchain])
    assert ("subview.access" in text) == (toolchain != "G4")


@pytest.mark.parametrize("command", ["show", "verify", "build"])
def test_an_unknown_toolchain_is_answered_with_those_that_there_are(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["kernels", command, "64x512", "--toolchain", "G9"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unknown toolchain 'G9': there are G1 (mlir_aie 1.3.1 to 1.3.4), G2" in line


def test_verify_takes_the_spelling_of_any_toolchain(capsys: pytest.CaptureFixture[str]) -> None:
    for toolchain in ("G1", "G4"):
        options = ["--toolchain", toolchain, "--core-functions", "numpy"]
        assert run(["kernels", "verify", "64x64", *options]) == 0
        assert capsys.readouterr().out.startswith("matmul_64x64: OK")


def test_show_takes_a_gemm_of_any_size(capsys: pytest.CaptureFixture[str]) -> None:
    name = "gemm_32x64x16_3x256x128x64"
    assert name not in [contract.name for contract in DESIGNS]
    assert run(["kernels", "show", name]) == 0
    assert "%A: memref<98304xbf16>" in capsys.readouterr().out
    assert run(["kernels", "show", "gemm_32x64x16_100x64x64"]) == 2
    assert "M = 100 must be a multiple of 128" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["64x64_baseline", "matmul_64x64_baseline"])
def test_a_kernel_of_the_emulator_alone_has_no_design(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "show", name]) == 2
    assert "kernel matmul_64x64_baseline has no design for the array" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "gemm_1x2x3_4x5x6"], "tile m = 1 must be a multiple of 16, at least 16"),
        (["show", "gemm_0x0x0_0x0x0"], "tile m = 0 must be a multiple of 16, at least 16"),
        (["verify", "64x64", "gemm_32x64x16_100x64x64"], "M = 100 must be a multiple of 128, at least 128"),
        (["show", "norm_0x512"], "rows = 0 must be a multiple of 16, at least 16"),
        (["build", "64x512", "--target", "npu2"], "unknown target 'npu2': there are npu1, "),
    ],
)
def test_what_the_array_cannot_hold_is_wrong_usage(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["kernels", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("functions", ["auto", "numpy"])
def test_verify_says_ok_with_figures(functions: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "verify", "64x64", "matmul_64x512", "--core-functions", functions]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["matmul_64x64", "OK, max error 0.069 (20 % of the tolerance), L1 52,480 B, "
         "2 of 4 pairs of inputs share a bank of L1, at least 4,096 cycles MODELLED, "
         "bound by DMA channel out C_L1L2 of core (0,2); core functions"],
        ["matmul_64x512", "OK, max error 0.085 (23 % of the tolerance), L1 36,096 B, "
         "2 of 4 pairs of inputs share a bank of L1, at least 8,192 cycles MODELLED, "
         "bound by DMA channel out C_L2L3_0 of memtile (0,1); core functions"],
    ]  # fmt: skip
    assert ("NumPy" in lines[0]) == (functions == "numpy" or not any(map(shutil.which, ("c++", "g++"))))


def test_verify_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with terminal() as tty:
        monkeypatch.setattr("sys.stdout", tty.stream)
        assert run(["kernels", "verify", "64x64", "--core-functions", "numpy"]) == 0
        first, *others = tty.lines
    assert first.startswith("matmul_64x64: OK, ")
    assert others
    assert all(line.startswith("    ") for line in others)
    assert max(map(len, (first, *others))) <= 60


def test_a_design_that_fails_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul_design, "DEPTH_C", 2)  # two C buffers: too much for gemm
    assert run(["kernels", "verify", "gemm_96x64x48_1536x384x384", "64x512"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("matmul_64x512: OK")
    assert captured.err.startswith("whisper-npu: error: gemm_96x64x48_1536x384x384: ")
    assert len(captured.err.splitlines()) == 1


def test_an_unknown_design_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "verify", "64x521"]) == 2
    assert "did you mean 64x512" in capsys.readouterr().err
    assert run(["kernels", "show", "nope"]) == 2
    assert capsys.readouterr().err == (
        "whisper-npu: error: unknown kernel 'nope': see whisper-npu kernels list\n"
    )


def test_without_tools_the_build_names_them_and_how_to_get_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "build", "64x512"]) == 1
    line = capsys.readouterr().err
    assert "aiecc" in line
    assert "Peano" in line
    assert "xclbinutil" in line
    assert f"install with: {NEWEST.pair.install_command}; sudo apt install libxrt-utils" in line
    assert run(["kernels", "build", "64x512", "--toolchain", "G1"]) == 1
    assert G1.pair.install_command in capsys.readouterr().err
    assert run(["kernels", "verify", "64x512", "--aie_opt"]) == 1
    assert "aiecc (mlir_aie) is not installed" in capsys.readouterr().err


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[DesignSource]]:
    """What is built by tools that are stand-ins: as far as the list looks."""
    calls: list[list[DesignSource]] = []

    def built(sources: list[DesignSource], folder: Path, **options: object) -> list[BuildResult]:
        calls.append(sources)
        for source in sources:
            (folder / source.name).mkdir(parents=True, exist_ok=True)
            (folder / source.name / MANIFEST).touch()
        return [BuildResult(source.name, folder, is_new=True) for source in sources]

    program = Path(sys.executable)
    tools = Toolchain(program, program, program, program, G4.pair.mlir_aie.version, "21.0.0")
    monkeypatch.setattr(Toolchain, "find", lambda *_: tools)
    monkeypatch.setattr("whisper_npu.apps.cli.kernel_commands.build", built)
    return calls


def test_a_models_kernels_are_those_of_the_planner(
    tmp_path: Path, asked: list[list[DesignSource]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of gemm base needs listed designs only, large-v3 others, of another tile."""
    build_model("base", "npu1")
    assert [source.name for source in asked.pop()] == [contract.name for contract in CHOSEN["base"]]
    assert capsys.readouterr().out.startswith(f"base: {model_choice('base', NPU1).reason}\n")
    for model in ("base", "large-v3"):
        build_model(model, "npu1", kernel="gemm")
    base, large = asked
    listed = {contract.name: design(contract) for contract in DESIGNS}
    assert len(base) == len({source.name for source in base}) == 8
    assert all(listed[source.name] == source.mlir_text for source in base)
    for sources, overlay in ((base, "gemm_96x64x48"), (large, "gemm_64x64x64")):
        assert {source.overlay for source in sources} == {overlay}
        assert len({array_part(source.mlir_text) for source in sources}) == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith("base: gemm_96x64x48 for all: 38 dispatches")
    assert lines[1] == f"toolchain {G4}, tested with {G4.pair}"
    assert lines[2] == f"{base[0].name}: built, {tmp_path}/kernels"
    warning = "whisper-npu: warning: toolchain G4 is tested with mlir_aie==1.4.5 with llvm-aie==22.0.0"
    assert captured.err.count(warning) == 2
    with pytest.raises(UnknownModelError, match="'huge'"):
        build_model("huge", "npu1")


def test_what_kernel_layer_needs_for_a_model_is_built_by_one_command_and_listed(
    asked: list[list[DesignSource]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A device that has these and no others makes every product of the window."""
    assert run(["kernels", "build", "--model", "base", "--kernel", "layer"]) == 0
    (sources,) = asked
    names = [source.name for source in sources]
    assert capsys.readouterr().out.startswith("base: layer for whatever it can make, as asked for\n")
    assert len({array_part(source.mlir_text) for source in sources}) == 1
    ops = encoder_ops(released_dimensions("base"))
    contracts = [contract for name in names if (contract := contract_named(name, NPU1))]
    (kernel,) = kernels_built(contracts)
    plans = whole_by(kernel, ops, [kernel]).plans
    assert {plan.contract.name for plan in plans.values()} == set(names)
    left = [part.op for op in ops for part in flattened(op, plans.__contains__) if part.op not in plans]
    assert not any(op.macs for op in left)

    assert run(["kernels", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (layers,) = (row for row in rows if row[:1] == ["layer"])
    assert layers[-3] == str(len(names))
    document = json.loads(list_designs(ListOptions(json=True)))
    assert {row["name"] for row in document["designs"] if row["built"]} == set(names)


def test_what_is_built_for_other_models_is_listed_and_folders_of_impossible_names_are_not(
    tmp_path: Path,
) -> None:
    names = ["gemm_64x64x64_1536x1280x1280", "gemm_96x64x48_384000x64x192000", "matmul_64x64_baseline"]
    for name in (*names, "norm_0x512", "nonsense"):
        (tmp_path / "kernels" / name).mkdir(parents=True)
        (tmp_path / "kernels" / name / MANIFEST).touch()
    document = json.loads(list_designs(ListOptions(json=True)))
    assert [row["name"] for row in document["designs"] if row["built"]] == names[:1]


@pytest.mark.parametrize("command", ["build", "verify"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--kernel", "layer"], "--kernel layer is for a model's encoder: name the model with --model"),
        (["64x64", "--kernel", "layer"], "--kernel layer is for a model's encoder"),
        (["64x64", "--model", "base", "--kernel", "layer"], "--model base and designs by name (64x64)"),
        (["--model", "base", "--kernel", "layr"], "unknown kernel 'layr': did you mean layer?"),
        (["--model", "base", "--kernel", "64x64_baseline"], "matmul_64x64_baseline has no design"),
    ],
)
def test_a_kernel_goes_with_a_model(
    command: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["kernels", command, *options]) == 2
    assert said in capsys.readouterr().err


def test_a_design_that_multiplies_much_has_the_time_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: dict[str, float] = {}

    def verify(contract: Contract, *_: object, timeout_seconds: float) -> None:
        allowed[contract.name] = timeout_seconds
        raise DesignError("seen")

    monkeypatch.setattr("whisper_npu.apps.cli.kernel_commands.verify", verify)
    base, large = "layer_encoder_1504x512x8x2048", "layer_encoder_1504x1280x20x5120"
    assert run(["kernels", "verify", "64x64", base, large, "--core-functions", "numpy"]) == 1
    assert 30 <= allowed["matmul_64x64"] < 31
    assert 100 < allowed[base] < allowed[large] < 1000


def test_verify_takes_what_a_kernel_needs_for_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "tiny", "--kernel", "64x64_bf16", "--core-functions", "numpy"]
    assert run(["kernels", "verify", *options]) == 0
    assert capsys.readouterr().out.startswith("matmul_64x64_bf16: OK")


def test_a_manifests_contract_says_what_the_kernel_promises() -> None:
    contract = find_design("64x512_bf16").as_json()
    assert (contract["m"], contract["k"], contract["n"]) == (64, 64, 512)
    assert contract["result_dtype"] == "bf16"
    assert contract["result_rounding"] == "nearest even"


@pytest.mark.skipif(shutil.which("aiecc") is None, reason="aiecc (mlir_aie) is not installed")
def test_the_toolchains_own_passes_accept_every_design() -> None:
    assert run(["kernels", "verify", "--aie_opt"]) == 0


def test_verify_says_which_tool_accepted_a_design(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "whisper_npu.apps.cli.kernel_commands.aie_opt_check", lambda *_: "aiecc of mlir_aie 1.4.5"
    )
    options = ["--core_functions", "numpy", "--toolchain", "G4"]
    assert run(["kernels", "verify", "64x64", "--aie_opt", *options]) == 0
    assert "; accepted by aiecc of mlir_aie 1.4.5; " in capsys.readouterr().out
    assert run(["kernels", "verify", "64x64", *options]) == 0
    assert "accepted" not in capsys.readouterr().out


def check_of_the_makefile(*before: str) -> str:
    """What `make -C kernels` says to a Python without packages, before it runs anything."""
    makefile = (ROOT / "whisper_npu/kernels/Makefile").read_text(encoding="utf-8")
    check = makefile.split("define CHECK\n")[1].split("endef")[0]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", "-c", "\n".join([*before, check])]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


def test_a_python_without_our_packages_is_told_so_in_one_line() -> None:
    line = check_of_the_makefile()
    assert line.startswith("needs a Python with whisper-npu installed, and ")
    assert "No module named" in line
    assert line.endswith("make -C kernels PYTHON=.venv/bin/python")


def test_an_old_python_is_told_so_in_one_line() -> None:
    line = check_of_the_makefile("import sys", "sys.version_info = (3, 9, 18)")
    assert line.startswith("whisper-npu needs Python 3.10 to 3.14, and ")
    assert " is 3.9; name one: make -C kernels PYTHON=" in line
