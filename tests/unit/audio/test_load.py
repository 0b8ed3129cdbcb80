"""load_audio against librosa itself and against damaged files; log_mel against transformers."""

from __future__ import annotations

import ctypes
import io
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_npu.audio import (
    HOP_LENGTH,
    N_FRAMES,
    N_SAMPLES,
    SAMPLE_RATE,
    audio_seconds,
    audio_tracks,
    load_audio,
    log_mel,
)
from whisper_npu.errors import AudioError, UsageError

av = pytest.importorskip("av")
librosa = pytest.importorskip("librosa")
soundfile = pytest.importorskip("soundfile")
soxr = pytest.importorskip("soxr")

SAMPLES = sorted((Path(__file__).parents[3] / "samples").glob("*.wav"))
RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)
CODECS = {  # extension: format, subtype, channels, rates
    "pcm16.wav": ("WAV", "PCM_16", (1, 2, 3), RATES),
    "pcm24.wav": ("WAV", "PCM_24", (1, 2, 3), RATES),
    "float.wav": ("WAV", "FLOAT", (1, 2, 3), RATES),
    "u8.wav": ("WAV", "PCM_U8", (1, 2, 3), RATES),
    "pcm16.flac": ("FLAC", "PCM_16", (1, 2, 3), RATES),
    "pcm24.flac": ("FLAC", "PCM_24", (1, 2, 3), RATES),
    "vorbis.ogg": ("OGG", "VORBIS", (1, 2, 3), RATES),
    "opus.ogg": ("OGG", "OPUS", (1, 2), (8_000, 16_000, 48_000)),
    "layer3.mp3": ("MP3", "MPEG_LAYER_III", (1, 2), RATES[:-1]),
}


def noise(n_samples: int, n_channels: int = 1) -> np.ndarray:
    """(n_samples, n_channels) float32: white, so that every resampling error shows."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (n_samples, n_channels)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int, fmt: str, subtype: str) -> Path:
    """By blocks: libsndfile's Vorbis encoder overflows its stack on a long one."""
    if fmt not in soundfile.available_formats() or subtype not in soundfile.available_subtypes(fmt):
        pytest.skip(f"this libsndfile cannot write {fmt} {subtype}")
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], subtype=subtype, format=fmt) as file:
        for first in range(0, len(samples), 4096):
            file.write(samples[first : first + 4096])
    return path


def write_container(
    path: Path,
    fmt: str,
    codec: str,
    samples: np.ndarray,
    rate: int,
    *,
    video: bool = False,
    sound: bool = True,
) -> Path:
    """`samples` (n_samples, 2) in a container by PyAV; the video stream comes first."""
    with av.open(
        str(path), "w", format=fmt, options={"movflags": "faststart"} if fmt == "mp4" else {}
    ) as file:
        if video:
            pictures = file.add_stream("mpeg4", rate=10)
            pictures.width = pictures.height = 64
            pictures.pix_fmt = "yuv420p"
        if sound:
            stream = file.add_stream(codec, rate=rate, layout="stereo")
        if video:
            for _ in range(10):
                picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                file.mux(pictures.encode(picture))
            file.mux(pictures.encode(None))
        if sound:
            frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="fltp", layout="stereo")
            frame.sample_rate = rate
            resampler = av.AudioResampler(stream.format.name, "stereo", rate, frame_size=stream.frame_size)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                file.mux(stream.encode(piece))
            for packet in stream.encode(None):
                file.mux(packet)
    return path


