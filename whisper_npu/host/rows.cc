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

// The bits of the nearest value that bf16 holds, ties to the even one; the lower half is zero. Not of NaN.
Bits rounded_number(Floats x) {
    const Bits u = bits(x);
    return (u + 0x7FFFu + (u >> 16 & 1u)) & 0xFFFF0000u;
}

Bits rounded(Floats x) { return x == x ? rounded_number(x) : bits(all(__builtin_nanf(""))); }

// The same in two operations, ties away from zero: for sums with many bits, which hardly ever are ties. Not of NaN.
Floats to_grid(Floats x) { return floats((bits(x) + 0x8000u) & 0xFFFF0000u); }

// What is on bf16's grid.
void store_grid(float *to, Floats values, int64_t count) { store(to, values, count); }
void store_grid(uint16_t *to, Floats values, int64_t count) {
    const Halves upper = __builtin_convertvector(bits(values) >> 16, Halves);
    if (count == LANES)
        std::memcpy(to, &upper, sizeof upper);
    else
        std::memcpy(to, &upper, 2 * count);
}

void store(uint16_t *to, Floats values, int64_t count) { store_grid(to, floats(rounded(values)), count); }

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
            store(to + j, x, count);
        });
    });
}

// -------------------------------------------------------------------------------------- as cores of the array do it
//
// The same polynomials and roundings as kernels/layer/numerics.py, whose constants these take. A product of two bf16 is
// exact in fp32, so that a compiler may add it in one step or in two.

struct Gelu {
    float end, middle;
    float first, next[4], last[3];
};

struct Exp2 {
    float magic, step, one, start, least, added;
};

namespace {

using Ints = int32_t __attribute__((vector_size(4 * LANES)));

Ints ints(Floats x) { return reinterpret_cast<Ints>(x); }
Floats floats(Ints x) { return reinterpret_cast<Floats>(x); }

// x Phi(x); never NaN. A core multiplies by factors in two parts, which are whole here: all but 2^-16 of a product.
Floats gelu_of_core(Floats x, const Gelu &of) {
    const Ints u = ints(x), magnitude = u & 0x7FFFFFFF, end = ints(all(of.end));
    const Floats a = floats(magnitude < end ? magnitude : end), whole_t = a - of.middle, t = floats(rounded_number(whole_t));
    Floats phi = of.next[0] + of.first * t;
    for (int i = 1; i < 4; i++) phi = of.next[i] + to_grid(phi) * t;
    phi = of.last[0] + phi * t;
    phi = of.last[1] + phi * whole_t;
    phi = of.last[2] + phi * whole_t;
    return floats(u > 0 ? u : Ints{}) - a * phi;
}

// C += bias, then GELU where there is one, in the type of Y.
template <class Y>
void epilogue(const Shape &shape, const float *x, const Place &x_at, Y *y, const Place &y_at, const float *bias,
              const Gelu *gelu) {
    each_row(shape, x, x_at, y, y_at, [&](const float *from, Y *to) {
        if (gelu == nullptr)
            along(from, shape.cols, 0, [&](Floats x, int64_t j, int64_t count) {
                store(to + j, x + load(bias + j, count), count);
            });
        else
            along(from, shape.cols, 0, [&](Floats x, int64_t j, int64_t count) {
                store(to + j, gelu_of_core(x + load(bias + j, count), *gelu), count);
            });
    });
}

// Scores to powers of two times a constant, of a row's largest around 1, in place as Y.
template <class Y>
void powers(const Shape &shape, float *x, const Place &at, const Exp2 &of, float *totals) {
    for (int64_t i = 0; i < shape.rows; i++) {
        float *row = x + i * at.stride;
        Y *to = reinterpret_cast<Y *>(row);
        Floats highest = all(of.start);
        along(row, shape.cols, of.start, [&](Floats t, int64_t, int64_t) {
            highest = t > highest ? t : highest;
        });
        const float top = largest(highest) + of.magic - of.magic;  // whole
        const Floats shift = all(of.magic + of.one - top / of.step);
        const Floats lowest = all(of.magic + of.one + of.least / of.step);
        const float steps = 1 / of.step;
        Floats sums{};
        along(row, shape.cols, of.start, [&](Floats t, int64_t j, int64_t count) {
            // In steps, the last bits are those of a bf16.
            const Floats shifted = t * steps + shift;
            const Ints both = ints(shifted > lowest ? shifted : lowest) << 16;
            const Ints m = (both & 0x7F0000) + 0x3F800000;
            const Ints power = ints(to_grid(of.added + floats(m) * floats(m))) + (both - m);
            const Floats p = floats(power > 0 ? power : Ints{});
            if (count == LANES) {
                sums += p;
            } else {
                for (int lane = 0; lane < count; lane++) sums[lane] += p[lane];
            }
            store_grid(to + j, p, count);
        });
        totals[i] = sum(sums);
    }
}

}  // namespace

