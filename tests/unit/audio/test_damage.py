"""Recordings that are damaged, cut short, joined, or whose header is wrong: one rule for all formats."""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.support.recordings import cut, load_damaged, noise, refusal, run, write, write_container
from whisper_npu.audio import SAMPLE_RATE, audio_seconds, audio_tracks, load_audio, open_audio
from whisper_npu.audio.damage import Damage, Damages

av = pytest.importorskip("av")
soundfile = pytest.importorskip("soundfile")

RATE = 16_000
SECONDS = 10
BY_LIBSNDFILE = {  # format, subtype
    "a.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "extensible.wav": ("WAVEX", "PCM_16"),
    "big.wav": ("WAV", "PCM_16"),
    "a.rf64": ("RF64", "PCM_16"),
    "a.w64": ("W64", "PCM_16"),
    "a.aiff": ("AIFF", "PCM_16"),
    "a.caf": ("CAF", "PCM_16"),
    "a.au": ("AU", "PCM_16"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.ogg": ("OGG", "VORBIS"),
    "a.opus": ("OGG", "OPUS"),
}
RARE = {"a.voc": ("VOC", "PCM_16"), "a.nist": ("NIST", "PCM_16"), "a.iff": ("SVX", "PCM_16")}
BY_FFMPEG = {  # format, codec, options of the muxer
    "a.m4a": ("mp4", "aac", {"movflags": "faststart"}),
    "fragmented.mp4": ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "1000000"}),
    "a.mkv": ("matroska", "aac", {}),
    "a.webm": ("webm", "libopus", {}),
    "a.ts": ("mpegts", "aac", {}),
    "a.aac": ("adts", "aac", {}),
    "a.wma": ("asf", "wmav2", {}),
    "a.avi": ("avi", "pcm_s16le", {}),
    "a.wv": ("wv", "wavpack", {}),
}


def tone(seconds: float, rate: int = RATE, n_channels: int = 1) -> np.ndarray:
    """(n_samples, n_channels) float32: loud everywhere, so that silence shows."""
    time = np.arange(round(seconds * rate)) / rate
    sound = 0.4 * np.sin(2 * np.pi * 440 * time) + noise(len(time))[:, 0] * 0.1
    return np.repeat(sound.astype(np.float32)[:, None], n_channels, axis=1)


def mux(
    path: Path, fmt: str, codec: str, options: dict[str, str], samples: np.ndarray, rate: int = RATE
) -> Path:
    """`samples` (n_samples, 1) by PyAV."""
    if codec not in av.codecs_available or fmt not in av.formats_available:
        pytest.skip(f"this PyAV has no {codec} in {fmt}")
    with av.open(str(path), "w", format=fmt, options=options) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 48_000
        frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format.name, "mono", rate, frame_size=stream.frame_size or 1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return path


def recording(path: Path, seconds: float = SECONDS) -> Path:
    """In the format that the name says."""
    # Opus has no other rate; a block of WavPack lasts 1 s at it, and 4 s at 16 kHz.
    rate = 48_000 if path.suffix in (".opus", ".webm", ".wv") else RATE
    if path.name == "a.tta":
        return mux(path, "tta", "tta", {}, tone(seconds, rate), rate)
    if path.name in BY_FFMPEG:
        return mux(path, *BY_FFMPEG[path.name], tone(seconds, rate), rate)
    return write(path, tone(seconds, rate), rate, *(BY_LIBSNDFILE | RARE)[path.name])


def silence(samples: np.ndarray) -> float:
    """Seconds of it, in pieces of 10 ms."""
    pieces = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    return float((np.abs(pieces).max(axis=1) < 0.01).sum() / 100)


def seconds_of(text: str) -> tuple[float, float]:
    """What a warning names."""
    words = text.split()
    start = words.index("seconds")
    return float(words[start + 1]), float(words[start + 3])


# Cut short


