"""load_audio against librosa itself and against damaged files."""

from __future__ import annotations

import io
import struct
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recordings import cut, load_damaged, noise, refusal, run, write, write_container
from whisper_npu.audio import SAMPLE_RATE, audio_seconds, audio_tracks, load_audio
from whisper_npu.audio.by_ffmpeg import Packets
from whisper_npu.audio.samples import BLOCK
from whisper_npu.errors import AudioError, CancelledError, TooLongError

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


def load_with_librosa(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its audioread imports modules that Python deprecates
        return librosa.load(path, sr=SAMPLE_RATE, mono=True)[0]


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
            assert np.array_equal(load_audio(path), expected), (n_channels, frames)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_load_bit_for_bit_as_with_librosa(path):
    assert np.array_equal(load_audio(path), load_with_librosa(path))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("shape", [(5_003,), (1, 5_003), (2, 5_003), (3, 5_003)], ids=str)
def test_arrays_load_bit_for_bit_as_with_librosa(shape, rate):
    array = noise(5_003, 3).T[: shape[0]] if len(shape) == 2 else noise(5_003)[:, 0]
    expected = librosa.resample(librosa.to_mono(array), orig_sr=rate, target_sr=SAMPLE_RATE)
    assert np.array_equal(load_audio(array, sampling_rate=rate), expected)


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


def test_a_float32_mono_array_at_16_khz_is_returned_itself():
    array = noise(100)[:, 0]
    assert load_audio(array) is array


def test_a_float64_array_becomes_float32():
    array = noise(100)[:, 0].astype(np.float64)
    assert np.array_equal(load_audio(array), array.astype(np.float32))


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


@pytest.mark.parametrize("layout", ["5.1", "7.1", "hexadecagonal"])
@pytest.mark.parametrize(("fmt", "codec"), [("matroska", "pcm_s16le"), ("ipod", "aac"), ("wv", "wavpack")])
def test_many_channels_are_mixed(tmp_path, layout, fmt, codec):
    """PyAV's own conversion of a planar frame with 8 channels or more crashes the process."""
    n_channels = {"5.1": 6, "7.1": 8, "hexadecagonal": 16}[layout]
    if codec == "aac" and n_channels > 8:
        pytest.skip("FFmpeg's encoder of AAC has no such layout")
    path, sound = tmp_path / "a", (np.repeat(noise(20_480), n_channels, axis=1) * 2**15).astype(np.int16)
    with av.open(str(path), "w", format=fmt) as file:
        stream = file.add_stream(codec, rate=48_000, layout=layout)
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(
            stream.format.name, layout, 48_000, frame_size=stream.frame_size or 1024
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    samples = load_audio(path)
    assert len(samples) / SAMPLE_RATE == pytest.approx(20_480 / 48_000, abs=0.1)
    assert np.abs(samples).max() > 0.1


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


def test_the_rate_of_the_frames_counts_and_not_what_the_container_states(tmp_path):
    path = write_container(tmp_path / "a.mkv", "matroska", "aac", noise(96_000, 2), 48_000)
    expected = load_audio(path)
    content = path.read_bytes()
    stated = b"\xb5\x88" + struct.pack(">d", 48_000)  # SamplingFrequency
    assert content.count(stated) == 1
    path.write_bytes(content.replace(stated, b"\xb5\x88" + struct.pack(">d", 24_000)))  # as of HE-AAC
    # What the encoder put before the sound is cut off by the stated rate.
    assert len(load_audio(path)) == pytest.approx(len(expected), abs=0.02 * SAMPLE_RATE)


@pytest.mark.parametrize("rates", [(44_100, 22_050), (16_000, 48_000)])
def test_a_stream_that_changes_its_rate_is_read_at_the_first_one(tmp_path, rates):
    paths = [write_container(tmp_path / str(rate), "adts", "aac", noise(2 * rate, 2), rate) for rate in rates]
    joined = tmp_path / "a.aac"
    joined.write_bytes(b"".join(path.read_bytes() for path in paths))
    assert len(load_audio(joined)) == pytest.approx(sum(map(len, map(load_audio, paths))), abs=200)


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
    samples, warned = load_damaged(cut(path))
    assert warned == ["the seconds 1.00 to 2.00 are missing: it is damaged or cut short"]
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
def test_a_flac_that_states_more_than_any_memory_holds_is_read_as_far_as_it_goes(tmp_path, n_samples):
    path = write(tmp_path / "a.flac", noise(32_000), 16_000, "FLAC", "PCM_16")
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | n_samples >> 32  # STREAMINFO: the number of samples, 36 bits
    content[22:26] = (n_samples & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    samples, warned = load_damaged(path)
    assert len(samples) == 32_000
    assert warned == [f"the seconds 2.00 to {n_samples / 16_000:.2f} are missing: it is damaged or cut short"]


def test_an_mp3_that_states_more_than_any_memory_holds_loads_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / "a.mp3", noise(44_100, 2), 44_100, "MP3", "MPEG_LAYER_III")
    expected = load_audio(path)
    content = bytearray(path.read_bytes())
    place = content.find(b"Xing") + 8
    assert place > 8
    content[place : place + 4] = b"\xff" * 4  # frames of 1152 samples
    path.write_bytes(content)
    assert np.array_equal(load_audio(path)[: len(expected) - 1_000], expected[:-1_000])


def test_packets_that_claim_more_than_they_hold_change_nothing(tmp_path, monkeypatch):
    path = write(tmp_path / "a.ogg", noise(44_100, 2), 44_100, "OGG", "VORBIS")
    expected = load_audio(path)
    monkeypatch.setattr(
        "whisper_npu.audio.by_ffmpeg.packets", lambda *_: Packets(86_400.0, are_damaged=False)
    )
    assert np.array_equal(load_audio(path), expected)


# Refusals


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.flac", "a.m4a", "a.vox", "a"])
@pytest.mark.parametrize("content", [b"Call me Ishmael.\n" * 500, np.random.default_rng(2).bytes(100_000)])
def test_text_and_random_bytes_are_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: is ")


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.99])
def test_of_a_truncated_flac_every_whole_frame_is_read(tmp_path, fraction):
    path = write(tmp_path / "a.flac", noise(3 * 44_100), 44_100, "FLAC", "PCM_16")
    whole = load_audio(path)
    samples, warned = load_damaged(cut(path, fraction))
    assert 3 * fraction - 0.15 < len(samples) / SAMPLE_RATE <= 3 * fraction
    assert np.abs(samples - whole[: len(samples)])[:-100].max() < 1e-6  # blocks of another size
    assert warned == [
        f"the seconds {len(samples) / SAMPLE_RATE:.2f} to 3.00 are missing: it is damaged or cut short"
    ]


