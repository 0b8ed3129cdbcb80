"""Word errors of live speech against those of `transcribe`, and how long its final text takes.

    python scripts/live_quality.py                               # tiny.en and base on the clips of samples/
    python scripts/live_quality.py --minutes 10                  # the clips with pauses, as one recording
    python scripts/live_quality.py --minutes 10 --real_time      # as fast as it is spoken, with latencies
    python scripts/live_quality.py --minutes 30 --model tiny.en --no_transcribe    # memory

The recordings play the microphone as for `whisper-npu listen --from --fast`; with --real_time at their own
pace, with partial lines. --minutes joins the manifest's clips in random order,
equally loud, with pauses of 0.3 to 3 s; noise is added to the second half, 20 dB below the speech. The
latency is that from the end of speech to the final text. Everything is MEASURED on this machine; no NPU is
involved. Needs the extra wer (jiwer), and Linux for the memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package may not be installed

import numpy as np  # noqa: E402

from whisper_npu.audio import SAMPLE_RATE, Samples, load_audio, open_audio  # noqa: E402
from whisper_npu.benchmark.timings import machine_line  # noqa: E402
from whisper_npu.benchmark.wer import EnglishNormalizer, WordErrorRate, word_error_rate  # noqa: E402
from whisper_npu.benchmark.word_errors import read_manifest  # noqa: E402
from whisper_npu.errors import WhisperNpuError, error_line  # noqa: E402
from whisper_npu.extras import require_package  # noqa: E402
from whisper_npu.live.feeding import Listening  # noqa: E402
from whisper_npu.live.latency import Latencies  # noqa: E402
from whisper_npu.live.line import Line  # noqa: E402
from whisper_npu.live.options import LiveOptions  # noqa: E402
from whisper_npu.live.playing import Playing  # noqa: E402
from whisper_npu.live.session import Session  # noqa: E402
from whisper_npu.markdown import as_table  # noqa: E402
from whisper_npu.transcription.load import load_model  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402

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

    lines: tuple[Line, ...]  # final ones
    latencies: Latencies
    memory_mb: tuple[float, float]  # resident after a fifth of the recording, and at the end

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines if line.text)


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
                rows += list(compared(model, recordings, live, arguments))
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
    arguments: argparse.Namespace,
) -> Iterator[dict[str, str]]:
    """A row for each recording."""
    normalize = EnglishNormalizer(model.checkpoint.normalizer)
    name = model.checkpoint.name
    for recording in recordings:
        print(f"{name}, {recording.name}", file=sys.stderr, flush=True)
        heard = hear(model, recording.samples, live, in_real_time=arguments.real_time)
        if arguments.show:
            for line in heard.lines:
                print(f"{line.start:8.2f} {line.end:8.2f} {line.text}")
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
            row |= {
                "s to final text, median": figure(heard.latencies.median),
                "95th percentile": figure(heard.latencies.percentile_95),
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


def hear(model: Model, samples: Samples, live: LiveOptions, *, in_real_time: bool) -> Heard:
    """As `whisper-npu listen --from`, with --fast unless in real time."""
    lines: list[Line] = []
    latencies: list[float] = []
    memory = 0.0
    with open_audio(samples) as sound:
        session = Session(live=live)
        listening = Listening(Playing(sound, is_live=in_real_time), session, model)
        for line in listening.lines():
            if line.is_final:
                lines.append(line)
                if line.text:
                    latencies.append(listening.late(line))
            if not memory and line.end > sound.duration / 5:
                memory = resident_mb()
    return Heard(tuple(lines), Latencies(tuple(latencies)), (memory, resident_mb()))


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
