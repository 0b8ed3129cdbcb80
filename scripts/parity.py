"""Compares both fidelities of the emulator with CTranslate2's float32 encoder and with each other, on speech.

    python scripts/parity.py                                     # tiny.en and base on the clips of samples/
    python scripts/parity.py --model base --manifest talk/manifest.tsv --kernel 64x512 --kernel layer

`exact` is what the array would give, as far as others measured how it adds (whisper_npu/host/vmac.hpp). No
NPU is involved. For each clip's first window of 30 s it compares the encoder's output with CTranslate2's: the
least cosine of a window, the 1st percentile of its 1,500 positions, mean of all clips, and the least of any
position; and with that of `fast`: the norm of the difference over the norm. Then come word errors, and how
many transcripts are those of `fast` to the letter. Seconds are MEASURED on this machine. Needs the extra wer
(jiwer).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package may not be installed

import ctranslate2  # noqa: E402
import numpy as np  # noqa: E402
from faster_whisper.audio import pad_or_trim  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from whisper_npu.audio import load_audio, log_mel  # noqa: E402
from whisper_npu.benchmark.wer import EnglishNormalizer, WordErrorRate, word_error_rate  # noqa: E402
from whisper_npu.benchmark.word_errors import OPTIONS, Reference, read_manifest  # noqa: E402
from whisper_npu.dtypes import F32  # noqa: E402
from whisper_npu.errors import WhisperNpuError, error_line  # noqa: E402
from whisper_npu.extras import require_package  # noqa: E402
from whisper_npu.markdown import as_table  # noqa: E402
from whisper_npu.npu.emulator.device import Emulator, Fidelity  # noqa: E402
from whisper_npu.transcription.load import load_model  # noqa: E402

FLOAT32 = "float32"


@dataclass(frozen=True)
class Heard:
    """What one encoder made of all clips."""

    outputs: list[F32]  # (1500, n_state) each
    texts: list[str]
    errors: WordErrorRate
    encoder_seconds: float  # MEASURED, of all windows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", action="append", help="repeatable; default: tiny.en and base")
    parser.add_argument("--kernel", action="append", help="repeatable; default: auto")
    parser.add_argument("--manifest", type=Path, default=ROOT / "samples/expected.tsv")
    arguments = parser.parse_args()
    rows: list[dict[str, str]] = []
    try:
        require_package("jiwer", "wer", "parity.py")
        references = read_manifest(arguments.manifest)
        samples = [load_audio(reference.path) for reference in references]
        for model in arguments.model or ["tiny.en", "base"]:
            for kernel in arguments.kernel or ["auto"]:
                rows += compare(model, kernel, references, samples)
    except WhisperNpuError as error:
        print(error_line(str(error)), file=sys.stderr)
        return error.exit_code
    print(as_table(rows, left=("model", "kernel", "fidelity")), end="")
    return 0


def compare(
    model: str, kernel: str, references: tuple[Reference, ...], samples: list[F32]
) -> list[dict[str, str]]:
    """The rows of one model with one kernel."""
    expected: list[F32] = []
    heard: dict[Fidelity, Heard] = {}
    for fidelity in (Fidelity.FAST, Fidelity.EXACT):
        print(f"{model}, {kernel}, {fidelity.value}", file=sys.stderr, flush=True)
        with load_model(model, device=Emulator(fidelity), kernel=kernel, compute_type=FLOAT32) as loaded:
            mels = [pad_or_trim(log_mel(clip, loaded.checkpoint.dims.n_mels)) for clip in samples]
            if not expected:
                expected = peer_outputs(loaded.checkpoint.decoder_folder, mels)
            texts = [loaded.transcribe(clip, OPTIONS).text.strip() for clip in samples]
            start = perf_counter()
            outputs = [loaded.encoder(mel) for mel in mels]
            seconds = perf_counter() - start
            normalize = EnglishNormalizer(loaded.checkpoint.normalizer)
            errors = word_error_rate([reference.text for reference in references], texts, normalize)
            heard[fidelity] = Heard(outputs, texts, errors, seconds)
    return [
        row(model, kernel, fidelity, made, expected, heard[Fidelity.FAST], len(samples))
        for fidelity, made in heard.items()
    ]


def peer_outputs(folder: Path, mels: list[F32]) -> list[F32]:
    """CTranslate2's, in float32, of the same weights."""
    whisper = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type=FLOAT32)
    views = [whisper.encode(ctranslate2.StorageView.from_array(mel[None].copy())) for mel in mels]
    return [np.array(view)[0] for view in views]


def row(
    model: str, kernel: str, fidelity: Fidelity, made: Heard, expected: list[F32], fast: Heard, clips: int
) -> dict[str, str]:
    pairs = list(zip(made.outputs, expected, strict=True))
    apart = max(
        float(np.linalg.norm(x - y) / np.linalg.norm(y))
        for x, y in zip(made.outputs, fast.outputs, strict=True)
    )
    same = sum(x == y for x, y in zip(made.texts, fast.texts, strict=True))
    return {
        "model": model,
        "kernel": kernel,
        "fidelity": fidelity.value,
        "least cosine": f"{min(float(cosine(x.ravel(), y.ravel())) for x, y in pairs):.6f}",
        "1st percentile of positions": f"{np.mean([np.quantile(cosine(x, y), 0.01) for x, y in pairs]):.4f}",
        "at the worst position": f"{min(float(cosine(x, y).min()) for x, y in pairs):.3f}",
        "apart from fast": f"{apart:.1e}",
        "word errors": str(made.errors),
        "texts as in fast": f"{same} of {clips}",
        "MEASURED s per window": f"{made.encoder_seconds / clips:.2f}",
    }


def cosine(x: F32, y: F32) -> NDArray[Any]:
    """Along the last axis."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    cosines: NDArray[Any] = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return cosines


if __name__ == "__main__":
    sys.exit(main())
