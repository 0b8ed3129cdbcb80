"""Whisper's real weights, read from a CTranslate2 folder, in the classes of openai-whisper and transformers.

Names of the variables: ctranslate2/specs/whisper_spec.py; of the tensors: whisper/model.py, and
transformers' models/whisper/convert_openai_to_hf.py.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.checkpoint.ctranslate2_folder import parse_model

torch = pytest.importorskip("torch", reason="needs PyTorch: make test-torch")

Tensors = dict[str, "torch.Tensor"]

_NORMS = {"self_attention": "attn_ln", "attention": "cross_attn_ln", "ffn": "mlp_ln"}
# CTranslate2's linear layer -> openai's, stacked along the rows.
_LINEAR = {
    "self_attention/linear_0": ("attn.query", "attn.key", "attn.value"),
    "self_attention/linear_1": ("attn.out",),
    "attention/linear_0": ("cross_attn.query",),
    "attention/linear_1": ("cross_attn.key", "cross_attn.value"),
    "attention/linear_2": ("cross_attn.out",),
    "ffn/linear_0": ("mlp.0",),
    "ffn/linear_1": ("mlp.2",),
}
# openai's name -> transformers', in this order.
_HUGGING_FACE = (
    (r"\.blocks\.", ".layers."),
    (r"\bcross_attn_ln\b", "encoder_attn_layer_norm"),
    (r"\battn_ln\b", "self_attn_layer_norm"),
    (r"\bmlp_ln\b", "final_layer_norm"),
    (r"\bmlp\.0\b", "fc1"),
    (r"\bmlp\.2\b", "fc2"),
    (r"\bcross_attn\b", "encoder_attn"),
    (r"\battn\b", "self_attn"),
    (r"\b(query|key|value)\b", lambda found: f"{found[1][0]}_proj"),
    (r"_attn\.out\b", "_attn.out_proj"),
    (r"\b(ln_post|ln)\b", "layer_norm"),
    (r"\btoken_embedding\b", "embed_tokens"),
    (r"\bpositional_embedding\b", "embed_positions.weight"),
)


def folder_of(name: str) -> Path:
    """The CTranslate2 folder of a model whose weights package is installed."""
    return load_checkpoint(name).decoder_folder


def openai_tensors(folder: Path) -> Tensors:
    """All of a model's tensors under openai's names, float32."""
    file = parse_model(folder / "model.bin")

    def read(name: str) -> torch.Tensor:
        return torch.from_numpy(file.floats(name, file.variable(name).shape)().astype(np.float32))

    def norm(theirs: str, ours: str) -> Tensors:
        return {f"{ours}.weight": read(f"{theirs}/gamma"), f"{ours}.bias": read(f"{theirs}/beta")}

    found: Tensors = {"decoder.token_embedding.weight": read("decoder/embeddings/weight")}
    for convolution in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            found[f"encoder.{convolution}.{part}"] = read(f"encoder/{convolution}/{part}")
    for side, last in (("encoder", "ln_post"), ("decoder", "ln")):
        found[f"{side}.positional_embedding"] = read(f"{side}/position_encodings/encodings")
        found |= norm(f"{side}/layer_norm", f"{side}.{last}")
        for layer in itertools.count():
            theirs, ours = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            if f"{theirs}/ffn/linear_0/weight" not in file.variables:
                break
            for part, name in _NORMS.items():
                if f"{theirs}/{part}/layer_norm/gamma" in file.variables:
                    found |= norm(f"{theirs}/{part}/layer_norm", f"{ours}.{name}")
            for part, names in _LINEAR.items():
                for kind in ("weight", "bias"):
                    if f"{theirs}/{part}/{kind}" in file.variables:
                        rows = read(f"{theirs}/{part}/{kind}").chunk(len(names))
                        named = zip(names, rows, strict=True)
                        found |= {f"{ours}.{name}.{kind}": tensor for name, tensor in named}
    return {name: tensor for name, tensor in found.items() if not name.endswith("attn.key.bias")}


def openai_dims(tensors: Tensors) -> dict[str, int]:
    """As openai's checkpoints have them."""
    n_state, n_mels, _ = tensors["encoder.conv1.weight"].shape

    def layers(side: str) -> int:
        return len({name.split(".")[2] for name in tensors if name.startswith(f"{side}.blocks.")})

    return {
        "n_mels": n_mels,
        "n_audio_ctx": len(tensors["encoder.positional_embedding"]),
        "n_audio_state": n_state,
        "n_audio_head": n_state // 64,
        "n_audio_layer": layers("encoder"),
        "n_vocab": len(tensors["decoder.token_embedding.weight"]),
        "n_text_ctx": len(tensors["decoder.positional_embedding"]),
        "n_text_state": n_state,
        "n_text_head": n_state // 64,
        "n_text_layer": layers("decoder"),
    }


def write_openai(folder: Path, file: Path) -> None:
    """A checkpoint that whisper.load_model reads, of a CTranslate2 folder."""
    tensors = openai_tensors(folder)
    torch.save({"dims": openai_dims(tensors), "model_state_dict": tensors}, file)


def write_hugging_face(folder: Path, out: Path) -> None:
    """A folder that transformers' from_pretrained and pipeline read, of a CTranslate2 folder."""
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizerFast,
    )

    tensors = openai_tensors(folder)
    dims = openai_dims(tensors)
    settings = json.loads((folder / "config.json").read_text())
    end = "<|endoftext|>"
    tokenizer = WhisperTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        bos_token=end,
        eos_token=end,
        pad_token=end,
        unk_token=end,
    )
    ends = tokenizer.convert_tokens_to_ids(end)
    special = {"bos_token_id": ends, "eos_token_id": ends, "pad_token_id": ends}
    special["decoder_start_token_id"] = tokenizer.convert_tokens_to_ids("<|startoftranscript|>")
    config = WhisperConfig(
        vocab_size=dims["n_vocab"],
        num_mel_bins=dims["n_mels"],
        encoder_layers=dims["n_audio_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        decoder_layers=dims["n_text_layer"],
        decoder_attention_heads=dims["n_text_head"],
        d_model=dims["n_audio_state"],
        encoder_ffn_dim=4 * dims["n_audio_state"],
        decoder_ffn_dim=4 * dims["n_text_state"],
        **special,
    )
    model = WhisperForConditionalGeneration(config)
    model.model.load_state_dict({_hugging_face(name): tensor for name, tensor in tensors.items()})
    model.tie_weights()
    model.generation_config = GenerationConfig(
        **special,
        is_multilingual=dims["n_vocab"] >= 51865,
        no_timestamps_token_id=tokenizer.convert_tokens_to_ids("<|notimestamps|>"),
        max_initial_timestamp_index=50,
        max_length=dims["n_text_ctx"],
        suppress_tokens=settings["suppress_ids"],
        begin_suppress_tokens=settings["suppress_ids_begin"],
        alignment_heads=settings["alignment_heads"],
    )
    model.save_pretrained(out)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=dims["n_mels"]), tokenizer).save_pretrained(out)


def _hugging_face(name: str) -> str:
    for pattern, theirs in _HUGGING_FACE:
        name = re.sub(pattern, theirs, name)
    return name