def test_a_truncated_mp4_is_read_with_its_index_and_refused_without(tmp_path):
    last, first = (
        cut(write_container(tmp_path / fmt, fmt, "aac", noise(10 * 44_100, 2), 44_100))
        for fmt in ("ipod", "mp4")  # the index (moov) comes last, or first
    )
    assert "its index, which mp4, m4a and mov keep at their end, is not there" in refusal(last)
    samples, (warning,) = load_damaged(first)
    assert len(samples) == pytest.approx(5 * SAMPLE_RATE, rel=0.1)
    assert float(warning.split()[4]) == pytest.approx(10, abs=0.03)
    assert warning.endswith("are missing: it is damaged or cut short")


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.8])
@pytest.mark.parametrize(("fmt", "codec", "video"), [("webm", "libopus", False), ("matroska", "aac", True)])
def test_a_truncated_webm_or_mkv_is_read_as_far_as_it_goes(tmp_path, fmt, codec, video, fraction):
    path = write_container(tmp_path / "a", fmt, codec, noise(10 * 48_000, 2), 48_000, video=video)
    samples, (warning,) = load_damaged(cut(path, fraction))
    assert len(samples) == pytest.approx(10 * fraction * SAMPLE_RATE, abs=0.6 * SAMPLE_RATE)
    assert warning.startswith(f"the seconds {len(samples) / SAMPLE_RATE:.2f} to 10.0")
    assert "to 10.0" in refusal(path, strict=True)


def test_a_video_without_sound_is_refused(tmp_path):
    path = write_container(tmp_path / "v.mp4", "mp4", "", noise(0, 2), 0, video=True, sound=False)
    assert "no audio stream (only video)" in refusal(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_mostly_bad_samples_are_refused_with_their_place(tmp_path, bad):
    samples = noise(48_000, 2)
    samples[4_800:] = bad
    path = write(tmp_path / "a.wav", samples, 48_000, "WAV", "FLOAT")
    for message in (refusal(path), refusal(samples.T, sampling_rate=48_000)):
        assert "86400 samples, from 0.100 s on" in message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -3e38])
