"""What the header of a file says: its audio tracks, how one is described, and chosen by its number."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_npu.errors import AudioError, quoted, shown

_TITLE_LENGTH = 40  # characters of a track's title in a message
_LISTED_TRACKS = 20  # in a message


@dataclass(frozen=True)
class AudioTrack:
    """One of the sound tracks of a file, as its header describes it; "" for what it leaves open."""

    number: int  # from 1, among the audio tracks only
    language: str  # such as "eng" (ISO 639-2)
    title: str

    def __str__(self) -> str:
        described = ", ".join(shown(part) for part in (self.language, self.title[:_TITLE_LENGTH]) if part)
        return f"{self.number} ({described})" if described else str(self.number)


@dataclass(frozen=True)
class AudioHeader:
    """What a file says of itself."""

    tracks: tuple[AudioTrack, ...]  # none if it is not audio
    seconds: float | None  # its length; None if it does not say


def check_track_number(track: object) -> None:
    if not isinstance(track, int) or isinstance(track, bool) or track < 1:
        raise AudioError(f"audio track {quoted(track)}: give a whole number; the first audio track is 1")


def no_such_track(name: str, track: int, tracks: tuple[AudioTrack, ...]) -> AudioError:
    if len(tracks) == 1:
        return AudioError(f"{name}: has one audio track, so no audio track {track}; leave audio_track out")
    listed = ", ".join(map(str, tracks[:_LISTED_TRACKS])) + (", ..." if len(tracks) > _LISTED_TRACKS else "")
    return AudioError(f"{name}: has no audio track {track}, only {len(tracks)}; choose from {listed}")
