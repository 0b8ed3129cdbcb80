"""Compares subtitles and json with whisper-ctranslate2's and faster-whisper's: same audio, weights, options.

    python scripts/compare_cues.py --peers VENV                    # tiny.en, the samples
    python scripts/compare_cues.py --peers VENV --model base --audio talk.wav --markdown cues.md
    python scripts/compare_cues.py --peers VENV --openai_whisper SOURCE --write-goldens tests/goldens/peer_cues.json

VENV is the folder of a virtual environment with whisper-ctranslate2, which brings faster-whisper. SOURCE is
openai/whisper's source code; only its writers run (whisper/utils.py), so PyTorch is not needed.

Every line of the table compares the cues of srt and of vtt: texts to the letter, times in milliseconds.
"its words" renders the peer's own transcript here and there, so that only the writers differ: those cues must
be the same, or the exit code is 1. "end to end" is this project's transcript, whose words may begin and end up
to --tolerance earlier or later. Two things are evened out: a peer's cue may outlast the recording and is cut
at its end; and whisper-ctranslate2 keeps segments apart where openai/whisper fills cues from several, unless
it gets a limit of words too, so it gets one that limits nothing.
"""  # noqa: E501 - commands to copy

from __future__ import annotations

import argparse
import contextlib
import html
import importlib.util
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the package may not be installed

SAMPLES = ROOT / "samples"
JOINED = "all samples.wav"  # with pauses between them
PAUSES = (0.5, 4.0)  # seconds; cues that join segments end at the longer one
OURS = "whisper-npu"
COMMAND = "whisper-ctranslate2"
LIBRARY = "faster-whisper"
WRITERS = "openai/whisper's writers"
FORMATS = ("srt", "vtt")
NO_LIMIT = 1000  # of words in a line


@dataclass(frozen=True)
class Case:
    """Options of the peers' command lines, which are also fields of a Layout."""

    name: str
    words: bool
    layout: Mapping[str, Any]


CASES = (
    Case("plain", False, {}),
    Case("word-timed", True, {}),
    Case("width", True, {"max_line_width": 20}),
    Case("width and lines", True, {"max_line_width": 20, "max_line_count": 2}),
    Case("words", True, {"max_words_per_line": 3}),
    Case("highlighted", True, {"highlight_words": True}),
    Case(
        "highlighted, width and lines",
        True,
        {"highlight_words": True, "max_line_width": 20, "max_line_count": 2},
    ),
)


class Cue(NamedTuple):
    start: int  # milliseconds
    end: int
    text: str


def main() -> None:
    arguments = parsed()
    if arguments.side:
        print(json.dumps(faster_whisper_here(arguments)))
        return
    from whisper_npu.checkpoint import load_checkpoint
    from whisper_npu.markdown import as_table

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings = arguments.audio or [*sorted(SAMPLES.glob("*.wav")), joined_samples(folder / JOINED)]
        weights = load_checkpoint(arguments.model).decoder_folder
        peer = {case.name: run_command(case, recordings, weights, folder, arguments) for case in CASES}
        library = run_library(recordings, weights, arguments)
        wanted = [(recording, words) for recording in recordings for words in (False, True)]
        ours = transcribed(arguments.model, wanted, arguments.compute_type, arguments.language)
    openai = openai_writers(arguments.openai_whisper) if arguments.openai_whisper else None
    rows = []
    for recording in map(str, recordings):
        for case in CASES:
            rows += compared(case, recording, peer[case.name][recording], ours, openai, arguments.tolerance)
        document = our_document(ours[recording, True])
        for side, theirs in (
            (COMMAND, peer["word-timed"][recording]["document"]),
            (LIBRARY, library[recording]),
        ):
            found = different_fields(document, theirs, arguments.tolerance)
            rows.append(row(recording, "json", side, "", verdict(found)))
    table = as_table(rows, left=tuple(rows[0]))
    made_by = f"{OURS} beside {versions(arguments)}; {arguments.model}, {arguments.compute_type}"
    print(f"{made_by}\n\n{table}", end="")
    if arguments.markdown:
        arguments.markdown.write_text(f"{made_by}\n\n{table}", encoding="utf-8")
    if arguments.write_goldens:
        write_goldens(arguments.write_goldens, made_by, peer, ours, openai)
    if any("different" in row["its words"] for row in rows):
        sys.exit(1)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, metavar="VENV", help="where whisper-ctranslate2 is installed")
    parser.add_argument(
        "--openai_whisper", type=Path, metavar="SOURCE", help="folder that holds whisper/utils.py"
    )
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--compute_type", default="float32", help="of both decoders")
    parser.add_argument("--audio", type=Path, action="append", help="repeatable; default: the samples")
    parser.add_argument("--language", default="en")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--tolerance", type=float, default=0.05, metavar="SECONDS", help="end to end")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md")
    parser.add_argument("--write-goldens", type=Path, metavar="FILE.json")
    parser.add_argument("--side", help=argparse.SUPPRESS)  # the folder of weights, for the peer's process
    arguments = parser.parse_args()
    if not arguments.peers and not arguments.side:
        parser.error("--peers is missing: the virtual environment with whisper-ctranslate2")
    return arguments


