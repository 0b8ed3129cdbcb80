"""The types that the decoder may compute in, by CTranslate2's names for them."""

from __future__ import annotations

from whisper_npu.errors import UsageError

AUTO = "auto"
_FASTEST = "int8_float32"  # int8 products, all else float32: a third to half of float32's seconds


def resolve_compute_type(asked: str) -> str:
    """What `asked` means on this CPU: itself, or for "auto" int8 products where the CPU has them.

    Raises UsageError for what CTranslate2 does not compute in here.
    """
    import ctranslate2

    supported = ctranslate2.get_supported_compute_types("cpu")
    if asked == AUTO:
        return _FASTEST if _FASTEST in supported else "float32"
    if asked not in supported:
        raise UsageError(
            f"compute type {asked!r} is none of this CPU's: {', '.join([AUTO, *sorted(supported)])}"
        )
    return asked


def computes_in_int8(compute_type: str) -> bool:
    """compute_type: as `resolve_compute_type` gives it."""
    return compute_type.startswith("int8")
