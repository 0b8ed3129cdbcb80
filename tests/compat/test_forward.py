"""What holds for a small model of either package: while attached its encoder is ours, and nothing else is."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.compat.real_models import torch
from whisper_npu.compat import attach, detach
from whisper_npu.errors import (
    CheckpointError,
    DeviceNotFoundError,
    FeaturesError,
    NoEffectError,
    UsageError,
)
from whisper_npu.npu.emulator.device import Emulator

N_MELS, N_CTX, N_STATE = 80, 50, 128
FEATURES = (N_CTX, N_STATE)
# How far features may lie from PyTorch's, relative to their length: products take bf16 operands, and a model
# in bfloat16 loses more than that by itself.
NEAR = {torch.float32: 0.01, torch.float16: 0.01, torch.bfloat16: 0.03}


@dataclass
class Small:
    model: Any
    encoder: Any  # the module whose forward is replaced
    first_weight: str  # of the encoder's first block, by its name in the encoder's state_dict

    def encode(self, mel: Any) -> Any:
        found = self.encoder(mel)
        return found if isinstance(found, torch.Tensor) else found.last_hidden_state


def transformers_model() -> Small:
    transformers = pytest.importorskip("transformers")
    config = transformers.WhisperConfig(
        d_model=N_STATE,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=4 * N_STATE,
        decoder_ffn_dim=4 * N_STATE,
        vocab_size=100,
        max_source_positions=N_CTX,
        max_target_positions=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = transformers.WhisperForConditionalGeneration(config).eval()
    return Small(model, model.model.encoder, "layers.0.fc1.weight")


def openai_model() -> Small:
    whisper = pytest.importorskip("whisper")
    model = whisper.model.Whisper(
        whisper.model.ModelDimensions(N_MELS, N_CTX, N_STATE, 2, 2, 100, 20, N_STATE, 2, 1)
    )
    torch.nn.init.normal_(model.decoder.positional_embedding)  # left as memory was
    return Small(model, model.encoder, "blocks.0.mlp.0.weight")


@pytest.fixture(params=[transformers_model, openai_model])
def small(request: pytest.FixtureRequest) -> Small:
    torch.manual_seed(0)
    make: Callable[[], Small] = request.param
    return make()


@pytest.fixture
def mel() -> Any:
    """(2, n_mels, 2 * n_ctx) float32"""
    return torch.randn(2, N_MELS, 2 * N_CTX, generator=torch.Generator().manual_seed(0))


def apart(found: Any, expected: Any) -> float:
    difference = (found.float() - expected.float()).norm() / expected.float().norm()
    return float(difference)


@pytest.mark.parametrize("dtype", NEAR, ids=str)
def test_features_are_near_those_of_pytorch(small: Small, mel: Any, dtype: Any) -> None:
    if is_hugging_face(small):  # openai-whisper keeps float32 weights
        small.model.to(dtype)
    with torch.no_grad():
        expected = small.encode(mel.to(dtype))
        with attach(small.model, device="emulator") as attached, attached.recording() as recording:
            found = small.encode(mel.to(dtype))
    assert found.dtype == dtype
    assert found.shape == (2, *FEATURES)
    assert 0 < apart(found, expected) < NEAR[dtype]
    assert attached.device.name == "emulator"
    assert recording.stats.dispatches > 0


def test_the_weights_are_the_models_own(small: Small, mel: Any) -> None:
    with torch.no_grad():
        before = small.encode(mel)
        for weight in small.encoder.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        expected = small.encode(mel)
        with attach(small.model, device="emulator"):
            found = small.encode(mel)
    assert apart(found, expected) < NEAR[torch.float32]
    assert apart(found, before) > 0.1


def test_a_key_bias_changes_nothing(mel: Any) -> None:
    small = transformers_model()
    for layer in small.encoder.layers:
        layer.self_attn.k_proj.bias = torch.nn.Parameter(torch.randn(N_STATE))
    with torch.no_grad():
        expected = small.encode(mel)
        with attach(small.model, device="emulator"):
            assert apart(small.encode(mel), expected) < NEAR[torch.float32]


def test_detaching_gives_the_model_its_own_encoder_back(small: Small, mel: Any) -> None:
    with torch.no_grad():
        before = small.encode(mel)
        attached = attach(small.model, device="emulator")
        assert not torch.equal(small.encode(mel), before)
        attached.detach()
        attached.detach()
        assert torch.equal(small.encode(mel), before)
    assert "forward" not in vars(small.encoder)


def test_a_model_takes_one_encoder_at_a_time(small: Small, mel: Any) -> None:
    with torch.no_grad():
        before = small.encode(mel)
        with attach(small.model, device="emulator"):
            found = small.encode(mel)
            with pytest.raises(UsageError, match="detach"):
                attach(small.model, device="emulator")
            assert torch.equal(small.encode(mel), found)
        assert torch.equal(small.encode(mel), before)
        with attach(small.model, device="emulator"):
            assert torch.equal(small.encode(mel), found)


def test_a_forward_that_somebody_else_had_set_comes_back(small: Small, mel: Any) -> None:
    own = small.encoder.forward
    theirs = small.encoder.forward = lambda *given, **kwargs: own(*given, **kwargs)
    with attach(small.model, device="emulator"):
        assert small.encoder.forward is not theirs
    assert small.encoder.forward is theirs


def test_a_hook_of_accelerate_around_ours_stays(small: Small, mel: Any) -> None:
    """accelerate's add_hook_to_module moves the forward, which generate() does by itself on some devices."""
    calls = []

    def hooked(*given: Any, **kwargs: Any) -> Any:
        calls.append(given)
        return small.encoder._old_forward(*given, **kwargs)

    with torch.no_grad():
        before = small.encode(mel)
        attached = attach(small.model, device="emulator")
        small.encoder._old_forward = small.encoder.forward
        small.encoder.forward = hooked
        with attached.recording() as recording:
            small.encode(mel)
        assert recording.stats.dispatches > 0
        with pytest.raises(UsageError, match="detach"):
            attach(small.model, device="emulator")
        attached.detach()
        assert small.encoder.forward is hooked
        assert torch.equal(small.encode(mel), before)
    assert len(calls) == 2


