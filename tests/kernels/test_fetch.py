"""Fetching sets of kernels: from a folder and from a web server, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import stand_in_kernels
from tests.support.contracts import MATMUL_64X64, MATMUL_64X512
from tests.support.fake_pyxrt import FakeXrt
from tests.support.kernel_sets import (
    change,
    change_manifest,
    redirect,
    send,
    served,
    write_kernel,
)
from tests.support.toolchain import lay_out
from whisper_npu.apps.cli import run
from whisper_npu.errors import KernelManifestError, UsageError, WhisperNpuError
from whisper_npu.kernels import registry
from whisper_npu.kernels.build import DesignSource, build
from whisper_npu.kernels.fetch import (
    FetchedKernel,
    InstallError,
    MissingFileError,
    SetServer,
    UnreachableError,
    fetch,
    origin_of,
)
from whisper_npu.kernels.published import (
    DamagedSetError,
    ForeignKernelError,
    KernelSetError,
    pack,
)
from whisper_npu.kernels.signature import SignatureError, public_keys
from whisper_npu.kernels.toolchain import G1, G4
from whisper_npu.kernels.tools import Toolchain
from whisper_npu.npu.artifacts import find_kernel
from whisper_npu.npu.options import NpuOptions
from whisper_npu.npu.targets import NPU1
from whisper_npu.npu.xrt.device import open_npu
from whisper_npu.ops import Matmul

GEMM = "gemm_96x64x48_1536x384x384"
NAMES = sorted([GEMM, MATMUL_64X512.name, MATMUL_64X64.name])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("WHISPER_NPU_KERNELS_FROM", raising=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel folder, as builds leave it."""
    folder = tmp_path_factory.mktemp("built")
    gemm = registry.contract_named(GEMM, NPU1)
    assert gemm
    for contract in (MATMUL_64X64, MATMUL_64X512, gemm):
        write_kernel(folder, contract)
    return folder


@pytest.fixture
def kernel_set(built: Path, tmp_path: Path) -> Path:
    assert pack(built, tmp_path / "set") == NAMES
    return tmp_path / "set"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A kernel folder with one kernel that the set has too, built otherwise, and one of the user's own."""
    folder = tmp_path / "kernels"
    change_manifest(write_kernel(folder, MATMUL_64X64), tools={"aiecc": "older"})
    (folder / "my_kernel").mkdir()
    (folder / "my_kernel" / "notes").write_text("mine")
    return folder


@pytest.fixture
def stand_in_tools(tmp_path: Path) -> Toolchain:
    lay_out(tmp_path / "site-packages", G4.pair)
    return replace(Toolchain.find({}, [tmp_path / "site-packages"]), xclbinutil=tmp_path / "xclbinutil")


def refused(origin: str, folder: Path, error: type[WhisperNpuError], said: str, timeout: float = 10) -> None:
    """One line that says why, and the kernel folder is as it was."""
    before = files(folder)
    with pytest.raises(error, match=said) as caught:
        fetch(origin_of(origin, timeout), folder)
    assert type(caught.value) is error
    assert len(str(caught.value).splitlines()) == 1
    assert files(folder) == before
    assert sorted(os.listdir(folder)) == [MATMUL_64X64.name, "my_kernel"]


def in_both_ways(kernel_set: Path, folder: Path, error: type[WhisperNpuError], said: str) -> None:
    refused(str(kernel_set), folder, error, said)
    with served(kernel_set) as (address, _):
        refused(address, folder, error, said)


# --- What works ---------------------------------------------------------------------------------------------


def test_from_a_build_to_a_kernel_that_loads(tmp_path: Path, stand_in_tools: Toolchain) -> None:
    """Built by stand-ins of the tools, packed, served, fetched."""
    design = DesignSource.of(MATMUL_64X64)
    build([design], tmp_path / "built", tools=stand_in_tools)
    pack(tmp_path / "built", tmp_path / "set")
    with served(tmp_path / "set") as (address, _):
        fetch(origin_of(address), tmp_path / "kernels")
    assert files(tmp_path / "kernels") == files(tmp_path / "built")
    found = find_kernel(MATMUL_64X64, [tmp_path / "kernels"])
    assert found.instructions == (tmp_path / "built" / design.name / design.instructions).read_bytes()


