"""Compares whole transcriptions with faster-whisper's: same weights, same beam, same threads, VAD off.

    python scripts/compare_peers.py                 # tiny.en and base, clips of 11 s and 93 s
    python scripts/compare_peers.py --model base --audio talk.wav --repeats 9 --json peers.json
    python scripts/compare_peers.py --compute_type int8 --command --without_avx512

Every measurement is a process of its own; the programs take turns in one run. `cold` is the time from the
start of the process to the end of its first transcription, with imports and loading; `warm` is the second
transcription in the same process; `peak` is the most memory that the process held. Everything is MEASURED on
this machine, without an NPU unless --device says so. Quote the ratios, which are medians over pairs: seconds
vary with what else the machine does.

openai-whisper, transformers (both with torch) and pywhispercpp take part if they are installed, or only those
that --peers names. Each downloads its own release of the model unless --weights names another source:

    python scripts/compare_peers.py --model base --weights openai-whisper=base.pt
    python scripts/compare_peers.py --peers pywhispercpp --weights 'pywhispercpp=models/ggml-{model}.bin'

They get decoded samples and, where they have them, faster-whisper's settings. The first two compute in
float32, pywhispercpp in the type of its file, mostly float16.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter, process_time

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the package may not be installed

SAMPLES = ROOT / "samples"
CLIP_SECONDS = (11, 90)
PAUSE_SECONDS = 0.5  # between the samples that a clip is made of
OURS = "whisper-npu"
PEER = "faster-whisper"
# The other peers, and the modules that each needs.
OPTIONAL = {
    "openai-whisper": ("whisper", "torch"),
    "transformers": ("transformers", "torch"),
    "pywhispercpp": ("pywhispercpp",),
}
# Temperatures at which a window is decoded again: faster-whisper's defaults, and ours.
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BEST_OF = 5
COMPUTE_TYPES = ("float32", "int8")


@dataclass(frozen=True)
class Side:
    name: str
    compute_type: str  # "" where the peer has no such option

    def __str__(self) -> str:
        return f"{self.name} {self.compute_type}".strip()


@dataclass(frozen=True)
class Clip:
    path: Path
    seconds: float
    text: str | None  # what is said in it, if that is known


@dataclass(frozen=True)
class Measured:
    """One process. Seconds are wall time; CPU seconds are those of all threads, user and system."""

    cold: float
    cold_cpu: float
    warm: float
    warm_cpu: float
    peak_mb: float
    text: str


class SideError(Exception):
    """The reason why a side could not be measured, in one line."""


def main() -> None:
    arguments = parsed()
    if arguments.side:
        name, _, compute_type = arguments.side.partition(" ")
        measure_here(Side(name, compute_type), arguments)
        return
    present = [peer for peer in arguments.peers if all(find_spec(module) for module in OPTIONAL[peer])]
    sides = [Side(name, t) for t in arguments.compute_type for name in (OURS, PEER)]
    sides += [Side(peer, "") for peer in present]
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        clips = [Clip(path, seconds_of(path), None) for path in arguments.audio or []]
        for clip in clips or [made_of_samples(seconds, Path(folder)) for seconds in CLIP_SECONDS]:
            runs += [compared(model, clip, sides, arguments) for model in arguments.model]
    absent = [peer for peer in arguments.peers if peer not in present]
    print(f"\nnot installed: {', '.join(absent) or 'none'}")
    if arguments.json:
        from whisper_npu.benchmark.timings import machine

        settings = {
            key: getattr(arguments, key)
            for key in ("device", "kernel", "beam_size", "threads", "weights", "command", "without_avx512")
        }
        document = {"machine": machine(), "settings": settings, "not_installed": absent, "runs": runs}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="repeatable; default: tiny.en and base")
    parser.add_argument("--audio", type=Path, action="append", help="repeatable; default: made of samples/")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--beam_size", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="emulator")
    parser.add_argument("--kernel", default="auto")
    parser.add_argument(
        "--compute_type", action="append", choices=COMPUTE_TYPES, help="repeatable; default: both"
    )
    parser.add_argument(
        "--command",
        action="store_true",
        help="run whisper-npu's command, not its library: then the warm run loads the model again",
    )
    parser.add_argument(
        "--without_avx512", action="store_true", help="compute as on a CPU without AVX-512, on both sides"
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=OPTIONAL,
        default=list(OPTIONAL),
        help="besides faster-whisper, where installed; --peers alone: none; default: all",
    )
    parser.add_argument(
        "--weights",
        type=peer_and_weights,
        action="append",
        default=[],
        metavar="PEER=WEIGHTS",
        help="file, folder or name that a peer loads, {model} in it standing for the model; repeatable; "
        "default: its own release, which it may download",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=900,
        metavar="SECONDS",
        help="for one measurement, downloads included",
    )
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    for own in ("--side", "--folder", "--started"):  # for the processes that this one starts
        parser.add_argument(own, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.model = arguments.model or ["tiny.en", "base"]
    arguments.compute_type = arguments.compute_type or list(COMPUTE_TYPES)
    if arguments.compute_type == ["int8"]:
        arguments.peers = []  # they compute in float32, and are compared with that
    arguments.weights = dict(arguments.weights)
    for peer, weights in arguments.weights.items():
        if len(arguments.model) > 1 and "{model}" not in weights:
            parser.error(f"--weights {peer}={weights} is for one model: give one --model, or write {{model}}")
    return arguments


def peer_and_weights(text: str) -> tuple[str, str]:
    peer, _, weights = text.partition("=")
    if peer not in OPTIONAL or not weights:
        raise argparse.ArgumentTypeError(f"{text!r} is not PEER=WEIGHTS; peers: {', '.join(OPTIONAL)}")
    return peer, weights


# One process: one side, one clip, twice.


def measure_here(side: Side, arguments: argparse.Namespace) -> None:
    # Everything that libraries print, even from C, goes to stderr: stdout is for the result's line.
    with os.fdopen(os.dup(1), "w") as stdout:
        os.dup2(2, 1)
        try:
            result = asdict(measured_here(side, arguments))
        except Exception as error:
            from whisper_npu.errors import one_line

            traceback.print_exc()
            result = {"failed": f"{type(error).__name__}: {one_line(error)}"}
        print(json.dumps(result), file=stdout)


def measured_here(side: Side, arguments: argparse.Namespace) -> Measured:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    if side.name == OURS and arguments.without_avx512:
        hide_avx512_from_ours()
    transcribe = OPENED[side.name](side.compute_type, arguments)
    path = str(arguments.audio[0])
    text = transcribe(path)
    cold, cold_cpu = monotonic() - float(arguments.started), process_time()
    start = perf_counter()
    transcribe(path)
    warm, warm_cpu = perf_counter() - start, process_time() - cold_cpu
    return Measured(cold, cold_cpu, warm, warm_cpu, peak_mb(), text)


def peak_mb() -> float:
    """Peak memory. getrusage's maximum would begin with the parent's memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def hide_avx512_from_ours() -> None:
    """Compile and choose loops as a CPU without AVX-512 does. To be called before anything asks for them."""
    from whisper_npu.host import native

    others = tuple(flag for flag in native.cpu_flags() if not flag.startswith("avx512"))
    native.FLAGS = (*native.FLAGS, "-mno-avx512f")
    native.cpu_flags = lambda: others


