"""What concerns the NPU's device alone: how it uses pyxrt, and what it says when something fails.

By the public door, on a fake that takes no liberties (tests/fake_pyxrt).
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support import stand_in_kernels as standins
from tests.support.contracts import (
    SMALL,
    SMALL_BF16,
    SMALL_CONTEXT,
    SMALL_F32,
    SMALL_PAIRS,
    SMALL_SCORES,
)
from tests.support.fake_pyxrt import Counts, FakeXrt, Fault
from tests.support.npu import opened_npu
from whisper_npu.errors import (
    DeviceError,
    DeviceNotFoundError,
    DispatchError,
    KernelManifestError,
    KernelNotBuiltError,
)
from whisper_npu.host.bf16 import F32
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.device import Device, Enters, Fidelity
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.npu.matmul import Matmul, RowStep, as_it_is
from whisper_npu.npu.plan import Problem, tiled_plan
from whisper_npu.npu.planner import Choice, Fixed
from whisper_npu.npu.targets.npu1 import XDNA1

ROOT = Path(__file__).parents[2]
# The same product under many names: as many xclbins.
MANY = tuple(replace(SMALL, name=f"matmul_8x24_{i}", k=8 + 4 * i) for i in range(XDNA1.hw_contexts + 2))
CONTRACTS = (SMALL, SMALL_BF16, SMALL_F32, SMALL_PAIRS, SMALL_SCORES, SMALL_CONTEXT, *MANY)

LARGE = Problem(80, 60, 240)  # 500 dispatches of SMALL


@pytest.fixture
def fake() -> Iterator[FakeXrt]:
    fake = FakeXrt()
    yield fake
    assert fake.problems() == []


@pytest.fixture
def npu(fake: FakeXrt, tmp_path: Path) -> Iterator[Device]:
    with opened_npu(tmp_path, fake, CONTRACTS) as npu:
        yield npu


def operands(problem: Problem, seed: int = 0) -> tuple[F32, F32]:
    """Small integers: every sum is exact."""
    rng = np.random.default_rng(seed)
    heads = (problem.heads,) if problem.heads > 1 else ()
    a = rng.integers(-8, 9, (*heads, problem.M, problem.K))
    b = rng.integers(-8, 9, (*heads, problem.K, problem.N))
    return a.astype(np.float32), b.astype(np.float32)


def is_right(matmul: Matmul, problem: Problem, seed: int = 0) -> bool:
    a, b = operands(problem, seed)
    return np.array_equal(matmul(a, b, "test"), a @ b)


def problem_for(contract: Contract, seed: int = 0) -> Problem:
    """One that does not fill its tiles, of several dispatches where that may be."""
    if contract.heads_along:
        return Problem(contract.m - 1, contract.k - 1, contract.n - 1, contract.batch)
    return Problem(2 * contract.m + 1 + seed % 3, contract.k + 1, contract.n + 3)


# --- Products -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contract", [SMALL, SMALL_BF16, SMALL_F32, SMALL_PAIRS], ids=lambda c: c.name)
def test_results_are_those_of_the_exact_emulator_bit_for_bit(npu: Device, contract: Contract) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((70, 50)).astype(np.float32)
    b = rng.standard_normal((50, 130)).astype(np.float32)
    expected = Matmul(Emulator(Fidelity.EXACT), contract)(a, b, "test")
    assert np.array_equal(Matmul(npu, contract)(a, b, "test"), expected)


@pytest.mark.parametrize("contract", [SMALL, SMALL_PAIRS, SMALL_CONTEXT], ids=lambda c: c.name)
def test_the_dispatches_reported_are_those_that_the_device_saw(
    npu: Device, fake: FakeXrt, contract: Contract
) -> None:
    matmul = Matmul(npu, contract)
    fake.take_counts()
    for seed in range(3):
        assert is_right(matmul, problem_for(contract), seed)
    (product,) = matmul.take_products()
    counts = fake.take_counts()
    assert product.dispatches == counts.dispatches == 3 * product.plan.dispatches
    assert counts.bytes_from_device == product.bytes_from_device


# --- Results that nobody keeps ------------------------------------------------------------------------------

SCORES = Problem(7, 11, 23, SMALL_SCORES.batch)


def lies_in_a_bo(array: F32) -> bool:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return isinstance(array.base, memoryview)


def chained(matmul: Matmul, seed: int, between: Callable[[F32], object]) -> tuple[F32, F32]:
    """A chain whose first product is one dispatch, and what it is if `between` does what `small` does."""
    a, b = operands(SCORES, seed)
    other = operands(Problem(1, 23, 9, 3), seed)[1]
    c = matmul.chain(a, b, between, other, enters=Enters.A, operations=("first", "second"))
    return c, np.minimum(a @ b, 8) @ other


def small(scores: F32) -> None:
    np.minimum(scores, 8, out=scores)


def test_scores_stay_where_the_array_wrote_them(npu: Device) -> None:
    matmul = Matmul(npu, Choice((Fixed(SMALL),), contracts={SCORES: SMALL_SCORES}))
    seen: list[bool] = []

    def between(scores: F32) -> None:
        seen.append(lies_in_a_bo(scores))
        small(scores)

    results = [chained(matmul, seed, between) for seed in range(3)]
    assert all(np.array_equal(c, right) for c, right in results)  # nothing of a later chain in an earlier one
    assert seen
    assert all(seen)
    assert not any(lies_in_a_bo(c) for c, _ in results)


def test_a_chain_that_fails_after_its_first_product(npu: Device, fake: FakeXrt) -> None:
    matmul = Matmul(npu, Choice((Fixed(SMALL),), contracts={SCORES: SMALL_SCORES}))
    chained(matmul, 0, small)
    fake.inject(Fault.ERROR, at=2)
    with pytest.raises(DispatchError) as failure:
        chained(matmul, 1, small)
    assert failure.traceback  # whose frames still hold the scores
    assert fake.dangling_views() == 0
    assert np.array_equal(*chained(matmul, 2, small))


def test_rows_between_two_products_stay_there_too(npu: Device) -> None:
    matmul = Matmul(npu, SMALL)
    x, first = operands(Problem(7, 11, 23))
    second = operands(Problem(1, 23, 20))[1]
    seen: list[bool] = []

    def after(y: F32, rows: slice) -> None:
        seen.append(lies_in_a_bo(y))
        small(y)

    steps = (RowStep(matmul.stage(weight), "test", as_it_is, after) for weight in (first, second))
    y = matmul.by_rows(x, *steps)
    assert seen == [True, False]  # the last one is the caller's
    assert np.array_equal(y, np.minimum(np.minimum(x @ first, 8) @ second, 8))


def test_dispatches_are_submitted_in_lists(npu: Device, fake: FakeXrt) -> None:
    matmul = Matmul(npu, SMALL)
    fake.take_counts()
    assert is_right(matmul, LARGE)
    counts = fake.take_counts()
    assert counts.dispatches == 500
    assert 0 < counts.lists <= 500 / 20


# --- What is kept, what is moved ----------------------------------------------------------------------------


def test_only_what_changes_is_synced_and_weights_are_written_once(npu: Device, fake: FakeXrt) -> None:
    matmul = Matmul(npu, SMALL)
    _, b = operands(LARGE)
    fake.take_counts()
    weight = matmul.stage(b)
    plan = tiled_plan(LARGE, SMALL)
    assert fake.take_counts().bytes_to_device == plan.b.nbytes

    for round in range(5):
        a, _ = operands(LARGE, seed=round)
        assert np.array_equal(matmul(a, weight, "test"), a @ b)
        counts = fake.take_counts()
        assert counts.bytes_to_device == plan.a.nbytes
        assert counts.bytes_from_device == plan.bytes_from_device
        if round:
            assert (counts.bos, counts.contexts) == (0, 0)


def test_nothing_is_made_anew_for_every_product(npu: Device, fake: FakeXrt) -> None:
    matmuls = [Matmul(npu, contract) for contract in (SMALL, SMALL_PAIRS, SMALL_SCORES)]
    for round in range(10):
        if round == 1:
            fake.take_counts()
        for matmul in matmuls:
            assert is_right(matmul, problem_for(matmul.choice.known_contracts[0]), seed=round)
    counts = fake.take_counts()
    assert counts.lists > 0
    assert counts.bos == counts.runs == counts.runlists == counts.contexts == 0


def test_a_thousand_products_leave_nothing_behind(npu: Device, fake: FakeXrt) -> None:
    matmuls = [Matmul(npu, contract) for contract in (SMALL, SMALL_PAIRS, SMALL_CONTEXT, SMALL_F32)]

    def products(count: int) -> dict[str, int]:
        for i in range(count):
            matmul = matmuls[i % len(matmuls)]
            assert is_right(matmul, problem_for(matmul.choice.known_contracts[0], seed=i), seed=i)
        gc.collect()
        return dict(fake.alive())

    before = products(50)
    assert products(1000) == before
    assert fake.dangling_views() == 0


def test_closing_gives_everything_back(fake: FakeXrt, tmp_path: Path) -> None:
    with opened_npu(tmp_path, fake, CONTRACTS) as npu:
        matmul = Matmul(npu, SMALL)
        assert is_right(matmul, LARGE)
        weight = matmul.stage(operands(LARGE)[1])
    alive = fake.alive()
    assert not any(alive[name] for name in ("hw_context", "kernel", "run", "runlist"))
    del matmul, weight, npu
    gc.collect()
    assert +fake.alive() == {}
    assert fake.dangling_views() == 0


def test_a_closed_buffer_is_gone_and_what_was_read_stays(npu: Device, fake: FakeXrt) -> None:
    matmul = Matmul(npu, SMALL)
    a, b = operands(LARGE)
    weight = matmul.stage(b)
    c = matmul(a, weight, "test")
    before = fake.alive()["bo"]
    weight.buffer.close()
    gc.collect()
    assert fake.alive()["bo"] < before
    assert fake.dangling_views() == 0
    assert np.array_equal(c, a @ b)


# --- Contexts -----------------------------------------------------------------------------------------------


def test_contexts_stay_within_what_the_array_has(npu: Device, fake: FakeXrt) -> None:
    matmuls = [Matmul(npu, contract) for contract in MANY]
    for matmul in matmuls * 2:
        assert is_right(matmul, problem_for(matmul.choice.known_contracts[0]))
        assert fake.alive()["hw_context"] <= XDNA1.hw_contexts
    assert fake.take_counts().contexts_refused == 0


def test_the_context_that_was_not_used_for_longest_makes_room(npu: Device, fake: FakeXrt) -> None:
    *first, last = (Matmul(npu, contract) for contract in MANY[: XDNA1.hw_contexts])
    for matmul in (*first, last, first[0]):
        assert is_right(matmul, problem_for(matmul.choice.known_contracts[0]))
    Matmul(npu, MANY[-1])
    fake.take_counts()

    def contexts_made(matmul: Matmul) -> int:
        assert is_right(matmul, problem_for(matmul.choice.known_contracts[0]))
        return fake.take_counts().contexts

    assert contexts_made(first[0]) == 0
    assert contexts_made(first[1]) == 1


def test_contexts_that_others_hold_are_done_without(npu: Device, fake: FakeXrt, tmp_path: Path) -> None:
    Matmul(npu, MANY[0])
    device = fake.module.device(0)
    (uuid,) = fake.registered
    others = [fake.module.hw_context(device, fake.module.uuid(uuid)) for _ in range(XDNA1.hw_contexts - 1)]
    assert is_right(Matmul(npu, MANY[1]), problem_for(MANY[1]))  # in place of the one it had
    npu.close()
    others.append(fake.module.hw_context(device, fake.module.uuid(uuid)))
    with pytest.raises(DeviceError, match=f"{XDNA1.hw_contexts} contexts for all programs"):
        Matmul(npu, MANY[2])


def test_kernels_of_one_overlay_share_a_context(fake: FakeXrt, tmp_path: Path) -> None:
    with opened_npu(tmp_path / "npu", fake, ()) as npu:
        xclbin = standins.xclbin(*MANY)
        for contract in MANY:
            standins.write_kernel(tmp_path / "npu/kernels", contract, xclbin)
        for matmul in [Matmul(npu, contract) for contract in MANY] * 2:
            assert is_right(matmul, problem_for(matmul.choice.known_contracts[0]))
        assert fake.take_counts().contexts == 1


# --- Failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "answer"), [(Fault.ZEROS, "zeros"), (Fault.GARBAGE, "another product")])
@pytest.mark.parametrize("contract", [SMALL, SMALL_BF16, SMALL_PAIRS, SMALL_SCORES], ids=lambda c: c.name)
def test_a_kernel_that_computes_something_else_is_refused_before_it_is_used(
    npu: Device, fake: FakeXrt, fault: Fault, answer: str, contract: Contract
) -> None:
    fake.inject(fault, lasting=True)
    for _ in range(2):
        fake.take_counts()
        with pytest.raises(DispatchError) as caught:
            Matmul(npu, contract)
        assert fake.take_counts().dispatches == 1  # the known product
        for part in (contract.name, answer, f"({contract.k},{contract.n})", "whisper-npu doctor"):
            assert part in str(caught.value)
    fake.heal()
    assert is_right(Matmul(npu, contract), problem_for(contract))


@pytest.mark.parametrize("at", [1, 90, 100, 500], ids=lambda at: f"dispatch {at}")
@pytest.mark.parametrize(
    ("fault", "state", "remedy"),
    [
        (Fault.ENDED, "TIMEOUT", "--timeout"),
        (Fault.ABORT, "ABORT", "whisper-npu doctor"),
        (Fault.ERROR, "ERROR", "whisper-npu doctor"),
    ],
    ids=lambda fault: fault.name if isinstance(fault, Fault) else "",
)
def test_a_dispatch_that_fails_is_named_and_the_next_product_is_right(
    npu: Device, fake: FakeXrt, fault: Fault, state: str, remedy: str, at: int
) -> None:
    matmul = Matmul(npu, SMALL)
    fake.inject(fault, at=at)
    with pytest.raises(DispatchError) as caught:
        matmul(*operands(LARGE), "test")
    message = str(caught.value)
    for part in (SMALL.name, state, str(LARGE), f"dispatch {at} of 500", remedy):
        assert part in message
    assert "\n" not in message
    assert is_right(matmul, LARGE, seed=1)


@pytest.mark.parametrize("at", [1, 90, 100, 500], ids=lambda at: f"dispatch {at}")
@pytest.mark.parametrize("sync_objects", [False, True], ids=["returned", "raised"])
def test_a_dispatch_that_never_ends_is_left_and_the_next_product_is_right(
    fake: FakeXrt, tmp_path: Path, sync_objects: bool, at: int
) -> None:
    """XRT returns TIMEOUT, or raises, depending on the driver. Which one of a lot hangs, nobody says."""
    fake.sync_objects = sync_objects
    with opened_npu(tmp_path, fake, CONTRACTS, timeout_seconds=0.02) as npu:
        matmul = Matmul(npu, SMALL)
        fake.inject(Fault.TIMEOUT, at=at)
        with pytest.raises(DispatchError) as caught:
            matmul(*operands(LARGE), "test")
        message = str(caught.value)
        for part in (SMALL.name, "TIMEOUT", "0.02 s allowed", str(LARGE), "of 500", "--timeout"):
            assert part in message
        assert "\n" not in message
        assert is_right(matmul, LARGE, seed=1)


def test_a_timeout_in_the_known_product_is_named(npu: Device, fake: FakeXrt) -> None:
    fake.inject(Fault.TIMEOUT)
    with pytest.raises(DispatchError, match=r"matmul_8x24: dispatch 1 of 1 .* TIMEOUT"):
        Matmul(npu, SMALL)
    assert is_right(Matmul(npu, SMALL), LARGE)


def test_after_a_failure_other_kernels_go_on(npu: Device, fake: FakeXrt) -> None:
    failing, other = Matmul(npu, SMALL), Matmul(npu, SMALL_F32)
    assert is_right(other, LARGE)
    fake.inject(Fault.TIMEOUT, at=7)
    with pytest.raises(DispatchError):
        failing(*operands(LARGE), "test")
    fake.take_counts()
    assert is_right(other, LARGE)
    assert fake.take_counts().contexts == 0


@pytest.mark.parametrize("contract", [SMALL, SMALL_PAIRS], ids=lambda c: c.name)
def test_without_memory_there_is_an_error_and_afterwards_a_product(
    fake: FakeXrt, tmp_path: Path, contract: Contract
) -> None:
    def product(npu: Device) -> None:
        assert is_right(Matmul(npu, contract), LARGE)

    with opened_npu(tmp_path / "counted", fake, CONTRACTS) as npu:
        product(npu)
    bos = fake.take_counts().bos
    assert bos > 4
    for at in range(1, bos + 1):
        with opened_npu(tmp_path / str(at), fake, CONTRACTS) as npu:
            fake.no_memory(at=at)
            with pytest.raises(DeviceError, match=r"Cannot allocate memory.*ulimit -l"):
                product(npu)
            product(npu)


@pytest.mark.parametrize("sync_objects", [False, True])
@pytest.mark.parametrize("at", [1, 30, 100])
def test_a_device_that_vanishes_is_an_error_for_good(
    fake: FakeXrt, tmp_path: Path, at: int, sync_objects: bool
) -> None:
    fake.sync_objects = sync_objects
    with opened_npu(tmp_path, fake, CONTRACTS) as npu:
        matmul = Matmul(npu, SMALL)
        fake.inject(Fault.GONE, at=at)
        for _ in range(3):
            with pytest.raises(DeviceError, match="the NPU is gone"):
                matmul(*operands(LARGE), "test")


def test_an_npu_that_does_not_open_is_not_found(fake: FakeXrt, tmp_path: Path) -> None:
    fake.gone = True
    with pytest.raises(DeviceNotFoundError, match="No such device"):
        opened_npu(tmp_path, fake, ())


# --- Built kernels ------------------------------------------------------------------------------------------


def edited(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(place: Path) -> None:
        manifest = json.loads((place / "manifest.json").read_text())
        change(manifest)
        (place / "manifest.json").write_text(json.dumps(manifest))

    return edit


def flipped(suffix: str) -> Callable[[Path], None]:
    def flip(place: Path) -> None:
        file = place / f"{place.name}{suffix}"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)

    return flip


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flipped(".xclbin"), r"xclbin is not the file that was built"),
        (flipped(".insts.bin"), r"insts\.bin is not the file that was built"),
        (lambda place: (place / f"{place.name}.xclbin").unlink(), "cannot be read"),
        (lambda place: (place / f"{place.name}.insts.bin").unlink(), "cannot be read"),
        (lambda place: (place / "manifest.json").write_text("{"), "cannot be read"),
        (lambda place: (place / "manifest.json").write_text("[]"), "no whisper-npu-kernel manifest"),
        (edited(lambda m: m.update(target="npu2")), "built for npu2, not for npu1"),
        (edited(lambda m: m["contract"].update(k=16)), "promises another product"),
        (edited(lambda m: m["contract"].update(result_rounding="floor")), "promises another product"),
        (edited(lambda m: m["contract"].pop("batch")), "promises another product"),
        (edited(lambda m: m.update(schema="something")), "no whisper-npu-kernel manifest"),
        (edited(lambda m: m.update(schema_version=99)), "version 99"),
        (edited(lambda m: m.pop("overlay")), "overlay"),
        (edited(lambda m: m.pop("outputs")), "not the file that was built"),
    ],
)  # fmt: skip
def test_a_kernel_that_is_not_what_its_manifest_says_is_not_loaded(
    npu: Device, fake: FakeXrt, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(tmp_path / "kernels" / SMALL.name)
    with pytest.raises(KernelManifestError, match=reason) as caught:
        Matmul(npu, SMALL)
    assert f"whisper-npu kernels build {SMALL.name}" in str(caught.value)
    assert fake.take_counts() == Counts()
    assert not fake.registered
    assert is_right(Matmul(npu, SMALL_F32), LARGE)


def test_a_kernel_that_is_not_built_is_an_error_that_says_how_to(npu: Device, tmp_path: Path) -> None:
    missing = replace(SMALL, name="matmul_9x9")
    with pytest.raises(KernelNotBuiltError) as caught:
        Matmul(npu, missing)
    for part in ("matmul_9x9", str(tmp_path / "kernels"), "whisper-npu kernels build matmul_9x9"):
        assert part in str(caught.value)


# --- Threads and exits --------------------------------------------------------------------------------------


def test_several_threads_share_the_device(npu: Device) -> None:
    contracts = (SMALL, SMALL_F32, SMALL_PAIRS, SMALL_SCORES, SMALL)
    together = threading.Barrier(len(contracts))
    right: list[bool] = []

    def work(contract: Contract) -> None:
        together.wait()
        matmul = Matmul(npu, contract)
        right.extend(is_right(matmul, problem_for(contract), seed) for seed in range(20))

    threads = [threading.Thread(target=work, args=(contract,)) for contract in contracts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 20 * len(contracts)


EXIT = """
import atexit, sys
from pathlib import Path
import numpy as np
from tests.support.contracts import SMALL
from tests.support.npu import opened_npu
from tests.support.fake_pyxrt import FakeXrt, Fault
from whisper_npu.errors import DispatchError
from whisper_npu.npu.matmul import Matmul

fake = FakeXrt()
atexit.register(lambda: print(fake.problems(), fake.alive()["run"], fake.alive()["hw_context"]))
npu = opened_npu(Path(sys.argv[1]), fake, [SMALL])
matmul = Matmul(npu, SMALL)
weight = matmul.stage(np.ones((30, 70), np.float32))
if sys.argv[2] != "nothing":
    fake.inject(Fault[sys.argv[2]], at=3)
try:
    matmul(np.ones((20, 30), np.float32), weight, "test")
except DispatchError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("fault", "printed"),
    [("nothing", "[] 0 0"), ("ERROR", "DispatchError\n[] 0 0"), ("TIMEOUT", "DispatchError\n[] {left} 1")],
)
def test_python_may_end_without_closing(tmp_path: Path, fault: str, printed: str) -> None:
    """Runs go before what they use; one that hangs is left alone, for XRT ends whoever destroys it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXIT, str(tmp_path), fault],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    left = tiled_plan(Problem(20, 30, 70), SMALL).dispatches
    assert done.stdout.strip() == printed.format(left=left)
