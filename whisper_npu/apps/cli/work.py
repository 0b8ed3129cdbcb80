"""One recording after the other: read, transcribe, print, write its files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TextIO, TypeVar

from whisper_npu.apps.cli.asked import Asked
from whisper_npu.apps.cli.ending import wrote
from whisper_npu.apps.cli.memory_limit import check_limit
from whisper_npu.apps.cli.progress import Progress
from whisper_npu.apps.cli.tally import hours
from whisper_npu.apps.cli.terminal import StdoutLostError, give_up
from whisper_npu.apps.cli.transcript import TranscriptPrinter, detected
from whisper_npu.apps.cli.unexpected import print_traceback
from whisper_npu.apps.cli.unfinished import Unfinished
from whisper_npu.apps.described import described
from whisper_npu.apps.outputs import write_transcript
from whisper_npu.apps.sources import Recording
from whisper_npu.audio import Sound, open_audio
from whisper_npu.energy.meter import Meter
from whisper_npu.errors import AudioError, DeviceError, UsageError
from whisper_npu.npu.device import Device
from whisper_npu.output import is_stdout
from whisper_npu.report import INTERRUPTED, FileResult
from whisper_npu.transcription.language import name_of
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.took import Switch

What = TypeVar("What")
MOST_LOST = 3  # recordings in a row in which the device fails, before the rest is not tried
_DOCTOR = "whisper-npu doctor finds out what is wrong"


class Work:
    """What a session has done so far."""

    def __init__(
        self, asked: Asked, device: Device, meter: Meter, progress: Progress, *, n_recordings: int
    ) -> None:
        self._asked, self._device, self._meter, self._progress = asked, device, meter, progress
        self._is_one_of_several = n_recordings > 1
        self._printer = self._printer_to(sys.stdout if asked.print.text else None)
        self._said_of_switch: str | None = None
        self._n_lost = 0  # recordings in a row that the device failed in
        self.model: Model | None = None  # loaded for the first recording that can be read
        self.load_seconds = 0.0
        self.results: list[FileResult] = []

    @property
    def device_is_lost(self) -> bool:
        """Whether further recordings would fail as the last ones did."""
        return self._n_lost >= MOST_LOST

    def transcribe(self, number: int, recording: Recording) -> None:
        """Transcribe one recording and write its files. What fails is named on stderr, and in `results`.

        Raises what concerns all recordings, and KeyboardInterrupt once what was decoded is written.
        """
        self._progress.read(number)
        try:
            sound, seconds = self._read(recording)  # before the model, so that bad audio fails early
        except Exception as error:
            self._fail(recording, error)
            return
        with sound:
            model = self._loaded()
            try:
                unfinished = Unfinished(
                    self._asked,
                    recording,
                    model,
                    duration=sound.duration,
                    read_seconds=seconds,
                    note=self._progress.note,
                )
            except Exception as error:
                self._fail(recording, error)
                return
            with unfinished:
                self._transcribe(recording, sound, model, unfinished)

    def _transcribe(self, recording: Recording, sound: Sound, model: Model, unfinished: Unfinished) -> None:
        n_results = len(self.results)
        try:
            self._decode(recording, sound, model, unfinished)
            self._finish(recording, unfinished)
        except StdoutLostError:
            raise
        except KeyboardInterrupt:
            if len(self.results) > n_results:  # nothing is lost
                raise
            if unfinished.is_decoded:  # some of its files may be written: all of them then
                self._finish(recording, unfinished)
            else:
                self.results.append(unfinished.result(INTERRUPTED))
                self._rescue(unfinished)
            raise
        except Exception as error:
            if isinstance(error, UsageError) and not self._is_one_of_several:
                raise  # of several recordings it may be meant for the others
            self._fail(recording, error, unfinished)
            self._rescue(unfinished)

    def leave_out(self, recordings: Sequence[Recording]) -> None:
        """Those that are not tried, for the device is lost."""
        reason = f"not tried: the device failed in {self._n_lost} recordings in a row"
        self._progress.note(f"whisper-npu: {len(recordings)} recordings are {reason}; {_DOCTOR}")
        self.results += [FileResult(one.source, None, None, reason) for one in recordings]

    def _read(self, recording: Recording) -> tuple[Sound, float]:
        """The recording, which the caller closes, and the seconds that reading it took."""
        if recording.problem is not None:
            raise AudioError(recording.problem)
        asked = self._asked.recordings
        with self._meter.stage("audio"):
            start = perf_counter()
            sound = open_audio(
                recording.source,
                audio_track=asked.audio_track,
                strict=asked.strict,
                max_seconds=3600 * asked.max_hours,
            )
            return sound, perf_counter() - start

    def _loaded(self) -> Model:
        if self.model is None:
            asked = self._asked.model
            check_limit(asked.name)
            self._progress.say(f"loading {asked.name}")
            with self._meter.stage("load"):
                start = perf_counter()
                model = load_model(
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
            model.check(self._asked.options)  # what it refuses, it refuses of every recording
            model.within(self._meter.stage)
            self.model = model
        return self.model

    def _switched(self, switch: Switch) -> None:
        self._said_of_switch = str(switch)
        self._progress.note(f"whisper-npu: note: {switch}")

    def _decode(self, recording: Recording, sound: Sound, model: Model, unfinished: Unfinished) -> None:
        """Decode all segments, and print each at once."""
        kept = unfinished.kept
        self._progress.begin(sound.duration, unfinished.resumed_at or 0.0)
        if kept is not None:
            self._progress.note(f"{recording.name}: goes on at {hours(kept.point.seconds)}")
        after = None if kept is None else kept.point
        with model.stream(sound, self._asked.options, after=after) as stream:
            unfinished.stream = stream
            self._print(self._printer.recording, recording.name)
            # An English-only model is sure without listening.
            if self._asked.options.language is None and stream.duration and stream.language_probability < 1:
                name = recording.name if self._is_one_of_several else None
                self._progress.note(detected(name_of(stream.language), stream.language_probability, name))
            self._progress.follow(lambda: stream.seconds_done)
            for segment in () if kept is None else kept.segments:
                self._print(self._printer.segment, segment)
            for segment in stream:
                with self._meter.stage("other"):
                    self._print(self._printer.segment, segment)
                    unfinished.follow()

    def _print(self, show: Callable[[What], None], what: What) -> None:
        """If nobody reads stdout any more, or its disk is full, files are still written if asked for."""
        try:
            show(what)
        except OSError as error:
            report = self._asked.report
            if not self._asked.files.formats and (report is None or is_stdout(report)):
                raise StdoutLostError(error) from error
            self._printer = self._printer_to(None)
            give_up(sys.stdout)
            reason = f"({error.strerror}), only in files"
            self._progress.note(f"whisper-npu: no more text on standard output {reason}")

    def _finish(self, recording: Recording, unfinished: Unfinished) -> None:
        """Write the files, each of them even where another cannot be written."""
        done = unfinished.so_far()
        assert done is not None
        written, errors = write_transcript(done.transcript, unfinished.paths, self._asked.layout)
        unfinished.written(written)
        self._n_lost = 0
        self.results.append(unfinished.result(errors[0] if errors else None))
        if written and (self._is_one_of_several or errors):  # otherwise the ending says so
            self._progress.note(wrote(written))
        for warning in done.warnings:
            if warning == self._said_of_switch:  # when it happened
                continue
            self._progress.warn(f"whisper-npu: {recording.name}: {warning}")
        if errors:
            self._progress.fail(errors[0])
        else:
            self._progress.done()

    def _fail(self, recording: Recording, error: Exception, unfinished: Unfinished | None = None) -> None:
        """Say in one line what is wrong with a recording."""
        print_traceback(error)
        message = described(error)
        if not message.startswith((recording.name, recording.source)):
            message = f"{recording.name}: {message}"
        if isinstance(error, DeviceError):
            self._n_lost += 1
        self._progress.fail(message)
        self.results.append(
            FileResult(recording.source, None, None, message)
            if unfinished is None
            else unfinished.result(message)
        )

    def _rescue(self, unfinished: Unfinished) -> None:
        """Write what was decoded of a recording that ends early, under names that say so."""
        try:
            written, errors = unfinished.end_early()
        except Exception as error:
            written, errors = [], [described(error)]
        for reason in errors:
            self._progress.note(f"whisper-npu: what was decoded is lost: {reason}")
        done = unfinished.so_far()
        if written and done is not None:
            how = "; --resume goes on from there" if unfinished.can_be_resumed else ""
            self._progress.note(f"{wrote(written)}: the first {done.segments[-1].end:.0f} s{how}")

    def _printer_to(self, stdout: TextIO | None) -> TranscriptPrinter:
        asked = self._asked.print
        return TranscriptPrinter(
            stdout,
            self._progress.above,
            headings=self._is_one_of_several,
            timestamps=asked.timestamps,
            colors=asked.colors,
        )
