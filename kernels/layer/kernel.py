"""Whole linear layers, attention and encoder layers, each in one dispatch of phases.

The host gives a dispatch its operands as dispatch.py, weights.py and planes.py say that they lie; numerics.py
has what the cores compute, in their order. The sizes of an op stand in its instructions and headers, so that
all contracts share one overlay.

What the host changes before it lays a weight out: weight and bias of a norm become the next product's,
W' = diag(weight) W and bias' = bias W + bias, each rounded once; q is multiplied by log2(e), so that a core's
softmax takes powers of two; k and v of a head lie side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import e, log2, prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.dtypes import F32, DType, Rounding
from whisper_npu.errors import PlanError
from whisper_npu.host.bf16 import on_grid
from whisper_npu.kernels.layer import planes as streams
from whisper_npu.kernels.layer.dispatch import (
    Laid,
    LayerOp,
    canonical,
    column_parts,
    in_rounds,
    laid_out,
    phases_of,
    rows_of,
    stem_row,
    why_not,
    with_rows,
)
from whisper_npu.kernels.layer.execute import execute, in_turn, unwritten, values_of, words_of
from whisper_npu.kernels.layer.numerics import EXP2_ERROR, GELU_ERROR
from whisper_npu.kernels.layer.phases import (
    D_HEAD,
    HEADERS,
    OBJECT,
    TILE,
    WEIGHTS,
    Attend,
    Gemm,
    Phase,
    padded,
    qkv_row,
)
from whisper_npu.kernels.layer.planes import planes
from whisper_npu.kernels.layer.weights import BF16, headers_of, objects_of
from whisper_npu.kernels.layer.work import l1_bytes, macs_of, works_of
from whisper_npu.kernels.matmul import known_answer
from whisper_npu.npu.contract import Argument, Contract, KnownAnswer, Share, Work
from whisper_npu.npu.kernel import Kernel
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.plan import STAY, Loop, Plan
from whisper_npu.npu.targets import CoreRate, Target
from whisper_npu.ops import Activation, Attention, Direction, EncoderLayer, Linear, Numerics, Op, Stem
from whisper_npu.ops.stem import WIDTH

LOG2_E = log2(e)
BF16_UNIT = Rounding.NEAREST_EVEN.unit
OVERLAY = "layer"
_HELD_VERSION = 1  # increase it whenever `LayerPlan.held` gives other bits for the same constants
KNOWN_ROWS = 37  # that differ, in operands whose results are known
KNOWN_TIMES = 8  # an encoder layer's are repeated as often at least: some keys come once more than others
# Of an encoder layer's tolerance, which is an estimate and hides a weight that is missing. The emulator takes
# 1/16 of it at most (MEASURED there: 1 to 1500 rows, n_state 64 to 1280).
KNOWN_SHARE = 1 / 8
GELU = {Activation.NONE: "", Activation.GELU: "_gelu"}


# ----------------------------------------------------------------------------------------- what the host does


def folded(
    weight: NDArray[Any], bias: NDArray[Any], norm_weight: NDArray[Any], norm_bias: NDArray[Any]
) -> tuple[F32, F32]:
    """A norm's weight (K,) and bias (K,) in those of the product behind it, (K, N) and (N,)."""
    weight = weight.astype(np.float32, copy=False)
    return (  # float64 holds a product of two float32, so that it is rounded once: as float32 does by itself
        norm_weight.astype(np.float32, copy=False)[:, None] * weight,
        (norm_bias.astype(np.float64) @ weight.astype(np.float64) + bias).astype(np.float32),
    )


def by_heads(qkv: NDArray[Any], n_head: int) -> F32:
    """q, k and v side by side as a core wants them: q over log(2), then k and v of each head.

    qkv: (..., 3 * n_state): rows of activations, a weight, or a bias.
    """
    q, k, v = np.split(qkv.astype(np.float32, copy=False), 3, axis=-1)
    rows, n_state = q.shape[:-1], q.shape[-1]
    found = np.empty_like(qkv, np.float32)
    np.multiply(q, np.float32(LOG2_E), out=found[..., :n_state])
    k_and_v = found[..., n_state:].reshape(*rows, n_head, 2, D_HEAD)  # a view: one axis is split
    for half, part in enumerate((k, v)):
        k_and_v[..., half, :] = part.reshape(*rows, n_head, D_HEAD)
    return found