def test_a_few_bad_samples_are_silent_and_named_with_their_place(tmp_path, bad):
    good = noise(BLOCK + 10_000)[:, 0]
    samples = good.copy()
    samples[[7, BLOCK + 7, BLOCK + 1000]] = bad
    file = write(tmp_path / "a.wav", samples[:, None], SAMPLE_RATE, "WAV", "FLOAT")
    film = tmp_path / "a.mkv"
    write_container(film, "matroska", "pcm_f32le", np.stack([samples] * 2, axis=1), SAMPLE_RATE)
    for source in (file, film, samples, samples.astype(np.float64)):
        found, warned = load_damaged(source)
        assert np.array_equal(found, np.where(samples == good, samples, 0))
        assert [words.partition(" no sound")[0] for words in warned] == [
            "the seconds 0.00 to 0.01 hold 1 sample that is",
            "the seconds 32.76 to 32.84 hold 2 samples that are",
        ]
        assert "(strict)" in refusal(source, strict=True)
    assert np.array_equal(samples[7], np.float32(bad), equal_nan=True)  # the array is as it was


def test_a_bad_sample_of_one_channel_leaves_the_others():
    samples = noise(1_000, 2)
    expected = samples.mean(axis=1)
    expected[500] = samples[500, 0] / 2
    doubles = samples.astype(np.float64)
    doubles[500, 1] = 1e300
    found, warned = load_damaged(doubles)
    assert np.array_equal(found, expected)
    assert len(warned) == 1


@pytest.mark.parametrize("scale", [100, 300, 32_768])
def test_floats_that_nobody_has_scaled_are_refused_however_much_silence_is_around(scale):
    samples = np.concatenate([np.zeros(50_000), noise(5_000)[:, 0], np.zeros(50_000)])
    assert "scale them" in refusal(samples * 2 * scale)


@pytest.mark.parametrize("dtype", ["int64", "uint16", "int8", "bool", "complex64", "object"])
def test_an_array_of_what_no_recording_holds_is_refused(dtype):
    assert "scale it" in refusal(np.zeros(10, dtype))


@pytest.mark.parametrize("shape", [(), (1, 2, 3), (0, 65), (480, 480)], ids=str)
def test_an_array_of_another_shape_is_refused(shape):
    assert str(shape) in refusal(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "rate", [0, -16_000, 1, 44_100.5, float("nan"), float("inf"), 2**40, "16000", True], ids=repr
)
def test_a_senseless_sample_rate_is_refused(rate):
    assert "sample rate" in refusal(np.zeros(10, np.float32), sampling_rate=rate)


def test_a_header_with_a_senseless_sample_rate_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", noise(100_000), 16_000, "WAV", "PCM_16")
    content = bytearray(path.read_bytes())
    content[24:28] = (1).to_bytes(4, "little")
    path.write_bytes(content)
    assert "sample rate 1" in refusal(path)


def test_a_sample_rate_for_a_file_is_refused(tmp_path):
    assert "is for arrays" in refusal(tmp_path / "a.wav", sampling_rate=16_000)


@pytest.mark.parametrize("error", [RuntimeError, ValueError, OSError, EOFError, OverflowError, MemoryError])
def test_what_the_resampler_raises_for_a_recording_names_it(tmp_path, monkeypatch, error):
    def fail(*_: object, **__: object) -> None:
        raise error("for a reason")

    path = write(tmp_path / "a.wav", noise(10), 44_100, "WAV", "PCM_16")
    monkeypatch.setattr(soxr.ResampleStream, "resample_chunk", fail)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert ("does not fit into the memory" if error is MemoryError else "for a reason") in message


@pytest.mark.parametrize("error", [RuntimeError, ValueError, OSError, EOFError, OverflowError, TypeError])
def test_where_libsndfile_fails_ffmpeg_reads(tmp_path, monkeypatch, error):
    def fail(*_: object, **__: object) -> None:
        raise error("for a reason")

    path = write(tmp_path / "a.wav", noise(5_003, 2), 44_100, "WAV", "PCM_16")
    expected = load_audio(path)
    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    assert np.array_equal(load_audio(path), expected)
    monkeypatch.setattr(av, "open", fail)
    assert f"{path}: " in refusal(path)


