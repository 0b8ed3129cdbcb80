"""A Hugging Face folder: config.json and safetensors, as transformers' Whisper classes save them.

Names and meanings of the configuration: transformers' WhisperConfig; names of the tensors:
WhisperForConditionalGeneration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  # teaches NumPy the name bfloat16, which safetensors looks up
import numpy as np
from numpy.typing import NDArray

from whisper_npu.checkpoint.files import read_json
from whisper_npu.encoder import ModelDimensions, encoder_shapes
from whisper_npu.errors import CheckpointError, one_line, quoted

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Before "encoder.": the full model and the bare one, alone or within a wrapper: PEFT's, DataParallel's.
_PREFIXES = tuple(
    f"{wrapper}{model}"
    for wrapper in ("", "model.", "base_model.model.", "module.", "module.base_model.model.")
    for model in ("model.", "")
)
# Of PEFT, within a wrapped model: a layer that has an adapter keeps its own weights under this name.
_ADAPTED, _ADAPTERS = ".base_layer.", (".lora_", ".modules_to_save.", ".ia3_", ".ada_")
_SHARD = re.compile(r"[\w-][\w .+-]{0,200}\.safetensors", re.ASCII)
_DTYPES = {"F16", "F32", "BF16"}

# encoder_shapes' name -> transformers', below encoder.
_STEM = {
    "conv1.weight": "conv1.weight",
    "conv1.bias": "conv1.bias",
    "conv2.weight": "conv2.weight",
    "conv2.bias": "conv2.bias",
    "positional_embedding": "embed_positions.weight",
    "ln_post.weight": "layer_norm.weight",
    "ln_post.bias": "layer_norm.bias",
}
# The same below encoder.layers.i.
_BLOCK = {
    "attn_ln": "self_attn_layer_norm",
    "attn.query": "self_attn.q_proj",
    "attn.key": "self_attn.k_proj",
    "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "mlp_ln": "final_layer_norm",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
}


@dataclass(frozen=True)
class DecoderDimensions:
    """The decoder's sizes, in the names of openai/whisper; read from a checkpoint, never assumed."""

    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int
    n_text_mlp: int


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files with the weights, or [] if the folder has none.

    Raises CheckpointError if the index names no file, or one outside the folder. The files may be absent.
    """
    if os.path.isfile(folder / SINGLE):
        return [folder / SINGLE]
    index = folder / INDEX
    if not os.path.isfile(index):
        return []
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise CheckpointError(f"{index}: weight_map names no shard; copy the file again")
    for shard in shards.values():
        # Plain names only: a path could lead out of the folder.
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise CheckpointError(
                f"{index}: weight_map names the shard {quoted(shard)}, expected a .safetensors file in the "
                "same folder; save the model again"
            )
    return [folder / shard for shard in sorted(set(shards.values()))]


def read_config(folder: Path) -> tuple[ModelDimensions, DecoderDimensions]:
    """The sizes in config.json. Raises CheckpointError if it does not describe a Whisper model."""
    path = folder / CONFIG
    return dimensions(read_json(path), path)


def dimensions(config: Mapping[str, Any], where: Path | str) -> tuple[ModelDimensions, DecoderDimensions]:
    """The sizes in a WhisperConfig. where: what errors name.

    Raises CheckpointError if it does not describe a Whisper model.
    """

    def require(key: str, expected: Any) -> None:
        if (found := config.get(key, expected)) != expected:
            raise CheckpointError(
                f"{where}: {key} is {quoted(found)}; only {expected!r} is Whisper's and is supported"
            )

    def size(key: str) -> int:
        value = config.get(key)
        if type(value) is not int or value < 1:
            raise CheckpointError(f"{where}: {key} is {quoted(value)}, expected a whole number of 1 or more")
        return value

    require("model_type", "whisper")
    require("activation_function", "gelu")
    require("scale_embedding", False)
    n_state = size("d_model")
    for key in ("encoder_attention_heads", "decoder_attention_heads"):
        if n_state % size(key):
            raise CheckpointError(f"{where}: {key} is {size(key)}, which does not divide d_model {n_state}")
    encoder = ModelDimensions(
        n_mels=size("num_mel_bins"),
        n_audio_ctx=size("max_source_positions"),
        n_audio_state=n_state,
        n_audio_head=size("encoder_attention_heads"),
        n_audio_layer=size("encoder_layers"),
        n_audio_mlp=size("encoder_ffn_dim"),
    )
    decoder = DecoderDimensions(
        n_vocab=size("vocab_size"),
        n_text_ctx=size("max_target_positions"),
        n_text_state=n_state,
        n_text_head=size("decoder_attention_heads"),
        n_text_layer=size("decoder_layers"),
        n_text_mlp=size("decoder_ffn_dim"),
    )
    return encoder, decoder


def encoder_names(n_layer: int) -> dict[str, str]:
    """encoder_shapes' name -> transformers' name, from "encoder." on."""
    names = {ours: f"encoder.{theirs}" for ours, theirs in _STEM.items()}
    for layer in range(n_layer):
        for ours, theirs in _BLOCK.items():
            for part in ("weight", "bias"):
                names[f"blocks.{layer}.{ours}.{part}"] = f"encoder.layers.{layer}.{theirs}.{part}"
        del names[f"blocks.{layer}.attn.key.bias"]
    return names


def decoder_shapes(dims: DecoderDimensions) -> dict[str, tuple[int, ...]]:
    """Every array of the decoder under transformers' name, from "decoder." on, with its shape."""
    n_state, n_mlp = dims.n_text_state, dims.n_text_mlp
    shapes: dict[str, tuple[int, ...]] = {
        "decoder.embed_tokens.weight": (dims.n_vocab, n_state),
        "decoder.embed_positions.weight": (dims.n_text_ctx, n_state),
        "decoder.layer_norm.weight": (n_state,),
        "decoder.layer_norm.bias": (n_state,),
    }
    block: dict[str, tuple[int, ...]] = {
        "fc1.weight": (n_mlp, n_state),
        "fc1.bias": (n_mlp,),
        "fc2.weight": (n_state, n_mlp),
        "fc2.bias": (n_state,),
        "final_layer_norm.weight": (n_state,),
        "final_layer_norm.bias": (n_state,),
    }
    for attention in ("self_attn", "encoder_attn"):
        block |= {f"{attention}_layer_norm.{part}": (n_state,) for part in ("weight", "bias")}
        block |= {f"{attention}.{name}_proj.weight": (n_state, n_state) for name in ("q", "k", "v", "out")}
        block |= {f"{attention}.{name}_proj.bias": (n_state,) for name in ("q", "v", "out")}
    for layer in range(dims.n_text_layer):
        shapes |= {f"decoder.layers.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")  # PEFT's
