"""What checking products by checksums costs, as a part of the encoder's own CPU time.

    python scripts/checksum_cost.py tiny base

MEASURED on this CPU, on the emulator, in CPU seconds of all threads, so that other programs count less:
windows without checks, and by turns with them, of which the checks alone count. There are as many windows as
--check_results one takes to come to every product, twice: in the first round the sums of each weight are
made, in the second they are there. Weights are random.
"""

from __future__ import annotations

import argparse
from time import process_time
from typing import Any

import numpy as np

from whisper_npu.encoder import AudioEncoder, encoder_ops, encoder_shapes
from whisper_npu.npu.checksum import PERIOD, Checked
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

        def part_of_a_window(with_checks: AudioEncoder, windows: int, plain: Any, mel: Any = mel) -> float:
            Timed.checks_s = plain_s = 0.0
            for _ in range(windows):
                start = process_time()
                plain(mel)
                plain_s += process_time() - start
                with_checks(mel)
            return Timed.checks_s / plain_s

        plain = encoder(Checked.NOTHING)
        plain(mel)
        for checked, windows in ((Checked.ONE, PERIOD), (Checked.ALL, 4)):
            with_checks = encoder(checked)
            first, later = (part_of_a_window(with_checks, windows, plain) for _ in range(2))
            print(
                f"{model} --check_results {checked.value}: {later:.1%} of the windows' CPU time; "
                f"{first:.1%} in the first {windows} windows"
            )


if __name__ == "__main__":
    main()
