"""The encoder arrays of every format give what CTranslate2's own encoder gives from the decoder's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.support.checkpoints import read_model_bin, tiny_config, tiny_tensors, write_checkpoint, write_tiny
from tests.support.reference_encoder import reference_encode
from whisper_npu.checkpoint import Checkpoint, load_checkpoint
from whisper_npu.checkpoint.convert import whisper_spec
from whisper_npu.checkpoint.huggingface_folder import open_tensors, read_config
from whisper_npu.encoder import encoder_shapes


def assert_same_encoder(checkpoint: Checkpoint, *, tolerance: float) -> None:
    """Arrays and folder agree to `tolerance` of the largest output."""
    import ctranslate2

    dims = checkpoint.dims
    shapes = {name: array.shape for name, array in checkpoint.encoder.items()}
    assert shapes == encoder_shapes(dims)
    mel = np.random.default_rng(7).standard_normal((dims.n_mels, 2 * dims.n_audio_ctx), dtype=np.float32)
    whisper = ctranslate2.models.Whisper(str(checkpoint.decoder_folder), compute_type="float32")
    theirs = np.array(whisper.encode(ctranslate2.StorageView.from_array(mel[None])))[0]
    ours = reference_encode(checkpoint.encoder, dims, mel)
    assert theirs.shape == ours.shape == (dims.n_audio_ctx, dims.n_audio_state)
    assert np.abs(theirs - ours).max() <= tolerance * np.abs(ours).max()


def quantised(hf_folder: Path, out: Path, quantization: str) -> Path:
    """The Hugging Face folder as CTranslate2's own quantisation stores it."""
    dims, decoder = read_config(hf_folder)
    with open_tensors(hf_folder) as tensors:
        spec = whisper_spec(tensors, dims, decoder)
    spec.register_vocabulary(["<|startoftranscript|>", *(f"{i}" for i in range(decoder.n_vocab - 1))])
    spec.validate()
    spec.optimize(quantization=quantization)
    out.mkdir()
    spec.save(str(out))
    for name, content in (("tokenizer.json", "{}"), ("preprocessor_config.json", '{"feature_size": 128}')):
        (out / name).write_text(content)
    return out


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"encoder_layers": 3, "encoder_attention_heads": 4, "decoder_layers": 2, "num_mel_bins": 80},
        {"encoder_layers": 1, "d_model": 64, "encoder_attention_heads": 1, "decoder_attention_heads": 4},
    ],
)
def test_hugging_face_and_ctranslate2_hold_the_same_encoder(
    tmp_path: Path, dtype: Any, sizes: dict[str, int]
) -> None:
    folder = write_tiny(tmp_path / "hf", dtype=dtype, **sizes)
    checkpoint = load_checkpoint(folder, cache_dir=tmp_path / "cache")
    assert {array.dtype for array in checkpoint.encoder.values()} == {np.dtype(dtype)}
    assert_same_encoder(checkpoint, tolerance=2e-5)

    again = load_checkpoint(checkpoint.decoder_folder)
    assert again.dims == checkpoint.dims
    assert again.encoder.keys() == checkpoint.encoder.keys()
    for name, array in again.encoder.items():
        assert array.tobytes() == checkpoint.encoder[name].tobytes()
        assert array.dtype == np.dtype(dtype)


@pytest.mark.parametrize("quantization", ["int8", "int8_float16", "int16", "float16"])
def test_quantised_weights_come_back_as_ctranslate2_uses_them(tmp_path: Path, quantization: str) -> None:
    folder = write_tiny(tmp_path / "hf")
    exact = load_checkpoint(folder, cache_dir=tmp_path / "cache").encoder
    checkpoint = load_checkpoint(quantised(folder, tmp_path / "ct2", quantization))
    assert_same_encoder(checkpoint, tolerance=2e-5)
    for name, array in checkpoint.encoder.items():
        if quantization.startswith("int") and name.endswith(".weight") and array.ndim > 1:
            assert array.dtype == np.float32
        assert np.abs(array.astype(np.float32) - exact[name]).max() < 0.01, name


def test_equal_arrays_are_stored_once_and_found_under_both_names(tmp_path: Path) -> None:
    config = tiny_config()
    tensors = tiny_tensors(config)
    for name in ("fc1.weight", "self_attn.k_proj.weight", "final_layer_norm.bias"):
        tensors[f"model.encoder.layers.1.{name}"] = tensors[f"model.encoder.layers.0.{name}"]
    for part in ("weight", "bias"):
        for projection in "qv":
            name = f"self_attn.{projection}_proj.{part}"
            tensors[f"model.encoder.layers.1.{name}"] = tensors[f"model.encoder.layers.0.{name}"]
    # An array of the encoder may be stored under a name of the decoder.
    tensors["model.encoder.layer_norm.weight"] = tensors["model.decoder.layer_norm.weight"]
    folder = write_checkpoint(tmp_path / "hf", config, tensors)
    exact = load_checkpoint(folder, cache_dir=tmp_path / "cache")
    assert_same_encoder(exact, tolerance=2e-5)
    aliased = load_checkpoint(exact.decoder_folder).encoder
    assert all(np.array_equal(aliased[name], array) for name, array in exact.encoder.items())
    stored = read_model_bin(exact.decoder_folder / "model.bin")
    once, twice = (stored[f"encoder/layer_{i}/self_attention/linear_0/weight"] for i in (0, 1))
    assert once is twice

    int8 = load_checkpoint(quantised(folder, tmp_path / "ct2", "int8"))
    assert_same_encoder(int8, tolerance=2e-5)
    assert np.array_equal(int8.encoder["blocks.0.mlp.0.weight"], int8.encoder["blocks.1.mlp.0.weight"])