def _with_zeros(values: NDArray[Any], *shape: int) -> F32:
    """Behind what is given, which is not copied where it has the shape."""
    if values.shape == shape:
        return values.astype(np.float32, copy=False)
    found = np.zeros(shape, np.float32)
    found[tuple(map(slice, values.shape))] = values
    return found


Layer = tuple[NDArray[Any], NDArray[Any]]  # weight (K, N) and bias (N,)


@dataclass(frozen=True)
class LayerPlan(Plan):
    """One dispatch."""

    __hash__ = Plan.__hash__

    @property
    def kernel(self) -> LayerContract:
        assert isinstance(self.contract, LayerContract)
        return self.contract

    @property
    def results_are_views(self) -> bool:
        return self.kernel.laid.y_stream is None

    @property
    def constants(self) -> frozenset[str]:
        """Weights, biases and norms: what HEADERS and WEIGHTS are made of, unless there is a mask."""
        if isinstance(self.op, Attention):
            return frozenset()
        passing = {"x", "residual"} if isinstance(self.op, Linear) else {"x"}
        return frozenset(operand.name for operand in self.op.inputs) - passing

    @property
    def holds(self) -> tuple[Layout, ...]:
        """What follows from `constants` alone: the operands that `held` gives."""
        passing = {"X", "QKV", *(["RESIDUAL"] if isinstance(self.op, Linear) else [])}
        return tuple(layout for layout in self.inputs if layout.operand not in passing)

    @cached_property
    def held_form(self) -> str:
        """Names all besides the constants that decides the bits of what `held` gives."""
        kernel = self.kernel
        return f"{_HELD_VERSION} {self.op!r} {kernel.phases!r} {self.holds!r} for {kernel.target.name}"

    def passed_on(self, name: str) -> Layout | None:
        """The residual stream, from one encoder layer to the next."""
        if name == "y" and isinstance(self.op, (EncoderLayer, Stem)):
            return self.outputs[0]
        return self.inputs[0] if name == "x" and isinstance(self.op, EncoderLayer) else None

    def turned(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """X, HEADERS, WEIGHTS where there are weights, the residual where one is added."""
        given = dict(zip((o.name for o in self.op.inputs), inputs, strict=True))
        made = self.held(given) | self.passing(given)
        return tuple(made[layout.operand] for layout in self.inputs)

    def held(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """HEADERS, and WEIGHTS where there are weights. given: a mask, too, no constant."""
        op = self.op
        for name, value in given.items():
            if not isinstance(value, np.ndarray) and not (name == "weight" and self.weight):
                raise PlanError(
                    f"{name} of {op.name} is staged for another kernel than {self.contract.name}: stage it "
                    "on a device that is prepared for this op"
                )
        if isinstance(op, Attention):
            mask = given["mask"] != 0 if op.masked else np.ones(op.n_ctx, bool)
            return {HEADERS: self._headers([], mask)}
        if isinstance(op, EncoderLayer):
            layers = self._layers_of(op, given)
            mask = np.ones(op.n_ctx, bool)
            return {
                HEADERS: self._headers([bias for _, bias in layers], mask),
                WEIGHTS: self._weights(layers),
            }
        if isinstance(op, Stem):
            layers = self._convolutions_of(op, given)
            headers = self._headers([bias for _, bias in layers], None)
            return {
                WEIGHTS: np.concatenate([headers, self._weights(layers)]),
                "RESIDUAL": self._stream("RESIDUAL", given["residual"]),
            }
        assert isinstance(op, Linear)
        weight, bias = given["weight"], given["bias"]
        if op.norm:
            weight, bias = folded(weight, bias, given["norm_weight"], given["norm_bias"])
        is_staged = not isinstance(weight, np.ndarray)
        weights = weight if is_staged else self._weights([(weight, bias)])
        return {HEADERS: self._headers([bias], None), WEIGHTS: weights}

    def passing(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Activations. A stream lies in planes; q, k and v by heads."""
        op = self.op
        if isinstance(op, Attention):
            return {"QKV": by_heads(given["qkv"], op.n_head)}
        if "x" not in given:  # it lies there
            return {}
        if isinstance(op, Stem):
            x = self.kernel.laid.x
            return {"X": _with_zeros(np.pad(given["x"], ((1, 0), (0, 0))), x.rows, x.cols)}
        is_stream = isinstance(op, EncoderLayer) or (isinstance(op, Linear) and op.norm)
        found = {"X": self._stream("X", given["x"]) if is_stream else given["x"]}
        if isinstance(op, Linear) and op.residual:
            found["RESIDUAL"] = self._stream("RESIDUAL", given["residual"])
        return found

    def _layers_of(self, op: EncoderLayer, given: Mapping[str, Any]) -> list[Layer]:
        """The products in the order of their phases."""

        def layer(name: str, norm: str = "") -> Layer:
            weight, bias = given[f"{name}_weight"], given[f"{name}_bias"]
            if not norm:
                return weight, bias
            return folded(weight, bias, given[f"{norm}_weight"], given[f"{norm}_bias"])

        weight, bias = (by_heads(given, op.n_head) for given in layer("qkv", "attn_ln"))
        row = qkv_row(op.n_head, self.kernel.target.columns)
        return [
            (_with_zeros(weight, op.n_state, row), _with_zeros(bias, row)),
            layer("out"),
            layer("mlp0", "mlp_ln"),
            layer("mlp2"),
        ]

    def _convolutions_of(self, op: Stem, given: Mapping[str, Any]) -> list[Layer]:
        """The second one's weight has rows of zeros where those of its windows are longer than n_state."""
        of_window = given["conv2_weight"].reshape(WIDTH, op.n_state, op.n_state)
        row = stem_row(op, self.kernel.target)
        weight = _with_zeros(of_window, WIDTH, row, op.n_state).reshape(WIDTH * row, -1)
        return [(given["conv1_weight"], given["conv1_bias"]), (weight, given["conv2_bias"])]

    def _stream(self, name: str, x: F32) -> F32:
        """(rows, row) fp32, in the order of planes."""
        rows = padded(rows_of(self.kernel.op), self.kernel.target.core_rows * TILE)
        where = planes(self.kernel.target, name, 0, rows, x.shape[1])
        found: F32 = (
            streams.laid_out(x.astype(np.float32, copy=False), where).view(np.float32).reshape(-1, where.row)
        )
        return found

    def _headers(self, biases: Sequence[NDArray[Any]], mask: NDArray[np.bool_] | None) -> BF16:
        """(phases * columns, 4096). biases: of each product; mask: which keys count."""
        target, found = self.kernel.target, []
        width = target.columns * TILE
        left = [
            padded_bias[cols]
            for bias in biases
            for padded_bias in [_with_zeros(bias, padded(len(bias), width))]
            for cols in column_parts(len(padded_bias), target)
        ]
        for phase in self.kernel.phases:
            if isinstance(phase, Gemm):
                of_phase = headers_of(phase, target, bias=left.pop(0))
            else:
                of_phase = headers_of(phase, target, mask=mask if isinstance(phase, Attend) else None)
            found.append(of_phase)
        return np.concatenate(found)

    def _weights(self, layers: Sequence[Layer]) -> BF16:
        """(objects, 4096)."""
        target, found = self.kernel.target, []
        phases = (phase for phase in self.kernel.phases if isinstance(phase, Gemm))
        for weight, _ in layers:
            _, K, N = in_rounds(1, weight.shape[0], weight.shape[1], target)
            whole = _with_zeros(weight, K, N)
            for cols in column_parts(N, target):
                objects = objects_of(whole[:, cols], target.columns, next(phases).result)
                found.append(objects.reshape(-1, OBJECT))
        return found[0] if len(found) == 1 else np.concatenate(found)

    @property
    def weight(self) -> Layout | None:
        """Of a norm's product only the two together can be laid out."""
        return self.inputs[2] if isinstance(self.op, Linear) and not self.op.norm else None

    def turned_weight(self, weight: NDArray[Any]) -> NDArray[Any]:
        return self._weights([(weight, np.empty(0))])

    def turned_back(self, result: F32) -> F32:
        if self.kernel.laid.y_stream is None:
            return result
        (shape,) = (operand.shape for operand in self.op.outputs)
        out = np.empty(shape, np.float32)
        self.turn_back(result, out)
        return out

    def turn_back(self, result: F32, out: F32) -> None:
        stream = self.kernel.laid.y_stream
        if stream is None:
            out[...] = result
        else:
            memory = np.ascontiguousarray(result).reshape(-1).view(ml_dtypes.bfloat16)
            streams.taken_apart(memory, stream, (len(out), out.shape[1]), out)


def plan_of(op: LayerOp, contract: LayerContract) -> LayerPlan:
    loops = (Loop("dispatch", 1, (STAY,) * len(contract.layouts(op))),)
    return LayerPlan(op, contract, loops, contract.target.run_list)


# ----------------------------------------------------------------------------------------------- contracts


@dataclass(frozen=True)
class LayerContract(Contract):
    """One op of a kind and of a width, with at most as many rows as `op` has."""

    op: LayerOp

    __hash__ = Contract.__hash__

    @cached_property
    def laid(self) -> Laid:
        return laid_out(self.op, self.target)

    @property
    def phases(self) -> tuple[Phase, ...]:
        return self.laid.phases

    @property
    def overlay(self) -> str:
        return OVERLAY

    @property
    def arguments(self) -> tuple[Argument, ...]:
        laid = self.laid
        *read, _ = self.layouts(self.op)
        (y,) = self.written
        work = [Argument("WORK", laid.work, DType.BF16, Direction.INOUT)] if laid.work else []
        return (
            *(Argument(o.operand, prod(o.padded), o.dtype, Direction.IN) for o in read),
            *work,
            Argument("Y", prod(y.padded), y.dtype, Direction.OUT),
        )

    def covers(self, op: LayerOp) -> bool:
        """Whether a dispatch of it makes the op."""
        rows, wanted = rows_of(self.op), canonical(op, self.target)
        return rows_of(wanted) <= rows and with_rows(wanted, rows) == self.op

    def layouts(self, op: Op) -> tuple[Layout, ...]:
        assert isinstance(op, (Linear, Attention, EncoderLayer, Stem))
        laid, rows = self.laid, rows_of(op)
        headers = len(laid.phases) * self.target.columns
        of_headers = Layout(HEADERS, headers, OBJECT, headers, OBJECT, DType.BF16)
        return (
            _of_rows(laid.x, op.n_frames if isinstance(op, Stem) else rows),
            *([of_headers] if laid.headers == HEADERS else []),
            *([self._weights] if laid.objects else []),
            *([_of_rows(laid.residual, rows)] if laid.residual else []),
            _of_rows(laid.y, rows),
        )

    @property
    def _weights(self) -> Layout:
        laid, size = self.laid, (self.laid.objects, OBJECT)
        order = "for fp32" if laid.residual else ""
        return Layout(WEIGHTS, *size, *size, DType.BF16, stands_for=laid.weights, order=order)

    @property
    def written(self) -> tuple[Layout, ...]:
        y = self.laid.y
        return (replace(y, rows=y.tile_rows, cols=y.tile_cols, dtype=self.laid.y_dtype, stands_for=None),)

    @property
    def shares(self) -> bool:
        return True

    def compute(self, *tiles: F32) -> tuple[F32, ...]:
        return self.compute_shared(in_turn, *tiles)

    def compute_shared(self, share: Share, *tiles: F32) -> tuple[F32, ...]:
        *read, y = self.arguments
        given = iter(tiles)
        memory = {
            argument.name: np.zeros(argument.elements, np.uint16)
            if argument.is_workspace
            else words_of(next(given), are_bf16=argument.dtype is DType.BF16)
            for argument in read
        }
        memory["Y"] = unwritten(y.nbytes // 2)
        execute(self.phases, memory, self.target, share)
        (layout,) = self.written
        return (values_of(memory["Y"], are_bf16=y.dtype is DType.BF16).reshape(layout.shape),)

    @property
    def numerics(self) -> Numerics:
        return Numerics(BF16_UNIT, BF16_UNIT)

    @property
    def macs(self) -> int:
        return sum(macs_of(phase, self.target) for phase in self.phases)

    @property
    def l1_bytes(self) -> int:
        return l1_bytes(self.target)

    def works(self, rate: CoreRate | None) -> tuple[Work, ...]:
        return works_of(self.phases, self.target, rate)

    def core_cycles(self, rate: CoreRate) -> float:
        return sum(work.core_cycles for work in self.works(rate))

    @property
    def bytes_to_device(self) -> int:
        return sum(work.bytes_read for work in self.works(None))

    @property
    def bytes_from_device(self) -> int:
        return sum(work.bytes_written for work in self.works(None))

    @property
    def tasks(self) -> int:
        return sum(work.tasks for work in self.works(None))

    @property
    def stream_bytes(self) -> tuple[int, int]:
        """Of all phases: the busiest channels of each, one after the other."""
        read, written = zip(*(work.stream_bytes for work in self.works(None)), strict=True)
        return sum(read), sum(written)

    @property
    def trial_op(self) -> LayerOp:
        return self.op

    def tolerance_of(self, op: Op, *inputs: F32) -> tuple[NDArray[np.float64], ...]:
        """The op's own, and what these kernels round besides.

        A linear layer's is that of the same layer with its norm folded. To it come the biases, within 2^-17
        of them as sums of two bf16; GELU's polynomial; and the rounding of what is written in bf16. In
        attention each weight is a power of two over a sum of powers, both within EXP2_ERROR.
        """
        (allowed,) = op.tolerance(self.numerics, *inputs)
        if isinstance(op, Linear):
            return (self._of_linear(op, *inputs),)
        if isinstance(op, Stem):
            return (self._of_stem(op, *inputs),)
        if isinstance(op, Attention):
            qkv, *mask = (x.astype(np.float64) for x in inputs)
            absolute = qkv.copy()
            absolute[:, 2 * op.n_state :] = np.abs(qkv[:, 2 * op.n_state :])
            (of_weights,) = op.reference(absolute, *mask)  # of |V|
            return (allowed + 2 * EXP2_ERROR * of_weights,)
        return (allowed,)

    def _of_linear(self, op: Linear, *inputs: F32) -> NDArray[np.float64]:
        given = dict(zip((operand.name for operand in op.inputs), inputs, strict=True))
        if op.norm:
            pair = given["norm_weight"], given["norm_bias"]
            given["weight"], given["bias"] = folded(given["weight"], given["bias"], *pair)
            given["norm_weight"], given["norm_bias"] = np.ones_like(pair[0]), np.zeros_like(pair[1])
        (allowed,) = op.tolerance(Numerics(BF16_UNIT), *given.values())
        alone = replace(op, residual=False)
        (exact,) = alone.reference(*(given[operand.name] for operand in alone.inputs))
        allowed = allowed + 1.13 * 2.0**-17 * np.abs(given["bias"])
        if op.activation is Activation.GELU:
            allowed = allowed + GELU_ERROR
        return allowed if op.residual else allowed + BF16_UNIT * (np.abs(exact) + allowed)

    def _of_stem(self, op: Stem, *inputs: F32) -> NDArray[np.float64]:
        """As `Stem.tolerance`, each convolution with what these kernels round besides."""
        x, weight, bias, *of_conv2 = inputs
        of_conv1: tuple[Any, ...] = (op.windows[0].view(x), weight, bias)
        (middle,), moved = op.conv1.reference(*of_conv1), self._of_linear(op.conv1, *of_conv1)
        windows: Any = op.windows[1].view(middle)
        return self._of_linear(op.conv2, windows, *of_conv2) + op.passed_on(moved, of_conv2[0])

    def known_answer(self, op: Op, rng: np.random.Generator) -> KnownAnswer:
        """Of a plain product to the bit; otherwise within the tolerance, of rows that repeat.

        KNOWN_ROWS is prime, so that no unit, tile or block of rows can take another's place unseen. A softmax
        over keys that all come equally often is that over each of them once. No mask sees to that in an
        encoder layer, where they repeat often or not at all.
        """
        assert isinstance(op, (Linear, Attention, EncoderLayer, Stem))
        if isinstance(op, Stem):
            return self._known_stem(op, rng)
        if isinstance(op, Linear) and not op.norm and op.activation is Activation.NONE:
            return _known_product(op, rng)
        rows = rows_of(op)
        repeats = not isinstance(op, EncoderLayer) or rows >= KNOWN_TIMES * KNOWN_ROWS
        unmasked = replace(op, masked=False) if isinstance(op, Attention) else op
        few = with_rows(unmasked, min(rows, KNOWN_ROWS) if repeats else rows)
        inputs = [_random(operand.name, operand.shape, rng) for operand in few.inputs]
        if not isinstance(few, Linear):  # scores around 1: of large ones the tolerance is all that there is
            for operand, x in zip(few.inputs, inputs, strict=True):
                if operand.name in ("qkv", "qkv_weight", "qkv_bias"):
                    x[..., : few.n_state] *= np.float32(D_HEAD**-0.5)
        (result,), (bound,) = few.reference(*inputs), self.tolerance_of(few, *inputs)
        times = -(-rows // rows_of(few))

        def repeated(x: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
            return np.tile(x, (times, 1))[: shape[0]] if x.shape != shape else x

        given = [repeated(x, operand.shape) for x, operand in zip(inputs, op.inputs, strict=False)]
        if isinstance(op, Attention) and op.masked:
            given.append((np.arange(rows) < rows // rows_of(few) * rows_of(few)).astype(np.float32))
        (shape,) = (operand.shape for operand in op.outputs)
        # Of attention, sums over many times as many keys move by a few roundings more.
        share = KNOWN_SHARE if isinstance(op, EncoderLayer) else 1.1
        return KnownAnswer(tuple(given), (repeated(result, shape),), (share * repeated(bound, shape),))

    def _known_stem(self, op: Stem, rng: np.random.Generator) -> KnownAnswer:
        """Whole numbers, so far from 0 that GELU leaves them or makes them 0: only few are within 4 of it.

        The first convolution's are below 128, which bf16 holds, and a fifth of its columns is 0.
        """

        def some(*shape: int, share: float = 1.0, most: int = 1) -> F32:
            found = rng.integers(-most, most + 1, shape) * (rng.random(shape) < share)
            return found.astype(np.float32)

        n_state, K = op.n_state, WIDTH * op.n_mels
        x, weight1 = some(op.n_frames, op.n_mels), some(K, n_state, share=min(0.5, 30 / K))
        bias1 = np.where(np.arange(n_state) % 5 == 4, -128, 64).astype(np.float32)
        weight2, bias2 = some(WIDTH * n_state, n_state), some(n_state, most=1000)
        residual = some(op.n_ctx, n_state, most=1000)
        first, second = op.windows
        middle = np.maximum(first.view(x) @ weight1 + bias1, 0)
        assert middle.max() < 128
        assert middle[middle > 0].min() > 4
        sums = second.view(middle) @ weight2 + bias2
        y = np.maximum(sums, 0) + residual
        bound = np.where(np.abs(sums) < 4, 0.2, GELU_ERROR) + np.abs(y) * 2.0**-20
        return KnownAnswer((x, weight1, bias1, weight2, bias2, residual), (y,), (bound,))


def _random(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> F32:
    """Normal numbers; a product's weights so that it keeps the size of what it multiplies."""
    values = rng.standard_normal(shape)
    return (values * shape[0] ** -0.5 if name.endswith("weight") and len(shape) == 2 else values).astype("f4")


def _known_product(op: Linear, rng: np.random.Generator) -> KnownAnswer:
    """Sums are whole numbers that fp32 holds; a result in bf16 is rounded."""
    a, b = known_answer.integers(op.product, DType.BF16, rng)
    bias = rng.integers(-(2**15), 2**15, op.N).astype(np.float32)  # as the sum of two bf16 it is exact
    y = known_answer.product(a, b, op.K, DType.F32, Rounding.NEAREST_EVEN) + bias
    inputs = [known_answer.before_rounding(x, Rounding.NEAREST_EVEN) for x in (a, b)] + [bias]
    if op.residual:
        inputs.append(rng.integers(-(2**10), 2**10, y.shape).astype(np.float32))
    y = y + inputs[-1] if op.residual else on_grid(y, Rounding.NEAREST_EVEN)
    return KnownAnswer(tuple(inputs), (y,), (0.0,))


def _of_rows(layout: Layout, rows: int) -> Layout:
    """The same for an op of fewer rows."""
    if layout.stands_for is None:
        return replace(layout, rows=rows)
    return replace(layout, stands_for=(rows, layout.stands_for[1]))


# ---------------------------------------------------------------------------------------------- the family


@dataclass(frozen=True)
class OnArray(Kernel):
    """Linear layers, attention and encoder layers whole, one dispatch each; one overlay for all of them."""

    target: Target
    built: tuple[LayerContract, ...] | None = None  # the only ones there are; None: one for any size

    @property
    def name(self) -> str:
        return "layer"

    @property
    def group(self) -> str:
        return "layer"

    @property
    def makes_whole(self) -> bool:
        return True

    def refuses(self, op: Op) -> str | None:
        if not isinstance(op, (Linear, Attention, EncoderLayer, Stem)):
            return None
        reason = why_not(op, self.target)
        return "none is built for it" if reason is None and not self.matches(op) else reason

    def contract(self, op: Op) -> LayerContract | None:
        if not isinstance(op, (Linear, Attention, EncoderLayer, Stem)) or why_not(op, self.target):
            return None
        if self.built is None:
            return layer(op, self.target)
        fitting = [contract for contract in self.built if contract.covers(op)]
        return min(fitting, key=lambda contract: contract.macs, default=None)

    def plan(self, op: Op) -> LayerPlan:
        contract = self.contract(op)
        if contract is None or not isinstance(op, (Linear, Attention, EncoderLayer, Stem)):
            reason = why_not(op, self.target) or "none that is built is for it"
            raise PlanError(f"no layer kernel for {op}: {reason}; take another kernel")
        return plan_of(op, contract)


def layer(op: LayerOp, target: Target) -> LayerContract:
    """The contract for an op, its rows rounded up to whole rounds. Raises PlanError as `phases_of` does."""
    phases_of(op, target)
    largest = canonical(op, target)
    return LayerContract(name_of(largest), target, largest)


def name_of(op: LayerOp) -> str:
    match op:
        case Linear():
            parts = ["_norm"] * op.norm + [GELU[op.activation]] + ["_residual"] * op.residual
            return f"layer_linear_{op.M}x{op.K}x{op.N}{''.join(parts)}"
        case Attention():
            return f"layer_attention_{op.n_ctx}x{op.n_state}x{op.n_head}"
        case EncoderLayer():
            return f"layer_encoder_{op.n_ctx}x{op.n_state}x{op.n_head}x{op.n_mlp}"
        case Stem():
            return f"layer_stem_{op.n_ctx}x{op.n_mels}x{op.n_state}"


def contract_named(name: str, target: Target) -> LayerContract | None:
    """The contract of exactly this name, of any sizes that the kernels take; None for any other name."""
    op = _op_named(name)
    if op is None or why_not(op, target) is not None:
        return None
    contract = layer(op, target)
    return contract if contract.name == name else None


def _op_named(name: str) -> LayerOp | None:
    size = "(0|[1-9][0-9]{0,6})"
    linear = re.fullmatch(f"layer_linear_{size}x{size}x{size}(_norm)?(_gelu)?(_residual)?", name)
    attention = re.fullmatch(f"layer_attention_{size}x{size}x{size}", name)
    encoder = re.fullmatch(f"layer_encoder_{size}x{size}x{size}x{size}", name)
    stem = re.fullmatch(f"layer_stem_{size}x{size}x{size}", name)
    try:
        if linear:
            activation = Activation.GELU if linear[5] else Activation.NONE
            M, K, N = (int(linear[group]) for group in (1, 2, 3))
            return Linear(M, K, N, bool(linear[4]), activation, bool(linear[6]))
        if attention:
            n_ctx, n_state, n_head = map(int, attention.groups())
            return Attention(n_ctx, n_state, n_head, masked=True)
        if encoder:
            n_ctx, n_state, n_head, n_mlp = map(int, encoder.groups())
            return EncoderLayer(n_ctx, n_state, n_head, n_mlp)
        if stem:
            n_ctx, n_mels, n_state = map(int, stem.groups())
            return Stem(n_ctx, n_mels, n_state)
    except PlanError:  # sizes that no op has
        return None
    return None


def contracts(target: Target) -> tuple[LayerContract, ...]:
    """None: they are of any sizes, which their names say."""
    return ()


def kernels(target: Target) -> tuple[Kernel, ...]:
    """What the planner may be asked for."""
    return (OnArray(target),) if why_not(Linear(1, 1, 1), target) is None else ()


def kernels_built(built: Iterable[Contract]) -> tuple[Kernel, ...]:
    """The same where only these kernels are built."""
    mine = [contract for contract in built if isinstance(contract, LayerContract)]
    targets = dict.fromkeys(contract.target for contract in mine)
    return tuple(
        OnArray(target, tuple(contract for contract in mine if contract.target == target))
        for target in targets
    )
