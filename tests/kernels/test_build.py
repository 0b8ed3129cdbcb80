"""Building with tools that only record how they were called: commands, manifests, what a failure leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.toy_target import TOY
from whisper_npu.kernels import build as build_module
from whisper_npu.kernels.build import (
    BuildResult,
    DesignSource,
    aie_opt_check,
    array_part,
    arrays,
    build,
    clean,
    kernel_folder,
)
from whisper_npu.kernels.matmul.core import MATMUL_CC
from whisper_npu.kernels.matmul.kernel import matmul_64x64_batch, matmul_64x512
from whisper_npu.kernels.toolchain import (
    G1,
    G2,
    G3,
    G4,
    GENERATIONS,
    NEWEST,
    Generation,
    UnsupportedReleaseError,
)
from whisper_npu.kernels.tools import GET_XCLBINUTIL, BuildError, Toolchain, ToolsMissingError
from whisper_npu.npu.artifacts import InnerLoop, find_kernel
from whisper_npu.npu.targets import NPU1

DESIGN = DesignSource(
    matmul_64x512(NPU1),
    """module {
  aie.device(npu1) {
    func.func private @zero_f32(memref<64x32xf32>) attributes {link_with = "matmul_64x64x32.o"}
    func.func private @matmul_bf16_f32(memref<64x64xbf16>) attributes {link_with = "matmul_64x64x32.o"}
    aie.runtime_sequence @sequence(%A: memref<4096xbf16>) {
      aiex.npu.dma_wait {symbol = @C_L2L3}
    }
  }
}
""",
    (MATMUL_CC,),
)

ARRAY_PART = """module {
  aie.device(npu1) {
    func.func private @zero_f32(memref<64x32xf32>) attributes {link_with = "matmul_64x64x32.o"}
    func.func private @matmul_bf16_f32(memref<64x64xbf16>) attributes {link_with = "matmul_64x64x32.o"}
  }
}
"""

TOOL = """#!{python} -IS
import json, os, pathlib, sys
here = pathlib.Path({here!r})
if sys.argv[1:] in (["--version"], ["--help"]):
    print("{name} " + sys.argv[1][2:] + " " + (here / sys.argv[1][2:]).read_text())
    sys.exit()
if "{name}" == "llvm-objdump":
    print((here / "disassembly").read_text())
    sys.exit((here / "fails-llvm-objdump").exists())
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([str(pathlib.Path.cwd()), *sys.argv]) + "\\n")
if (here / "fails-{name}").exists():
    print("\\n".join("line %d" % i for i in range(40)) + "\\nerror: 'aie.tile' op is taken")
    sys.exit(3)
for argument, after in zip(sys.argv, sys.argv[1:] + [""]):
    output = after if argument == "-o" else argument.partition("-name=")[2]
    if output and not (here / ("forgets-" + output)).exists():
        content = "{name} made " + output
        pathlib.Path(output).write_text(content + " " * (-len(content) % 4))  # instructions are words
"""


class Fake:
    """mlir_aie and llvm-aie as pip would lay them out, in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "mlir_aie" / "include" / "aie_api").mkdir(parents=True)
        self.aiecc = self.tool(root / "mlir_aie" / "bin" / "aiecc")
        self.xclbinutil = self.tool(root / "mlir_aie" / "bin" / "xclbinutil")
        self.clang = self.tool(root / "llvm-aie" / "bin" / "clang++")
        self.set("version", "1")
        self.set("help", "--alloc-scheme=<string>")

    def package(self, name: str, version: str | None) -> None:
        """What pip writes about a package; None takes it away."""
        for old in self.root.glob(f"{name}-*.dist-info"):
            shutil.rmtree(old)
        if version is not None:
            about = self.root / f"{name}-{version}.dist-info"
            about.mkdir()
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def install(self, toolchain: Generation) -> None:
        self.package("mlir_aie", toolchain.pair.mlir_aie.version)
        self.package("llvm_aie", toolchain.pair.llvm_aie.version)

    def tool(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TOOL.format(python=sys.executable, here=str(self.root), name=path.name))
        path.chmod(0o755)
        return path

    def set(self, name: str, content: str = "") -> None:
        (self.root / name).write_text(content)

    def calls(self) -> list[list[str]]:
        """[folder, tool, arguments ...] of every call so far but --version and --help."""
        record = self.root / "calls"
        return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []

    @property
    def toolchain(self) -> Toolchain:
        return Toolchain.find({}, [self.root])


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "site-packages")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kernels"


