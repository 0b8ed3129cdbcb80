"""One model in one process, which does one task of an archive after the other."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from whisper_npu.apps.archive.asked import AskedArchive
from whisper_npu.apps.archive.cutting import parts_of
from whisper_npu.apps.archive.joining import (
    RanOn,
    Recording,
    Took,
    Transcribed,
    joined,
    line_of,
)
from whisper_npu.apps.archive.ledger import Ledger
from whisper_npu.apps.archive.reading import open_source, reason
from whisper_npu.apps.archive.sources import Source
from whisper_npu.apps.archive.storage import Storage
from whisper_npu.apps.archive.tasks import (
    Begin,
    Cut,
    Done,
    Failed,
    Join,
    Outcome,
    Part,
    PartDone,
    Task,
    Transcribe,
)
from whisper_npu.audio import SAMPLE_RATE, Sound
from whisper_npu.errors import AudioError, DecoderError, DeviceError, MissingPackageError, OutputError
from whisper_npu.npu.device import Device
from whisper_npu.output import render
from whisper_npu.transcription.audible import Audible
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.options import WINDOW_SECONDS, TranscribeOptions
from whisper_npu.transcription.speech import parts_with_speech, voice_check
from whisper_npu.transcription.stream import nothing_heard
from whisper_npu.transcription.took import Switch


@dataclass
class _Opened:
    """The recording that was read last: parts in a row read it once."""

    source: Source
    sound: Sound
    seconds: float  # MEASURED, in which it was read, until a transcript tells of them


class Worker:
    """Loads the model once, and keeps it until it is closed. A context manager.

    Raises what `load_model` raises; UsageError for options that the model does not know.
    """

    def __init__(self, asked: AskedArchive) -> None:
        self._asked = asked
        self._ledger = Ledger(Storage(asked.out))
        self._host = platform.node()
        self._opened: _Opened | None = None
        self._model = load_model(
            asked.model,
            device=asked.device,
            kernel=asked.kernel,
            fidelity=asked.fidelity,
            kernels=asked.kernels,
            timeout=asked.timeout,
            check_results=asked.check_results,
            on_device_error=asked.on_device_error,
            on_switch=_told_by_the_line,
            threads=asked.threads,
            compute_type=asked.compute_type,
            model_dir=asked.model_dir,
            local_files_only=asked.local_files_only,
        )
        try:
            self._model.check(asked.options)
        except BaseException:
            self._model.close()
            raise

    def do(self, task: Task) -> Outcome:
        """What came of it. What is wrong with one recording is `Failed`; doing a task twice does no harm.

        Raises what concerns all recordings: OutputError where the folder cannot be written, DeviceError where
        the device is lost, MissingPackageError where a store cannot be read on this machine.
        """
        try:
            try:
                return self._done(task)
            except DeviceError:  # which opens anew for the next dispatch
                return self._done(task)
        except (OutputError, MissingPackageError):
            raise
        except DeviceError as error:
            self._check_device()
            return Failed(task.source, f"the device failed twice, in this recording alone: {error}")
        except Exception as error:
            return Failed(task.source, reason(error, task.source))

    @property
    def device(self) -> Device:
        """What the encoder runs on."""
        return self._model.device_at_work

    def close(self) -> None:
        self._let_go()
        self._model.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _done(self, task: Task) -> Outcome:
        if isinstance(task, Begin):
            return self._begin(task.source)
        return self._transcribe(task) if isinstance(task, Transcribe) else self._join(task)

    def _begin(self, source: Source) -> Cut | Done:
        if (line := self._ledger.committed(source)) is not None:  # by who was asked before, and then lost
            return Done(source, json.loads(line)["duration"], line)
        sound = self._read(source)
        if self._asked.cuts(sound.duration):
            language, probability = self._language(sound, self._options(source))
            return self._cut(source, parts_of(sound, self._asked.part_seconds), language, probability)
        done = self._heard(source, Part(0, sound.n_samples), self._options(source))
        self._let_go()
        return self._store(source, done, n_parts=1)

    def _transcribe(self, task: Transcribe) -> PartDone:
        if self._stored(task.source, task.part, task.language) is not None:
            return PartDone(task.source, task.part)
        options = self._options(task.source)
        if task.language is not None:
            options = replace(options, language=task.language)
        if task.part.start > 0:
            options = replace(options, prefix=None)  # how the recording begins
        done = self._heard(task.source, task.part, options)
        if task.language is not None:
            of = replace(done.recording, language_probability=task.language_probability)
            done = replace(done, recording=of)
        self._ledger.store_part(task.source, task.part, done.to_dict())
        return PartDone(task.source, task.part)

    def _join(self, task: Join) -> Outcome:
        stored = [self._stored(task.source, part) for part in task.parts]
        found = [part for part in stored if part is not None]
        if not found:
            return self._begin(task.source)
        if len(found) < len(stored):
            of = found[0].recording
            language = None if self._options(task.source).multilingual else of.language
            return self._cut(task.source, task.parts, language, of.language_probability)
        return self._store(task.source, joined(found), n_parts=len(found))

    def _cut(self, source: Source, parts: tuple[Part, ...], language: str | None, probability: float) -> Cut:
        todo = [part for part in parts if self._stored(source, part, language) is None]
        return Cut(source, parts, tuple(Transcribe(source, part, language, probability) for part in todo))

    def _stored(self, source: Source, part: Part, language: str | None = None) -> Transcribed | None:
        """A part that was transcribed before; None if it was not, or in another language than this one."""
        document = self._ledger.read_part(source, part)
        found = None if document is None else Transcribed.from_dict(document)
        return None if found and language not in (None, found.recording.language) else found

    def _store(self, source: Source, done: Transcribed, n_parts: int) -> Done:
        asked = self._asked
        files = {f"{source.stem}.{fmt}": render(done.transcript, fmt, asked.layout) for fmt in asked.formats}
        line = line_of(source, done, model=asked.model, n_parts=n_parts)
        stored = self._ledger.store(source, files, line)
        return Done(source, done.recording.duration, stored)

    # Reading and hearing

    def _options(self, source: Source) -> TranscribeOptions:
        """What a manifest says of one recording's language counts more than what is said of all."""
        if source.language is None:
            return self._asked.options
        return replace(self._asked.options, language=source.language, multilingual=False)

    def _language(self, sound: Sound, options: TranscribeOptions) -> tuple[str | None, float]:
        """Of the whole recording: what is spoken first. None where every window may have its own."""
        if options.multilingual:
            return None, 1.0
        if options.language is not None:
            return options.language, 1.0
        detecting = TranscribeOptions(
            language_detection_threshold=options.language_detection_threshold,
            language_detection_segments=options.language_detection_segments,
        )
        speech = next(parts_with_speech(Audible(sound), voice_check()), None)
        start = speech.start if speech else 0
        stop = start + detecting.language_detection_segments * WINDOW_SECONDS * SAMPLE_RATE
        with self._model.stream(sound.part(start, stop), detecting) as stream:
            return stream.language, stream.language_probability

    def _heard(self, source: Source, part: Part, options: TranscribeOptions) -> Transcribed:
        sound = self._read(source)
        if part.stop > sound.n_samples:
            raise AudioError("it has become shorter since it was cut into parts: start the archive again")
        is_whole = part == Part(0, sound.n_samples)
        heard = sound if is_whole else sound.part(part.start, part.stop)
        done = self._model.transcribe(heard, options)
        assert self._opened is not None
        took, self._opened.seconds = Took.of(done, self._opened.seconds), 0.0
        known = {*sound.warnings, nothing_heard(heard.level)}  # told of the recording as a whole
        return Transcribed(
            Recording(sound.duration, sound.level, sound.warnings, done.language, done.language_probability),
            tuple(segment.moved(part.start / SAMPLE_RATE) for segment in done.segments),
            took,
            (RanOn.of(done, self._host),),
            tuple(warning for warning in done.warnings if warning not in known),
        )

    def _read(self, source: Source) -> Sound:
        """The recording, which stays open until another one is read."""
        if self._opened is None or self._opened.source != source:
            self._let_go()
            start = perf_counter()
            sound = open_source(source, self._asked)
            self._opened = _Opened(source, sound, perf_counter() - start)
        return self._opened.sound

    def _let_go(self) -> None:
        if self._opened is not None:
            self._opened.sound.close()
            self._opened = None

    def _check_device(self) -> None:
        """Raises DeviceError where the device fails in silence, too: it is lost, and no recording's fault."""
        silence = np.zeros(SAMPLE_RATE, np.float32)
        asked = TranscribeOptions(language="en", temperature=(0.0,), max_new_tokens=1)
        with suppress(DecoderError):
            self._model.transcribe(silence, asked)


def _told_by_the_line(switch: Switch) -> None:
    """Nobody is warned on this machine: a recording's line names the device, and has its warnings."""
