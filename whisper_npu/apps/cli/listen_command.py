"""One call of `whisper-npu listen`: a source, a model, lines, files, and figures at the end."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from whisper_npu.apps.cli.ending import on_device, wrote
from whisper_npu.apps.cli.listen_asked import NO_REFERENCE, AskedListen
from whisper_npu.apps.cli.listen_figures import (
    latency_line,
    pace_line,
    read_reference,
    silence_line,
    word_errors_line,
)
from whisper_npu.apps.cli.listen_files import LiveFiles, stem_of
from whisper_npu.apps.cli.listen_lines import LiveLines
from whisper_npu.apps.cli.listen_signals import ended_by_signals
from whisper_npu.apps.cli.memory_limit import check_limit
from whisper_npu.apps.cli.terminal import StdoutLostError, give_up
from whisper_npu.audio import Sound, open_audio
from whisper_npu.errors import WhisperNpuError, error_line, shown
from whisper_npu.host.memory import allocate_in_one_arena
from whisper_npu.live.feeding import Listening, Source
from whisper_npu.live.latency import Latencies
from whisper_npu.live.line import Line
from whisper_npu.live.microphone import Microphone
from whisper_npu.live.options import check_live_options
from whisper_npu.live.playing import Playing
from whisper_npu.live.session import Session
from whisper_npu.npu.device import Run
from whisper_npu.npu.open import open_device
from whisper_npu.transcription.check import check_model
from whisper_npu.transcription.compute_type import resolve_compute_type
from whisper_npu.transcription.language import name_of
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.model import Model

BEHIND = 10.0  # seconds of speech that wait, at which a machine is called too slow
_LONGEST_FILE = 24 * 3600.0  # seconds of a recording that plays the microphone
_WORTH_SAYING = 2.0  # seconds of speech that are still to be finished
_NOBODY_READS = (errno.EPIPE, errno.EIO)  # a reader such as head has ended, the terminal is closed


@dataclass
class LiveRun:
    """What one call has heard and printed so far."""

    asked: AskedListen
    text: list[str] = field(default_factory=list)  # of the final lines
    language: str = ""
    late: list[float] = field(default_factory=list)  # seconds from the end of speech to each final text
    n_dispatches: int = 0
    has_warned: bool = False  # that the machine is too slow
    problem: Exception | None = None  # why listening ended by itself

    def execute(self) -> int:
        """Returns the exit code: 0, or 1 if something was lost. Raises WhisperNpuError where it cannot begin.

        Raises KeyboardInterrupt where it is interrupted before it listens, or a second time; what was said
        until then is saved.
        """
        allocate_in_one_arena()
        asked, model_asked = self.asked, self.asked.model
        self._lines = LiveLines(
            sys.stdout, sys.stderr, timestamps=asked.timestamps, as_json=asked.json, quiet=asked.quiet
        )
        reference = read_reference(asked.playing.reference) if asked.playing else None
        files = self._files()
        check_model(model_asked.name, asked.options)
        check_live_options(asked.options)
        resolve_compute_type(model_asked.compute_type)
        with ExitStack() as closing:
            # The device and the microphone first, so that an absent one is reported before any work.
            device = closing.enter_context(
                open_device(
                    model_asked.device,
                    model_asked.fidelity,
                    model_asked.npu,
                    model_asked.threads,
                    model_asked.check_results,
                )
            )
            device.check_kernel(model_asked.kernel)
            sound = self._sound(closing)
            source: Source = (
                closing.enter_context(Microphone(asked.microphone))
                if sound is None
                else Playing(sound, is_live=not self._is_fast)
            )
            check_limit(model_asked.name)
            self._lines.note(f"whisper-npu: loading {model_asked.name}")
            model = load_model(
                model_asked.name,
                device=device,
                kernel=model_asked.kernel,
                compute_type=model_asked.compute_type,
                model_dir=model_asked.folder,
                local_files_only=model_asked.local_files_only,
                progress=lambda step: self._lines.note(f"whisper-npu: {step}"),
                on_device_error=model_asked.on_device_error,
                on_switch=lambda switch: self._lines.warn(f"whisper-npu: note: {switch}"),
            )
            model.check(asked.options)
            model.observe(self._count, _ignore_stage)
            session = Session(asked.options, asked.live)
            listening = Listening(source, session, model)
            with files or nullcontext():
                start = time.monotonic()
                code = self._listen(listening, files)
                took = time.monotonic() - start
            self._say_end(listening, model, took)
            if sound is not None and self.problem is None:
                self._say_word_errors(listening, model, sound, reference)
        return code

    @property
    def _is_fast(self) -> bool:
        return self.asked.playing is not None and self.asked.playing.is_fast

    def _files(self) -> LiveFiles | None:
        """None where nothing is to be saved. Raises OutputError where it cannot be."""
        asked = self.asked
        if not asked.formats:
            return None
        played = None if asked.playing is None else asked.playing.recording.source
        files = LiveFiles(asked.formats, asked.folder, stem_of(played, datetime.now()), self._lines.warn)
        files.check()
        return files

    def _sound(self, closing: ExitStack) -> Sound | None:
        """What plays the microphone."""
        playing = self.asked.playing
        if playing is None:
            return None
        self._lines.note(f"whisper-npu: reading {playing.recording.name}")
        sound = closing.enter_context(
            open_audio(playing.recording.source, audio_track=playing.audio_track, max_seconds=_LONGEST_FILE)
        )
        for warning in sound.warnings:
            self._lines.warn(f"whisper-npu: {playing.recording.name}: {warning}")
        return sound

    def _count(self, run: Run) -> None:
        self.n_dispatches += run.stats.dispatches

    def _listen(self, listening: Listening, files: LiveFiles | None) -> int:
        """Until it ends, and the files are written. Returns the exit code."""
        with ended_by_signals(listening.stop):
            try:
                self._say_begin(listening, files)
                for line in self._lines_of(listening):
                    self._take(line, listening, files)
            except BaseException:
                listening.stop()
                if files is not None:
                    self._say_saved(*files.end_early(listening.session.seconds_heard), is_whole=False)
                raise
            if isinstance(listening.source, Microphone):
                self._say_lost(listening.source)
                if not self.text:
                    self._lines.note(silence_line(listening.source))
            errors: list[str] = []
            if files is not None:
                written, errors = files.finish(listening.session.seconds_heard)
                self._say_saved(written, errors, is_whole=True)
        return 1 if errors or self.problem is not None else 0

    def _lines_of(self, listening: Listening) -> Iterator[Line]:
        """All lines; what has ended the source is said, and no reason to lose what was said before."""
        lines = listening.lines()
        has_said = False
        while True:
            try:
                line = next(lines, None)
            except WhisperNpuError as error:
                if error is not listening.failure:
                    raise  # it is no matter of the source
                self.problem = error
                self._lines.warn(error_line(str(error)))
                return
            if line is None:
                return
            yield line
            behind = listening.session.seconds_behind
            if listening.is_stopped and not has_said and behind > _WORTH_SAYING:
                has_said = True
                self._lines.note(
                    f"whisper-npu: {behind:.0f} s of speech are still to be finished; Ctrl-C again ends at "
                    "once"
                )

    def _take(self, line: Line, listening: Listening, files: LiveFiles | None) -> None:
        if line.is_final and files is not None:
            files.add(line)
        try:
            self._lines.show(line)
        except OSError as error:
            self._lose_stdout(error, listening, files)
        if not line.is_final:
            return
        if line.text:
            self.text.append(line.text)
            self._name_language(line.language, listening.model)
            self.late.append(listening.late(line))
        behind = listening.session.seconds_behind
        if listening.source.is_live and not self.has_warned and not listening.is_stopped and behind > BEHIND:
            self.has_warned = True
            self._lines.warn(
                f"whisper-npu: {behind:.0f} s behind: this machine is too slow for the model; nothing is "
                "lost, but text comes late: take a smaller --model, --beam_size 1, or --partial_every 0"
            )

    def _name_language(self, language: str, model: Model) -> None:
        if not self.language and self.asked.options.language is None and model.is_multilingual:
            self._lines.note(f"whisper-npu: detected {name_of(language)}")
        self.language = self.language or language

    def _lose_stdout(self, error: OSError, listening: Listening, files: LiveFiles | None) -> None:
        """Where nobody reads any more nobody listens: it ends. Else the text is still saved."""
        if files is None:
            raise StdoutLostError(error) from error
        self._lines.without_stdout()
        give_up(sys.stdout)
        if error.errno in _NOBODY_READS:
            listening.stop()
        else:
            reason = f"({error.strerror}), only in the file"
            self._lines.warn(f"whisper-npu: no more text on standard output {reason}")

    def _say_begin(self, listening: Listening, files: LiveFiles | None) -> None:
        what = "listening to" if self.asked.playing is None else "playing"
        saves = "" if files is None else f" and saves {shown(next(iter(files.paths.values())))}"
        self._lines.note(f"whisper-npu: {what} {listening.source.name}; Ctrl-C ends it{saves}")

    def _say_saved(self, written: list[Any], errors: list[str], *, is_whole: bool) -> None:
        for error in errors:
            self._lines.warn(error_line(error))
        if written:
            rest = "" if is_whole else ": what was final"
            self._lines.note(f"{wrote(written)}{rest}")
        elif is_whole and not errors:
            self._lines.note("nothing was said, so nothing is saved")

    def _say_lost(self, microphone: Microphone) -> None:
        if microphone.n_overflows:
            seconds = f"{microphone.seconds_lost:.1f} s" if microphone.seconds_lost else "some sound"
            places = "once" if microphone.n_overflows == 1 else f"in {microphone.n_overflows} places"
            self._lines.warn(
                f"whisper-npu: WARNING: {seconds} of the microphone's sound was lost {places}: this machine "
                "was too busy to take it (input overflow)"
            )

    def _say_end(self, listening: Listening, model: Model, took: float) -> None:
        heard = listening.session.seconds_heard
        name = shown(os.path.basename(model.checkpoint.name.rstrip(os.sep)) or model.checkpoint.name)
        self._lines.note(f"{heard:,.1f} s heard, {name} {on_device(model.ran_on, self.n_dispatches)}")
        if self._is_fast:
            if heard:
                self._lines.note(pace_line(heard, took))
        else:
            self._lines.note(latency_line(Latencies(tuple(self.late))))

    def _say_word_errors(
        self, listening: Listening, model: Model, sound: Sound, reference: str | None
    ) -> None:
        playing = self.asked.playing
        assert playing is not None
        if playing.reference == NO_REFERENCE or self.asked.quiet:
            return
        if listening.session.seconds_heard < sound.duration:
            self._lines.note("no word error rate: the recording was not heard to its end")
            return
        try:
            self._lines.note(
                word_errors_line(
                    said=" ".join(self.text),
                    language=self.language,
                    reference=reference,
                    model=model,
                    sound=sound,
                    options=self.asked.options,
                    say=lambda step: self._lines.note(f"whisper-npu: {step}"),
                )
            )
        except KeyboardInterrupt as interrupt:
            if type(interrupt) is not KeyboardInterrupt:  # the system asks this process to end
                raise
            self._lines.note("no word error rate: skipped")


def _ignore_stage(stage: str, start: float, end: float) -> None:
    """Nobody measures stages here."""