def cut(path: Path, fraction: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def load_with_librosa(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its audioread imports modules that Python deprecates
        return librosa.load(path, sr=SAMPLE_RATE, mono=True)[0]


def refusal(source: object, **options: object) -> str:
    """The message of the AudioError that loading `source` raises; it must be one line."""
    with pytest.raises(AudioError) as caught:
        load_audio(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# What librosa returns is right


@pytest.mark.parametrize(
    ("name", "codec", "n_channels"), [(n, c, k) for n, c in CODECS.items() for k in c[2]]
)
def test_files_load_bit_for_bit_as_with_librosa(tmp_path, name, codec, n_channels):
    fmt, subtype, _, rates = codec
    for rate in rates:
        # A prime number of samples: resampling leaves a fraction.
        path = write(tmp_path / f"{rate}.{name}", noise(5_003, n_channels), rate, fmt, subtype)
        expected = load_with_librosa(path)
        samples = load_audio(path)
        assert samples.dtype == np.float32
        assert np.array_equal(samples, expected), rate


@pytest.mark.parametrize(("name", "codec"), CODECS.items(), ids=CODECS)
def test_the_size_of_the_blocks_changes_no_sample(tmp_path, monkeypatch, name, codec):
    fmt, subtype, channels, _ = codec
    for n_channels in channels:
        path = write(tmp_path / name, noise(20_011, n_channels), 48_000, fmt, subtype)
        expected = load_with_librosa(path)
        for frames in (257, 5_000):
            monkeypatch.setattr("whisper_npu.audio.by_libsndfile.BLOCK", frames * n_channels)
            monkeypatch.setattr("whisper_npu.audio.samples.BLOCK", frames * n_channels)
            monkeypatch.setattr("whisper_npu.audio.by_libsndfile._BELIEVED", frames)
            assert np.array_equal(load_audio(path), expected), (n_channels, frames)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_load_bit_for_bit_as_with_librosa(path):
    assert np.array_equal(load_audio(path), load_with_librosa(path))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("shape", [(5_003,), (1, 5_003), (2, 5_003), (3, 5_003)], ids=str)
def test_arrays_load_bit_for_bit_as_with_librosa(shape, rate):
    array = noise(5_003, 3).T[: shape[0]] if len(shape) == 2 else noise(5_003)[:, 0]
    expected = librosa.resample(librosa.to_mono(array), orig_sr=rate, target_sr=SAMPLE_RATE)
    assert np.array_equal(load_audio(array, sample_rate=rate), expected)


def test_an_mp3_behind_junk_loads_as_with_librosa(tmp_path):
    path = write(tmp_path / "a.mp3", noise(44_100), 44_100, "MP3", "MPEG_LAYER_III")
    path.write_bytes(np.random.default_rng(1).bytes(3_000) + path.read_bytes())
    assert np.array_equal(load_audio(path), load_with_librosa(path))


@pytest.mark.parametrize("n_samples", [0, 1, 2, 7, 500])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_few_or_no_samples_load(tmp_path, n_samples, rate):
    path = write(tmp_path / "short.wav", noise(n_samples, 2), rate, "WAV", "PCM_16")
    expected = load_with_librosa(path) if n_samples else np.empty(0, np.float32)
    assert np.array_equal(load_audio(path), expected)


@pytest.mark.parametrize(("fmt", "subtype"), [("AIFF", "PCM_16"), ("OGG", "VORBIS"), ("CAF", "PCM_16")])
def test_a_valid_file_without_samples_is_empty(tmp_path, fmt, subtype):
    path = write(tmp_path / "none", noise(0, 2), 44_100, fmt, subtype)
    assert load_audio(path).shape == (0,)


# Sources


def test_a_string_a_path_an_open_file_and_stdin_give_the_same(tmp_path, monkeypatch):
    path = write(tmp_path / "a.flac", noise(44_100, 2), 44_100, "FLAC", "PCM_16")
    expected = load_audio(path)
    assert np.array_equal(load_audio(str(path)), expected)
    assert np.array_equal(load_audio(io.BytesIO(path.read_bytes())), expected)
    with path.open("rb") as file:
        assert np.array_equal(load_audio(file), expected)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert np.array_equal(load_audio("-"), expected)


def test_an_mp3_from_memory_gives_the_same(tmp_path):
    path = write(tmp_path / "a.mp3", noise(44_100, 2), 44_100, "MP3", "MPEG_LAYER_III")
    assert np.array_equal(load_audio(io.BytesIO(path.read_bytes())), load_audio(path))


def test_a_named_pipe_is_read(tmp_path):
    path = write(tmp_path / "a.wav", noise(44_100), 44_100, "WAV", "PCM_16")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    samples = load_audio(pipe)
    writer.join()
    assert np.array_equal(samples, load_audio(path))


def test_a_float32_mono_array_at_16_khz_is_returned_itself():
    array = noise(100)[:, 0]
    assert load_audio(array) is array


def test_a_float64_array_becomes_float32():
    array = noise(100)[:, 0].astype(np.float64)
    assert np.array_equal(load_audio(array), array.astype(np.float32))


@pytest.mark.parametrize("extension", ["mp3", "raw", "gsm", "txt", ""])
def test_the_content_counts_and_not_the_extension(tmp_path, extension):
    path = write(tmp_path / "a.wav", noise(44_100), 44_100, "WAV", "PCM_16")
    expected = load_audio(path)
    assert np.array_equal(load_audio(path.rename(tmp_path / f"a.{extension}")), expected)


# Containers


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize(
    ("fmt", "codec"),
    [("matroska", "pcm_s16le"), ("mov", "pcm_s16le"), ("matroska", "pcm_u8"), ("ipod", "alac")],
)
def test_lossless_sound_in_a_container_equals_the_wav(tmp_path, fmt, codec, rate):
    whole = np.round(noise(20_011, 2) * 128) / 128  # exact in 8 bits and more
    wav = write(tmp_path / "a.wav", whole, rate, "WAV", "PCM_16")
    path = write_container(tmp_path / "a", fmt, codec, whole, rate)
    assert np.array_equal(load_audio(path), load_audio(wav))


@pytest.mark.parametrize(
    ("fmt", "codec", "rate"),
    [
        ("ipod", "aac", 44_100),
        ("webm", "libopus", 48_000),
        ("adts", "aac", 22_050),
        ("mpegts", "aac", 48_000),
    ],
)
def test_lossy_sound_in_a_container_is_what_librosa_makes_of_the_decoded_frames(tmp_path, fmt, codec, rate):
    path = write_container(tmp_path / "a", fmt, codec, noise(2 * rate, 2), rate)
    with av.open(str(path)) as file:
        decoded = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)
    expected = librosa.resample(librosa.to_mono(decoded), orig_sr=rate, target_sr=SAMPLE_RATE)
    assert np.array_equal(load_audio(path), expected)
    assert np.array_equal(load_audio(io.BytesIO(path.read_bytes())), expected)


def test_tags_in_another_encoding_are_no_obstacle(tmp_path):
    path = write_container(tmp_path / "a.mkv", "matroska", "pcm_s16le", noise(16_000, 2), 16_000)
    expected = load_audio(path)
    assert b"Lavf" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"Lavf", "éééé".encode("latin-1")))
    assert np.array_equal(load_audio(path), expected)


