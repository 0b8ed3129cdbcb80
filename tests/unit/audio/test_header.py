"""Several audio tracks in one file, video files from every kind of source, lengths by headers."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.support.recordings import refusal
from whisper_npu.audio import (
    SAMPLE_RATE,
    AudioHeader,
    AudioTrack,
    audio_header,
    audio_seconds,
    audio_tracks,
    load_audio,
)
from whisper_npu.errors import AudioError

av = pytest.importorskip("av")
soundfile = pytest.importorskip("soundfile")

RATE = 48_000
LEVELS = (0.1, 0.3, 0.5)  # how the tracks of a file are told apart, even behind a lossy codec
VIDEOS = {  # name: container, video codec, audio codec
    "film.mp4": ("mp4", "mpeg4", "aac"),
    "film.mov": ("mov", "mpeg4", "pcm_s16le"),
    "film.mkv": ("matroska", "mpeg4", "aac"),
    "film.webm": ("webm", "libvpx", "libopus"),
    "film.avi": ("avi", "mpeg4", "pcm_s16le"),
    "film.ts": ("mpegts", "mpeg2video", "aac"),
}


def tone(level: float, seconds: float) -> np.ndarray:
    """(1, n_samples) float32: 440 Hz, whose root of the mean square is `level`."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sqrt(2) * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[None]


def write_film(
    path: Path,
    fmt: str,
    video: str,
    audio: str,
    *,
    n_tracks: int = 1,
    seconds: float = 1.0,
    described: tuple[dict[str, str], ...] = (),
) -> Path:
    """One picture track, then audio tracks with the levels of LEVELS."""
    if not {video, audio} <= av.codecs_available:
        pytest.skip(f"this PyAV has no {video} or {audio}")
    with av.open(str(path), "w", format=fmt) as file:
        pictures = file.add_stream(video, rate=25)
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        streams = [file.add_stream(audio, rate=RATE, layout="mono") for _ in range(n_tracks)]
        for stream, description in zip(streams, described, strict=False):
            stream.metadata.update(description)
        packets = []
        for _ in range(round(25 * seconds)):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            packets += pictures.encode(picture)
        packets += pictures.encode(None)
        for stream, level in zip(streams, LEVELS, strict=False):
            frame = av.AudioFrame.from_ndarray(tone(level, seconds), format="fltp", layout="mono")
            frame.sample_rate = RATE
            resampler = av.AudioResampler(stream.format.name, "mono", RATE, frame_size=stream.frame_size)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                packets += stream.encode(piece)
            packets += stream.encode(None)
        for packet in packets:
            file.mux(packet)
    return path


def write_wav(path: Path, seconds: float = 1.0, fmt: str = "WAV") -> Path:
    if fmt not in soundfile.available_formats():
        pytest.skip(f"this libsndfile does not write {fmt}")
    soundfile.write(path, tone(0.1, seconds)[0], RATE, format=fmt)
    return path


