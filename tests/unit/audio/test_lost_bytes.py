"""Damage of which FFmpeg says nothing: skipped bytes of bare frames, pages of Ogg, joined recordings."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.recordings import av, load_damaged, noise, write_container

SECONDS = 3


def encoded(path: Path, fmt: str, codec: str, rate: int = 48_000) -> bytearray:
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
