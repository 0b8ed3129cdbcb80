"""The console script; `python -m whisper_npu` is `whisper-npu`."""

import sys


def main() -> None:
    """Run the program. Its imports may be interrupted too."""
    try:
        from whisper_npu.apps.cli import main as program
    except KeyboardInterrupt:
        print("whisper-npu: error: interrupted", file=sys.stderr)
        sys.exit(130)
    program()


if __name__ == "__main__":
    main()
