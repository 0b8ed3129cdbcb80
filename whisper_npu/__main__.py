"""`python -m whisper_npu` is `whisper-npu`."""

from whisper_npu.cli import main

main()
