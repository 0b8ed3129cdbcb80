"""Compares whole layers by the layer kernel with whole-matrix kernels on the fast emulator.

    python scripts/layer_ratio.py                      # tiny.en and base, random weights of their sizes
    python scripts/layer_ratio.py --model small --repeats 5

Both encode the same window in this process, in turns: the ratio of the least seconds is what to quote. All is
MEASURED on this CPU; no NPU is involved.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package may not be installed

import numpy as np  # noqa: E402

from whisper_npu.benchmark.window import random_weights  # noqa: E402
from whisper_npu.encoder import prepared_encoder  # noqa: E402
from whisper_npu.host.threads import Threads  # noqa: E402
from whisper_npu.npu.emulator.device import Emulator  # noqa: E402
from whisper_npu.released import released_dimensions  # noqa: E402

KERNELS = "gemm", "layer"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", action="append", help="repeatable; default: tiny.en and base")
    parser.add_argument("--threads", type=int, help="default: one per core")
    parser.add_argument("--repeats", type=int, default=11)
    arguments = parser.parse_args()
    print(f"{'model':<10} {'kernel':<8} {'least s':>8} {'median s':>9} {'ratio of least':>15}")
    for model in arguments.model or ["tiny.en", "base"]:
        seconds = measured(model, Threads(arguments.threads), arguments.repeats)
        for kernel, taken in seconds.items():
            ratio = min(taken) / min(seconds[KERNELS[0]])
            print(
                f"{model:<10} {kernel:<8} {min(taken):>8.3f} {median(taken):>9.3f} {ratio:>15.3f}", flush=True
            )


def measured(model: str, threads: Threads, repeats: int) -> dict[str, list[float]]:
    """MEASURED seconds of windows, by kernel."""
    dims = released_dimensions(model)
    weights = random_weights(dims)
    mel = np.random.default_rng(0).standard_normal((dims.n_mels, 2 * dims.n_audio_ctx)).astype(np.float32)
    device = Emulator(threads=threads)
    encoders = {kernel: prepared_encoder(dims, weights, device, kernel) for kernel in KERNELS}
    seconds: dict[str, list[float]] = {kernel: [] for kernel in KERNELS}
    for repeat in range(repeats + 1):  # one to warm up
        for kernel, encode in encoders.items():
            start = perf_counter()
            encode(mel)
            if repeat:
                seconds[kernel].append(perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
