"""Stand-ins for mlir_aie and llvm-aie, as pip leaves them or as wheels, and for a Python with venv and pip.

The tools write a file for every output that they are asked for.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from whisper_npu.kernels.toolchain import Pair

TOOL = """#!{python} -SE
import sys
if sys.argv[1:] == ["--version"]:
    print("stand-in 1")
    sys.exit()
if {fails!r}:
    sys.exit("error: the stand-in fails")
for argument, after in zip(sys.argv, sys.argv[1:] + [""]):
    output = after if argument == "-o" else argument.partition("-name=")[2]
    if output:
        content = "stand-in for " + output
        open(output, "w").write(content + " " * (-len(content) % 4))  # instructions are words
"""

# What a Python does that is asked for its version, for an environment, and for packages. Beside it lie files
# that say what it answers and which step fails; `calls` lists the steps.
PYTHON = """#!{python} -SE
import os, shutil, sys
root = {root!r}
step = "pip" if "pip" in sys.argv else "venv" if "venv" in sys.argv else "probe"
with open(root + "/calls", "a") as calls:
    calls.write(step + "\\n")
if step == "probe":
    print(open(root + "/answer").read())
if step == "venv":
    os.makedirs(sys.argv[-1] + "/bin")
    shutil.copy(root + "/python", sys.argv[-1] + "/bin/python")
if os.path.exists(root + "/fails-" + step):
    print("\\n".join("line %d of " % i + step for i in range(40)))
    sys.exit(1)
if step == "pip":
    to = os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0]))) + "/lib/python3.12/site-packages"
    asked = [argument for argument in sys.argv if argument.startswith("mlir_aie==")][0]
    shutil.copytree(root + "/packages/" + asked, to)
"""


def tool_files(pair: Pair, *, fails: bool = False) -> dict[str, str]:
    """Every file of both packages, by its path in site-packages."""
    tool = TOOL.format(python=sys.executable, fails=fails)
    files = {
        "mlir_aie/bin/aiecc": tool,
        "mlir_aie/include/aie_api/aie.hpp": "",
        "llvm-aie/bin/clang++": tool,
    }
    for package in (pair.mlir_aie, pair.llvm_aie):
        info = f"{package.name.replace('-', '_')}-{package.version}.dist-info"
        files[f"{info}/METADATA"] = (
            f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n"
        )
    return files


def lay_out(site_packages: Path, pair: Pair, *, fails: bool = False) -> None:
    for name, text in tool_files(pair, fails=fails).items():
        path = site_packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)


def write_wheels(folder: Path, pair: Pair) -> None:
    """Both packages as wheels that pip installs."""
    folder.mkdir()
    files = tool_files(pair)
    for package, top in ((pair.mlir_aie, "mlir_aie"), (pair.llvm_aie, "llvm-aie")):
        stem = f"{package.name.replace('-', '_')}-{package.version}"
        own = {name: text for name, text in files.items() if name.startswith((f"{top}/", f"{stem}."))}
        own[f"{stem}.dist-info/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        own[f"{stem}.dist-info/RECORD"] = "".join(f"{name},,\n" for name in own)
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            for name, text in own.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (0o100755 if "/bin/" in name else 0o100644) << 16
                wheel.writestr(entry, text)


class FakePython:
    """A Python in its own folder, with its venv and pip, and the packages that pip finds."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / "python"
        root.mkdir()
        self.path.write_text(PYTHON.format(python=sys.executable, root=str(root)))
        self.path.chmod(0o755)
        self.answer('["cpython", [3, 12], "glibc", "2.39"]')

    def answer(self, text: str) -> None:
        """What it says about itself."""
        (self.root / "answer").write_text(text)

    def offer(self, pair: Pair, *, fails: bool = False) -> None:
        lay_out(self.root / "packages" / pair.mlir_aie.requirement, pair, fails=fails)

    def fail(self, step: str) -> None:
        (self.root / f"fails-{step}").touch()

    def repair(self, step: str) -> None:
        (self.root / f"fails-{step}").unlink()

    def pop_calls(self) -> list[str]:
        calls = self.root / "calls"
        steps = calls.read_text().split() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return steps
