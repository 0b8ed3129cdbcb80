"""The emulated encoder beside CTranslate2's float32 encoder: one 30 s window, same weights, same threads.

    python scripts/encoder_ratio.py                              # base and tiny.en, small with random weights
    python scripts/encoder_ratio.py --model base --kernel auto --repeats 21

Every side is a process of its own, for threads of one pool that spin slow the other. They take turns in one
run; their ratio is what to quote, since seconds move with whatever else the machine does. CPU seconds, of all
threads, move less where other programs take cores away. All of it is MEASURED on this machine; no NPU is
involved.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, sleep

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for tests.support.checkpoints, and the package where it is not installed

from whisper_npu.host.threads import cores  # noqa: E402

SAMPLE = ROOT / "samples/sns-0870.wav"
PEER = "CTranslate2"
GEMMS = ("fastest", "blas")  # names of whisper_npu.host.gemm
PAUSE_SECONDS = 0.3  # after each turn: until no thread of it spins any more
# Random weights stand in for these where the real ones are not at hand: d_model, heads, layers, mel bands.
SIZES = {
    "small": (768, 12, 12, 80),
    "medium": (1024, 16, 24, 80),
    "large-v3": (1280, 20, 32, 128),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", action="append", help="repeatable; default: base, tiny.en and random:small"
    )
    parser.add_argument("--kernel", action="append", help="repeatable; default: auto and 64x512")
    parser.add_argument("--audio", type=Path, default=SAMPLE)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument(
        "--gemm", choices=GEMMS, default="fastest", help="blas: as on a CPU that multiplies no bf16"
    )
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--side", help=argparse.SUPPRESS)  # what a process of its own is started with
    arguments = parser.parse_args()
    kernels = arguments.kernel or ["auto", "64x512"]
    if arguments.side:
        serve(arguments.side, arguments.model[0], arguments.audio, arguments.threads, arguments.gemm)
        return
    print(
        f"one 30 s window, {arguments.threads} threads, gemm {arguments.gemm}, "
        f"medians of {arguments.repeats}; MEASURED on this CPU"
    )
    print(
        f"{'model':<14} {'side':<18} {'wall s':>8} {'CPU s':>8} "
        f"{'wall ratio':>11} {'(quartiles)':>13} {'CPU ratio':>10}"
    )
    for model in arguments.model or ["base", "tiny.en", "random:small"]:
        with checkpoint(model) as folder:
            names = [PEER, *kernels]
            sides = [Side(name, folder, arguments.audio, arguments.threads, arguments.gemm) for name in names]
            take_turns(sides, arguments.repeats)
        for side in sides:
            print(row(model, side, sides[0]), flush=True)


@contextmanager
def checkpoint(model: str) -> Iterator[str]:
    """A model's name or folder as it is; for `random:small` a folder with random weights."""
    if not model.startswith("random:"):
        yield model
        return
    from tests.support.checkpoints import tiny_config, tiny_tensors, write_checkpoint

    n_state, n_head, n_layer, n_mels = SIZES[model.removeprefix("random:")]
    config = tiny_config(
        d_model=n_state,
        num_mel_bins=n_mels,
        encoder_layers=n_layer,
        encoder_attention_heads=n_head,
        encoder_ffn_dim=4 * n_state,
    )
    tensors = tiny_tensors(config)
    for tensor in tensors.values():
        if tensor.ndim > 1:
            tensor *= tensor[0].size ** -0.5  # so that the stream keeps its size from layer to layer
    with tempfile.TemporaryDirectory() as folder:
        yield str(write_checkpoint(Path(folder) / "model", config, tensors))


@dataclass
class Side:
    """A process that encodes one window whenever it is asked to."""

    name: str
    model: str
    audio: Path
    threads: int
    gemm: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        command = [sys.executable, __file__, "--side", self.name, "--model", self.model]
        command += ["--audio", str(self.audio), "--threads", str(self.threads), "--gemm", self.gemm]
        # BLAS and OpenMP read their number of threads when they are first loaded.
        pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self.threads))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | pools
        )

    def encode(self) -> tuple[float, float]:
        assert self.process.stdin
        assert self.process.stdout
        print("window", file=self.process.stdin, flush=True)
        wall, cpu = map(float, self.process.stdout.readline().split())
        return wall, cpu

    def close(self) -> None:
        self.process.communicate()


def take_turns(sides: list[Side], repeats: int) -> None:
    for repeat in range(repeats + 2):  # two to warm up
        for side in sides:
            wall, cpu = side.encode()
            if repeat >= 2:
                side.wall.append(wall)
                side.cpu.append(cpu)
            sleep(PAUSE_SECONDS)
    for side in sides:
        side.close()


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
    """Encode a window for every line of stdin; answer with its wall and CPU seconds."""
    encode = encoder(side, model, audio, threads, gemm)
    for _ in sys.stdin:
        wall, cpu = perf_counter(), process_time()
        encode()
        print(perf_counter() - wall, process_time() - cpu, flush=True)


def encoder(side: str, model: str, audio: Path, threads: int, gemm: str) -> Callable[[], object]:
    import numpy as np

    from whisper_npu.audio import N_FRAMES, load_audio, log_mel
    from whisper_npu.checkpoint import load_checkpoint
    from whisper_npu.encoder import AudioEncoder, encoder_problems
    from whisper_npu.host import gemm as cpu_gemm
    from whisper_npu.host.threads import Threads
    from whisper_npu.npu.emulator.device import Emulator
    from whisper_npu.npu.matmul import matmul_on

    loaded = load_checkpoint(model)
    mel = log_mel(load_audio(audio), loaded.dims.n_mels)[:, :N_FRAMES]
    mel = np.pad(mel, ((0, 0), (0, N_FRAMES - mel.shape[1])))  # (n_mels, 3000)
    if side == PEER:
        import ctranslate2

        peer = ctranslate2.models.Whisper(
            str(loaded.decoder_folder), device="cpu", compute_type="float32", intra_threads=threads
        )
        view = ctranslate2.StorageView.from_array(mel[None].copy())
        return lambda: peer.encode(view)
    emulator = Emulator(threads=Threads(threads), gemm_of=getattr(cpu_gemm, gemm))
    ours = AudioEncoder(loaded.dims, loaded.encoder, matmul_on(emulator, side, encoder_problems(loaded.dims)))
    return lambda: ours(mel)


if __name__ == "__main__":
    main()