def test_the_sound_of_a_video_is_found_behind_its_pictures(tmp_path):
    sound = noise(44_100, 2)
    video = write_container(tmp_path / "v.mp4", "mp4", "aac", sound, 44_100, video=True)
    alone = write_container(tmp_path / "a.mp4", "mp4", "aac", sound, 44_100)
    assert np.array_equal(load_audio(video), load_audio(alone))


# Lengths


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF], ids=hex)
def test_a_wav_from_a_pipe_whose_header_cannot_know_its_size_loads_whole(tmp_path, size):
    path = write(tmp_path / "a.wav", noise(44_100), 44_100, "WAV", "PCM_16")
    expected = load_audio(path)
    content = bytearray(path.read_bytes())
    data = content.find(b"data")
    content[4:8] = content[data + 4 : data + 8] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert np.array_equal(load_audio(path), expected)


def test_a_wav_shorter_than_its_header_says_gives_what_is_there(tmp_path):
    path = write(tmp_path / "a.wav", noise(32_000), 16_000, "WAV", "PCM_16")
    expected = load_audio(path)
    samples = load_audio(cut(path))
    assert len(samples) == (path.stat().st_size - 44) // 2
    assert np.array_equal(samples, expected[: len(samples)])


def test_a_flac_stream_without_a_length_loads_whole(tmp_path):
    path = write(tmp_path / "a.flac", noise(44_100), 44_100, "FLAC", "PCM_16")
    expected = load_audio(path)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # STREAMINFO: the number of samples, 36 bits, 0 for unknown
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert np.array_equal(load_audio(path), expected)


@pytest.mark.parametrize(("fmt", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_two_files_joined_into_one_load_to_the_end(tmp_path, fmt, subtype):
    path = write(tmp_path / "a", noise(5 * 48_000), 48_000, fmt, subtype)
    path.write_bytes(2 * path.read_bytes())
    assert len(load_audio(path)) == pytest.approx(10 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)


def test_a_variable_rate_mp3_without_a_length_loads_to_the_end(tmp_path):
    path = write(tmp_path / "a.mp3", noise(10 * 44_100), 44_100, "MP3", "MPEG_LAYER_III")
    content = path.read_bytes()
    header = content.find(b"Xing")
    assert header > 0
    path.write_bytes(content[content.find(content[:2], header) :])  # without the frame that states the length
    assert len(load_audio(path)) == pytest.approx(10 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)


@pytest.mark.parametrize("n_samples", [2**36 - 2, 2**35], ids=hex)
def test_a_flac_that_states_more_than_any_memory_holds_is_cut_short(tmp_path, n_samples):
    path = write(tmp_path / "a.flac", noise(32_000), 16_000, "FLAC", "PCM_16")
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | n_samples >> 32  # STREAMINFO: the number of samples, 36 bits
    content[22:26] = (n_samples & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    assert f"cut short: 2.0 s of {n_samples / 16_000:.1f} s are there" in refusal(path)


def test_an_mp3_that_states_more_than_any_memory_holds_loads_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / "a.mp3", noise(44_100, 2), 44_100, "MP3", "MPEG_LAYER_III")
    expected = load_audio(path)
    content = bytearray(path.read_bytes())
    place = content.find(b"Xing") + 8
    assert place > 8
    content[place : place + 4] = b"\xff" * 4  # frames of 1152 samples
    path.write_bytes(content)
    assert np.array_equal(load_audio(path)[: len(expected) - 1_000], expected[:-1_000])


# Refusals


def test_a_missing_file_is_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.wav")


def test_a_folder_is_refused(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "a.wav", noise(10), 16_000, "WAV", "PCM_16")
    monkeypatch.setattr(os, "open", deny)  # permission bits do not bind root
    assert "may not be read" in refusal(path)


def test_a_name_that_no_file_can_have_is_refused():
    assert "null byte" in refusal("a\0b.wav")


@pytest.mark.parametrize("source", [3, None, b"RIFF", [0.0, 0.1]], ids=repr)
def test_a_source_of_another_type_is_refused(source):
    assert "give a path" in refusal(source)


def test_a_file_open_as_text_is_refused():
    assert "mode 'rb'" in refusal(io.StringIO("RIFF"))


def test_a_terminal_as_stdin_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert "is a terminal" in refusal("-")


@pytest.mark.parametrize("stdin", [None, io.StringIO("RIFF")], ids=["closed", "text"])
def test_a_stdin_that_gives_no_bytes_is_refused(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert refusal("-").endswith("send audio into it: whisper-npu ... - < talk.wav")


def test_a_closed_source_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(10), 16_000, "WAV", "PCM_16")
    with path.open("rb") as file:
        pass
    assert "the open file: cannot be read" in refusal(file)
    with path.open() as text:
        pass
    monkeypatch.setattr(sys, "stdin", text)
    assert "standard input is closed" in refusal("-")


def test_a_stdin_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    folder = os.open(tmp_path, os.O_RDONLY)
    with closing(SimpleNamespace(close=lambda: os.close(folder))):
        buffer = SimpleNamespace(read=lambda: os.read(folder, 1))
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=buffer))
        assert "standard input: cannot be read (Is a directory)" in refusal("-")