def built(fake: Fake, folder: Path, design: DesignSource = DESIGN, array: str | None = None) -> str:
    (result,) = build([design], folder, array=array, tools=fake.toolchain)
    assert result == BuildResult(design.name, folder / design.name, result.is_new, result.programs)
    return result.outcome


def named(name: str, **changes: str) -> DesignSource:
    return replace(DESIGN, contract=replace(DESIGN.contract, name=name), **changes)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- Commands -----------------------------------------------------------------------------------------------


LINK = {
    "G1": "--aie-generate-xclbin --aie-generate-npu-insts --no-compile-host --no-xchesscc --no-xbridge",
    "G2": "--get-xclbin --get-npu-insts --no-xchesscc --no-xbridge",
    "G3": "--get-xclbin --get-npu-insts",
    "G4": "--get-xclbin --get-npu-insts",
}
CHECK = {
    "G1": "--no-compile --no-link --no-compile-host --no-xchesscc --no-xbridge --aie-generate-npu-insts",
    "G2": "--get-npu-insts",
    "G3": "--get-npu-insts",
    "G4": "--get-npu-insts",
}

by_toolchain = pytest.mark.parametrize("toolchain", GENERATIONS.values(), ids=GENERATIONS)


def spelled_for(toolchain: Generation) -> DesignSource:
    return replace(DESIGN, toolchain=toolchain)


@by_toolchain
def test_the_commands_are_those_of_mlir_aie(fake: Fake, folder: Path, toolchain: Generation) -> None:
    assert built(fake, folder, spelled_for(toolchain)) == "built"
    (compile_folder, *compile_line), (link_folder, *link_line) = fake.calls()
    measured = "-fstack-size-section " if toolchain is G4 else ""
    assert " ".join(compile_line) == (
        f"{fake.clang} -O2 -std=c++20 --target=aie2-none-unknown-elf -DNDEBUG -D__AIE_API_AIE_ADF_HPP__ "
        f"{measured}-I{fake.root}/mlir_aie/include "
        "-DDIM_M=64 -DDIM_K=64 -DDIM_N=32 -DDIM_R=4 -DDIM_S=8 -DDIM_T=4 "
        f"-c {MATMUL_CC.path} -o matmul_64x64x32.o"
    )
    assert " ".join(link_line) == (
        f"{fake.aiecc} --alloc-scheme=basic-sequential {LINK[toolchain.name]} --peano {fake.root}/llvm-aie "
        "--xclbin-name=matmul_64x512.xclbin --npu-insts-name=matmul_64x512.insts.bin matmul_64x512.mlir"
    )
    assert compile_folder == link_folder
    assert not Path(link_folder).exists()


def test_an_allocator_that_cannot_be_chosen_is_not_chosen(fake: Fake, folder: Path) -> None:
    """mlir-aie pull request 3746: unknown options are errors."""
    fake.set("help", "--xclbin-name=<string>")
    built(fake, folder)
    aie_opt_check(DESIGN, fake.toolchain)
    assert not any("alloc-scheme" in " ".join(call) for call in fake.calls())


def test_every_object_is_compiled_once(fake: Fake, folder: Path) -> None:
    text = DESIGN.mlir_text.replace("matmul_64x64x32.o", "matmul_16x8x48.o", 1)
    built(fake, folder, replace(DESIGN, mlir_text=text))
    assert [line[-1] for line in fake.calls()] == [
        "matmul_16x8x48.o",
        "matmul_64x64x32.o",
        "matmul_64x512.mlir",
    ]


@by_toolchain
def test_the_check_stops_at_npu_instructions(fake: Fake, toolchain: Generation) -> None:
    aie_opt_check(spelled_for(toolchain), Toolchain(fake.aiecc, None, None))
    ((_, *line),) = fake.calls()
    assert " ".join(line) == (
        f"{fake.aiecc} --alloc-scheme=basic-sequential {CHECK[toolchain.name]} "
        "--npu-insts-name=matmul_64x512.insts.bin matmul_64x512.mlir"
    )


