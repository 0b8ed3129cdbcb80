"""One run over an archive, from its list of recordings to the last line of results.jsonl."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from time import perf_counter

from whisper_npu.apps.archive.asked import AskedArchive, Wanted
from whisper_npu.apps.archive.cluster import find_cluster, require_ray
from whisper_npu.apps.archive.crew import work
from whisper_npu.apps.archive.handing import Handing
from whisper_npu.apps.archive.inputs import find_sources
from whisper_npu.apps.archive.ledger import Ledger
from whisper_npu.apps.archive.news import News
from whisper_npu.apps.archive.reading import reason
from whisper_npu.apps.archive.shared import Shared
from whisper_npu.apps.archive.sources import Source
from whisper_npu.apps.archive.stems import SETTINGS
from whisper_npu.apps.archive.storage import Storage
from whisper_npu.apps.archive.stores import is_url, local_path
from whisper_npu.apps.archive.summary import Summary
from whisper_npu.apps.archive.tasks import Done, Failed
from whisper_npu.apps.sources import STDIN
from whisper_npu.errors import AudioError, OutputError
from whisper_npu.transcription.check import check_model
from whisper_npu.transcription.compute_type import resolve_compute_type


def run_archive(what: str, asked: AskedArchive, wanted: Wanted, news: News) -> Summary:
    """Transcribe what is not done yet of `what`: a manifest, a folder, or the URL of either.

    An interrupt or an error that concerns all recordings ends the work and is in the summary; what is done is
    kept, and the same call goes on. Raises what is wrong before any work: UsageError, MissingPackageError,
    ClusterError where a cluster does not answer, OutputError.
    """
    require_ray()
    started = perf_counter()
    check_model(asked.model, asked.options)
    resolve_compute_type(asked.compute_type)
    address = find_cluster(wanted.address, news.note)
    news.say("looking for recordings")
    sources = find_sources(what, note=news.note)
    storage = Storage(asked.out)
    storage.check()
    ledger = Ledger(storage)
    opened = ledger.open(asked.settings(), sources, protected=() if what == STDIN else (what,))
    news.found(len(opened.todo), opened.n_done)
    watched = _Watched(news)
    todo = [source for source in opened.todo if source.problem is None]
    for source in opened.todo:
        if source.problem is not None:
            watched.failed(Failed(source, reason(AudioError(source.problem), source)))
    handing = Handing(todo)
    n_done, audio_seconds = 0, 0.0
    stopped: BaseException | None = None
    try:
        shared = Shared(storage.read(SETTINGS), _a_path(todo))
        with closing(work(asked, handing, wanted, address, shared, watched)) as coming:
            for one in coming if todo else ():
                n_done += 1
                audio_seconds += one.audio_seconds
                news.done(one)
                ledger.landed(one.line)
    except (KeyboardInterrupt, Exception) as error:  # whoever asked raises it again, once all is kept
        stopped = error
    try:
        ledger.close(watched.failures)
    except OutputError as error:
        stopped = stopped or error
    return Summary(
        n_before=opened.n_done,
        n_done=n_done,
        failed=tuple(watched.failures),
        n_left=handing.n_left,
        audio_seconds=audio_seconds,
        wall_seconds=perf_counter() - started,
        ran_on=watched.ran_on,
        stopped_by=stopped,
    )


def _a_path(sources: Sequence[Source]) -> str | None:
    """One of the recordings that is a file on this machine."""
    paths = (local_path(source.url) for source in sources if not is_url(source.url))
    return next(filter(os.path.isfile, paths), None)


class _Watched:
    """News that pass through, so that the summary knows them too."""

    def __init__(self, news: News) -> None:
        self._news = news
        self.failures: list[Failed] = []
        self.ran_on: dict[str, int] = {}

    def found(self, n_todo: int, n_before: int) -> None:
        self._news.found(n_todo, n_before)

    def say(self, step: str) -> None:
        self._news.say(step)

    def note(self, line: str) -> None:
        self._news.note(line)

    def part(self, audio_seconds: float) -> None:
        self._news.part(audio_seconds)

    def done(self, done: Done) -> None:
        self._news.done(done)

    def crew(self, ran_on: Mapping[str, int], n_asked: int) -> None:
        for device, count in ran_on.items():
            self.ran_on[device] = max(count, self.ran_on.get(device, 0))
        self._news.crew(ran_on, n_asked)

    def failed(self, failed: Failed) -> None:
        self.failures.append(failed)
        self._news.failed(failed)