def test_a_pipe_that_does_not_block_and_is_empty_is_refused(monkeypatch):
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(writing, "wb"), open(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert "standard input gives NoneType, not bytes" in refusal("-")


def test_no_room_for_what_is_not_a_file_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", noise(10), 16_000, "WAV", "PCM_16")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert "set TMPDIR" in refusal(io.BytesIO(path.read_bytes()))
    assert len(load_audio(path)) == 10


def test_an_empty_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.touch()
    assert f"{path}: is empty" in refusal(path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert "standard input: is empty" in refusal("-")


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.m4a", "a.vox", "a"])
@pytest.mark.parametrize("content", [b"Call me Ishmael.\n" * 500, np.random.default_rng(2).bytes(100_000)])
def test_text_and_random_bytes_are_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: is ")


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.99])
def test_a_truncated_flac_is_refused(tmp_path, fraction):
    path = write(tmp_path / "a.flac", noise(3 * 44_100), 44_100, "FLAC", "PCM_16")
    assert "cut short" in refusal(cut(path, fraction))


def test_a_truncated_mp4_is_refused_with_its_index_and_without(tmp_path):
    for fmt in ("ipod", "mp4"):  # the index (moov) comes last, or first
        path = write_container(tmp_path / fmt, fmt, "aac", noise(10 * 44_100, 2), 44_100)
        assert "damaged" in refusal(cut(path))


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.8])
@pytest.mark.parametrize(("fmt", "codec", "video"), [("webm", "libopus", False), ("matroska", "aac", True)])
def test_a_truncated_webm_or_mkv_is_refused(tmp_path, fmt, codec, video, fraction):
    path = write_container(tmp_path / "a", fmt, codec, noise(10 * 48_000, 2), 48_000, video=video)
    assert "s of 10.0 s are there" in refusal(cut(path, fraction))


def test_a_video_without_sound_is_refused(tmp_path):
    path = write_container(tmp_path / "v.mp4", "mp4", "", noise(0, 2), 0, video=True, sound=False)
    assert "no audio stream (only video)" in refusal(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused_with_their_place(tmp_path, bad):
    samples = noise(48_000, 2)
    samples[24_000:30_000, 1] = bad
    path = write(tmp_path / "a.wav", samples, 48_000, "WAV", "FLOAT")
    assert "sample 24000 (at 0.500 s)" in refusal(path)
    assert "sample 24000 (at 0.500 s)" in refusal(samples.T, sample_rate=48_000)


def test_a_number_too_large_for_float32_is_refused():
    assert "sample 1 " in refusal(np.array([0.0, 1e300]))


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "bool", "complex64", "object"])
def test_an_array_of_anything_but_floats_is_refused(dtype):
    assert "scale it" in refusal(np.zeros(10, dtype))


@pytest.mark.parametrize("shape", [(), (1, 2, 3), (0, 5), (480_000, 2)], ids=str)
def test_an_array_of_another_shape_is_refused(shape):
    assert str(shape) in refusal(np.zeros(shape, np.float32))


@pytest.mark.parametrize("rate", [0, -16_000, 1, 44_100.5, float("nan"), "16000", True], ids=repr)
def test_a_senseless_sample_rate_is_refused(rate):
    assert "sample rate" in refusal(np.zeros(10, np.float32), sample_rate=rate)


