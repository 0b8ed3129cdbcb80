"""Compares the emulated encoder with CTranslate2's float32 one: a 30 s window, same weights, same threads.

    python scripts/encoder_ratio.py                              # base and tiny.en, small with random weights
    python scripts/encoder_ratio.py --model base --kernel auto --repeats 21
    python scripts/encoder_ratio.py --model base --against ../before    # with another checkout's encoder

Every side is a process of its own, because threads that spin while they wait would slow the other. They take
turns in one run. Quote their ratio: seconds vary with what else the machine does. CPU seconds, of all
threads, vary less while other programs use the cores. Everything is MEASURED on this machine; no NPU is
involved.

With --against both sides are `python -m whisper_npu.benchmark.window emulator`, each from its own checkout:
random weights of the model's sizes, and the kernels that the checkout's planner takes.
"""

from __future__ import annotations

import argparse
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import median
from time import CLOCK_PROCESS_CPUTIME_ID, clock_gettime, perf_counter, sleep

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples/sns-0870.wav"
PEER = "CTranslate2"
WINDOW = "window"  # the encoder of benchmark/window.py, of whichever checkout
RANDOM = "random:"  # before a model's name: random weights of its sizes
GEMMS = ("fastest", "blas")  # names of whisper_npu.host.gemm
# Where a checkout asks what this CPU multiplies, the older place last.
ASKS_THE_CPU = ("whisper_npu.host.gemm", "whisper_npu.npu.cpu_gemm")
PAUSE_SECONDS = 0.3  # after each turn, so that none of its threads spins any more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", action="append", help="repeatable; default: base, tiny.en and random:small"
    )
    parser.add_argument("--kernel", action="append", help="repeatable; default: auto and 64x512")
    parser.add_argument("--audio", type=Path, help="default: samples/sns-0870.wav")
    parser.add_argument("--threads", type=int, help="default: one per core")
    parser.add_argument(
        "--gemm", choices=GEMMS, default="fastest", help="blas: as on a CPU that multiplies no bf16"
    )
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="compare with the encoder of another checkout, both with random weights",
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)  # for the processes that this one starts
    parser.add_argument("--checkout", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side == WINDOW:
        serve_window(arguments.model[0], arguments.threads, arguments.gemm, arguments.checkout)
        return
    sys.path.insert(0, str(ROOT))  # the package may not be installed
    if arguments.side:
        serve(arguments.side, arguments.model[0], arguments.audio, arguments.threads, arguments.gemm)
        return
    if arguments.against and (arguments.kernel or arguments.audio):
        parser.error("--against takes no --kernel and no --audio: each checkout plans a window of its own")
    if arguments.against and not (arguments.against / "whisper_npu/benchmark/window.py").is_file():
        parser.error(f"{arguments.against} is no checkout with whisper_npu/benchmark/window.py")
    compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    from whisper_npu.host.threads import cores

    threads = cores() if arguments.threads is None else arguments.threads
    print(
        f"one 30 s window, {threads} threads, gemm {arguments.gemm}, "
        f"medians of {arguments.repeats}; MEASURED on this CPU"
    )
    print(
        f"{'model':<14} {'side':<18} {'wall s':>8} {'CPU s':>8} "
        f"{'wall ratio':>11} {'(quartiles)':>13} {'CPU ratio':>10}"
    )
    for model in arguments.model or ["base", "tiny.en", f"{RANDOM}small"]:
        if arguments.against:
            model = RANDOM + model.removeprefix(RANDOM)  # whatever the checkpoint, its sizes
            checkouts = {"that checkout": arguments.against.resolve(), "this checkout": ROOT}
            sides = [
                Side(
                    name,
                    [*command_of(WINDOW, model, threads, arguments), "--checkout", str(checkout)],
                    threads,
                    checkout,
                )
                for name, checkout in checkouts.items()
            ]
        else:
            names = [PEER, *(arguments.kernel or ["auto", "64x512"])]
            sides = [Side(name, command_of(name, model, threads, arguments), threads, ROOT) for name in names]
        try:
            take_turns(sides, arguments.repeats)
        finally:
            for side in sides:
                side.close()
        for side in sides:
            print(row(model, side, sides[0]), flush=True)


def command_of(side: str, model: str, threads: int, arguments: argparse.Namespace) -> list[str]:
    command = [sys.executable, __file__, "--side", side, "--model", model, "--threads", str(threads)]
    return [*command, "--audio", str(arguments.audio or SAMPLE), "--gemm", arguments.gemm]


@dataclass
class Side:
    """A process that encodes one window whenever it is asked to."""

    name: str
    command: list[str]
    threads: int
    checkout: Path  # whose package it imports
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        # BLAS and OpenMP read their number of threads when they are first loaded.
        names = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
        own = dict.fromkeys(names, str(self.threads))
        path = [str(self.checkout), *filter(None, [os.environ.get("PYTHONPATH")])]
        own["PYTHONPATH"] = os.pathsep.join(path)
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | own
        )

    def encode(self) -> tuple[float, float]:
        """Wall seconds, by the process's own clock, and the CPU seconds of all its threads."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            before = self.cpu_seconds()
            print("window", file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except OSError:  # it ended before
            answer = ""
        if not answer:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}")
        return float(answer.split()[0]), self.cpu_seconds() - before

    def cpu_seconds(self) -> float:
        # How Linux numbers the clock of another process (clock_getcpuclockid).
        return clock_gettime(~self.process.pid << 3 | CLOCK_PROCESS_CPUTIME_ID)

    def close(self) -> None:
        """End the process: it reads until its stdin ends."""
        with suppress(BrokenPipeError):
            self.process.communicate()


def take_turns(sides: list[Side], repeats: int) -> None:
    for repeat in range(repeats + 2):  # two to warm up
        for side in sides:
            wall, cpu = side.encode()
            if repeat >= 2:
                side.wall.append(wall)
                side.cpu.append(cpu)
            sleep(PAUSE_SECONDS)


def row(model: str, side: Side, peer: Side) -> str:
    ratios = sorted(ours / theirs for ours, theirs in zip(side.wall, peer.wall, strict=True))
    quarter = len(ratios) // 4
    quartiles = f"{ratios[quarter]:.2f}-{ratios[-1 - quarter]:.2f}"
    cpu = median(side.cpu) / median(peer.cpu)
    return (
        f"{model:<14} {side.name:<18} {median(side.wall):>8.3f} {median(side.cpu):>8.3f} "
        f"{median(ratios):>11.2f} {quartiles:>13} {cpu:>10.2f}"
    )


def serve(side: str, model: str, audio: Path, threads: int, gemm: str) -> None:
    """Encode a window for every line of stdin; answer with its seconds."""
    encode = encoder(side, model, audio, threads, gemm)
    for _ in sys.stdin:
        start = perf_counter()
        encode()
        print(perf_counter() - start, flush=True)


def serve_window(model: str, threads: int, gemm: str, checkout: Path) -> None:
    """The same by a checkout's own benchmark/window.py."""
    package = import_module("whisper_npu")
    assert package.__file__
    if checkout not in Path(package.__file__).resolve().parents:
        raise SystemExit(f"whisper_npu is imported from {package.__file__}, not from {checkout}")
    if gemm == "blas":
        _multiplies_in_float32()
    sys.argv = ["window", "emulator", model.removeprefix(RANDOM), str(threads)]
    runpy.run_module("whisper_npu.benchmark.window", run_name="__main__")


