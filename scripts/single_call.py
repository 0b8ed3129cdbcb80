"""One dispatch of each kernel, taken apart: `python scripts/single_call.py`.

The same as `whisper-npu benchmark call`, whose --help lists the options.
"""

import sys

from whisper_npu.apps.cli import run

if __name__ == "__main__":
    sys.exit(run(["benchmark", "call", *sys.argv[1:]]))