# The peers


def run_command(
    case: Case, recordings: Sequence[Path], weights: Path, folder: Path, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """What whisper-ctranslate2 writes for each recording: srt, vtt, and its json as `document`."""
    out = folder / case.name
    options = {
        "model_directory": weights,
        "device": "cpu",
        "compute_type": arguments.compute_type,
        "threads": arguments.threads,
        "language": arguments.language,
        "output_format": "all",
        "output_dir": out,
        "verbose": False,
        "word_timestamps": case.words,
        **case.layout,
    }
    if "max_line_count" in case.layout:
        options["max_words_per_line"] = NO_LIMIT
    command = [arguments.peers / "bin" / COMMAND, *recordings]
    for option, value in options.items():
        command += [f"--{option}", str(value)]
    run(command)
    return {
        str(recording): {fmt: (out / f"{recording.stem}.{fmt}").read_text("utf-8") for fmt in FORMATS}
        | {"document": json.loads((out / f"{recording.stem}.json").read_text("utf-8"))}
        for recording in recordings
    }


def run_library(
    recordings: Sequence[Path], weights: Path, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """faster-whisper's results with words, as json documents."""
    command = [arguments.peers / "bin/python", __file__, f"--side={weights}"]
    command += [f"--{key}={getattr(arguments, key)}" for key in ("compute_type", "language", "threads")]
    command += [f"--audio={recording}" for recording in recordings]
    found: dict[str, dict[str, Any]] = json.loads(run(command).splitlines()[-1])
    return found


def faster_whisper_here(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from faster_whisper import WhisperModel

    model = WhisperModel(
        arguments.side,
        device="cpu",
        compute_type=arguments.compute_type,
        cpu_threads=int(arguments.threads),
    )
    documents = {}
    for recording in map(str, arguments.audio):
        found, info = model.transcribe(recording, language=arguments.language, word_timestamps=True)
        segments = [asdict(segment) for segment in found]
        text = "".join(segment["text"] for segment in segments)
        documents[recording] = {"text": text, "segments": segments, "language": info.language}
    return documents


def openai_writers(source: Path) -> Any:
    """The module whisper/utils.py, which imports nothing but Python's own library."""
    spec = importlib.util.spec_from_file_location("openai_whisper_utils", source / "whisper/utils.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def openai_writes(openai: Any, document: Mapping[str, Any], case: Case) -> dict[str, str]:
    written = {}
    for fmt, writer in (("srt", openai.WriteSRT), ("vtt", openai.WriteVTT)):
        with io.StringIO() as file:
            writer("").write_result(document, file, dict(case.layout))
            written[fmt] = file.getvalue()
    return written


def versions(arguments: argparse.Namespace) -> str:
    names = (COMMAND, LIBRARY, "ctranslate2")
    program = f"from importlib.metadata import version\nfor n in {names!r}: print(n, version(n))"
    found = run([arguments.peers / "bin/python", "-c", program]).splitlines()
    if arguments.openai_whisper:
        namespace: dict[str, str] = {}
        exec((arguments.openai_whisper / "whisper/version.py").read_text("utf-8"), namespace)
        found.append(f"openai/whisper {namespace['__version__']} (its writers)")
    return ", ".join(found)


def run(command: Sequence[object]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} ended with code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


# This project


def transcribed(
    model: str, wanted: Sequence[tuple[Path, bool]], compute_type: str, language: str
) -> dict[tuple[str, bool], Any]:
    """Transcripts of recordings, without or with words."""
    from whisper_npu import load_model
    from whisper_npu.transcription.options import TranscribeOptions

    with load_model(model, device="emulator", compute_type=compute_type) as loaded:
        return {
            (str(recording), words): loaded.transcribe(
                recording, TranscribeOptions(language=language, word_timestamps=words)
            ).transcript
            for recording, words in wanted
        }


def our_document(transcript: Any) -> dict[str, Any]:
    from whisper_npu.output import render

    document: dict[str, Any] = json.loads(render(transcript, "json"))
    return document


def our_cues(transcript: Any, fmt: str, case: Case) -> list[Cue]:
    from whisper_npu.output import Layout, render

    return read_cues(render(transcript, fmt, Layout(**case.layout)))


def as_transcript(document: Mapping[str, Any], duration: float) -> Any:
    """A peer's json document."""
    from whisper_npu.transcription.transcript import Segment, Transcript, Word

    segments = []
    for each in document["segments"]:
        words = each.get("words")
        words = None if words is None else tuple(Word(**word) for word in words)
        segments.append(Segment(**{**each, "tokens": tuple(each["tokens"]), "words": words}))
    return Transcript(tuple(segments), document["language"], 1.0, duration)


# The comparison


def read_cues(content: str) -> list[Cue]:
    """The cues of an srt or vtt file."""
    is_vtt = content.startswith("WEBVTT")
    cues = []
    for block in content.removeprefix("WEBVTT\n").strip("\n").split("\n\n"):
        if not block:
            continue
        lines = block.split("\n")
        if not is_vtt:
            lines = lines[1:]  # the number
        start, _, end = lines[0].partition(" --> ")
        text = "\n".join(lines[1:])
        cues.append(Cue(milliseconds(start), milliseconds(end), html.unescape(text) if is_vtt else text))
    return cues


def cut(cues: Sequence[Cue], duration: float) -> list[Cue]:
    """The cues, of which none outlasts a recording of so many seconds."""
    end = int(1000 * duration + 1e-6)  # 2.3 s are 2300 ms, not 2299
    return [cue._replace(end=min(cue.end, end)) for cue in cues]


def milliseconds(clock: str) -> int:
    """Of hours, which may be absent, minutes, seconds and thousandths."""
    total = 0
    *larger, thousandths = map(int, re.split("[:,.]", clock))
    for part in larger:
        total = 60 * total + part
    return 1000 * total + thousandths


def compared(
    case: Case,
    recording: str,
    peer: Mapping[str, Any],
    ours: Mapping[tuple[str, bool], Any],
    openai: Any,
    tolerance: float,
) -> Iterator[dict[str, str]]:
    mine = ours[recording, case.words]
    theirs = as_transcript(peer["document"], mine.duration)
    sides: list[tuple[str, Mapping[str, str]]] = [(COMMAND, peer)]
    if openai:
        sides.append((WRITERS, openai_writes(openai, document_of_openai(peer["document"]), case)))
    for side, files in sides:
        exact, end_to_end = [], []
        for fmt in FORMATS:
            cues = cut(read_cues(files[fmt]), mine.duration)
            exact.append(first_difference(our_cues(theirs, fmt, case), cues, 0))
            end_to_end.append(first_difference(our_cues(mine, fmt, case), cues, tolerance))
        yield row(
            recording,
            case.name,
            side,
            verdict(next(filter(None, exact), "")),
            verdict(next(filter(None, end_to_end), "")),
        )


def document_of_openai(document: Mapping[str, Any]) -> dict[str, Any]:
    """openai/whisper leaves `words` out where there are none."""
    segments = [{k: v for k, v in each.items() if v is not None} for each in document["segments"]]
    return {**document, "segments": segments}


def first_difference(ours: Sequence[Cue], theirs: Sequence[Cue], tolerance: float) -> str:
    """Empty if the texts are equal and times differ by at most so many seconds."""
    for number, (mine, its) in enumerate(zip(ours, theirs), start=1):  # noqa: B905
        apart = max(abs(mine.start - its.start), abs(mine.end - its.end))
        if mine.text != its.text or apart > 1000 * tolerance:
            return f"cue {number}: ours {mine}, its {its}".replace("\n", "\\n")
    return "" if len(ours) == len(theirs) else f"{len(ours)} cues, its {len(theirs)}"


def different_fields(ours: Any, theirs: Any, tolerance: float, where: str = "") -> str:
    """The first field of theirs that ours lacks, or whose value differs; empty if there is none.

    Numbers with a fraction may differ by the tolerance. `id` counts from 0 here and in openai/whisper.
    """
    if isinstance(theirs, Mapping):
        for key, its in theirs.items():
            if key == "id":
                continue
            if key not in ours:
                return f"{where}{key} is missing"
            if found := different_fields(ours[key], its, tolerance, f"{where}{key}."):
                return found
        return ""
    if isinstance(theirs, (list, tuple)):
        if len(ours) != len(theirs):
            return f"{where.rstrip('.')}: {len(ours)}, its {len(theirs)}"
        pairs = enumerate(zip(ours, theirs, strict=True))
        found = (different_fields(mine, its, tolerance, f"{where}{i}.") for i, (mine, its) in pairs)
        return next(filter(None, found), "")
    equal = abs(ours - theirs) <= tolerance + 1e-9 if isinstance(theirs, float) else ours == theirs
    return "" if equal else f"{where.rstrip('.')}: ours {ours!r}, its {theirs!r}"


def verdict(difference: str) -> str:
    return f"different: {difference}" if difference else "equal"


def row(recording: str, case: str, side: str, exact: str, end_to_end: str) -> dict[str, str]:
    return {
        "recording": Path(recording).name,
        "case": case,
        "beside": side,
        "its words": exact,
        "end to end": end_to_end,
    }


# The recording of all samples, and the goldens


def joined_samples(path: Path) -> Path:
    """All samples one after the other, with a short and a long pause in turn."""
    import numpy as np
    import soundfile

    from whisper_npu.audio import SAMPLE_RATE, load_audio

    parts = []
    for number, sample in enumerate(sorted(SAMPLES.glob("*.wav"))):
        pause = np.zeros(int(PAUSES[number % 2] * SAMPLE_RATE), np.float32)
        parts += [load_audio(sample), pause]
    soundfile.write(path, np.concatenate(parts), SAMPLE_RATE)
    return path


def write_goldens(
    path: Path,
    made_by: str,
    peer: Mapping[str, Mapping[str, Any]],
    ours: Mapping[tuple[str, bool], Any],
    openai: Any,
) -> None:
    recordings = {}
    for recording in peer["plain"]:
        documents = {key: peer[key][recording]["document"] for key in ("plain", "word-timed")}
        cues: dict[str, dict[str, str]] = {COMMAND: {}, WRITERS: {}}
        for case in CASES:
            cues[COMMAND][case.name] = peer[case.name][recording]["srt"]
            document = document_of_openai(documents["word-timed" if case.words else "plain"])
            if openai:
                cues[WRITERS][case.name] = openai_writes(openai, document, case)["srt"]
        recordings[Path(recording).name] = {
            "duration": ours[recording, False].duration,
            "documents": documents,
            "srt": {side: files for side, files in cues.items() if files},
        }
    golden = {"made_by": f"scripts/compare_cues.py --write-goldens: {made_by}", "recordings": recordings}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