def _multiplies_in_float32() -> None:
    """Have whichever checkout is imported find a CPU that multiplies no bf16."""
    for name in ASKS_THE_CPU:
        try:
            module = import_module(name)
        except ModuleNotFoundError:
            continue
        assert callable(module.cpu_flags)
        module.cpu_flags = lambda: ()  # type: ignore[attr-defined]
        return
    raise SystemExit(f"this checkout has none of {', '.join(ASKS_THE_CPU)}")


def encoder(side: str, model: str, audio: Path, threads: int, gemm: str) -> Callable[[], object]:
    from tempfile import TemporaryDirectory

    import numpy as np

    from whisper_npu.audio import N_FRAMES, load_audio, log_mel
    from whisper_npu.benchmark.window import random_weights, write_peer
    from whisper_npu.checkpoint import load_checkpoint
    from whisper_npu.encoder import AudioEncoder, encoder_ops
    from whisper_npu.host import gemm as host_gemm
    from whisper_npu.host.threads import Threads
    from whisper_npu.npu.emulator.device import Emulator
    from whisper_npu.released import released_dimensions

    loaded = None if model.startswith(RANDOM) else load_checkpoint(model)
    dims = loaded.dims if loaded else released_dimensions(model.removeprefix(RANDOM))
    mel = log_mel(load_audio(audio), dims.n_mels)[:, :N_FRAMES]
    mel = np.pad(mel, ((0, 0), (0, N_FRAMES - mel.shape[1])))  # (n_mels, 3000)
    if side == PEER:
        import ctranslate2

        with TemporaryDirectory() as scratch:
            if loaded is None:
                write_peer(dims, Path(scratch))
            peer = ctranslate2.models.Whisper(
                str(loaded.decoder_folder) if loaded else scratch,
                device="cpu",
                compute_type="float32",
                intra_threads=threads,
            )
        view = ctranslate2.StorageView.from_array(mel[None].copy())
        return lambda: peer.encode(view)
    emulator = Emulator(threads=Threads(threads), gemm_of=getattr(host_gemm, gemm))
    weights = loaded.encoder if loaded else random_weights(dims)
    ours = AudioEncoder(dims, weights, emulator.prepared(encoder_ops(dims), side))
    return lambda: ours(mel)


if __name__ == "__main__":
    main()
