"""A recording that is being transcribed, and what of it outlives a run that is interrupted.

Beside the recording's files lie a journal, from which --resume goes on, and transcripts so far, for people:
talk.partial.jsonl and talk.partial.srt. They go once the files themselves are written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter

from whisper_npu.apps.cli.asked import Asked
from whisper_npu.apps.cli.journal import (
    Begun,
    Journal,
    JournalError,
    Kept,
    identity,
    journal_path,
    read_journal,
)
from whisper_npu.apps.outputs import write_transcript
from whisper_npu.apps.sources import STDIN, Recording
from whisper_npu.errors import UsageError, one_line
from whisper_npu.output import partial_path
from whisper_npu.report import FileResult
from whisper_npu.transcription.clips import seconds_within
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.resume import ResumePoint
from whisper_npu.transcription.stream import Stream

REFRESH = 5.0  # seconds at least from one writing of the transcripts so far to the next
_SHARE = 20  # writing them takes one part in so many of the time, at most


class Unfinished:
    """A context manager for the time in which one recording is transcribed.

    duration: of the recording; read_seconds: what reading it took. note: prints a line for people; clock: the
    time, in seconds.
    """

    def __init__(
        self,
        asked: Asked,
        recording: Recording,
        model: Model,
        *,
        duration: float,
        read_seconds: float,
        note: Callable[[str], None],
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._asked, self._recording, self._note, self._clock = asked, recording, note, clock
        self._read_seconds = read_seconds
        self.stream: Stream | None = None  # once it is being decoded
        self.paths = asked.files.paths(recording.source)
        self._so_far_next = clock() + REFRESH
        self._journalled: ResumePoint | None = None  # up to where the journal has the work
        self._ours: set[Path] = set()  # transcripts so far that a run of this program has written
        self.kept: Kept | None = None  # of an earlier run
        self._journal: Journal | None = None  # None for what cannot be gone on with
        self._journal_fails = False  # nothing more is written into it
        if self.paths:
            self._begin(model, duration)

    def _begin(self, model: Model, duration: float) -> None:
        path = journal_path(next(iter(self.paths.values())))
        begun = begun_by(self._asked, self._recording, model)
        try:
            journal = Journal(path, begun)
        except JournalError as error:
            self._note(f"{self._recording.name}: {error}: this one keeps none, and starts at the beginning")
            return
        with ExitStack() as closing:
            closing.callback(journal.close)
            if os.path.exists(path):  # what lies beside it is of the same run
                self._ours |= set(map(partial_path, self.paths.values()))
            if self._asked.recordings.resume:
                try:
                    self.kept = _fitting(read_journal(path, begun), model, duration)
                    self._journalled = self.kept.point if self.kept else None
                except JournalError as error:
                    self._note(f"{self._recording.name}: starts over: {error}")
            if begun.recording is not None:
                journal.go_on_from(self.kept)
                self._journal = journal
                closing.pop_all()

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(self, *_: object) -> None:
        if self._journal is not None:
            self._journal.close()

    @property
    def is_decoded(self) -> bool:
        """Whether it is decoded to its end."""
        return self.stream is not None and self.stream.finished

    @property
    def resumed_at(self) -> float | None:
        """Seconds from the recording's start; None where all of it is transcribed in this run."""
        return None if self.kept is None else self.kept.point.seconds

    def so_far(self) -> Transcription | None:
        """What is decoded, in this run and the one before it; None where decoding has not begun.

        Of a recording that is not decoded to its end it has the part that is. What it took is of this run.
        """
        if self.stream is None:
            return None
        done = self.stream.result()
        took, transcript = replace(done.took, audio_seconds=self._read_seconds), done.transcript
        if self.kept is not None:
            transcript = replace(transcript, segments=(*self.kept.segments, *transcript.segments))
            if took.heard_seconds is not None:
                before = seconds_within(self._asked.options.clip_timestamps, self.kept.point.seconds)
                took = replace(took, heard_seconds=max(0.0, took.heard_seconds - before))
        if not self.stream.finished:
            transcript = replace(transcript, duration=self.stream.seconds_done)
        return replace(done, transcript=transcript, took=took)

    def result(self, error: str | None = None) -> FileResult:
        """For the report."""
        done = self.so_far()
        if done is None:
            return FileResult(self._recording.source, None, None, error)
        return FileResult.of(
            self._recording.source,
            done.transcript,
            done.took,
            error=error,
            resumed_at=self.resumed_at,
            warnings=done.warnings,
        )

    def follow(self) -> None:
        """A segment was decoded."""
        if not self.paths:
            return
        self._append()
        start = self._clock()
        if start >= self._so_far_next:
            self._write_so_far()  # where that fails, writing the outputs will fail too, and say so
            self._so_far_next = start + max(REFRESH, _SHARE * (self._clock() - start))

    def _append(self) -> None:
        """The windows that are complete since the last time."""
        stream, journal, before = self.stream, self._journal, self._journalled
        point = None if stream is None else stream.point
        if stream is None or journal is None or self._journal_fails:
            return
        if point is None or point == before or not point.n_segments:
            return
        n_before = before.n_segments if before else 0
        n_kept = len(self.kept.segments) if self.kept else 0
        segments = stream.result().segments[n_before - n_kept : point.n_segments - n_kept]
        try:
            journal.append(segments, point)
            self._journalled = point
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            self._note(
                f"whisper-npu: {journal.path}: cannot be written ({reason}); --resume will not know the rest"
            )
            self._journal_fails = True

    def _write_so_far(self) -> tuple[list[Path], list[str]]:
        done = self.so_far()
        if done is None or not done.text.strip():
            return [], []
        paths = {fmt: partial_path(path) for fmt, path in self.paths.items()}
        written, errors = write_transcript(done.transcript, paths, self._asked.layout)
        self._ours |= set(written)
        return written, errors

    def end_early(self) -> tuple[list[Path], list[str]]:
        """Keep all that is decoded. Returns as `write_transcript` does."""
        self._append()
        return self._write_so_far()

    @property
    def can_be_resumed(self) -> bool:
        return self._journal is not None and self._journal.is_there

    def written(self, paths: Collection[Path]) -> None:
        """These of its files are whole: their transcripts so far go, and with the last one the journal."""
        self._append()
        for path in map(partial_path, paths):
            if path in self._ours:
                path.unlink(missing_ok=True)
        if self._journal is not None and self.can_be_resumed and set(self.paths.values()) <= set(paths):
            self._journal.remove()


