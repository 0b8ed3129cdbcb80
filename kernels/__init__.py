"""The kernels: designs, core functions, build, verifier."""

# This folder lies at the repository's top too, which checkouts and editable installs have on the path.
if __name__ != "whisper_npu.kernels":
    raise ImportError(f"{__name__} is whisper_npu.kernels under a second name: import that")