def avx512_off() -> dict[str, str]:
    """The variables by which NumPy, its OpenBLAS, CTranslate2 and its oneDNN leave AVX-512 alone."""
    import numpy as np

    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return {
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in found if name.startswith(("AVX512", "X86_V4"))),
        "OPENBLAS_CORETYPE": "Haswell",
        "CT2_FORCE_CPU_ISA": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
    }


Transcribe = Callable[[str], str]


def open_ours(compute_type: str, arguments: argparse.Namespace) -> Transcribe:
    if arguments.command:
        return lambda path: said_by_command(path, compute_type, arguments)
    from whisper_npu import load_model
    from whisper_npu.transcription.options import TranscribeOptions

    options = TranscribeOptions(language="en", beam_size=arguments.beam_size)
    model = load_model(
        arguments.model[0], device=arguments.device, kernel=arguments.kernel, compute_type=compute_type
    )
    return lambda path: model.transcribe(path, options).text


def said_by_command(path: str, compute_type: str, arguments: argparse.Namespace) -> str:
    from whisper_npu.apps.cli.app import main as command

    options = {
        "model": arguments.model[0],
        "device": arguments.device,
        "kernel": arguments.kernel,
        "compute_type": compute_type,
        "beam_size": arguments.beam_size,
        "threads": arguments.threads,
        "language": "en",
    }
    sys.argv = ["whisper-npu", "transcribe", path, *(f"--{key}={value}" for key, value in options.items())]
    with redirect_stdout(StringIO()) as said:
        try:
            command()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"the command ended with code {end.code}") from end
    return said.getvalue()


def open_faster_whisper(compute_type: str, arguments: argparse.Namespace) -> Transcribe:
    from faster_whisper import WhisperModel

    model = WhisperModel(
        arguments.folder, device="cpu", compute_type=compute_type, cpu_threads=arguments.threads
    )

    def transcribe(path: str) -> str:
        segments, _ = model.transcribe(path, language="en", beam_size=arguments.beam_size)
        return "".join(segment.text for segment in segments)

    return transcribe


# These three would decode files with an ffmpeg that may be missing, so they get samples. PyTorch takes its
# number of threads from the environment.


