"""What CTranslate2 and faster-whisper take on trust in a CTranslate2 folder: checked here before they see it.

CTranslate2 indexes its arrays by the numbers in model.bin, config.json and the vocabulary without asking
whether they exist: a head, a token or a row too many ends the process. So the decoder's variables must be
Whisper's, each in its shape, and the small files are written anew, from what was found to be true of them.
Where CTranslate2 reads them: src/models/whisper.cc, src/layers/transformer.cc and attention.cc.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from whisper_npu.checkpoint import vocabulary
from whisper_npu.checkpoint.ctranslate2_folder import PREPROCESSOR, VOCABULARIES, ModelFile
from whisper_npu.checkpoint.files import read_json, read_json_list, read_small
from whisper_npu.checkpoint.huggingface_folder import DecoderDimensions
from whisper_npu.errors import CheckpointError

# Numbers that describe the decoder, below decoder/, and the values that a Whisper can have. Activations:
# ActivationType in include/ctranslate2/ops/activation.h.
_ATTRIBUTES: dict[str, range] = {
    "activation": range(8),
    "alibi": range(1),
    "alibi_use_positive_positions": range(2),
    "layernorm_embedding": range(1),
    "multi_query_attention": range(1),
    "pre_norm": range(1, 2),
    "scale_alibi": range(2),
    "scale_embeddings": range(1),
    "start_from_zero_embedding": range(1),
}


def check_decoder(model: ModelFile) -> DecoderDimensions:
    """The decoder's sizes. Raises CheckpointError unless its variables are a Whisper decoder's, no more."""
    dims = _dimensions(model)
    shapes = dict(_shapes(dims))
    for name, shape in shapes.items():
        if name.endswith("/weight"):
            model.floats(f"decoder/{name}", shape)
        elif (found := model.variable(f"decoder/{name}")).shape != shape or found.dtype.kind == "i":
            raise CheckpointError(
                f"{model.path}: variable decoder/{name} is {found.dtype} {found.shape}, expected floats "
                f"{shape}; convert the checkpoint again"
            )
    allowed = {
        **_ATTRIBUTES,
        "num_heads": range(dims.n_text_head, dims.n_text_head + 1),
        "alignment_layer": range(-dims.n_text_layer, dims.n_text_layer),
        "alignment_heads": range(dims.n_text_head + 1),
    }
    for name in model.variables:
        if not name.startswith("decoder/"):
            continue
        below = name.removeprefix("decoder/")
        if below in allowed:
            if (number := model.integer(name)) not in allowed[below]:
                raise CheckpointError(
                    f"{model.path}: {name} is {number}, which no Whisper has; convert the checkpoint again"
                )
        elif below not in shapes:
            if below.removesuffix("_scale") not in shapes:
                raise CheckpointError(
                    f"{model.path}: variable {name} has no place in a Whisper decoder of {dims.n_text_layer} "
                    "layers; convert the checkpoint again"
                )
            model.check_scale(name.removesuffix("_scale"))
    return dims


def checked_files(folder: Path, model: ModelFile, n_mels: int) -> dict[str, bytes]:
    """Name and content of every file besides model.bin, as CTranslate2 and faster-whisper may read them.

    What config.json says of heads and tokens that do not exist is left out; where nothing is left, or nothing
    was said, it is what a conversion would say. Raises CheckpointError where decoder, vocabulary and
    tokenizer do not belong together.
    """
    dims = check_decoder(model)
    listed, tokens = _vocabulary(folder)
    if len(tokens) != dims.n_vocab:
        raise CheckpointError(
            f"{folder / listed}: {len(tokens)} tokens, but model.bin has {dims.n_vocab}; copy the file from "
            "the checkpoint that model.bin was converted from"
        )
    tokenizer = read_small(folder / "tokenizer.json")
    known = vocabulary.load(tokenizer, folder)
    vocabulary.check(known, dims.n_vocab, folder)
    for token in vocabulary.SPECIAL:
        if token in known and tokens[known[token]] != token:
            raise CheckpointError(
                f"{folder}: {token} has id {known[token]} in tokenizer.json, where {listed} has "
                f"{tokens[known[token]][:40]!r}; copy both from the checkpoint that model.bin was converted "
                "from"
            )
    found = read_json(folder / "config.json")
    settings = vocabulary.whisper_config(
        tokens,
        {
            "suppress_tokens": found.get("suppress_ids"),
            "begin_suppress_tokens": found.get("suppress_ids_begin"),
            "lang_to_id": dict(enumerate(ids)) if isinstance(ids := found.get("lang_ids"), list) else None,
            "alignment_heads": found.get("alignment_heads"),
        },
        {},
        dims.n_text_layer,
        dims.n_text_head,
    )
    return {
        "config.json": json.dumps(settings).encode(),
        "tokenizer.json": tokenizer,
        "vocabulary.json": json.dumps(tokens).encode(),
        # All else in this file is the same for every Whisper, and another value would be none.
        PREPROCESSOR: json.dumps({"feature_size": n_mels}).encode(),
    }


def _vocabulary(folder: Path) -> tuple[str, list[str]]:
    """The name of the file with the vocabulary, and its tokens in the order of ids."""
    as_json, as_text = (folder / name for name in VOCABULARIES)
    if os.path.isfile(as_json):
        tokens = read_json_list(as_json)
        if not all(isinstance(token, str) for token in tokens):
            raise CheckpointError(f"{as_json}: expected a list of tokens; copy the file again")
        return as_json.name, tokens
    try:
        text = read_small(as_text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{as_text}: expected UTF-8; copy the file again") from error
    return as_text.name, text.removesuffix("\n").split("\n")


def _dimensions(model: ModelFile) -> DecoderDimensions:
    n_vocab, n_state = model.shape("decoder/embeddings/weight", 2)
    n_text_ctx, _ = model.shape("decoder/position_encodings/encodings", 2)
    n_mlp, _ = model.shape("decoder/layer_0/ffn/linear_0/weight", 2)
    n_layer = model.layers("decoder")
    n_head = model.heads("decoder", n_state)
    if n_layer < 1 or n_head < 1 or n_state % n_head:
        raise CheckpointError(
            f"{model.path}: {n_layer} decoder layers with {n_head} heads over a width of {n_state}; expected "
            "one layer or more, and a number of heads that divides the width; convert the checkpoint again"
        )
    encoder_width = model.shape("encoder/conv1/weight", 3)[0]
    if encoder_width != n_state:
        raise CheckpointError(
            f"{model.path}: the encoder is {encoder_width} wide and the decoder {n_state}; "
            "convert the checkpoint again"
        )
    return DecoderDimensions(n_vocab, n_text_ctx, n_state, n_head, n_layer, n_mlp)


def _shapes(dims: DecoderDimensions) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The arrays of a decoder, below decoder/, and their shapes."""
    n_state, n_mlp = dims.n_text_state, dims.n_text_mlp

    def norm(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}/gamma", (n_state,)
        yield f"{name}/beta", (n_state,)

    def linear(name: str, rows: int, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}/weight", (rows, columns)
        yield f"{name}/bias", (rows,)

    yield "embeddings/weight", (dims.n_vocab, n_state)
    yield "projection/weight", (dims.n_vocab, n_state)
    yield "position_encodings/encodings", (dims.n_text_ctx, n_state)
    yield from norm("layer_norm")
    for layer in range(dims.n_text_layer):
        block = f"layer_{layer}"
        yield from norm(f"{block}/self_attention/layer_norm")
        yield from linear(f"{block}/self_attention/linear_0", 3 * n_state, n_state)
        yield from linear(f"{block}/self_attention/linear_1", n_state, n_state)
        yield from norm(f"{block}/attention/layer_norm")
        yield from linear(f"{block}/attention/linear_0", n_state, n_state)
        yield from linear(f"{block}/attention/linear_1", 2 * n_state, n_state)
        yield from linear(f"{block}/attention/linear_2", n_state, n_state)
        yield from norm(f"{block}/ffn/layer_norm")
        yield from linear(f"{block}/ffn/linear_0", n_mlp, n_state)
        yield from linear(f"{block}/ffn/linear_1", n_state, n_mlp)
