// The product of one tile on one AIE-ML core: bf16 operands, fp32 sums. What matmul.cc and layer.cc share.
//
// Buffers hold micro-tiles of the target's r,s,t, as the memtile's DMA lays them out:
//   A (m/r, k/s, r, s)    B (k/s, n/t, s, t)    C (m/r, n/t, r, t)
//
// Loops: rows of blocks, columns of blocks, steps of s through k. A block is 4x4 micro-tiles of C.
//
// What follows is for r,s,t = 4,8,4. A block stays in 16 of the core's 18 accumulators of 512 bits (UG1603). A
// step loads 4 micro-tiles of A and 4 of B and multiplies each with each: 16 mmuls of 128 MACs, at best one per
// cycle. Its 8 vectors of 512 bits take 16 loads of 256; the two load units (AM020) do that in 8 cycles, if the
// two loads of a cycle are from different banks of the core's memory: from the same bank they take a cycle more
// (github.com/jdominick05/ignite-xdna, docs/SILICON.md). So the mmuls are what limits.
//
// Cycles: m*k*n / 128 at best, for instance 1024 for 64x64x32. Peano issues mlir-aie's loop of the same form at
// one vmac in two cycles, half of that (the same source, counted in the code that it made); nobody has looked at
// what it makes of this one. Around its steps a block writes 16 vectors of C, 32 cycles of the one store unit for
// fp32, and where C comes in it reads as many, 16 cycles; for 64x64x32 that is 8 * 48 = 384 cycles more if
// nothing overlaps it.

#pragma once

#include <aie_api/aie.hpp>

#if !defined(DIM_R) || !defined(DIM_S) || !defined(DIM_T)
#error "compile with -DDIM_R=.. -DDIM_S=.. -DDIM_T=..: the target's mmul multiplies r x s by s x t"
#endif

namespace {

constexpr unsigned r = DIM_R, s = DIM_S, t = DIM_T;
constexpr unsigned block = 4; // micro-tiles of C each way

using MMUL = aie::mmul<r, s, t, bfloat16, bfloat16, accfloat>;

enum class Sums { from_zero, onto_c };

template <unsigned m, unsigned k, unsigned n, Sums sums, typename T>
inline void multiply(const bfloat16 *__restrict a, const bfloat16 *__restrict b, T *__restrict c) {
  static_assert(m > 0 && m % (block * r) == 0, "m is a multiple of a block of micro-tiles");
  static_assert(k > 0 && k % s == 0, "k is a multiple of a micro-tile");
  static_assert(n > 0 && n % (block * t) == 0, "n is a multiple of a block of micro-tiles");

  // A core starts with floor (UG1603, Rounding and Saturation Modes).
  aie::set_rounding(aie::rounding_mode::conv_even);

  for (unsigned i = 0; i < m / r; i += block) {
    for (unsigned j = 0; j < n / t; j += block) {
      const bfloat16 *a_row = a + i * (k / s) * MMUL::size_A;
      const bfloat16 *b_column = b + j * MMUL::size_B;
      T *c_block = c + (i * (n / t) + j) * MMUL::size_C;

      MMUL C[block][block];
#pragma clang loop unroll(full)
      for (unsigned y = 0; y < block; ++y)
#pragma clang loop unroll(full)
        for (unsigned x = 0; x < block; ++x)
          if constexpr (sums == Sums::onto_c)
            C[y][x] = MMUL(aie::load_v<MMUL::size_C>(c_block + (y * (n / t) + x) * MMUL::size_C));
          else
            C[y][x] = MMUL(aie::zeros<float, MMUL::size_C>());

        // One step is a loop body of 16 cycles; unrolled, long k would not fit the 16 KiB of program memory.
#pragma clang loop unroll(disable)
      for (unsigned step = 0; step < k / s; ++step) {
        aie::vector<bfloat16, MMUL::size_A> A[block];
        aie::vector<bfloat16, MMUL::size_B> B[block];
#pragma clang loop unroll(full)
        for (unsigned y = 0; y < block; ++y)
          A[y] = aie::load_v<MMUL::size_A>(a_row + (y * (k / s) + step) * MMUL::size_A);
#pragma clang loop unroll(full)
        for (unsigned x = 0; x < block; ++x)
          B[x] = aie::load_v<MMUL::size_B>(b_column + (step * (n / t) + x) * MMUL::size_B);
#pragma clang loop unroll(full)
        for (unsigned y = 0; y < block; ++y)
#pragma clang loop unroll(full)
          for (unsigned x = 0; x < block; ++x)
            C[y][x].mac(A[y], B[x]);
      }

#pragma clang loop unroll(full)
      for (unsigned y = 0; y < block; ++y)
#pragma clang loop unroll(full)
        for (unsigned x = 0; x < block; ++x)
          aie::store_v(c_block + (y * (n / t) + x) * MMUL::size_C, C[y][x].template to_vector<T>());
    }
  }
}

} // namespace
