"""One run of `whisper-npu transcribe`: several recordings, one model, files, progress, report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from whisper_npu.apps.cli.asked import Asked
from whisper_npu.apps.cli.ending import ending, wrote
from whisper_npu.apps.cli.progress import Progress
from whisper_npu.apps.cli.progress import Recording as Awaited
from whisper_npu.apps.cli.terminal import Stderr
from whisper_npu.apps.cli.transcript import TranscriptPrinter, detected, no_speech
from whisper_npu.apps.outputs import check_outputs, without_transcripts
from whisper_npu.apps.sources import Recording, find_recordings
from whisper_npu.audio import SAMPLE_RATE, audio_seconds, load_audio
from whisper_npu.energy.meter import Meter
from whisper_npu.energy.sensors import find_sensor
from whisper_npu.errors import AudioError, DeviceError, OutputError
from whisper_npu.npu.device import Device
from whisper_npu.npu.open import open_device
from whisper_npu.output import as_json, partial_path, render, write_atomically
from whisper_npu.report import FileResult, Report, RunOn, as_document, as_text
from whisper_npu.transcription.compute_type import resolve_compute_type
from whisper_npu.transcription.language import name_of
from whisper_npu.transcription.model import Model, load_model
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.stream import Stream

INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Run:
    """One call of `transcribe`."""

    asked: Asked
    started: float  # perf_counter at the start of the program

    def execute(self) -> int:
        """Transcribe all recordings; name each that fails on stderr, and go on with the others.

        Returns the exit code: 0, or 1 if a recording failed. Raises WhisperNpuError if nothing can go on, and
        KeyboardInterrupt once what was decoded is written.
        """
        asked = self.asked
        recordings = find_recordings(asked.recordings.names, recursive=asked.recordings.recursive)
        todo, skipped = self._todo(recordings)
        check_outputs([r.source for r in todo if r.problem is None], asked.files, asked.report)
        resolve_compute_type(asked.model.compute_type)
        # The device first, so that an absent NPU or an unknown kernel is reported before any work.
        with (
            Meter(find_sensor()) as meter,
            open_device(
                asked.model.device, asked.model.fidelity, asked.model.npu, asked.model.threads
            ) as device,
            Progress(_awaited(todo), quiet=asked.print.quiet) as progress,
        ):
            device.check_kernel(asked.model.kernel)
            for note in (*asked.notes, *([_skipped(skipped)] if skipped else [])):
                progress.note(f"whisper-npu: {note}")
            work = Work(
                asked,
                device,
                meter,
                progress,
                TranscriptPrinter(
                    sys.stdout if asked.print.text else None,
                    progress.above,
                    headings=len(todo) > 1,
                    timestamps=asked.print.timestamps,
                    colors=asked.print.colors,
                ),
                several=len(todo) > 1,
            )
            for number, recording in enumerate(todo, start=1):
                work.transcribe(number, recording)
                if work.interrupted is not None:
                    break
            ran_on = RunOn.of(device, asked.model.name, asked.model.kernel, work.model)
        total_seconds = perf_counter() - self.started
        report = Report(ran_on, tuple(work.results), work.load_seconds, total_seconds, meter.energy)
        if work.interrupted is None or report.audio_seconds:
            self._report(report)
        if work.interrupted is not None:
            raise work.interrupted
        return 1 if any(result.error for result in work.results) else 0

    def _todo(self, recordings: Sequence[Recording]) -> tuple[list[Recording], int]:
        """What is to be transcribed, and how many recordings have their files already."""
        if not self.asked.recordings.skip_existing:
            return list(recordings), 0
        sources = [recording.source for recording in recordings if recording.problem is None]
        left = set(without_transcripts(sources, self.asked.files))
        todo = [recording for recording in recordings if recording.problem or recording.source in left]
        return todo, len(recordings) - len(todo)

    def _report(self, report: Report) -> None:
        stderr = Stderr(sys.stderr)
        if not self.asked.print.quiet:
            done = [file for file in report.files if not file.error]
            files = (
                self.asked.files.paths(done[0].path).values() if len(done) == len(report.files) == 1 else ()
            )
            for line in ending(report, list(files)):
                stderr.print(line)
            if self.asked.print.long_report and report.windows:
                stderr.print("\n" + as_text(report).rstrip("\n"))
        if self.asked.report is not None:
            write_atomically(self.asked.report, as_json(as_document(report)))


class Work:
    """What a run has done so far."""

    def __init__(
        self,
        asked: Asked,
        device: Device,
        meter: Meter,
        progress: Progress,
        printer: TranscriptPrinter,
        *,
        several: bool,
    ) -> None:
        self._asked, self._device, self._meter = asked, device, meter
        self._progress, self._printer, self._is_one_of_several = progress, printer, several
        self.model: Model | None = None  # loaded for the first recording that can be read
        self.load_seconds = 0.0
        self.results: list[FileResult] = []
        self.interrupted: KeyboardInterrupt | None = None

    def transcribe(self, number: int, recording: Recording) -> None:
        """Transcribe one recording and write its files. What fails is named on stderr, and in `results`."""
        self._progress.read(number)
        transcription: Transcription | None = None
        error: str | None = None
        try:
            if recording.problem is not None:
                raise AudioError(recording.problem)
            with self._meter.stage("audio"):
                start = perf_counter()
                # Before the model, so that bad audio fails early.
                samples = load_audio(recording.source, audio_track=self._asked.recordings.audio_track)
                seconds = perf_counter() - start
            model = self._loaded()
            self._progress.begin(len(samples) / SAMPLE_RATE)
            with model.stream(samples, self._asked.options) as stream:
                try:
                    self._print(recording, stream)
                finally:
                    transcription = replace(_so_far(stream), audio_seconds=seconds)
            self._write(recording, transcription)
            self._progress.done()
        except (AudioError, DeviceError, OutputError) as failed:
            error = str(failed)
            self._progress.fail(error)
        except KeyboardInterrupt as interrupt:
            error = INTERRUPTED
            self.interrupted = interrupt
        if error is not None and transcription is not None:
            self._rescue(recording, transcription)
        self.results.append(FileResult(recording.source, transcription, error))

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
                )
                self.load_seconds = perf_counter() - start
            self.model.within(self._meter.stage)
        return self.model

    def _print(self, recording: Recording, stream: Stream) -> None:
        self._printer.recording(recording.name)
        if self._asked.options.language is None and stream.language_probability < 1:
            self._progress.note(detected(name_of(stream.language), stream.language_probability))
        self._progress.follow(lambda: stream.seconds_done)
        text = ""
        for segment in stream:
            with self._meter.stage("other"):
                self._printer.segment(segment)
            text += segment.text
        if not text.strip():
            self._progress.note(no_speech(recording.name))

    def _write(self, recording: Recording, transcription: Transcription) -> None:
        paths = self._asked.files.paths(recording.source)
        for fmt, path in paths.items():
            write_atomically(path, render(transcription.transcript, fmt, self._asked.layout))
        if paths and self._is_one_of_several:
            self._progress.note(wrote(list(paths.values())))

    def _rescue(self, recording: Recording, transcription: Transcription) -> None:
        """Write what was decoded before it ended early, under names that say so."""
        if not transcription.text.strip():
            return
        written = []
        for fmt, path in self._asked.files.paths(recording.source).items():
            partial = partial_path(path)
            try:
                write_atomically(partial, render(transcription.transcript, fmt, self._asked.layout))
                written.append(partial)
            except OutputError as error:
                self._progress.fail(str(error))
        if written:
            done = transcription.transcript.segments[-1].end
            self._progress.note(f"{wrote(written)}: the first {done:.0f} s of it")


def _awaited(recordings: Sequence[Recording]) -> list[Awaited]:
    """For the progress. The length of one alone is known when it is read."""
    alone = len(recordings) == 1
    return [Awaited(r.name, None if alone or r.problem else audio_seconds(r.source)) for r in recordings]


def _so_far(stream: Stream) -> Transcription:
    """What has been decoded; of a recording that was not decoded to its end only the part that was."""
    done = stream.result()
    if stream.finished:
        return done
    return replace(done, transcript=replace(done.transcript, duration=stream.seconds_done))


def _skipped(count: int) -> str:
    return f"{count} skipped: {'its' if count == 1 else 'their'} files are there"
