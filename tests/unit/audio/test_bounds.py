"""Hostile files decide no more than a limited number of the readers' steps."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from tests.support.recordings import av, load_damaged, noise, write_container
from whisper_npu.errors import AudioError


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


FRAGMENTED = box(b"ftyp", b"isom" + bytes(12)) + box(b"moov", box(b"mvex"))


def nested(kinds: list[bytes]) -> bytes:
    """Boxes, each of which is all that the one before holds."""
    n = len(kinds)
    return b"".join(struct.pack(">I4s", 8 * (n - i), kind) for i, kind in enumerate(kinds))


HOSTILE = {
    "mp4: a fragment within a fragment, and so on": (
        FRAGMENTED + nested(5000 * [b"moof"]) + box(b"mdat", bytes(100)),
        5_000,
    ),
    "mp4: a track within a track, and so on": (
        FRAGMENTED + nested([b"moof", *5000 * [b"traf"]]) + box(b"mdat", bytes(100)),
        5_000,
    ),
    "mp4: what looks like fragments, each of which goes on to the end": (
        FRAGMENTED + b"\0\0\0\x20moof" + b"\x7f\0\0\0moof" + 12_000 * b"\0\0\0\x08moof",
        60_000,
    ),
    "mp4: an index without an end, in it a box without an end": (
        box(b"ftyp", b"isom" + bytes(12)) + struct.pack(">I4sI4s", 0, b"moov", 0, b"mvhd") + bytes(100),
        5_000,
    ),
}


@pytest.fixture
def n_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One number: how often a few bytes of a file were looked at."""
    counted, pread = [0], os.pread

    def counting(*args: int) -> bytes:
        counted[0] += 1
        return pread(*args)

    monkeypatch.setattr(os, "pread", counting)
    return counted


@pytest.mark.parametrize(("content", "most"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_takes_a_limited_number_of_steps(
    tmp_path: Path, n_reads: list[int], content: bytes, most: int
) -> None:
    path = tmp_path / "recording"
    path.write_bytes(content)
    assert len(content) < 200_000
    with pytest.raises(AudioError):
        load_damaged(path)
    assert 0 < n_reads[0] < most


def test_pieces_of_an_avi_that_overlap_are_looked_at_once(tmp_path: Path, n_reads: list[int]) -> None:
    codec = "libmp3lame" if "libmp3lame" in av.codecs_available else "ac3"
    path = write_container(tmp_path / "film.avi", "avi", codec, noise(16_000, 1), 16_000)
    whole, _ = load_damaged(path)
    pieces_without_end = struct.pack("<4sI4s4sI4s", b"RIFF", 16, b"AVI ", b"LIST", 0xFFFFFF00, b"movi")
    path.write_bytes(path.read_bytes() + 100 * pieces_without_end + 10_000 * struct.pack("<4sI", b"00wb", 0))
    n_reads[0] = 0
    samples, _ = load_damaged(path)
    assert len(samples) >= len(whole)
    assert n_reads[0] < 50_000
