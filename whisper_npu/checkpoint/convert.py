"""Converts a Hugging Face folder to a CTranslate2 folder, once, into the cache, without torch.

CTranslate2 needs the whole model, so the encoder is included. Names of the variables:
ctranslate2/specs/whisper_spec.py and transformer_spec.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu import cache
from whisper_npu.checkpoint import huggingface_folder, vocabulary
from whisper_npu.checkpoint.files import read_json, read_small, sha256
from whisper_npu.checkpoint.huggingface_folder import DecoderDimensions, Tensors
from whisper_npu.encoder import ModelDimensions, encoder_shapes
from whisper_npu.errors import CacheError

# Part of every cache key: increase it whenever the same input would give another folder.
_CONVERTER_VERSION = "1"

CONVERTED = "converted"  # the kind of cache entry; made from a folder

# Every file that a conversion reads besides the weights.
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "normalizer.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)


def ctranslate2_folder(folder: Path, cache_folder: Path, progress: Callable[[str], None]) -> Path:
    """The cached CTranslate2 folder for a Hugging Face folder, converted first if it is absent.

    The cache key covers the content of every file that is read, so two checkpoints never share an entry.
    If the cache cannot be written, the folder lasts as long as this process, and `progress` is told why.
    Raises CheckpointError, naming file, tensor or token, if the checkpoint cannot be converted.
    """
    key = cache_key(folder)

    def build(out: Path) -> None:
        progress(f"converting {folder} for the decoder, once")
        convert(folder, out)

    about = cache.About(CONVERTED, str(folder.resolve()), identity=key)
    try:
        return cache.find_or_build(cache_folder, key, build, about)
    except CacheError as error:
        progress(f"converting it for this run only, which the next start does again: {error}")
        return cache.build_for_this_run(lambda out: convert(folder, out))


def cache_key(folder: Path) -> str:
    """The name of the conversion's entry: another one when the content of any file changes."""
    inputs = [folder / name for name in SMALL_FILES if os.path.isfile(folder / name)]
    inputs += huggingface_folder.weight_files(folder)
    return cache.content_key(
        f"converter {_CONVERTER_VERSION}", [(path.name, sha256(path)) for path in inputs]
    )


def convert(folder: Path, out: Path) -> None:
    """Convert a Hugging Face folder into an empty folder. Raises CheckpointError."""
    dims, decoder = huggingface_folder.read_config(folder)
    with huggingface_folder.open_tensors(folder) as tensors:
        spec = whisper_spec(tensors, dims, decoder)
    optional = folder / "generation_config.json"
    generation = read_json(optional) if os.path.isfile(optional) else {}
    multilingual = generation.get("is_multilingual")

    tokens = vocabulary.listed(
        vocabulary.write_tokenizer(folder, out / "tokenizer.json"),
        decoder.n_vocab,
        multilingual if isinstance(multilingual, bool) else None,
        folder,
    )
    settings = vocabulary.whisper_config(
        tokens, generation, read_json(folder / "config.json"), decoder.n_text_layer, decoder.n_text_head
    )
    spec.register_vocabulary(tokens)
    for key, value in settings.items():
        setattr(spec.config, key, value)
    spec.validate()
    spec.optimize()  # stores equal arrays once, above all the output projection and the embedding
    spec.save(str(out))

    _write_preprocessor_config(folder, dims.n_mels, out)
    normalizer = folder / "normalizer.json"
    if os.path.isfile(normalizer):
        (out / normalizer.name).write_bytes(read_small(normalizer))


def _write_preprocessor_config(folder: Path, n_mels: int, out: Path) -> None:
    """Write the checkpoint's own file if it agrees with the weights, otherwise one that does."""
    source = folder / "preprocessor_config.json"
    settings = read_json(source) if os.path.isfile(source) else {}
    if settings.get("feature_size") != n_mels:
        settings = {"feature_size": n_mels}
    (out / source.name).write_text(json.dumps(settings), "utf-8")


def whisper_spec(tensors: Tensors, dims: ModelDimensions, decoder: DecoderDimensions) -> Any:
    """CTranslate2's WhisperSpec, with every array in the checkpoint's dtype."""
    from ctranslate2.specs import WhisperSpec

    spec = WhisperSpec(dims.n_audio_layer, dims.n_audio_head, decoder.n_text_layer, decoder.n_text_head)
    ours = encoder_shapes(dims)
    shapes = {
        theirs: ours[name] for name, theirs in huggingface_folder.encoder_names(dims.n_audio_layer).items()
    }
    shapes |= huggingface_folder.decoder_shapes(decoder)
    fill = _Filler(tensors, shapes)

    for convolution in ("conv1", "conv2"):
        fill.linear(getattr(spec.encoder, convolution), f"encoder.{convolution}")
    for side, side_spec in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        side_spec.position_encodings.encodings = fill.read(f"{side}.embed_positions.weight")
        fill.norm(side_spec.layer_norm, f"{side}.layer_norm")
        for i, layer in enumerate(side_spec.layer):
            block = f"{side}.layers.{i}"
            attention = f"{block}.self_attn"
            fill.norm(layer.self_attention.layer_norm, f"{attention}_layer_norm")
            fill.linear(layer.self_attention.linear[0], *(f"{attention}.{name}_proj" for name in "qkv"))
            fill.linear(layer.self_attention.linear[1], f"{attention}.out_proj")
            if side == "decoder":
                attention = f"{block}.encoder_attn"
                fill.norm(layer.attention.layer_norm, f"{attention}_layer_norm")
                fill.linear(layer.attention.linear[0], f"{attention}.q_proj")
                fill.linear(layer.attention.linear[1], f"{attention}.k_proj", f"{attention}.v_proj")
                fill.linear(layer.attention.linear[2], f"{attention}.out_proj")
            fill.norm(layer.ffn.layer_norm, f"{block}.final_layer_norm")
            fill.linear(layer.ffn.linear_0, f"{block}.fc1")
            fill.linear(layer.ffn.linear_1, f"{block}.fc2")

    embedding = fill.read("decoder.embed_tokens.weight")
    spec.decoder.embeddings.weight = embedding
    # Saved models omit the output projection if it equals the embedding.
    projection = "proj_out.weight"
    spec.decoder.projection.weight = (
        tensors.read(projection, embedding.shape) if projection in tensors else embedding
    )
    return spec


class _Filler:
    """Fills the layers of a specification with a checkpoint's tensors."""

    def __init__(self, tensors: Tensors, shapes: dict[str, tuple[int, ...]]) -> None:
        self._tensors = tensors
        self._shapes = shapes

    def read(self, name: str) -> NDArray[Any]:
        return self._tensors.read(name, self._shapes[name])

    def norm(self, spec: Any, name: str) -> None:
        spec.gamma, spec.beta = self.read(f"{name}.weight"), self.read(f"{name}.bias")

    def linear(self, spec: Any, *names: str) -> None:
        """Fill one linear layer or convolution; several tensors are stacked along their rows."""
        spec.weight = _stack([self.read(f"{name}.weight") for name in names])
        spec.bias = _stack([self._bias(name) for name in names])

    def _bias(self, name: str) -> NDArray[Any]:
        if f"{name}.bias" in self._shapes:
            return self.read(f"{name}.bias")
        # Keys have no bias, but the stacked layer has one.
        query = self.read(f"{name.removesuffix('k_proj')}q_proj.bias")
        return np.zeros_like(query)


def _stack(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    if len({array.dtype for array in arrays}) > 1:
        arrays = [array.astype(np.float32) for array in arrays]  # represents all three dtypes exactly
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
