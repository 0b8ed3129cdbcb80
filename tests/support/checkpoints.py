"""Whisper checkpoints on disk for tests: real weights rewritten, and small random ones.

CTranslate2's model.bin is read here a second time, without any of the package's code, so that the package's
reader is compared with something.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

Arrays = dict[str, np.ndarray]
TokenizerFiles = Literal["json", "vocab"]

_DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16, ml_dtypes.bfloat16)


def read_model_bin(path: Path) -> Arrays:
    """Every variable of a sound model.bin, aliases included."""
    content, at = path.read_bytes(), 0

    def number(layout: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + layout, content, at)
        at += struct.calcsize("<" + layout)
        return int(value)

    def text() -> str:
        nonlocal at
        length = number("H")
        value = content[at : at + length - 1].decode()
        at += length
        return value

    assert (number("I"), text(), number("I")) == (6, "WhisperSpec", 3)
    arrays: Arrays = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        dtype = np.dtype(_DTYPES[number("B")])
        n_bytes = number("I")
        arrays[name] = np.frombuffer(content[at : at + n_bytes], dtype).reshape(shape)
        at += n_bytes
    for _ in range(number("I")):
        alias, target = text(), text()
        arrays[alias] = arrays[target]
    return arrays


def write_hf_folder(
    ct2_folder: Path, out: Path, *, shards: int = 1, tokenizer: TokenizerFiles = "json"
) -> Path:
    """The same model as a Hugging Face folder, every weight bit for bit."""
    stored = read_model_bin(ct2_folder / "model.bin")
    settings = json.loads((ct2_folder / "config.json").read_text())
    n_vocab, n_state = stored["decoder/embeddings/weight"].shape
    sides = {
        side: sum(f"{side}/layer_{i}/ffn/linear_0/weight" in stored for i in range(99)) for side in SIDES
    }
    config = {
        "model_type": "whisper",
        "activation_function": "gelu",
        "scale_embedding": False,
        "d_model": n_state,
        "num_mel_bins": stored["encoder/conv1/weight"].shape[1],
        "max_source_positions": stored["encoder/position_encodings/encodings"].shape[0],
        "max_target_positions": stored["decoder/position_encodings/encodings"].shape[0],
        "vocab_size": n_vocab,
    }
    for side, n_layer in sides.items():
        config[f"{side}_layers"] = n_layer
        config[f"{side}_attention_heads"] = int(stored[f"{side}/num_heads"])
        config[f"{side}_ffn_dim"] = stored[f"{side}/layer_0/ffn/linear_0/weight"].shape[0]

    parts = json.loads((ct2_folder / "tokenizer.json").read_text("utf-8"))
    languages = {t["content"]: t["id"] for t in parts["added_tokens"] if t["id"] in settings["lang_ids"]}
    multilingual = "" in parts["model"]["vocab"]
    generation = {
        "is_multilingual": multilingual,
        "alignment_heads": settings["alignment_heads"],
        "suppress_tokens": settings["suppress_ids"],
        "begin_suppress_tokens": settings["suppress_ids_begin"],
    }
    if multilingual:
        generation["lang_to_id"] = languages
    return write_checkpoint(
        out,
        config,
        _hf_tensors(stored, sides),
        tokenizer_json=parts,
        generation=generation,
        shards=shards,
        tokenizer=tokenizer,
    )


SIDES = ("encoder", "decoder")


def _hf_tensors(stored: Arrays, sides: dict[str, int]) -> Arrays:
    tensors = {
        f"model.encoder.{conv}.{part}": stored[f"encoder/{conv}/{part}"]
        for conv in ("conv1", "conv2")
        for part in ("weight", "bias")
    }
    tensors["model.decoder.embed_tokens.weight"] = stored["decoder/embeddings/weight"]

    def norm(theirs: str, ours: str) -> None:
        tensors[f"model.{ours}.weight"] = stored[f"{theirs}/gamma"]
        tensors[f"model.{ours}.bias"] = stored[f"{theirs}/beta"]

    def linear(theirs: str, *ours: str) -> None:
        for part in ("weight", "bias"):
            pieces = np.split(stored[f"{theirs}/{part}"], len(ours))
            tensors.update({f"model.{name}.{part}": piece for name, piece in zip(ours, pieces, strict=True)})

    for side, n_layer in sides.items():
        tensors[f"model.{side}.embed_positions.weight"] = stored[f"{side}/position_encodings/encodings"]
        norm(f"{side}/layer_norm", f"{side}.layer_norm")
        for i in range(n_layer):
            a, b = f"{side}/layer_{i}", f"{side}.layers.{i}"
            norm(f"{a}/self_attention/layer_norm", f"{b}.self_attn_layer_norm")
            linear(f"{a}/self_attention/linear_0", *(f"{b}.self_attn.{x}_proj" for x in "qkv"))
            linear(f"{a}/self_attention/linear_1", f"{b}.self_attn.out_proj")
            if side == "decoder":
                norm(f"{a}/attention/layer_norm", f"{b}.encoder_attn_layer_norm")
                linear(f"{a}/attention/linear_0", f"{b}.encoder_attn.q_proj")
                linear(f"{a}/attention/linear_1", *(f"{b}.encoder_attn.{x}_proj" for x in "kv"))
                linear(f"{a}/attention/linear_2", f"{b}.encoder_attn.out_proj")
            norm(f"{a}/ffn/layer_norm", f"{b}.final_layer_norm")
            linear(f"{a}/ffn/linear_0", f"{b}.fc1")
            linear(f"{a}/ffn/linear_1", f"{b}.fc2")
    for name in [name for name in tensors if name.endswith("k_proj.bias")]:
        assert not tensors.pop(name).any()
    return tensors


def tiny_config(**changes: Any) -> dict[str, Any]:
    """A config.json of odd sizes, every one of them different from the others; d_head is 8."""
    config = {
        "model_type": "whisper",
        "activation_function": "gelu",
        "scale_embedding": False,
        "d_model": 24,
        "num_mel_bins": 128,
        "max_source_positions": 1500,
        "max_target_positions": 448,
        "encoder_layers": 2,
        "encoder_attention_heads": 3,
        "encoder_ffn_dim": 56,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 40,
        "vocab_size": 1787,
    }
    return config | changes


def tiny_tensors(config: dict[str, Any], *, dtype: Any = np.float32, seed: int = 0) -> Arrays:
    """Random weights for a config.json, under WhisperForConditionalGeneration's names, output tied."""
    random = np.random.default_rng(seed)
    n_state = config["d_model"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.encoder.conv1.weight": (n_state, config["num_mel_bins"], 3),
        "model.encoder.conv1.bias": (n_state,),
        "model.encoder.conv2.weight": (n_state, n_state, 3),
        "model.encoder.conv2.bias": (n_state,),
        "model.encoder.embed_positions.weight": (config["max_source_positions"], n_state),
        "model.decoder.embed_positions.weight": (config["max_target_positions"], n_state),
        "model.decoder.embed_tokens.weight": (config["vocab_size"], n_state),
    }
    for side in SIDES:
        blocks = [f"model.{side}.layers.{i}" for i in range(config[f"{side}_layers"])]
        norms = [f"model.{side}.layer_norm"]
        n_mlp = config[f"{side}_ffn_dim"]
        for block in blocks:
            norms += [f"{block}.self_attn_layer_norm", f"{block}.final_layer_norm"]
            attentions = [f"{block}.self_attn"]
            if side == "decoder":
                norms.append(f"{block}.encoder_attn_layer_norm")
                attentions.append(f"{block}.encoder_attn")
            for attention in attentions:
                for name in ("q", "k", "v", "out"):
                    shapes[f"{attention}.{name}_proj.weight"] = (n_state, n_state)
                    if name != "k":
                        shapes[f"{attention}.{name}_proj.bias"] = (n_state,)
            shapes |= {f"{block}.fc1.weight": (n_mlp, n_state), f"{block}.fc1.bias": (n_mlp,)}
            shapes |= {f"{block}.fc2.weight": (n_state, n_mlp), f"{block}.fc2.bias": (n_state,)}
        shapes |= {f"{norm}.{part}": (n_state,) for norm in norms for part in ("weight", "bias")}
    # Wide enough that attention is far from uniform and every bias shows.
    return {name: (0.3 * random.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}


def tiny_tokenizer(*, multilingual: bool = False) -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE with four merges and Whisper's special tokens."""
    from tokenizers import pre_tokenizers

    words = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [["t", "h"], ["th", "e"], ["Ġ", "the"], ["a", "n"]]
    words += ["".join(pair) for pair in merges]
    if multilingual:
        words.append("")
    names = ["endoftext", "startoftranscript", "en", "de", "haw", "translate", "transcribe", "startoflm"]
    names += ["startofprev", "nospeech" if multilingual else "nocaptions", "notimestamps"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": len(words) + i, "content": f"<|{name}|>", **flags} for i, name in enumerate(names)
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "vocab": {word: i for i, word in enumerate(words)},
            "merges": merges,
        },
    }