@by_toolchain
def test_the_check_has_objects_where_cores_are_measured_for_it(fake: Fake, toolchain: Generation) -> None:
    fake.install(toolchain)
    ran = aie_opt_check(spelled_for(toolchain), fake.toolchain)
    assert ran == f"aiecc of mlir_aie {toolchain.pair.mlir_aie.version}"
    *compiled, (folder, *line) = fake.calls()
    assert f"--peano {fake.root}/llvm-aie" in " ".join(line)
    assert [(where, *rest[-2:]) for where, *rest in compiled] == (
        [(folder, "-o", "matmul_64x64x32.o")] if toolchain is G4 else []
    )


def test_a_design_that_the_check_refuses_is_an_error_with_the_output(fake: Fake) -> None:
    fake.set("fails-aiecc")
    with pytest.raises(BuildError, match=r"check of matmul_64x512 failed .*(?s:.*)'aie.tile' op is taken"):
        aie_opt_check(DESIGN, fake.toolchain)


def test_the_check_without_aiecc_is_an_error_of_its_own() -> None:
    with pytest.raises(
        ToolsMissingError, match=r"aiecc .* is not installed; install with: pip install mlir_aie==1"
    ):
        aie_opt_check(DESIGN, Toolchain(None, None, None))


# --- What is written ----------------------------------------------------------------------------------------


def test_the_manifest_tells_what_was_built_from_what(fake: Fake, folder: Path) -> None:
    built(fake, folder)
    place = folder / "matmul_64x512"
    names = ["manifest.json", "matmul_64x512.insts.bin", "matmul_64x512.xclbin"]
    assert sorted(path.name for path in place.iterdir()) == names
    manifest = json.loads((place / "manifest.json").read_text())
    assert [len(command) for command in manifest.pop("commands")] == [len(call) - 1 for call in fake.calls()]
    assert manifest == {
        "schema": "whisper-npu-kernel",
        "schema_version": 3,
        "design": "matmul_64x512",
        "contract": json.loads(json.dumps(matmul_64x512(NPU1).as_json())),
        "operands": [
            {"name": "A", "elements": 64 * 64, "dtype": "bf16", "direction": "in"},
            {"name": "B", "elements": 64 * 512, "dtype": "bf16", "direction": "in"},
            {"name": "C", "elements": 64 * 512, "dtype": "f32", "direction": "out"},
        ],
        "overlay": {"name": "matmul_64x512", "sha256": f"sha256:{sha256(ARRAY_PART.encode()).hexdigest()}"},
        "toolchain": NEWEST.name,
        "target": "npu1",
        "sources": {
            "matmul_64x512.mlir": f"sha256:{sha256(DESIGN.mlir_text.encode()).hexdigest()}",
            **{
                file.name: f"sha256:{sha256(file.read_bytes()).hexdigest()}"
                for file in map(MATMUL_CC.path.with_name, ("matmul.cc", "product.hpp"))
            },
        },
        "tools": {"aiecc": "aiecc version 1", "clang++": "clang++ version 1"},
        "core_programs": {},
        "outputs": {
            name: f"sha256:{sha256((place / name).read_bytes()).hexdigest()}" for name in reversed(names[1:])
        },
    }
    assert os.listdir(folder) == ["matmul_64x512"]


def test_designs_that_differ_in_their_sequence_have_one_array_part(fake: Fake, folder: Path) -> None:
    other = named("other", mlir_text=DESIGN.mlir_text.replace("4096", "8192"))
    another = named("another", mlir_text=DESIGN.mlir_text.replace("64x32", "64x64"))
    build([DESIGN, other, another], folder, tools=fake.toolchain)
    overlays = [
        json.loads((folder / design.name / "manifest.json").read_text())["overlay"]
        for design in (DESIGN, other, another)
    ]
    assert overlays[0]["sha256"] == overlays[1]["sha256"] != overlays[2]["sha256"]
    assert array_part(DESIGN.mlir_text) == array_part(other.mlir_text) == ARRAY_PART


@pytest.mark.parametrize("text", ["module {}\n", DESIGN.mlir_text + DESIGN.mlir_text])
def test_a_text_without_one_sequence_has_no_array_part(text: str) -> None:
    with pytest.raises(BuildError, match=r"one aie\.runtime_sequence, this has [02]"):
        array_part(text)