@pytest.mark.parametrize("name", [*BY_LIBSNDFILE, *BY_FFMPEG])
def test_what_ends_early_is_read_to_its_end_and_the_missing_seconds_are_named(tmp_path, name):
    path = recording(tmp_path / name)
    load_audio(path)  # whole, without a warning
    samples, found = load_damaged(cut(path, 0.503))
    assert len(samples) / SAMPLE_RATE == pytest.approx(SECONDS / 2, abs=1.5)
    (warning,) = found
    assert "missing: it is damaged or cut short" in warning
    assert warning.startswith(f"the seconds {len(samples) / SAMPLE_RATE:.2f}"[:-1]) or "from" in warning
    assert f"{path}: {warning} (strict)" in refusal(path, strict=True)
    with open_audio(path) as sound:
        assert sound.warnings == tuple(found)
        assert sound.damage[0].start == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.1)


LAST_SECOND = (
    "a.mp3",
    "a.m4a",
    "a.mkv",
    "a.webm",
    "a.avi",
    "a.wma",
    "a.wv",
    "a.tta",
    "a.voc",
    "a.nist",
    "a.iff",
)


@pytest.mark.parametrize("name", LAST_SECOND)
def test_what_is_lost_within_the_last_second_is_named_where_bytes_or_samples_are_counted(tmp_path, name):
    path = recording(tmp_path / name, seconds=3)
    load_audio(path)  # whole, without a warning
    samples, (warning,) = load_damaged(cut(path, 0.85))
    start, end = seconds_of(warning)
    assert start == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.02)
    assert end == pytest.approx(3, abs=0.2)
    assert 0.1 < end - start < 1 or name in ("a.wv", "a.tta")  # they lose whole blocks


def test_compressed_samples_in_a_wav_are_counted_by_its_fact_chunk(tmp_path):
    path = mux(tmp_path / "a.wav", "wav", "adpcm_ms", {}, tone(3))
    _, (warning,) = load_damaged(cut(path, 0.7))
    assert seconds_of(warning)[1] == pytest.approx(len(tone(3)) / RATE, abs=0.1)


@pytest.mark.parametrize("between", [b"", b"LIST\x08\0\0\0INFOabcd"])
def test_all_chunks_of_samples_of_a_wav_are_read(tmp_path, between):
    path = recording(tmp_path / "a.wav", seconds=2)
    expected = load_audio(path)
    content = path.read_bytes()
    place = content.find(b"data") + 8
    first, rest = content[place : place + RATE], content[place + RATE :]
    chunks = [b"data" + len(part).to_bytes(4, "little") + part for part in (first, rest)]
    path.write_bytes(content[: place - 8] + chunks[0] + between + chunks[1])
    assert np.array_equal(load_audio(path), expected)
    _, (warning,) = load_damaged(cut(path, 0.75))
    assert seconds_of(warning)[1] == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    ("number", "kind", "has_times"),
    [(2, b"moof", True), (2, b"mdat", True), (0, b"moof", True), (2, b"moof", False)],
)
def test_a_fragment_whose_size_is_damaged_loses_no_other(tmp_path, number, kind, has_times):
    path = recording(tmp_path / "fragmented.mp4", seconds=6)
    whole = len(load_audio(path))
    content = bytearray(path.read_bytes())
    if not has_times:  # of each fragment; this box is optional
        content = content.replace(b"tfdt", b"free")
    place = [found.start() for found in re.finditer(b"moof", content)][number]
    content[content.find(kind, place) - 1] ^= 1
    path.write_bytes(content)
    samples, found = load_damaged(path)
    assert len(samples) == pytest.approx(whole, abs=0 if has_times else 0.1 * SAMPLE_RATE)
    assert len(found) == (kind == b"moof")  # where only the samples' box has another size, they are there
    for warning in found:
        assert seconds_of(warning) == pytest.approx((number, number + 1), abs=0.3)
        assert silence(samples) == pytest.approx(1, abs=0.2)


def test_an_index_that_is_cut_is_called_that(tmp_path):
    path = mux(tmp_path / "a.mov", "mov", "pcm_s16le", {}, tone(2))
    content = path.read_bytes()
    for place in (content.find(b"moov") + 2, content.find(b"moov") + 60, len(content) - 1):
        path.write_bytes(content[:place])
        assert "is cut short: its index" in refusal(path)


@pytest.mark.parametrize("fraction", [0.02, 0.3])
def test_a_fragmented_mp4_cut_early_warns_or_is_refused(tmp_path, fraction):
    path = cut(recording(tmp_path / "fragmented.mp4"), fraction)
    if fraction > 0.1:
        assert load_damaged(path)[1]
    assert refusal(path, strict=True)


