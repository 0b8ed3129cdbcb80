"""The forward of a PyTorch encoder, done by an AudioEncoder in its place.

Nothing of ours becomes a part of the module: its parameters, state_dict, hooks and `.to()` stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from whisper_npu.checkpoint.arrays import ArraysOnDemand
from whisper_npu.compat.attached import Attached, already_attached
from whisper_npu.encoder import ModelDimensions, encoder_shapes, prepared_encoder
from whisper_npu.errors import CheckpointError, FeaturesError, UsageError
from whisper_npu.npu.device import Device
from whisper_npu.transcription.opening import device_for

_WRAPPED = "_old_forward"  # where accelerate keeps the forward that its hooks are around; its hooks.py
_MARK = "_whisper_npu_forward"  # where a module has its stand-in, whatever others make of its forward
_MODEL = "the model"  # what errors name: it has no path
_REMEDY = "merge adapters into the weights, and load the model without quantisation or offloading"


def attach_module(
    module: Any,
    dims: ModelDimensions,
    names: Mapping[str, str],
    forward_of: Callable[[Attached], Callable[..., Any]],
    *,
    device: str | Device,
    kernel: str,
    threads: int | None,
) -> Attached:
    """Stage a module's own weights on the device, and let them do its forward.

    names: encoder_shapes' name -> that of the module's tensor.
    forward_of: makes the forward, whose first argument is the module.
    Raises UsageError if the module has a forward of ours already; CheckpointError for weights that are no
    Whisper encoder's; what opening the device and choosing the kernel raise.
    """
    if attached_module(module) is not None:
        raise already_attached()
    arrays = _arrays(module, dims, names)
    stand_in = _StandIn(module)
    with device_for(device, threads) as (opened, close):
        encoder = prepared_encoder(dims, arrays, opened, kernel)
        attached = Attached(encoder, stand_in.put_back, close)
        stand_in.put(attached, forward_of(attached))
    return attached


def attached_module(module: Any) -> Attached | None:
    """What does this module's forward, if that is one of ours; also where others have wrapped it."""
    stand_in = vars(module).get(_MARK)
    return stand_in.attached if isinstance(stand_in, _StandIn) else None


def encode(attached: Attached, module: Any, mel: Any, dtype: Any = None) -> Any:
    """Every window of a batch, encoded.

    mel: tensor (batch, n_mels, 2 * n_audio_ctx). dtype: what it must have, but within autocast; None: any.
    Returns a tensor (batch, n_audio_ctx, n_audio_state) of the same dtype on the same device. Where autograd
    would record what `module` does, a backward pass through the result raises UsageError.
    Raises FeaturesError for what is no tensor of floating-point numbers, or of another dtype; UsageError
    while PyTorch traces; and what `Attached.encode` raises.
    """
    import torch

    if not isinstance(mel, torch.Tensor):
        raise FeaturesError(
            f"the mel is a {type(mel).__name__}, must be a tensor, such as torch.from_numpy gives"
        )
    if not mel.is_floating_point():
        raise FeaturesError(f"the mel is {mel.dtype}, must be floating-point numbers")
    if dtype not in (None, mel.dtype) and not torch.is_autocast_enabled(mel.device.type):
        raise FeaturesError(f"the mel is {mel.dtype}, the model is {dtype}: pass it .to(model.dtype)")
    if torch.jit.is_tracing():
        raise UsageError("torch.jit.trace keeps nothing of what the device does: detach() to trace the model")
    features = torch.from_numpy(attached.encode(_numpy(mel))).to(mel)
    if torch.is_grad_enabled() and (mel.requires_grad or any(p.requires_grad for p in module.parameters())):
        features.requires_grad_(True)
        features.register_hook(_no_gradients)
    return features


def _no_gradients(_gradient: Any) -> NoReturn:
    raise UsageError(
        "the attached encoder has no gradients: detach() it to train the encoder, or freeze the encoder "
        "(requires_grad_(False)) to train the decoder alone; call zero_grad(), as other gradients are there"
    )


