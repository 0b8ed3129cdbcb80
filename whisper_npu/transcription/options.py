"""How to transcribe."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_npu.errors import UsageError

TASKS = ("transcribe", "translate")


@dataclass(frozen=True)
class TranscribeOptions:
    """How to transcribe, in the names and with the defaults of openai/whisper and faster-whisper."""

    language: str | None = None  # code ("de") or English name ("German"); None: detect it
    task: str = "transcribe"  # or "translate", to English
    beam_size: int = 5
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # tried in turn until decoding succeeds
    initial_prompt: str | None = None
    condition_on_previous_text: bool = True
    word_timestamps: bool = False
    vad_filter: bool = False  # first cut out what Silero VAD hears no speech in
    batch_size: int | None = None  # windows decoded at once, cut where VAD hears no speech; None: one by one

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UsageError(f"unknown task {self.task!r}: there are {', '.join(TASKS)}")
        if self.beam_size < 1:
            raise UsageError(f"beam_size is {self.beam_size}, must be at least 1")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}, must be at least 1")
        if not self.temperature or not all(0 <= t <= 1 for t in self.temperature):
            given = ", ".join(map(str, self.temperature))
            raise UsageError(f"temperature is {given or 'empty'}, must be a number, or several, from 0 to 1")