def test_what_is_up_to_date_is_skipped(fake: Fake, folder: Path) -> None:
    assert built(fake, folder) == "built"
    before, calls = files(folder), fake.calls()
    assert built(fake, folder) == "up to date"
    assert (files(folder), fake.calls()) == (before, calls)


@pytest.mark.parametrize(
    "change",
    [
        "mlir",
        "matmul.cc",
        "product.hpp",
        "contract",
        "array",
        "version",
        "package",
        "toolchain",
        "output",
        "manifest",
    ],
)
def test_whatever_changes_is_built_again(fake: Fake, folder: Path, tmp_path: Path, change: str) -> None:
    narrow = replace(DESIGN, mlir_text=DESIGN.mlir_text.replace("npu1", "npu1_1col"))
    built(fake, folder, narrow)
    design, array, place = narrow, "npu1", folder / narrow.name
    if change == "mlir":
        design = replace(design, mlir_text=design.mlir_text + "\n")
    elif change in {"matmul.cc", "product.hpp"}:
        for file in MATMUL_CC.files:
            shutil.copy(file, tmp_path)
        with open(tmp_path / change, "ab") as changed:
            changed.write(b"\n")
        design = replace(design, core_sources=(replace(MATMUL_CC, path=tmp_path / "matmul.cc"),))
    elif change == "contract":
        design = replace(design, contract=replace(design.contract, k=512))  # type: ignore[call-arg]
    elif change == "array":
        array = "npu1_2col"
    elif change == "version":
        fake.set("version", "2")
    elif change == "package":
        fake.package("llvm_aie", "22.0.0")
    elif change == "toolchain":
        design = replace(design, toolchain=G3)
    elif change == "output":
        (place / design.xclbin).write_text("half a file")
    else:
        (place / "manifest.json").write_text("{")
    assert built(fake, folder, design, array) == "built"
    assert built(fake, folder, design, array) == "up to date"


@pytest.mark.parametrize("tool", ["clang++", "aiecc"])
def test_a_tool_that_fails_leaves_the_older_build(fake: Fake, folder: Path, tool: str) -> None:
    built(fake, folder)
    before = files(folder)
    fake.set(f"fails-{tool}")
    newer = replace(DESIGN, mlir_text=DESIGN.mlir_text + "\n")
    with pytest.raises(BuildError) as error:
        built(fake, folder, newer)
    first, *output = str(error.value).splitlines()
    assert re.match(rf"building matmul_64x512 failed with status 3: \S*/{re.escape(tool)} ", first)
    assert output[-1].strip() == "error: 'aie.tile' op is taken"
    assert len(output) == 15
    assert files(folder) == before
    assert os.listdir(folder) == ["matmul_64x512"]


def test_a_build_that_cannot_be_moved_leaves_the_older_one(
    fake: Fake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(fake, folder)
    before, rename, moved = files(folder), Path.rename, []

    def failing_rename(self: Path, to: Path) -> Path:
        if to == folder / DESIGN.name and not moved:
            moved.append(self)
            raise OSError(28, "No space left on device")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing_rename)
    with pytest.raises(BuildError, match="No space left"):
        built(fake, folder, replace(DESIGN, mlir_text=DESIGN.mlir_text + "\n"))
    assert files(folder) == before
    assert os.listdir(folder) == [DESIGN.name]


def test_a_first_build_that_fails_leaves_nothing(fake: Fake, folder: Path) -> None:
    fake.set("forgets-matmul_64x512.insts.bin")
    with pytest.raises(BuildError, match=r"wrote no matmul_64x512\.insts\.bin"):
        built(fake, folder)
    assert os.listdir(folder) == []


def test_a_folder_that_cannot_be_written_is_named(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match=r"file/kernels cannot be written .*set WHISPER_NPU_KERNELS"):
        built(fake, tmp_path / "file" / "kernels")


def test_clean_removes_what_was_built_and_nothing_else(fake: Fake, folder: Path) -> None:
    built(fake, folder)
    (folder / "notes").mkdir()
    (folder / "notes" / "manifest.json").write_text('{"schema": "mine"}')
    assert clean(folder) == ["matmul_64x512"]
    assert os.listdir(folder) == ["notes"]
    assert clean(folder / "absent") == []


