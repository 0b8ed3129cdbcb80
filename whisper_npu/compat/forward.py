"""The forward of a PyTorch encoder, done by an AudioEncoder in its place.

Nothing of ours becomes a part of the module: its parameters, state_dict, hooks and `.to()` stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from whisper_npu.checkpoint.arrays import ArraysOnDemand
from whisper_npu.compat.attached import Attached
from whisper_npu.encoder import ModelDimensions, encoder_shapes, prepared_encoder
from whisper_npu.errors import CheckpointError, UsageError
from whisper_npu.npu.device import Device
from whisper_npu.transcription.opening import device_for

_WRAPPED = "_old_forward"  # where accelerate keeps the forward that its hooks are around; its hooks.py
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
    stand_in = _StandIn(module)
    arrays = _arrays(module, dims, names)
    with device_for(device, threads) as opened:
        encoder = prepared_encoder(dims, arrays, opened, kernel)
        close = opened.close if isinstance(device, str) else _leave_open
        attached = Attached(encoder, stand_in.put_back, close)
        stand_in.put(forward_of(attached))
    return attached


def encode(attached: Attached, module: Any, mel: Any) -> Any:
    """Every window of a batch, encoded.

    mel: tensor (batch, n_mels, 2 * n_audio_ctx). Returns a tensor (batch, n_audio_ctx, n_audio_state) of the
    same dtype on the same device. Where autograd would record what `module` does, a backward pass through
    the result raises UsageError. Raises UsageError for another shape, and what `Attached.encode` raises.
    """
    import torch

    dims = attached.encoder.dims
    expected = (dims.n_mels, 2 * dims.n_audio_ctx)
    if tuple(mel.shape[1:]) != expected:
        raise UsageError(
            f"the mel has shape {tuple(mel.shape)}, this model takes (batch, {expected[0]}, {expected[1]})"
        )
    features = torch.from_numpy(attached.encode(_numpy(mel))).to(mel)
    if torch.is_grad_enabled() and (mel.requires_grad or any(p.requires_grad for p in module.parameters())):
        features.requires_grad_(True)
        features.register_hook(_no_gradients)
    return features


def _no_gradients(_gradient: Any) -> NoReturn:
    raise UsageError(
        "the attached encoder has no gradients: detach() it to train the encoder, or freeze the encoder "
        "(requires_grad_(False)) to train the decoder alone"
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
        """Raises UsageError where one is in place."""
        self._module = module
        self._original = module.forward
        self._attribute = vars(module).get("forward")  # None: the class's method, as of most modules
        if any(isinstance(vars(module).get(name), _StandIn) for name in ("forward", _WRAPPED)):
            raise UsageError("the model has this encoder already: detach() it first")

    def __call__(self, *given: Any, **kwargs: Any) -> Any:
        return self._forward(self._module, *given, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._module, "forward")

    def put(self, forward: Callable[..., Any]) -> None:
        import torch

        self._forward = torch.compiler.disable(forward)  # is called by compiled code, not compiled
        self._module.forward = self

    def put_back(self) -> None:
        """Where somebody else has replaced the forward meanwhile, theirs stays."""
        here = vars(self._module)
        if here.get(_WRAPPED) is self:
            setattr(self._module, _WRAPPED, self._original)
        if here.get("forward") is self:
            del self._module.forward
            if self._attribute is not None:
                self._module.forward = self._attribute


def _leave_open() -> None:
    """For a device that the caller opened."""