def compiled(forward: Any) -> Any:
    return torch.compile(forward, backend="eager")


def wrapped(forward: Any) -> Any:
    return lambda *given: forward(*given)


@pytest.mark.parametrize("wrap", [compiled, wrapped])
def test_a_wrapper_around_ours_stays(small: Small, mel: Any, wrap: Callable[[Any], Any]) -> None:
    with torch.no_grad():
        before = small.encode(mel)
        with attach(small.model, device="emulator"):
            theirs = small.encoder.forward = wrap(small.encoder.forward)
            found = small.encode(mel)
            with pytest.raises(UsageError, match=r"detach\(model\)"):
                attach(small.model, device="emulator")
        assert small.encoder.forward is theirs
        assert torch.equal(small.encode(mel), before)
        with attach(small.model, device="emulator") as again, again.recording() as recording:
            assert torch.equal(small.encode(mel), found)
        assert recording.stats.dispatches > 0
        assert torch.equal(small.encode(mel), before)
    torch.compiler.reset()


def test_a_model_can_be_detached_by_itself(small: Small, mel: Any) -> None:
    attached = attach(small.model, device="emulator")
    assert repr(attached) == "<Attached: encoder on emulator, attached>"
    detach(small.model)
    assert repr(attached) == "<Attached: encoder on emulator, detached>"
    with pytest.raises(UsageError, match="nothing to detach"):
        detach(small.model)
    with pytest.raises(UsageError, match="was detached"):
        attached.recording()


def added_in_place(small: Small) -> None:
    with torch.no_grad():
        small.encoder.get_parameter(small.first_weight).add_(1e-3)


def loaded(small: Small) -> None:
    small.encoder.load_state_dict(small.encoder.state_dict())


def assigned(small: Small) -> None:
    doubled = {name: 2 * tensor for name, tensor in small.encoder.state_dict().items()}
    small.encoder.load_state_dict(doubled, assign=True)


def with_other_data(small: Small) -> None:
    weight = small.encoder.get_parameter(small.first_weight)
    weight.data = 1.01 * weight.data


def with_an_adapter_around(small: Small) -> None:
    """As PEFT does: the layer becomes a part of another one."""
    *outer, last = small.first_weight.removesuffix(".weight").split(".")
    around = small.encoder.get_submodule(".".join(outer))
    setattr(around, last, torch.nn.Sequential(getattr(around, last)))


