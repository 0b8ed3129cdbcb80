"""The checks of what every device needs besides: the host's loops, models, the cache, audio."""

from __future__ import annotations

import os

from whisper_npu.cache import size_of
from whisper_npu.doctor.check import Check, ok, problem
from whisper_npu.doctor.install import packages
from whisper_npu.doctor.machine import Machine
from whisper_npu.errors import one_line

MIB = 1024 * 1024


def check_rows(machine: Machine) -> Check:
    if machine.actions.compile_rows():
        multiplies_in = "bf16" if machine.actions.compile_bf16_dot() else "float32, as NumPy does"
        return ok(
            "rows",
            "softmax, GELU, norms and rounding are compiled for this CPU; on it the emulator multiplies in "
            f"{multiplies_in}",
        )
    return problem(
        "rows",
        "softmax, GELU, norms and rounding are left to NumPy, which takes two to five times as long, and the "
        "emulator multiplies in float32, as NumPy does: "
        "there is no C++ compiler that works, or no cache folder that can be written",
        f"{packages(machine).compiler}, or set CXX; WHISPER_NPU_CACHE chooses the folder",
    )


def check_models(machine: Machine) -> Check:
    here = machine.actions.models_here()
    named = ", ".join(here) or "none"
    return ok("models", f"here: {named}; others are downloaded from the hub when they are first used")


def check_cache(machine: Machine) -> Check:
    cache = machine.cache
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(place, os.W_OK | os.X_OK) or not place.is_dir():
        return problem(
            "cache",
            f"{cache} cannot be written: nothing is kept from one run to the next",
            "set WHISPER_NPU_CACHE to a folder that can",
        )
    return ok("cache", f"{cache}, {size_of(cache) / MIB:,.0f} MiB")


def check_audio(machine: Machine) -> Check:
    try:
        return ok("audio", machine.actions.audio_formats())
    except (ImportError, OSError) as error:
        return problem(
            "audio",
            f"no audio file can be read: {one_line(error)}",
            "pip install --force-reinstall soundfile av",
        )
