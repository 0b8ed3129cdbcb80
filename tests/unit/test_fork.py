"""A process that was forked cannot use the device of its parent: it hears so, and does not wait for ever."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from tests.support.scripted_decoder import ScriptedDecoder, Window, small_model
from whisper_npu import AttentionNPU, open_device
from whisper_npu.errors import DeviceError
from whisper_npu.host.threads import Threads
from whisper_npu.npu.emulator.device import Emulator

pytestmark = [
    pytest.mark.skipif(
        "fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"
    ),
    # Python 3.12 and later warn of what is tried here.
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]

REFUSED = r"opened in process \d+, and a fork of it cannot use the device: .*spawn"


def in_a_fork(call: Callable[[], object]) -> None:
    """Call it in a process that is forked; raises what it raised there, and TimeoutError if it hangs."""

    def child(answer: Connection) -> None:
        try:
            call()
        except BaseException as error:
            answer.send(error)
        else:
            answer.send(None)

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(there,))
    process.start()
    try:
        if not here.poll(60):
            raise TimeoutError("the forked process hangs")
        error = here.recv()
    finally:
        process.kill()
        process.join()
        here.close()
        there.close()
    if error is not None:
        raise error


@pytest.mark.parametrize("count", [1, 3])
def test_threads(count: int) -> None:
    threads, rows = Threads(count), np.zeros((4, 2), np.float32)
    threads.parallel_for(print, [])

    def exclusively() -> None:
        with threads.exclusively(1):
            pass

    for door in (
        lambda: threads.parallel_for(abs, range(9)),
        lambda: threads.parallel_for_rows(np.copy, rows),
        lambda: threads.parallel_for_blocks(print, 2, 10**9),
        exclusively,
    ):
        with pytest.raises(DeviceError, match=REFUSED):
            in_a_fork(door)
    in_a_fork(threads.close)
    done: list[int] = []
    threads.parallel_for(done.append, range(9))  # in the parent all is as before
    assert sorted(done) == list(range(9))
    in_a_fork(lambda: Threads(count).parallel_for(abs, range(9)))  # and a fork may have its own
    threads.close()


def test_a_layer() -> None:
    weight, x = np.eye(64, dtype=np.float32), np.ones((300, 64), np.float32)
    with open_device("emulator", threads=3) as device:
        attention = AttentionNPU(weight, weight, weight, weight, n_head=1, device=device)
        expected = attention(x)
        with pytest.raises(DeviceError, match=REFUSED):
            in_a_fork(lambda: attention(x))
        op = attention.qkv.op
        with device._lock, pytest.raises(DeviceError, match=REFUSED):  # as another thread may hold it
            in_a_fork(lambda: device.stage(op, np.ones((op.K, op.N), np.float32)))
        np.testing.assert_array_equal(attention(x), expected)


def test_a_model(tmp_path: Path) -> None:
    audio = np.zeros(16_000, np.float32)
    with small_model(tmp_path, n_audio_ctx=50) as model:
        mel = np.zeros((model.encoder.dims.n_mels, 100), np.float32)
        for call in (
            lambda: model.transcribe(audio),
            lambda: model.detect_language(audio),
            lambda: model.encoder(mel),
        ):
            with pytest.raises(DeviceError, match=REFUSED):
                in_a_fork(call)
        assert model.encoder(mel).shape == model.encoder.shape


class Beside(Emulator):
    """An emulator that is worked ahead with."""

    @property
    def leaves_cpu_free(self) -> bool:
        return True


def test_a_stream_that_works_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "faster_whisper.vad.get_speech_timestamps",
        lambda audio, options: [{"start": at, "end": at + 16_000} for at in range(0, len(audio), 16_000)],
    )
    with small_model(tmp_path, n_audio_ctx=50, device=Beside()) as model:
        decoder = ScriptedDecoder(model)
        decoder.windows = [Window([(0.0, " the", 1.0)])] * 4
        monkeypatch.setattr(model._whisper, "model", decoder)
        with model.stream(np.ones(64_000, np.float32), batch_size=1, language="en", chunk_length=1) as stream:
            next(stream)
            with pytest.raises(DeviceError, match=REFUSED):
                in_a_fork(lambda: list(stream))
            ahead = model._whisper._ahead
            assert ahead is not None
            with ahead._lock:  # as the thread may have it
                in_a_fork(stream.close)
            assert len(list(stream)) == 3
