"""What a model asks for, as data. Pure: no kernel, no device."""

from whisper_npu.ops.attention import Attention, MergeHeads, SplitHeads
from whisper_npu.ops.layer import EncoderLayer
from whisper_npu.ops.linear import Linear
from whisper_npu.ops.matmul import Batched, Matmul
from whisper_npu.ops.op import Direction, Numerics, Op, Operand, Part, flattened
from whisper_npu.ops.rows import EPSILON, Activation, Epilogue, Norm, Softmax
from whisper_npu.ops.stem import Stem, Windows

__all__ = [
    "EPSILON",
    "Activation",
    "Attention",
    "Batched",
    "Direction",
    "EncoderLayer",
    "Epilogue",
    "Linear",
    "Matmul",
    "MergeHeads",
    "Norm",
    "Numerics",
    "Op",
    "Operand",
    "Part",
    "Softmax",
    "SplitHeads",
    "Stem",
    "Windows",
    "flattened",
]
