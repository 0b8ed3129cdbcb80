"""Word error rates over recordings with transcripts, on request also with faster-whisper's own encoder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from time import perf_counter

import faster_whisper

from whisper_npu.audio import load_audio
from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.timings import machine, machine_line, short
from whisper_npu.benchmark.wer import EnglishNormalizer, WordErrorRate, word_error_rate
from whisper_npu.checkpoint.decoder import checked_folder
from whisper_npu.dtypes import F32
from whisper_npu.errors import UsageError, shown
from whisper_npu.extras import require_package
from whisper_npu.npu.emulator.device import Fidelity
from whisper_npu.npu.open import open_device
from whisper_npu.npu.options import NpuOptions
from whisper_npu.output.cues import speech_line
from whisper_npu.page import Page, Table, page_as_markdown
from whisper_npu.transcription.compute_type import AUTO
from whisper_npu.transcription.load import load_model
from whisper_npu.transcription.loop import run_loop
from whisper_npu.transcription.model import Model
from whisper_npu.transcription.options import TranscribeOptions
from whisper_npu.transcription.took import RunOn
from whisper_npu.untrusted import read_regular

OPTIONS = TranscribeOptions(language="en")
_LONGEST = 1 << 26  # bytes of a manifest; a line has some 200


@dataclass(frozen=True)
class Reference:
    """A recording and its true text."""

    name: str  # its path as written in the manifest
    path: Path
    text: str


@dataclass(frozen=True)
class Hypothesis:
    """One transcript of one recording. Seconds are MEASURED, without reading the file."""

    text: str
    rate: WordErrorRate
    seconds: float


@dataclass(frozen=True)
class WordErrors:
    """One model, kernel and device over the whole manifest."""

    ran_on: RunOn
    normalizer: str  # in words
    references: tuple[Reference, ...]
    hypotheses: tuple[Hypothesis, ...]
    against: tuple[Hypothesis, ...] | None = None  # with faster-whisper's own encoder
    total: WordErrorRate = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", total(self.hypotheses))

    @property
    def time_ratio(self) -> float | None:
        """MEASURED seconds of all recordings, divided by faster-whisper's."""
        if self.against is None:
            return None
        return sum(h.seconds for h in self.hypotheses) / sum(h.seconds for h in self.against)


def total(hypotheses: Sequence[Hypothesis]) -> WordErrorRate:
    return sum((h.rate for h in hypotheses), WordErrorRate(0, 0))


def read_manifest(manifest: Path) -> tuple[Reference, ...]:
    """Columns `path` (relative to the manifest) and `text`; rows of a `group` that is not `real` are skipped.

    Raises UsageError for a file that cannot be read, lacks a column, or has no row left.
    """
    try:
        text = read_regular(manifest, _LONGEST).decode("utf-8-sig")
        reader = csv.DictReader(StringIO(text, newline=""), delimiter="\t")
        columns = set(reader.fieldnames or ())
        rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{manifest}: cannot be read as a manifest ({reason})") from error
    missing = {"path", "text"} - columns
    if missing:
        raise UsageError(
            f"{manifest}: has no column {' and '.join(sorted(missing))}; columns are separated by tabs"
        )
    rows = [row for row in rows if (row.get("group") or "real") == "real"]
    if not rows:
        raise UsageError(f"{manifest}: has no row of real recordings")
    if any(not (row["path"] and row["text"]) for row in rows):
        raise UsageError(f"{manifest}: has a row without path or text")
    return tuple(Reference(row["path"], manifest.parent / row["path"], row["text"]) for row in rows)


def run_word_errors(
    references: Sequence[Reference],
    *,
    models: Sequence[str],
    kernels: Sequence[str],
    devices: Sequence[str],
    fidelity: Fidelity,
    npu: NpuOptions,
    against_faster_whisper: bool,
    progress: Callable[[str], None],
) -> tuple[WordErrors, ...]:
    """Every model with every kernel on every device. Recordings are read before the first model is loaded.

    fidelity: of the emulator.

    Raises UsageError where a text has no words, AudioError, MissingPackageError, and what `load_model` does.
    """
    require_package("jiwer", "wer", "benchmark wer")
    samples = [load_audio(reference.path) for reference in references]  # each (n_samples,) float32
    done = []
    for device in devices:
        for name in models:
            for kernel in kernels:
                progress(f"word errors of {name}, kernel {kernel}, device {device}")
                with load_model(
                    name,
                    device=open_device(device, fidelity, npu),
                    kernel=kernel,
                    compute_type="float32" if against_faster_whisper else AUTO,  # the same for both decoders
                ) as model:
                    ran_on = model.ran_on
                    done.append(
                        _one(
                            model, ran_on, references, samples, against_faster_whisper=against_faster_whisper
                        )
                    )
    return tuple(done)