def test_where_memory_ends_in_libsndfile_a_line_says_so(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    path = write(tmp_path / "a.wav", noise(10), 44_100, "WAV", "PCM_16")
    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    assert "does not fit into the memory" in refusal(path)


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
        samples, _ = load_damaged(path)
    except AudioError as error:
        refused = str(error)
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert not refused or refused.startswith(f"{path}: ")
    assert "\n" not in refused


# Processes of their own


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
import os, sys, warnings
from whisper_npu.audio import load_audio
from whisper_npu.errors import AudioError
warnings.simplefilter("ignore")
for path in sys.argv[1:]:
    try:
        print(len(load_audio(path)) > 0)
    except AudioError:
        print("refused")
    os.write(2, b"heard\\n")
"""
    done = run(code, mp3, mp4, text, alac, caf, caf)
    assert (done.stdout, done.stderr) == ("True\n" * 2 + "refused\n" * 4, "heard\n" * 6)


def test_what_others_print_while_a_file_is_read_appears(tmp_path):
    mp3 = cut(write(tmp_path / "a.mp3", noise(44_100), 44_100, "MP3", "MPEG_LAYER_III"))  # libmpg123 warns
    code = """
import os, sys, threading, warnings
import soundfile
from whisper_npu.audio import load_audio
warnings.simplefilter("ignore")  # of the missing end
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


def test_a_process_without_stderr_loads_audio(tmp_path):
    path = write(tmp_path / "a.wav", noise(100), 16_000, "WAV", "PCM_16")
    code = (
        "import os, sys; from whisper_npu.audio import load_audio; "
        "os.close(2); print(len(load_audio(sys.argv[1])))"
    )
    assert run(code, path).stdout == "100\n"


def test_a_wav_of_an_unknown_codec_is_refused(tmp_path):
    path = tmp_path / "unknown.wav"
    soundfile.write(path, noise(9_600), 48_000)
    content = bytearray(path.read_bytes())
    content[20:22] = bytes(2)  # the format's tag
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"unknown\.wav: .*codec"):
        load_audio(path)


@pytest.mark.parametrize(
    ("dtype", "silence", "loudest"), [("int16", 0, 2**15), ("int32", 0, 2**31), ("uint8", 128, 128)]
)
def test_whole_numbers_are_what_a_wav_file_of_them_holds(tmp_path, dtype, silence, loudest):
    floats = noise(5_003)
    whole = np.round(floats * (loudest - 1) + silence).astype(dtype)
    subtype = {"int16": "PCM_16", "int32": "PCM_32", "uint8": "PCM_U8"}[dtype]
    path = tmp_path / "a.wav"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype) as file:
        file.write(floats)
    loaded = load_audio(whole)
    assert loaded.dtype == np.float32
    assert np.abs(loaded - load_audio(path)).max() <= 1.01 / loudest
    assert np.array_equal(load_audio(np.full(10, silence, dtype)), np.zeros(10))


def test_arrays_of_other_kinds():
    samples = noise(1_000)[:, 0]
    loud = (samples * 2_000).astype(np.int16)
    assert np.array_equal(load_audio(loud.astype(">i2")), load_audio(loud))
    assert np.array_equal(load_audio(samples.astype(">f4")), samples)
    assert np.array_equal(load_audio(memoryview(samples)), samples)
    assert load_audio(np.zeros((0, 2), np.float32)).shape == (0,)  # as soundfile reads an empty recording
    assert len(load_audio(samples, sampling_rate=8_000.0)) == 2_000


def test_a_recording_in_the_users_home(tmp_path, monkeypatch):
    write(tmp_path / "a.wav", noise(1_000), 16_000, "WAV", "PCM_16")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(load_audio("~/a.wav")) == 1_000
    assert "~/b.wav: no such file" in refusal("~/b.wav")


@pytest.mark.parametrize("fmt", ["wav", "mkv"])  # by libsndfile, and by FFmpeg
def test_the_reading_of_a_recording_can_be_cancelled(tmp_path, fmt):
    cancelled = threading.Event()
    cancelled.set()
    path = tmp_path / f"a.{fmt}"
    if fmt == "wav":
        write(path, noise(1_200_000), 16_000, "WAV", "PCM_16")
    else:
        write_container(path, "matroska", "pcm_s16le", noise(1_200_000, 2), 16_000)
    with pytest.raises(CancelledError, match=r"cancelled (after \d+\.\d s were|while it was) read"):
        load_audio(path, cancelled=cancelled)


