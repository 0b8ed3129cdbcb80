"""The kernels of npu1 by name, and contracts that only tests have.

Small and unequal sizes, other roundings and types.
"""

from __future__ import annotations

from dataclasses import replace

from whisper_npu.dtypes import DType, Rounding
from whisper_npu.kernels import registry
from whisper_npu.kernels.matmul.kernel import (
    BatchLayout,
    MatmulContract,
    matmul_64x64,
    matmul_64x64_baseline,
    matmul_64x512,
    matmul_128x512,
)
from whisper_npu.kernels.norm.kernel import norm
from whisper_npu.npu.layout import Along
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul

CONTRACTS = tuple(c for c in registry.contracts(NPU1) if isinstance(c, MatmulContract))
MATMUL_64X64 = matmul_64x64(NPU1)
MATMUL_64X512 = matmul_64x512(NPU1)
MATMUL_128X512 = matmul_128x512(NPU1)
MATMUL_64X64_BASELINE = matmul_64x64_baseline(NPU1)

# Unequal everywhere, so that no two sizes can be swapped unnoticed.
SMALL = MatmulContract("matmul_8x24", NPU1, m=8, k=12, n=24, core_count=1)
SMALL_BF16 = replace(SMALL, name="matmul_8x24_bf16", result_dtype=DType.BF16)
SMALL_FLOOR = replace(
    SMALL_BF16,
    name="matmul_8x24_floor",
    operand_rounding=Rounding.TOWARD_ZERO,
    result_rounding=Rounding.FLOOR,
)
SMALL_F32 = replace(SMALL, name="matmul_8x24_f32", operand_dtype=DType.F32)
# A partial result of one product of integers up to 8 fits bf16.
ONE_PRODUCT_BF16 = replace(SMALL_BF16, name="matmul_8x24_bf16_k1", k=1)
ONE_PRODUCT_FLOOR = replace(SMALL_FLOOR, name="matmul_8x24_floor_k1", k=1)

# All heads of attention in one dispatch; a contract says for each operand how its matrices lie.
SCORES = BatchLayout(a=Along.COLS, b=Along.ROWS, c=Along.ROWS)
CONTEXT = BatchLayout(a=Along.ROWS, b=Along.COLS, c=Along.COLS)
SMALL_SCORES = replace(SMALL, name="matmul_8x24_scores3", products=3, batch_layout=SCORES)
SMALL_CONTEXT = replace(SMALL, name="matmul_8x24_context3", products=3, batch_layout=CONTEXT)
# Independent products in one dispatch, in pairs: whole micro-tiles.
SMALL_PAIRS = replace(SMALL, name="matmul_8x24_pairs4", k=16, products=4)

# One of another family, with two results.
SMALL_NORM = norm(NPU1, rows=16, cols=128)

# The roundings of the published experiment, made better one by one.
NEAREST_FLOORED = replace(
    MATMUL_64X64_BASELINE, name="matmul_64x64_nearest_floored", operand_rounding=Rounding.NEAREST_EVEN
)
NEAREST_BF16 = replace(
    NEAREST_FLOORED, name="matmul_64x64_nearest_bf16", result_rounding=Rounding.NEAREST_EVEN
)

F32_OPERANDS = replace(MATMUL_64X512, name="matmul_64x512_f32", operand_dtype=DType.F32)

# What the benchmark's strategies use: no two sizes alike, none a multiple of a tile.
STRATEGIES_PROBLEM = Matmul(150, 100, 500)
