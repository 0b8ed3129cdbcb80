// Products of bf16 as a core of the array sums them (vmac.hpp), some rows of C at a time.
//
// Matrices are float32 on the bf16 grid. Columns of B go in strips, whose factors are widened once for some rows of A.

#include "vmac.hpp"

#include <algorithm>
#include <vector>

#define PUBLIC extern "C" __attribute__((visibility("default")))

namespace {

using namespace vmac;

constexpr int R = 2;      // rows at a time: more sums and anchors than registers otherwise
constexpr int ROWS = 128;  // of A that are widened together

// Exponents are counted so that a product's is the sum of its factors' as bf16 holds them: 2^e is e + BIAS. Added as
// 16-bit integers they take a quarter of the time of powers of two.
constexpr int BIAS = 254;
constexpr std::int16_t LEAST = 2;     // of a product of two subnormal numbers
constexpr std::int16_t NONE = -1024;  // of zero: with any other exponent less than LEAST
constexpr std::int16_t NOT_FINITE = 255;

using Exponents = std::int16_t __attribute__((vector_size(2 * COLUMNS)));
using Some = std::int16_t __attribute__((vector_size(2 * W)));

std::int16_t exponent(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const std::int16_t held = bits >> 23 & 0xFF;
    return value == 0 ? NONE : held == 0 ? 1 : held;
}

// Factors and their exponents, as many rows and columns as asked for; what is beyond the matrix is zero.
struct Factors {
    std::vector<double> values;
    std::vector<std::int16_t> exponents;
    bool finite, nothing;  // whether all are; whether all are zero

    void widen(const float *from, std::int64_t row_step, std::int64_t column_step, std::int64_t rows,
               std::int64_t columns, std::int64_t all_rows, std::int64_t all_columns) {
        values.assign(all_rows * all_columns, 0.0);
        exponents.assign(all_rows * all_columns, NONE);
        std::int16_t most = NONE;
        for (std::int64_t i = 0; i < rows; i++)
            for (std::int64_t j = 0; j < columns; j++) {
                const float value = from[i * row_step + j * column_step];
                values[i * all_columns + j] = value;
                exponents[i * all_columns + j] = exponent(value);
                most = std::max(most, exponent(value));
            }
        finite = most != NOT_FINITE;
        nothing = most == NONE;
    }
};

// 2 to the largest exponent of each result's products, for R rows of COLUMNS results.
void find_powers(Doubles (&powers)[R][V], const std::int16_t *a, std::int64_t a_step, const std::int16_t *b,
                 std::int64_t products) {
    Exponents largest[R];
    for (Exponents &of_row : largest) of_row = Exponents{} + LEAST;
    for (std::int64_t k = 0; k < products; k++) {
        Exponents of_b;
        std::memcpy(&of_b, b + k * COLUMNS, sizeof of_b);
        for (int r = 0; r < R; r++) {
            const Exponents of_product = of_b + a[r * a_step + k];
            largest[r] = of_product > largest[r] ? of_product : largest[r];
        }
    }
    Some some[R][V];
    std::memcpy(some, largest, sizeof some);
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++)
            powers[r][v] = (Doubles)((__builtin_convertvector(some[r][v], Longs) + (1023 - BIAS)) << 52);
}

// Whether nothing was added yet.
bool all_zero(const float *c, std::int64_t step, std::int64_t rows, std::int64_t columns) {
    for (std::int64_t i = 0; i < rows; i++)
        for (std::int64_t j = 0; j < columns; j++) {
            std::uint32_t bits;
            std::memcpy(&bits, c + i * step + j, sizeof bits);
            if (bits != 0) return false;
        }
    return true;
}

// Some rows of some columns of C. Returns whether all sums were finite.
template <Addends addends>
bool accumulate(double (&sums)[R][COLUMNS], const double *a, const std::int16_t *a_exponents, const Factors &b,
                std::int64_t K, std::int64_t step) {
    Doubles accumulators[R][V], powers[R][V], finite{};
    std::memcpy(accumulators, sums, sizeof sums);
    for (const auto &row : accumulators)
        for (const Doubles &some : row) finite += some * 0.0;
    for (std::int64_t k = 0; k < K; k += step) {
        const std::int64_t products = std::min(step, K - k);
        find_powers(powers, a_exponents + k, K, &b.exponents[k * COLUMNS], products);
        add<addends, R>(accumulators, a + k, K, &b.values[k * COLUMNS], products, powers, finite);
    }
    std::memcpy(sums, accumulators, sizeof sums);
    for (int lane = 0; lane < W; lane++)
        if (finite[lane] != 0.0) return false;
    return true;
}

}  // namespace

// C (M, N) += A (M, K) B (K, N), `step` products in each vmac. Rows of C are c_step elements apart.
PUBLIC void multiply(const float *a, std::int64_t a_step, std::int64_t a_column_step, const float *b,
                     std::int64_t b_step, std::int64_t b_column_step, float *c, std::int64_t c_step, std::int64_t M,
                     std::int64_t K, std::int64_t N, std::int64_t step) {
    static thread_local Factors rows, strip;
    for (std::int64_t i = 0; i < M; i += ROWS) {
        const std::int64_t height = std::min<std::int64_t>(ROWS, M - i);
        const std::int64_t all_rows = (height + R - 1) / R * R;
        rows.widen(a + i * a_step, a_step, a_column_step, height, K, all_rows, K);
        for (std::int64_t j = 0; j < N; j += COLUMNS) {
            const std::int64_t width = std::min<std::int64_t>(COLUMNS, N - j);
            strip.widen(b + j * b_column_step, b_step, b_column_step, K, width, K, COLUMNS);
            if (rows.finite && strip.nothing && all_zero(c + i * c_step + j, c_step, height, width)) continue;
            for (std::int64_t y = 0; y < height; y += R) {
                const double *factors = &rows.values[y * K];
                const std::int16_t *exponents = &rows.exponents[y * K];
                float *results = c + (i + y) * c_step + j;
                const std::int64_t here = std::min<std::int64_t>(R, height - y);
                double sums[R][COLUMNS];
                const auto start = [&] {
                    std::memset(sums, 0, sizeof sums);
                    for (std::int64_t r = 0; r < here; r++) std::copy_n(results + r * c_step, width, sums[r]);
                };
                start();
                const bool finite = rows.finite && strip.finite;
                if (!finite || !accumulate<Addends::finite>(sums, factors, exponents, strip, K, step)) {
                    start();
                    accumulate<Addends::any>(sums, factors, exponents, strip, K, step);
                }
                for (std::int64_t r = 0; r < here; r++) std::copy_n(sums[r], width, results + r * c_step);
            }
        }
    }
}