def open_openai_whisper(_: str, arguments: argparse.Namespace) -> Transcribe:
    import whisper

    from whisper_npu.audio import load_audio

    model = whisper.load_model(weights_of("openai-whisper", arguments), device="cpu")
    options = {
        "language": "en",
        "beam_size": arguments.beam_size,
        "temperature": TEMPERATURES,
        "best_of": BEST_OF,
        "fp16": False,
    }
    return lambda path: str(model.transcribe(load_audio(path), **options)["text"])


def open_transformers(_: str, arguments: argparse.Namespace) -> Transcribe:
    from transformers import pipeline

    from whisper_npu.audio import load_audio

    name = weights_of("transformers", arguments)
    recognise = pipeline("automatic-speech-recognition", model=name, device="cpu")
    recognise.model.float()  # whatever the file's precision
    # Without these it neither falls back to other temperatures nor uses the text before.
    options = {
        "num_beams": arguments.beam_size,
        "temperature": TEMPERATURES,
        "logprob_threshold": -1.0,
        "compression_ratio_threshold": 1.35,  # of tokens, in place of the others' 2.4 of text
        "no_speech_threshold": 0.6,
        "condition_on_prev_tokens": True,
    }
    if getattr(recognise.model.generation_config, "is_multilingual", True):
        options |= {"language": "en", "task": "transcribe"}
    return lambda path: str(
        recognise(load_audio(path), return_timestamps=True, generate_kwargs=options)["text"]
    )


def open_pywhispercpp(_: str, arguments: argparse.Namespace) -> Transcribe:
    from pywhispercpp.model import Model

    from whisper_npu.audio import load_audio

    model = Model(
        weights_of("pywhispercpp", arguments),
        params_sampling_strategy=1,  # beam search
        beam_search={"beam_size": arguments.beam_size, "patience": -1.0},
        greedy={"best_of": BEST_OF},
        suppress_nst=True,  # the others' suppress_tokens
        language="en",
        n_threads=arguments.threads,
        print_progress=False,
    )
    # It strips every segment, so spaces go between them.
    return lambda path: " ".join(segment.text for segment in model.transcribe(load_audio(path)))


def weights_of(peer: str, arguments: argparse.Namespace) -> str:
    model = str(arguments.model[0])
    own = f"openai/whisper-{model}" if peer == "transformers" and "/" not in model else model
    return str(arguments.weights.get(peer, own)).replace("{model}", model)


OPENED: dict[str, Callable[[str, argparse.Namespace], Transcribe]] = {
    OURS: open_ours,
    PEER: open_faster_whisper,
    "openai-whisper": open_openai_whisper,
    "transformers": open_transformers,
    "pywhispercpp": open_pywhispercpp,
}


# The run: all programs in turns.


def compared(model: str, clip: Clip, sides: list[Side], arguments: argparse.Namespace) -> dict[str, object]:
    from whisper_npu.benchmark.timings import machine_line
    from whisper_npu.checkpoint import load_checkpoint
    from whisper_npu.markdown import as_table

    checkpoint = load_checkpoint(model)
    measured, failed = in_turns(
        sides,
        arguments.repeats,
        lambda side: measure(side, model, str(checkpoint.decoder_folder), clip, arguments),
    )
    rate = word_errors(clip, checkpoint.normalizer)
    print(
        f"\n{model}, {clip.path.name} ({clip.seconds:.1f} s), {arguments.device}, kernel {arguments.kernel}, "
        f"{'by the command, ' if arguments.command else ''}"
        f"{'without AVX-512, ' if arguments.without_avx512 else ''}"
        f"beam {arguments.beam_size}, {arguments.threads} threads; medians of {arguments.repeats}; "
        f"MEASURED on {machine_line()}\n"
    )
    rows = [cells(side, measured, rate) for side in sides if measured[side]]
    print(as_table(rows, left=("side",)), flush=True)
    for side, reason in failed.items():
        print(f"{side} failed: {reason}")
    return {
        "model": model,
        "clip": clip.path.name,
        "clip_seconds": clip.seconds,
        "sides": {str(side): [asdict(done) for done in measured[side]] for side in sides},
        "ours_over_theirs": {str(side): ratios(side, measured) for side in sides if side.name != OURS},
        "word_error_rates": {str(s): rate(done[-1].text) for s, done in measured.items() if done},
        "failed": {str(side): reason for side, reason in failed.items()},
    }


def in_turns(
    sides: list[Side], repeats: int, measure_one: Callable[[Side], Measured]
) -> tuple[dict[Side, list[Measured]], dict[Side, str]]:
    """`repeats` measurements of every side; for one that fails none, and the reason."""
    measured: dict[Side, list[Measured]] = {side: [] for side in sides}
    failed: dict[Side, str] = {}
    for repeat in range(repeats + 1):  # the first fills caches and is dropped
        for side in sides if repeat % 2 else sides[::-1]:
            if side in failed:
                continue
            try:
                done = measure_one(side)
            except SideError as error:
                failed[side] = str(error)
                measured[side].clear()
                continue
            if repeat:
                measured[side].append(done)
    return measured, failed


