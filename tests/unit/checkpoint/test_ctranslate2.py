"""The reader of CTranslate2's model.bin: what it accepts, and that damage is always one typed error."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.checkpoints import write_json, write_tiny
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.checkpoint.ctranslate2_folder import read_encoder
from whisper_npu.checkpoint.decoder import write_decoder
from whisper_npu.errors import CheckpointError


def string(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def header(*, version: int = 6, spec: str = "WhisperSpec", revision: int = 3, count: int = 0) -> bytes:
    return struct.pack("<I", version) + string(spec) + struct.pack("<II", revision, count)


def variable(name: str, shape: tuple[int, ...], type_id: int, data: bytes) -> bytes:
    dims = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return string(name) + dims + struct.pack("<BI", type_id, len(data)) + data


def num_heads_variable(n_head: int) -> bytes:
    return variable("encoder/num_heads", (), 2, struct.pack("<h", n_head))


def replace_once(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def n_variables(content: bytes) -> int:
    return int.from_bytes(content[len(header()) - 4 : len(header())], "little")


def with_count(content: bytes, count: int) -> bytes:
    return header(count=count) + content[len(header()) :]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CTranslate2 folder of a model with a context of 40; only to be read."""
    tmp_path = tmp_path_factory.mktemp("pristine")
    folder = write_tiny(tmp_path / "hf", max_source_positions=40, max_target_positions=20, vocab_size=300)
    return load_checkpoint(folder, cache_dir=tmp_path / "cache").decoder_folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    for file in pristine.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def failure(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        dict(load_checkpoint(folder).encoder)  # every array is read
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be mapped"),
        (b"version 1\noid sha256:1a5a\nsize 75537502\n", "binary version 6"),
        (header(version=5), "expected binary version 6, found 5"),
        (header(version=7), "expected binary version 6, found 7"),
        (header(spec="TransformerSpec"), "specification WhisperSpec, found 'TransformerSpec'"),
        (header(revision=4), "revision 1 to 3 of WhisperSpec, found 4"),
        (header(revision=0), "revision 1 to 3 of WhisperSpec, found 0"),
        (header()[:-1], "at byte 22: expected the number of variables of 4 bytes, found 3"),
        (header(count=2**32 - 1), "at byte 22: expected at most 100,000 variables"),
        (header(count=1) + struct.pack("<H", 0), "closing NUL"),
        (header(count=1) + struct.pack("<H", 3) + b"\xff\xfe\0", "UTF-8"),
        (header(count=1) + string("a\nb"), "printable"),
        (header(count=1) + variable("a", (1,), 6, b"\0"), "dtype from 0 to 5 for a, found 6"),
        (header(count=1) + variable("a", (2,), 0, b"\0" * 4), "the size of a: (2,) float32, found 4 bytes"),
        (header(count=1) + variable("a", (2**32 - 1,) * 3, 0, b""), "found 0 bytes"),
        (header(count=1) + variable("a", (1,), 0, b"\0" * 4)[:-1], "the data of a of 4 bytes"),
        (header(count=2) + variable("a", (), 1, b"\0") * 2, "a twice"),
        (header() + struct.pack("<I", 1) + string("a") + string("b"), "a for b"),
        (header(), "the number of aliases"),
        (header() + struct.pack("<I", 0) + b"\0", "at byte 30: expected the file's end, found 1 more bytes"),
        (header() + struct.pack("<I", 0), "variable encoder/conv1/weight is missing"),
    ],
)
def test_a_file_that_is_not_a_sound_whisper_says_so(folder: Path, content: bytes, said: str) -> None:
    (folder / "model.bin").write_bytes(content)
    assert said in failure(folder)


def test_heads_come_from_the_file_and_from_the_width_without_it(folder: Path) -> None:
    assert read_encoder(folder)[0].n_audio_head == 3
    file = folder / "model.bin"
    content = file.read_bytes()
    stored = num_heads_variable(3)
    assert content.count(stored) == 1
    for n_head in (0, -3, 5, 1000):
        file.write_bytes(content.replace(stored, num_heads_variable(n_head)))
        assert f"with {n_head} heads over a width of 24" in failure(folder)
    # 24 is less than one head of 64: nothing to fall back on.
    file.write_bytes(with_count(content.replace(stored, b""), n_variables(content) - 1))
    assert "with 0 heads" in failure(folder)


def test_heads_of_64_are_assumed_where_the_file_does_not_say(tmp_path: Path) -> None:
    hf = write_tiny(tmp_path / "hf", d_model=128, encoder_attention_heads=4, decoder_attention_heads=4)
    folder = load_checkpoint(hf, cache_dir=tmp_path / "cache").decoder_folder
    file = folder / "model.bin"
    content = file.read_bytes()
    file.write_bytes(with_count(content.replace(num_heads_variable(4), b""), n_variables(content) - 1))
    assert read_encoder(folder)[0].n_audio_head == 2


def test_a_key_bias_is_left_out(folder: Path) -> None:
    before = dict(read_encoder(folder)[1])
    file = folder / "model.bin"
    content = bytearray(file.read_bytes())
    name = string("encoder/layer_0/self_attention/linear_0/bias")
    data = content.index(name) + len(name) + 1 + 4 + 1 + 4
    content[data + 24 * 4 : data + 48 * 4] = np.full(24, 9.0, np.float32).tobytes()
    file.write_bytes(content)
    after = read_encoder(folder)[1]
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[name], array) for name, array in before.items())


def test_a_variable_of_another_shape_is_named(folder: Path) -> None:
    name = "encoder/layer_1/ffn/linear_1/weight"
    transposed = struct.pack("<B2I", 2, 56, 24)
    replace_once(
        folder / "model.bin", string(name) + struct.pack("<B2I", 2, 24, 56), string(name) + transposed
    )
    assert f"variable {name} has shape (56, 24), expected (24, 56)" in failure(folder)