MERGE = (
    "merge the adapter into the model that it was trained from first, where peft is installed: "
    "PeftModel.from_pretrained(WhisperForConditionalGeneration.from_pretrained(base), adapter)"
    ".merge_and_unload().save_pretrained(folder)"
)


class Tensors:
    """The tensors in a checkpoint's open safetensors files.

    Their names begin with "encoder.", "decoder." or "proj_out.", whatever prefix the files use.
    """

    def __init__(self, files: Sequence[tuple[Path, Any]]) -> None:
        self._homes = {key: (path, handle) for path, handle in files for key in handle.keys()}  # noqa: SIM118
        self._paths = [path for path, _ in files]
        end = "encoder.conv1.weight"
        self._prefix = next((prefix for prefix in _PREFIXES if prefix + end in self._homes), _PREFIXES[0])
        for key, (path, _) in self._homes.items():
            if _ADAPTED in key or any(part in key for part in _ADAPTERS):
                raise CheckpointError(f"{path}: {key[:120]} belongs to an adapter (PEFT): {MERGE}")

    def __contains__(self, name: str) -> bool:
        return self._key(name) in self._homes

    def _key(self, name: str) -> str:
        # The output projection is not part of the model that holds encoder and decoder.
        outer = self._prefix.removesuffix("model.")
        return (outer if name.startswith("proj_out.") else self._prefix) + name

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        """Raises CheckpointError if the tensor is missing, or of another shape or dtype. Reads no data."""
        key = self._key(name)
        if key not in self._homes:
            raise CheckpointError(
                f"{', '.join(map(str, self._paths))}: tensor {key} is missing, expected shape {shape} by "
                "config.json; save the whole model again"
            )
        path, handle = self._homes[key]
        view = handle.get_slice(key)
        if (found := tuple(view.get_shape())) != shape:
            raise CheckpointError(f"{path}: tensor {key} has shape {found}, expected {shape} by config.json")
        if (dtype := str(view.get_dtype())) not in _DTYPES:
            raise CheckpointError(
                f"{path}: tensor {key} has dtype {dtype}, expected one of {', '.join(sorted(_DTYPES))}; "
                "save the model in one of them"
            )

    def read(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """A copy of the tensor in float16, float32 or bfloat16, after `check`."""
        self.check(name, shape)
        _, handle = self._homes[self._key(name)]
        return np.asarray(handle.get_tensor(self._key(name)))

    def require_only(self, names: Iterable[str]) -> None:
        """Raises CheckpointError if encoder or decoder have a tensor besides `names` and key biases.

        Otherwise adapters that were never merged, and layers beyond config.json's count, would be dropped
        silently. The softmax over the keys cancels key biases.
        """
        expected = {self._key(name) for name in names}
        ours = (f"{self._prefix}encoder.", f"{self._prefix}decoder.")
        for key, (path, _) in self._homes.items():
            if key.startswith(ours) and key not in expected and not key.endswith(".k_proj.bias"):
                raise CheckpointError(
                    f"{path}: tensor {key} has no place in the Whisper that config.json describes; merge "
                    "adapters into the weights, or correct config.json"
                )


@contextmanager
def open_tensors(folder: Path) -> Iterator[Tensors]:
    """The checkpoint's tensors while the context lasts; data is read on demand.

    Raises CheckpointError if a shard is absent, truncated, or not a safetensors file.
    """
    from safetensors import safe_open

    with ExitStack() as stack:
        files = []
        for path in weight_files(folder):
            if not os.path.isfile(path):
                raise CheckpointError(
                    f"{folder}: shard {path.name}, which {INDEX} names, is missing; download or copy it again"
                )
            try:
                files.append((path, stack.enter_context(safe_open(path, framework="numpy"))))
            except Exception as error:  # SafetensorError, which is no subclass of anything narrower
                raise CheckpointError(
                    f"{path}: expected a safetensors file, found one that does not parse "
                    f"({one_line(error)}); download or copy it again"
                ) from error
        yield Tensors(files)


def read_encoder(folder: Path) -> tuple[ModelDimensions, dict[str, NDArray[Any]]]:
    """The encoder's sizes and arrays, under encoder_shapes' names and in its shapes and the files' dtypes.

    Raises CheckpointError, naming file, tensor, what was found and what was expected, if anything is wrong
    with config.json or the safetensors files, including the decoder's tensors.
    """
    dims, decoder = read_config(folder)
    with open_tensors(folder) as tensors:
        # Before lists of so many layers are made.
        for side, n_layer, n_mlp in (
            ("encoder", dims.n_audio_layer, dims.n_audio_mlp),
            ("decoder", decoder.n_text_layer, decoder.n_text_mlp),
        ):
            tensors.check(f"{side}.layers.{n_layer - 1}.fc1.bias", (n_mlp,))
        names, shapes = encoder_names(dims.n_audio_layer), encoder_shapes(dims)
        for name, shape in decoder_shapes(decoder).items():
            tensors.check(name, shape)
        tensors.require_only([*names.values(), *decoder_shapes(decoder)])
        return dims, {ours: tensors.read(theirs, shapes[ours]) for ours, theirs in names.items()}