def test_a_recording_of_which_only_the_header_is_left_is_refused(tmp_path):
    for name, n_bytes in (
        ("a.wav", 44),
        ("a.flac", 60),
        ("fragmented.mp4", 800),
        ("a.mkv", 700),
        ("a.aiff", 54),
    ):
        path = recording(tmp_path / name)
        path.write_bytes(path.read_bytes()[:n_bytes])
        assert str(path) in refusal(path), name


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0], ids=hex)
@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.au"])
def test_a_size_that_a_recorder_could_not_know_states_nothing(tmp_path, name, size):
    path = recording(tmp_path / name)
    content = bytearray(path.read_bytes())
    order = "little" if name == "a.wav" else "big"
    place = {"a.wav": content.find(b"data") + 4, "a.aiff": content.find(b"SSND") + 4, "a.au": 8}[name]
    content[place : place + 4] = size.to_bytes(4, order)
    path.write_bytes(content)
    if name != "a.wav" and size in (0, 0x80000000):
        pytest.skip("the decoders take it for an empty recording, or for none")
    assert len(load_audio(path)) == SECONDS * SAMPLE_RATE


# Headers that say too little


@pytest.mark.parametrize("name", ["a.wav", "float.wav", "a.w64", "a.aiff", "a.caf", "a.au", "a.flac"])
@pytest.mark.parametrize("part", [0.0001, 0.4])
def test_what_lies_behind_the_stated_end_is_read(tmp_path, name, part):
    path = recording(tmp_path / name)
    expected = load_audio(path)
    content = bytearray(path.read_bytes())
    n_bytes = int(part * SECONDS * RATE) * (4 if "float" in name else 2)
    if name == "a.flac":
        content[21] &= 0xF0  # STREAMINFO: the number of samples, 36 bits
        content[22:26] = max(1, n_bytes // 2).to_bytes(4, "big")
    else:
        form, place, extra = {
            "a.w64": ("<Q", content.find(b"data") + 16, 24),
            "a.aiff": (">I", content.find(b"SSND") + 4, 8),
            "a.caf": (">Q", content.find(b"data") + 4, 4),
            "a.au": (">I", 8, 0),
        }.get(name, ("<I", content.find(b"data") + 4, 0))
        struct.pack_into(form, content, place, n_bytes + extra)
    path.write_bytes(content)
    assert np.array_equal(load_audio(path), expected)


@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("a.wav", b"LIST\xd0\x07\0\0" + b"INFO" * 500),
        ("a.wav", b"ID3\x04\0\0\0\0\x0f\x50" + b"\x55" * 2000),
        ("a.wav", b"TAG" + b" " * 1000),
        ("a.wav", b"mine\xd0\x07\0\0" + b"\x55" * 2000),
        ("a.aiff", b"mine\0\0\x07\xd0" + b"\x55" * 2000),
        ("a.caf", b"mine\0\0\0\0\0\0\x07\xd0" + b"\x55" * 2000),
        ("a.caf", b"free\0\0\0\0\0\0\x07\xd0" + b"\x55" * 2020),
    ],
)
def test_chunks_and_tags_behind_the_samples_are_no_sound(tmp_path, name, behind):
    path = recording(tmp_path / name)
    expected = load_audio(path)
    path.write_bytes(path.read_bytes() + behind)
    assert np.array_equal(load_audio(path), expected)


# Joined


@pytest.mark.parametrize("rates", [(16_000, 16_000), (44_100, 16_000), (16_000, 44_100)], ids=str)
@pytest.mark.parametrize("picture", [0, 300_000])
def test_mp3s_with_tags_that_were_joined_are_read_whole(tmp_path, rates, picture):
    size = 1_000 + picture
    tag = b"ID3\x04\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    tag += random.Random(0).randbytes(size)
    parts = []
    for number, rate in enumerate(rates):
        path = write(tmp_path / f"{number}.mp3", tone(4, rate, 1 + number), rate, "MP3", "MPEG_LAYER_III")
        parts.append(tag + path.read_bytes() + b"TAG" + bytes(125))
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(b"".join(parts))
    samples = load_audio(joined)
    assert len(samples) / SAMPLE_RATE == pytest.approx(8, abs=0.3)
    assert silence(samples) < 0.3


