"""Where a long recording is cut into parts: in pauses, and nowhere else where there are any.

Nothing but the recording and the length that is asked for decides, so that every machine cuts alike.
"""

from __future__ import annotations

import numpy as np

from whisper_npu.apps.archive.tasks import Part
from whisper_npu.audio import HOP_LENGTH, SAMPLE_RATE, Sound
from whisper_npu.audio.levels import LEVEL_STEP
from whisper_npu.transcription.audible import Audible
from whisper_npu.transcription.options import WINDOW_SECONDS, TranscribeOptions
from whisper_npu.transcription.speech import LEAD, parts_with_speech, vad_options

_AROUND = 15 * SAMPLE_RATE  # samples before and behind the place for a cut in which a pause is looked for
_LONG_ENOUGH = 2 * SAMPLE_RATE  # of two pauses at least so long, the nearer one is taken
_PAUSES = TranscribeOptions(vad_filter=True, vad_min_silence_duration_ms=100, vad_speech_pad_ms=0)


def parts_of(sound: Sound, part_seconds: float) -> tuple[Part, ...]:
    """All of a recording, in parts of about `part_seconds`, none of which is tiny.

    They would be of one length. Each cut is then moved to the middle of a pause, if there is one within 15 s,
    and within a quarter of the length.
    """
    n_parts = max(1, round(sound.duration / part_seconds))
    length = sound.n_samples / n_parts
    around = min(_AROUND, int(length / 4))
    cuts = [_cut_near(sound, round(number * length), around) for number in range(1, n_parts)]
    return tuple(Part(start, stop) for start, stop in zip((0, *cuts), (*cuts, sound.n_samples), strict=True))


def _cut_near(sound: Sound, place: int, around: int) -> int:
    """The sample at which to cut, on the first of a frame of the log-mel."""
    low, high = place - around, place + around

    def preference(pause: Part) -> tuple[int, int]:
        return min(pause.stop - pause.start, _LONG_ENOUGH), -abs(_middle(pause) - place)

    pauses = _pauses(sound, low, high)
    cut = _middle(max(pauses, key=preference)) if pauses else _quietest(sound, low, high)
    return cut // HOP_LENGTH * HOP_LENGTH


def _middle(part: Part) -> int:
    return (part.start + part.stop) // 2


def _pauses(sound: Sound, low: int, high: int) -> list[Part]:
    """Where the voice check hears nobody, between samples `low` and `high`. Music and noise are no speech."""
    first = max(0, low - LEAD)
    heard = Audible(sound.part(first, high))
    pauses, silent_from = [], low
    for speech in parts_with_speech(heard, vad_options(_PAUSES, WINDOW_SECONDS)):
        if first + speech.start > silent_from:
            pauses.append(Part(silent_from, first + speech.start))
        silent_from = max(silent_from, first + speech.stop)
    if high > silent_from:
        pauses.append(Part(silent_from, high))
    return pauses


def _quietest(sound: Sound, low: int, high: int) -> int:
    """The middle of the quietest quarter of a second between the samples, where nobody pauses."""
    first = -(-low // LEVEL_STEP)
    levels = sound.levels[first : max(first + 1, high // LEVEL_STEP)]
    return (first + int(np.argmin(levels))) * LEVEL_STEP + LEVEL_STEP // 2