def test_the_command_cleans_the_users_folder_and_does_nothing_else(fake: Fake, folder: Path) -> None:
    built(fake, folder)
    root = Path(build_module.__file__).parents[2]
    environ = {**os.environ, "WHISPER_NPU_KERNELS": str(folder), "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "whisper_npu.kernels.build"]
    wrong = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (wrong.returncode, os.listdir(folder)) == (1, ["matmul_64x512"])
    done = subprocess.run([*command, "clean"], env=environ, capture_output=True, text=True, check=True)
    assert (done.stdout, os.listdir(folder)) == ("removed matmul_64x512\n", [])
    done = subprocess.run([*command, "clean"], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == f"no built kernel in {folder}: nothing to remove\n"


# --- Targets and names --------------------------------------------------------------------------------------


def test_an_unknown_target_is_refused_with_the_known_ones(fake: Fake, folder: Path) -> None:
    with pytest.raises(BuildError, match="'npu2': there are npu1, npu1_1col, npu1_2col, npu1_3col"):
        built(fake, folder, array="npu2")


@pytest.mark.parametrize(
    ("array", "target"),
    [("npu1", "npu1_1col"), ("npu1_3col", "npu1_2col"), ("npu2", "npu1"), ("npu1_4col", "npu1")],
)
def test_a_design_for_another_device_is_refused(fake: Fake, folder: Path, array: str, target: str) -> None:
    text = DESIGN.mlir_text.replace("aie.device(npu1)", f"aie.device({array})")
    with pytest.raises(BuildError, match=f"is for {array}, which does not fit the target {target}"):
        built(fake, folder, replace(DESIGN, mlir_text=text), target)


def test_a_text_without_a_device_is_refused(fake: Fake, folder: Path) -> None:
    with pytest.raises(BuildError, match=r"matmul_64x512 has 0 aie\.device"):
        built(fake, folder, replace(DESIGN, mlir_text="module {}"))


def test_an_object_that_no_source_gives_is_refused(fake: Fake, folder: Path) -> None:
    text = DESIGN.mlir_text.replace("matmul_64x64x32.o", "mm_64x64x32.o")
    with pytest.raises(BuildError, match=r"design matmul_64x512: .*'mm_64x64x32\.o' names no object"):
        built(fake, folder, replace(DESIGN, mlir_text=text))
    text = DESIGN.mlir_text.replace("matmul_64x64x32.o", "matmul_60x64x32.o")
    with pytest.raises(BuildError, match="must be multiples of 16,8,16"):
        built(fake, folder, replace(DESIGN, mlir_text=text))


def test_another_target_has_its_own_arrays_triple_and_micro_tile(fake: Fake, folder: Path) -> None:
    assert arrays(NPU1) == {"npu1": 4, "npu1_1col": 1, "npu1_2col": 2, "npu1_3col": 3}
    assert arrays(TOY) == {"toy": 2, "toy_1col": 1}
    contract = replace(matmul_64x64_batch(TOY, 6), k=32, core_tile=(64, 32, 64))
    source = DesignSource.of(contract)
    assert built(fake, folder, source) == "built"
    compile_line = " ".join(fake.calls()[0])
    assert "--target=toy-none-unknown-elf" in compile_line
    assert "-DDIM_R=8 -DDIM_S=4 -DDIM_T=2" in compile_line
    assert json.loads((folder / contract.name / "manifest.json").read_text())["target"] == "toy"
    with pytest.raises(BuildError, match="'npu1': there are toy, toy_1col"):
        built(fake, folder, source, "npu1")
    with pytest.raises(BuildError, match="is for toy, which does not fit the target toy_1col"):
        built(fake, folder, source, "toy_1col")


# --- What objdump shows -------------------------------------------------------------------------------------

DISASSEMBLY = """
matmul_64x64x32.o:	file format elf32-aie

Disassembly of section .text:

00000000 <matmul_bf16_f32>:
       0: 15 00 00 00 00 00    	movxm	ls, #0x10
       6: 15 00 00 00 00 00    	movxm	le, #0x14
      10: 01 00 00 00 	vlda	wl0, [p0], #0x20;		vmac.f	bml0, bml0, x0, x4, r0
      14: 01 00 00 00 	vst	amll0, [sp, #-0x20];		nop
      18: 01 00        	ret	lr
"""


def with_objdump(fake: Fake, disassembly: str = DISASSEMBLY) -> Fake:
    fake.tool(fake.clang.with_name("llvm-objdump"))
    fake.set("disassembly", disassembly)
    return fake


def test_a_build_counts_what_its_cores_run(fake: Fake, folder: Path) -> None:
    (result,) = build([DESIGN], folder, tools=with_objdump(fake).toolchain)
    ((name, program),) = result.programs.items()
    assert name == "matmul_64x64x32.o"
    assert str(program) == (
        "26 bytes of program, inner loop of 2 bundles with 1 vmacs, 0.50 per cycle, 1 spills"
    )
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert manifest["core_programs"] == {
        "matmul_64x64x32.o": {"program_bytes": 26, "inner_loop": {"bundles": 2, "vmacs": 1}, "spills": 1}
    }
    assert built(fake, folder) == "up to date"
    loop = find_kernel(DESIGN.contract, [folder]).inner_loop
    assert loop == InnerLoop(bundles=2, vmacs=1)
    assert loop.vmacs_per_cycle == 0.5


@pytest.mark.parametrize(
    "programs",
    [
        None,
        [],
        {},
        {"a.o": None},
        {"a.o": {"inner_loop": None}},
        {"a.o": {"inner_loop": {"bundles": 0, "vmacs": 1}}},
    ],
)
def test_a_kernel_loads_without_counts(fake: Fake, folder: Path, programs: object) -> None:
    built(fake, folder)
    manifest = folder / DESIGN.name / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "core_programs": programs}))
    assert find_kernel(DESIGN.contract, [folder]).inner_loop is None


