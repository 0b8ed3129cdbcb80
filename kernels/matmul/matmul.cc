// The product of one tile on one AIE-ML core: bf16 operands, fp32 sums.
//
// product.hpp has the loops, how buffers lie, and what they cost.

#include "product.hpp"

#if !defined(DIM_M) || !defined(DIM_K) || !defined(DIM_N)
#error "compile with -DDIM_M=.. -DDIM_K=.. -DDIM_N=..: A is m x k, B k x n, C m x n"
#endif

namespace {

constexpr unsigned m = DIM_M, k = DIM_K, n = DIM_N;

} // namespace

extern "C" {

// C = 0
void zero_f32(float *__restrict c) {
  for (unsigned i = 0; i < m * n; i += MMUL::size_C)
    aie::store_v(c + i, aie::zeros<float, MMUL::size_C>());
}

// C += A B
void matmul_bf16_f32(bfloat16 *__restrict a, bfloat16 *__restrict b, float *__restrict c) {
  multiply<m, k, n, Sums::onto_c>(a, b, c);
}

// C = A B, rounded to nearest even as it is written
void matmul_bf16_bf16(bfloat16 *__restrict a, bfloat16 *__restrict b, bfloat16 *__restrict c) {
  multiply<m, k, n, Sums::from_zero>(a, b, c);
}

// C = A B, with B behind A in one buffer
void matmul_pair_bf16_f32(bfloat16 *__restrict pair, float *__restrict c) {
  multiply<m, k, n, Sums::from_zero>(pair, pair + m * k, c);
}
}
