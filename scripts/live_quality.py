"""Word errors of live speech against those of `transcribe`, and how long its final text takes.

    python scripts/live_quality.py                               # tiny.en and base on the clips of samples/
    python scripts/live_quality.py --minutes 10                  # the clips with pauses, as one recording
    python scripts/live_quality.py --minutes 10 --real_time      # as fast as it is spoken, with latencies
    python scripts/live_quality.py --minutes 30 --model tiny.en --no_transcribe    # memory

The recordings are fed to a `live.session.Session` in pieces, as fast as they are transcribed; with
--real_time as a microphone would, with partial lines. --minutes joins the manifest's clips in random order,
equally loud, with pauses of 0.3 to 3 s; noise is added to the second half, 20 dB below the speech. The
latency is that from the end of speech to the final text. Everything is MEASURED on this machine; no NPU is
involved. Needs the extra wer (jiwer), and Linux for the memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package may not be installed

import numpy as np  # noqa: E402

from whisper_npu.audio import SAMPLE_RATE, Samples, load_audio  # noqa: E402
from whisper_npu.benchmark.timings import machine_line  # noqa: E402
from whisper_npu.benchmark.wer import EnglishNormalizer, WordErrorRate, word_error_rate  # noqa: E402
from whisper_npu.benchmark.word_errors import read_manifest  # noqa: E402
from whisper_npu.errors import WhisperNpuError, error_line  # noqa: E402
from whisper_npu.extras import require_package  # noqa: E402
from whisper_npu.live.latency import Latencies  # noqa: E402
from whisper_npu.live.line import Line  # noqa: E402
from whisper_npu.live.options import LiveOptions  # noqa: E402
from whisper_npu.live.session import Session  # noqa: E402
from whisper_npu.markdown import as_table  # noqa: E402
from whisper_npu.transcription.load import load_model  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402

PIECE = SAMPLE_RATE // 10  # samples that a microphone gives at once
LEVEL = 0.06  # of the joined clips: the root of the mean square where they are not silent
NOISE = 20  # dB below that
PAUSES = 0.3, 3.0  # seconds between joined clips


@dataclass(frozen=True)
class Recording:
    name: str
    samples: Samples  # (n_samples,) float32 at 16 kHz
    text: str


@dataclass(frozen=True)
class Heard:
    """What came of one recording."""

    lines: tuple[tuple[Line, float], ...]  # final ones, with the time at which they came
    began: float
    memory_mb: tuple[float, float]  # resident after a fifth of the recording, and at the end

    @property
    def text(self) -> str:
        return " ".join(line.text for line, _ in self.lines if line.text)


Hear = Callable[[Model, Samples, LiveOptions], Heard]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", action="append", help="repeatable; default: tiny.en and base")
    parser.add_argument("--device", default="emulator")
    parser.add_argument("--manifest", type=Path, default=ROOT / "samples/expected.tsv")
    parser.add_argument("--minutes", type=float, help="join the clips to one recording of so many minutes")
    parser.add_argument("--seed", type=int, default=16, help="of order, pauses and noise")
    parser.add_argument("--pause", type=float, default=LiveOptions().pause)
    parser.add_argument("--real_time", action="store_true")
    parser.add_argument("--no_transcribe", action="store_true", help="nothing to compare with")
    parser.add_argument("--show", action="store_true", help="print the lines")
    arguments = parser.parse_args()
    rows: list[dict[str, str]] = []
    try:
        require_package("jiwer", "wer", "live_quality.py")
        recordings = [
            Recording(one.name, load_audio(one.path), one.text) for one in read_manifest(arguments.manifest)
        ]
        if arguments.minutes:
            recordings = [joined(recordings, 60 * arguments.minutes, arguments.seed)]
        # Without partial lines where nobody waits for them.
        live = LiveOptions(pause=arguments.pause, partial_every=1.0 if arguments.real_time else 0.0)
        for name in arguments.model or ["tiny.en", "base"]:
            with load_model(name, device=arguments.device) as model:
                model.transcribe(recordings[0].samples[: 5 * SAMPLE_RATE])  # warm-up
                hear = in_real_time if arguments.real_time else as_fast_as_it_can
                rows += list(compared(model, recordings, live, hear, arguments))
                device = model.ran_on.device
    except WhisperNpuError as error:
        print(error_line(str(error)), file=sys.stderr)
        return error.exit_code
    print(as_table(rows, left=("model", "recording")), end="")
    print(f"\nMEASURED, device {device}, {machine_line()}")
    return 0


def compared(
    model: Model,
    recordings: Sequence[Recording],
    live: LiveOptions,
    hear: Hear,
    arguments: argparse.Namespace,
) -> Iterator[dict[str, str]]:
    """A row for each recording."""
    normalize = EnglishNormalizer(model.checkpoint.normalizer)
    name = model.checkpoint.name
    for recording in recordings:
        print(f"{name}, {recording.name}", file=sys.stderr, flush=True)
        heard = hear(model, recording.samples, live)
        if arguments.show:
            for line, came in heard.lines:
                print(f"{line.start:8.2f} {line.end:8.2f} {came - heard.began:8.2f} {line.text}")
        texts = {"live": heard.text}
        if not arguments.no_transcribe:
            texts["transcribe"] = model.transcribe(recording.samples).text
        rates = {kind: word_error_rate([recording.text], [text], normalize) for kind, text in texts.items()}
        row = {
            "model": name,
            "recording": recording.name,
            "seconds": f"{len(recording.samples) / SAMPLE_RATE:.0f}",
            "lines": str(len(heard.lines)),
            **rate_cells(rates),
        }
        if arguments.real_time:
            latencies = Latencies.of(heard.lines, heard.began)
            row |= {
                "s to final text, median": figure(latencies.median),
                "95th percentile": figure(latencies.percentile_95),
            }
        row |= {"MB after a fifth": f"{heard.memory_mb[0]:.0f}", "MB at the end": f"{heard.memory_mb[1]:.0f}"}
        yield row


def rate_cells(rates: dict[str, WordErrorRate]) -> dict[str, str]:
    cells = {f"word errors, {kind}": str(rate) for kind, rate in rates.items()}
    if "transcribe" in rates:
        cells["points more"] = f"{100 * (rates['live'].rate - rates['transcribe'].rate):+.1f}"
    return cells


def figure(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


def as_fast_as_it_can(model: Model, samples: Samples, live: LiveOptions) -> Heard:
    """Each piece of a second is worked on before the next one is fed."""
    session, began = Session(live=live), perf_counter()
    lines: list[tuple[Line, float]] = []
    memory = 0.0
    for first in range(0, len(samples), SAMPLE_RATE):
        session.feed(samples[first : first + SAMPLE_RATE])
        lines += work_on(model, session, timeout=0)
        if not memory and first > len(samples) / 5:
            memory = resident_mb()
    session.end()
    lines += work_on(model, session, timeout=None)
    return Heard(tuple(lines), began, (memory, resident_mb()))


def in_real_time(model: Model, samples: Samples, live: LiveOptions) -> Heard:
    """A thread feeds what a microphone would have heard by then."""
    session, began = Session(live=live), perf_counter()
    lines: list[tuple[Line, float]] = []

    def speak() -> None:
        for first in range(0, len(samples), PIECE):
            piece = samples[first : first + PIECE]
            sleep(max(0.0, began + (first + len(piece)) / SAMPLE_RATE - perf_counter()))
            session.feed(piece)
        session.end()

    speaker = Thread(target=speak, daemon=True)
    speaker.start()
    memory = 0.0
    while not session.is_done:
        lines += work_on(model, session, timeout=1)
        if not memory and session.seconds_heard > len(samples) / SAMPLE_RATE / 5:
            memory = resident_mb()
    speaker.join()
    return Heard(tuple(lines), began, (memory, resident_mb()))


def work_on(model: Model, session: Session, timeout: float | None) -> Iterator[tuple[Line, float]]:
    """Whatever is to be transcribed. Gives the final lines, with the time at which they came."""
    while work := session.take(timeout):
        line = work.run(model)
        if line is not None and line.is_final:
            yield line, perf_counter()


def joined(recordings: Sequence[Recording], seconds: float, seed: int) -> Recording:
    """The clips again and again, with pauses between them."""
    random = np.random.default_rng(seed)
    parts, texts, n_samples = [np.zeros(SAMPLE_RATE // 2, np.float32)], [], 0
    order: list[int] = []
    while n_samples < seconds * SAMPLE_RATE:
        order = order or [int(i) for i in random.permutation(len(recordings))]
        clip = recordings[order.pop()]
        pause = np.zeros(round(random.uniform(*PAUSES) * SAMPLE_RATE), np.float32)
        parts += [clip.samples * np.float32(LEVEL / level(clip.samples)), pause]
        texts.append(clip.text)
        n_samples += len(clip.samples) + len(pause)
    samples = np.concatenate(parts)
    half = len(samples) // 2
    noise = random.normal(0, LEVEL * 10 ** (-NOISE / 20), len(samples) - half)
    samples[half:] += noise.astype(np.float32)
    return Recording(f"joined clips, {seconds / 60:g} min", np.clip(samples, -1, 1), " ".join(texts))


def level(samples: Samples) -> float:
    loud = samples[np.abs(samples) > 0.02 * np.abs(samples).max()]
    return float(np.sqrt(np.mean(np.square(loud, dtype=np.float64))))


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kilobytes) / 1000


if __name__ == "__main__":
    sys.exit(main())
