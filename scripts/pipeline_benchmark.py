"""The whole pipeline on real audio: `python scripts/pipeline_benchmark.py AUDIO --model tiny.en`.

The same as `whisper-npu benchmark pipeline`, whose --help lists the options.
"""

import sys

from whisper_npu.apps.cli import run

if __name__ == "__main__":
    sys.exit(run(["benchmark", "pipeline", *sys.argv[1:]]))