@pytest.mark.parametrize(
    "change", [added_in_place, loaded, assigned, with_other_data, with_an_adapter_around]
)
def test_weights_that_change_after_attach_are_noticed(
    small: Small, mel: Any, change: Callable[[Small], None]
) -> None:
    with torch.no_grad(), attach(small.model, device="emulator"):
        small.encode(mel)
        change(small)
        for _ in range(2):
            with pytest.raises(UsageError, match="has changed since attach: detach"):
                small.encode(mel)


def test_a_model_that_is_moved_goes_on_working(small: Small, mel: Any) -> None:
    with torch.no_grad(), attach(small.model, device="emulator"):
        expected = small.encode(mel)
        for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.float32):
            small.model.to(dtype)
            assert apart(small.encode(mel.to(dtype)), expected) < NEAR[torch.bfloat16]
        assert torch.equal(small.encode(mel), expected)
        added_in_place(small)
        with pytest.raises(UsageError, match="has changed"):
            small.encode(mel)


def test_a_device_of_the_callers_stays_open(small: Small, mel: Any) -> None:
    with Emulator() as device, torch.no_grad():
        for _ in range(2):
            with attach(small.model, device=device) as attached:
                assert small.encode(mel).shape == (2, *FEATURES)
                assert attached.device.threads is device.threads


def test_nothing_of_ours_is_part_of_the_model(small: Small, mel: Any) -> None:
    modules, tensors = list(small.model.modules()), dict(small.model.state_dict())
    with torch.no_grad():
        own = small.encode(mel)
        with attach(small.model, device="emulator"):
            assert list(small.model.modules()) == modules
            assert list(small.model.state_dict()) == list(tensors)
            for copied in (copy.deepcopy(small.model), pickle.loads(pickle.dumps(small.model))):
                encoder = getattr(copied, "model", copied).encoder
                assert torch.equal(Small(copied, encoder, "").encode(mel), own)
                attach(copied, device="emulator").detach()
            assert not torch.equal(small.encode(mel), own)
            small.model.double()
            small.model.float()
            assert apart(small.encode(mel), own) < NEAR[torch.float32]


def test_compiled_code_calls_the_device(small: Small, mel: Any) -> None:
    with torch.no_grad(), attach(small.model, device="emulator") as attached:
        compiled = torch.compile(small.encoder, backend="eager")
        with attached.recording() as recording:
            found = compiled(mel)
        assert recording.stats.dispatches > 0
        found = found if isinstance(found, torch.Tensor) else found.last_hidden_state
        assert torch.equal(found, small.encode(mel))
    torch.compiler.reset()


def test_there_are_no_gradients_of_the_encoder(small: Small, mel: Any) -> None:
    with attach(small.model, device="emulator"):
        features = small.encode(mel)  # as PyTorch's own encoder: whoever only looks is not disturbed
        with pytest.raises(UsageError, match=r"gradients.*freeze"):
            features.sum().backward()


def test_a_decoder_can_be_trained_alone(small: Small, mel: Any) -> None:
    small.encoder.requires_grad_(False)
    tokens = torch.tensor([[3, 4], [3, 5]])
    small.model.train()
    with attach(small.model, device="emulator") as attached, attached.recording() as recording:
        found = (
            small.model(mel, decoder_input_ids=tokens) if is_hugging_face(small) else small.model(mel, tokens)
        )
        logits = found if isinstance(found, torch.Tensor) else found.logits
        logits.sum().backward()
    assert recording.stats.dispatches > 0
    decoder = getattr(small.model, "model", small.model).decoder
    assert all(weight.grad is not None for weight in decoder.parameters())


def is_hugging_face(small: Small) -> bool:
    return type(small.model).__module__.startswith("transformers.")


def test_an_empty_batch(small: Small) -> None:
    with torch.no_grad(), attach(small.model, device="emulator"):
        assert small.encode(torch.zeros(0, N_MELS, 2 * N_CTX)).shape == (0, *FEATURES)


