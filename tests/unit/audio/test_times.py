"""Sound at the times of its stream: where it starts after its picture, where a part of it is missing."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.support.recordings import load_damaged, noise, refusal, write_container
from whisper_npu.audio import SAMPLE_RATE, load_audio, open_audio
from whisper_npu.audio.clock import Clock
from whisper_npu.errors import TooLongError

av = pytest.importorskip("av")

RATE = 48_000
CONTAINERS = {  # name: container, video codec, audio codec, what start its clock has
    "film.mkv": ("matroska", "mpeg4", "aac", 0.0),
    "film.mp4": ("mp4", "mpeg4", "aac", 0.0),
    "film.mov": ("mov", "mpeg4", "pcm_s16le", 0.0),
    "film.webm": ("webm", "libvpx", "libopus", 0.0),
    "film.ts": ("mpegts", "mpeg2video", "aac", 3_600.0),
}


def film(
    path: Path,
    fmt: str,
    video: str,
    audio: str,
    start: float,
    places: list[tuple[float, float]],
    *,
    seconds: float = 8,
    default: int | None = None,
    levels: tuple[float, ...] = (0.4,),
) -> Path:
    """Pictures, and in each track noise at `places`: (when, how long). The clock begins at `start`."""
    if (video and video not in av.codecs_available) or audio not in av.codecs_available:
        pytest.skip(f"this PyAV has no {video} or {audio}")
    with av.open(str(path), "w", format=fmt) as file:
        packets = []
        if video:
            pictures = file.add_stream(video, rate=25)
            pictures.width = pictures.height = 64
            pictures.pix_fmt = "yuv420p"
        streams = [file.add_stream(audio, rate=RATE, layout="mono") for _ in levels]
        if default is not None:
            for number, stream in enumerate(streams, start=1):
                stream.disposition = av.stream.Disposition.default if number == default else 0
        if video:
            for number in range(round(25 * seconds)):
                picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                picture.pts = round(start * 25) + number
                packets += pictures.encode(picture)
            packets += pictures.encode(None)
        for stream, level in zip(streams, levels, strict=True):
            size = stream.frame_size or 1024
            for when, length in places:
                sound = (noise(round(length * RATE)).T * level).astype(np.float32)
                for first in range(0, sound.shape[1] // size * size, size):
                    frame = av.AudioFrame.from_ndarray(
                        sound[:, first : first + size].copy(), format="fltp", layout="mono"
                    )
                    frame.sample_rate = RATE
                    frame.pts = round((start + when) * RATE) + first
                    packets += stream.encode(av.AudioResampler(stream.format.name).resample(frame)[0])
            packets += stream.encode(None)
        packets.sort(key=lambda packet: float(packet.dts * packet.time_base))
        for packet in packets:
            file.mux(packet)
    return path


def heard(samples: np.ndarray) -> list[tuple[float, float]]:
    """From when to when there is sound, in seconds; pauses of less than 0.1 s are none."""
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    breaks = np.flatnonzero(np.diff(loud) > 0.1 * SAMPLE_RATE)
    starts = loud[np.concatenate([[0], breaks + 1])]
    ends = loud[np.concatenate([breaks, [len(loud) - 1]])]
    return [(float(a) / SAMPLE_RATE, float(b) / SAMPLE_RATE) for a, b in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("offset", [0.0, 0.5, 4.9])
def test_sound_that_starts_after_its_picture_is_heard_when_a_player_plays_it(tmp_path, name, offset):
    path = film(tmp_path / name, *CONTAINERS[name], places=[(offset, 2.0)])
    ((start, end),) = heard(load_audio(path))
    assert start == pytest.approx(offset, abs=0.08)
    assert end == pytest.approx(offset + 2, abs=0.12)


def test_empty_pieces_of_an_avi_are_time_without_sound(tmp_path):
    path = film(tmp_path / "film.avi", "avi", "mpeg4", "mp2", 0.0, places=[(2.0, 2.0), (6.0, 1.0)])
    samples, (warning,) = load_damaged(path)
    # FFmpeg writes what its encoder begins with at the film's start.
    assert [start for start, _ in heard(samples)][-2:] == pytest.approx([2, 6], abs=0.1)
    assert warning.endswith("are not in the file: silence stands for them")


@pytest.mark.parametrize(
    ("codec", "rate", "bit_rate"),
    [
        ("libmp3lame", 16_000, 160_000),
        ("libmp3lame", 44_100, 0),
        ("aac", 16_000, 128_000),
        ("aac", 8_000, 48_000),
        ("libvorbis", 16_000, 0),
        ("ac3", 48_000, 192_000),
        ("mp2", 16_000, 160_000),
        ("pcm_s24le", 44_100, 0),
        ("adpcm_ms", 16_000, 0),
    ],
)
@pytest.mark.parametrize("start", [0, 1])
def test_an_avi_is_as_long_as_its_sound_whatever_blocks_its_header_states(
    tmp_path, codec, rate, bit_rate, start
):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path = tmp_path / "a.avi"
    sound = (noise(2 * rate).T * 0.4).astype(np.float32)
    with av.open(str(path), "w", format="avi") as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format.name, "mono", rate, frame_size=stream.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    place = content.find(b"auds") + 20
    scale, per_scale = struct.unpack_from("<2I", content, place)
    struct.pack_into("<I", content, place + 8, round(start * per_scale / scale))  # dwStart
    path.write_bytes(content)
    samples, warnings = load_damaged(path)
    assert warnings == []
    assert len(samples) / SAMPLE_RATE == pytest.approx(2 + start, abs=0.3)
    assert heard(samples)[0][0] == pytest.approx(start, abs=0.3)


def test_a_picture_that_is_longer_than_its_sound_is_no_damage(tmp_path):
    path = film(tmp_path / "film.wmv", "asf", "mpeg4", "mp2", 0.0, places=[(0.0, 2.0)])
    assert [end for _, end in heard(load_audio(path))] == pytest.approx([2], abs=0.1)


@pytest.mark.parametrize("name", CONTAINERS)
def test_sound_alone_has_no_offset(tmp_path, name):
    fmt, _, audio, start = CONTAINERS[name]
    path = film(tmp_path / name, fmt, "", audio, start, places=[(3.0, 2.0)])
    ((begin, _),) = heard(load_audio(path))
    assert begin < 0.08


@pytest.mark.parametrize("name", ["film.mkv", "film.webm"])
def test_a_gap_in_the_middle_is_silence_and_is_named(tmp_path, name):
    path = film(tmp_path / name, *CONTAINERS[name], places=[(0.0, 2.0), (5.0, 2.0)])
    samples, (warning,) = load_damaged(path)
    assert [start for start, _ in heard(samples)] == pytest.approx([0, 5], abs=0.1)
    assert float(warning.split()[2]) == pytest.approx(2, abs=0.1)
    assert warning.endswith("are not in the file: silence stands for them")
    assert "are not in the file" in refusal(path, strict=True)


def test_a_gap_in_an_mp4_is_how_it_was_cut(tmp_path):
    path = film(tmp_path / "film.mp4", *CONTAINERS["film.mp4"], places=[(0.0, 2.0), (5.0, 2.0)])
    assert [start for start, _ in heard(load_audio(path))] == pytest.approx([0, 5], abs=0.1)


def test_a_start_beyond_what_is_wanted_is_too_long(tmp_path):
    path = film(tmp_path / "film.mkv", *CONTAINERS["film.mkv"], places=[(7.0, 0.5)])
    with pytest.raises(TooLongError):
        load_audio(path, max_seconds=5)


def test_the_default_track_is_heard_and_the_others_by_their_number(tmp_path):
    path = film(
        tmp_path / "film.mkv", *CONTAINERS["film.mkv"], places=[(0.0, 2.0)], default=2, levels=(0.0, 0.4)
    )
    assert np.abs(load_audio(path)).max() > 0.05
    assert np.array_equal(load_audio(path), load_audio(path, audio_track=2))
    assert np.abs(load_audio(path, audio_track=1)).max() < 0.01
    with open_audio(path) as sound:
        assert (sound.track, sound.n_tracks) == (2, 2)


def test_sound_of_one_track_is_that_of_the_decoder(tmp_path):
    path = write_container(tmp_path / "a.mkv", "matroska", "pcm_s16le", noise(20_011, 2), SAMPLE_RATE)
    with open_audio(path) as sound:
        assert (sound.n_samples, sound.track, sound.n_tracks, sound.warnings) == (20_011, 1, 1, ())


# The clock


def test_a_clock_gives_the_gap_before_a_frame():
    clock = Clock(start=100.0, duration=60.0, longest_gap=50.0)
    assert clock.gap(104.5, 0.0, is_exact=False) == pytest.approx(4.5)
    assert clock.gap(105.1, 5.0, is_exact=False) == 0.0  # a recorder's jitter
    assert clock.gap(105.1, 5.0, is_exact=True) == pytest.approx(0.1)  # packets were lost before it
    assert clock.gap(104.5, 5.0, is_exact=True) == 0.0  # an overlap


@pytest.mark.parametrize("stamp", [40.0, -5.0, 1e9])
def test_a_stamp_that_cannot_be_right_changes_nothing_and_later_ones_are_relative_to_it(stamp):
    clock = Clock(duration=60.0, longest_gap=20.0)
    assert clock.gap(stamp, 10.0, is_exact=False) == 0.0
    assert clock.gap(stamp + 0.5, 10.5, is_exact=False) == 0.0
    assert clock.gap(stamp + 4, 11.0, is_exact=False) == pytest.approx(3.0)


def test_in_broadcasts_a_long_jump_is_none_in_the_sound():
    clock = Clock(longest_jump=10.0)
    assert clock.gap(30.0, 0.0, is_exact=False) == 30.0
    assert clock.gap(500.0, 40.0, is_exact=False) == 0.0


def test_a_single_wrong_stamp_moves_nothing(tmp_path):
    """The stamp of one block of an mkv, 16 bits relative to its cluster, is 30 s too late."""
    path = film(tmp_path / "film.mkv", "matroska", "mpeg4", "aac", 0.0, places=[(0.0, 60.0)], seconds=60)
    expected = len(load_audio(path))
    content = bytearray(path.read_bytes())
    place, n_seen = 0, 0
    while (place := content.find(b"\xa3", place + 1)) > 0:  # SimpleBlock, size in 2 bytes, track, time, flags
        if content[place + 1] & 0xC0 == 0x40 and content[place + 3] == 0x82 and content[place + 6] == 0x80:
            n_seen += 1
            if n_seen == 20:
                late = int.from_bytes(content[place + 4 : place + 6], "big") + 30_000
                content[place + 4 : place + 6] = late.to_bytes(2, "big")
                break
    assert n_seen == 20
    path.write_bytes(content)
    assert len(load_damaged(path)[0]) == pytest.approx(expected, abs=0.3 * SAMPLE_RATE)
