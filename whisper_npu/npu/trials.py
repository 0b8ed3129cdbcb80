"""Which built kernels an NPU has run already, remembered beyond a reboot.

A design that hangs the NPU's firmware may take the machine with it. So before the first dispatch of a kernel
that never ran here its name goes to disk: one file per kernel, locked while the trial runs. What is found
running and unlocked did not come back.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from whisper_npu.errors import NoAnswerError, TrialLostError
from whisper_npu.home import cache_folder
from whisper_npu.owned import clear_left_behind, owned_file
from whisper_npu.untrusted import read_object

FOLDER = "npu-trials"  # of the cache
RUNNING, PASSED = "running", "passed"
RETRY = "whisper-npu doctor --retry"


@dataclass(frozen=True)
class Trial:
    """The first run of a kernel on this machine."""

    kernel: str
    state: str
    started: str  # local time
    boot: str  # the kernel's boot_id

    def __str__(self) -> str:
        return f"{self.kernel} ({self.started})"


def user_folder() -> Path:
    return cache_folder(None) / FOLDER


def boot_id(root: Path = Path("/")) -> str:
    """Another one after each boot."""
    try:
        return (root / "proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Trials:
    """The trials of one machine. Safe for several processes.

    A folder that cannot be written remembers none.
    """

    def __init__(self, folder: Path, boot: str) -> None:
        self.folder = folder
        self.boot = boot

    def lost(self) -> tuple[Trial, ...]:
        """Those that did not come back, the last one first."""
        found = [trial for file in self.folder.glob("*.json") if (trial := _lost(file))]
        return tuple(sorted(found, key=lambda trial: trial.started, reverse=True))

    def forget_lost(self) -> None:
        """They will be tried again."""
        for file in self.folder.glob("*.json"):
            if _lost(file):
                file.unlink(missing_ok=True)

    @contextmanager
    def of(self, kernel: str, digest: str) -> Iterator[None]:
        """Around the first dispatch of a kernel, its context included; nothing where it has passed before.

        digest: of what the array would run. A NoAnswerError that passes by leaves the trial on record, and so
        does what ends the program: pyxrt's wait holds Python's lock, so that Ctrl-C during a hang takes
        effect before NoAnswerError can be raised. What fails otherwise did come back.

        Raises TrialLostError where the kernel did not come back the last time, and until the next boot where
        another did not: whatever is tried then would be blamed for it.
        """
        file = self.folder / f"{digest}.json"
        known = _read(file)
        if known and known.state == PASSED:
            yield
            return
        if lost := _lost(file):
            raise TrialLostError(
                f"the last trial of {lost} did not come back: that kernel hangs the NPU (then reboot first), "
                f"or it was interrupted, or the machine switched off meanwhile; {RETRY} tries it again, "
                "another kernel or --device emulator does without it"
            )
        for other in self.lost():
            if other.boot == self.boot:
                raise TrialLostError(
                    f"{kernel} is not tried, for the last trial, of {other}, did not come back: reboot "
                    f"first; {RETRY} tries both again"
                )
        trial = Trial(kernel, RUNNING, datetime.now().isoformat(" ", "seconds"), self.boot)
        held = _locked(file, trial)
        try:
            yield
        except NoAnswerError:
            raise
        except Exception:
            with suppress(OSError):
                file.unlink(missing_ok=True)
            raise
        else:
            with suppress(OSError):
                os.close(_written(file, replace(trial, state=PASSED)))
        finally:
            if held is not None:
                os.close(held)  # and with it the lock


def _read(file: Path) -> Trial | None:
    try:
        return Trial(**read_object(file))
    except (OSError, ValueError, TypeError):
        return None


def _lost(file: Path) -> Trial | None:
    trial = _read(file)
    if trial is None or trial.state != RUNNING:
        return None
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # it runs, or has just ended
        return None
    return trial


def _locked(file: Path, trial: Trial) -> int | None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return _written(file, trial)
    except OSError:
        return None


def _written(file: Path, trial: Trial) -> int:
    """Write a file whole, locked from its first moment, and wait until it is on disk.

    Returns the open file, which holds the lock.
    """
    clear_left_behind(file.parent)
    new, held = owned_file(file)
    try:
        os.write(held, json.dumps(asdict(trial)).encode())
        os.fsync(held)
        new.rename(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        os.close(held)
        new.unlink(missing_ok=True)
        raise
    return held