def _arrays(module: Any, dims: ModelDimensions, names: Mapping[str, str]) -> ArraysOnDemand:
    """The module's weights, read when they are asked for. Raises CheckpointError."""
    tensors, shapes = module.state_dict(), encoder_shapes(dims)
    # The softmax over the keys cancels key biases, which some models have.
    known = {*names.values(), *(name for name in tensors if name.endswith(".k_proj.bias"))}
    for name in tensors:
        if name not in known:
            raise CheckpointError(f"{_MODEL}: tensor {name} has no place in a Whisper encoder; {_REMEDY}")
    for ours, theirs in names.items():
        if (tensor := tensors.get(theirs)) is None:
            raise CheckpointError(f"{_MODEL}: tensor {theirs} of the encoder is missing; {_REMEDY}")
        if tuple(tensor.shape) != shapes[ours] or not tensor.is_floating_point() or tensor.is_meta:
            raise CheckpointError(
                f"{_MODEL}: tensor {theirs} of the encoder is {tensor.dtype} {tuple(tensor.shape)} on "
                f"{tensor.device}, expected floating-point numbers {shapes[ours]} in memory; {_REMEDY}"
            )

    def reader(name: str) -> Callable[[], NDArray[Any]]:
        return lambda: _numpy(tensors[name])

    return ArraysOnDemand(_MODEL, {ours: reader(theirs) for ours, theirs in names.items()})


def _numpy(tensor: Any) -> NDArray[np.float32]:
    """float32, in the tensor's own memory where that has it."""
    return np.asarray(tensor.detach().float().cpu().numpy())


class _StandIn:
    """What is set as a module's attribute `forward`.

    A copy of it is the forward of the module's class: a copied, pickled or saved model has its own encoder.
    """

    def __init__(self, module: Any) -> None:
        self.attached: Attached | None = None
        self._module = module
        self._original = module.forward
        self._attribute = vars(module).get("forward")  # None: the class's method, as of most modules
        self._weights = _Weights(module)

    def __call__(self, *given: Any, **kwargs: Any) -> Any:
        if self.attached is None:  # somebody has wrapped this while it was attached
            return self._original(*given, **kwargs)
        return self._on_device(*given, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._module, "forward")

    def put(self, attached: Attached, forward: Callable[..., Any]) -> None:
        import torch

        forward.__qualname__ = f"{type(self._module).__qualname__}.forward"  # errors of Python name it

        def on_device(*given: Any, **kwargs: Any) -> Any:
            if self._weights.changed():
                raise UsageError("the model's encoder has changed since attach: detach() and attach again")
            return forward(self._module, *given, **kwargs)

        self._on_device = torch.compiler.disable(on_device)  # is called by compiled code, not compiled
        self.attached = attached
        self._module.forward = self
        setattr(self._module, _MARK, self)

    def put_back(self) -> None:
        """Where somebody else has replaced the forward meanwhile, theirs stays."""
        self.attached = None
        here = vars(self._module)
        if here.get(_MARK) is self:
            delattr(self._module, _MARK)
        if here.get(_WRAPPED) is self:
            setattr(self._module, _WRAPPED, self._original)
        if here.get("forward") is self:
            del self._module.forward
            if self._attribute is not None:
                self._module.forward = self._attribute


class _Weights:
    """Whether a module still has the weights that it had, which is asked at every call.

    Whatever PyTorch does in place counts as a change. Where a tensor lies elsewhere, as after `.to()` and
    `.half()`, some of its values are compared, and rounding them is no change.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        tensors = _tensors(module)
        self._values = {name: _some_values(tensor) for name, tensor in tensors.items()}
        self._seen = {name: _place_and_version(tensor) for name, tensor in tensors.items()}

    def changed(self) -> bool:
        tensors = _tensors(self._module)
        seen = {name: _place_and_version(tensor) for name, tensor in tensors.items()}
        if seen == self._seen:
            return False
        if seen.keys() != self._seen.keys():
            return True
        for name, tensor in tensors.items():
            before = self._seen[name]
            if seen[name] == before or tensor.is_meta:  # offloaded: there is nothing to compare
                continue
            _, version = seen[name]
            if version > before[1] or not _same(_some_values(tensor), self._values[name]):
                return True
        self._seen = seen
        return False


def _tensors(module: Any) -> dict[str, Any]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _place_and_version(tensor: Any) -> tuple[int, int]:
    """The version counts what is done in place; tensors of inference mode have none."""
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version


def _some_values(tensor: Any) -> NDArray[np.float32]:
    """From 64 to 127 of them, evenly spread, or all of fewer; (n,) float32"""
    return _numpy(tensor.detach().flatten()[:: max(1, tensor.numel() // 64)]).copy()


def _same(values: NDArray[np.float32], before: NDArray[np.float32]) -> bool:
    """But for rounding: bfloat16 has 8 significant bits, the smallest float16 is 6e-8."""
    return values.shape == before.shape and np.allclose(values, before, rtol=2**-8, atol=6e-8, equal_nan=True)
