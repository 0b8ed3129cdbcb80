"""Multi-head self-attention on the NPU, usable in any model: no checkpoint, no audio, no Whisper.

import numpy as np
from whisper_npu import AttentionNPU

attention = AttentionNPU(wq, wk, wv, wo, n_head=8)  # each (512, 512)
y = attention(x)  # (n_ctx, 512) float32 -> (n_ctx, 512) float32
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_npu.errors import UsageError
from whisper_npu.host.bf16 import F32
from whisper_npu.host.elementwise import softmax
from whisper_npu.layers import Linear
from whisper_npu.npu.device import Enters, RowFunction, open_device
from whisper_npu.npu.matmul import Matmul, as_it_is, matmul_on
from whisper_npu.npu.plan import Problem

TYPICAL_N_CTX = 1500  # what a kernel is chosen for; Whisper's 30 s


class AttentionNPU:
    """softmax(Q K^T / sqrt(d_head)) V over `n_head` heads, with its four projections.

    Source: Vaswani et al., arXiv 1706.03762, section 3.2. All six kinds of product are NPU dispatches;
    bias, softmax and mask are fp32 on the host. Weights are (out, in) as PyTorch stores them, (n_state,
    n_state) each; biases (n_state,) or None. They are staged on the device once, here.

    matmul: the device and kernel to run on, from `matmul_on`. None takes what `open_device("auto")` opens and
    the kernel of least modelled cost for 1,500 positions; `attention.matmul` says which they are.
    Raises UsageError where shapes do not fit each other or `n_head` does not divide n_state.
    """

    def __init__(
        self,
        q_weight: NDArray[np.floating],
        k_weight: NDArray[np.floating],
        v_weight: NDArray[np.floating],
        out_weight: NDArray[np.floating],
        *,
        n_head: int,
        q_bias: NDArray[np.floating] | None = None,
        k_bias: NDArray[np.floating] | None = None,
        v_bias: NDArray[np.floating] | None = None,
        out_bias: NDArray[np.floating] | None = None,
        matmul: Matmul | None = None,
    ) -> None:
        given = {"q": q_weight, "k": k_weight, "v": v_weight, "out": out_weight}
        weights = {name: np.asarray(weight) for name, weight in given.items()}
        given_biases = {"q": q_bias, "k": k_bias, "v": v_bias, "out": out_bias}
        biases = {name: None if bias is None else np.asarray(bias) for name, bias in given_biases.items()}
        n_state = max((1, *weights["q"].shape[-1:]))
        for name, weight in weights.items():
            if weight.shape != (n_state, n_state):
                raise UsageError(f"{name}_weight has shape {weight.shape}, must be {(n_state, n_state)}")
        for name, bias in biases.items():
            if bias is not None and bias.shape != (n_state,):
                raise UsageError(f"{name}_bias has shape {bias.shape}, must be {(n_state,)}")
        if n_head < 1 or n_head % 1 or n_state % n_head:
            raise UsageError(f"n_head {n_head} does not divide n_state {n_state}: take a divisor")

        def bias_of(*names: str) -> F32:
            given = [biases[name] for name in names]
            joined: F32 = np.concatenate([np.zeros(n_state) if b is None else b for b in given]).astype("f4")
            return joined

        self.n_head = int(n_head)
        self.n_state = n_state
        problems = attention_problems(TYPICAL_N_CTX, n_state, self.n_head)
        self.matmul = matmul or matmul_on(open_device(), "auto", problems)
        # One product for the three projections: x is packed once, and N has fewer part-filled tiles.
        qkv_weight = np.concatenate([weights[name] for name in "qkv"])  # (3 * n_state, n_state)
        self._qkv = Linear(
            qkv_weight,
            bias_of("q", "k", "v"),
            self.matmul,
            name="attention.qkv",
            after=partial(_scale_q, n_state=n_state, d_head=n_state // self.n_head),
        )
        self._out = Linear(weights["out"], bias_of("out"), self.matmul, name="attention.out")

    def __call__(
        self,
        x: F32,
        key_mask: ArrayLike | None = None,
        *,
        norm: RowFunction = as_it_is,
        add: F32 | None = None,
    ) -> F32:
        """Attention of norm(x), plus `add`. x, add: (n_ctx, n_state) float32, n_ctx from 1 up.

        key_mask: (n_ctx,) bool, or 0 and 1; False and 0 for keys that no query may attend to. norm: of some
        rows of x, called from several threads. Returns (n_ctx, n_state) float32.

        Raises UsageError where shapes do not fit or the mask leaves no key.
        """
        x = np.asarray(x, np.float32)
        masked = self._masked_keys(x, key_mask)
        add = None if add is None else np.asarray(add, np.float32)
        if add is not None and add.shape != x.shape:
            raise UsageError(f"add has shape {add.shape}, must be {x.shape}, that of x")
        q, k, v = self._heads(self._qkv(x, before=norm))

        def attend(scores: F32, keys: int) -> None:
            """Scores of some queries to weights; `keys` is the axis along which the keys lie."""
            if len(masked):
                scores.swapaxes(keys, -1)[..., masked] = -np.inf
            softmax(scores, keys)

        if self._transposed(*q.shape):
            context = self._chained(k, q.swapaxes(1, 2), partial(attend, keys=-2), v.swapaxes(1, 2), Enters.B)
            context = context.swapaxes(1, 2)  # O^T = V^T P^T, P^T = softmax(K Q^T)
        else:
            context = self._chained(q, k.swapaxes(1, 2), partial(attend, keys=-1), v, Enters.A)
        return self._out(context.swapaxes(0, 1), before=_joined, add=add)  # context: (n_head, n_ctx, d_head)

    def _chained(self, a: F32, b: F32, attend: Callable[[F32], None], values: F32, enters: Enters) -> F32:
        names = ("attention.scores", "attention.context")
        return self.matmul.chain(a, b, attend, values, enters=enters, operations=names)

    def _heads(self, x: F32) -> F32:
        """(n_ctx, p * n_state) -> (p, n_head, n_ctx, d_head), views: p is 3 for q, k, v side by side."""
        n_ctx, d_head = x.shape[0], self.n_state // self.n_head
        return x.reshape(n_ctx, -1, self.n_head, d_head).transpose(1, 2, 0, 3)

    def _transposed(self, n_head: int, n_ctx: int, d_head: int) -> bool:
        """Whether O^T = V^T P^T is modelled cheaper than O = P V.

        N is d_head in one, M in the other: what tile or array is wide in N, or in M, stays half empty.
        """
        upright = Problem(n_ctx, n_ctx, d_head, n_head)
        return self.matmul.modelled_seconds(upright.transposed) < self.matmul.modelled_seconds(upright)

    def _masked_keys(self, x: F32, key_mask: ArrayLike | None) -> NDArray[np.intp]:
        """The indices of the keys to leave out. Padding needs no mask: it never leaves the device."""
        if x.ndim != 2 or x.shape[0] < 1 or x.shape[1] != self.n_state:
            raise UsageError(f"x has shape {x.shape}, must be (n_ctx, {self.n_state}) with n_ctx at least 1")
        if key_mask is None:
            return np.empty(0, np.intp)
        mask = np.asarray(key_mask)
        if mask.shape != x.shape[:1]:
            raise UsageError(f"key_mask has shape {mask.shape}, must be {x.shape[:1]}, one flag a key")
        if not np.isin(mask, (0, 1)).all():
            raise UsageError(
                f"key_mask holds {mask[~np.isin(mask, (0, 1))][0]}, must hold booleans, or 0 and 1"
            )
        if not mask.any():
            raise UsageError("key_mask leaves no key: at least one must be True")
        return np.flatnonzero(mask == 0)


def _scale_q(qkv: F32, n_state: int, d_head: int) -> None:
    """Divide q by sqrt(d_head). qkv: (some rows of n_ctx, 3 * n_state)."""
    qkv[:, :n_state] *= np.float32(d_head**-0.5)


def _joined(heads: F32) -> F32:
    """(some rows of n_ctx, n_head, d_head) -> (rows, n_state)."""
    return heads.reshape(len(heads), -1)


def attention_problems(n_ctx: int, n_state: int, n_head: int) -> list[Problem]:
    """The products of one call in order, for choosing kernels."""
    d_head = n_state // n_head
    heads = [Problem(n_ctx, d_head, n_ctx, n_head), Problem(n_ctx, n_ctx, d_head, n_head)]
    return [Problem(n_ctx, n_state, 3 * n_state), *heads, Problem(n_ctx, n_state, n_state)]
