"""One run of `whisper-npu transcribe`: several recordings, one model, files, progress, report."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from whisper_npu.apps.cli.ending import ending, wrote
from whisper_npu.apps.cli.progress import Progress, Recording
from whisper_npu.apps.cli.terminal import Stderr
from whisper_npu.apps.cli.transcript import TranscriptPrinter, no_speech
from whisper_npu.audio import SAMPLE_RATE, load_audio
from whisper_npu.energy.meter import Meter
from whisper_npu.energy.sensors import find_sensor
from whisper_npu.errors import AudioError, DeviceError, OutputError, UsageError
from whisper_npu.npu.emulator.device import Fidelity
from whisper_npu.npu.open import open_device
from whisper_npu.npu.options import NpuOptions
from whisper_npu.output import FORMATS, as_json, check_writable, output_path, render, write_atomically
from whisper_npu.report import FileResult, Report, RunOn, as_document
from whisper_npu.transcription.compute_type import resolve_compute_type
from whisper_npu.transcription.model import Model, load_model
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.result import Segment, Transcription


@dataclass(frozen=True)
class OutputFiles:
    """Which files to write for each recording; none unless asked for."""

    formats: tuple[str, ...]
    folder: Path

    @classmethod
    def asked_for(cls, output_format: str | None, folder: Path | None) -> OutputFiles:
        """As in openai/whisper: "all" means every format; the default folder is the current one."""
        if output_format is None:
            formats: tuple[str, ...] = () if folder is None else ("txt",)
        else:
            formats = FORMATS if output_format == "all" else (output_format,)
        return cls(formats, folder or Path())

    def paths(self, audio: str) -> dict[str, Path]:
        return {fmt: output_path(audio, fmt, self.folder) for fmt in self.formats}


@dataclass(frozen=True)
class Run:
    """One call of `transcribe`: everything that the user asked for."""

    audio: tuple[str, ...]
    model: str
    device: str
    kernel: str
    compute_type: str  # of the decoder
    fidelity: Fidelity
    npu: NpuOptions
    threads: int | None  # None: one per core
    options: TranscribeOptions
    output: OutputFiles
    report: Path | None
    quiet: bool
    started: float  # perf_counter at the start of the program

    def execute(self) -> int:
        """Transcribe all recordings; name each that fails on stderr, and go on with the others.

        Returns the exit code: 0, or 1 if a recording failed. Raises WhisperNpuError if nothing can go on.
        """
        self._check_outputs()
        compute_type = resolve_compute_type(self.compute_type)
        model: Model | None = None
        load_seconds = 0.0
        results = []
        # The device first, so that an absent NPU or an unknown kernel is reported before any work.
        with (
            Meter(find_sensor()) as meter,
            open_device(self.device, self.fidelity, self.npu, self.threads) as device,
            Progress([Recording(audio, None) for audio in self.audio], quiet=self.quiet) as progress,
        ):
            device.check_kernel(self.kernel)
            printer = TranscriptPrinter(sys.stdout, progress.above, headings=len(self.audio) > 1)
            for number, audio in enumerate(self.audio, start=1):
                transcription: Transcription | None = None
                progress.read(number)
                try:
                    with meter.stage("audio"):
                        start = perf_counter()
                        samples = load_audio(audio)  # before the model, so that bad audio fails early
                        audio_seconds = perf_counter() - start
                    if model is None:
                        progress.say(f"loading {self.model}")
                        with meter.stage("load"):
                            start = perf_counter()
                            model = load_model(
                                self.model,
                                device=device,
                                kernel=self.kernel,
                                compute_type=compute_type,
                                progress=progress.say,
                            )
                            load_seconds = perf_counter() - start
                        model.within(meter.stage)
                    progress.begin(len(samples) / SAMPLE_RATE)
                    printer.recording(audio)

                    def on_segment(segment: Segment) -> None:
                        printer.segment(segment)
                        progress.advance(segment.end)

                    done = model.transcribe(samples, self.options, on_segment)
                    progress.done()
                    transcription = replace(done, audio_seconds=audio_seconds)
                    if not transcription.text.strip():
                        progress.note(no_speech(audio))
                    self._write(audio, transcription)
                    if len(self.audio) > 1 and self.output.formats:
                        progress.note(wrote(list(self.output.paths(audio).values())))
                    results.append(FileResult(audio, transcription))
                except (AudioError, DeviceError, OutputError) as error:
                    progress.fail(str(error))
                    results.append(FileResult(audio, transcription, str(error)))
            ran_on = RunOn.of(device, self.model, self.kernel, model)
        total_seconds = perf_counter() - self.started
        self._report(Report(ran_on, tuple(results), load_seconds, total_seconds, meter.energy))
        return 1 if any(result.error for result in results) else 0

    def _check_outputs(self) -> None:
        """Check before hours of work: places that cannot be written, files that would be written twice."""
        written = [path for audio in self.audio for path in self.output.paths(audio).values()]
        written += [self.report] if self.report is not None else []
        for folder in dict.fromkeys(path.parent for path in written):
            check_writable(folder)
        recordings = {Path(audio).resolve() for audio in self.audio if audio != "-"}
        seen: set[Path] = set()
        for path in written:
            real = path.resolve()
            if path.is_dir():
                raise OutputError(f"{path}: is a folder; name a file, or move the folder away")
            if real in recordings:
                raise UsageError(f"{path}: is one of the recordings and would be overwritten; name another")
            if real in seen and not _is_special(path):
                raise UsageError(
                    f"{path}: would be written more than once; give recordings of one name runs of their own"
                )
            seen.add(real)

    def _write(self, audio: str, transcription: Transcription) -> None:
        for fmt, path in self.output.paths(audio).items():
            write_atomically(path, render(transcription.transcript, fmt))

    def _report(self, report: Report) -> None:
        if not self.quiet:
            is_written = len(self.audio) == 1 and not report.files[0].error
            written = list(self.output.paths(self.audio[0]).values()) if is_written else []
            stderr = Stderr(sys.stderr)
            for line in ending(report, written):
                stderr.print(line)
        if self.report is not None:
            write_atomically(self.report, as_json(as_document(report)))


def _is_special(path: Path) -> bool:
    """Whether it is a device or pipe, such as /dev/null, to which several files may be written."""
    return path.exists() and not path.is_file()