@pytest.mark.parametrize("n_channels", [1, 2, 6])
def test_channels_may_come_first_or_last(n_channels):
    array = noise(5_003, n_channels)
    assert np.array_equal(load_audio(array), load_audio(array.T))


def test_the_bytes_of_a_file_are_a_recording(tmp_path):
    content = write(tmp_path / "a.wav", noise(1_000), 16_000, "WAV", "PCM_16").read_bytes()
    for source in (content, bytearray(content), memoryview(content)):
        assert np.array_equal(load_audio(source), load_audio(tmp_path / "a.wav"))
    assert "the bytes: is not audio" in refusal(b"nothing")


def test_what_can_be_seen_as_an_array_is_one():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return np.ones(10, np.float32)

    class OnAnotherDevice:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    assert np.array_equal(load_audio(Tensor()), np.ones(10))
    assert "tensor.detach().cpu().numpy()" in refusal(OnAnotherDevice())


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ({"array": np.ones(3), "sampling_rate": 8_000}, 'audio["array"], sampling_rate='),
        ([0.0, 1.0], "np.asarray"),
        (np.ma.masked_array(np.ones(3), [0, 1, 0]), "array.filled(0)"),
        (np.full(3, 11_560.0), "up to 11560; expected floats in -1..1: scale them"),
        (io.TextIOWrapper(io.BytesIO(b"\xff\xfe")), "open it with mode 'rb'"),
        (["a.wav", "b.wav"], "one recording at a time"),
        (5, "give a path"),
        (None, "give a path"),
    ],
    ids=str,
)
def test_what_is_no_recording_is_refused_with_the_remedy(source, remedy):
    assert remedy in refusal(source)


@pytest.mark.parametrize("fmt", ["WAV", "FLAC", "OGG", "MP3"])
def test_no_more_is_decoded_than_is_wanted(tmp_path: Path, fmt: str) -> None:
    subtype = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}[fmt]
    path = write(tmp_path / f"a.{fmt.lower()}", noise(3 * 16_000), 16_000, fmt, subtype)
    assert len(load_audio(path, max_seconds=4)) >= 3 * 16_000
    with pytest.raises(TooLongError, match="lasts longer than 2 s"):
        load_audio(path, max_seconds=2)


def test_no_more_of_a_container_is_decoded_than_is_wanted(tmp_path: Path) -> None:
    path = write_container(tmp_path / "a.mkv", "matroska", "pcm_s16le", noise(3 * 16_000, 2), 16_000)
    assert len(load_audio(path, max_seconds=3)) == 3 * 16_000
    with pytest.raises(TooLongError, match="lasts longer than 2 s"):
        load_audio(path, max_seconds=2)


PEAK = """
import re, sys
from pathlib import Path
from whisper_npu.audio import load_audio
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
for path in sys.argv[1:3]:
    load_audio(path)  # loads the libraries
before = peak()
samples = load_audio(sys.argv[3])
print(samples.nbytes, peak() - before)
"""


def test_a_recording_takes_no_more_memory_for_a_higher_rate(tmp_path: Path) -> None:
    """2 minutes at 192 kHz, which are 92 MB in mono, and 7.7 MB at 16 kHz."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak is read from /proc, which only Linux has")
    small, long = tmp_path / "small.flac", tmp_path / "long.flac"
    for path, seconds in ((small, 3), (long, 120)):
        with soundfile.SoundFile(path, "w", 192_000, 2, "PCM_16") as file:
            for _ in range(seconds):
                file.write(np.zeros((192_000, 2), np.int16))
    by_ffmpeg = [without_length(path) for path in (small, long)]
    for path in (long, by_ffmpeg[1]):
        n_bytes, peak = map(int, run(PEAK, small, by_ffmpeg[0], path).stdout.split())
        assert n_bytes == 4 * 120 * SAMPLE_RATE
        assert peak < 3 * n_bytes, path


def without_length(path: Path) -> Path:
    """A copy of a FLAC file that does not state it: FFmpeg decodes that."""
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # STREAMINFO: the number of samples, 36 bits, 0 for unknown
    content[22:26] = bytes(4)
    copy = path.with_stem(f"{path.stem}-without-length")
    copy.write_bytes(content)
    return copy