def test_what_objdump_does_not_say_is_not_counted(fake: Fake, folder: Path) -> None:
    (result,) = build([DESIGN], folder, tools=with_objdump(fake, "no such format").toolchain)
    assert result.programs == {}
    fake.set("disassembly", DISASSEMBLY)
    fake.set("fails-llvm-objdump")
    shutil.rmtree(result.folder)
    (result,) = build([DESIGN], folder, tools=fake.toolchain)
    assert result.programs == {}


def test_a_program_that_does_not_fit_a_core_is_an_error(fake: Fake, folder: Path) -> None:
    core = NPU1.core
    at = core.program_bytes - core.startup_bytes
    with_objdump(fake, DISASSEMBLY.replace("18: 01 00 ", f"{at - 2:x}: 01 00 "))
    assert built(fake, folder) == "built"
    fake.set("disassembly", DISASSEMBLY.replace("18: 01 00 ", f"{at:x}: 01 00 "))
    shutil.rmtree(folder)
    with pytest.raises(
        BuildError,
        match=r"matmul_64x64x32\.o has 15,506 bytes .* 880 of start-up more than the 16,384 .*matmul\.cc",
    ):
        built(fake, folder)
    assert os.listdir(folder) == []


# --- Finding the tools --------------------------------------------------------------------------------------


def test_tools_are_found_among_pythons_packages(fake: Fake) -> None:
    peano = fake.root / "llvm-aie"
    found = Toolchain.find({}, ["/nowhere", fake.root])
    assert found == Toolchain(fake.aiecc, fake.root / "mlir_aie" / "include", peano, fake.xclbinutil)
    fake.install(G3)
    versions = {"mlir_aie": "1.4.2", "llvm_aie": "21.0.0.2026080301+c9c5ecb7"}
    assert Toolchain.find({}, [fake.root]) == replace(found, **versions)  # type: ignore[arg-type]


def test_the_folders_that_the_user_names_come_first(fake: Fake, tmp_path: Path) -> None:
    own = Fake(tmp_path / "own")
    own.install(G2)
    environ = {
        "MLIR_AIE_INSTALL_DIR": str(own.root / "mlir_aie"),
        "PEANO_INSTALL_DIR": str(own.root / "llvm-aie"),
    }
    assert Toolchain.find(environ, [fake.root]) == own.toolchain
    assert Toolchain.find({"PEANO_INSTALL_DIR": "/nowhere"}, [fake.root]).peano is None
    assert Toolchain.find({"AIE_XCLBINUTIL": str(own.xclbinutil)}, [fake.root]).xclbinutil == own.xclbinutil
    assert Toolchain.find({"AIE_XCLBINUTIL": "/nowhere"}, [fake.root]).xclbinutil is None


