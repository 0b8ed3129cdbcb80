"""The experiment's product by every strategy: `python scripts/quick_benchmark.py --plot projection.png`.

The same as `whisper-npu benchmark projection`, whose --help lists the options.
"""

import sys

from whisper_npu.apps.cli import run

if __name__ == "__main__":
    sys.exit(run(["benchmark", "projection", *sys.argv[1:]]))
