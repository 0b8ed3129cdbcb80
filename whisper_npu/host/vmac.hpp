// How an AIE-ML core multiplies and accumulates bf16, to the bit, in float64 and integers of this CPU.
//
// One vmac adds to an accumulator several products, 8 of them for a micro-tile of 4x8x4:
// 1. The exponent of a product is the sum of its factors' exponents, whatever its mantissa is. A subnormal number
//    has the exponent of the smallest normal one. The largest exponent of all addends, accumulator included, puts
//    a grid of 2^(largest - 23) under all of them; what is zero has no exponent.
// 2. Each addend is rounded to that grid, to nearest, ties to even.
// 3. Their sum is exact, and is rounded to 24 bits once, likewise. What is then below 2^-126 is +0, and so is a
//    sum of nothing; what is 2^128 or more is infinite.
// Of 2^30, -2^30 and 1 the sum is therefore 0. Infinities and NaN add as in IEEE arithmetic; the bits that a NaN
// carries are not modelled.
//
// Measured on the chip by others: github.com/FIM43-Redeye/xdna-emu,
// src/interpreter/execute/vector_matmul/bf16_pipeline.rs, and github.com/jdominick05/ignite-xdna, docs/SILICON.md.
// vmac.py does the same in NumPy.
//
// How: the anchor, 1.5 * 2^(largest + 29), is a float64 whose last bit is worth 2^(largest - 23). Adding an addend to
// it rounds the addend to the grid. The sums' bits, taken as integers, differ from the anchor's by the addend in
// units of the grid, and integers add exactly. No addend has more than 25 bits, so that 2^25 of them have room.

#pragma once

#include <cstdint>
#include <cstring>

namespace vmac {

// Columns of C that are summed together: V registers of W float64. Whoever includes this may choose others.
#ifndef VMAC_W
#if defined(__AVX512F__)
#define VMAC_W 8
#elif defined(__AVX2__)
#define VMAC_W 4
#else
#define VMAC_W 2
#endif
#define VMAC_V 4
#endif
constexpr int W = VMAC_W, V = VMAC_V, COLUMNS = V * W;
using Doubles = double __attribute__((vector_size(8 * W)));
using Floats = float __attribute__((vector_size(4 * W)));
using Longs = std::int64_t __attribute__((vector_size(8 * W)));
using Bits = std::uint64_t __attribute__((vector_size(8 * W)));

// An accumulator's exponent as a power of two; 0 for zero.
inline Doubles power(Doubles accumulators) {
    const Doubles normal = (Doubles)((Longs)accumulators & 0x7FF0'0000'0000'0000);
    const Doubles least = accumulators == 0.0 ? Doubles{} : Doubles{} + 0x1p-126;
    return normal > least ? normal : least;
}

// Sums that are exact in float64, as accumulators hold them.
inline Doubles rounded(Doubles sums) {
    constexpr double kept = 0x1p-126 - 0x1p-151;  // from here on 24 bits round to 2^-126
    const Doubles flushed = (sums < kept) & (sums > -kept) ? Doubles{} : sums;
    return __builtin_convertvector(__builtin_convertvector(flushed, Floats), Doubles);
}

enum class Addends { finite, any };

// One vmac for R rows of COLUMNS results each.
//
// accumulators: as fp32 holds them. a: for each row `products` factors, `a_step` apart from row to row. b: `products`
// rows of COLUMNS factors. powers: of each result, 2 to the largest exponent of its products; 0 or 2^-252 where all are
// zero. Adds NaN to some lane of `finite` where a sum is not finite.
template <Addends addends, int R>
inline void add(Doubles (&accumulators)[R][V], const double *a, std::int64_t a_step, const double *b, int products,
                const Doubles (&powers)[R][V], Doubles &finite) {
    Bits anchors[R][V], sums[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
            const Doubles own = power(accumulators[r][v]);
            const Doubles anchor = (own > powers[r][v] ? own : powers[r][v]) * 0x1.8p29;
            anchors[r][v] = (Bits)anchor;
            sums[r][v] = (Bits)(accumulators[r][v] + anchor) - static_cast<unsigned>(products) * anchors[r][v];
        }
#pragma GCC unroll 8
    for (int k = 0; k < products; k++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
            Doubles factors;
            std::memcpy(&factors, b + (k * V + v) * W, sizeof factors);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++)
                sums[r][v] += (Bits)(a[r * a_step + k] * factors + (Doubles)anchors[r][v]);
        }
    if constexpr (addends == Addends::any)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int v = 0; v < V; v++)
#pragma GCC unroll 8
                for (int k = 0; k < products; k++) {
                    Doubles factors;
                    std::memcpy(&factors, b + (k * V + v) * W, sizeof factors);
                    accumulators[r][v] += a[r * a_step + k] * factors;
                }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
            const Doubles result = rounded((Doubles)sums[r][v] - (Doubles)anchors[r][v]);
            if constexpr (addends == Addends::any)  // float64 adds finite numbers of fp32 to finite ones
                accumulators[r][v] = accumulators[r][v] * 0.0 == 0.0 ? result : accumulators[r][v];
            else
                accumulators[r][v] = result;
            finite += accumulators[r][v] * 0.0;
        }
}

}  // namespace vmac
