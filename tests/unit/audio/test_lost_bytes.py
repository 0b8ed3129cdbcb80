"""Damage of which FFmpeg says nothing: skipped bytes of bare frames, pages of Ogg, joined recordings."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.support.recordings import av, load_damaged, noise, write, write_container
from whisper_npu.audio import SAMPLE_RATE, load_audio
from whisper_npu.audio.samples import Resampling
from whisper_npu.errors import AudioError, CancelledError

SECONDS = 3


def encoded(path: Path, fmt: str, codec: str, rate: int = 48_000) -> bytearray:
    if fmt == "ogg":
        return bytearray(write(path, noise(SECONDS * rate), rate, "OGG", "VORBIS").read_bytes())
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    write_container(path, fmt, codec, noise(SECONDS * rate, 2), rate)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize(
    ("fmt", "codec"),
    [
        ("adts", "aac"),
        ("ac3", "ac3"),
        ("spdif", "ac3"),
        ("wav", "ac3"),
        ("wav", "libmp3lame"),
        ("mp2", "mp2"),
    ],
)
@pytest.mark.parametrize("junk", ["zeros", "noise"])
def test_bytes_that_the_demuxer_skips_are_silence_and_are_named(
    tmp_path: Path, fmt: str, codec: str, junk: str
) -> None:
    path = tmp_path / "recording"
    content = encoded(path, fmt, codec)
    whole, warnings = load_damaged(path)
    assert warnings == []
    start, n_bytes = len(content) // 2, len(content) // 5
    content[start : start + n_bytes] = (
        bytes(n_bytes) if junk == "zeros" else np.random.default_rng(1).bytes(n_bytes)
    )
    path.write_bytes(content)
    samples, warnings = load_damaged(path)
    assert abs(len(samples) - len(whole)) < 0.2 * 16_000
    (first, *_) = (re.match(r"the seconds (\S+) to (\S+) do not decode", text) for text in warnings)
    assert first is not None
    assert float(first[1]) == pytest.approx(0.5 * SECONDS, abs=0.15)
    assert float(first[2]) == pytest.approx(0.7 * SECONDS, abs=0.2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("flac", "mp3"),
        ("wav", "mp3"),
        ("mp3", "wav"),
        ("mp3", "flac"),
        ("mp4", "mp3"),
        ("tta", "tta"),
        ("flv", "flv"),
        ("ogg", "ogg"),
        ("aiff", "aiff"),
        ("caf", "flac"),
        ("wav", "wav"),
        ("mp4", "mp4"),
    ],
)
def test_recordings_that_were_joined_are_all_read(tmp_path: Path, first: str, second: str) -> None:
    codecs = {
        "mp3": "libmp3lame",
        "mp4": "aac",
        "wav": "pcm_s16le",
        "aiff": "pcm_s16be",
        "caf": "pcm_s16le",
        "flv": "libmp3lame",
    }
    rates = (44_100, 22_050)  # of Ogg, which says nothing of its second stream's rate in the first
    path = tmp_path / "joined"
    content = b""
    for fmt, rate in zip((first, second), rates, strict=True):
        content += encoded(path, fmt, codecs.get(fmt, fmt), rate)
    path.write_bytes(content)
    samples, warnings = load_damaged(path)
    assert warnings == []
    assert len(samples) / 16_000 == pytest.approx(2 * SECONDS, abs=0.25)
    assert np.abs(samples[-2_000:-1_000]).max() > 0.1


def pages(content: bytes) -> list[tuple[int, int]]:
    """(place, length) of each page of an Ogg file."""
    found, place = [], 0
    while place < len(content):
        length = 27 + content[place + 26] + sum(content[place + 27 : place + 27 + content[place + 26]])
        found.append((place, length))
        place += length
    return found


@pytest.mark.parametrize(("fmt", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_damaged_pages_at_either_end_of_an_ogg_are_named(tmp_path: Path, fmt: str, subtype: str) -> None:
    path = write(tmp_path / "a.ogg", noise(4 * 48_000), 48_000, fmt, subtype)
    content = path.read_bytes()
    whole, warnings = load_damaged(path)
    assert warnings == []
    places = pages(content)
    of_sound = [at for at in places if any(content[at[0] + 6 : at[0] + 14])]
    for place, length in (of_sound[0], of_sound[-1]):
        damaged = bytearray(content)
        damaged[place + length // 2] ^= 1
        path.write_bytes(damaged)
        samples, warnings = load_damaged(path)
        if place == of_sound[0][0]:
            assert len(samples) == pytest.approx(len(whole), abs=800)
            assert warnings[0].startswith("the seconds 0.00 to ")
            assert not samples[:1_000].any()
        else:
            assert warnings[-1].endswith("are missing: it is damaged or cut short")


def test_a_joined_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "joined"
    content = encoded(path, "wav", "pcm_s16le")
    path.write_bytes(content + content[:24] + bytes(2_000))
    samples, warnings = load_damaged(path)
    assert len(samples) == SECONDS * 16_000
    assert warnings == [
        "the seconds from 3.00 on are another recording, joined to the first one: "
        "cut it off and transcribe it alone"
    ]


def test_hours_of_silence_cost_nothing_and_later_sound_is_in_its_place() -> None:
    rate = 768_000
    resampling = Resampling("it", rate)
    tone = np.sin(np.arange(rate) * 0.01).astype(np.float32) / 2
    resampling.add(tone)
    resampling.add_silence(20_000.0)
    resampling.add(tone)
    with resampling.finish() as store:
        assert store.n_samples == 20_002 * SAMPLE_RATE
        assert not store.samples(2 * SAMPLE_RATE, 3 * SAMPLE_RATE).any()
        second = store.samples(20_001 * SAMPLE_RATE, store.n_samples)
        np.testing.assert_allclose(second[200:-200], store.samples(0, SAMPLE_RATE)[200:-200], atol=1e-4)


def test_a_rate_beyond_all_converters_is_one_line() -> None:
    with pytest.raises(AudioError, match="sample rate 10000000"):
        Resampling("it", 10_000_000)


@pytest.mark.parametrize("fmt", ["wav", "mp3", "joined"])
def test_cancellation_is_heard_while_a_source_is_copied_and_read(tmp_path: Path, fmt: str) -> None:
    path = tmp_path / "recording"
    content = encoded(path, "mp3" if fmt == "mp3" else "wav", "libmp3lame" if fmt == "mp3" else "pcm_s16le")
    cancelled = Event()
    cancelled.set()
    with pytest.raises(CancelledError):
        load_audio(2 * bytes(content) if fmt == "joined" else bytes(content), cancelled=cancelled)
    path.write_bytes(content)
    with pytest.raises(CancelledError):
        load_audio(path, cancelled=cancelled)


@pytest.mark.parametrize(
    ("fmt", "codec", "behind"),
    [
        ("mp3", "libmp3lame", b"\n"),
        ("mp3", "libmp3lame", bytes(4096)),
        ("mp3", "libmp3lame", b"TAG" + bytes(125)),
        ("adts", "aac", bytes(4096)),
        ("adts", "aac", b"TAG" + bytes(125)),
        ("ogg", "vorbis", b"\n"),
        ("ogg", "vorbis", bytes(4096)),
        ("ogg", "vorbis", b"TAG" + bytes(125)),
        ("mpegts", "aac", b"\n"),
        ("mpegts", "aac", bytes(10)),
    ],
)
def test_what_follows_the_last_frame_and_is_none_is_not_missed(
    tmp_path: Path, fmt: str, codec: str, behind: bytes
) -> None:
    path = tmp_path / "recording"
    content = encoded(path, fmt, codec)
    whole, _ = load_damaged(path)
    path.write_bytes(bytes(content) + behind)
    samples, warnings = load_damaged(path)
    assert warnings == []
    assert len(samples) == pytest.approx(len(whole), abs=0.05 * SAMPLE_RATE)
