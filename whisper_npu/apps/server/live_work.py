"""The work on what is said live: places for those who speak, and the lines of each in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

from whisper_npu.apps.server.refusals import StoppingError, TimeLimitError, TooManySessionsError
from whisper_npu.apps.server.work import Happening, Service, Spent, forget_frames
from whisper_npu.errors import CancelledError
from whisper_npu.live.line import Line
from whisper_npu.live.session import Work
from whisper_npu.transcription.model import Model

PATIENCE_FOR_GOODBYE = 1.0  # seconds in which live clients are told that the server ends

T = TypeVar("T")


class LineJob:
    """One line of somebody who speaks live. `work` runs in a thread; `cancel` may be called in any other."""

    def __init__(self, model: Model, work: Work) -> None:
        self._model, self._work = model, work
        self._spent = Spent()

    def work(self, tell: Callable[[Happening], None]) -> Line | None:
        """Raises what `Work.run` does."""
        began, line = perf_counter(), None
        with self._model.encoder.device.recording() as recording:
            try:
                line = self._work.run(self._model)
            except BaseException as error:
                forget_frames(error)
                raise
            finally:
                audio = line.end - line.start if line is not None and line.is_final else 0.0
                self._spent = Spent(audio, perf_counter() - began, recording.stats.dispatches)
                if self._work.is_final:
                    self._model.device.trim()  # there may be nothing to do for hours
        return line

    def cancel(self) -> None:
        self._work.cancel()

    def spent(self) -> Spent:
        return self._spent


class LiveWork:
    """Whoever speaks live to one model, and the thread that listens to them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._listener = ThreadPoolExecutor(1, "whisper-npu listener")
        self._sessions = 0
        self._conversations: set[asyncio.Task[Any]] = set()

    async def listen(self, call: Callable[..., T], *given: Any) -> T:
        """What it returns, in the thread that listens for those who speak live."""
        return await self.service.call(self._listener, call, *given)

    @contextmanager
    def conversation(self) -> Iterator[None]:
        """Around all that is said to a live client, so that the end of the server can be told to it."""
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        try:
            yield
        finally:
            self._conversations.discard(task)

    async def goodbye(self) -> None:
        """Once the server is told to end: wait until live clients know it, but not for long."""
        if self._conversations:
            await asyncio.wait(self._conversations, timeout=PATIENCE_FOR_GOODBYE)

    @contextmanager
    def session(self) -> Iterator[None]:
        """A place for somebody who speaks live. Raises TooManySessionsError."""
        if self._sessions >= self.service.settings.max_live:
            raise TooManySessionsError(self.service.settings.max_live)
        self._sessions += 1
        self.service.metrics.live_sessions(self._sessions)
        try:
            yield
        finally:
            self._sessions -= 1
            self.service.metrics.live_sessions(self._sessions)

    async def line(self, work: Work, client: str) -> tuple[Line | None, Spent]:
        """The line of somebody who speaks live. None: a partial one that was given up, or overtaken.

        A final one waits for its turn, in a place that it has in any case. A partial one is worked on only
        while nobody else wants the device. Raises what `Work.run` does, TimeLimitError, StoppingError.
        """
        too_long = asyncio.Event()
        job = LineJob(self.service.model, work)
        task = self.service.begun(self._line(job, client, too_long, is_final=work.is_final))
        limit = asyncio.ensure_future(too_long.wait())
        try:
            await asyncio.wait({task, limit}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                seconds = self.service.settings.request_timeout
                raise TimeLimitError(
                    f"a line took more than {seconds:g} s of work (request_timeout); "
                    "take a smaller model, or speak in shorter lines (longest)"
                )
            if task.cancelled():
                raise StoppingError
            return task.result(), job.spent()
        finally:
            limit.cancel()
            task.cancel()

    async def _line(
        self, job: LineJob, client: str, too_long: asyncio.Event, *, is_final: bool
    ) -> Line | None:
        if is_final:
            return await self.service.in_turn(job, client, _nobody_hears, too_long, is_promised=True)
        if self.service.queue.busy:
            job.cancel()
            return None
        giving_way = asyncio.create_task(self._give_way(job))
        try:
            return await self.service.in_turn(job, client, _nobody_hears, too_long)
        except CancelledError:
            return None
        finally:
            giving_way.cancel()

    async def _give_way(self, job: LineJob) -> None:
        await self.service.queue.wanted.wait()
        job.cancel()

    def close(self) -> None:
        """Listen to nobody any more."""
        self._listener.shutdown(wait=False, cancel_futures=True)


def _nobody_hears(happening: Happening) -> None:
    """For work of which nobody hears before it is done."""
