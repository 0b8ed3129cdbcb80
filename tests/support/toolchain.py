"""Stand-ins for mlir_aie and llvm-aie, as pip leaves them or as wheels, and for a Python with venv and pip.

The tools write a file for every output that they are asked for.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from whisper_npu.kernels.toolchain import Pair

# In the shell's language: it starts a hundred times faster than Python.
TOOL = r"""#!/bin/sh
case "$1" in
    --version) echo "stand-in 1"; exit ;;
    --help) exit ;;
esac
if [ FAILS = True ]; then echo "error: the stand-in fails"; exit 1; fi
while [ $# -gt 0 ]; do
    case "$1" in
        -o) output="$2" ;;
        *-name=*) output="${1#*-name=}" ;;
        *) output="" ;;
    esac
    if [ -n "$output" ]; then printf "%-96s" "stand-in for $output" > "$output"; fi  # whole words
    shift
done
"""

# What a Python does that is asked for its version, for an environment, and for packages. Beside it lie files
# that say what it answers and which step fails; `calls` lists the steps.
PYTHON = r"""#!/bin/sh
PATH=/usr/bin:/bin
root='ROOT'
case " $* " in
    *" pip "*) step=pip ;;
    *" venv "*) step=venv ;;
    *) step=probe ;;
esac
echo $step >> "$root/calls"
if [ $step = probe ]; then cat "$root/answer"; fi
for last; do
    case "$last" in mlir_aie==*) asked="$last" ;; esac
done
if [ $step = venv ]; then mkdir -p "$last/bin" && cp "$root/python" "$last/bin/python"; fi
if [ -s "$root/fails-$step" ]; then cat "$root/fails-$step"; exit 1; fi
if [ -e "$root/fails-$step" ]; then
    i=0
    while [ $i -lt 40 ]; do echo "line $i of $step"; i=$((i + 1)); done
    exit 1
fi
if [ $step = pip ]; then
    lib="${0%/bin/python}/lib/python3.12"
    mkdir -p "$lib" && cp -R "$root/packages/$asked" "$lib/site-packages"
fi
"""


def tool_files(pair: Pair, *, fails: bool = False) -> dict[str, str]:
    """Every file of both packages, by its path in site-packages."""
    tool = TOOL.replace("FAILS", str(fails))
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
        self.path.write_text(PYTHON.replace("ROOT", str(root)))
        self.path.chmod(0o755)
        self.answer('["cpython", [3, 12], "glibc", "2.39"]')

    def answer(self, text: str) -> None:
        """What it says about itself."""
        (self.root / "answer").write_text(text)

    def offer(self, pair: Pair, *, fails: bool = False) -> None:
        lay_out(self.root / "packages" / pair.mlir_aie.requirement, pair, fails=fails)

    def fail(self, step: str, output: str = "") -> None:
        """With 40 lines, or with this output."""
        (self.root / f"fails-{step}").write_text(output)

    def repair(self, step: str) -> None:
        (self.root / f"fails-{step}").unlink()

    def pop_calls(self) -> list[str]:
        calls = self.root / "calls"
        steps = calls.read_text().split() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return steps