def _fitting(kept: Kept | None, model: Model, duration: float) -> Kept | None:
    """What an earlier run has left. Raises JournalError where no run can have left it of this recording."""
    if kept is None:
        return None
    try:
        model.check_point(kept.point, duration)
    except UsageError as error:
        raise JournalError(f"its journal is damaged ({error})") from error
    words = (word for segment in kept.segments for word in segment.words or ())
    times = [(segment.start, segment.end) for segment in kept.segments] + [(w.start, w.end) for w in words]
    if any(not 0 <= start <= end <= duration for start, end in times):
        raise JournalError("its journal is damaged (it has times outside the recording)")
    return kept


def begun_by(asked: Asked, recording: Recording, model: Model) -> Begun:
    """Everything that the text depends on."""
    try:
        known = None if recording.source == STDIN else identity(recording.source)
    except OSError:
        known = None
    ran_on = model.ran_on
    options = asdict(asked.options) | {
        "audio_track": asked.recordings.audio_track,
        "strict": asked.recordings.strict,
    }
    on = {
        "weights": model.checkpoint.encoder_identity,
        "device": ran_on.device,
        "kernel": ran_on.kernel,
        "fidelity": asked.model.fidelity.value,
        "compute_type": ran_on.compute_type,
    }
    # As it comes back from a journal; infinity, which JSON does not have, as a word.
    return Begun(known, on, json.loads(json.dumps(options), parse_constant=str))