def _one(
    model: Model,
    ran_on: RunOn,
    references: Sequence[Reference],
    samples: Sequence[F32],
    *,
    against_faster_whisper: bool,
) -> WordErrors:
    normalize = EnglishNormalizer(model.checkpoint.normalizer)
    for reference in references:
        if not normalize(reference.text):
            raise UsageError(
                f"{reference.name}: no word is left of {reference.text!r} after normalising; leave it out"
            )

    def timed(transcribe: Callable[[F32], str], audio: F32, text: str) -> Hypothesis:
        start = perf_counter()
        hypothesis = transcribe(audio)
        seconds = perf_counter() - start
        return Hypothesis(hypothesis, word_error_rate([text], [hypothesis], normalize), seconds)

    def ours(audio: F32) -> str:
        return model.transcribe(audio, OPTIONS).text.strip()

    ours(samples[0])  # warm-up
    if not against_faster_whisper:
        hypotheses = tuple(timed(ours, audio, r.text) for r, audio in zip(references, samples, strict=True))
        return WordErrors(ran_on, normalize.description, tuple(references), hypotheses)

    peer = faster_whisper.WhisperModel(
        str(checked_folder(model.checkpoint.decoder_folder)), device="cpu", compute_type="float32"
    )

    def theirs(audio: F32) -> str:
        segments, _ = run_loop(peer, audio, OPTIONS)
        return "".join(segment.text for segment in segments).strip()

    theirs(samples[0])  # warm-up
    pairs = [  # alternately, so that both meet the same load of the machine
        (timed(ours, audio, r.text), timed(theirs, audio, r.text))
        for r, audio in zip(references, samples, strict=True)
    ]
    return WordErrors(
        ran_on,
        normalize.description,
        tuple(references),
        hypotheses=tuple(pair[0] for pair in pairs),
        against=tuple(pair[1] for pair in pairs),
    )


def write_files(done: Sequence[WordErrors], files: Files) -> None:
    rows = [line for errors in done for line in _lines(errors)]
    files.write_tables(as_markdown(done), as_document(done), rows)


def as_markdown(done: Sequence[WordErrors]) -> str:
    return page_as_markdown(page(done))


def page(done: Sequence[WordErrors]) -> Page:
    """For people: one section for each model, kernel and device."""
    blocks = [block for errors in done for block in ("\n", *_section(errors))]
    return blocks[1:]


def _section(errors: WordErrors) -> Page:
    ran_on = errors.ran_on
    rows = [
        {
            "recording": shown(reference.name),
            "errors": str(hypothesis.rate),
            "MEASURED s": short(hypothesis.seconds),
            "heard": speech_line(hypothesis.text),
        }
        for reference, hypothesis in zip(errors.references, errors.hypotheses, strict=True)
    ]
    seconds = sum(h.seconds for h in errors.hypotheses)
    rows.append(
        {"recording": "total", "errors": str(errors.total), "MEASURED s": short(seconds), "heard": ""}
    )
    for at, theirs in enumerate(errors.against or ()):
        rows[at] |= _against(theirs.rate, theirs.seconds)
    if errors.against is not None:
        rows[-1] |= _against(total(errors.against), sum(h.seconds for h in errors.against))
    rows = [{k: v for k, v in row.items() if k != "heard"} | {"heard": row["heard"]} for row in rows]
    head = (
        f"{ran_on.model}, {ran_on.kernel}: word error rate {errors.total}, MEASURED on "
        f"{ran_on.device_description}\n({machine_line()}); {errors.normalizer}.\n\n"
    )
    table = Table(rows, left=("recording", "heard"))
    if errors.against is None:
        return head, table
    end = (
        f"\nfaster-whisper's own float32 encoder: word error rate {total(errors.against)}.\n"
        f"whisper-npu took {errors.time_ratio:.2f} times its seconds, MEASURED in turns.\n"
    )
    return head, table, end


def _against(rate: WordErrorRate, seconds: float) -> dict[str, str]:
    return {"faster-whisper": str(rate), "its MEASURED s": short(seconds)}


def as_document(done: Sequence[WordErrors]) -> dict[str, object]:
    return {
        "schema": "whisper-npu/benchmark-wer",
        "schema_version": 1,
        "machine": machine(),
        "runs": [
            {
                "model": errors.ran_on.model,
                "kernel": errors.ran_on.kernel,
                "device": errors.ran_on.device_description,
                "normalizer": errors.normalizer,
                "errors": errors.total.errors,
                "words": errors.total.words,
                "word_error_rate": errors.total.rate,
                "against_word_error_rate": total(errors.against).rate if errors.against else None,
                "measured_seconds_over_against": errors.time_ratio,
                "files": _lines(errors),
            }
            for errors in done
        ],
    }


def _lines(errors: WordErrors) -> list[dict[str, object]]:
    """The CSV's lines, one per recording; faster-whisper's fields are empty if it did not run."""
    lines = []
    for at, (reference, hypothesis) in enumerate(zip(errors.references, errors.hypotheses, strict=True)):
        theirs = errors.against[at] if errors.against else None
        line: dict[str, object] = {
            "model": errors.ran_on.model,
            "kernel": errors.ran_on.kernel,
            "measured_on": errors.ran_on.device_description,
            "path": reference.name,
            "errors": hypothesis.rate.errors,
            "words": hypothesis.rate.words,
            "measured_seconds": hypothesis.seconds,
            "said": reference.text,
            "heard": speech_line(hypothesis.text),
            "faster_whisper_errors": theirs and theirs.rate.errors,
            "measured_faster_whisper_seconds": theirs and theirs.seconds,
            "faster_whisper_heard": theirs and theirs.text,
        }
        lines.append(line)
    return lines
