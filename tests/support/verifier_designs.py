"""Small designs for npu1 as text, for the verifier's tests, and the functions that their cores call.

Written here, not by the kernels' generators: the verifier has to be right whatever those do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from whisper_npu.kernels.verifier import Execution, execute, parse
from whisper_npu.npu.targets import NPU1

BF16 = ml_dtypes.bfloat16
R, S, T = 4, 8, 4  # one bf16 mmul


def functions(m: int, k: int, n: int) -> str:
    return f"""
    func.func private @zero(memref<{m}x{n}xf32>) attributes {{link_with = "matmul.o"}}
    func.func private @matmul(memref<{m}x{k}xbf16>, memref<{k}x{n}xbf16>, memref<{m}x{n}xf32>) attributes {{link_with = "matmul.o"}}"""  # noqa: E501


def a_order(m: int, k: int) -> str:
    return (
        f"[<size = {m // R}, stride = {R * k}>, <size = {k // S}, stride = {S}>, "
        f"<size = {R}, stride = {k}>, <size = {S}, stride = 1>]"
    )


def b_order(k: int, n: int) -> str:
    return (
        f"[<size = {k // S}, stride = {S * n}>, <size = {n // T}, stride = {T}>, "
        f"<size = {S}, stride = {n}>, <size = {T}, stride = 1>]"
    )


def c_order(m: int, n: int) -> str:
    return (
        f"[<size = {m // R}, stride = {R * n}>, <size = {R}, stride = {T}>, "
        f"<size = {n // T}, stride = {R * T}>, <size = {T}, stride = 1>]"
    )


def step(m: int, k: int, n: int, b: str = "B_L2L1") -> str:
    """One tile of A and one of B, added to C."""
    return f"""
          %sa = aie.objectfifo.acquire @A_L2L1(Consume, 1) : !aie.objectfifosubview<memref<{m}x{k}xbf16>>
          %a = aie.objectfifo.subview.access %sa[0] : !aie.objectfifosubview<memref<{m}x{k}xbf16>> -> memref<{m}x{k}xbf16>
          %sb = aie.objectfifo.acquire @{b}(Consume, 1) : !aie.objectfifosubview<memref<{k}x{n}xbf16>>
          %b = aie.objectfifo.subview.access %sb[0] : !aie.objectfifosubview<memref<{k}x{n}xbf16>> -> memref<{k}x{n}xbf16>
          func.call @matmul(%a, %b, %c) : (memref<{m}x{k}xbf16>, memref<{k}x{n}xbf16>, memref<{m}x{n}xf32>) -> ()
          aie.objectfifo.release @A_L2L1(Consume, 1)
          aie.objectfifo.release @{b}(Consume, 1)"""  # noqa: E501


def core(row: int, m: int, k: int, n: int, steps: int, b: str = "B_L2L1", c: str = "C_L1L2") -> str:
    return f"""
    %core_{row} = aie.core(%t0_{row}) {{
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      %steps = arith.constant {steps} : index
      scf.for %round = %c0 to %forever step %c1 {{
        %sc = aie.objectfifo.acquire @{c}(Produce, 1) : !aie.objectfifosubview<memref<{m}x{n}xf32>>
        %c = aie.objectfifo.subview.access %sc[0] : !aie.objectfifosubview<memref<{m}x{n}xf32>> -> memref<{m}x{n}xf32>
        func.call @zero(%c) : (memref<{m}x{n}xf32>) -> ()
        scf.for %kk = %c0 to %steps step %c1 {{{step(m, k, n, b)}
        }}
        aie.objectfifo.release @{c}(Produce, 1)
      }}
      aie.end
    }} {{stack_size = 3328 : i32}}"""  # noqa: E501


def movement(m: int, k: int, n: int) -> str:
    """A, B and C between shim, memtile and the core (0,2)."""
    return f"""
    %t0_0 = aie.tile(0, 0)
    %t0_1 = aie.tile(0, 1)
    %t0_2 = aie.tile(0, 2)
    // A and B come in tiles
    aie.objectfifo @A_L3L2(%t0_0, {{%t0_1}}, 2 : i32) : !aie.objectfifo<memref<{m * k}xbf16>>
    aie.objectfifo @A_L2L1(%t0_1 dimensionsToStream {a_order(m, k)}, {{%t0_2}}, 2 : i32) : !aie.objectfifo<memref<{m}x{k}xbf16>>
    aie.objectfifo.link [@A_L3L2] -> [@A_L2L1]([] [])
    aie.objectfifo @B_L3L2(%t0_0, {{%t0_1}}, 2 : i32) : !aie.objectfifo<memref<{k * n}xbf16>>
    aie.objectfifo @B_L2L1(%t0_1 dimensionsToStream {b_order(k, n)}, {{%t0_2}}, 2 : i32) : !aie.objectfifo<memref<{k}x{n}xbf16>>
    aie.objectfifo.link [@B_L3L2] -> [@B_L2L1]([] [])
    aie.objectfifo @C_L1L2(%t0_2, {{%t0_1}}, 1 : i32) : !aie.objectfifo<memref<{m}x{n}xf32>>
    aie.objectfifo @C_L2L3(%t0_1 dimensionsToStream {c_order(m, n)}, {{%t0_0}}, 1 : i32) : !aie.objectfifo<memref<{m * n}xf32>>
    aie.objectfifo.link [@C_L1L2] -> [@C_L2L3]([] [])"""  # noqa: E501


def sequence(m: int, k: int, n: int, steps: int, first: str = "") -> str:
    K = steps * k
    return f"""
    aie.runtime_sequence @sequence(%A: memref<{m * K}xbf16>, %B: memref<{K * n}xbf16>, %C: memref<{m * n}xf32>) {{{first}
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 0][1, 1, {m}, {n}][0, 0, {n}, 1]) {{id = 2 : i64, metadata = @C_L2L3, issue_token = true}} : memref<{m * n}xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 0][1, {steps}, {m}, {k}][0, {k}, {K}, 1]) {{id = 0 : i64, metadata = @A_L3L2}} : memref<{m * K}xbf16>
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 0][1, {steps}, {k}, {n}][0, {k * n}, {n}, 1]) {{id = 1 : i64, metadata = @B_L3L2}} : memref<{K * n}xbf16>
      aiex.npu.dma_wait {{symbol = @C_L2L3}}
    }}"""  # noqa: E501


def device(body: str) -> str:
    return f"module {{\n  aie.device(npu1_1col) {{{body}\n  }}\n}}\n"


def one_core(m: int = 8, k: int = 16, n: int = 12, steps: int = 3) -> str:
    """(m, steps * k) @ (steps * k, n) on one core."""
    return device(functions(m, k, n) + movement(m, k, n) + core(2, m, k, n, steps) + sequence(m, k, n, steps))


def runtime_k(m: int = 8, k: int = 16, n: int = 12, steps: int = 3) -> str:
    """The same, told by the sequence how many steps there are."""
    program = f"""
    %buffer = aie.buffer(%t0_2) {{sym_name = "steps"}} : memref<1xi32>
    %core = aie.core(%t0_2) {{
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %forever = arith.constant 4294967295 : index
      scf.for %round = %c0 to %forever step %c1 {{
        %sc = aie.objectfifo.acquire @C_L1L2(Produce, 1) : !aie.objectfifosubview<memref<{m}x{n}xf32>>
        %c = aie.objectfifo.subview.access %sc[0] : !aie.objectfifosubview<memref<{m}x{n}xf32>> -> memref<{m}x{n}xf32>
        func.call @zero(%c) : (memref<{m}x{n}xf32>) -> ()
        // the first step, then the others{step(m, k, n)[: step(m, k, n).index("func.call")]}%loaded = memref.load %buffer[%c0] : memref<1xi32>
          %steps = arith.index_cast %loaded : i32 to index
          {step(m, k, n)[step(m, k, n).index("func.call") :]}
        scf.for %kk = %c1 to %steps step %c1 {{{step(m, k, n).replace("%s", "%t").replace("%a", "%x").replace("%b", "%y")}
        }}
        aie.objectfifo.release @C_L1L2(Produce, 1)
      }}
      aie.end
    }} {{dynamic_objfifo_lowering = true, stack_size = 3328 : i32}}"""  # noqa: E501
    write = f"\n      aiex.npu.rtp_write(@steps, 0, {steps})"
    return device(functions(m, k, n) + movement(m, k, n) + program + sequence(m, k, n, steps, write))


def column(m: int = 8, k: int = 16, n: int = 12, steps: int = 2, rounds: int = 3) -> str:
    """(rounds * m, steps * k) @ (steps * k, 4 * n) on the four cores of a column.

    A is broadcast, B split, C joined; B comes once more for every round of rows.
    """
    M, K, N, piece = rounds * m, steps * k, 4 * n, k * n
    cores = range(4)
    movement = f"""
    %t0_0 = aie.tile(0, 0)
    %t0_1 = aie.tile(0, 1)
    {" ".join(f"%t0_{2 + j} = aie.tile(0, {2 + j})" for j in cores)}
    aie.objectfifo @A_L3L2(%t0_0, {{%t0_1}}, 2 : i32) : !aie.objectfifo<memref<{m * k}xbf16>>
    aie.objectfifo @A_L2L1(%t0_1 dimensionsToStream {a_order(m, k)}, {{%t0_2, %t0_3, %t0_4, %t0_5}}, 2 : i32) : !aie.objectfifo<memref<{m}x{k}xbf16>>
    aie.objectfifo.link [@A_L3L2] -> [@A_L2L1]([] [])
    aie.objectfifo @B_L3L2(%t0_0, {{%t0_1}}, [1 : i32, 2 : i32]) : !aie.objectfifo<memref<{4 * piece}xbf16>>"""  # noqa: E501
    for j in cores:
        movement += f"""
    aie.objectfifo @B_L2L1_{j}(%t0_1 dimensionsToStream {b_order(k, n)}, {{%t0_{2 + j}}}, 2 : i32) : !aie.objectfifo<memref<{k}x{n}xbf16>>
    aie.objectfifo @C_L1L2_{j}(%t0_{2 + j}, {{%t0_1}}, 1 : i32) : !aie.objectfifo<memref<{m}x{n}xf32>>"""  # noqa: E501
    movement += f"""
    aie.objectfifo.link [@B_L3L2] -> [@B_L2L1_0, @B_L2L1_1, @B_L2L1_2, @B_L2L1_3]([] [0, {piece}, {2 * piece}, {3 * piece}])
    aie.objectfifo @C_L2L3(%t0_1 dimensionsToStream {c_order(m, n)}, {{%t0_0}}, 1 : i32) : !aie.objectfifo<memref<{4 * m * n}xf32>>
    aie.objectfifo.link [@C_L1L2_0, @C_L1L2_1, @C_L1L2_2, @C_L1L2_3] -> [@C_L2L3]([0, {m * n}, {2 * m * n}, {3 * m * n}] [])"""  # noqa: E501
    programs = "".join(core(2 + j, m, k, n, steps, f"B_L2L1_{j}", f"C_L1L2_{j}") for j in cores)
    tasks = f"""
    aie.runtime_sequence @sequence(%A: memref<{M * K}xbf16>, %B: memref<{K * N}xbf16>, %C: memref<{M * N}xf32>) {{
      aiex.npu.dma_memcpy_nd(%C[0, 0, 0, 0][{rounds}, 4, {m}, {n}][{m * N}, {n}, {N}, 1]) {{id = 0 : i64, metadata = @C_L2L3, issue_token = true}} : memref<{M * N}xf32>
      aiex.npu.dma_memcpy_nd(%A[0, 0, 0, 0][{rounds}, {steps}, {m}, {k}][{m * K}, {k}, {K}, 1]) {{id = 1 : i64, metadata = @A_L3L2}} : memref<{M * K}xbf16>"""  # noqa: E501
    for number in range(rounds):
        tasks += f"""
      aiex.npu.dma_memcpy_nd(%B[0, 0, 0, 0][{steps}, 4, {k}, {n}][{k * N}, {n}, {N}, 1]) {{id = {2 + number} : i64, metadata = @B_L3L2}} : memref<{K * N}xbf16>"""  # noqa: E501
    tasks += """
      aiex.npu.dma_wait {symbol = @C_L2L3}
    }"""
    return device(functions(m, k, n) + movement + programs + tasks)


def task_of(text: str, fifo: str) -> str:
    """The line that starts the only task of a fifo."""
    (line,) = (line for line in text.splitlines() if f"metadata = @{fifo}" in line)
    return line


def waited_for(task: str) -> str:
    """A task with a token, for which the sequence waits at once."""
    fifo = task[task.index("metadata = @") + len("metadata = @") :].split("}")[0].split(",")[0]
    return f"{with_token(task)}\n      aiex.npu.dma_wait {{symbol = @{fifo}}}"


def with_token(task: str) -> str:
    return task if "issue_token" in task else task.replace("} :", ", issue_token = true} :")


def a_step_by_step(steps: int, ids: Sequence[int] = (), *, m: int = 8, k: int = 16, n: int = 12) -> str:
    """one_core, with a task of A for each step. ids: their descriptors, in order; else 3 and on."""
    text, K = one_core(m, k, n, steps), steps * k
    whole = task_of(text, "A_L3L2")
    tasks = []
    for step_number in range(steps):
        one = broken(whole, "%A[0, 0, 0, 0]", f"%A[0, 0, 0, {step_number * k}]")
        one = broken(one, f"[1, {steps}, {m}, {k}][0, {k}, {K}, 1]", f"[1, 1, {m}, {k}][0, 0, {K}, 1]")
        descriptor = ids[step_number] if ids else 3 + step_number
        tasks.append(broken(one, "id = 0 : i64", f"id = {descriptor} : i64"))
    return broken(text, whole, "\n".join(tasks))


def broken(text: str, old: str, new: str) -> str:
    """The design with one thing changed, which must be there."""
    assert old in text, old
    return text.replace(old, new, 1)


def to_rows(tile: NDArray[Any], r: int, s: int) -> NDArray[np.float32]:
    """(m/r, k/s, r, s) as it lies in the buffer -> (m, k) float32."""
    m, k = tile.shape
    return tile.reshape(m // r, k // s, r, s).swapaxes(1, 2).reshape(m, k).astype(np.float32)


class NumpyFunctions:
    """zero and matmul on micro-tiled buffers."""

    macs_per_call = 1000  # a number of its own: the verifier takes what it is told

    def reads(self, name: str) -> tuple[bool, ...]:
        return {"zero": (False,), "matmul": (True, True, True)}[name]

    def macs(self, name: str) -> int:
        return {"zero": 0, "matmul": self.macs_per_call}[name]

    def prepare(self, name: str, arguments: Sequence[NDArray[Any]]) -> Callable[[], None]:
        return partial(self.call, name, arguments)

    def call(self, name: str, arguments: Sequence[NDArray[Any]]) -> None:
        assert all(array.flags.c_contiguous for array in arguments)
        if name == "zero":
            arguments[0][...] = 0
            return
        a, b, c = arguments
        m, n = c.shape
        product = to_rows(a, R, S) @ to_rows(b, S, T)
        c += product.reshape(m // R, R, n // T, T).swapaxes(1, 2).reshape(m, n)


def operands(m: int, k: int, n: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32]]:
    """A (m,k) and B (k,n) bf16, random; C (m,n) float32, full of NaN."""
    rng = np.random.default_rng(m + 1000 * k + n)
    a, b = (rng.standard_normal(shape).astype(BF16) for shape in ((m, k), (k, n)))
    return a, b, np.full((m, n), np.nan, np.float32)


def run(text: str, m: int, k: int, n: int) -> tuple[Execution, float]:
    """Execute a design of (m,k)@(k,n); with the largest error, in float64."""
    a, b, c = operands(m, k, n)
    execution = execute(parse(text), [a, b, c], NumpyFunctions(), NPU1, timeout_seconds=10)
    error = np.abs(c - a.astype(np.float64) @ b.astype(np.float64)).max()
    return execution, float(error)
