"""Options of other Whisper programs that this one does not have, and why."""

from __future__ import annotations

_SPEAKERS = (
    "speakers are not told apart here; pyannote.audio can, and its turns can be matched to the words of "
    "--word_timestamps True -f json"
)
_LIVE = "whisper-npu listen does that, and its --microphone names the device"

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

# Their defaults, with which nothing is asked for: scripts that write out every option go on.
HARMLESS: dict[str, tuple[str, ...]] = {
    "--device_index": ("0",),
    "--hf_token": ("",),
    "--speaker_name": ("SPEAKER",),
    "--speaker_num": ("2",),
    "--live_transcribe": ("False", "false"),
    "--live_volume_threshold": ("0.2",),
    "--live_input_device": ("None",),
    "--live_input_device_sample_rate": ("16000",),
}

# Of whisper.cpp, most of which would mean something else here: -osrt, for example, --output_dir srt.
WHISPER_CPP: dict[str, str] = {
    "-m": "write --model and a name, such as base.en: ggml files are not read",
    "-otxt": "write -f txt",
    "-osrt": "write -f srt",
    "-ovtt": "write -f vtt",
    "-olrc": "write -f lrc",
    "-oj": "write -f json",
    "-ojf": "write -f json --word_timestamps",
    "-ocsv": "csv is not written here; write -f tsv",
    "-of": "files are named as their recordings; write -o and their folder",
    "-tr": "write --task translate",
    "-t": "write --threads",
    "-bs": "write --beam_size",
    "-bo": "write --best_of",
    "-ml": "write --max_line_width and --max_line_count 1",
    "-sow": "lines are always split on words; write --max_line_width",
    "-pc": "write --print_colors",
    "-np": "write --quiet",
    "--vad": "write --vad_filter",
    "--prompt": "write --initial_prompt",
    "-nt": "times are printed with --timestamps only; leave it out",
}
