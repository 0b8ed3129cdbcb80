"""The generations of the toolchain: their releases, and designs in the spelling of each."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pytest

from tests.support.verifier_designs import broken, one_core, runtime_k
from whisper_npu.encoder import encoder_ops
from whisper_npu.kernels import registry
from whisper_npu.kernels.build import array_part
from whisper_npu.kernels.gemm.kernel import GEMM_TILE, gemm
from whisper_npu.kernels.norm.kernel import norm
from whisper_npu.kernels.toolchain import (
    GENERATIONS,
    NEWEST,
    Acquire,
    UnknownGenerationError,
    UnsupportedReleaseError,
    generation_named,
    generation_of,
    is_release,
)
from whisper_npu.kernels.verifier import DesignError, check_structure, parse
from whisper_npu.kernels.verifier.design import WriteParameter
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.planner import choose
from whisper_npu.npu.targets import NPU1
from whisper_npu.released import released_dimensions

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("generation", GENERATIONS.values(), ids=GENERATIONS)
def test_every_release_of_a_generation_is_found_by_its_version(generation):
    for release in generation.releases:
        assert generation_of(release) is generation
        assert generation_of(f"v{release}") is generation
    assert generation.pair.mlir_aie.version == generation.releases[-1]
    assert generation_named(generation.name) is generation


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("1.3.2.dev115+g2401e53", "G1"),
        ("1.4.3.dev12+gabc", "G4"),
        ("1.4", "G2"),
        ("1.5.0", "G4"),
        ("2.0.1", "G4"),
    ],
)
def test_versions_between_and_after_the_listed_ones_belong_somewhere(version, name):
    assert generation_of(version).name == name


@pytest.mark.parametrize("version", ["1.3.0", "1.2.1", "0.0.1.2026050821+b37dc33", "", "latest"])
def test_a_version_of_no_generation_is_an_error_that_names_it(version):
    with pytest.raises(UnsupportedReleaseError, match=re.escape(version or "no version")):
        generation_of(version)


def test_builds_between_releases_are_no_releases():
    assert all(is_release(release) for generation in GENERATIONS.values() for release in generation.releases)
    assert all(map(is_release, ["1.4", "v1.5.0", "1.4.5+local"]))
    assert not any(map(is_release, ["1.4.3.dev12+gabc", "0.0.1.2026050821+b37dc33", "latest", ""]))


def test_an_unknown_name_is_a_usage_error_that_names_all():
    with pytest.raises(UnknownGenerationError, match=r"'G9'.*G1 .*1\.3\.1.*G2.*G3.*G4 .*1\.4\.5") as error:
        generation_named("G9")
    assert error.value.exit_code == 2


def test_the_pair_is_installed_by_one_command_with_both_pages_of_wheels():
    assert NEWEST.pair.install_command == (
        "pip install mlir_aie==1.4.5 -f https://github.com/Xilinx/mlir-aie/releases/expanded_assets/v1.4.5 "
        "llvm-aie==22.0.0.2026090701+3e93bf7b -f https://github.com/Xilinx/llvm-aie/releases/expanded_assets/nightly"
    )


@pytest.mark.parametrize("page", ["whisper_npu/kernels/README.md", "docs/hardware.md"])
def test_the_pages_say_what_the_table_says(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    newest = [NEWEST.pair.mlir_aie, NEWEST.pair.llvm_aie]
    assert all(" ".join(package.pip_arguments) in text for package in newest)
    for g in GENERATIONS.values() if page.endswith("README.md") else ():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {g.name} |")]
        assert g.releases[0] in row
        assert g.releases[-1] in row
        assert g.pair.llvm_aie.version in row
        assert ("object itself" in row) == (g.acquire is Acquire.OBJECT)


def test_no_two_generations_are_alike():
    told_apart = {(g.acquire, g.rtp_write, g.make, g.compile_with_peano) for g in GENERATIONS.values()}
    assert len(told_apart) == 4
    assert [g.name for g in GENERATIONS.values() if g.acquire is Acquire.OBJECT] == ["G4"]


# --- Every design in every spelling -------------------------------------------------------------------------


MODELS = ("tiny", "base", "small", "medium", "large-v2", "large-v3", "large-v3-turbo")


@lru_cache
def designs_of_whisper() -> tuple[Contract, ...]:
    """What the planner chooses for every released size, and the designs of fixed sizes."""
    fixed = [c for c in registry.contracts(NPU1) if registry.family_of(c).has_design(c)]
    sizes = dict.fromkeys(map(released_dimensions, MODELS))
    chosen = [
        contract for size in sizes for contract in choose(encoder_ops(size), registry.kernels(NPU1)).contracts
    ]
    return tuple(dict.fromkeys([*fixed, *chosen]))


def spelled(contract: Contract) -> dict[str, str]:
    """Its text in each spelling, by the first generation that has it."""
    texts = {g.name: registry.design(contract, g) for g in GENERATIONS.values()}
    return {text: name for name, text in reversed(texts.items())}


@pytest.mark.parametrize("contract", designs_of_whisper(), ids=lambda contract: contract.name)
def test_every_design_is_the_same_in_every_spelling_and_within_the_limits(contract):
    first, *others = [parse(text) for text in spelled(contract)]
    check_structure(first, NPU1)
    assert others
    assert all(other == first for other in others)


def test_spellings_differ_in_acquires_only():
    contract = gemm(NPU1, 1536, 384, 384, GEMM_TILE)
    texts = {g.name: registry.design(contract, g) for g in GENERATIONS.values()}
    assert texts["G1"] == texts["G2"] == texts["G3"]

    def others(text):
        return [line for line in text.splitlines() if not re.search("acquire|subview", line)]

    assert others(texts["G3"]) == others(texts["G4"])
    assert "%tile0 = aie.objectfifo.acquire @C_L1L2_0_0(Produce, 1) : memref<96x48xf32>" in texts["G4"]
    assert "subview" not in texts["G4"]
    assert (
        "%tile0 = aie.objectfifo.subview.access %tile0.view[0] : "
        "!aie.objectfifosubview<memref<96x48xf32>> -> memref<96x48xf32>"
    ) in texts["G1"]


@pytest.mark.parametrize("generation", GENERATIONS.values(), ids=GENERATIONS)
def test_numbers_of_the_sequence_are_no_part_of_the_array(generation):
    """Designs of one overlay share an xclbin: sizes may stand in the sequence and in its data only."""
    for one, another in (
        (gemm(NPU1, 1536, 384, 384, GEMM_TILE), gemm(NPU1, 1536, 64, 1536, GEMM_TILE)),
        (norm(NPU1, 1504, 512), norm(NPU1, 48, 384)),
    ):
        texts = [registry.design(contract, generation) for contract in (one, another)]
        assert len(set(texts)) == 2
        assert len(set(map(array_part, texts))) == 1
        assert "memref.global" in texts[0]
        assert "memref.global" not in array_part(texts[0])


# --- What the parser makes of spellings ---------------------------------------------------------------------

GLOBAL = 'memref.global "private" constant @three : memref<1xi32> = dense<3>'
GET = "%three = memref.get_global @three : memref<1xi32>"
WRITE = "aiex.npu.blockwrite(%three) {address = 0 : ui32, buffer = @steps} : memref<1xi32>"
RTP_WRITE = "aiex.npu.rtp_write(@steps, 0, 3)"


def with_blockwrite(data: str = GLOBAL, get: str = GET, write: str = WRITE) -> str:
    text = broken(runtime_k(), RTP_WRITE, f"{get}\n      {write}")
    return broken(text, "aie.runtime_sequence", f"{data}\n    aie.runtime_sequence")


def writes(text: str) -> list[WriteParameter]:
    return [op for op in parse(text).sequence.ops if isinstance(op, WriteParameter)]


def test_a_blockwrite_is_the_numbers_that_it_writes():
    assert parse(with_blockwrite()) == parse(runtime_k())


def test_a_blockwrite_of_several_words_starts_at_its_address():
    data = 'memref.global "private" constant @three : memref<3xi32> = dense<[5, -6, 7]>'
    get, write = GET.replace("<1x", "<3x"), WRITE.replace("<1x", "<3x").replace("address = 0", "address = 4")
    expected = [WriteParameter("steps", 4 + i, word) for i, word in enumerate((5, -6, 7))]
    assert writes(with_blockwrite(data, get, write)) == expected
    one_for_all = [WriteParameter("steps", 4 + i, 5) for i in range(3)]
    assert writes(with_blockwrite(data.replace("[5, -6, 7]", "5"), get, write)) == one_for_all


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": ""}, "there is no memref.global @three before"),
        ({"data": GLOBAL.replace("= dense<3>", "= dense<[3, 4]>")}, "2 values for memref<1xi32>"),
        ({"data": f"{GLOBAL}\n{GLOBAL}"}, "@three is defined twice"),
        ({"data": GLOBAL.replace("i32", "bf16")}, "only rows of i32 can be written"),
        ({"data": GLOBAL.replace(" constant", "")}, "expected 'constant'"),
        ({"get": GET.replace("<1x", "<2x")}, "@three is memref<1xi32>, not memref<2xi32>"),
        ({"get": "", "write": WRITE}, "%three is not defined"),
        (
            {"write": WRITE.replace("%three", "%A").replace("<1xi32", "<384xbf16")},
            "%A is no memref.get_global",
        ),
        ({"write": WRITE.replace(", buffer = @steps", "")}, "a blockwrite without a buffer"),
        ({"write": WRITE.replace("<1xi32>", "<2xi32>")}, "%three is memref<1xi32>, not memref<2xi32>"),
    ],
)
def test_a_blockwrite_that_is_not_understood_is_refused(changes, says):
    with pytest.raises(DesignError, match=r"^line \d+: ") as error:
        parse(with_blockwrite(**changes))
    assert says in str(error.value)


PAIR = re.compile(
    r"(?P<view>%\w+) = (?P<acquire>aie\.objectfifo\.acquire @\w+\(\w+, 1\)) : .*\n"
    r" *(?P<object>%\w+) = aie\.objectfifo\.subview\.access .* -> (?P<type>.*)"
)


def as_objects(text: str) -> str:
    """The text with acquires that give the object itself."""
    return PAIR.sub(r"\g<object> = \g<acquire> : \g<type>", text)


def test_an_acquire_of_the_object_is_an_acquire_and_its_access():
    text = one_core()
    objects = as_objects(text)
    assert "subview" not in objects
    for pair in PAIR.finditer(text):
        text = text.replace(f"{pair['view']} ", f"{pair['object']}.view ")
        text = text.replace(f"{pair['view']}[", f"{pair['object']}.view[")
    assert parse(objects) == parse(text)


def of_ssa_value(text: str) -> str:
    return broken(text, RTP_WRITE, f"%n = arith.constant 3 : i32\n{RTP_WRITE.replace(', 3)', ', %n) : i32')}")


@pytest.mark.parametrize(
    "text", [runtime_k(), of_ssa_value(runtime_k()), as_objects(of_ssa_value(runtime_k()))]
)
def test_numbers_may_be_written_as_any_toolchain_wants_it(text):
    assert writes(text) == [WriteParameter("steps", 0, 3)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            as_objects(runtime_k()),
            "an rtp_write of a number is for G1, an acquire of the object before it for G4:",
        ),
        (
            broken(of_ssa_value(runtime_k()), "%n = ", f"{RTP_WRITE}\n%n = "),
            "an rtp_write of an SSA value is for G2 and G3 and G4, an rtp_write of a number before it for",
        ),
        (
            PAIR.sub(r"\g<object> = \g<acquire> : \g<type>", one_core(), count=1),
            "an acquire of a subview is for G1 and G2 and G3, an acquire of the object before it for G4:",
        ),
        (
            broken(as_objects(one_core()), "@C_L1L2(Produce, 1) :", "@C_L1L2(Produce, 2) :"),
            "2 objects of C_L1L2 at once: an acquire of the object takes 1",
        ),
        (broken(runtime_k(), RTP_WRITE, RTP_WRITE.replace("3)", "3 : i32)")), "expected ')', found ':'"),
        (of_ssa_value(runtime_k()).replace("%n) : i32", "%n)"), "expected ':'"),
        (broken(of_ssa_value(runtime_k()), "0, %n)", "0, %A)"), "%A is memref"),
    ],
)
def test_what_no_toolchain_reads_is_refused(text, says):
    with pytest.raises(DesignError, match=r"^line \d+: ") as error:
        parse(text)
    assert says in str(error.value)
