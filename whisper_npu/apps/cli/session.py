"""One call of `whisper-npu transcribe`: several recordings, one model, files, progress, summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from whisper_npu.apps.cli.asked import Asked
from whisper_npu.apps.cli.ending import ending
from whisper_npu.apps.cli.journal import journal_path
from whisper_npu.apps.cli.progress import Progress, awaited
from whisper_npu.apps.cli.terminal import Stderr, lines_shown
from whisper_npu.apps.cli.work import Work
from whisper_npu.apps.outputs import check_outputs, without_transcripts
from whisper_npu.apps.sources import Recording
from whisper_npu.audio import audio_seconds
from whisper_npu.energy.meter import Meter
from whisper_npu.energy.sensors import find_sensor
from whisper_npu.errors import UsageError
from whisper_npu.npu.open import open_device
from whisper_npu.output import as_json, write_atomically
from whisper_npu.report import COLUMNS, Report, as_document, as_text
from whisper_npu.transcription.check import check_model
from whisper_npu.transcription.compute_type import resolve_compute_type
from whisper_npu.transcription.took import RunOn


@dataclass(frozen=True)
class Session:
    asked: Asked
    found: Sequence[Recording]
    progress: Progress  # open; closed when all is done
    started: float  # perf_counter at the start of the program

    def execute(self) -> int:
        """Transcribe all recordings; name each that fails on stderr, and go on with the others.

        Returns the exit code: 0, or 1 if a recording failed. Raises WhisperNpuError if nothing can go on, and
        KeyboardInterrupt once what was decoded is written.
        """
        asked, progress, interrupt = self.asked, self.progress, None
        if sys.stdout is None and not asked.files.formats and asked.report is None:
            raise UsageError("standard output is closed, and no file is written: add -f txt, or -o FOLDER")
        check_outputs([r.source for r in self.found if r.problem is None], asked.files, asked.report)
        check_model(asked.model.name, asked.options)
        resolve_compute_type(asked.model.compute_type)
        todo = self._todo()
        # The device first, so that an absent NPU or an unknown kernel is reported before any work.
        with (
            Meter(find_sensor()) as meter,
            open_device(
                asked.model.device,
                asked.model.fidelity,
                asked.model.npu,
                asked.model.threads,
                asked.model.check_results,
            ) as device,
        ):
            device.check_kernel(asked.model.kernel)
            for note in asked.notes:
                progress.note(f"whisper-npu: {note}")
            work = Work(asked, device, meter, progress, n_recordings=len(todo))
            try:
                for number, recording in enumerate(todo, start=1):
                    work.transcribe(number, recording)
                    if work.device_is_lost and number < len(todo):
                        work.leave_out(todo[number:])
                        break
            except KeyboardInterrupt as caught:
                interrupt = caught
            ran_on = (
                work.model.ran_on if work.model else RunOn.of(device, asked.model.name, asked.model.kernel)
            )
        progress.close()
        total_seconds = perf_counter() - self.started
        report = Report(
            ran_on,
            tuple(work.results),
            work.load_seconds,
            total_seconds,
            meter.energy,
            n_asked=len(todo),
        )
        if interrupt is None or report.took:
            self._report(report)
        if interrupt is not None:
            raise interrupt
        return 1 if any(result.error for result in work.results) else 0

    def _todo(self) -> list[Recording]:
        """What is to be transcribed: with --skip_existing and --resume, what has not all of its files yet."""
        todo, asked = list(self.found), self.asked.recordings
        if asked.skip_existing or asked.resume:
            sources = [recording.source for recording in todo if recording.problem is None]
            left = set(
                without_transcripts(sources, self.asked.files, is_begun=_is_begun if asked.resume else None)
            )
            todo = [recording for recording in todo if recording.problem or recording.source in left]
            if n_skipped := len(self.found) - len(todo):
                self.progress.note(f"whisper-npu: {n_skipped} skipped, for their files are there")
        alone = len(todo) == 1  # its length is known when it is read
        most = 3600 * self.asked.recordings.max_hours  # a header may state anything
        lengths = [None if alone or r.problem else _at_most(most, audio_seconds(r.source)) for r in todo]
        self.progress.expect(awaited(todo, lengths), self.asked.options.clip_timestamps)
        return todo

    def _report(self, report: Report) -> None:
        stderr = Stderr(sys.stderr)
        if not self.asked.print.quiet:
            only = report.files[0] if len(report.files) == 1 else None
            written = [] if only is None or only.error else self.asked.files.paths(only.path).values()
            for line in ending(report, list(written)):
                stderr.print(line)
            if self.asked.print.long_report and report.took:
                text = as_text(report, stderr.columns or COLUMNS).rstrip("\n")
                stderr.print(f"\n{lines_shown(text)}")
        if self.asked.report is not None:
            write_atomically(self.asked.report, as_json(as_document(report)))


def _is_begun(output: Path) -> bool:
    """Whether the recording of this file was begun anew after its files were written."""
    return os.path.exists(journal_path(output))


def _at_most(most: float, seconds: float | None) -> float | None:
    return None if seconds is None else min(most, seconds)
