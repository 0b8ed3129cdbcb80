"""Word error rates over a manifest: `python scripts/wer.py samples/expected.tsv --model base`.

The same as `whisper-npu benchmark wer`, whose --help lists the options.
"""

import sys

from whisper_npu.apps.cli import run

if __name__ == "__main__":
    sys.exit(run(["benchmark", "wer", *sys.argv[1:]]))