@pytest.mark.parametrize("name", ["a.aac", "a.flac", "a.ts", "a.ogg"])
def test_other_streams_that_were_joined_are_read_whole(tmp_path, name):
    path = recording(tmp_path / name, seconds=4)
    path.write_bytes(2 * path.read_bytes())
    samples, _ = load_damaged(path)
    assert len(samples) / SAMPLE_RATE == pytest.approx(8, abs=0.3)


# Damaged in the middle


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.ogg", "a.opus", *BY_FFMPEG])
def test_forty_damaged_bytes_lose_little_and_the_seconds_are_named(tmp_path, name):
    path = recording(tmp_path / name)
    whole = len(load_audio(path))
    content = path.read_bytes()
    n_warned = 0
    for seed in range(6):
        place = len(content) * (seed + 2) // 10
        path.write_bytes(content[:place] + random.Random(seed).randbytes(40) + content[place + 40 :])
        samples, found = load_damaged(path)
        if name in ("fragmented.mp4", "a.webm", "a.mkv") and len(samples) < 0.9 * whole:
            assert "missing" in found[-1]  # a fragment's index was hit, or the head of the last cluster
            continue
        assert len(samples) == pytest.approx(whole, abs=0.3 * SAMPLE_RATE)
        # Lost with them: a block of WavPack, a cluster of webm, two pages of ogg.
        assert silence(samples) < {"a.wv": 4.5, "a.webm": 5.5, "a.mkv": 5.5, "a.opus": 2.5}.get(name, 1.5)
        for warning in found:
            start, end = seconds_of(warning)
            assert 0 <= start <= end <= SECONDS + 0.1
            assert (start + end) / 2 == pytest.approx((seed + 2) * SECONDS / 10, abs=2.5)
            assert "the seconds" in refusal(path, strict=True)
        n_warned += bool(found)
    if name not in ("a.webm", "a.wma", "a.avi", "a.mp3"):  # their decoders take nearly all bytes for sound
        assert n_warned >= 3


def test_later_times_are_right_behind_what_is_lost(tmp_path):
    """A click at 16 s stays there, whatever is lost before."""
    sound = tone(2 * SECONDS)
    sound[:] *= 0.2
    sound[16 * RATE : 16 * RATE + 400] = 0.95
    for name, (fmt, codec, options) in {k: BY_FFMPEG[k] for k in ("a.m4a", "a.mkv", "a.ts", "a.aac")}.items():
        path = mux(tmp_path / name, fmt, codec, options, sound)
        content = bytearray(path.read_bytes())
        place = len(content) // 4
        content[place : place + 3_000] = random.Random(1).randbytes(3_000)
        path.write_bytes(content)
        samples, found = load_damaged(path)
        assert found
        assert np.argmax(np.abs(samples)) / SAMPLE_RATE == pytest.approx(16, abs=0.5), name


