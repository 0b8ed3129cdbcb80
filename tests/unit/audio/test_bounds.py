"""Hostile files decide no more than a limited number of the readers' steps."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.recordings import av, load_damaged, noise, write, write_container
from whisper_npu.audio.stated import extent_of, missing_end, ogg, rare
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
        70_000,
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
    path = write_container(tmp_path / "film.avi", "avi", codec, noise(16_000, 2), 16_000)
    whole, _ = load_damaged(path)
    pieces_without_end = struct.pack("<4sI4s4sI4s", b"RIFF", 16, b"AVI ", b"LIST", 0xFFFFFF00, b"movi")
    path.write_bytes(path.read_bytes() + 100 * pieces_without_end + 10_000 * struct.pack("<4sI", b"00wb", 0))
    n_reads[0] = 0
    samples, _ = load_damaged(path)
    assert len(samples) >= len(whole)
    assert n_reads[0] < 50_000


def test_false_pages_of_an_ogg_are_looked_at_a_limited_number_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.ogg", noise(2 * 16_000), 16_000, "OGG", "VORBIS")
    content, false = path.read_bytes(), 10_000 * b"OggS\xff\xff\xff"
    checksums, crc32 = [0], zlib.crc32

    def counting(*args: Any) -> int:
        checksums[0] += 1
        return crc32(*args)

    monkeypatch.setattr(zlib, "crc32", counting)
    second = content.index(b"OggS", 4)
    path.write_bytes(content[:second] + false + content[second:] + false)
    with path.open("rb") as file:
        assert ogg.lacks_its_start(file)
        end = ogg.end(file, path.stat().st_size)
    assert end is not None
    assert end.is_cut
    assert 0 < checksums[0] < 1_000


def test_blocks_of_a_voc_are_counted_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.voc", noise(2 * 16_000), 16_000, "VOC", "PCM_16")
    with path.open("rb") as file:
        extent = extent_of(file)
    assert extent is not None
    assert extent.stated is not None
    monkeypatch.setattr(rare, "_MOST_BLOCKS", 1)
    with path.open("rb") as file:
        assert extent_of(file) is None
    samples, warnings = load_damaged(path)
    assert (len(samples), warnings) == (2 * 16_000, [])


def test_chunks_of_a_realmedia_file_are_looked_at_a_limited_number_of_times(
    tmp_path: Path, n_reads: list[int]
) -> None:
    path = tmp_path / "a.rm"
    path.write_bytes(struct.pack(">4sI", b".RMF", 8) + 20_000 * struct.pack(">4sI", b"DATA", 8))
    with path.open("rb") as file:
        assert missing_end(file, 1.0) is None
    assert n_reads[0] < 2_000
