"""The work on one request: waiting for the device, then a transcription in a thread.

The event loop never waits for the device: reading, decoding and encoding are all done in threads, of which
one works for all requests, and another looks into the recordings that arrive meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from time import perf_counter
from traceback import clear_frames
from typing import BinaryIO

from whisper_npu.apps.server.asked import Asked
from whisper_npu.apps.server.metrics import Metrics
from whisper_npu.apps.server.queue import Queue
from whisper_npu.apps.server.refusals import StoppingError, TimeLimitError
from whisper_npu.apps.server.settings import ServerSettings
from whisper_npu.audio import audio_header, load_audio
from whisper_npu.audio.damage import LENGTH_SLACK, too_long
from whisper_npu.errors import AudioError, CancelledError
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.stream import Stream
from whisper_npu.transcription.transcript import Segment

TICK = 0.5  # seconds after which a client hears of progress, and is looked after


@dataclass(frozen=True)
class Waiting:
    position: int  # how many turns end before this one begins; 0: it begins


@dataclass(frozen=True)
class Progress:
    seconds_done: float  # of the recording
    duration: float
    language: str  # the code
    language_probability: float


@dataclass(frozen=True)
class Quiet:
    """Nothing has happened for a while."""


@dataclass(frozen=True)
class Finished:
    done: Transcription
    seconds: float  # MEASURED, of work

    @property
    def dispatches(self) -> int:
        return self.done.took.encoder.stats.dispatches


Happening = Waiting | Progress | Segment | Quiet | Finished


class Job:
    """One transcription. `work` runs in a thread; `cancel` and `progress` may be called in any other."""

    def __init__(self, model: Model, file: BinaryIO, asked: Asked, max_seconds: float) -> None:
        self._model, self._file, self._asked, self._max_seconds = model, file, asked, max_seconds
        self._cancelled = Event()
        self._stream: Stream | None = None  # once the language is known

    def work(self, tell: Callable[[Happening], None]) -> Finished:
        """Raises AudioError, DeviceError, UsageError; CancelledError if it was cancelled."""
        try:
            return self._transcribed(tell)
        except BaseException as error:
            _forget_frames(error)
            raise
        finally:
            self._model.device.trim()  # there may be nothing to do for hours

    def _transcribed(self, tell: Callable[[Happening], None]) -> Finished:
        start = perf_counter()
        self._go_on()
        track, limit = self._asked.audio_track, self._max_seconds
        samples = load_audio(  # (n_samples,) float32
            self._file, audio_track=track, max_seconds=limit, cancelled=self._cancelled
        )
        self._go_on()
        with self._model.stream(samples, self._asked.options, cancelled=self._cancelled) as stream:
            self._stream = stream
            tell(self.progress())
            for segment in stream:
                tell(segment)
            done = stream.result()
        return Finished(done, perf_counter() - start)

    def cancel(self) -> None:
        """`work` ends soon; at once if it has not begun."""
        self._cancelled.set()

    def progress(self) -> Happening:
        stream = self._stream
        if stream is None:
            return Quiet()
        return Progress(stream.seconds_done, stream.duration, stream.language, stream.language_probability)

    def _go_on(self) -> None:
        if self._cancelled.is_set():
            raise CancelledError("the request was given up")


class Service:
    """One model, and the queue of those who want it."""

    def __init__(self, model: Model, settings: ServerSettings, metrics: Metrics) -> None:
        self.model, self.settings, self.metrics = model, settings, metrics
        self.queue = Queue(settings.max_queue, on_waited=metrics.waited)
        self._device = ThreadPoolExecutor(1, "whisper-npu server")
        self._reader = ThreadPoolExecutor(1, "whisper-npu reader")
        self._tasks: set[asyncio.Task[Finished]] = set()
        self._stopping = False

    async def check(self, file: BinaryIO, asked: Asked) -> None:
        """What can be said of a request before it waits. Raises AudioError, TooLongError, UsageError."""

        def look() -> None:
            self.model.check(asked.options)
            header = audio_header(file)
            if not header.tracks:
                raise AudioError("file is not audio, or too damaged to read; check what it is, or convert it")
            limit = self.settings.max_audio_seconds
            if (header.seconds or 0.0) > limit + LENGTH_SLACK:
                raise too_long("file", limit)

        await asyncio.get_running_loop().run_in_executor(self._reader, look)

    async def happenings(self, file: BinaryIO, asked: Asked, client: str) -> AsyncGenerator[Happening, None]:
        """What becomes of a request, Finished in the end. To be closed: that ends the work.

        Raises what `Job.work` does, QueueFullError, TimeLimitError, StoppingError.
        """
        happened: asyncio.Queue[Happening] = asyncio.Queue()
        job = Job(self.model, file, asked, self.settings.max_audio_seconds)
        task = asyncio.create_task(self._in_turn(job, client, happened.put_nowait))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        progress: Happening = Quiet()
        try:
            while not (task.done() and happened.empty()):
                next_one = asyncio.ensure_future(happened.get())
                try:
                    await asyncio.wait({next_one, task}, timeout=TICK, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    next_one.cancel()  # no effect on one that is there
                if next_one.done() and not next_one.cancelled():
                    happening = next_one.result()
                    if isinstance(happening, Progress):
                        progress = happening
                    yield happening
                elif not task.done():
                    before, progress = progress, job.progress()
                    yield Quiet() if progress == before else progress
            if task.cancelled():
                raise _stopping()
            yield task.result()
        finally:
            task.cancel()

    async def _in_turn(self, job: Job, client: str, tell: Callable[[Happening], None]) -> Finished:
        if self._stopping:
            raise _stopping()
        loop = asyncio.get_running_loop()
        async with self.queue.turn(client, lambda position: tell(Waiting(position))):

            def tell_in_loop(what: Happening) -> None:
                loop.call_soon_threadsafe(tell, what)

            work = loop.run_in_executor(self._device, job.work, tell_in_loop)
            try:
                await asyncio.wait({work}, timeout=self.settings.request_timeout)
                if not work.done():
                    raise TimeLimitError(
                        f"work on this request took more than {self.settings.request_timeout:g} s "
                        "(request_timeout); send a shorter recording"
                    )
            finally:
                job.cancel()
                await _end_of(work)
            finished = work.result()
        self.metrics.done(finished.done.transcript.duration, finished.seconds, finished.dispatches)
        return finished

    def _ended(self, task: asyncio.Task[Finished]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for the task has it too, if anybody does

    def stop(self) -> None:
        """End all work: those who wait for it get a StoppingError."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Wait until nothing works any more."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._reader.shutdown()
        self._device.shutdown()


def _forget_frames(error: BaseException) -> None:
    """Let go of what the calls that failed had in hand: of a long recording hundreds of megabytes.

    An error, the future that carries it and the frames of those who wait for it hold one another, until
    Python's cycle collector comes by, which in an idle server may be never.
    """
    failed: BaseException | None = error
    while failed is not None:
        clear_frames(failed.__traceback__)
        failed = failed.__cause__ or failed.__context__


def _stopping() -> StoppingError:
    return StoppingError("the server is being stopped; ask again when it is back")


async def _end_of(work: asyncio.Future[Finished]) -> None:
    """Waits for it, whatever happens meanwhile: as long as the thread works, the device is not free."""
    cancelled = False
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            cancelled = True
    work.exception()  # it is told by whoever asks for the result, or by nobody
    if cancelled:
        raise asyncio.CancelledError