def level(samples: np.ndarray) -> float:
    """The root of the mean square, without the ends, where codecs start and stop."""
    middle = samples[SAMPLE_RATE // 10 : -SAMPLE_RATE // 10]
    return float(np.sqrt(np.mean(middle**2)))


# Video files


@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_is_read_from_a_file_from_stdin_and_from_an_open_file(tmp_path, monkeypatch, name):
    path = write_film(tmp_path / name, *VIDEOS[name])
    samples = load_audio(path)
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
    assert level(samples) == pytest.approx(LEVELS[0], rel=0.05)
    content = path.read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert np.array_equal(load_audio("-"), samples)
    assert np.array_equal(load_audio(io.BytesIO(content)), samples)
    with path.open("rb") as file:
        assert np.array_equal(load_audio(file), samples)


# Tracks


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.mkv", "film.webm", "film.avi", "film.ts"])
def test_tracks_are_counted_from_1_among_the_audio_tracks(tmp_path, monkeypatch, name):
    path = write_film(tmp_path / name, *VIDEOS[name], n_tracks=3)
    assert [track.number for track in audio_tracks(path)] == [1, 2, 3]
    for number, expected in enumerate(LEVELS, start=1):
        samples = load_audio(path, audio_track=number)
        assert level(samples) == pytest.approx(expected, rel=0.05), number
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
        assert np.array_equal(load_audio("-", audio_track=number), samples)
        assert np.array_equal(load_audio(io.BytesIO(path.read_bytes()), audio_track=number), samples)
    assert np.array_equal(load_audio(path), load_audio(path, audio_track=1))


def test_a_track_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    described = ({"language": "eng", "title": "Original\x1b[31m"}, {"language": "deu"})
    path = write_film(tmp_path / "film.mkv", *VIDEOS["film.mkv"], n_tracks=3, described=described)
    assert audio_tracks(path) == (
        AudioTrack(1, "eng", "Original\x1b[31m"),
        AudioTrack(2, "deu", ""),
        AudioTrack(3, "", ""),
    )
    assert refusal(path, audio_track=4) == (
        f"{path}: has no audio track 4, only 3; choose from 1 (eng, Original\\x1b[31m), 2 (deu), 3"
    )
    with path.open("rb") as file:
        assert "the open file: has no audio track 9, only 3" in refusal(file, audio_track=9)


def test_languages_of_an_mp4_are_named(tmp_path):
    path = write_film(
        tmp_path / "film.mp4", *VIDEOS["film.mp4"], n_tracks=2, described=({"language": "eng"}, {})
    )
    assert audio_tracks(path) == (AudioTrack(1, "eng", ""), AudioTrack(2, "", ""))


@pytest.mark.parametrize("fmt", ["WAV", "FLAC", "OGG", "MP3", "PAF"])
def test_formats_of_one_track_have_track_1_only(tmp_path, fmt):
    path = write_wav(tmp_path / "a", fmt=fmt)
    assert audio_tracks(path) == (AudioTrack(1, "", ""),)
    assert np.array_equal(load_audio(path, audio_track=1), load_audio(path))
    assert "has one audio track, so no audio track 2" in refusal(path, audio_track=2)


@pytest.mark.parametrize("track", [0, -1, True, 1.0, "2"], ids=repr)
def test_a_senseless_track_is_refused(tmp_path, track):
    assert "the first audio track is 1" in refusal(tmp_path / "none.wav", audio_track=track)


def test_a_track_of_an_array_is_refused():
    assert "an array is one track" in refusal(np.zeros(10, np.float32), audio_track=1)


def test_what_is_not_audio_is_refused_with_a_track_as_well(tmp_path):
    text = tmp_path / "a.wav"
    text.write_text("Call me Ishmael.\n" * 500)
    assert audio_tracks(text) == ()
    assert "is not audio" in refusal(text, audio_track=2)
    silent = write_film(tmp_path / "film.mkv", *VIDEOS["film.mkv"], n_tracks=0)
    assert audio_tracks(silent) == ()
    assert "no audio stream (only video)" in refusal(silent, audio_track=2)


def test_the_tracks_of_what_cannot_be_read_again_are_unknown(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for source in ("-", pipe):  # neither is opened: it would wait for the other end
        assert audio_tracks(source) == ()
        assert audio_seconds(source) is None
        assert audio_header(source) == AudioHeader((), None)
    with pytest.raises(AudioError, match="no such file"):
        audio_tracks(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="is a folder"):
        audio_tracks(tmp_path)


# Lengths


@pytest.mark.parametrize("fmt", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_the_length_of_a_file_is_known_by_its_header(tmp_path, fmt):
    path = write_wav(tmp_path / "a", seconds=2.5, fmt=fmt)
    assert audio_seconds(path) == pytest.approx(2.5, abs=0.1)
    assert audio_seconds(io.BytesIO(path.read_bytes())) == pytest.approx(2.5, abs=0.1)


@pytest.mark.parametrize("name", VIDEOS)
def test_the_length_of_a_video_is_known_by_its_header(tmp_path, name):
    path = write_film(tmp_path / name, *VIDEOS[name], seconds=2.5)
    assert audio_seconds(path) == pytest.approx(2.5, abs=0.2)


def test_no_length_is_known_of_what_cannot_be_read(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("Call me Ishmael.\n")
    (tmp_path / "empty.wav").touch()
    silent = write_film(tmp_path / "film.mkv", *VIDEOS["film.mkv"], n_tracks=0)
    for source in (text, silent, tmp_path / "empty.wav", tmp_path, tmp_path / "none.wav", "a\0b.wav"):
        assert audio_seconds(source) is None


def test_no_sample_is_decoded_for_a_length(tmp_path, monkeypatch):
    wav, film = write_wav(tmp_path / "a.wav"), write_film(tmp_path / "film.mkv", *VIDEOS["film.mkv"])

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", refuse)
    monkeypatch.setattr("whisper_npu.audio.by_ffmpeg._frame_to_float", refuse)
    assert audio_seconds(wav) == 1.0
    assert audio_seconds(film) == pytest.approx(1.0, abs=0.1)
    with pytest.raises(pytest.fail.Exception):
        load_audio(film)


def test_a_flac_without_a_length_in_its_header_has_none(tmp_path):
    path = write_wav(tmp_path / "a.flac", fmt="FLAC")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # STREAMINFO: the number of samples, 36 bits, 0 for unknown
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert audio_seconds(path) is None
    assert len(load_audio(path)) == SAMPLE_RATE


@pytest.mark.parametrize(
    "name", [*VIDEOS, "a.wav", "a.flac", "a.ogg", "a.mp3", "a.paf", "text", "silent.mkv"]
)
def test_one_look_tells_both_the_tracks_and_the_length(tmp_path, monkeypatch, name):
    path = tmp_path / name
    if name in VIDEOS:
        write_film(path, *VIDEOS[name], n_tracks=2)
    elif name == "silent.mkv":
        write_film(path, *VIDEOS["film.mkv"], n_tracks=0)
    elif name == "text":
        path.write_text("Call me Ishmael.\n")
    else:
        write_wav(path, fmt=path.suffix[1:].upper())
    expected = AudioHeader(audio_tracks(path), audio_seconds(path))
    assert len(expected.tracks) == (2 if name in VIDEOS else 0 if path.stem in ("text", "silent") else 1)
    opened: list[object] = []

    def counted(call):
        def count(*arguments, **options):
            opened.append(call)
            return call(*arguments, **options)

        return count

    monkeypatch.setattr(av, "open", counted(av.open))
    monkeypatch.setattr(soundfile, "SoundFile", counted(soundfile.SoundFile))
    assert audio_header(path) == expected
    assert len(opened) == len(set(opened)) == 2
    with pytest.raises(AudioError, match="no such file"):
        audio_header(tmp_path / "none.wav")


# Names


@pytest.mark.parametrize("raw", [b"\x1b[31mred.wav", b"two\nlines.wav", b"caf\xe9.wav"])
def test_a_name_is_shown_escaped_and_its_file_is_read(tmp_path, raw):
    name = os.fsdecode(raw)
    path = tmp_path / name
    escaped = {b"\x1b": r"\x1b[31mred.wav", b"t": r"two\nlines.wav", b"c": r"caf\xe9.wav"}[raw[:1]]
    assert refusal(path) == f"{tmp_path}/{escaped}: no such file; check the name and the folder"
    path.touch()
    assert f"{tmp_path}/{escaped}: is empty" in refusal(path)
    write_wav(tmp_path / "a.wav").rename(path)
    assert len(load_audio(path)) == SAMPLE_RATE
    assert len(load_audio(str(path))) == SAMPLE_RATE


def test_lengths_may_be_asked_for_by_several_threads(tmp_path):
    path = write_wav(tmp_path / "a.wav")
    lengths: list[float | None] = []
    threads = [threading.Thread(target=lambda: lengths.append(audio_seconds(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [1.0] * 4
