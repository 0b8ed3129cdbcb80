// Products of bf16 with fp32 sums, by the dot product of pairs that CPUs with AVX-512 BF16 have: Zen 4, which the
// laptops with an XDNA1 NPU are, and later ones. It takes subnormal numbers for zero.
//
// A lies in rows of an even number of elements. B lies in panels of 64 columns, each a list of steps of k two by two:
// for every column the pair (b[k][column], b[k + 1][column]). What is beyond K or N is zero.

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#define PUBLIC extern "C" __attribute__((visibility("default")))

namespace {

constexpr int64_t LANES = 16;       // fp32 sums, or pairs of bf16, in a register
constexpr int64_t PANEL = 64;       // columns of B that lie together
constexpr int VECS = PANEL / LANES; // registers of a panel's step
constexpr int ROWS = 6;             // of C at a time: with 4 registers of columns 24 sums, 4 of B and 1 of A, of 32

__mmask16 first(int64_t count) { return count >= LANES ? 0xFFFF : (1u << std::max<int64_t>(count, 0)) - 1; }

// C of R rows and the first columns of a panel: all sums in registers, each pair of A met by a step of B.
template <int R>
void tile(const uint16_t *a, int64_t a_stride, const uint16_t *b, float *c, int64_t c_stride, int64_t pairs,
          int64_t columns) {
    __m512 sums[R][VECS];
    for (int i = 0; i < R; i++)
        for (int j = 0; j < VECS; j++) sums[i][j] = _mm512_setzero_ps();
    for (int64_t k = 0; k < pairs; k++) {
        __m512bh step[VECS];
        for (int j = 0; j < VECS; j++) step[j] = (__m512bh)_mm512_loadu_si512(b + 2 * (k * PANEL + j * LANES));
        for (int i = 0; i < R; i++) {
            int32_t pair;
            std::memcpy(&pair, a + i * a_stride + 2 * k, sizeof pair);
            const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
            for (int j = 0; j < VECS; j++) sums[i][j] = _mm512_dpbf16_ps(sums[i][j], both, step[j]);
        }
    }
    for (int i = 0; i < R; i++)
        for (int j = 0; j < VECS; j++)
            _mm512_mask_storeu_ps(c + i * c_stride + j * LANES, first(columns - j * LANES), sums[i][j]);
}

// 16 fp32 numbers as bf16, ties to even.
__m256i rounded(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

} // namespace

// C (M, N) = A (M, 2 * pairs) B. a_stride, c_stride: from row to row; b_panel: from panel to panel; in elements.
PUBLIC void multiply(const uint16_t *a, int64_t a_stride, const uint16_t *b, int64_t b_panel, float *c,
                     int64_t c_stride, int64_t M, int64_t pairs, int64_t N) {
    const int64_t rows = M < ROWS ? 1 : ROWS;
    for (int64_t j = 0; j < N; j += PANEL)
        for (int64_t i = 0; i < M; i += rows) {
            const int64_t at = std::min(i, M - rows); // the last ones once more, rather than fewer
            (rows == 1 ? tile<1> : tile<ROWS>)(a + at * a_stride, a_stride, b + j / PANEL * b_panel,
                                               c + at * c_stride + j, c_stride, pairs, N - j);
        }
}

// A from rows of fp32. It may take their own place, each row where it was: no number is written before it was read.
PUBLIC void pack_rows(const float *from, int64_t from_stride, uint16_t *to, int64_t to_stride, int64_t rows,
                      int64_t K) {
    for (int64_t i = 0; i < rows; i++) {
        const float *x = from + i * from_stride;
        uint16_t *y = to + i * to_stride;
        for (int64_t k = 0; k < K; k += LANES) {
            const __mmask16 here = first(K - k);
            const __m256i values = rounded(_mm512_maskz_loadu_ps(here, x + k));
            if (here == 0xFFFF)
                _mm256_storeu_si256((__m256i *)(y + k), values);
            else
                std::memcpy(y + k, &values, sizeof(uint16_t) * (K - k + K % 2));
        }
    }
}

// B from fp32 whose rows (n_step 1) or columns (k_step 1) lie together.
PUBLIC void pack_panels(const float *from, int64_t k_step, int64_t n_step, uint16_t *to, int64_t K, int64_t N) {
    const int64_t pairs = (K + 1) / 2;
    const __m512i down = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                            _mm512_set1_epi32(PANEL));
    for (int64_t n = 0; n < (N + PANEL - 1) / PANEL * PANEL; n += n_step == 1 ? LANES : 1) {
        uint16_t *panel = to + n / PANEL * pairs * 2 * PANEL + n % PANEL * 2;
        if (n_step == 1) { // two rows become the halves of 16 pairs
            for (int64_t k = 0; k < K; k += 2) {
                const __mmask16 here = first(N - n);
                const float *x = from + k * k_step + n;
                const __m512i low = _mm512_cvtepu16_epi32(rounded(_mm512_maskz_loadu_ps(here, x)));
                const __m256i next = k + 1 < K ? rounded(_mm512_maskz_loadu_ps(here, x + k_step)) : __m256i{};
                const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(next), 16);
                _mm512_storeu_si512(panel + k * PANEL, _mm512_or_si512(low, high));
            }
        } else { // 16 pairs of one column are spread over as many steps
            for (int64_t k = 0; k < K; k += 2 * LANES) {
                const float *x = from + n * n_step + k;
                const int64_t left = n < N ? K - k : 0;
                const __m512i spread = (__m512i)_mm512_cvtne2ps_pbh(
                    _mm512_maskz_loadu_ps(first(left - LANES), x + LANES), _mm512_maskz_loadu_ps(first(left), x));
                _mm512_mask_i32scatter_epi32(panel + k * PANEL, first(pairs - k / 2), down, spread, 4);
            }
        }
    }
}

// B from bf16 whose rows (n_step 1) or columns (k_step 1) lie together. K is even.
PUBLIC void pack_panels_of_bf16(const uint16_t *from, int64_t k_step, int64_t n_step, uint16_t *to, int64_t K,
                                int64_t N) {
    const int64_t pairs = K / 2;
    for (int64_t n = 0; n < N; n += PANEL) {
        uint16_t *panel = to + n * pairs * 2;
        const int64_t here = std::min(PANEL, N - n);
        if (here < PANEL) std::memset(panel, 0, sizeof(uint16_t) * pairs * 2 * PANEL);
        if (n_step == 1) {
            for (int64_t p = 0; p < pairs; p++) {
                const uint16_t *first = from + 2 * p * k_step + n, *second = first + k_step;
                uint16_t *step = panel + p * 2 * PANEL;
                for (int64_t j = 0; j < here; j++) step[2 * j] = first[j], step[2 * j + 1] = second[j];
            }
        } else { // a pair lies together
            for (int64_t p = 0; p < pairs; p++)
                for (int64_t j = 0; j < here; j++)
                    std::memcpy(panel + (p * PANEL + j) * 2, from + (n + j) * n_step + 2 * p, 2 * sizeof(uint16_t));
        }
    }
}