def test_a_hundred_damages_are_told_in_few_lines(tmp_path):
    path = recording(tmp_path / "a.aac", seconds=120)
    content = bytearray(path.read_bytes())
    for place in range(2_000, len(content), len(content) // 100):
        content[place : place + 40] = random.Random(place).randbytes(40)
    path.write_bytes(content)
    samples, found = load_damaged(path)
    assert 1 < len(found) <= 21
    assert len(samples) / SAMPLE_RATE == pytest.approx(120, abs=1)


def test_damages_nearby_become_one_and_the_last_takes_in_what_is_too_many():
    damages = Damages()
    damages.add(1.0, 1.5, "are damaged")
    damages.add(2.0, 2.1, "are damaged")
    damages.add(9.0, None, "follow something")
    assert damages.found == [Damage(1.0, 2.1, "are damaged"), Damage(9.0, None, "follow something")]
    for number in range(100):
        damages.add(20.0 + 10 * number, 21.0 + 10 * number, "are damaged")
    assert len(damages.found) == 20
    assert damages.found[-1] == Damage(190.0, 1011.0, "are damaged")


# Wav files that libsndfile cannot read


@pytest.mark.parametrize(
    ("codec", "rate"), [("gsm_ms", 8_000), ("adpcm_yamaha", 16_000), ("libmp3lame", 16_000), ("g726", 8_000)]
)
def test_whatever_is_inside_a_wav_is_read(tmp_path, codec, rate):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    try:
        path = mux(tmp_path / "a.wav", "wav", codec, {}, tone(3, rate), rate)
    except (av.FFmpegError, ValueError, TypeError):
        pytest.skip(f"this PyAV does not write {codec}")
    assert len(load_audio(path)) / SAMPLE_RATE == pytest.approx(3, abs=0.2)
    samples, found = load_damaged(cut(path))
    assert len(samples) / SAMPLE_RATE == pytest.approx(1.5, abs=0.2)
    assert found


def test_gsm_by_libsndfile_in_a_wav_is_read(tmp_path):
    path = write(tmp_path / "a.wav", tone(3, 8_000), 8_000, "WAV", "GSM610")
    assert len(load_audio(path)) / SAMPLE_RATE == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("claim", [0xFFFFFFF0, 0x7FFFFFFF, 3_000_000_000])
def test_a_chunk_that_claims_gigabytes_gives_samples_or_one_line(tmp_path, claim):
    path = recording(tmp_path / "a.wav", seconds=2)
    content = path.read_bytes()
    path.write_bytes(content[:12] + b"LIST" + claim.to_bytes(4, "little") + content[12:])
    assert str(path) in refusal(path)
    path.write_bytes(content[:36] + b"LIST" + claim.to_bytes(4, "little") + content[36:])
    assert str(path) in refusal(path)
    assert audio_seconds(path) is None or audio_tracks(path)


# What is not sound


@pytest.mark.parametrize(
    "content",
    [
        b"M.K." * 2048,
        bytes(1080) + b"M.K." + bytes(8000),
        b"IMPM" + bytes(5000),
        b"Extended Module: a" + bytes(5000),
        b"SCRM" * 500,
        b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0",
        b"\x1b[31mcoloured\r\n" * 500,
        b"XBIN\x1a\x50\0\x19\0\x10\0" + b"A\x07" * 4000,
        b"1\n00:00:01,000 --> 00:00:02,000\nWords\n\n" * 50,
        b"WEBVTT\n\n00:01.000 --> 00:02.000\nWords\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a" + bytes(500),
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"%PDF-1.7\n" + bytes(500),
        b"PK\3\4" + bytes(500),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("name", ["x.mod", "x.mid", "x.wav"])
def test_notes_text_and_pictures_are_no_recordings(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert "is not audio" in refusal(path)


# Levels and phase


@pytest.mark.parametrize("name", ["a.wav", "a.mkv"])
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_of_channels_that_cancel_each_other_out_the_louder_one_is_heard(tmp_path, name, gain):
    left = tone(3)[:, 0]
    both = np.stack([-gain * left, left], axis=1)
    if name == "a.wav":
        path = write(tmp_path / name, both, RATE, "WAV", "PCM_16")
    else:
        path = write_container(tmp_path / name, "matroska", "pcm_s16le", both, RATE)
    samples, found = load_damaged(path)
    if gain == 1.0:
        assert np.abs(np.abs(samples) - np.abs(left[: len(samples)])).max() < 1e-3
        assert len(found) == 1
        assert "cancel each other out (opposite phase): channel" in found[0]
        load_damaged(path, strict=True)  # nothing is damaged
    else:
        assert found == []
        assert np.abs(samples - 0.25 * left[: len(samples)]).max() < 1e-3


@pytest.mark.parametrize("name", ["a.wav", "a.mkv", "an array"])
@pytest.mark.parametrize("noise_level", [0, 1e-4])
def test_channels_that_cancel_each_other_out_for_a_part_of_the_time(tmp_path, name, noise_level):
    said = tone(4)[:, 0] * np.hanning(4 * RATE).astype(np.float32)
    both = np.stack([said, said], axis=1)
    both[RATE : 2 * RATE, 1] *= -1
    both += noise_level * np.random.default_rng(0).normal(size=both.shape).astype(np.float32)
    source = both
    if name == "a.wav":
        source = write(tmp_path / name, both, RATE, "WAV", "FLOAT")
    elif name == "a.mkv":
        source = write_container(tmp_path / name, "matroska", "pcm_f32le", both, RATE)
    samples, found = load_damaged(source)
    assert np.abs(samples - said[: len(samples)]).max() < 1e-3  # no click at either end
    assert len(found) == 1
    assert re.search(r"\(opposite phase\) from (0.9|1.0). s to 2.0. s: channel [12] alone is heard", found[0])


def test_ordinary_stereo_is_mixed():
    """One channel alone, unrelated ones, or a moment of opposite phase."""
    one, other = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 2 * SAMPLE_RATE)).astype(np.float32)
    moment = np.where(np.arange(len(one)) // 1_600 == 3, -one, one)  # a tenth of a second
    for second in (0 * one, other, moment, -0.9 * one, one):
        samples, found = load_damaged(np.stack([one, second]))
        assert found == []
        assert np.array_equal(samples, np.mean(np.stack([one, second]), axis=0))


def test_silence_is_no_opposite_phase(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros((RATE, 2), np.float32), RATE, "WAV", "PCM_16")
    assert not load_audio(path).any()


@pytest.mark.parametrize("level", [1e30, 3.4e38, 20_000.0])
@pytest.mark.parametrize("fmt", ["wav", "mkv"])
def test_floats_far_beyond_full_scale_are_refused(tmp_path, level, fmt):
    if fmt == "wav":
        path = write(tmp_path / "a.wav", tone(1) * level, RATE, "WAV", "FLOAT")
    else:
        path = write_container(
            tmp_path / "a.mkv", "matroska", "pcm_f32le", tone(1, n_channels=2) * level, RATE
        )
    assert str(path) in refusal(path)


# Samples in several chunks


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(
    ("first", "last", "behind"),
    [
        (16_000, 16_000, b""),
        (16_000, 0, b""),  # the recorder could not know
        (16_000, 0x7FFFF000, b""),
        (16_000, 0xFFFFFFF0, b""),
        (16_000, 0xFFFFFFFF, b""),
        (15_999, 16_000, b""),  # no whole sample, and a byte to fill up
        (16_000, 16_000, struct.pack("<4sI4sI", b"data", 0, b"LIST", 3000) + bytes(3000)),
    ],
)
def test_a_wav_with_two_chunks_of_samples_is_read_whole(tmp_path, n_channels, first, last, behind):
    """first, last: the size that each of the chunks states."""
    sound = (3_000 * noise(RATE)).astype("<i2")
    body = struct.pack(
        "<4s4sIHHIIHH", b"WAVE", b"fmt ", 16, 1, n_channels, RATE, 2 * n_channels * RATE, 2 * n_channels, 16
    )
    for size, half in ((first, sound[:8_000]), (last, sound[8_000:])):
        body += struct.pack("<4sI", b"data", size) + half.tobytes()
    path = tmp_path / "a.wav"
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body + behind)) + body + behind)
    samples, warnings = load_damaged(path)
    assert warnings == []
    kept = np.delete(sound, range(8_000 - n_channels, 8_000)) if first % 2 else sound
    np.testing.assert_array_equal(samples, (kept / 2**15).astype(np.float32).reshape(-1, n_channels).mean(1))