@pytest.mark.parametrize(
    "shape", [(N_MELS, 2 * N_CTX), (1, 2 * N_CTX, N_MELS), (1, N_MELS, 99), (1, 1, N_MELS, 100)]
)
def test_a_mel_of_another_shape_is_refused(small: Small, mel: Any, shape: tuple[int, ...]) -> None:
    with torch.no_grad(), attach(small.model, device="emulator"):
        with pytest.raises(UsageError, match=r"shape \(.*takes \(batch, 80, 100\)"):
            small.encode(torch.zeros(shape))
        assert small.encode(mel).shape == (2, *FEATURES)  # the next call works


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_a_mel_that_is_no_floating_point_is_refused(small: Small, mel: Any, dtype: Any) -> None:
    with torch.no_grad(), attach(small.model, device="emulator") as attached:
        with pytest.raises(FeaturesError, match=rf"the mel is {dtype}, must be floating-point"):
            small.encode(mel.to(dtype))
        with pytest.raises(ValueError, match="must be floating-point"):
            attached.encode(mel.to(dtype).numpy())


def test_what_is_no_tensor_is_refused(small: Small, mel: Any) -> None:
    with torch.no_grad(), attach(small.model, device="emulator"):
        for given in (mel.numpy(), None):
            with pytest.raises(
                FeaturesError, match=rf"the mel is a {type(given).__name__}, must be a tensor"
            ):
                small.encode(given)
        with pytest.raises(
            TypeError, match=rf"{type(small.encoder).__name__}\.forward\(\) missing 1 required"
        ):
            small.encoder()


@pytest.mark.filterwarnings("ignore:.torch.jit.trace.* is deprecated:DeprecationWarning")
def test_tracing_is_refused(small: Small, mel: Any) -> None:
    with (
        torch.no_grad(),
        attach(small.model, device="emulator"),
        pytest.raises(UsageError, match=r"torch\.jit\.trace.*detach"),
    ):
        torch.jit.trace(lambda given: small.encode(given), (mel,))


def test_without_an_npu_there_is_none(small: Small, mel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise DeviceNotFoundError("no NPU")

    monkeypatch.setattr("whisper_npu.npu.xrt.device.open_npu", none)
    with pytest.raises(DeviceNotFoundError):
        attach(small.model, device="npu")
    assert "forward" not in vars(small.encoder)


@pytest.mark.parametrize(
    "given",
    [
        {"checkpoint": "tiny.en"},
        {"model_dir": Path()},
        {"cache_dir": Path()},
        {"local_files_only": True},
        {"progress": print},
    ],
)
def test_what_has_no_effect_is_refused(small: Small, given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(NoEffectError, match=f"{name} has no effect: .*leave it out"):
        attach(small.model, **given)
    with Emulator() as opened, pytest.raises(NoEffectError, match="threads has no effect"):
        attach(small.model, device=opened, threads=2)


def of_another_shape(module: Any) -> None:
    module.bias = torch.nn.Parameter(torch.zeros(3))


def not_finite(module: Any) -> None:
    module.weight.data[0, 0] = torch.nan


def in_int8(module: Any) -> None:
    module.weight = torch.nn.Parameter(module.weight.to(torch.int8), requires_grad=False)


def with_an_adapter(module: Any) -> None:
    module.lora_A = torch.nn.Linear(4, 4)


def without_a_bias(module: Any) -> None:
    module.bias = None


@pytest.mark.parametrize(
    "damage",
    [
        of_another_shape,
        not_finite,
        in_int8,
        with_an_adapter,
        without_a_bias,
        partial(torch.nn.Module.to, device="meta"),
    ],
)
def test_other_weights_than_a_whisper_encoders_are_refused(
    small: Small, damage: Callable[[Any], Any]
) -> None:
    name = small.first_weight.removesuffix(".weight")
    damage(small.encoder.get_submodule(name))
    with pytest.raises(CheckpointError, match=r"(layers|blocks)\.0\."):
        attach(small.model, device="emulator")
    assert "forward" not in vars(small.encoder)


def test_other_models_are_refused(small: Small) -> None:
    with pytest.raises(UsageError, match=r"give the one within it, model\._orig_mod"):
        attach(compiled(small.model))
    with pytest.raises(UsageError, match=r"model\.module, or attach before"):
        attach(torch.nn.DataParallel(small.model))
    with pytest.raises(UsageError, match="Linear"):
        attach(torch.nn.Linear(3, 3))
    with pytest.raises(UsageError, match="Decoder"):
        attach(getattr(small.model, "model", small.model).decoder)