def test_an_unknown_variable_of_the_encoder_is_named(folder: Path) -> None:
    file = folder / "model.bin"
    content = file.read_bytes()
    extra = variable("encoder/layer_0/self_attention/queries_scale", (), 0, struct.pack("<f", 1.0))
    content = content[: len(header())] + extra + content[len(header()) :]
    file.write_bytes(with_count(content, n_variables(content) + 1))
    assert "queries_scale has no place" in failure(folder)


def with_variable(folder: Path, extra: bytes) -> None:
    file = folder / "model.bin"
    content = file.read_bytes()
    content = content[: len(header())] + extra + content[len(header()) :]
    file.write_bytes(with_count(content, n_variables(content) + 1))


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("extra/weight", (2,), "extra/weight is neither the encoder's nor the decoder's"),
        ("weight", (), "variable weight is neither"),
        ("decoder/extra", (1,) * 255, "expected at most 3 dimensions of decoder/extra, found 255"),
        ("encoder/layer_0/ffn/linear_0/weight_scale", (3, 2), r"with a scale of float32 \(3, 2\)"),
        ("encoder/conv1/bias_scale", (7,), r"with a scale of float32 \(7,\)"),
        ("decoder/layer_0/ffn/linear_0/weight_scale", (3, 2), r"with a scale of float32 \(3, 2\)"),
    ],
)
def test_a_variable_that_no_whisper_has_is_named(
    folder: Path, tmp_path: Path, name: str, shape: tuple[int, ...], said: str
) -> None:
    with_variable(folder, variable(name, shape, 0, bytes(4 * math.prod(shape))))
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointError, match=said):  # noqa: PT012 - one of the two finds it
        read_encoder(folder)
        write_decoder(folder, tmp_path / "out", int8=False)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_named(folder: Path, bad: float) -> None:
    file = folder / "model.bin"
    content = bytearray(file.read_bytes())
    name = string("encoder/layer_1/ffn/layer_norm/gamma")
    data = content.index(name) + len(name) + 1 + 4 + 1 + 4
    content[data : data + 4] = struct.pack("<f", bad)
    file.write_bytes(content)
    assert "blocks.1.mlp_ln.weight of the encoder holds infinities" in failure(folder)


def test_int8_without_its_scale_is_named(folder: Path) -> None:
    file = folder / "model.bin"
    name = "encoder/layer_0/ffn/linear_0/weight"
    start = string(name) + struct.pack("<B2IBI", 2, 56, 24, 0, 56 * 24 * 4)
    content = file.read_bytes()
    at = content.index(start)
    end = at + len(start) + 56 * 24 * 4
    file.write_bytes(content[:at] + variable(name, (56, 24), 1, bytes(56 * 24)) + content[end:])
    assert f"variable {name}_scale is missing" in failure(folder)


@pytest.mark.parametrize("absent", ["tokenizer.json", "config.json", "vocabulary.json"])
def test_files_that_faster_whisper_would_ask_a_hub_for_are_named(folder: Path, absent: str) -> None:
    (folder / absent).unlink()
    message = failure(folder)
    assert f"lacks {absent}" in message
    assert "--copy_files" in message


def test_mel_bands_other_than_80_need_the_preprocessor_config(folder: Path) -> None:
    write_json(folder / "preprocessor_config.json", {"feature_size": 80})
    assert "feature_size is 80, but model.bin takes 128 mel bands" in failure(folder)
    (folder / "preprocessor_config.json").unlink()
    assert "lacks preprocessor_config.json" in failure(folder)


def test_an_array_that_was_read_is_a_copy(folder: Path) -> None:
    encoder = dict(read_encoder(folder)[1])
    before = {name: array.copy() for name, array in encoder.items()}
    size = (folder / "model.bin").stat().st_size
    (folder / "model.bin").write_bytes(bytes(size))
    assert all(np.array_equal(encoder[name], array) for name, array in before.items())
    assert all(array.flags.aligned and array.flags.c_contiguous for array in encoder.values())


PROPERTY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


@PROPERTY
@given(st.data())
def test_truncated_anywhere_is_a_checkpoint_error(pristine: Path, folder: Path, data: st.DataObject) -> None:
    content = (pristine / "model.bin").read_bytes()
    keep = data.draw(st.integers(0, len(content) - 1))
    (folder / "model.bin").write_bytes(content[:keep])
    failure(folder)


@PROPERTY
@given(st.data())
def test_damaged_bytes_give_a_checkpoint_error_or_a_checkpoint(
    pristine: Path, folder: Path, data: st.DataObject
) -> None:
    content = bytearray((pristine / "model.bin").read_bytes())
    # The names, shapes and sizes are a small part of the file: aim at them most of the time.
    starts = [found.start() for found in re.finditer(b"encoder|decoder", content)]
    near = st.sampled_from(starts).flatmap(lambda at: st.integers(at - 2, min(at + 70, len(content) - 1)))
    anywhere = st.integers(0, len(content) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(near, st.integers(0, 40), anywhere))
        content[at] = data.draw(st.integers(0, 255))
    (folder / "model.bin").write_bytes(content)
    try:
        load_checkpoint(folder)
    except CheckpointError as error:
        assert "\n" not in str(error)  # noqa: PT017  # a damaged weight is a sound file


@PROPERTY
@given(st.binary(max_size=400))
def test_random_bytes_are_a_checkpoint_error(folder: Path, content: bytes) -> None:
    (folder / "model.bin").write_bytes(header(count=3) + content)
    failure(folder)