def measure(side: Side, model: str, folder: str, clip: Clip, arguments: argparse.Namespace) -> Measured:
    threads = str(arguments.threads)
    options = {
        "side": str(side),
        "model": model,
        "folder": folder,
        "audio": str(clip.path),
        "beam_size": str(arguments.beam_size),
        "threads": threads,
        "device": arguments.device,
        "kernel": arguments.kernel,
        "started": str(monotonic()),
    }
    command = [sys.executable, __file__, *(f"--{key}={value}" for key, value in options.items())]
    command += [f"--weights={peer}={weights}" for peer, weights in arguments.weights.items()]
    command += [f"--{flag}" for flag in ("command", "without_avx512") if getattr(arguments, flag)]
    # Threads that spin while they wait slow a busy machine; the same for all sides.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
    environment |= {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
    if arguments.without_avx512:
        environment |= avx512_off()
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=arguments.timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise SideError(f"not done after {arguments.timeout:g} s (--timeout)") from error
    if not done.stdout:
        said = done.stderr.strip().splitlines() or ["nothing on stderr"]
        raise SideError(f"ended with code {done.returncode}: {said[-1]}")
    result = json.loads(done.stdout)
    if "failed" in result:
        raise SideError(result["failed"])
    return Measured(**result)


def cells(
    side: Side, measured: dict[Side, list[Measured]], rate: Callable[[str], str | None]
) -> dict[str, str]:
    done = measured[side]
    theirs = ratios(side, measured)
    over = {key: f"{theirs[key]:.2f}" if key in theirs else "" for key in FIELDS}
    return {
        "side": str(side),
        "cold s": f"{median(m.cold for m in done):.2f}",
        "warm s": f"{median(m.warm for m in done):.2f}",
        "CPU s cold": f"{median(m.cold_cpu for m in done):.2f}",
        "CPU s warm": f"{median(m.warm_cpu for m in done):.2f}",
        "peak MB": f"{median(m.peak_mb for m in done):.0f}",
        "word errors": rate(done[-1].text) or "",
        "ours/its cold": over["cold"],
        "warm": over["warm"],
        "CPU cold": over["cold_cpu"],
        "CPU warm": over["warm_cpu"],
        "peak": over["peak_mb"],
    }


FIELDS = ("cold", "warm", "cold_cpu", "warm_cpu", "peak_mb")


def ratios(side: Side, measured: dict[Side, list[Measured]]) -> dict[str, float]:
    """Ours divided by this side's, as medians over pairs of the same turn. Ours has the same compute type."""
    ours = measured[Side(OURS, side.compute_type or "float32")]
    if side.name == OURS or not measured[side] or not ours:
        return {}
    pairs = list(zip(ours, measured[side], strict=True))
    return {key: median(getattr(a, key) / getattr(b, key) for a, b in pairs) for key in FIELDS}


# The recordings, and what is said in them.


def expected() -> dict[str, str]:
    with (SAMPLES / "expected.tsv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["text"] for row in csv.DictReader(file, delimiter="\t")}


def made_of_samples(seconds: int, folder: Path) -> Clip:
    """The samples in sequence, repeated until they last `seconds`; none is cut."""
    import numpy as np
    import soundfile

    from whisper_npu.audio import SAMPLE_RATE, load_audio

    said = expected()
    pause = np.zeros(int(PAUSE_SECONDS * SAMPLE_RATE), np.float32)
    parts: list[object] = []
    texts: list[str] = []
    length = 0
    while length < seconds * SAMPLE_RATE:
        name = list(said)[len(texts) % len(said)]
        samples = load_audio(SAMPLES / name)
        parts += [samples, pause]
        texts.append(said[name])
        length += len(samples) + len(pause)
    path = folder / f"samples-{seconds}s.wav"
    soundfile.write(path, np.concatenate(parts), SAMPLE_RATE)
    return Clip(path, length / SAMPLE_RATE, " ".join(texts))


def seconds_of(path: Path) -> float:
    from whisper_npu.audio import SAMPLE_RATE, load_audio

    return len(load_audio(path)) / SAMPLE_RATE


def word_errors(clip: Clip, spelling: Path | None) -> Callable[[str], str | None]:
    """A function that gives the word error rate of a transcript of the clip; None if its text is unknown."""
    said = clip.text or expected().get(clip.path.name)
    if said is None or not find_spec("jiwer"):
        return lambda _: None
    from whisper_npu.benchmark.wer import EnglishNormalizer, word_error_rate

    normalize = EnglishNormalizer(spelling)
    return lambda text: str(word_error_rate([said], [text], normalize))


if __name__ == "__main__":
    main()
