"""How much of the encoder's time is hidden behind the decoder's, on a stand-in for an NPU.

    python scripts/works_ahead.py                                # tiny.en, 20 minutes of speech, batches of 4
    python scripts/works_ahead.py --model base --minutes 40 --batch_size 8

No NPU is involved. The stand-in has computed every window's audio features beforehand, by the emulator; then
each op takes the MODELLED time of its dispatches, in which it sleeps and leaves the CPU and Python's GIL to
others. What the host does between dispatches (softmax, GELU, norms, packing) takes it nothing. All else is
real: Silero VAD, log-mel, faster-whisper's batches, CTranslate2's decoder. All seconds are MEASURED on this
machine, with those sleeps in them.

Where Whisper stops before a window's end, the rest becomes a window that nobody knew of beforehand.

Two encoders: as modelled, and slowed until it takes as long as the decoder, where there is most to hide.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import current_thread, main_thread
from time import perf_counter, sleep

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package may not be installed

from whisper_npu.audio import SAMPLE_RATE, load_audio  # noqa: E402
from whisper_npu.dtypes import F32  # noqa: E402
from whisper_npu.encoder import encoder_ops  # noqa: E402
from whisper_npu.host.threads import Threads  # noqa: E402
from whisper_npu.npu.cost import dispatches_seconds, overlay_change, total  # noqa: E402
from whisper_npu.npu.device import Stats, Value  # noqa: E402
from whisper_npu.npu.emulator.device import Emulator  # noqa: E402
from whisper_npu.ops import Op  # noqa: E402
from whisper_npu.transcription.load import load_model  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402
from whisper_npu.transcription.options import TranscribeOptions  # noqa: E402

PAUSE = SAMPLE_RATE  # samples of silence behind each clip


@dataclass
class Part:
    """What the stand-in plays; all views of it share one."""

    rehearsing: bool = True
    ahead: bool = False
    known: int = 0  # windows that were encoded ahead
    slower: float = 1.0  # times the MODELLED time
    seconds: dict[Op, float] = field(default_factory=dict)  # MODELLED, middle
    features: dict[bytes, F32] = field(default_factory=dict)  # of each window
    window: bytes = b""  # what tells the one that is under way from others


class StandIn(Emulator):
    """Rehearses as an emulator, then gives the same features after the MODELLED time of its dispatches."""

    def __init__(self, threads: Threads) -> None:
        super().__init__(threads=threads)
        self.part = Part()

    @property
    def name(self) -> str:
        return "stand-in"

    @property
    def description(self) -> str:
        return "stand-in for an NPU: sleeps for the MODELLED time of its dispatches"

    @property
    def leaves_cpu_free(self) -> bool:
        return self.part.ahead

    def run(self, op: Op, operands: Mapping[str, Value]) -> Stats:
        part = self.part
        given, made = operands[op.inputs[0].name], operands[op.outputs[0].name]
        if op.name == "stem":
            assert isinstance(given, np.ndarray)
            part.window = given[::29].tobytes() + given.sum(axis=0).tobytes()
            part.known += current_thread() is not main_thread()
        if part.rehearsing:
            with self.recording() as recording:
                super().run(op, operands)
            if op not in part.seconds:
                profile = self.target.profile
                modelled = total(
                    dispatches_seconds(run.plan.contract, stats.dispatches, stats.submissions, profile)
                    + overlay_change(profile) * stats.overlay_changes
                    for run in recording.runs
                    for stats in [run.stats]
                )
                part.seconds[op] = modelled.middle
            if op.name == "ln_post":
                assert isinstance(made, np.ndarray)
                part.features[part.window] = made.copy()
            return Stats()
        sleep(part.slower * part.seconds[op])
        if op.name == "ln_post":
            assert isinstance(made, np.ndarray)
            made[:] = part.features[part.window]
        return Stats()


def speech(minutes: float) -> F32:
    """The clips of samples/, again and again, with pauses between them."""
    silence = np.zeros(PAUSE, np.float32)
    clips = [
        part for path in sorted((ROOT / "samples").glob("*.wav")) for part in (load_audio(path), silence)
    ]
    return np.resize(np.concatenate(clips), round(60 * SAMPLE_RATE * minutes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--without_timestamps", action="store_true", help="every window is known beforehand")
    parser.add_argument("--threads", type=int, help="default: one per core")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    options = TranscribeOptions(
        language="en",
        batch_size=arguments.batch_size,
        temperature=(0.0,),
        without_timestamps=arguments.without_timestamps,
    )
    stand_in = StandIn(Threads(arguments.threads))
    with load_model(arguments.model, device=stand_in) as model:
        compare(model, stand_in.part, speech(arguments.minutes), options, arguments.repeats)


def compare(model: Model, part: Part, audio: F32, options: TranscribeOptions, repeats: int) -> None:
    dims = model.encoder.dims
    any_mel = np.zeros((dims.n_mels, 2 * dims.n_audio_ctx), np.float32)
    expected = model.transcribe(audio, options)  # the rehearsal
    model.encoder(any_mel)
    part.rehearsing = False
    windows = expected.took.encoder.windows
    modelled = sum(part.seconds[op] for op in encoder_ops(dims))

    def decoded(*, slower: float, ahead: bool) -> float:
        """MEASURED seconds of one transcription."""
        part.slower, part.ahead, part.known = slower, ahead, 0
        start = perf_counter()
        result = model.transcribe(audio, options)
        seconds = perf_counter() - start
        if result.segments != expected.segments:
            raise SystemExit("the segments are others than in the rehearsal")
        return seconds

    def encoded(*, slower: float) -> float:
        """MEASURED seconds of as many windows as a transcription has."""
        part.slower = slower
        start = perf_counter()
        for _ in range(windows):
            model.encoder(any_mel)
        return perf_counter() - start

    load = os.getloadavg()[0]
    once = decoded(slower=0, ahead=True)
    print(
        f"{model.checkpoint.name}, {len(audio) / SAMPLE_RATE / 60:.0f} minutes: {windows} windows, "
        f"{part.known} of them known beforehand, in batches of {options.batch_size}\n"
        f"MEASURED seconds on this CPU, medians of {repeats}, {model.device.threads.count} threads, "
        f"load {load:.1f} at the start, with a\n{model.device.description}: "
        f"{1e3 * modelled:.1f} ms a window\n"
    )
    print("| encoder | encoder alone | decoder alone | one after the other | together | of the longer |")
    print("|---|---:|---:|---:|---:|---:|")
    for slower in (1.0, once / encoded(slower=1.0)):
        rounds = []
        for _ in range(repeats):  # all four in each, for machines change
            alone = encoded(slower=slower)
            decoder = decoded(slower=0, ahead=False)
            apart = decoded(slower=slower, ahead=False)
            together = decoded(slower=slower, ahead=True)
            rounds.append((alone, decoder, apart, together, together / max(alone, decoder)))
        title = "as modelled" if slower == 1 else f"{slower:.1f} times slower"
        cells = [f"{median(column):.2f}" for column in zip(*rounds, strict=True)]
        print(f"| {' | '.join([title, *cells])} |", flush=True)


if __name__ == "__main__":
    main()
