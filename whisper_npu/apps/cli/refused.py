"""Options of other Whisper programs that this one does not have, and why."""

from __future__ import annotations

_SPEAKERS = (
    "speakers are not told apart here; pyannote.audio can do that, and its turns be matched to the words of "
    "--word_timestamps True -f json"
)
_LIVE = "a microphone is not listened to here; record first, then transcribe the file"

# Of openai/whisper and whisper-ctranslate2.
REFUSED: dict[str, str] = {
    "--device_index": "there is one NPU, and no GPU is used; leave it out",
    "--hf_token": f"{_SPEAKERS}; for a private model on the hub set HF_TOKEN",
    "--speaker_name": _SPEAKERS,
    "--speaker_num": _SPEAKERS,
    "--live_transcribe": _LIVE,
    "--live_volume_threshold": _LIVE,
    "--live_input_device": _LIVE,
    "--live_input_device_sample_rate": _LIVE,
}

# Of whisper.cpp; -osrt would mean --output_dir srt here.
WHISPER_CPP: dict[str, str] = {
    **{f"-o{name}": f"write -f {name}" for name in ("txt", "srt", "vtt", "lrc")},
    "-oj": "write -f json",
    "-ojf": "write -f json --word_timestamps",
    "-ocsv": "write -f tsv; csv is not written here",
    "-tr": "write --task translate",
}
