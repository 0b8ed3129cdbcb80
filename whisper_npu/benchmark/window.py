"""One window of an encoder with random weights, in a process of its own: a line in, its seconds out.

The emulator's encoder adds how many of them were inside the device: the rest is the host's own work.

    python -m whisper_npu.benchmark.window ENCODER MODEL THREADS     # ENCODER: emulator or CTranslate2

Encoders that take turns run in separate processes: threads that spin while they wait would slow the other.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_npu.checkpoint.convert import whisper_spec
from whisper_npu.checkpoint.huggingface_folder import DecoderDimensions, Tensors, encoder_names
from whisper_npu.dtypes import F32
from whisper_npu.encoder import AudioEncoder, ModelDimensions, Weights, encoder_ops, encoder_shapes
from whisper_npu.errors import WhisperNpuError
from whisper_npu.npu.device import Recording
from whisper_npu.npu.open import open_device
from whisper_npu.owned import temporary_folder
from whisper_npu.released import released_dimensions

OURS, PEER = "emulator", "CTranslate2"


@dataclass(frozen=True)
class Window:
    """MEASURED seconds of one window."""

    seconds: float
    device_seconds: float = 0.0  # of them, inside the device; none of a peer's

    @property
    def host_seconds(self) -> float:
        """Packing, softmax, GELU, norms, biases, residuals: what the host does whatever the device is."""
        return self.seconds - self.device_seconds


class EncoderProcess:
    """A process that encodes a window whenever it is asked to. A context manager, which ends it."""

    def __init__(self, name: str, model: str, threads: int) -> None:
        """name: OURS or PEER."""
        self.name = name
        command = [sys.executable, "-m", "whisper_npu.benchmark.window", name, model, str(threads)]
        # BLAS and OpenMP read their number of threads when they are first loaded.
        pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | pools
        )

    def encode(self) -> Window:
        """One window, MEASURED. Raises WhisperNpuError where the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print("window", file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise WhisperNpuError(
                f"{self.name} ended with status {self._process.wait()}; a large model may need more memory"
            )
        return Window(*map(float, answer.split()))

    def __enter__(self) -> EncoderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()


def random_array(name: str, shape: tuple[int, ...]) -> F32:
    """Normal numbers, seeded by the name; matrices are scaled to keep the magnitude of their input."""
    rng = np.random.default_rng(int.from_bytes(sha256(name.encode()).digest()[:8], "big"))
    array = rng.standard_normal(shape, np.float32)
    if len(shape) > 1:
        array *= np.float32(np.prod(shape[1:]) ** -0.5)
    return array


class _RandomTensors(Tensors):
    """A checkpoint that holds random numbers under every name."""

    def __init__(self) -> None:
        super().__init__(())

    def __contains__(self, name: str) -> bool:
        return False  # without a separate output projection

    def read(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        return random_array(name, shape)


def random_weights(dims: ModelDimensions) -> Weights:
    """An encoder's arrays, the same as those that `write_peer` writes for CTranslate2."""
    names = encoder_names(dims.n_audio_layer)
    return {name: random_array(names[name], shape) for name, shape in encoder_shapes(dims).items()}


def write_peer(dims: ModelDimensions, folder: Path) -> None:
    """Write the same encoder as a CTranslate2 folder, with the smallest decoder that CTranslate2 accepts."""
    tokens = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    n_state, n_head = dims.n_audio_state, dims.n_audio_head
    spec = whisper_spec(
        _RandomTensors(), dims, DecoderDimensions(len(tokens), 8, n_state, n_head, 1, n_state)
    )
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = spec.config.suppress_ids_begin = spec.config.alignment_heads = []
    spec.config.lang_ids = [tokens.index("<|en|>")]
    spec.validate()
    spec.save(str(folder))


def encoder(name: str, dims: ModelDimensions, threads: int) -> Callable[[F32], object]:
    """mel (n_mels, 2 * n_ctx) float32 to audio features. name: OURS or PEER."""
    if name == OURS:
        return our_encoder(dims, threads)
    import ctranslate2

    with temporary_folder() as folder:
        write_peer(dims, folder)
        model = ctranslate2.models.Whisper(
            str(folder), device="cpu", compute_type="float32", intra_threads=threads
        )
    return lambda mel: model.encode(ctranslate2.StorageView.from_array(mel[None]))


def our_encoder(dims: ModelDimensions, threads: int) -> AudioEncoder:
    device = open_device(OURS, threads=threads).prepared(encoder_ops(dims))
    return AudioEncoder(dims, random_weights(dims), device)


def main(name: str, model: str, threads: int) -> None:
    """Encode a window for every line of stdin, and print its MEASURED seconds."""
    dims = released_dimensions(model)
    mel = random_array("mel", (dims.n_mels, 2 * dims.n_audio_ctx))
    encode = encoder(name, dims, threads)
    for _ in sys.stdin:
        start = perf_counter()
        with recording_of(encode) as recording:
            encode(mel)
        seconds = perf_counter() - start
        inside = [str(sum(run.stats.kernel_measured_s for run in recording.runs))] if recording else []
        print(seconds, *inside, flush=True)


def recording_of(encode: object) -> AbstractContextManager[Recording | None]:
    """What our encoder's device executes; nothing of a peer's."""
    return encode.device.recording() if isinstance(encode, AudioEncoder) else nullcontext()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