def write_checkpoint(
    out: Path,
    config: dict[str, Any],
    tensors: Arrays,
    *,
    tokenizer_json: dict[str, Any] | None = None,
    generation: dict[str, Any] | None = None,
    shards: int = 1,
    tokenizer: TokenizerFiles = "json",
) -> Path:
    """A Hugging Face folder with these contents; without a tokenizer given, tiny_tokenizer's."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "config.json", config)
    if generation is not None:
        write_json(out / "generation_config.json", generation)
    _write_tokenizer(out, tokenizer_json or tiny_tokenizer(), tokenizer)
    write_tensors(out, tensors, shards=shards)
    return out


def write_tiny(out: Path, *, dtype: Any = np.float32, seed: int = 0, **changes: Any) -> Path:
    """A Hugging Face folder with a small random Whisper in it."""
    config = tiny_config(**changes)
    return write_checkpoint(out, config, tiny_tensors(config, dtype=dtype, seed=seed))


def write_tensors(out: Path, tensors: Arrays, *, shards: int = 1) -> None:
    # save_file writes the memory behind an array, whatever its strides.
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    if shards == 1:
        save_file(tensors, out / "model.safetensors")
        return
    names = sorted(tensors)
    weight_map = {}
    for k in range(shards):
        file = f"model-{k + 1:05d}-of-{shards:05d}.safetensors"
        save_file({name: tensors[name] for name in names[k::shards]}, out / file)
        weight_map |= dict.fromkeys(names[k::shards], file)
    write_json(out / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), "utf-8")


def _write_tokenizer(out: Path, parts: dict[str, Any], files: TokenizerFiles) -> None:
    if files == "json":
        write_json(out / "tokenizer.json", parts)
        return
    vocab, merges = parts["model"]["vocab"], parts["model"]["merges"]
    write_json(out / "vocab.json", vocab)
    lines = [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    (out / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), "utf-8")
    write_json(out / "added_tokens.json", {token["content"]: token["id"] for token in parts["added_tokens"]})
