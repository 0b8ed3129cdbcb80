"""Staged weights that a later start maps: the same bytes as staged anew, or staged anew."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.checkpoints import write_tiny
from tests.support.ops import random_inputs
from whisper_npu import staging
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.dtypes import F32
from whisper_npu.encoder import encoder_constants, prepared_encoder
from whisper_npu.host import gemm
from whisper_npu.host.gemm import Bf16Dot, Blas, OperandForm, bf16_dot, fastest
from whisper_npu.npu.device import Device
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.ops import Activation, EncoderLayer, Linear, Norm, Op, Stem
from whisper_npu.staging import Constants, Held, KeptIn, hold

LAYERS = {"first": Linear(40, 96, 130), "second.of.them": Linear(40, 130, 96)}


class OtherForm(Blas):
    form_of_rhs = "as nobody else"


def other_form(form: OperandForm) -> Blas:
    return OtherForm()


def blas(form: OperandForm) -> Blas:
    return Blas()


def values(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    random = np.random.RandomState(seed)
    return {name: random.randn(op.N, op.K).astype("f4").T for name, op in LAYERS.items()}


def weights(made: list[str], seed: int = 0) -> dict[str, Constants]:
    """made: is told which are made."""
    arrays = values(seed)

    def maker(name: str) -> Callable[[], NDArray[Any]]:
        def make() -> NDArray[Any]:
            made.append(name)
            return arrays[name]

        return make

    return {name: Constants(op, {"weight": maker(name)}) for name, op in LAYERS.items()}


def emulator(gemm_of: Any = blas) -> Emulator:
    return Emulator(Fidelity.FAST, gemm_of=gemm_of)


def kept_in(cache: Path, identity: str = "these", told: list[str] | None = None) -> KeptIn:
    return KeptIn(cache, identity, ([] if told is None else told).append)


def arrays_of(device: Device, held: Held) -> dict[str, NDArray[Any]]:
    return {f"{step}.{name}": x for step in held for name, x in device.kept(held[step]).items()}


def contents(device: Device, held: Held) -> dict[str, tuple[Any, ...]]:
    arrays = arrays_of(device, held)
    return {name: (x.dtype, x.shape, x.strides[1:], x.tobytes()) for name, x in arrays.items()}


def entry(cache: Path) -> Path:
    (found,) = cache.glob("staged-*")
    return found


@pytest.mark.parametrize("gemm_of", [blas, fastest])
def test_what_was_kept_is_what_would_be_staged(tmp_path: Path, gemm_of: Any) -> None:
    made: list[str] = []
    device = emulator(gemm_of)
    fresh = contents(device, hold(weights(made), device, None))
    first = contents(device, hold(weights(made), device, kept_in(tmp_path)))
    made.clear()
    again = hold(weights(made), device, kept_in(tmp_path))
    assert made == []
    assert fresh == first == contents(device, again)
    assert not any(array.flags.writeable for array in arrays_of(device, again).values())


def test_layers_run_with_mapped_weights(tmp_path: Path) -> None:
    x = np.random.RandomState(1).randn(40, 96).astype("f4")
    results = []
    for _ in range(2):
        device = emulator()
        held = hold(weights([]), device, kept_in(tmp_path))["first"]
        y = np.empty((40, 130), np.float32)
        device.run(LAYERS["first"], {"x": x, **held, "bias": np.zeros(130, np.float32), "y": y})
        results.append(y)
    assert results[0].tobytes() == results[1].tobytes()
    assert np.allclose(results[0], x @ values()["first"], atol=0.3)


def test_a_device_that_gave_memory_back_has_its_weights_again(tmp_path: Path) -> None:
    device = emulator()
    first = hold(weights([]), device, kept_in(tmp_path))
    again = hold(weights([]), device, kept_in(tmp_path))
    before = contents(device, first)
    device.trim()
    assert contents(device, first) == contents(device, again) == before


def flip_a_bit(folder: Path) -> None:
    file = folder / "first.weight.npy"
    content = bytearray(file.read_bytes())
    content[-5] ^= 4
    file.write_bytes(content)


def lose_a_page(folder: Path) -> None:
    file = folder / "second.of.them.weight.npy"
    content = file.read_bytes()
    file.write_bytes(content[:4096] + bytes(4096) + content[8192:])


def swap_two_pages(folder: Path) -> None:
    file = folder / "second.of.them.weight.npy"
    content = file.read_bytes()
    assert content[4096:8192] != content[8192:12288]
    file.write_bytes(content[:4096] + content[8192:12288] + content[4096:8192] + content[12288:])


def swap_two_words(folder: Path) -> None:
    file = folder / "second.of.them.weight.npy"
    content = file.read_bytes()
    assert content[4096:4104] != content[4104:4112]
    file.write_bytes(content[:4096] + content[4104:4112] + content[4096:4104] + content[4112:])


def cut_off(folder: Path) -> None:
    os.truncate(folder / "first.weight.npy", 1000)


def lose_a_file(folder: Path) -> None:
    (folder / "first.weight.npy").unlink()


def lose_the_digests(folder: Path) -> None:
    (folder / "digests.json").write_text(" " * (folder / "digests.json").stat().st_size)


def lose_a_digest(folder: Path) -> None:
    file = folder / "digests.json"
    file.write_text(file.read_text("utf-8").replace("first", "fir5t"), "utf-8")


def of_another_kind(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    (folder / "model.bin").write_bytes(b"foreign")
    (folder / ".sizes.json").write_text('{"model.bin": 7}')


DAMAGES = [
    flip_a_bit,
    lose_a_page,
    swap_two_pages,
    swap_two_words,
    cut_off,
    lose_a_file,
    lose_the_digests,
    lose_a_digest,
    of_another_kind,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_built_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    made: list[str] = []
    device = emulator()
    fresh = contents(device, hold(weights(made), device, kept_in(tmp_path)))
    damage(entry(tmp_path))
    made.clear()
    assert contents(device, hold(weights(made), device, kept_in(tmp_path))) == fresh
    assert made == list(LAYERS)
    made.clear()
    assert contents(device, hold(weights(made), device, kept_in(tmp_path))) == fresh
    assert made == []
    assert [path.name for path in tmp_path.iterdir()] == [entry(tmp_path).name]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_named(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    device = emulator()
    hold(weights([]), device, kept_in(tmp_path))
    assert staging.damaged(entry(tmp_path)) == []
    damage(entry(tmp_path))
    assert staging.damaged(entry(tmp_path)) != []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("opened_by", ["memmap", "load"])
def test_a_system_that_cannot_open_a_sound_entry_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, opened_by: str
) -> None:
    device, told, made = emulator(), list[str](), list[str]()
    fresh = contents(device, hold(weights(made), device, kept_in(tmp_path)))
    before = {path: path.stat() for path in tmp_path.rglob("*")}

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    made.clear()
    with monkeypatch.context() as patched:
        patched.setattr(staging.np, opened_by, refuse)
        staged = hold(weights(made), device, kept_in(tmp_path, told=told))
    assert contents(device, staged) == fresh
    assert made == list(LAYERS)
    assert os.strerror(number) in told[-1]
    after = {path: path.stat() for path in tmp_path.rglob("*")}
    assert {p: (s.st_ino, s.st_mtime_ns) for p, s in before.items()} == {
        p: (s.st_ino, s.st_mtime_ns) for p, s in after.items()
    }
    made.clear()
    assert contents(device, hold(weights(made), device, kept_in(tmp_path))) == fresh
    assert made == []


def test_a_device_holds_no_file_of_weights_that_are_gone(tmp_path: Path) -> None:
    device = emulator()
    hold(weights([]), device, kept_in(tmp_path))  # kept, not mapped

    def files_after(times: int) -> int:
        for _ in range(times):
            view = device.prepared(LAYERS.values())
            staged = hold(weights([]), view, kept_in(tmp_path))
            device.trim()
            maps.extend(map(weakref.ref, arrays_of(view, staged).values()))
            del staged, view
            gc.collect()
        return sum(kept() is not None for kept in maps)

    maps: list[weakref.ref[NDArray[Any]]] = []
    assert files_after(3) == 0
    assert len(maps) == 3 * len(LAYERS)
    if os.path.isdir("/proc/self/fd"):  # Linux's list of this process's open files
        before = len(os.listdir("/proc/self/fd"))
        files_after(3)
        assert len(os.listdir("/proc/self/fd")) <= before


def test_other_weights_other_sizes_and_another_form_have_entries_of_their_own(tmp_path: Path) -> None:
    device = emulator()
    hold(weights([]), device, kept_in(tmp_path, "these"))
    made: list[str] = []
    others = contents(device, hold(weights(made, seed=5), device, kept_in(tmp_path, "those")))
    assert made == list(LAYERS)
    assert others == contents(device, hold(weights([], seed=5), device, None))
    made.clear()
    hold(weights(made), emulator(other_form), kept_in(tmp_path, "these"))
    assert made == list(LAYERS)
    wider = {name: Constants(Linear(40, 8, 8), {"weight": lambda: np.ones((8, 8), "f4")}) for name in LAYERS}
    hold(wider, device, kept_in(tmp_path, "these"))
    assert len(list(tmp_path.glob("staged-*"))) == 4


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    device, told = emulator(), list[str]()
    for _ in range(2):
        made: list[str] = []
        staged = hold(weights(made), device, kept_in(tmp_path / "file" / "cache", told=told))
        assert made == list(LAYERS)
        assert contents(device, staged) == contents(device, hold(weights([]), device, None))
    assert "cannot be written" in told[-1]


def test_a_damaged_entry_in_a_cache_that_cannot_be_written_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = emulator()
    fresh = contents(device, hold(weights([]), device, kept_in(tmp_path)))
    flip_a_bit(entry(tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(staging.cache, "owned_folder", refuse)
    assert contents(device, hold(weights([]), device, kept_in(tmp_path))) == fresh


def test_two_that_stage_at_once_keep_one_entry(tmp_path: Path) -> None:
    both = Barrier(2, timeout=60)
    found: list[dict[str, tuple[Any, ...]]] = []

    def start() -> None:
        device = emulator()
        jobs = weights([])
        first = jobs["first"]

        def make() -> NDArray[Any]:
            both.wait()  # each has found no entry
            return first["weight"]

        jobs["first"] = replace(first, makers={"weight": make})
        found.append(contents(device, hold(jobs, device, kept_in(tmp_path))))

    threads = [Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] == found[1]
    assert len(list(tmp_path.iterdir())) == 1


class InItsOwnMemory(Emulator):
    """As an NPU: nothing of a weight is left on the host."""

    def kept_forms(self, op: Op) -> dict[str, str]:
        return {}


def test_a_device_with_memory_of_its_own_keeps_nothing(tmp_path: Path) -> None:
    hold(weights([]), InItsOwnMemory(gemm_of=blas), kept_in(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kernel", ["gemm", "layer"])
def test_an_encoder_from_the_cache_encodes_the_same_and_reads_no_large_array(
    tmp_path: Path, kernel: str
) -> None:
    """Of what lies together it reads nothing."""
    folder = write_tiny(tmp_path / "hf", d_model=64, encoder_attention_heads=1)
    checkpoint = load_checkpoint(folder, cache_dir=tmp_path / "cache")
    checkpoint = load_checkpoint(checkpoint.decoder_folder)
    dims, where = checkpoint.dims, kept_in(tmp_path / "cache", checkpoint.encoder_identity)
    mel = np.random.RandomState(2).randn(dims.n_mels, 2 * dims.n_audio_ctx).astype("f4")
    read: list[str] = []

    class Told(dict[str, NDArray[Any]]):
        def __getitem__(self, name: str) -> NDArray[Any]:
            read.append(name)
            return checkpoint.encoder[name]

    encoded = []
    for kept in (None, where, where):
        read.clear()
        encoded.append(prepared_encoder(dims, Told(), emulator(), kernel, kept)(mel).tobytes())
    assert encoded[0] == encoded[1] == encoded[2]
    if kernel == "layer":
        assert set(read) == {"ln_post.weight", "ln_post.bias"}
    assert {checkpoint.encoder[name].ndim for name in read if name != "positional_embedding"} == {1}


def test_a_changed_model_is_another_one(tmp_path: Path) -> None:
    folder = load_checkpoint(write_tiny(tmp_path / "hf"), cache_dir=tmp_path / "cache").decoder_folder
    before = load_checkpoint(folder).encoder_identity
    assert load_checkpoint(folder).encoder_identity == before
    content = (folder / "model.bin").read_bytes()
    (folder / "model.bin").unlink()
    (folder / "model.bin").write_bytes(content)
    assert load_checkpoint(folder).encoder_identity != before


@pytest.mark.parametrize(("gemm_of", "golden"), [(blas, "4e05b5d72a78b192"), (fastest, "90762c1362e86859")])
def test_the_kept_bytes_are_those_of_their_version(tmp_path: Path, gemm_of: Any, golden: str) -> None:
    """If this fails, increase _CONSTANTS_VERSION, or the number in a gemm's form_of_rhs: entries are stale.

    What bf16_dot.cc writes has the source's digest in its form: change that golden alone if the source has
    changed.
    """
    if gemm_of is fastest and bf16_dot() is None:
        pytest.skip("no dot product of bf16 pairs here, or no compiler")
    checkpoint = load_checkpoint(write_tiny(tmp_path / "hf"), cache_dir=tmp_path / "cache")
    random = np.random.RandomState(3)
    arrays = {
        name: (random.randint(-99, 99, array.shape) / 64).astype("f4")
        for name, array in sorted(checkpoint.encoder.items())
    }
    device = emulator(gemm_of)
    kept = arrays_of(device, hold(encoder_constants(checkpoint.dims, arrays), device, None))
    content = b"".join(kept[name].T.tobytes() for name in sorted(kept))
    assert sha256(content).hexdigest()[:16] == golden


def test_another_source_of_the_dot_product_is_another_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dot = Bf16Dot(ctypes.pythonapi)  # any library: nothing of it is called
    before = dot.form_of_rhs
    changed = tmp_path / "bf16_dot.cc"
    changed.write_bytes(gemm.SOURCE.read_bytes() + b"\n")
    monkeypatch.setattr(gemm, "SOURCE", changed)
    gemm._digest_of_source.cache_clear()
    assert dot.form_of_rhs != before
    gemm._digest_of_source.cache_clear()
    monkeypatch.undo()
    assert dot.form_of_rhs == before


# --- What is laid out together ------------------------------------------------------------------------------

WHOLE: dict[str, Op] = {
    "stem": Stem(20, 10, 60),
    "layer": EncoderLayer(20, 64, 1, 100),
    "linear": Linear(20, 70, 90, activation=Activation.GELU, residual=True),
    "norm": Norm(20, 64),  # the host's: nothing of it is kept
}


def constants_of_whole(made: list[str], seed: int = 0) -> dict[str, Constants]:
    """made: is told which are made."""

    def maker(step: str, name: str, value: F32) -> Callable[[], F32]:
        def make() -> F32:
            made.append(f"{step}.{name}")
            return value

        return make

    found = {}
    for step, op in WHOLE.items():
        passing = {"x", "residual"} if isinstance(op, Linear) else {"x"}
        given = zip(op.inputs, random_inputs(op, seed), strict=True)
        makers = {o.name: maker(step, o.name, value) for o, value in given if o.name not in passing}
        found[step] = Constants(op, makers)
    return found


def by_layers(gemm_of: Any = blas, fidelity: Fidelity = Fidelity.FAST) -> Device:
    return Emulator(fidelity, gemm_of=gemm_of).prepared(WHOLE.values(), "layer")


def results(device: Device, held: Held) -> list[bytes]:
    """Of all ops."""
    found = []
    for step, op in WHOLE.items():
        passing = {o.name: x for o, x in zip(op.inputs, random_inputs(op, 9), strict=True)}
        y = np.empty(op.outputs[0].shape, np.float32)
        device.run(op, {**passing, **held[step], "y": y})
        found.append(y.tobytes())
    return found


@pytest.mark.parametrize("gemm_of", [blas, fastest])
def test_what_lies_together_is_kept_and_nothing_of_it_is_made_again(tmp_path: Path, gemm_of: Any) -> None:
    made: list[str] = []
    wanted = results(device := by_layers(gemm_of), hold(constants_of_whole([]), device, None))
    first = hold(constants_of_whole([]), device, kept_in(tmp_path))
    before = contents(device, first)
    assert results(device, first) == wanted
    assert contents(device, first) == before  # runs take nothing of it
    other = by_layers(gemm_of)
    again = hold(constants_of_whole(made), other, kept_in(tmp_path))
    assert made == ["norm.weight", "norm.bias"]
    assert contents(other, again) == before
    products = {name: x for name, x in arrays_of(other, again).items() if "product" in name}
    assert len(products) == 2 + 4 + 1
    assert not any(array.flags.writeable for array in products.values())
    for _ in range(2):
        assert results(other, again) == wanted
        other.trim()


@pytest.mark.parametrize(
    "name", ["stem.headers", "stem.RESIDUAL", "layer.sizes", "layer.product3", "linear.product0"]
)
def test_damage_to_what_lies_together_is_found(tmp_path: Path, name: str) -> None:
    made: list[str] = []
    wanted = contents(device := by_layers(), hold(constants_of_whole([]), device, kept_in(tmp_path)))
    file = entry(tmp_path) / f"{name}.npy"
    content = bytearray(file.read_bytes())
    content[-5] ^= 4
    file.write_bytes(content)
    assert staging.damaged(entry(tmp_path)) == [file.name]
    assert contents(device, hold(constants_of_whole(made), device, kept_in(tmp_path))) == wanted
    assert sorted(made) == sorted(
        f"{step}.{name}" for step, of in constants_of_whole([]).items() for name in of
    )
    assert staging.damaged(entry(tmp_path)) == []


def test_what_lies_together_is_for_its_weights_its_cpu_and_its_kernel(tmp_path: Path) -> None:
    """And for its number of rows: headers say it."""
    hold(constants_of_whole([]), by_layers(), kept_in(tmp_path, "these"))
    gemm = Emulator(gemm_of=blas).prepared(WHOLE.values(), "gemm")
    others = [(by_layers(), "those"), (by_layers(other_form), "these"), (gemm, "these")]
    for number, (device, identity) in enumerate(others, 2):
        made: list[str] = []
        held = hold(constants_of_whole(made, seed=number), device, kept_in(tmp_path, identity))
        assert "layer.qkv_weight" in made
        assert contents(device, held) == contents(
            device, hold(constants_of_whole([], seed=number), device, None)
        )
        assert len(list(tmp_path.glob("staged-*"))) == number
    forms = [by_layers().kept_forms(EncoderLayer(n_ctx, 64, 1, 100)) for n_ctx in (20, 21)]
    assert forms[0].keys() == forms[1].keys()
    assert not set(forms[0].values()) & set(forms[1].values())


def test_where_every_dispatch_is_executed_nothing_that_lies_together_is_kept(tmp_path: Path) -> None:
    device = by_layers(fidelity=Fidelity.EXACT)
    hold(constants_of_whole([]), device, kept_in(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_lies_together_is_that_of_its_version() -> None:
    """If this fails, increase _HELD_VERSION of the layer kernels, or the number in KEPT_FORM."""
    made = constants_of_whole([])
    rng = np.random.default_rng(3)
    for step, op in WHOLE.items():
        values = {o.name: (rng.integers(-99, 99, o.shape) / 64).astype("f4") for o in op.inputs}
        makers = {name: partial(values.__getitem__, name) for name in made[step]}
        made[step] = Constants(op, makers)
    kept = arrays_of(device := by_layers(), hold(made, device, None))
    content = b"".join(kept[name].tobytes() for name in sorted(kept))
    assert sha256(content).hexdigest()[:16] == "02ccb4ebb614f9d1"
