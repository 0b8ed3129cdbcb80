"""What checking every product by checksums costs, as a part of the encoder's own CPU time.

    python scripts/checksum_cost.py tiny base

MEASURED on this CPU, on the emulator, in CPU seconds of all threads, so that other programs count less: a
window without checks, and the checks of a window alone, for --check_results on and all. Weights are random.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from whisper_npu.encoder import AudioEncoder, encoder_ops, encoder_shapes
from whisper_npu.npu.checksum import Checked
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.released import released_dimensions


class Timed(Emulator):
    """Adds up what its checks take."""

    checks_s = 0.0

    def _check_product(self, *given: Any, **named: Any) -> None:
        start = process_time()
        super()._check_product(*given, **named)
        Timed.checks_s += process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    for model in asked.models:
        dims = released_dimensions(model)
        rng = np.random.default_rng(0)
        shapes = encoder_shapes(dims).items()
        weights = {name: (rng.standard_normal(shape) / 16).astype(np.float32) for name, shape in shapes}
        mel = rng.standard_normal((dims.n_mels, 2 * dims.n_audio_ctx)).astype(np.float32)

        def encoder(checked: Checked, weights: Any = weights, dims: Any = dims) -> AudioEncoder:
            device = Timed(checked=checked)
            return AudioEncoder(dims, weights, device.prepared(encoder_ops(dims)))

        plain = encoder(Checked.NOTHING)
        for checked in (Checked.SOME, Checked.ALL):
            with_checks, ratios = encoder(checked), []
            for _ in range(asked.repeats + 1):  # the first one makes the weights' sums
                start = process_time()
                plain(mel)
                window = process_time() - start
                Timed.checks_s = 0.0
                with_checks(mel)
                ratios.append(Timed.checks_s / window)
            print(f"{model} --check_results {checked.value}: {median(ratios[1:]):.0%} of a window's CPU time")


if __name__ == "__main__":
    main()
