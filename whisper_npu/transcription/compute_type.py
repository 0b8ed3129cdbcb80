"""The types that the decoder may compute in, by CTranslate2's names."""

from __future__ import annotations

from whisper_npu.errors import UsageError

AUTO = "auto"
_FASTEST = "int8_float32"  # int8 products, the rest float32: a third to half of float32's time


def resolve_compute_type(asked: str) -> str:
    """The type that `asked` means on this CPU; "auto" means int8 products if the CPU has them.

    Raises UsageError for a type that CTranslate2 does not support on this CPU.
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
    """Whether products are int8. compute_type: as returned by `resolve_compute_type`."""
    return compute_type.startswith("int8")