@pytest.mark.parametrize("by_network", [False, True])
def test_a_set_is_installed_beside_what_is_there(
    kernel_set: Path, built: Path, folder: Path, by_network: bool
) -> None:
    with served(kernel_set) as (address, _):
        done = fetch(origin_of(address if by_network else str(kernel_set)), folder)
    assert done == [FetchedKernel(name, folder / name, is_new=True) for name in NAMES]
    assert files(folder) == {**files(built), "my_kernel/notes": b"mine"}
    for name in NAMES:
        contract = registry.contract_named(name, NPU1)
        assert contract
        assert find_kernel(contract, [folder]).folder == folder / name


def test_what_is_there_is_not_fetched_again(kernel_set: Path, folder: Path) -> None:
    fetch(origin_of(str(kernel_set)), folder)
    (folder / GEMM / f"{GEMM}.xclbin").write_bytes(b"half")
    with served(kernel_set) as (address, asked):
        done = fetch(origin_of(address + "/"), folder)
    assert [kernel.outcome for kernel in done] == ["fetched", "up to date", "up to date"]
    assert asked == [
        "SHA256SUMS",
        "kernels.json",
        *(f"{GEMM}.{end}" for end in ("xclbin", "insts.bin", "manifest.json")),
    ]


def test_fetched_kernels_multiply(
    kernel_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line to a product on the NPU, whose pyxrt is a fake."""
    kernels = tmp_path / "new" / "kernels"
    monkeypatch.setenv("WHISPER_NPU_KERNELS", str(kernels))
    with served(kernel_set) as (address, _):
        monkeypatch.setenv("WHISPER_NPU_KERNELS_FROM", address)
        assert run(["kernels", "fetch"]) == 0
        out, err = capsys.readouterr()
        assert re.fullmatch(rf"whisper-npu: fetching 3 of 3 kernels, \d\.\d MB, from {address}\n", err)
        assert f"{GEMM}: fetched, {kernels / GEMM}\n" in out
        assert f"3 kernels, each as SHA256SUMS of {address} and this version say; no signature checked" in out
        assert "Nobody has run these kernels on a chip yet" in out
    fake = FakeXrt()
    monkeypatch.setitem(sys.modules, "pyxrt", fake.module)
    root = stand_in_kernels.write_npu(tmp_path / "root")
    rng = np.random.default_rng(0)
    a = rng.integers(-4, 5, (70, 64)).astype(np.float32)
    b = rng.integers(-4, 5, (64, 512)).astype(np.float32)
    with open_npu(NpuOptions(kernel_folders=(kernels,)), root=root) as opened:
        npu = opened.prepared(kernel=MATMUL_64X512.name)
        c = np.empty((70, 512), np.float32)
        fake.pop_counts()
        npu.run(Matmul(70, 64, 512), {"a": a, "b": b, "c": c})
        assert fake.pop_counts().dispatches == 2
    assert np.array_equal(c, a @ b)


@pytest.mark.parametrize("times", [1, 5])
def test_redirects_to_http_are_followed(kernel_set: Path, folder: Path, times: int) -> None:
    def hop(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        done = int(handler.path.split("/")[1]) if handler.path[1].isdigit() else 0
        if done == times:
            return send(handler, content)
        return redirect(f"/{done + 1}/kernels.json")(handler, content)

    with served(kernel_set, {"kernels.json": hop}) as (address, asked):
        assert len(fetch(origin_of(address), folder)) == 3
    assert asked.count("kernels.json") == 1 + times


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({}, True),
        ({"sources": {"b.mlir": "sha256:1", "matmul.cc": "sha256:0"}}, True),  # another size of product
        ({"sources": {"a.mlir": "sha256:0", "matmul.cc": "sha256:1"}}, False),
        ({"tools": {"aiecc": "of another release"}}, False),
        ({"target": "npu1_2col"}, False),
    ],
)
def test_kernels_of_different_builds_share_no_xclbin(
    tmp_path: Path, change: dict[str, Any], shared: bool
) -> None:
    """A fetched one and one that was built here: the tools of each say where its buffers lie."""
    overlays = []
    for folder, changes in ((tmp_path / "a", {}), (tmp_path / "b", change)):
        common = {"sources": {"a.mlir": "sha256:0", "matmul.cc": "sha256:0"}}
        change_manifest(write_kernel(folder, MATMUL_64X512), **{**common, **changes})
        overlays.append(find_kernel(MATMUL_64X512, [folder]).overlay)
    assert (overlays[0] == overlays[1]) is shared


# --- Sets that are wrong ------------------------------------------------------------------------------------


def test_a_wrong_hash_installs_nothing(kernel_set: Path, folder: Path) -> None:
    name = f"{NAMES[-1]}.insts.bin"  # the last kernel, when the others are there already
    content = (kernel_set / name).read_bytes()
    change(kernel_set, name, bytes([content[0] ^ 1]) + content[1:], resum=False)
    said = rf"{name} of \S+ has sha256 \w+\.\.\., its SHA256SUMS says"
    in_both_ways(kernel_set, folder, DamagedSetError, said)


@pytest.mark.parametrize("name", [f"{GEMM}.xclbin", f"{GEMM}.manifest.json", "kernels.json"])
def test_half_a_file_installs_nothing(kernel_set: Path, folder: Path, name: str) -> None:
    content = (kernel_set / name).read_bytes()
    change(kernel_set, name, content[: len(content) // 2], resum=False)
    in_both_ways(kernel_set, folder, DamagedSetError, f"{name} of .* has sha256 .*: half a file")


@pytest.mark.parametrize("name", ["SHA256SUMS", f"{GEMM}.xclbin"])
def test_a_connection_that_breaks_off(kernel_set: Path, folder: Path, name: str) -> None:
    def break_off(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        send(handler, content[: len(content) // 2], announced=len(content))
        handler.close_connection = True

    with served(kernel_set, {name: break_off}) as (address, _):
        refused(address, folder, DamagedSetError, rf"{name} broke off after \d+ of [\d,]+ bytes: try again")


@pytest.mark.parametrize("name", ["SHA256SUMS", "kernels.json", f"{GEMM}.insts.bin"])
def test_a_missing_file(kernel_set: Path, folder: Path, name: str) -> None:
    (kernel_set / name).unlink()
    refused(str(kernel_set), folder, MissingFileError, f"has no file {name}: it is no whole set")
    with served(kernel_set) as (address, _):
        refused(address, folder, MissingFileError, rf"{name} is not there \(404 .*a set's address\?")


def test_a_file_that_the_list_lacks(kernel_set: Path, folder: Path) -> None:
    sums = (kernel_set / "SHA256SUMS").read_text().splitlines(keepends=True)
    (kernel_set / "SHA256SUMS").write_text("".join(line for line in sums if f"{GEMM}.xclbin" not in line))
    in_both_ways(kernel_set, folder, DamagedSetError, f"SHA256SUMS of .* does not list {GEMM}.xclbin")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "SHA256SUMS of .* is empty: it is no list of hashes; is this a set's"),
        ("\n", "begins with an empty line: it is no list of hashes"),
        ("ab  kernels.json\n", "begins with 'ab  kernels.json': it is no list of hashes"),
        (f"{'a' * 64}\n", "line 1 of SHA256SUMS .* not a sha256"),
        ("a" * 40, "begins with .* it is no list of hashes"),
        ("a" * 64, "breaks off in its last line"),
        (f"{'a' * 64}  ../../x\n", r"line 1 of SHA256SUMS of .* '\w+  \.\./\.\./x'"),
        (f"{'a' * 64}  kernels.json\n{'b' * 64}  kernels.json\n", "line 2 of SHA256SUMS"),
        (f"{'a' * 64}  kernels.json\n{'b' * 64}  NAME", "breaks off in its last line"),
        ("\0\n", "it is no list of hashes"),
        ("<html>\n<p>Sign in</p>", "SHA256SUMS of .* begins with '<html>': it is no list of hashes; is this"),
    ],
)
def test_a_list_that_is_none(kernel_set: Path, folder: Path, content: str, said: str) -> None:
    (kernel_set / "SHA256SUMS").write_text(content)
    in_both_ways(kernel_set, folder, DamagedSetError, said)


SIZES = {"xclbin": 1, "insts.bin": 4, "manifest.json": 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kernels": {"../../x": SIZES}}, r"'\.\./\.\./x' is no name of a kernel"),
        ({"kernels": {"/etc/x": SIZES}}, "'/etc/x' is no name"),
        ({"kernels": {"..": SIZES}}, "no name of a kernel"),
        ({"kernels": {"": SIZES}}, "no name of a kernel"),
        ({"kernels": {"x" * 121: SIZES}}, "no name of a kernel: .* at most 120"),
        ({"kernels": {GEMM: {**SIZES, "../x": 1}}}, "must have the bytes of xclbin, insts.bin, manifest"),
        ({"kernels": {GEMM: {"xclbin": 1}}}, "must have the bytes of"),
        ({"kernels": {GEMM: {**SIZES, "xclbin": 1 << 40}}}, "1099511627776 bytes: .* at most 16,777,216"),
        ({"kernels": {GEMM: {**SIZES, "xclbin": -1}}}, "has -1 bytes: at least 1"),
        ({"kernels": {GEMM: {**SIZES, "xclbin": True}}}, "has True bytes"),
        ({"kernels": {}}, "it must name 1 to 300 kernels"),
        ({"kernels": {f"k{i}": SIZES for i in range(301)}}, "it must name 1 to 300 kernels"),
        ({"kernels": [GEMM]}, "it must name 1 to 300 kernels"),
        ({"schema": "other"}, "its schema is 'other', not whisper-npu-kernel-set"),
    ],
)
def test_an_index_that_is_none(kernel_set: Path, folder: Path, changes: dict[str, Any], said: str) -> None:
    index = json.loads((kernel_set / "kernels.json").read_text())
    change(kernel_set, "kernels.json", json.dumps({**index, **changes}).encode())
    in_both_ways(kernel_set, folder, DamagedSetError, said)


@pytest.mark.parametrize("content", [b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_an_index_that_is_no_json(kernel_set: Path, folder: Path, content: bytes) -> None:
    change(kernel_set, "kernels.json", content)
    in_both_ways(kernel_set, folder, DamagedSetError, r"kernels\.json of .* is no JSON")


def test_a_set_of_another_schema_version(kernel_set: Path, folder: Path) -> None:
    index = json.loads((kernel_set / "kernels.json").read_text())
    change(kernel_set, "kernels.json", json.dumps({**index, "schema_version": 2}).encode())
    in_both_ways(kernel_set, folder, ForeignKernelError, "has schema version 2, this program reads 1: fetch")


def test_a_file_larger_than_the_index_says(kernel_set: Path, folder: Path) -> None:
    name = f"{GEMM}.xclbin"
    size = (kernel_set / name).stat().st_size
    change(kernel_set, name, b"x" * (size + 1))
    in_both_ways(kernel_set, folder, DamagedSetError, f"{name} has more than the {size} bytes that it may")
    change(kernel_set, name, b"x" * (size - 1))
    in_both_ways(kernel_set, folder, DamagedSetError, f"{name} of .* has {size - 1} bytes, its kernels.json")


def test_a_list_without_end(kernel_set: Path, folder: Path) -> None:
    (kernel_set / "SHA256SUMS").write_bytes(b"\n" * ((1 << 20) + 1))
    in_both_ways(kernel_set, folder, DamagedSetError, "SHA256SUMS has more than the 1,048,576 bytes")

    def pour(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:  # until whoever reads it hangs up
            try:
                handler.wfile.write(bytes(1 << 16))
            except OSError:
                return

    with served(kernel_set, {"SHA256SUMS": pour}) as (address, _):
        refused(address, folder, DamagedSetError, "SHA256SUMS has more than the 1,048,576 bytes")


# --- Kernels of another version -----------------------------------------------------------------------------


def repacked(kernel_set: Path, place: str, **changes: Any) -> None:
    """A set whose maker's program differs: manifest, index and list agree with each other."""
    name = f"{place}.manifest.json"
    manifest = json.loads((kernel_set / name).read_text())
    content = json.dumps({**manifest, **changes}).encode()
    change(kernel_set, name, content)
    index = json.loads((kernel_set / "kernels.json").read_text())
    index["kernels"][place]["manifest.json"] = len(content)
    change(kernel_set, "kernels.json", json.dumps(index).encode())


def manifest_of(kernel_set: Path, name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((kernel_set / f"{name}.manifest.json").read_text())
    return manifest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": 2}, "its manifest has version 2, this program reads"),
        ({"contract": {"k": 65}}, "promises something else than this program's"),
        ({"outputs": {}}, r"\.xclbin is not the file that was built"),
    ],
)
def test_a_manifest_that_loading_would_refuse(
    kernel_set: Path, folder: Path, changes: dict[str, Any], said: str
) -> None:
    repacked(kernel_set, GEMM, **changes)
    remedy = f"take the set that was published for whisper-npu .*, or whisper-npu kernels build {GEMM}"
    in_both_ways(kernel_set, folder, KernelManifestError, f"kernel {GEMM} in .*set.* {said}.*{remedy}|{said}")


