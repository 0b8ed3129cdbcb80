"""The types that the decoder may compute in, by CTranslate2's names."""

from __future__ import annotations

from whisper_npu.errors import UsageError, quoted

AUTO = "auto"
DEFAULT = "default"  # CTranslate2's name for the type that the weights are stored in
_FASTEST = "int8_float32"  # int8 products, the rest float32: a third to half of float32's time
# For each of CTranslate2's names, what to use in its place where a CPU lacks it, the nearest first.
_NEAREST = {
    "int8": ("int8_float32", "float32"),
    "int8_float32": ("int8", "float32"),
    "int8_float16": ("int8_float32", "float32"),
    "int8_bfloat16": ("int8_float32", "float32"),
    "int16": ("float32",),
    "float16": ("float32",),
    "bfloat16": ("float32",),
    "float32": (),
}


def resolve_compute_type(asked: str) -> str:
    """The type that `asked` means on this CPU; "auto" means int8 products if the CPU has them.

    "default" is handed on: only CTranslate2 knows which type the weights have. Where a CPU cannot compute
    in it, as in float16, CTranslate2 takes the nearest.
    Raises UsageError for a type that CTranslate2 does not support on this CPU.
    """
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types("cpu")
    if asked == AUTO:
        return _FASTEST if _FASTEST in supported else "float32"
    if asked == DEFAULT or asked in supported:
        return asked
    choices = f"choose from {', '.join([AUTO, DEFAULT, *sorted(supported)])}"
    if asked not in _NEAREST:
        raise UsageError(f"unknown compute type {quoted(asked)}; {choices}")
    nearest = next((name for name in _NEAREST[asked] if name in supported), AUTO)
    raise UsageError(
        f"compute type {quoted(asked)} needs other hardware: the decoder runs on the CPU, and this one does "
        f"not compute in it; the nearest is {nearest}; {choices}"
    )


def computes_in_int8(compute_type: str) -> bool:
    """Whether products are to be int8. compute_type: as returned by `resolve_compute_type`.

    False for "default": the weights stay as they are, and may be int8 already.
    """
    return compute_type.startswith("int8")
