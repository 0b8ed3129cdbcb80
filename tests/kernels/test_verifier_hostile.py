"""Any text gets a verdict: a design, or one DesignError that says where; never a traceback, and no hang."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import whisper_npu
from tests.support.hostile_designs import ENDLESS, TEXTS, among_themselves, judge
from tests.support.mutated_designs import RIGHT, mutated, nonsense, verdict
from tests.support.verifier_designs import NumpyFunctions, one_core
from whisper_npu.errors import shown
from whisper_npu.kernels.verifier import DesignError, LoadedDesign, parse
from whisper_npu.npu.targets import NPU1


@pytest.mark.parametrize("kind", TEXTS, ids=lambda kind: kind.replace(" ", "-"))
def test_a_text_that_asks_too_much_gets_its_verdict(kind: str) -> None:
    text, says = TEXTS[kind]
    if not says:
        judge(text)
        return
    with pytest.raises(DesignError) as raised:
        judge(text)
    line = str(raised.value)
    assert re.search(says, line)
    assert line.isprintable()
    assert len(line) < 600


@pytest.mark.parametrize("kind", ENDLESS, ids=lambda kind: kind.replace(" ", "-"))
def test_work_without_end_is_ended_by_the_clock(kind: str) -> None:
    with pytest.raises(DesignError, match="the design was not done in time"):
        judge(ENDLESS[kind], timeout_seconds=0.2)


def test_cores_that_go_on_among_themselves_never_settle() -> None:
    array = LoadedDesign(parse(among_themselves()), NumpyFunctions(), NPU1)
    with pytest.raises(DesignError, match="the cores go on among themselves for ever"):
        array.settle()


def test_a_core_is_stopped_between_two_calls() -> None:
    """However many of them stand one after the other, in no loop."""
    array = LoadedDesign(parse(one_core()), NumpyFunctions(), NPU1)
    with pytest.raises(DesignError, match=r"not done in time: core \(0,2\) calls zero"):
        array.settle(timeout_seconds=-1)


def test_no_text_takes_more_memory_than_the_array_and_the_text_have() -> None:
    """All of them in one process that can have 256 MB beside what Python and NumPy take."""
    pytest.importorskip("resource", reason="memory is limited by POSIX")
    root = Path(whisper_npu.__file__).parents[1]
    command = [sys.executable, "-m", "tests.support.hostile_designs", str(2**28)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    kinds = [line.partition(": ")[0] for line in done.stdout.splitlines()]
    assert kinds == [*TEXTS, *ENDLESS]


def test_an_operation_of_somebody_elses_design_is_named_with_its_line() -> None:
    """A vector add, as mlir-aie's programming guide writes it with buffers and locks of its own."""
    text = """module {
  aie.device(npu1) {
    %t0_0 = aie.tile(0, 0)
    %t0_2 = aie.tile(0, 2)
    %lock = aie.lock(%t0_2, 0) {init = 1 : i32, sym_name = "prod_lock"}
  }
}
"""
    where = re.escape("line 5: unknown operation 'aie.lock': %lock = aie.lock(%t0_2, 0)")
    with pytest.raises(DesignError, match=rf"^{where}"):
        parse(text)


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_mutated_is_right_before(name: str) -> None:
    assert verdict(RIGHT[name], RIGHT[name].text) == ""


# `make fuzz` runs these under the profile "fuzz", with as many examples as it has time for.


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(RIGHT)), data=st.data())
def test_fuzz_designs_with_changed_lines_words_and_numbers(name: str, data: st.DataObject) -> None:
    """Whatever is cut, doubled, swapped or made extreme: verdict, or one of the verifier's own errors."""
    said = verdict(RIGHT[name], data.draw(mutated(RIGHT[name].text)))
    assert said == shown(said)
    assert len(said) < 3_000


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(nonsense())
def test_fuzz_nonsense_of_the_right_words(text: str) -> None:
    """Words of the language in an order that no design has."""
    with pytest.raises(DesignError, match=r"^line \d+: "):
        parse(text)
