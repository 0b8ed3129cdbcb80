"""Which phases an op becomes in one dispatch, and where its operands lie. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from whisper_npu.dtypes import DType
from whisper_npu.errors import PlanError
from whisper_npu.kernels.layer.phases import (
    BF16_BYTES,
    D_HEAD,
    HEADERS,
    KEYS,
    MAX_BIASES,
    MAX_KEYS,
    MAX_ROW,
    OBJECT,
    TILE,
    UNIT,
    WEIGHTS,
    Attend,
    Gemm,
    Matrix,
    Phase,
    Rows,
    Units,
    context_row,
    padded,
    qkv_row,
    row_length,
)
from whisper_npu.kernels.layer.planes import Planes, planes
from whisper_npu.kernels.layer.weights import elements, numbers_of
from whisper_npu.kernels.layer.work import l1_bytes
from whisper_npu.npu.layout import Layout
from whisper_npu.npu.targets import WORD_BYTES, Target
from whisper_npu.ops import Activation, Attention, EncoderLayer, Linear, Op, Stem
from whisper_npu.ops.stem import WIDTH

LayerOp = Linear | Attention | EncoderLayer | Stem


@dataclass(frozen=True)
class Laid:
    """The phases of a dispatch, and where its operands lie. Arguments follow in the order of a contract's."""

    phases: tuple[Phase, ...]
    x: Layout
    weights: tuple[int, int] | None  # K and N of the weight that WEIGHTS is for; None: of several
    residual: Layout | None
    work: int  # elements of bf16 that WORK has; 0: there is none
    y: Layout
    y_dtype: DType  # as the array writes it
    y_stream: Planes | None  # where y is a residual stream
    objects: int  # of WEIGHTS
    headers: str = HEADERS  # the argument that has them


def why_not(op: Op, target: Target) -> str | None:
    """What keeps an op from being made whole, with the numbers; None where nothing does."""
    if not isinstance(op, (Linear, Attention, EncoderLayer, Stem)):
        return f"{op} is neither a linear layer, nor attention, nor an encoder layer, nor a stem"
    if (target.columns, target.core_rows, target.micro_tile) != (4, 4, (4, 8, 4)):
        return (
            f"the array has {target.columns} columns of {target.core_rows} cores, the kernels are for 4 of 4"
        )
    if l1_bytes(target) > target.l1_bytes:
        return f"a core would hold {l1_bytes(target):,} bytes of {target.l1_bytes:,}"
    if isinstance(op, Linear):
        widths = [op.K] * op.norm + [op.N] * op.residual
    elif isinstance(op, Stem):
        widths = [op.n_state]
        if op.n_mels * BF16_BYTES % WORD_BYTES:
            return f"its rows have {op.n_mels} numbers, a DMA steps over an even number of bf16"
    else:
        if op.n_state != op.n_head * D_HEAD:
            return f"its heads have {op.n_state // op.n_head} numbers each, the kernels take {D_HEAD}"
        if op.n_ctx > MAX_KEYS:
            return f"it has {op.n_ctx:,} keys, a header's mask has {MAX_KEYS:,}"
        widths = [op.n_state] if isinstance(op, EncoderLayer) else []
    if isinstance(op, Linear) and op.norm and op.K % TILE:
        return f"its norm is of {op.K} numbers, a core takes multiples of {TILE}"
    if widths and max(widths) > MAX_ROW:
        return f"rows of its residual stream have {max(widths):,} numbers, a core holds {MAX_ROW:,}"
    found = laid_out(canonical(op, target), target)
    largest = max(max(numbers_of(phase, target).values()) for phase in found.phases)
    if largest >= 2**16:
        return f"a core would have to count to {largest:,}, a header's numbers end at {2**16 - 1:,}"
    return None


def canonical(op: LayerOp, target: Target) -> LayerOp:
    """The largest op that the same dispatch makes: a mask, too, stands in a header."""
    if isinstance(op, Linear):
        M = padded(op.M, target.core_rows * TILE)
        return Linear(M, op.K, op.N, op.norm, op.activation, op.residual)
    if isinstance(op, Stem):
        return Stem(padded(op.n_ctx, target.core_rows * TILE), op.n_mels, op.n_state)
    if isinstance(op, Attention):
        return Attention(padded(op.n_ctx, KEYS), op.n_state, op.n_head, masked=True)
    return EncoderLayer(padded(op.n_ctx, KEYS), op.n_state, op.n_head, op.n_mlp)


def rows_of(op: LayerOp) -> int:
    return op.M if isinstance(op, Linear) else op.n_ctx


def with_rows(op: LayerOp, rows: int) -> LayerOp:
    return replace(op, M=rows) if isinstance(op, Linear) else replace(op, n_ctx=rows)


