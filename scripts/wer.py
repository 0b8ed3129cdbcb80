"""Word error rate over a manifest of recordings: `python scripts/wer.py samples/expected.tsv --model base`.

The manifest is a TSV with columns `path` (beside the manifest) and `text`; rows of which a column `group`
says anything but `real` are left out.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from whisper_npu import load_model
from whisper_npu.transcription import TranscribeOptions
from whisper_npu.wer import EnglishNormalizer, WordErrorRate, word_error_rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--kernel", nargs="+", default=["64x512", "64x64"])
    arguments = parser.parse_args()
    with arguments.manifest.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row.get("group", "real") == "real"]
    for kernel in arguments.kernel:
        with load_model(arguments.model, device=arguments.device, kernel=kernel) as model:
            normalize = EnglishNormalizer(model.checkpoint.normalizer)
            print(f"\n{arguments.model}, {model.encoder.matmul.contract.name} on {model.device.description}")
            print(normalize.description)
            total = WordErrorRate(0, 0)
            for row in rows:
                heard = model.transcribe(
                    arguments.manifest.parent / row["path"], TranscribeOptions(language="en")
                )
                rate = word_error_rate([row["text"]], [heard.text], normalize)
                total += rate
                print(f"  {row['path']:<20} {rate}   {heard.text.strip()}")
            print(f"  {'total':<20} {total}")


if __name__ == "__main__":
    main()