PUBLIC void epilogue_to_bf16(const Shape &shape, const float *x, const Place &x_at, uint16_t *y, const Place &y_at,
                             const float *bias, const Gelu *gelu) {
    epilogue(shape, x, x_at, y, y_at, bias, gelu);
}

PUBLIC void epilogue_to_f32(const Shape &shape, const float *x, const Place &x_at, float *y, const Place &y_at,
                            const float *bias, const Gelu *gelu) {
    epilogue(shape, x, x_at, y, y_at, bias, gelu);
}

// One plane of scores. Weights of bf16 lie at the start of each row.
PUBLIC void powers_in_bf16(const Shape &shape, float *x, const Place &at, const Exp2 &of,
                           float *totals) {
    powers<uint16_t>(shape, x, at, of, totals);
}

PUBLIC void powers_in_f32(const Shape &shape, float *x, const Place &at, const Exp2 &of,
                          float *totals) {
    powers<float>(shape, x, at, of, totals);
}

// Each row of one plane by its own total, in bf16.
PUBLIC void divide_to_bf16(const Shape &shape, const float *x, const Place &x_at, uint16_t *y, const Place &y_at,
                           const float *totals) {
    constexpr float LEAST = 1.17549435e-38f;  // 2^-126
    for (int64_t i = 0; i < shape.rows; i++) {
        const float scale = 1 / (totals[i] > LEAST ? totals[i] : LEAST);
        along(x + i * x_at.stride, shape.cols, 0, [&](Floats values, int64_t j, int64_t count) {
            store(y + i * y_at.stride + j, values * scale, count);
        });
    }
}

// s = x + added over the first n_state numbers of each row; what is asked for of s and of its deviations from their mean
// over their spread. Any of added, s and y may be absent.
struct Units {
    int64_t units, halves, rows, cols;
};

struct Steps {
    int64_t unit, half, row;
};

namespace {

// By halves, so that no addition waits long for the one before.
float sum_by_halves(Floats values) {
    float lanes[LANES];
    std::memcpy(lanes, &values, sizeof lanes);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

constexpr int64_t MOST = 2048;  // numbers of a row

void normalise(const float *row, uint16_t *to, int64_t cols, float epsilon) {
    Floats sums{}, squares{}, mixed{};
    along(row, cols, 0, [&](Floats values, int64_t, int64_t) { sums += values; });
    const float mean = sum_by_halves(sums) / cols;
    along(row, cols, mean, [&](Floats values, int64_t, int64_t) {
        const Floats deviation = values - mean, high = to_grid(deviation);
        squares += high * high;
        mixed += high * to_grid(deviation - high);
    });
    const float variance = (sum_by_halves(squares) + 2 * sum_by_halves(mixed)) / cols;
    const Floats scale = all(1 / __builtin_sqrtf(variance + epsilon)), factor = to_grid(scale);
    const Floats factor_rest = to_grid(scale - factor);
    along(row, cols, mean, [&](Floats values, int64_t j, int64_t count) {
        const Floats deviation = values - mean, high = to_grid(deviation);
        Floats parts = to_grid(deviation - high) * factor;
        parts += high * factor_rest;
        store(to + j, parts + high * factor, count);
    });
}

}  // namespace

// s = x + added; y: of its deviations from their mean over their spread.
// Any of added, s and y may be absent.
PUBLIC void add_and_normalise(const Units &shape, const float *x, const Steps &x_at, const float *added,
                              const Steps &added_at, float *s, const Steps &s_at, uint16_t *y, const Steps &y_at,
                              float epsilon) {
    float row[MOST];
    for (int64_t unit = 0; unit < shape.units; unit++)
        for (int64_t half = 0; half < shape.halves; half++)
            for (int64_t i = 0; i < shape.rows; i++) {
                const auto at = [&](const Steps &by) { return unit * by.unit + half * by.half + i * by.row; };
                const float *from = x + at(x_at);
                if (added != nullptr) {
                    const float *more = added + at(added_at);
                    along(from, shape.cols, 0, [&](Floats values, int64_t j, int64_t count) {
                        store(row + j, values + load(more + j, count), count);
                    });
                    from = row;
                }
                if (s != nullptr) std::memcpy(s + at(s_at), from, sizeof *row * shape.cols);
                if (y != nullptr) normalise(from, y + at(y_at), shape.cols, epsilon);
            }
}