def test_tools_on_path_are_found_under_their_older_name_too(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "opt")
    fake.aiecc.rename(fake.aiecc.with_suffix(".py"))
    (fake.root / "llvm-aie" / "lib" / "aie2-none-unknown-elf").mkdir(parents=True)
    path = os.pathsep.join([str(fake.aiecc.parent), str(fake.clang.parent)])
    found = Toolchain.find({"PATH": path})
    assert found == replace(fake.toolchain, aiecc=fake.aiecc.with_suffix(".py"))


def test_the_packages_of_an_environment_on_path_are_found(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "env" / "lib" / "python3.12" / "site-packages")
    fake.install(G4)
    assert Toolchain.find({"PATH": f"{tmp_path}/bin:{tmp_path}/env/bin"}) == fake.toolchain


@pytest.mark.parametrize("name", ["xclbinutil", "hrx-xclbinutil"])
def test_xclbinutil_is_found_on_path_and_in_xrt(fake: Fake, folder: Path, tmp_path: Path, name: str) -> None:
    fake.xclbinutil.unlink()
    assert fake.toolchain.xclbinutil is None
    own = fake.tool(tmp_path / "xrt" / "bin" / name)
    for environ in ({"XILINX_XRT": f"{tmp_path}/xrt"}, {"PATH": f"/nowhere:{tmp_path}/xrt/bin"}):
        tools = Toolchain.find(environ, [fake.root])
        assert tools.xclbinutil == own
    fake.aiecc.write_text(f"#!/bin/sh\nreadlink $(command -v xclbinutil) > {tmp_path}/used\nexit 1\n")
    with pytest.raises(BuildError):
        build([DESIGN], folder, tools=tools)
    assert (tmp_path / "used").read_text() == f"{own}\n"


