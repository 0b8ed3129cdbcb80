"""Valid recordings of one short piece of speech, in every format that the libraries here can write.

Hostile recordings are made from them. The same bytes come at every call: no dates, no random numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import numpy.typing as npt
import soundfile

SPEECH = Path(__file__, "../../../samples/sns-0880.wav").resolve()
SECONDS = 2.0  # short, since hundreds of recordings are decoded


@dataclass(frozen=True)
class Valid:
    """A recording that must be read whole.

    suffix: the usual ending of its name
    survives_cut: whether what is left of it after a cut can be decoded, since no index stands at its end
    states_length: whether its header says how long it is, so that a cut is noticed
    """

    name: str
    suffix: str
    content: bytes
    survives_cut: bool
    states_length: bool


@dataclass(frozen=True)
class _BySoundfile:
    suffix: str
    format: str
    subtype: str
    endian: str = "FILE"
    rate: int = 16_000


@dataclass(frozen=True)
class _ByFfmpeg:
    suffix: str
    muxer: str
    codec: str
    rate: int = 16_000
    layout: str = "mono"
    options: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    bit_rate: int | None = None
    survives_cut: bool = True


# FFmpeg's formats among those below whose header states the length; of libsndfile's all but one do.
_STATE_LENGTH = ("asf", "avi", "ipod", "matroska", "mov", "tta", "wv", "3gp")
# The libraries clip the stated length of these to what is there, or (IRCAM) they state none.
_CUT_UNSEEN = ("iff", "ircam", "mat4", "nist", "voc", "mka-flac")
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "200000"}
_TAGS = {"title": "A short talk", "artist": "Nobody"}

_WRITTEN: dict[str, _BySoundfile | _ByFfmpeg] = {
    "wav-u8": _BySoundfile("wav", "WAV", "PCM_U8"),
    "wav-16": _BySoundfile("wav", "WAV", "PCM_16"),
    "wav-24": _BySoundfile("wav", "WAV", "PCM_24"),
    "wav-32": _BySoundfile("wav", "WAV", "PCM_32"),
    "wav-float": _BySoundfile("wav", "WAV", "FLOAT"),
    "wav-double": _BySoundfile("wav", "WAV", "DOUBLE"),
    "wav-alaw": _BySoundfile("wav", "WAV", "ALAW"),
    "wav-ulaw": _BySoundfile("wav", "WAV", "ULAW"),
    "wav-adpcm-ms": _BySoundfile("wav", "WAV", "MS_ADPCM"),
    "wav-adpcm-ima": _BySoundfile("wav", "WAV", "IMA_ADPCM"),
    "wav-gsm": _BySoundfile("wav", "WAV", "GSM610", rate=8_000),
    "wav-g721": _BySoundfile("wav", "WAV", "G721_32"),
    "wav-extensible": _BySoundfile("wav", "WAVEX", "PCM_16"),
    "wav-rifx": _BySoundfile("wav", "WAV", "PCM_16", "BIG"),
    "wav-mp3": _ByFfmpeg("wav", "wav", "libmp3lame"),
    "rf64": _BySoundfile("wav", "RF64", "PCM_16"),
    "w64": _BySoundfile("w64", "W64", "PCM_16"),
    "aiff": _BySoundfile("aiff", "AIFF", "PCM_16"),
    "aifc-float": _BySoundfile("aifc", "AIFF", "FLOAT"),
    "aifc-ulaw": _BySoundfile("aifc", "AIFF", "ULAW"),
    "caf": _BySoundfile("caf", "CAF", "PCM_16"),
    "caf-alac": _BySoundfile("caf", "CAF", "ALAC_16"),
    "au": _BySoundfile("au", "AU", "PCM_16"),
    "au-ulaw": _BySoundfile("au", "AU", "ULAW"),
    "flac": _BySoundfile("flac", "FLAC", "PCM_16"),
    "voc": _BySoundfile("voc", "VOC", "PCM_16"),
    "nist": _BySoundfile("wav", "NIST", "PCM_16"),
    "iff": _BySoundfile("iff", "SVX", "PCM_16"),
    "ircam": _BySoundfile("sf", "IRCAM", "PCM_16"),
    "mat4": _BySoundfile("mat", "MAT4", "PCM_16"),
    "mp3-cbr": _ByFfmpeg("mp3", "mp3", "libmp3lame", bit_rate=32_000, options={"write_xing": "0"}),
    "mp3-vbr": _ByFfmpeg("mp3", "mp3", "libmp3lame", 44_100, "stereo", metadata=_TAGS),
    "mp2": _ByFfmpeg("mp2", "mp2", "mp2", bit_rate=64_000),
    "aac": _ByFfmpeg("aac", "adts", "aac"),
    "m4a": _ByFfmpeg("m4a", "ipod", "aac", metadata=_TAGS, survives_cut=False),
    "m4a-faststart": _ByFfmpeg("m4a", "ipod", "aac", options={"movflags": "faststart"}),
    "m4a-alac": _ByFfmpeg("m4a", "ipod", "alac", options={"movflags": "faststart"}),
    "mp4-fragments": _ByFfmpeg("mp4", "mp4", "aac", options=_FRAGMENTS),
    "mov-pcm": _ByFfmpeg("mov", "mov", "pcm_s16le", survives_cut=False),
    "3gp-amr": _ByFfmpeg("3gp", "3gp", "libopencore_amrnb", 8_000, bit_rate=12_200, survives_cut=False),
    "amr": _ByFfmpeg("amr", "amr", "libopencore_amrnb", 8_000, bit_rate=12_200),
    "mkv-pcm": _ByFfmpeg("mkv", "matroska", "pcm_s16le", metadata=_TAGS),
    "mka-flac": _ByFfmpeg("mka", "matroska", "flac"),
    "webm-opus": _ByFfmpeg("webm", "webm", "libopus", 48_000),
    "webm-live": _ByFfmpeg("webm", "webm", "libopus", 48_000, options={"live": "1"}),
    "ogg-opus": _ByFfmpeg("opus", "ogg", "libopus", 48_000, options={"page_duration": "200000"}),
    "ogg-vorbis": _ByFfmpeg("ogg", "ogg", "vorbis", 44_100, "stereo", options={"pagesize": "4000"}),
    "ogg-flac": _ByFfmpeg("oga", "ogg", "flac", options={"page_duration": "200000"}),
    "ts-aac": _ByFfmpeg("ts", "mpegts", "aac"),
    "ts-mp2": _ByFfmpeg("ts", "mpegts", "mp2", bit_rate=64_000),
    "mpg-mp2": _ByFfmpeg("mpg", "mpeg", "mp2", bit_rate=64_000),
    "avi-pcm": _ByFfmpeg("avi", "avi", "pcm_s16le"),
    "avi-mp3": _ByFfmpeg("avi", "avi", "libmp3lame"),
    "wma": _ByFfmpeg("wma", "asf", "wmav2", 44_100, "stereo", bit_rate=64_000),
    "flv-aac": _ByFfmpeg("flv", "flv", "aac", 44_100),
    "ac3": _ByFfmpeg("ac3", "ac3", "ac3", 48_000, bit_rate=64_000),
    "tta": _ByFfmpeg("tta", "tta", "tta"),
    "wavpack": _ByFfmpeg("wv", "wv", "wavpack", 48_000),
    "nut": _ByFfmpeg("nut", "nut", "pcm_s16le"),
}


@cache
def speech(rate: int = 16_000) -> npt.NDArray[np.float32]:
    """(n_samples,) of SECONDS seconds."""
    samples, own_rate = soundfile.read(SPEECH, frames=int(16_000 * SECONDS), dtype="float32")
    assert own_rate == 16_000
    times = np.arange(int(rate * SECONDS)) / rate
    return np.interp(times, np.arange(len(samples)) / own_rate, samples).astype(np.float32)


@cache
def valid_recordings() -> Mapping[str, Valid]:
    """By name; without those that the libraries installed here cannot write."""
    return {valid.name: valid for valid in _valid_recordings()}


def _valid_recordings() -> Iterator[Valid]:
    for name, how in _WRITTEN.items():
        if isinstance(how, _BySoundfile):
            if how.subtype in soundfile.available_subtypes(how.format):
                yield Valid(name, how.suffix, _by_soundfile(how), True, name not in _CUT_UNSEEN)
        elif how.codec in av.codecs_available and how.muxer in av.formats_available:
            try:
                content = _by_ffmpeg(how)
            except (av.FFmpegError, ValueError):  # this build of FFmpeg decodes it only
                continue
            states_length = (name not in _CUT_UNSEEN and how.muxer in _STATE_LENGTH) or name in (
                "webm-opus",
                "mp3-vbr",
                "mp4-fragments",
            )
            yield Valid(name, how.suffix, content, how.survives_cut, states_length)


def _by_soundfile(how: _BySoundfile) -> bytes:
    file = BytesIO()
    soundfile.write(file, speech(how.rate), how.rate, how.subtype, how.endian, how.format)
    content = file.getvalue()
    dated = content.find(b"PEAK") + 12  # libsndfile's chunk of floats: tag, size, version, time
    return content if dated < 12 else content[:dated] + bytes(4) + content[dated + 4 :]


def _by_ffmpeg(how: _ByFfmpeg) -> bytes:
    options = {"fflags": "+bitexact"} | dict(how.options)
    with TemporaryDirectory() as folder:  # "faststart" opens its output a second time, by its name
        path = Path(folder, "recording")
        with av.open(str(path), "w", format=how.muxer, options=options) as container:
            container.metadata.update(how.metadata)
            stream = container.add_stream(
                how.codec, rate=how.rate, layout=how.layout, options={"flags": "+bitexact", "strict": "-2"}
            )
            if how.bit_rate is not None:
                stream.bit_rate = how.bit_rate
            stream.open()
            frame = av.AudioFrame.from_ndarray(speech(how.rate)[None], format="fltp", layout="mono")
            frame.sample_rate = how.rate
            resampler = av.AudioResampler(
                stream.format.name, how.layout, how.rate, stream.frame_size or how.rate // 20
            )
            for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
                for packet in stream.encode(piece):
                    if packet.size:  # the last of FLAC holds its header only, which muxers refuse
                        container.mux(packet)
        return path.read_bytes()
