"""One recording after the other: read, transcribe, print, write its files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TextIO, TypeVar

from whisper_npu.apps.cli.asked import Asked
from whisper_npu.apps.cli.ending import wrote
from whisper_npu.apps.cli.progress import Progress
from whisper_npu.apps.cli.terminal import give_up
from whisper_npu.apps.cli.transcript import TranscriptPrinter, detected, no_speech
from whisper_npu.apps.sources import STDIN, Recording
from whisper_npu.audio import SAMPLE_RATE, Samples, audio_tracks, load_audio
from whisper_npu.energy.meter import Meter
from whisper_npu.errors import AudioError, DeviceError, OutputError, WhisperNpuError
from whisper_npu.npu.device import Device
from whisper_npu.output import partial_path, render, write_atomically
from whisper_npu.report import INTERRUPTED, FileResult
from whisper_npu.transcription.language import name_of
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.stream import Stream
from whisper_npu.transcription.took import Switch

What = TypeVar("What")


class Work:
    """What a session has done so far."""

    def __init__(
        self, asked: Asked, device: Device, meter: Meter, progress: Progress, *, n_recordings: int
    ) -> None:
        self._asked, self._device, self._meter, self._progress = asked, device, meter, progress
        self._is_one_of_several = n_recordings > 1
        self._printer = self._printer_to(sys.stdout if asked.print.text else None)
        self.model: Model | None = None  # loaded for the first recording that can be read
        self.load_seconds = 0.0
        self.results: list[FileResult] = []

    def transcribe(self, number: int, recording: Recording) -> None:
        """Transcribe one recording and write its files. What fails is named on stderr, and in `results`.

        Raises what concerns all recordings, and KeyboardInterrupt once what was decoded is written.
        """
        self._progress.read(number)
        try:
            samples, seconds = self._read(recording)  # before the model, so that bad audio fails early
        except AudioError as error:
            self._fail(recording, None, str(error))
            return
        model = self._loaded()
        self._progress.begin(len(samples) / SAMPLE_RATE)
        done: Transcription | None = None
        try:
            with model.stream(samples, self._asked.options) as stream:
                try:
                    self._decode(recording, stream)
                finally:
                    done = _so_far(stream, read_seconds=seconds)
        except (AudioError, DeviceError) as error:
            self._fail(recording, done, f"{recording.name}: {error}")
            self._rescue(recording, done)
        except KeyboardInterrupt:
            self.results.append(_file_result(recording, done, INTERRUPTED))
            self._rescue(recording, done)
            raise
        else:
            self._finish(recording, done)

    def _read(self, recording: Recording) -> tuple[Samples, float]:
        """Samples at 16 kHz, and the seconds that it took."""
        if recording.problem is not None:
            raise AudioError(recording.problem)
        with self._meter.stage("audio"):
            start = perf_counter()
            samples = load_audio(recording.source, audio_track=self._asked.recordings.audio_track)
            return samples, perf_counter() - start

    def _loaded(self) -> Model:
        if self.model is None:
            asked = self._asked.model
            self._progress.say(f"loading {asked.name}")
            with self._meter.stage("load"):
                start = perf_counter()
                self.model = load_model(
                    asked.name,
                    device=self._device,
                    kernel=asked.kernel,
                    compute_type=asked.compute_type,
                    model_dir=asked.folder,
                    local_files_only=asked.local_files_only,
                    progress=self._progress.say,
                    on_device_error=asked.on_device_error,
                    on_switch=self._switched,
                )
                self.load_seconds = perf_counter() - start
            self.model.within(self._meter.stage)
        return self.model

    def _switched(self, switch: Switch) -> None:
        self._progress.note(f"whisper-npu: note: {switch}")

    def _decode(self, recording: Recording, stream: Stream) -> None:
        """Decode all segments, and print each at once."""
        self._print(self._printer.recording, recording.name)
        # An English-only model is sure without listening.
        if self._asked.options.language is None and stream.duration and stream.language_probability < 1:
            name = recording.name if self._is_one_of_several else None
            self._progress.note(detected(name_of(stream.language), stream.language_probability, name))
        self._progress.follow(lambda: stream.seconds_done)
        for segment in stream:
            with self._meter.stage("other"):
                self._print(self._printer.segment, segment)

    def _print(self, show: Callable[[What], None], what: What) -> None:
        """If nobody reads stdout any more, or its disk is full, files are still written if asked for."""
        try:
            show(what)
        except OSError as error:
            if not self._asked.files.formats and self._asked.report is None:
                raise
            self._printer = self._printer_to(None)
            give_up(sys.stdout)
            reason = f"({error.strerror}), only in files"
            self._progress.note(f"whisper-npu: no more text on standard output {reason}")

    def _finish(self, recording: Recording, done: Transcription) -> None:
        """Write the files, each of them even where another cannot be written."""
        written, errors = self._write(done, self._asked.files.paths(recording.source))
        if written and (self._is_one_of_several or errors):  # otherwise the ending says so
            self._progress.note(wrote(written))
        if not done.text.strip():
            self._progress.note(no_speech(recording.name) + self._other_tracks(recording))
        if errors:
            self._fail(recording, done, errors[0])
        else:
            for path in written:
                partial_path(path).unlink(missing_ok=True)  # of an earlier run, which was interrupted
            self._progress.done()
            self.results.append(_file_result(recording, done))

    def _rescue(self, recording: Recording, done: Transcription | None) -> None:
        """Write what was decoded of a recording that ended early, under names that say so."""
        if done is None or not done.text.strip():
            return
        paths = {fmt: partial_path(path) for fmt, path in self._asked.files.paths(recording.source).items()}
        written, errors = self._write(done, paths)
        for error in errors:
            self._progress.note(f"whisper-npu: what was decoded is lost: {error}")
        if written:
            self._progress.note(f"{wrote(written)}: the first {done.transcript.segments[-1].end:.0f} s")

    def _write(self, done: Transcription, paths: dict[str, Path]) -> tuple[list[Path], list[str]]:
        """Returns the files that were written, and why others were not."""
        written, errors = [], []
        for fmt, path in paths.items():
            try:
                write_atomically(path, render(done.transcript, fmt, self._asked.layout))
                written.append(path)
            except OutputError as error:
                errors.append(str(error))
        return written, errors

    def _fail(self, recording: Recording, done: Transcription | None, error: str) -> None:
        self._progress.fail(error)
        self.results.append(_file_result(recording, done, error))

    def _other_tracks(self, recording: Recording) -> str:
        """A hint at other tracks, where the first one was taken unasked."""
        if self._asked.recordings.audio_track is not None or recording.source == STDIN:
            return ""
        try:
            n_tracks = len(audio_tracks(recording.source))
        except WhisperNpuError:
            return ""
        return f"; it has {n_tracks} audio tracks: try --audio_track 2" if n_tracks > 1 else ""

    def _printer_to(self, stdout: TextIO | None) -> TranscriptPrinter:
        asked = self._asked.print
        return TranscriptPrinter(
            stdout,
            self._progress.above,
            headings=self._is_one_of_several,
            timestamps=asked.timestamps,
            colors=asked.colors,
        )


def _file_result(recording: Recording, done: Transcription | None, error: str | None = None) -> FileResult:
    if done is None:
        return FileResult(recording.source, None, None, error)
    return FileResult(recording.source, done.transcript, done.took, error)


def _so_far(stream: Stream, read_seconds: float) -> Transcription:
    """What has been decoded; of a recording that was not decoded to its end only the part that was.

    read_seconds: what reading the recording took, before the stream.
    """
    done = stream.result()
    done = replace(done, took=replace(done.took, audio_seconds=read_seconds))
    if stream.finished:
        return done
    return replace(done, transcript=replace(done.transcript, duration=stream.seconds_done))
