// What the host does to rows of float32 between two products, each in as few passes over memory as there can be.
//
// A matrix has `planes` times `rows` rows, `plane` and `stride` elements apart; the `cols` elements of a row lie one
// after the other. Where there are an x and a y of one type they may be the same. NaN stays NaN everywhere.

#include <cstdint>
#include <cstring>
#include <initializer_list>

namespace {

// The width is written out: compilers vectorise such loops by themselves only now and then. It is one register of the
// CPU's, for GCC 12 splits wider vectors through memory at every step.
#ifdef __AVX512F__
constexpr int64_t LANES = 16;
#else
constexpr int64_t LANES = 8;
#endif
using Floats = float __attribute__((vector_size(4 * LANES)));
using Bits = uint32_t __attribute__((vector_size(4 * LANES)));
using Halves = uint16_t __attribute__((vector_size(2 * LANES)));

constexpr float INFINITE = __builtin_inff();
constexpr float LEAST_EXPONENT = -80.0f;  // e^-80 over 1,500 keys is the smallest weight that is a normal float32

Floats all(float x) { return Floats{} + x; }
Bits bits(Floats x) { return reinterpret_cast<Bits>(x); }
Floats floats(Bits x) { return reinterpret_cast<Floats>(x); }

// Calls f(values, offset, count) along a row; in the last vector only `count` values are the row's, the others `rest`.
template <class F>
void along(const float *row, int64_t cols, float rest, F f) {
    int64_t j = 0;
    Floats values;
    for (; j + LANES <= cols; j += LANES) {
        std::memcpy(&values, row + j, sizeof values);
        f(values, j, LANES);
    }
    if (j < cols) {
        values = all(rest);
        std::memcpy(&values, row + j, 4 * (cols - j));
        f(values, j, cols - j);
    }
}

struct Shape {
    int64_t planes, rows, cols;
};

struct Place {
    int64_t plane, stride;
};

// Calls f(row of x, row of y) for every row of both.
template <class X, class Y, class F>
void each_row(const Shape &shape, X *x, const Place &x_at, Y *y, const Place &y_at, F f) {
    for (int64_t i = 0; i < shape.planes; i++)
        for (int64_t j = 0; j < shape.rows; j++)
            f(x + i * x_at.plane + j * x_at.stride, y + i * y_at.plane + j * y_at.stride);
}

void store(float *to, Floats values, int64_t count) {
    if (count == LANES)
        std::memcpy(to, &values, sizeof values);
    else
        std::memcpy(to, &values, 4 * count);
}

Floats load(const float *from, int64_t count) {
    Floats values{};
    if (count == LANES)
        std::memcpy(&values, from, sizeof values);
    else
        std::memcpy(&values, from, 4 * count);
    return values;
}

float sum(Floats values) {
    float total = 0;
    for (int lane = 0; lane < LANES; lane++) total += values[lane];
    return total;
}

float largest(Floats values) {
    float most = values[0];
    for (int lane = 1; lane < LANES; lane++) most = values[lane] > most ? values[lane] : most;
    return most;
}

// The bits of the nearest value that bf16 holds, ties to the even one; the lower half is zero.
Bits rounded(Floats x) {
    const Bits u = bits(x);
    return x == x ? (u + 0x7FFFu + (u >> 16 & 1u)) & 0xFFFF0000u : bits(all(__builtin_nanf("")));
}

// e^x for |x| <= 87, as 2^n e^r with |r| <= ln(2) / 2. Its relative error is below 3e-7. The polynomial and the two
// parts of ln(2) are those of Cephes' expf (Moshier, netlib.org/cephes).
Floats exp(Floats x) {
    const Floats shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: n is now in the lowest bits
    const Floats n = shifted - 12582912.0f;
    const Floats r = x - n * 0.693359375f + n * 2.12194440e-4f;
    Floats p = all(1.9875691500e-4f);
    for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        p = p * r + c;
    p = p * (r * r) + r + 1.0f;
    return p * floats((bits(shifted) << 23) + 0x3F800000u);
}

}  // namespace

