"""`python -m whisper_npu` is `whisper-npu`."""

from whisper_npu.apps.cli import main

main()