def phases_of(op: LayerOp, target: Target) -> tuple[Phase, ...]:
    """Of one dispatch. Raises PlanError, with the numbers, for an op that cannot be made whole."""
    reason = why_not(op, target)
    if reason is not None:
        raise PlanError(f"no layer kernel for {op}: {reason}; take another kernel")
    return laid_out(canonical(op, target), target).phases


@lru_cache(maxsize=256)
def laid_out(op: LayerOp, target: Target) -> Laid:
    match op:
        case Linear():
            laid = _linear(op, target)
        case Attention():
            laid = _attention(op, target)
        case EncoderLayer():
            laid = _encoder_layer(op, target)
        case Stem():
            laid = _stem(op, target)
    in_order = (
        replace(phase, header=target.columns * n, headers=laid.headers) for n, phase in enumerate(laid.phases)
    )
    return replace(laid, phases=tuple(in_order))


def _linear(op: Linear, target: Target) -> Laid:
    """What a dispatch makes for itself lies in Y, behind its rows: normalised rows, and what is added."""
    M, K, N = in_rounds(op.M, op.K, op.N, target)
    phases: list[Phase] = []
    y = planes(target, "Y", 0, M, op.N) if op.residual else None
    own = end = M * N if y is None else y.elements
    if op.norm:
        x = planes(target, "X", 0, M, op.K)
        a = Matrix("Y", end, row_length(op.K))
        end += M * a.ld
        phases.append(Rows(M, op.K, x.units, None, None, a))
        x_layout = _stream("X", x, (op.M, op.K))
    else:
        a = Matrix("X", 0, K)
        x_layout = Layout("X", op.M, op.K, M, K, DType.BF16)
    if y is None:
        phases += _gemms(target, (M, K, N), op.activation, a, 0, Matrix("Y", 0, N))
        y_layout = Layout("Y", op.M, op.N, M + -(-(end - own) // N), N, DType.F32)
    else:
        residual, u = planes(target, "RESIDUAL", 0, M, op.N), Matrix("Y", end, 2 * y.row)
        end += M * u.ld
        phases += _gemms(target, (M, K, N), op.activation, a, 0, u, DType.F32)
        phases.append(Rows(M, op.N, residual.units, _plain(u), y.units, None))
        y_layout = _stream("Y", y, (op.M, op.N), -(-(end - own) // (2 * y.row)))
    return Laid(
        tuple(phases),
        x=x_layout,
        weights=(op.K, op.N),
        residual=_stream("RESIDUAL", residual, (op.M, op.N)) if y else None,
        work=0,
        y=y_layout,
        y_dtype=DType.F32 if y else DType.BF16,
        y_stream=y,
        objects=elements(phases, target) // OBJECT,
    )


def _attention(op: Attention, target: Target) -> Laid:
    M, row = padded(op.n_ctx, target.core_rows * TILE), qkv_row(op.n_head, target.columns)
    context = context_row(op.n_head, target.columns)
    phase = Attend(M, op.n_ctx, op.n_head, Matrix("QKV", 0, row), Matrix("Y", 0, context))
    return Laid(
        (phase,),
        x=Layout("QKV", op.n_ctx, 3 * op.n_state, M, row, DType.BF16),
        weights=None,
        residual=None,
        work=0,
        y=Layout("Y", op.n_ctx, op.n_state, M, context, DType.F32),
        y_dtype=DType.BF16,
        y_stream=None,
        objects=0,
    )


def _encoder_layer(op: EncoderLayer, target: Target) -> Laid:
    """WORK has the stream after attention, normalised rows, qkv, the context, the middle, what is added."""
    M, n_state = padded(op.n_ctx, target.core_rows * TILE), op.n_state
    x, y = (planes(target, name, 0, M, n_state) for name in ("X", "Y"))
    stream = planes(target, "WORK", 0, M, n_state, normed=True)
    widths = (
        qkv_row(op.n_head, target.columns),
        context_row(op.n_head, target.columns),
        padded(op.n_mlp, target.columns * TILE),
        2 * stream.row,  # fp32
    )
    matrices, end = [], stream.elements
    for width in widths:
        matrices.append(Matrix("WORK", end, width))
        end += M * width
    qkv, context, middle, u = matrices
    phases: list[Phase] = [Rows(M, n_state, x.units, None, None, stream.normed)]

    def multiply(K: int, N: int, a: Matrix, c: Matrix, activation: Activation = Activation.NONE) -> None:
        """What goes to u is added to the stream, and fp32."""
        b, result = elements(phases, target) // OBJECT, DType.F32 if c is u else DType.BF16
        phases.extend(_gemms(target, in_rounds(M, K, N, target), activation, a, b, c, result))

    multiply(n_state, qkv.ld, stream.normed, qkv)
    phases.append(Attend(M, op.n_ctx, op.n_head, qkv, context))
    multiply(n_state, n_state, context, u)
    phases.append(Rows(M, n_state, x.units, _plain(u), stream.units, stream.normed))
    multiply(n_state, op.n_mlp, stream.normed, middle, Activation.GELU)
    multiply(op.n_mlp, n_state, middle, u)
    phases.append(Rows(M, n_state, stream.units, _plain(u), y.units, None))
    return Laid(
        tuple(phases),
        x=_stream("X", x, (op.n_ctx, n_state)),
        weights=None,
        residual=None,
        work=end,
        y=_stream("Y", y, (op.n_ctx, n_state)),
        y_dtype=DType.F32,
        y_stream=y,
        objects=elements(phases, target) // OBJECT,
    )


def _stem(op: Stem, target: Target) -> Laid:
    """A window of a convolution is three rows that lie one behind the other: no row is moved for it.

    Before the first row lies one of zeros. Behind the last window of X a product reads on, up to its K, what
    its weights are 0 for. WORK has the first convolution's result, and what is added.
    """
    M, n_state = padded(op.n_ctx, target.core_rows * TILE), op.n_state
    K, middle = padded(WIDTH * op.n_mels, TILE), stem_row(op, target)
    x_rows = 2 * M - 1 + -(-K // op.n_mels)
    residual, y = (planes(target, name, 0, M, n_state) for name in ("RESIDUAL", "Y"))
    rows = Matrix("WORK", middle, middle)
    u = Matrix("WORK", (1 + 2 * M) * middle, 2 * y.row)
    gelu, headers = Activation.GELU, target.columns * 3  # one for each column in each phase

    sizes = in_rounds(2 * M, K, n_state, target)
    phases: list[Phase] = [*_gemms(target, sizes, gelu, Matrix("X", 0, op.n_mels), headers, rows)]
    b = headers + elements(phases, target) // OBJECT
    windows, sizes = Matrix("WORK", 0, 2 * middle), in_rounds(M, WIDTH * middle, n_state, target)
    phases += _gemms(target, sizes, gelu, windows, b, u, DType.F32)
    phases.append(Rows(M, n_state, residual.units, _plain(u), y.units, None))
    return Laid(
        tuple(phases),
        x=Layout("X", x_rows, op.n_mels, x_rows, op.n_mels, DType.BF16, stands_for=(op.n_frames, op.n_mels)),
        weights=None,
        residual=_stream("RESIDUAL", residual, (op.n_ctx, n_state)),
        work=u.offset + M * u.ld,
        y=_stream("Y", y, (op.n_ctx, n_state)),
        y_dtype=DType.F32,
        y_stream=y,
        objects=headers + elements(phases, target) // OBJECT,
        headers=WEIGHTS,
    )


def stem_row(op: Stem, target: Target) -> int:
    """From one row of the first convolution's result to the next."""
    return padded(op.n_state, target.columns * TILE)


def in_rounds(M: int, K: int, N: int, target: Target) -> tuple[int, int, int]:
    """In whole rounds."""
    return padded(M, target.core_rows * TILE), padded(K, TILE), padded(N, target.columns * TILE)


def _plain(rows: Matrix) -> Units:
    """Rows of fp32 as a product leaves them."""
    return Units(rows.argument, rows.offset, 2 * UNIT, UNIT)


def _gemms(
    target: Target,
    sizes: tuple[int, int, int],
    activation: Activation,
    a: Matrix,
    b: int,
    c: Matrix,
    result: DType = DType.BF16,
) -> list[Gemm]:
    """One product: as many phases as its biases need. b: where its objects of WEIGHTS begin."""
    M, K, N = sizes
    found = []
    for cols in column_parts(N, target):
        to = replace(c, offset=c.offset + cols.start * result.nbytes // DType.BF16.nbytes)
        phase = Gemm(M, K, cols.stop - cols.start, activation, a, b, to, result=result)
        b += elements([phase], target) // OBJECT
        found.append(phase)
    return found


def column_parts(N: int, target: Target) -> list[slice]:
    """Columns of a product that a phase makes: those whose biases one header holds, in equal parts."""
    width = target.columns * TILE
    blocks, most = N // width, MAX_BIASES // TILE
    each = -(-blocks // -(-blocks // most))
    return [slice(width * first, width * min(first + each, blocks)) for first in range(0, blocks, each)]


def _stream(name: str, where: Planes, shape: tuple[int, int], behind: int = 0) -> Layout:
    """Rows of the residual stream, in another order than the op's. behind: rows after them, no result."""
    rows = where.elements // 2 // where.row
    return Layout(name, rows, where.row, rows + behind, where.row, DType.F32, stands_for=shape)
