"""The work on one request: waiting for the device, then a transcription in a thread.

The event loop never waits for the device: reading, decoding and encoding are all done in threads, of which
one works for all requests, and another looks into the recordings that arrive meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from time import perf_counter
from traceback import clear_frames
from typing import Any, BinaryIO, Protocol, TypeVar

from whisper_npu.apps.server.asked import Asked
from whisper_npu.apps.server.metrics import Metrics
from whisper_npu.apps.server.queue import Queue
from whisper_npu.apps.server.refusals import (
    StoppingError,
    TimeLimitError,
    refusal_of,
)
from whisper_npu.apps.server.settings import ServerSettings
from whisper_npu.audio import audio_header, open_audio
from whisper_npu.audio.damage import LENGTH_SLACK, too_long
from whisper_npu.errors import AudioError, CancelledError
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.result import Transcription
from whisper_npu.transcription.stream import Stream
from whisper_npu.transcription.transcript import Segment

TICK = 0.5  # seconds after which a client hears of progress, and is looked after
PATIENCE_AT_END = 3.0  # seconds to wait for a call that cannot be interrupted, when the server ends

T = TypeVar("T")
Told = TypeVar("Told", covariant=True)


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


@dataclass(frozen=True)
class Spent:
    """What one transcription came to, whether or not it came to its end."""

    audio_seconds: float = 0.0
    seconds: float = 0.0  # MEASURED, of work
    dispatches: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.audio_seconds + other.audio_seconds,
            self.seconds + other.seconds,
            self.dispatches + other.dispatches,
        )


class InTurn(Protocol[Told]):
    """Work that has the device for one turn. `work` runs in a thread; `cancel` may be called in any other."""

    def work(self, tell: Callable[[Happening], None]) -> Told: ...

    def cancel(self) -> None: ...

    def spent(self) -> Spent: ...


class Job:
    """One transcription. `work` runs in a thread; `cancel` and `progress` may be called in any other."""

    def __init__(self, model: Model, file: BinaryIO, asked: Asked, max_seconds: float) -> None:
        self._model, self._file, self._asked, self._max_seconds = model, file, asked, max_seconds
        self._cancelled = Event()
        self._stream: Stream | None = None  # once the language is known
        self._began = perf_counter()

    def work(self, tell: Callable[[Happening], None]) -> Finished:
        """Raises AudioError, DeviceError, UsageError; CancelledError if it was cancelled."""
        self._began = perf_counter()
        try:
            return Finished(self._transcribed(tell), perf_counter() - self._began)
        except BaseException as error:
            forget_frames(error)
            raise
        finally:
            self._model.device.trim()  # there may be nothing to do for hours

    def spent(self) -> Spent:
        """To be asked when `work` has ended."""
        seconds, stream = perf_counter() - self._began, self._stream
        if stream is None:
            return Spent(seconds=seconds)
        return Spent(stream.seconds_done, seconds, stream.result().took.encoder.stats.dispatches)

    def _transcribed(self, tell: Callable[[Happening], None]) -> Transcription:
        if self._cancelled.is_set():  # before it has begun
            raise CancelledError("the request was given up")
        track, limit = self._asked.audio_track, self._max_seconds
        with (
            open_audio(self._file, audio_track=track, max_seconds=limit, cancelled=self._cancelled) as sound,
            self._model.stream(sound, self._asked.options, cancelled=self._cancelled) as stream,
        ):
            self._stream = stream
            tell(self.progress())
            for segment in stream:
                tell(segment)
            return stream.result()

    def cancel(self) -> None:
        """`work` ends soon; at once if it has not begun."""
        self._cancelled.set()

    def progress(self) -> Happening:
        stream = self._stream
        if stream is None:
            return Quiet()
        return Progress(stream.seconds_done, stream.duration, stream.language, stream.language_probability)


class Service:
    """One model, and the queue of those who want it."""

    def __init__(self, model: Model, settings: ServerSettings, metrics: Metrics) -> None:
        self.model, self.settings, self.metrics = model, settings, metrics
        self.queue = Queue(settings.max_queue, on_waited=metrics.waited)
        self._device = ThreadPoolExecutor(1, "whisper-npu server")
        self._reader = ThreadPoolExecutor(1, "whisper-npu reader")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._calls: set[Future[Any]] = set()  # that threads work on, or will
        self._stopped = asyncio.Event()
        self._closed = False

    @property
    def stopping(self) -> bool:
        return self._stopped.is_set()

    @property
    def at_work(self) -> bool:
        """Whether a thread is within a call."""
        return bool(self._calls)

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """What it returns. Once the server is told to end it is cancelled: StoppingError."""
        doing = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise StoppingError
            return doing.result()
        finally:
            stopped.cancel()
            doing.cancel()
            del doing  # an error of it would hold this frame, and the frame would hold the error

    async def read(self, look: Callable[[], T]) -> T:
        """What it returns, in the thread that looks into requests."""
        return await self.call(self._reader, look)

    def call(self, thread: ThreadPoolExecutor, call: Callable[..., T], *given: Any) -> asyncio.Future[T]:
        future = thread.submit(_called, call, *given)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return asyncio.wrap_future(future)

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

        await self.read(look)

    async def happenings(self, file: BinaryIO, asked: Asked, client: str) -> AsyncGenerator[Happening, None]:
        """What becomes of a request, Finished in the end. To be closed: that ends the work.

        Raises what `Job.work` does, QueueFullError, TimeLimitError, StoppingError.
        """
        happened: asyncio.Queue[Happening] = asyncio.Queue()
        job = Job(self.model, file, asked, self.settings.max_audio_seconds)
        too_long = asyncio.Event()  # the work; the task ends when the call comes back that it is in
        task = self.begun(self._finished(job, client, happened.put_nowait, too_long))
        ends = [asyncio.ensure_future(event.wait()) for event in (self._stopped, too_long)]
        progress: Happening = Quiet()
        try:
            while not (task.done() and happened.empty()):
                next_one = asyncio.ensure_future(happened.get())
                try:
                    waited_for = {next_one, task, *ends}
                    await asyncio.wait(waited_for, timeout=TICK, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    next_one.cancel()  # no effect on one that is there
                if self.stopping:
                    raise StoppingError  # the task may take a while to end
                if too_long.is_set():
                    raise self._time_limit()
                if next_one.done() and not next_one.cancelled():
                    happening = next_one.result()
                    if isinstance(happening, Progress):
                        progress = happening
                    yield happening
                elif not task.done():
                    before, progress = progress, job.progress()
                    yield Quiet() if progress == before else progress
            if task.cancelled():
                raise StoppingError
            yield task.result()
        finally:
            for end in ends:
                end.cancel()
            task.cancel()

    def begun(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _time_limit(self) -> TimeLimitError:
        return TimeLimitError(
            f"work on this request took more than {self.settings.request_timeout:g} s (request_timeout); "
            "send a shorter recording"
        )

    async def _finished(
        self, job: Job, client: str, tell: Callable[[Happening], None], too_long: asyncio.Event
    ) -> Finished:
        finished = await self.in_turn(job, client, tell, too_long)
        self.metrics.done(finished.done.transcript.duration, finished.seconds)
        return finished

    async def in_turn(
        self,
        job: InTurn[T],
        client: str,
        tell: Callable[[Happening], None],
        too_long: asyncio.Event,
        *,
        is_promised: bool = False,
    ) -> T:
        if self.stopping:
            raise StoppingError
        loop = asyncio.get_running_loop()
        turn = self.queue.turn(client, lambda position: tell(Waiting(position)), is_promised=is_promised)
        async with turn:

            def tell_in_loop(what: Happening) -> None:
                loop.call_soon_threadsafe(tell, what)

            work = self.call(self._device, job.work, tell_in_loop)
            try:
                await asyncio.wait({work}, timeout=self.settings.request_timeout)
                if not work.done():
                    too_long.set()
                    raise self._time_limit()
            except BaseException:
                job.cancel()
                await self._end_of(work)
                if work.done():
                    self._note_unheard(work.exception())
                raise
            finally:
                spent = job.spent()
                self.metrics.worked(spent.audio_seconds, spent.seconds, spent.dispatches)
            return work.result()

    def _note_unheard(self, error: BaseException | None) -> None:
        """A failure of work whose client has gone, or was told that it took too long, for the operator."""
        if isinstance(error, CancelledError) or error is None:
            return
        refusal = refusal_of(error)
        if refusal.status >= 500:
            self.metrics.error(refusal.kind)

    async def _end_of(self, work: asyncio.Future[Any]) -> None:
        """Waits for it, whatever happens meanwhile: as long as the thread works, the device is not free."""
        while not (work.done() or self._closed):
            with suppress(asyncio.CancelledError):
                await asyncio.wait({work})

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for the task has it too, if anybody does

    def stop(self) -> None:
        """End all work: those who wait for it get a StoppingError at once."""
        self._stopped.set()
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Wait until nothing works any more; in vain for a call that cannot be interrupted and takes long."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE_AT_END)
        self._closed = True
        for thread in (self._reader, self._device):
            thread.shutdown(wait=False, cancel_futures=True)


def _called(call: Callable[..., T], *given: Any) -> T:
    """What it returns. A SystemExit of a library would end the event loop, and the server with it."""
    try:
        return call(*given)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"{type(error).__name__} within a request") from error


def forget_frames(error: BaseException) -> None:
    """Let go of what the calls that failed had in hand: of a long recording hundreds of megabytes.

    An error, the future that carries it and the frames of those who wait for it hold one another, until
    Python's cycle collector comes by, which in an idle server may be never.
    """
    failed: BaseException | None = error
    while failed is not None:
        clear_frames(failed.__traceback__)
        failed = failed.__cause__ or failed.__context__
