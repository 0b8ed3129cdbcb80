"""The console script; `python -m whisper_npu` is `whisper-npu`."""

import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the program. Its imports may be interrupted, or fail for lack of memory, too."""
    try:
        from whisper_npu.apps.cli import main as program

        program()
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except Exception as error:
        _end(
            f"{type(error).__name__}: {' '.join(str(error).split())}; close other programs, or install anew",
            1,
        )


def _end(message: str, exit_code: int) -> None:
    """With as little as possible: there may be no memory left."""
    line = f"whisper-npu: error: {message}\n".encode("ascii", "backslashreplace")
    with suppress(OSError):  # closed
        os.write(2, line)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
