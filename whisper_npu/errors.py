"""The tree of user errors.

Every error that a user can cause or meet names the value, the limit it broke and the remedy, in one
line. The command line prints that line and exits with `exit_code`; nothing else does.
"""


class WhisperNpuError(Exception):
    """The root: something that the user should read as one line, not as a traceback."""

    exit_code = 1


class UsageError(WhisperNpuError):
    """The call itself is wrong: an unknown name, a value out of range."""

    exit_code = 2


class UnknownModelError(UsageError):
    """A `--model` that is neither a known name, nor a folder, nor a hub id."""


class UnknownKernelError(UsageError):
    """A `--kernel` that no contract carries."""


class AudioError(WhisperNpuError):
    """An audio file that is missing, unreadable, truncated, or holds samples that are not numbers."""


class CheckpointError(WhisperNpuError):
    """A model folder or package whose files are missing, corrupt, or of the wrong name, shape or dtype."""


class CacheError(WhisperNpuError):
    """The cache folder cannot be written."""


class OutputError(WhisperNpuError):
    """A transcript or report that cannot be written where it was asked for."""


class MissingPackageError(WhisperNpuError):
    """A package of an extra that is needed and not installed."""


class DeviceError(WhisperNpuError):
    """A device that fails while it works, or is asked for what it cannot do."""


class DeviceNotFoundError(DeviceError):
    """`--device npu` where no NPU answers."""


class KernelNotBuiltError(DeviceError):
    """A kernel that the NPU is asked to run and that no folder holds."""


class KernelManifestError(DeviceError):
    """A built kernel whose files are not what its manifest says, or whose manifest is not the contract."""


class DispatchError(DeviceError):
    """A dispatch that timed out, was aborted, failed, or gave a wrong answer where the right one is known."""


class PlanError(WhisperNpuError):
    """A problem or a plan that the kernel cannot run: sizes below 1, tiles outside an operand."""


def one_line(error: BaseException) -> str:
    """A library's error as one short line, for the inside of ours."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= 200 else text[:197] + "..."


def error_line(message: str) -> str:
    """An error as one line, whatever a file's name holds."""
    return f"whisper-npu: error: {' '.join(message.splitlines())}"