# Rates and channels that change


@pytest.mark.parametrize("rates", [(44_100, 22_050), (16_000, 48_000), (48_000, 16_000)], ids=str)
def test_an_mp3_whose_rate_and_channels_change_is_read(tmp_path, rates):
    parts = [
        write(tmp_path / f"{n}.mp3", tone(3, rate, 1 + n), rate, "MP3", "MPEG_LAYER_III").read_bytes()
        for n, rate in enumerate(rates)
    ]
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(parts))
    samples, _ = load_damaged(path)
    assert len(samples) / SAMPLE_RATE == pytest.approx(6, abs=0.3)
    assert silence(samples) < 0.3


# What libraries print


LOGGING = """
import sys, threading, warnings
from whisper_npu.audio import load_audio
from whisper_npu.errors import AudioError
warnings.simplefilter("ignore")
ended, n_lines = threading.Event(), 0
def log():
    global n_lines
    while not ended.is_set():
        n_lines += 1
        print(f"line {n_lines}", file=sys.stderr, flush=True)
thread = threading.Thread(target=log)
thread.start()
for path in sys.argv[1:]:
    load_audio(path)
ended.set()
thread.join()
print(n_lines)
"""


def test_every_line_of_another_thread_arrives_while_audio_is_decoded(tmp_path):
    paths = [recording(tmp_path / name) for name in ("a.mp3", "a.flac", "a.m4a", "a.wav", "a.opus")]
    done = run(LOGGING, *map(cut, paths[:1]), *paths[1:])
    n_lines = int(done.stdout)
    assert n_lines > 10
    assert done.stderr.splitlines() == [f"line {number}" for number in range(1, n_lines + 1)]


