"""Damage of which FFmpeg says nothing: skipped bytes of bare frames, pages of Ogg, joined recordings."""

from __future__ import annotations

import io
import re
import struct
import wave
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.support.recordings import av, load_damaged, noise, refusal, soundfile, write, write_container
from whisper_npu.audio import SAMPLE_RATE, joined, load_audio
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
        ("avi", "libmp3lame"),
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
    (first, *_) = (
        re.match(r"the seconds (\S+) to (\S+) (do not decode|are not in the file)", text) for text in warnings
    )
    assert first is not None
    assert float(first[1]) == pytest.approx(0.5 * SECONDS, abs=0.15)
    assert float(first[2]) == pytest.approx(0.7 * SECONDS, abs=0.2)


@pytest.mark.parametrize("codec", ["libmp3lame"])
def test_bytes_that_were_removed_from_an_avi_are_silence_and_are_named(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "recording"
    content = encoded(path, "avi", codec)
    whole, _ = load_damaged(path)
    start, n_bytes = len(content) // 2, len(content) // 5
    del content[start : start + n_bytes]
    path.write_bytes(content)
    samples, (*_, warning) = load_damaged(path)
    assert len(samples) == pytest.approx(len(whole), abs=0.01 * 16_000)
    np.testing.assert_allclose(samples[-8_000:-1_000], whole[-8_000:-1_000], atol=1e-3)
    named = re.match(r"the seconds (\S+) to (\S+) do not decode", warning)
    assert named is not None
    assert float(named[1]) == pytest.approx(0.5 * SECONDS, abs=0.15)
    assert float(named[2]) == pytest.approx(0.7 * SECONDS, abs=0.25)


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
        ("wv", "wv"),
        ("adts", "mp3 without a tag"),
        ("mpegts", "mp3 without a tag"),
        ("wav", "mp3 without a tag"),
        ("mp4", "mp3 without a tag"),
        ("mp3", "adts"),
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
        "adts": "aac",
        "mpegts": "aac",
        "wv": "wavpack",
    }
    rates = (44_100, 22_050)  # of Ogg, which says nothing of its second stream's rate in the first
    path = tmp_path / "joined"
    content = b""
    for fmt, rate in zip((first, second), rates, strict=True):
        part = encoded(path, fmt.split()[0], codecs.get(fmt.split()[0], fmt), rate)
        content += part[part.find(b"\xff\xf3", 10) :] if "without" in fmt else part
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


def second_of(fmt: str, seconds: float = 1.0) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, noise(round(seconds * SAMPLE_RATE)), SAMPLE_RATE, format=fmt)
    return content.getvalue()


def of_flac(*applications: bytes) -> bytes:
    """A FLAC with APPLICATION blocks, as `flac --keep-foreign-metadata` writes them."""
    content = second_of("FLAC")
    blocks = b"".join(b"\x02" + struct.pack(">I", len(block))[1:] + block for block in applications)
    return content[:42] + blocks + content[42:]


def id3(n_bytes: int, *, has_footer: bool = False) -> bytes:
    flags = 0x10 if has_footer else 0
    head = bytes([4, 0, flags, 0, 0, 0, n_bytes])
    return b"ID3" + head + bytes(n_bytes) + (b"3DI" + head if has_footer else b"")


def wav_in_wav() -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(second_of("WAV"))
    return content.getvalue()


def with_chunk(wav: bytes, kind: bytes, content: bytes) -> bytes:
    whole = wav + kind + struct.pack("<I", len(content)) + content
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            lambda: of_flac(*(b"riff" + second_of("WAV")[a:b] for a, b in ((0, 12), (12, 36), (36, 44)))),
            id="flac with the head of a wav",
        ),
        pytest.param(lambda: of_flac(b"riff" + second_of("WAV")), id="flac with a wav"),
        pytest.param(lambda: of_flac(b"aiff" + second_of("AIFF")[:54]), id="flac with the head of an aiff"),
        pytest.param(lambda: id3(100) + id3(50) + second_of("FLAC"), id="flac behind two tags"),
        pytest.param(lambda: id3(100, has_footer=True) + second_of("FLAC"), id="flac behind a footer"),
        pytest.param(wav_in_wav, id="wav with two heads"),
        pytest.param(
            lambda: with_chunk(second_of("WAV"), b"junk", second_of("WAV")), id="wav with a wav in a chunk"
        ),
    ],
)
def test_what_a_recording_holds_of_another_is_no_joined_one(content: Callable[[], bytes]) -> None:
    samples, warnings = load_damaged(content())
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=50)
    assert warnings == []


