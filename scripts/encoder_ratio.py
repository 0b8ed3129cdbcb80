"""The emulated encoder beside CTranslate2's float32 encoder: one 30 s window, same weights, same threads.

    python scripts/encoder_ratio.py --model base --kernel 64x512

Wall time is MEASURED on this machine, the two sides alternating in one run; their ratio is what to quote,
for the seconds move with whatever else the machine does. No NPU is involved.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from statistics import median
from time import perf_counter

import ctranslate2
import numpy as np

from whisper_npu import load_model
from whisper_npu.audio import N_FRAMES, load_audio, log_mel

SAMPLE = Path(__file__).parents[1] / "samples/sns-0870.wav"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="base")
    parser.add_argument("--kernel", default="64x512")
    parser.add_argument("--audio", type=Path, default=SAMPLE)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()

    # BLAS reads its number of threads when numpy is first imported, so it is checked and not set here.
    blas_threads = int(os.environ.get("OPENBLAS_NUM_THREADS", os.cpu_count() or 1))
    if blas_threads != arguments.threads:
        parser.error(f"BLAS has {blas_threads} threads: set OPENBLAS_NUM_THREADS={arguments.threads}")

    model = load_model(arguments.model, device="emulator", kernel=arguments.kernel)
    folder = str(model.checkpoint.decoder_folder)
    peer = ctranslate2.models.Whisper(
        folder, device="cpu", compute_type="float32", intra_threads=arguments.threads
    )
    mel = log_mel(load_audio(arguments.audio), model.checkpoint.dims.n_mels)[:, :N_FRAMES]
    mel = np.pad(mel, ((0, 0), (0, N_FRAMES - mel.shape[1])))  # (n_mels, 3000)
    view = ctranslate2.StorageView.from_array(mel[None].copy())

    seconds: dict[str, list[float]] = {"emulator": [], "CTranslate2": []}
    for repeat in range(arguments.repeats + 2):  # two to warm up
        start = perf_counter()
        peer.encode(view)
        between = perf_counter()
        model.encoder(mel)
        end = perf_counter()
        if repeat >= 2:
            seconds["CTranslate2"].append(between - start)
            seconds["emulator"].append(end - between)

    print(
        f"{arguments.model}, one 30 s window, {arguments.threads} threads, {arguments.repeats} repeats; "
        "MEASURED on this CPU"
    )
    for name, values in seconds.items():
        print(f"  {name:<12} median {median(values):.3f} s   {min(values):.3f} to {max(values):.3f} s")
    ratios = [ours / theirs for ours, theirs in zip(seconds["emulator"], seconds["CTranslate2"], strict=True)]
    kernel = model.encoder.matmul.choice.name
    print(f"  emulator with {kernel} takes {median(ratios):.2f} times CTranslate2's float32 encoder")


if __name__ == "__main__":
    main()