# Tags are no sound, and no damage


def ape(n_bytes: int, parts: str = "header and footer", version: int = 2000) -> bytes:
    """A tag with a picture of so many bytes."""
    picture = b"cover.jpg\0" + np.random.default_rng(1).bytes(n_bytes)
    item = struct.pack("<2I", len(picture), 2) + b"Cover Art (Front)\0" + picture
    has_footer = "footer" in parts
    head = struct.pack("<8s4I8x", b"APETAGEX", version, len(item) + 32 * has_footer, 1, 0xA0000000)
    foot = struct.pack(
        "<8s4I8x", b"APETAGEX", version, len(item) + 32, 1, 0x80000000 if version == 2000 else 0
    )
    return head * ("header" in parts) + item + foot * has_footer


def id3v2(n_bytes: int, has_footer: bool = False) -> bytes:
    size = n_bytes + 11
    digits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    rest = b"\4\0" + (b"\x10" if has_footer else b"\0") + digits
    picture = b"APIC" + bytes(7) + np.random.default_rng(2).bytes(n_bytes)
    return b"ID3" + rest + picture + (b"3DI" + rest if has_footer else b"")


LYRICS = b"LYRICSBEGIN" + b"LYR%05d" % 9_000 + b"la la la\n" * 1_000
TAGS = {
    "ID3v1": b"TAG" + b"title".ljust(125),
    "ID3v2": id3v2(60_000),
    "ID3v2 with a footer": id3v2(60_000, has_footer=True),
    "APEv2": ape(60_000),
    "APEv2 with a header": ape(60_000, "header"),
    "APEv2 with a footer": ape(60_000, "footer"),
    "APEv1": ape(60_000, "footer", 1000),
    "Lyrics3 v1": b"LYRICSBEGIN" + b"la " * 1_000 + b"LYRICSEND",
    "Lyrics3 v2": LYRICS + b"%06dLYRICS200" % len(LYRICS),
}
TAGGED = {
    "a.mp3": ("mp3", "libmp3lame"),
    "a.mp2": ("mp2", "mp2"),
    "a.aac": ("adts", "aac"),
    "a.ac3": ("ac3", "ac3"),
    "a.wv": ("wv", "wavpack"),
    "a.tta": ("tta", "tta"),
    "a.flac": ("flac", "flac"),
}


@pytest.mark.parametrize("name", TAGGED)
def test_a_tag_at_the_end_is_no_sound_and_no_damage(tmp_path, name):
    path = mux(tmp_path / name, *TAGGED[name], {}, tone(1, 48_000), 48_000)
    content = path.read_bytes()
    whole = load_audio(path)
    for tag in (*TAGS.values(), TAGS["APEv2"] + TAGS["Lyrics3 v2"] + TAGS["ID3v1"]):
        path.write_bytes(content + tag)
        samples, found = load_damaged(path)
        assert (len(samples), found) == (len(whole), []), tag[:20]
        np.testing.assert_array_equal(samples, whole)


@pytest.mark.parametrize("name", ["a.mp3", "a.mp2", "a.aac", "a.ac3"])
def test_a_tag_in_the_middle_is_no_sound_and_no_damage(tmp_path, name):
    options = {"write_xing": "0"} if name == "a.mp3" else {}
    path = mux(tmp_path / name, *TAGGED[name], options, tone(1, 48_000), 48_000)
    content = path.read_bytes()
    path.write_bytes(2 * content)
    whole, _ = load_damaged(path)
    for kind, tag in TAGS.items():
        if (name, kind) == ("a.ac3", "ID3v1"):  # three bytes alone tell of one, which nobody puts there
            continue
        path.write_bytes(content + tag + content)
        samples, found = load_damaged(path)
        assert (len(samples), found) == (len(whole), []), tag[:20]