@pytest.mark.parametrize(
    ("first", "cut"),
    [
        pytest.param("WAV", lambda wav: wav[:30], id="cut wav"),
        pytest.param("OGG", lambda ogg: ogg[:60], id="cut ogg"),
        pytest.param("FLAC", lambda flac: flac[:8] + b"\xff" * 34 + flac[42:2_000], id="damaged flac"),
    ],
)
def test_a_first_recording_that_cannot_be_read_takes_no_other_along(
    first: str, cut: Callable[[bytes], bytes]
) -> None:
    samples, warnings = load_damaged(cut(second_of(first)) + second_of(first))
    assert len(samples) == SAMPLE_RATE
    assert warnings == ["the seconds from 0.00 on follow something that cannot be read"]


def test_recordings_of_which_none_can_be_read_are_refused_for_the_first_ones_reason() -> None:
    assert refusal(4 * (second_of("WAV")[:30] + bytes(30)))


def test_flac_follows_ogg_and_lies_in_ogg(tmp_path: Path) -> None:
    samples, warnings = load_damaged(second_of("OGG") + second_of("FLAC"))
    assert (len(samples), warnings) == (2 * SAMPLE_RATE, [])
    path = tmp_path / "flac.ogg"
    head, wav = b"\x7fFLAC\x01\0\0\x01" + second_of("FLAC")[:42], b"\x82\0\0\x30riff" + second_of("WAV")[:44]
    path.write_bytes(b"".join(page(kind, content) for kind, content in ((2, head), (0, wav), (4, bytes(99)))))
    with path.open("rb") as file:
        assert joined.starts("it", file) == ()


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_link_of_an_ogg_chain_without_sound_is_no_loss(codec: str, is_first: bool) -> None:
    contents = []
    for n_samples in (0, SAMPLE_RATE):
        content = io.BytesIO()
        soundfile.write(content, noise(n_samples), SAMPLE_RATE, format="OGG", subtype=codec)
        contents.append(content.getvalue())
    samples, warnings = load_damaged(b"".join(contents if is_first else contents[::-1]))
    assert (len(samples), warnings) == (SAMPLE_RATE, [])


def page(kind: int, content: bytes) -> bytes:
    return b"OggS\0" + bytes([kind, *bytes(20), 1, len(content)]) + content


@pytest.mark.parametrize(
    ("part", "most"),
    [
        pytest.param(second_of("WAV")[:24] + b"\1" * 40, 1, id="unreadable"),
        pytest.param(second_of("WAV")[:24] + b"\1" * 40 + second_of("WAV", 2.0), 20, id="one in two"),
    ],
)
def test_damages_of_joined_recordings_are_few(part: bytes, most: int) -> None:
    samples, warnings = load_damaged(second_of("WAV") + 30 * part)
    assert len(samples) in (SAMPLE_RATE, 61 * SAMPLE_RATE)
    assert 1 <= len(warnings) <= most


def test_streams_of_ogg_that_begin_together_are_looked_at_once(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "pages.ogg"
    n_pages = 2_000
    path.write_bytes(n_pages * (b"OggS\0\x02" + bytes(20) + b"\x01\x00"))
    n_reads = 0

    def counted(*arguments: object) -> bytes:
        nonlocal n_reads
        n_reads += 1
        return at(*arguments)

    at = joined.at
    monkeypatch.setattr(joined, "at", counted)
    with path.open("rb") as file:
        assert joined.starts("it", file) == ()
    assert n_reads < 2 * n_pages


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