def test_a_header_with_a_senseless_sample_rate_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", noise(100_000), 16_000, "WAV", "PCM_16")
    content = bytearray(path.read_bytes())
    content[24:28] = (1).to_bytes(4, "little")
    path.write_bytes(content)
    assert "sample rate 1" in refusal(path)


def test_a_sample_rate_for_a_file_is_refused(tmp_path):
    assert "is for arrays" in refusal(tmp_path / "a.wav", sample_rate=16_000)


@pytest.mark.parametrize("error", [RuntimeError, ValueError, OSError, EOFError, OverflowError, MemoryError])
@pytest.mark.parametrize(
    ("library", "function"),
    [(soundfile.SoundFile, "read"), (soxr.ResampleStream, "resample_chunk")],
    ids=["soundfile", "soxr"],
)
def test_what_a_library_raises_for_a_recording_names_it(tmp_path, monkeypatch, library, function, error):
    def fail(*_: object, **__: object) -> None:
        raise error("for a reason")

    path = write(tmp_path / "a.wav", noise(10), 44_100, "WAV", "PCM_16")
    monkeypatch.setattr(library, function, fail)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert ("does not fit into the memory" if error is MemoryError else "for a reason") in message


INTACT = (
    "pcm16.wav",
    "pcm16.flac",
    "vorbis.ogg",
    "opus.ogg",
    "layer3.mp3",
    "pcm16.aiff",
    "alac.caf",
    "aac.m4a",
)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A short recording in each format."""
    folder, sound = tmp_path_factory.mktemp("intact"), noise(9_600, 2)
    codecs = {"pcm16.aiff": ("AIFF", "PCM_16"), "alac.caf": ("CAF", "ALAC_16")}
    codecs |= {name: codec[:2] for name, codec in CODECS.items() if name in INTACT}
    paths = [write(folder / name, sound, 48_000, *codec) for name, codec in codecs.items()]
    paths.append(write_container(folder / "aac.m4a", "ipod", "aac", sound, 48_000))
    return {path.name: path.read_bytes() for path in paths}


DAMAGE = st.tuples(
    st.integers(0, 2**16),  # where, modulo the length of the header or of the file
    st.sampled_from([b"\xff", b"\xff" * 4, b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(4), bytes(200)])
    | st.binary(min_size=1, max_size=8),
)


@pytest.mark.parametrize("name", INTACT)
@settings(derandomize=True, max_examples=25)
@given(damages=st.lists(DAMAGE, max_size=4), header=st.booleans(), size=st.none() | st.floats(0, 2))
def test_a_damaged_file_gives_samples_or_one_line(intact, tmp_path_factory, name, damages, header, size):
    content = bytearray(intact[name])
    for place, damage in damages:
        place %= 300 if header else len(content)
        content[place : place + len(damage)] = damage
    if size is not None:  # cut, or joined to a copy of itself
        content = (2 * content)[: int(size * len(content))]
    path = tmp_path_factory.getbasetemp() / f"damaged.{name}"
    path.write_bytes(content)
    audio_seconds(path)
    audio_tracks(path)
    samples, refused = np.empty(0, np.float32), ""
    try:
        samples = load_audio(path)
    except AudioError as error:
        refused = str(error)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert not refused or refused.startswith(f"{path}: ")
    assert "\n" not in refused


# Processes of their own


def run(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_importing_the_module_imports_no_audio_library():
    code = "import sys, whisper_npu.audio; print(*{'av', 'librosa', 'soundfile', 'soxr'} & set(sys.modules))"
    assert run(code).stdout.strip() == ""


def test_a_wav_at_another_rate_loads_without_importing_librosa(tmp_path):
    path = write(tmp_path / "a.wav", noise(44_100), 44_100, "WAV", "PCM_16")
    code = (
        "import sys; from whisper_npu.audio import load_audio; "
        "print(len(load_audio(sys.argv[1])), {'librosa', 'numba'} & set(sys.modules))"
    )
    done = run(code, path)
    assert (done.stdout, done.stderr) == ("16000 set()\n", "")


def test_nothing_but_the_refusal_is_printed(tmp_path):
    mp3 = cut(write(tmp_path / "a.mp3", noise(44_100), 44_100, "MP3", "MPEG_LAYER_III"))  # libmpg123 warns
    mp4 = cut(write_container(tmp_path / "a.mp4", "mp4", "aac", noise(44_100, 2), 44_100))  # FFmpeg would
    text = tmp_path / "b.mp3"
    text.write_text("Call me Ishmael.\n" * 500)
    # libsndfile prints on stdout what it finds wrong with the sizes of ALAC's packets.
    alac = write(tmp_path / "a.caf", noise(12_000, 2), 24_000, "CAF", "ALAC_16")
    content = bytearray(alac.read_bytes())
    sizes = content.find(b"pakt") + 36
    assert sizes > 36
    content[sizes : sizes + 8] = b"\xff" * 8
    alac.write_bytes(content)
    # PyAV would print the traceback of a seek to before the start of the file.
    caf = write(tmp_path / "b.caf", noise(12_000), 24_000, "CAF", "PCM_16")
    content = bytearray(caf.read_bytes())
    free = content.find(b"free") + 11  # the last byte of this chunk's size
    assert free > 11
    content[free : free + 8] = b"\x7f" + b"\xff" * 7
    caf.write_bytes(content)
    code = """
