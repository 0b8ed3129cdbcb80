"""The element types that operands have, and how a float32 becomes a bfloat16.

Nothing else is imported here.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


class DType(Enum):
    """The type of an element."""

    BF16 = "bf16"
    F32 = "f32"

    @property
    def nbytes(self) -> int:
        return 2 if self is DType.BF16 else 4


class Rounding(Enum):
    """How a float32 becomes bf16."""

    NEAREST_EVEN = "nearest even"
    TOWARD_ZERO = "toward zero"
    FLOOR = "floor"  # toward minus infinity: what an AIE core does unless told otherwise (UG1603)

    @property
    def unit(self) -> float:
        """The largest relative error of one rounding of a normal number: half an ulp, or a whole one."""
        return 2.0**-8 if self is Rounding.NEAREST_EVEN else 2.0**-7