def test_what_is_found_is_found_from_any_folder(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a folder of their own, and `python -m` has the current one as ""."""
    whole = fake.toolchain
    monkeypatch.chdir(fake.root)
    assert Toolchain.find({}, [""]) == whole


def test_an_ordinary_clang_on_path_is_not_peano(fake: Fake) -> None:
    assert Toolchain.find({"PATH": str(fake.clang.parent)}).peano is None


@pytest.mark.parametrize("variable", ["MLIR_AIE_INSTALL_DIR", "PEANO_INSTALL_DIR", "AIE_XCLBINUTIL"])
def test_a_variable_that_names_nothing_is_named_with_its_value(fake: Fake, variable: str) -> None:
    said = (
        rf"building kernels needs .*; \${variable} names /nope, where it is not: correct or unset it; install"
    )
    with pytest.raises(ToolsMissingError, match=said) as error:
        Toolchain.find({variable: "/nope"}, [fake.root]).check_complete()
    assert str(error.value).count("/nope") == 1
    if variable == "MLIR_AIE_INSTALL_DIR":
        with pytest.raises(ToolsMissingError, match="MLIR_AIE_INSTALL_DIR names /nope"):
            Toolchain.find({variable: "/nope"}, [fake.root]).need_aiecc()


APT = GET_XCLBINUTIL


@pytest.mark.parametrize(
    ("missing", "named", "remedy"),
    [
        (
            {"aiecc": None, "include": None, "xclbinutil": None},
            "aiecc (mlir_aie), aie_api headers (mlir_aie), xclbinutil (XRT, or $AIE_XCLBINUTIL)",
            f"{NEWEST.pair.install_command}; {APT}",
        ),
        ({"peano": None}, "Peano's clang++ (llvm-aie, or $PEANO_INSTALL_DIR)", NEWEST.pair.install_command),
        (
            {"peano": None, "mlir_aie": "1.4.1"},
            "Peano's clang++ (llvm-aie, or $PEANO_INSTALL_DIR)",
            G3.pair.install_command,
        ),
        ({"xclbinutil": None}, "xclbinutil (XRT, or $AIE_XCLBINUTIL)", APT),
    ],
)
def test_missing_tools_are_named_with_the_commands_that_install_them(
    fake: Fake, folder: Path, missing: dict[str, str | None], named: str, remedy: str
) -> None:
    tools = replace(fake.toolchain, **missing)  # type: ignore[arg-type]
    with pytest.raises(ToolsMissingError) as error:
        tools.check_complete()
    assert str(error.value) == f"building kernels needs {named}; install with: {remedy}"
    with pytest.raises(ToolsMissingError, match="building kernels needs"):
        build([DESIGN], folder, tools=tools)
    assert not folder.exists()


# --- Which generation it is ---------------------------------------------------------------------------------


@by_toolchain
def test_the_generation_is_that_of_the_package(fake: Fake, toolchain: Generation) -> None:
    fake.install(toolchain)
    assert fake.toolchain.generation() is toolchain
    assert fake.toolchain.mismatch(toolchain) is None


@pytest.mark.parametrize(
    ("help", "reads_objects", "toolchain"),
    [
        ("--aie-generate-xclbin --no-xchesscc --aie-generate-npu-insts", False, G1),
        ("--get=<name> --no-xchesscc --no-xbridge", False, G2),
        ("--get=<name> --xchesscc", False, G3),
        ("--get=<name> --xchesscc", True, G4),
    ],
)
def test_without_a_package_the_tools_are_asked(
    fake: Fake, help: str, reads_objects: bool, toolchain: Generation
) -> None:
    fake.set("help", help)
    fake.tool(fake.aiecc.with_name("aie-opt"))
    if not reads_objects:
        fake.set("fails-aie-opt")
    assert fake.toolchain.generation() is toolchain


@pytest.mark.parametrize("version", ["1.4.3.dev12+g0123abc", "0.0.1.2026050821+b37dc33"])
def test_a_build_between_releases_is_asked_what_it_is(fake: Fake, version: str) -> None:
    fake.package("mlir_aie", version)
    fake.set("help", "--aie-generate-xclbin")
    assert fake.toolchain.generation() is G1
    fake.package("llvm_aie", G1.pair.llvm_aie.version)
    assert fake.toolchain.mismatch(G1) is None


def test_where_nothing_tells_the_user_has_to_say(fake: Fake) -> None:
    with pytest.raises(BuildError, match="name it: --toolchain G3 or G4"):
        fake.toolchain.generation()


def test_a_release_of_no_generation_is_an_error_with_what_to_install(fake: Fake) -> None:
    fake.package("mlir_aie", "1.2.1")
    with pytest.raises(
        UnsupportedReleaseError, match=r"mlir_aie 1\.2\.1 is older .*install mlir_aie==1\.4\.5"
    ):
        fake.toolchain.generation()


@pytest.mark.parametrize(
    ("mlir_aie", "llvm_aie", "found"),
    [
        ("1.4.5", "23.0.0", "found is llvm-aie 23.0.0."),
        ("1.4.5", None, "found is llvm-aie of an unknown version."),
        (
            "1.4.3",
            G3.pair.llvm_aie.version,
            f"found is llvm-aie {G3.pair.llvm_aie.version}, which belongs to mlir_aie==1.4.2.",
        ),
        ("1.3.4", NEWEST.pair.llvm_aie.version, "found is mlir_aie 1.3.4."),
        ("1.2.0", NEWEST.pair.llvm_aie.version, "found is mlir_aie 1.2.0."),
        (None, NEWEST.pair.llvm_aie.version, None),
    ],
)
def test_what_does_not_belong_together_is_told_with_the_pair_that_does(
    fake: Fake, mlir_aie: str | None, llvm_aie: str | None, found: str | None
) -> None:
    fake.package("mlir_aie", mlir_aie)
    fake.package("llvm_aie", llvm_aie)
    told = fake.toolchain.mismatch(G4)
    if found is None:
        assert told is None
        return
    assert told == (
        "toolchain G4 is tested with mlir_aie==1.4.5 with llvm-aie==22.0.0.2026090701+3e93bf7b; "
        f"{found} The matching pair: {G4.pair.install_command}"
    )


def test_kernels_live_in_the_users_data_folder() -> None:
    home = Path.home()
    assert kernel_folder({"WHISPER_NPU_KERNELS": "/k", "XDG_DATA_HOME": "/d"}) == Path("/k")
    assert kernel_folder({"XDG_DATA_HOME": "/d"}) == Path("/d/whisper-npu/kernels")
    assert kernel_folder({}) == home / ".local/share/whisper-npu/kernels"