@pytest.mark.parametrize("field", ["design", "operands", "overlay", "sources"])
def test_a_kernel_built_from_something_else(kernel_set: Path, folder: Path, field: str) -> None:
    there = manifest_of(kernel_set, GEMM)[field]
    if field == "overlay":
        other: Any = {**there, "sha256": "sha256:" + "0" * 64}
    elif field == "sources":
        other = {**there, "matmul.cc": "sha256:" + "0" * 64}
    else:
        other = there[1:]
    repacked(kernel_set, GEMM, **{field: other})
    said = f"kernel {GEMM} in .* is refused: it was built with other {field} than those of whisper-npu"
    in_both_ways(kernel_set, folder, ForeignKernelError, said)


@pytest.mark.parametrize("toolchain", ["G9", None, 4])
def test_a_toolchain_that_this_version_does_not_know(
    kernel_set: Path, folder: Path, toolchain: object
) -> None:
    repacked(kernel_set, GEMM, toolchain=toolchain)
    said = f"{GEMM} in .* is refused: it was built with toolchain '{toolchain}', whisper-npu .* knows G1, G2"
    in_both_ways(kernel_set, folder, ForeignKernelError, said)


def test_a_design_is_compared_in_the_spelling_of_its_toolchain(
    built: Path, tmp_path: Path, folder: Path
) -> None:
    shutil.copytree(built, tmp_path / "built")
    gemm = registry.contract_named(GEMM, NPU1)
    assert gemm
    older = DesignSource.of(gemm, G1).promises()
    assert older["sources"] != DesignSource.of(gemm, G4).promises()["sources"]
    change_manifest(tmp_path / "built" / GEMM, **older)
    pack(tmp_path / "built", tmp_path / "set")
    assert fetch(origin_of(str(tmp_path / "set")), folder)[0].outcome == "fetched"
    change_manifest(folder / GEMM, toolchain="G4")
    with pytest.raises(ForeignKernelError, match="with other overlay than"):
        pack(folder, tmp_path / "set")


