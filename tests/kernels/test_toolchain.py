"""The generations of the toolchain: which one a version belongs to, and what each is told apart by."""

from __future__ import annotations

import re

import pytest

from whisper_npu.kernels.toolchain import (
    GENERATIONS,
    NEWEST,
    Acquire,
    UnknownGenerationError,
    UnsupportedReleaseError,
    generation_named,
    generation_of,
)


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


def test_an_unknown_name_is_a_usage_error_that_names_all():
    with pytest.raises(UnknownGenerationError, match=r"'G9'.*G1 .*1\.3\.1.*G2.*G3.*G4 .*1\.4\.5") as error:
        generation_named("G9")
    assert error.value.exit_code == 2


def test_the_pair_is_installed_by_one_command_with_both_pages_of_wheels():
    assert NEWEST.pair.install_command == (
        "pip install mlir_aie==1.4.5 -f https://github.com/Xilinx/mlir-aie/releases/expanded_assets/v1.4.5 "
        "llvm-aie==22.0.0.2026090701+3e93bf7b -f https://github.com/Xilinx/llvm-aie/releases/expanded_assets/nightly"
    )


def test_no_two_generations_are_alike():
    told_apart = {(g.acquire, g.rtp_write, g.make, g.compile_with_peano) for g in GENERATIONS.values()}
    assert len(told_apart) == 4
    assert [g.name for g in GENERATIONS.values() if g.acquire is Acquire.OBJECT] == ["G4"]
