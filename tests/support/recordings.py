"""Recordings on disk for tests, and what load_audio says of one that it refuses."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from whisper_npu.audio import load_audio, name_of
from whisper_npu.errors import AudioError, AudioWarning

av = pytest.importorskip("av")
soundfile = pytest.importorskip("soundfile")


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


def refusal(source: object, **options: object) -> str:
    """The message of the AudioError that loading `source` raises; it must be one line, safe to print."""
    with pytest.raises(AudioError) as caught:
        load_audio(source, **options)
    message = str(caught.value)
    assert message.isprintable()
    return message


def load_damaged(source: object, **options: object) -> tuple[np.ndarray, list[str]]:
    """The samples of a recording, and what its warnings say behind its name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = load_audio(source, **options)
    assert all(issubclass(warning.category, AudioWarning) for warning in caught)
    texts = [str(warning.message) for warning in caught]
    assert all(text.isprintable() for text in texts)
    return samples, [text.removeprefix(f"{name_of(source)}: ") for text in texts]


def run(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)
