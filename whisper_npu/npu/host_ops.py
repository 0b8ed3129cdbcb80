"""The ops that the host does by itself, where no kernel is chosen for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from whisper_npu.host.elementwise import gelu, layer_norm, softmax
from whisper_npu.host.threads import Threads
from whisper_npu.ops import EPSILON, Activation, Epilogue, MergeHeads, Norm, Op, Softmax, SplitHeads, Windows


def run_on_host(op: Op, values: dict[str, Any], threads: Threads) -> None:
    """Run an op on `values`, by the names of its operands; a result that is missing is put there.

    Raises NotImplementedError for an op that neither a kernel nor the host can do: a defect of the op.
    """
    match op:
        case Norm():
            _norm(op, values, threads)
        case Epilogue():
            threads.parallel_for_blocks(lambda rows: finish(op, values, rows), op.M, 4 * op.N)
        case Softmax():
            _softmax(op, values, threads)
        case Windows():
            windows = op.view(values["x"])  # of rows that overlap
            if "y" in values:
                values["y"][...] = windows
            else:
                values["y"] = windows
        case SplitHeads():
            for name, view in zip(("q", "k_t", "v"), op.views(values["qkv"]), strict=True):
                if name in values:
                    values[name][...] = view
                else:
                    values[name] = view
        case MergeHeads():
            merged = op.merged(values["context"])  # (n_ctx, n_head, d_head)
            y = values.setdefault("y", np.empty((op.n_ctx, op.n_state), np.float32))
            threads.parallel_for_rows(lambda to, heads: np.copyto(to, heads), y.reshape(merged.shape), merged)
        case _:
            raise NotImplementedError(f"{type(op).__name__} has no kernel, no parts, and nothing on the host")


def _norm(op: Norm, values: dict[str, Any], threads: Threads) -> None:
    for operand in op.outputs:
        values.setdefault(operand.name, np.empty(operand.shape, np.float32))
    threads.parallel_for_blocks(lambda rows: normalise(op, values, rows), op.M, 4 * op.N)


def normalise(op: Norm, values: dict[str, Any], rows: slice) -> None:
    """Some rows of a Norm."""
    x, y = values["x"][rows].astype(np.float32, copy=False), values["y"][rows]
    if op.residual:
        x = np.add(x, values["residual"][rows], out=values["sum"][rows])
    layer_norm(x, values["weight"], values["bias"], EPSILON, out=y)


def finish(op: Epilogue, values: dict[str, Any], rows: slice) -> None:
    """Some rows of an Epilogue."""
    y = values["y"][rows]
    y += values["bias"]
    if op.activation is Activation.GELU:
        gelu(y)
    if op.residual:
        y += values["residual"][rows]


def _softmax(op: Softmax, values: dict[str, Any], threads: Threads) -> None:
    masked = masked_keys(values.get("mask"))

    def some(queries: Any) -> None:
        attend(queries, masked)

    for head in values["scores"].reshape(-1, op.queries, op.keys):
        threads.parallel_for_rows(some, head)


def attend(scores: Any, masked: Any) -> None:
    """Scores of some queries to weights, in place. scores: (queries, keys); masked: indices of keys."""
    if len(masked):
        scores[:, masked] = -np.inf
    softmax(scores, -1)


def masked_keys(mask: Any) -> Any:
    """The indices of the keys that no query may attend to."""
    return np.empty(0, np.intp) if mask is None else np.flatnonzero(mask == 0)