import os, sys
from whisper_npu.audio import load_audio
from whisper_npu.errors import AudioError
for path in sys.argv[1:]:
    try:
        load_audio(path)
    except AudioError:
        print("refused")
    os.write(2, b"heard\\n")
"""
    done = run(code, mp3, mp4, text, alac, caf, caf)
    assert (done.stdout, done.stderr) == ("refused\n" * 5, "heard\n" * 6)


def test_what_others_print_while_a_file_is_read_appears(tmp_path):
    mp3 = cut(write(tmp_path / "a.mp3", noise(44_100), 44_100, "MP3", "MPEG_LAYER_III"))  # libmpg123 warns
    code = """
import os, sys, threading
import soundfile
from whisper_npu.audio import load_audio
read = soundfile.SoundFile.read
def draw():
    os.write(1, b"to stdout\\n")
    os.write(2, b"to stderr\\n")
def read_while_another_thread_draws(*arguments, **options):
    samples = read(*arguments, **options)
    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    return samples
soundfile.SoundFile.read = read_while_another_thread_draws
load_audio(sys.argv[1])
"""
    done = run(code, mp3)
    assert (done.stdout, done.stderr) == ("to stdout\n", "to stderr\n")


def test_a_process_without_stdin_refuses_it_in_one_line():
    code = """
import sys
from whisper_npu.audio import load_audio
try:
    load_audio("-")
except Exception as error:
    print(repr(error))
"""
    done = run(f"import os, sys; os.close(0); os.execv(sys.executable, [sys.executable, '-c', {code!r}])")
    assert done.stdout.startswith("AudioError('standard input is closed; ")


def test_a_process_without_stderr_loads_audio(tmp_path):
    path = write(tmp_path / "a.wav", noise(100), 16_000, "WAV", "PCM_16")
    code = (
        "import os, sys; from whisper_npu.audio import load_audio; "
        "os.close(2); print(len(load_audio(sys.argv[1])))"
    )
    assert run(code, path).stdout == "100\n"


# No recording makes us open another file or address


class Trap:
    """A folder with what a recording may be after, a web server, and the commands that decode audio."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trap"
        self.folder.mkdir()
        self.secret = write(self.folder / "secret.wav", noise(16_000), 16_000, "WAV", "PCM_16")
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/secret.wav"
        self.commands = folder / "commands"
        self.commands.mkdir()
        for name in ("ffmpeg", "avconv", "ffprobe", "gst-launch-1.0", "mpg123", "sox"):
            (self.commands / name).write_text('#!/bin/sh\n: > "$0.called"\nexit 1\n')
            (self.commands / name).chmod(0o755)
        libc = ctypes.CDLL(None, use_errno=True)
        self._opened = libc.inotify_init1(os.O_NONBLOCK)
        open_event = 0x20  # IN_OPEN
        assert libc.inotify_add_watch(self._opened, os.fsencode(self.folder), open_event) >= 0
        self.opened()

    def opened(self) -> set[str]:
        """Which files of the folder were opened since the last call, and what else was touched."""
        names = set()
        with suppress(BlockingIOError):
            while events := os.read(self._opened, 1 << 16):
                while events:
                    length = int.from_bytes(events[12:16], sys.byteorder)
                    names.add(os.fsdecode(events[16 : 16 + length].rstrip(b"\0")))
                    events = events[16 + length :]
        with suppress(BlockingIOError):
            self._server.accept()[0].close()
            names.add(self.url)
        return (names | {path.name for path in self.commands.glob("*.called")}) - {""}  # "": it was listed

    def close(self) -> None:
        os.close(self._opened)
        self._server.close()


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    if sys.platform != "linux":
        pytest.skip("inotify, which tells what was opened, is Linux's")
    with closing(Trap(tmp_path)) as trap:
        yield trap