#define PUBLIC extern "C" __attribute__((visibility("default")))

// e^(x - the row's largest) over its sum, in place; what is below e^-80 becomes 0.
PUBLIC void softmax(const Shape &shape, float *x, const Place &at) {
    each_row(shape, x, at, x, at, [&](float *row, float *) {
        Floats most = all(-INFINITE), sums{};
        along(row, shape.cols, -INFINITE, [&](Floats x, int64_t, int64_t) { most = x > most ? x : most; });
        const Floats shift = all(largest(most));
        along(row, shape.cols, -INFINITE, [&](Floats x, int64_t j, int64_t count) {
            x -= shift;
            const auto nothing = x < LEAST_EXPONENT;
            const Floats power = exp(nothing ? all(LEAST_EXPONENT) : x);
            const Floats weight = nothing ? Floats{} : power;
            sums += weight;
            store(row + j, weight, count);
        });
        const float scale = 1 / sum(sums);
        along(row, shape.cols, 0, [&](Floats x, int64_t j, int64_t count) { store(row + j, x * scale, count); });
    });
}

// x Phi(x) = x / (1 + e^(-2 x P(x^2))), in place. P: artanh(erf(x / sqrt(2))) / x, from the highest power down.
PUBLIC void gelu(const Shape &shape, float *x, const Place &at, const float *polynomial, int64_t terms) {
    each_row(shape, x, at, x, at, [&](float *row, float *) {
        along(row, shape.cols, 0, [&](Floats x, int64_t j, int64_t count) {
            Floats square = x * x;
            square = square > 100.0f ? all(100.0f) : square;  // beyond it Phi is 0 or 1 and P is not P
            Floats p = all(polynomial[0]);
            for (int64_t term = 1; term < terms; term++) p = p * square + polynomial[term];
            Floats z = -2.0f * x * p;
            const auto nothing = z > -LEAST_EXPONENT;
            z = nothing ? Floats{} : z < LEAST_EXPONENT ? all(LEAST_EXPONENT) : z;
            const Floats y = x / (1.0f + exp(z));
            store(row + j, nothing ? Floats{} : y, count);
        });
    });
}

// (x - mean) / sqrt(variance + epsilon) * weight + bias of each row.
PUBLIC void layer_norm(const Shape &shape, const float *x, const Place &x_at, float *y, const Place &y_at,
                       const float *weight, const float *bias, float epsilon) {
    const int64_t cols = shape.cols;
    each_row(shape, x, x_at, y, y_at, [&](const float *from, float *to) {
        Floats sums{}, squares{};
        along(from, cols, 0, [&](Floats x, int64_t, int64_t) { sums += x; });
        const float mean = sum(sums) / cols;
        along(from, cols, mean, [&](Floats x, int64_t, int64_t) { squares += (x - mean) * (x - mean); });
        const float scale = 1 / __builtin_sqrtf(sum(squares) / cols + epsilon);
        along(from, cols, 0, [&](Floats x, int64_t j, int64_t count) {
            store(to + j, (x - mean) * scale * load(weight + j, count) + load(bias + j, count), count);
        });
    });
}

// To the nearest value that bf16 holds, ties to the even one.
PUBLIC void round_to_bf16(const Shape &shape, const float *x, const Place &x_at, float *y, const Place &y_at) {
    each_row(shape, x, x_at, y, y_at, [&](const float *from, float *to) {
        along(from, shape.cols, 0, [&](Floats x, int64_t j, int64_t count) { store(to + j, floats(rounded(x)), count); });
    });
}

// The same as bf16 itself.
PUBLIC void to_bf16(const Shape &shape, const float *x, const Place &x_at, uint16_t *y, const Place &y_at) {
    each_row(shape, x, x_at, y, y_at, [&](const float *from, uint16_t *to) {
        along(from, shape.cols, 0, [&](Floats x, int64_t j, int64_t count) {
            const Halves upper = __builtin_convertvector(rounded(x) >> 16, Halves);
            std::memcpy(to + j, &upper, 2 * count);
        });
    });
}