@pytest.mark.parametrize("changes", [{"target": "npu9"}, {"target": None}])
def test_a_kernel_for_another_chip(kernel_set: Path, folder: Path, changes: dict[str, Any]) -> None:
    repacked(kernel_set, GEMM, **changes)
    in_both_ways(kernel_set, folder, ForeignKernelError, "for '?(npu9|None)'?, which whisper-npu .* not know")


def test_a_kernel_that_this_version_does_not_know(kernel_set: Path, folder: Path) -> None:
    index = json.loads((kernel_set / "kernels.json").read_text())
    index["kernels"]["conv_3x3"] = index["kernels"][GEMM]
    sums = (kernel_set / "SHA256SUMS").read_text()
    for line in sums.splitlines():
        if f"  {GEMM}." in line:
            sums += line.replace(GEMM, "conv_3x3") + "\n"
    (kernel_set / "SHA256SUMS").write_text(sums)
    change(kernel_set, "kernels.json", json.dumps(index).encode())
    for path in list(kernel_set.glob(f"{GEMM}.*")):
        shutil.copy(path, kernel_set / path.name.replace(GEMM, "conv_3x3"))
    in_both_ways(kernel_set, folder, ForeignKernelError, "has a kernel 'conv_3x3' .* does not know")


def test_an_installed_kernel_of_an_older_version_is_refused_too(kernel_set: Path, folder: Path) -> None:
    """It is not fetched, as it is what the set has; but neither is it what this version would plan with."""
    fetch(origin_of(str(kernel_set)), folder)
    repacked(kernel_set, GEMM, sources={})
    shutil.copy(kernel_set / f"{GEMM}.manifest.json", folder / GEMM / "manifest.json")
    with pytest.raises(ForeignKernelError, match="other sources"):
        fetch(origin_of(str(kernel_set)), folder)