def mov_of_another_file(path: Path, target: str) -> bytes:
    """A QuickTime movie whose sound is in `target`, by a Macintosh alias, and not in itself."""
    content = write_container(path, "mov", "pcm_s16le", noise(48_000, 2), 16_000).read_bytes()
    path.unlink()
    place = content.rindex(b"dref") + 12
    assert content[place : place + 12] == b"\0\0\0\x0curl \0\0\0\1"  # in this file
    name = target.encode() + b"\0" * (len(target) % 2)
    levels = struct.pack(">HH", 1, 1)  # one folder up, one down
    alias = bytes(10 + 1 + 27 + 12 + 1 + 63 + 16) + levels + bytes(16)
    alias += struct.pack(">HH", 2, len(name)) + name + struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    moved = bytearray(content[:place] + entry + content[place + 12 :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        size = moved.rindex(box, 0, place) - 4
        moved[size : size + 4] = (int.from_bytes(moved[size : size + 4], "big") + len(entry) - 12).to_bytes(
            4, "big"
        )
    return bytes(moved)


def references(trap: Trap) -> dict[str, bytes]:
    """Every kind of file that holds no sound but says where some is."""
    path, url = trap.secret, trap.url
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n{}#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT9S"><Period>'
        '<AdaptationSet mimeType="audio/wav"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    texts = {
        "ffconcat": "ffconcat version 1.0\nfile secret.wav\n",
        "ffconcat-absolute": f"ffconcat version 1.0\nfile '{path}'\n",
        "ffconcat-url": f"ffconcat version 1.0\nfile '{url}'\n",
        "ffconcat-concat": "ffconcat version 1.0\nfile 'concat:secret.wav|secret.wav'\n",
        "ffconcat-subfile": "ffconcat version 1.0\nfile 'subfile,,start,0,end,32044,,:secret.wav'\n",
        "hls": playlist.format("", "secret.wav"),
        "hls-absolute": playlist.format("", f"file://{path}"),
        "hls-url": playlist.format("", url),
        "hls-key": playlist.format(f'#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n', "secret.wav"),
        "hls-map": playlist.format('#EXT-X-MAP:URI="secret.wav"\n', "secret.wav"),
        "m3u": f"{path}\nsecret.wav\n{url}\n",
        "pls": f"[playlist]\nFile1=secret.wav\nFile2={url}\nNumberOfEntries=2\n",
        "asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
        "asf-reference": f"[Reference]\nRef1={url}\n",
        "smil": f'<smil><body><audio src="{url}"/><audio src="secret.wav"/></body></smil>',
        "xspf": f"<playlist><trackList><track><location>{url}</location></track></trackList></playlist>",
        "cue": 'FILE "secret.wav" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        "dash": dash.format("secret.wav"),
        "dash-url": dash.format(url),
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "rtsp": f"RTSPtext{url.replace('http', 'rtsp')}\n",
        "vobsub": "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n",
        "sequence": "a%03d.wav\n",
        "lavfi": "amovie=secret.wav",
        "avisynth": 'WavSource("secret.wav")',
        "url": url,
        "path": str(path),
    }
    mov = {"mov": mov_of_another_file(trap.folder / "mov", "secret.wav")}
    return mov | {name: text.encode() for name, text in texts.items()}


@pytest.mark.parametrize("door", ["path", "open file", "stdin"])
def test_references_to_files_and_addresses_open_nothing(trap, door):
    extensions = ("", ".wav", ".mp3", ".mov", ".m3u8") if door == "path" else ("",)
    names = []
    for kind, content in references(trap).items():
        for extension in extensions:
            names.append(kind + extension)
            (trap.folder / names[-1]).write_bytes(content)
    (trap.folder / "a001.wav").symlink_to("secret.wav")
    (trap.folder / "vobsub.sub").symlink_to("secret.wav")
    trap.opened()
    code = """
import io, sys
from whisper_npu.audio import load_audio
from whisper_npu.errors import AudioError
door, *names = sys.argv[1:]
for name in names:
    source = name
    if door == "open file":
        source = open(name, "rb")
    elif door == "stdin":
        with open(name, "rb") as file:
            sys.stdin = io.TextIOWrapper(io.BytesIO(file.read()))
        source = "-"
    try:
        print(name, "gives", len(load_audio(source)), "samples")
    except AudioError:
        pass
    if door == "open file":
        source.close()
print(*{"audioread", "gi", "librosa", "mad"} & set(sys.modules))
"""
    environment = {**os.environ, "PATH": str(trap.commands)}
    done = run(code, door, *names, cwd=trap.folder, env=environment, timeout=60)
    assert (done.stdout, done.stderr) == ("\n", "")
    assert trap.opened() == set(names)


def test_the_trap_catches(trap):
    """What the test above would see if FFmpeg were let loose, and if a command were run."""
    loose = {"protocol_whitelist": "file,http,tcp", "safe": "0", "enable_drefs": "1"}
    for name, target in (("ffconcat", "secret.wav"), ("ffconcat-url", trap.url), ("mov", "secret.wav")):
        path = trap.folder / name
        path.write_bytes(references(trap)[name])
        trap.opened()
        with suppress(av.FFmpegError):
            av.open(str(path), options=loose, timeout=0.5).close()
        assert trap.opened() == {name, target}
    subprocess.run(["ffmpeg"], env={"PATH": str(trap.commands)}, check=False)
    assert trap.opened() == {"ffmpeg.called"}


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.sd2", "a"])
def test_a_resource_fork_beside_a_file_is_not_opened(trap, monkeypatch, name):
    monkeypatch.chdir(trap.folder)
    (trap.folder / ".AppleDouble").mkdir()
    for fork in (f"._{name}", "._", f".AppleDouble/{name}"):
        (trap.folder / fork).write_bytes(b"\0\5\x16\7 a fork")
    path = trap.folder / name
    write(path, noise(44_100), 44_100, "MP3", "MPEG_LAYER_III")  # libsndfile looks for a fork of these first
    trap.opened()
    expected = load_audio(path)
    assert len(expected) > 15_000
    assert np.array_equal(load_audio(io.BytesIO(path.read_bytes())), expected)
    path.write_bytes(noise(10_000).tobytes())
    assert "is not audio" in refusal(path)
    assert trap.opened() == {name}


@pytest.mark.parametrize(
    "name",
    [
        "-",
        "concat:a|b",
        "subfile,,start,0,end,9,,:a",
        "http:",
        "pipe:0",
        "fd:0",
        "data:a",
        "a%03d",
        "a\n\\'b",
        "é",
    ],
)
def test_any_name_is_just_a_name(trap, monkeypatch, name):
    monkeypatch.chdir(trap.folder)
    sound = noise(16_000, 2)
    wav = trap.secret.rename(trap.folder / name)
    expected = load_audio(trap.folder / name)
    assert len(expected) == 16_000
    assert np.array_equal(load_audio(Path(name)), expected)
    wav.unlink()
    write_container(trap.folder / "a.mov", "mov", "pcm_s16le", sound, 16_000).rename(wav)  # for FFmpeg
    trap.opened()
    assert len(load_audio(Path(name))) == 16_000
    assert trap.opened() == {name}


@pytest.mark.parametrize(
    "form", ["{url}", "concat:{path}|{path}", "subfile,,start,0,end,9,,:{path}", "file:{path}"]
)
def test_an_address_is_no_file(trap, form):
    assert "no such file" in refusal(form.format(url=trap.url, path=trap.secret))
    assert trap.opened() == set()


# log-mel


@pytest.mark.parametrize("n_mels", [80, 128])
def test_log_mel_agrees_with_transformers(n_mels):
    from transformers import WhisperFeatureExtractor

    theirs = WhisperFeatureExtractor(feature_size=n_mels)
    for path in SAMPLES:
        samples = load_audio(path)
        features = log_mel(samples, n_mels)
        assert features.dtype == np.float32
        assert features.shape == (n_mels, len(samples) // HOP_LENGTH + 1)
        expected = theirs(samples, sampling_rate=SAMPLE_RATE, return_tensors="np").input_features[0]
        assert expected.shape == (n_mels, N_FRAMES)
        # Theirs are in float64 up to the logarithm, ours in float32: 6e-6 apart on these, in a range of 2.
        np.testing.assert_allclose(features, expected[:, : features.shape[1]], rtol=0, atol=3e-5)


def test_log_mel_builds_the_filters_once_and_gives_what_new_ones_give(monkeypatch):
    from faster_whisper.feature_extractor import FeatureExtractor

    n_mels = 81  # of no model, so that nothing before has built them
    samples = [noise(n)[:, 0] for n in (0, 1, 399, 48_000)]
    expected = [FeatureExtractor(feature_size=n_mels)(one) for one in samples]
    build, built = FeatureExtractor.get_mel_filters, []

    def count(*arguments: int, n_mels: int) -> np.ndarray:
        built.append(n_mels)
        return build(*arguments, n_mels=n_mels)

    monkeypatch.setattr(FeatureExtractor, "get_mel_filters", staticmethod(count))
    for one, features in zip(samples * 2, expected * 2, strict=True):
        assert np.array_equal(log_mel(one, n_mels), features)
    assert built == [n_mels]


@pytest.mark.parametrize("n_samples", [0, 1, 50, 159, 160, 161, 199, 200, 201, 399, 400, 1_000])
def test_log_mel_of_short_audio_is_that_of_the_audio_in_silence(n_samples):
    samples = noise(n_samples)[:, 0]
    features = log_mel(samples, 80)
    in_silence = log_mel(np.pad(samples, (0, N_SAMPLES - n_samples)), 80)
    assert features.shape == (80, n_samples // HOP_LENGTH + 1)
    np.testing.assert_allclose(features, in_silence[:, : features.shape[1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_mels", [0, -80])
def test_log_mel_refuses_a_number_of_bands_below_1(n_mels):
    with pytest.raises(UsageError, match="at least 1"):
        log_mel(np.zeros(160, np.float32), n_mels)


def test_log_mel_refuses_samples_in_channels():
    with pytest.raises(AudioError, match="expected"):
        log_mel(np.zeros((2, 160), np.float32), 80)
