"""The kernels: designs, core functions, build, verifier."""

# This folder lies at the repository's top too, which checkouts and editable installs have on the path. Under
# that second name it has no modules. It can be imported all the same: transformers does, to see whether it is
# the package of that name which it has a use for.
if __name__ != "whisper_npu.kernels":
    __path__ = []