# --- Servers that are away ----------------------------------------------------------------------------------


def test_nobody_listens(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    refused(f"http://127.0.0.1:{port}", folder, UnreachableError, "cannot be fetched: .*refused.*; try again")


def test_no_such_host(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: Any, **named: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = r"set/SHA256SUMS cannot be fetched: .*Name or service not known"
    refused("http://kernels.invalid/set", folder, UnreachableError, said)


@pytest.mark.parametrize("name", ["SHA256SUMS", f"{GEMM}.xclbin"])
@pytest.mark.parametrize("after", [0, 10])
def test_a_server_that_falls_silent(kernel_set: Path, folder: Path, name: str, after: int) -> None:
    asked_once = threading.Event()

    def fall_silent(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        if after:
            send(handler, content[:after], announced=len(content))
        asked_once.wait(60)

    with served(kernel_set, {name: fall_silent}) as (address, _):
        refused(address, folder, UnreachableError, rf"{name} .* no answer within 0\.3 s; try again", 0.3)
        asked_once.set()


def test_a_server_that_sends_a_byte_now_and_then(kernel_set: Path, folder: Path) -> None:
    enough = threading.Event()

    def drip(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not enough.wait(0.01):
            try:
                handler.wfile.write(b"0")
                handler.wfile.flush()
            except OSError:
                return

    with served(kernel_set, {"SHA256SUMS": drip}) as (address, _):
        said = r"only \d+ bytes came within 1 s; .* --timeout"
        refused(address, folder, UnreachableError, said, 0.1)
        enough.set()


def test_a_server_that_hangs_up(kernel_set: Path, folder: Path) -> None:
    def hang_up(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.close_connection = True

    with served(kernel_set, {"kernels.json": hang_up}) as (address, _):
        refused(address, folder, UnreachableError, "kernels.json cannot be fetched: Remote end closed")


@pytest.mark.parametrize("code", [403, 500, 503])
def test_a_server_that_refuses(kernel_set: Path, folder: Path, code: int) -> None:
    faults = {f"{GEMM}.xclbin": lambda handler, _: handler.send_error(code)}
    with served(kernel_set, faults) as (address, _):
        refused(address, folder, UnreachableError, f"cannot be fetched: the server answers {code}")


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://x/", "//[", "kernels.json"]
)
def test_redirects_that_are_not_followed(kernel_set: Path, folder: Path, to: str) -> None:
    with served(kernel_set, {"kernels.json": redirect(to)}) as (address, _):
        refused(address, folder, UnreachableError, r"kernels\.json cannot be fetched: ")


def test_redirects_come_to_an_end(kernel_set: Path, folder: Path) -> None:
    def on_and_on(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        redirect(f"{handler.path.removesuffix('kernels.json')}x/kernels.json")(handler, content)

    with served(kernel_set, {"kernels.json": on_and_on}) as (address, asked):
        refused(
            address,
            folder,
            UnreachableError,
            "cannot be fetched: it redirects in a circle, or more than 5 times; is this",
        )
    assert asked.count("kernels.json") == 6


def test_https_is_not_left() -> None:
    import urllib.request
    from email.message import Message
    from urllib.error import HTTPError

    from whisper_npu.kernels.fetch import _Redirects

    request = urllib.request.Request("https://example.invalid/a")
    with pytest.raises(HTTPError, match="not followed"):
        _Redirects().redirect_request(request, None, 302, "", Message(), "http://example.invalid/a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "origin",
    [
        "file:///etc",
        "file:/etc",
        "ftp://x/y",
        "data:,x",
        "http://",
        "https:kernels",
        "http://x/a b",
        "http://[x",
    ],
)
def test_other_addresses_are_wrong_usage(origin: str) -> None:
    with pytest.raises(UsageError, match="give a folder, or http://"):
        origin_of(origin)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("http://x/?y", "without \\? and #"),
        ("http://x/?", "without \\? and #"),
        ("http://x/#y", "without \\? and #"),
        ("http://x:port/", "port .* must be a number from 1 to 65535"),
        ("http://x:99999/", "port .* must be a number from 1 to 65535"),
        ("http://x:0/", "port .* must be a number from 1 to 65535"),
        ("127.0.0.1:8765/ok", "there is no such folder, and an address begins with http://"),
        ("", "there is no such folder"),
        (" ", "there is no such folder"),
    ],
)
def test_an_address_says_what_is_wrong_with_it(origin: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        origin_of(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "http://user:s3cret@x/y",
        "https://s3cret@x/y",
        "http://user:s3cret@x:99999/y",
        "http://user:s3c/s3cret@x/y",
        "ftp://user:s3cret@x/y",
        "user:s3cret@x/y",
        "1user:s3cret@x/y",
        "http://x/y?token=s3cret",
        "http://x/y#s3cret",
        "http://x/y ?token=s3cret",
        "http://user:s3\ncret:s3cret@x/y",
    ],
)
def test_credentials_are_never_printed(origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "fetch", "--from", origin]) == 2
    assert "s3c" not in capsys.readouterr().err


@pytest.mark.parametrize("scheme", ["ftp", "http"])
def test_credentials_of_a_redirect_are_not_printed_either(
    kernel_set: Path, folder: Path, scheme: str
) -> None:
    hop = redirect(f"{scheme}://user:s3cret@host/x?token=s3cret")
    with served(kernel_set, {"kernels.json": hop}) as (address, _):
        said = rf"it redirects to {scheme}://\.\.\.@host/x\?\.\.\., which is not followed"
        refused(address, folder, UnreachableError, said)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere': there is no such folder"):
        origin_of(str(tmp_path / "nowhere"))


# --- The kernel folder --------------------------------------------------------------------------------------


def fail_at_a_move(failing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    moves, rename = iter(range(100)), Path.rename

    def failing_rename(self: Path, to: Path) -> Path:
        if next(moves) == failing:
            raise OSError(28, "No space left on device")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing_rename)


@pytest.mark.parametrize("failing", range(4))
def test_a_failure_while_kernels_are_moved_moves_all_back(
    kernel_set: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Four moves: three new kernels, and one that was there."""
    before = files(folder)
    fail_at_a_move(failing, monkeypatch)
    said = "kernel folder .* cannot be written .No space left .* and is as it was; set WHISPER_NPU_KERNELS"
    with pytest.raises(InstallError, match=said):
        fetch(origin_of(str(kernel_set)), folder)
    assert files(folder) == before
    assert sorted(os.listdir(folder)) == [MATMUL_64X64.name, "my_kernel"]


def test_a_kernel_folder_that_cannot_be(kernel_set: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InstallError, match="file/kernels cannot be written"):
        fetch(origin_of(str(kernel_set)), tmp_path / "file" / "kernels")


# --- Making a set -------------------------------------------------------------------------------------------


def test_the_list_is_sha256sums(kernel_set: Path) -> None:
    lines = (kernel_set / "SHA256SUMS").read_text().splitlines()
    listed = [line[66:] for line in lines]
    assert sorted([*listed, "SHA256SUMS"]) == sorted(os.listdir(kernel_set))
    assert f"{NAMES[1]}.manifest.json" in listed
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=kernel_set, check=True)


def test_the_readme_tells_what_objdump_counted_and_what_nobody_did(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "built")
    loop = {"bundles": 18, "vmacs": 9}
    program = {"program_bytes": 3216, "inner_loop": loop, "spills": 2}
    change_manifest(tmp_path / "built" / GEMM, core_programs={"matmul_96x64x48.o": program})
    pack(tmp_path / "built", tmp_path / "set")
    text = (tmp_path / "set" / "README.md").read_text()
    cells = re.search(rf"\| {GEMM} +\| (.*) \|", text)
    assert cells
    counted = ["matmul_96x64x48.o", f"3,216 of {NPU1.core.program_bytes:,}", "18", "9", "0.50", "2"]
    assert [cell.strip() for cell in cells[1].split("|")] == counted
    assert re.search(r"\| matmul_64x64 +\| - +\|( +- \|){5}", text)
    assert "Nobody has run these kernels on a chip yet" in text


def test_a_set_replaces_a_set_and_nothing_else(built: Path, kernel_set: Path, tmp_path: Path) -> None:
    (kernel_set / "old").write_text("")
    pack(built, kernel_set)
    assert not (kernel_set / "old").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("mine")
    with pytest.raises(KernelSetError, match="other is there already, and is no set of kernels"):
        pack(built, tmp_path / "other")
    with pytest.raises(KernelSetError, match=r"no built kernel in .*nowhere: whisper-npu kernels build"):
        pack(tmp_path / "nowhere", tmp_path / "set2")


@pytest.mark.parametrize("failing", range(2))
def test_a_set_stays_where_another_cannot_replace_it(
    built: Path, kernel_set: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Two moves: the set that was there, and the new one."""
    (kernel_set / "old").write_text("")
    around, before = sorted(os.listdir(kernel_set.parent)), files(kernel_set)
    fail_at_a_move(failing, monkeypatch)
    with pytest.raises(KernelSetError, match=r"cannot be written .No space left .* and is as it was"):
        pack(built, kernel_set)
    assert files(kernel_set) == before
    assert sorted(os.listdir(kernel_set.parent)) == around


def test_a_kernel_that_nobody_could_fetch_is_not_packed(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "built")
    change_manifest(tmp_path / "built" / GEMM, sources={})
    with pytest.raises(ForeignKernelError, match=f"{GEMM} in .* other sources"):
        pack(tmp_path / "built", tmp_path / "set")
    assert not (tmp_path / "set").exists()


# --- Signatures ---------------------------------------------------------------------------------------------

needs_ssh_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")


def new_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a b", "-f", str(path)], check=True)
    return path


@needs_ssh_keygen
def test_signatures_are_checked(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key, other = new_key(tmp_path / "key"), new_key(tmp_path / "other")
    monkeypatch.setenv("WHISPER_NPU_KERNELS", str(built))
    kernel_set = tmp_path / "set"
    assert run(["kernels", "pack", str(kernel_set), "--key", str(key)]) == 0
    assert capsys.readouterr().out == f"{kernel_set}: 3 kernels, signed.\n"

    monkeypatch.setenv("WHISPER_NPU_KERNELS", str(tmp_path / "kernels"))
    with served(kernel_set) as (address, _):
        command = ["kernels", "fetch", "--from", address, "--signer"]
        assert run([*command, str(other) + ".pub"]) == 1
        assert "error: the signature does not hold: ssh-keygen says" in capsys.readouterr().err
        assert not (tmp_path / "kernels").exists()
        both = tmp_path / "both.pub"
        both.write_text(f"# ours\n{Path(f'{other}.pub').read_text()}{Path(f'{key}.pub').read_text()}")
        assert run([*command, str(both)]) == 0
        assert f"signed by a key of {both}." in capsys.readouterr().out

        change(kernel_set, "README.md", b"other")  # another list than the one that was signed
        assert run([*command, f"{key}.pub"]) == 1
        assert "the signature does not hold" in capsys.readouterr().err
        (kernel_set / "SHA256SUMS.sig").write_bytes(b"\0")
        assert run([*command, f"{key}.pub"]) == 1
        assert "the signature does not hold" in capsys.readouterr().err
        (kernel_set / "SHA256SUMS.sig").unlink()
        assert run([*command, f"{key}.pub"]) == 1
        assert "is not signed (it has no SHA256SUMS.sig), and --signer asks" in capsys.readouterr().err
    command = ["kernels", "fetch", "--from", str(kernel_set), "--signer"]
    assert run([*command, f"{key}.pub"]) == 1
    assert f"{kernel_set} is not signed" in capsys.readouterr().err


@needs_ssh_keygen
def test_what_a_key_signed_for_another_purpose_does_not_count(built: Path, tmp_path: Path) -> None:
    key, kernel_set = new_key(tmp_path / "key"), tmp_path / "set"
    pack(built, kernel_set)
    signing = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", "git", str(kernel_set / "SHA256SUMS")]
    subprocess.run(signing, check=True)
    trusted = public_keys(Path(f"{key}.pub"))
    with pytest.raises(SignatureError, match="does not hold"):
        fetch(origin_of(str(kernel_set)), tmp_path / "kernels", trusted=trusted)


def test_without_ssh_keygen_a_signer_is_an_error(
    kernel_set: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kernel_set / "SHA256SUMS.sig").write_text("signature")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SignatureError, match="need ssh-keygen, which is not on PATH: install openssh-client"):
        fetch(origin_of(str(kernel_set)), folder, trusted=["ssh-ed25519 AAAA"])
    assert sorted(os.listdir(folder)) == [MATMUL_64X64.name, "my_kernel"]


@pytest.mark.parametrize(
    "content",
    ["", "# only a comment\n", "-----BEGIN OPENSSH PRIVATE KEY", "cert-authority ssh-rsa A\n"],
)
def test_a_file_that_holds_no_public_key(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.pub").write_text(content)
    with pytest.raises(SignatureError, match=r"key\.pub holds .*no public key.*: give a \.pub"):
        public_keys(tmp_path / "key.pub")
    with pytest.raises(SignatureError, match=r"nowhere\.pub cannot be read"):
        public_keys(tmp_path / "nowhere.pub")


# --- The command --------------------------------------------------------------------------------------------


def test_there_is_no_address_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kernels", "fetch"]) == 2
    error = capsys.readouterr().err
    assert "this project publishes no kernels of its own: give --from URL or FOLDER" in error
    assert run(["kernels", "fetch", "--from", "x", "--timeout", "0"]) == 2
    assert "--timeout 0: give seconds, more than 0" in capsys.readouterr().err
    assert run(["kernels", "fetch", "--from", "file:///etc"]) == 2


def test_servers_have_no_slash_at_the_end() -> None:
    assert origin_of("https://x/y/") == SetServer("https://x/y", 30.0)
