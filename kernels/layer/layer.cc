// What every core of the layer kernels runs: phases of a whole encoder layer, one after the other, on AIE-ML.
//
// A header comes by B and says what follows: to multiply (zero, matmul, finish), to attend (query, attend_start,
// attend, attend_finish), or to add and to normalise rows (rows_take, rows_add, rows_sum, rows_normed). core.py says
// what each function takes; numerics.py computes the same in NumPy, to the bit. Objects are 64x64 bf16, in micro-tiles
// of r,s,t = 4,8,4: A (16, 8, 4, 8), B (8, 16, 8, 4), C (16, 16, 4, 4). `sums` has 4096 fp32: C in micro-tiles; O^T in
// micro-tiles, d times queries; or a unit of rows in plain order. `kept` has 640: biases; or maxima and totals of 64
// queries, and the scores of 32 keys and 16 queries; or a vector for each row.
//
// Attention is transposed: S^T = K Q^T and O^T = V^T P^T. So the vector of a micro-tile has 4 keys times 4 queries,
// what belongs to a query is the same in its four rows, and two micro-tiles of P^T, in bf16, are one of B as they are.
// The running maximum is a whole number, so a new one changes exponents only: exact. When it is new, it is 16 above
// the score that it is for.
//
// The scalar unit has no floating point and does not divide. A product of two fp32 takes nine vmacs and five more
// instructions (norm.cc): it is for what is needed once per row or query. All others are vmacs of bf16; where 8 bits
// are too few, of a value's bf16 and of the bf16 of the rest.
//
// Cycles, MODELLED, for 16 numbers in the busiest slot of the bundle; Peano issues about half of what slots hold. The
// slots are assumed to be AIE2P's: vec for vmac and fp32 additions; mv for integers, comparisons, selections, shuffles
// and moves; st for stores of 256 bits and for conversions to bf16; two for loads of 256 bits, one of them into
// accumulators.
//
//   zero            2    st
//   finish          4    loads 4, st 3 (in fp32 4), vec 1
//   gelu           22    besides; vec: 1 to shift, 6 to split, 12 vmacs of the polynomial, 3 to multiply; st 15, mv 13
//   scores          6    mv: 1 for the maximum, 1 for the least exponent; for two of them together 1 to take their last
//                        bits, 2 for the factor, 3 for the exponent; for eight of them about 8 around the running
//                        maximum. vec: 2 additions, 1 vmac, 1/2 for totals; st 2
//   rescaling       5    mv, of O^T, where one of four queries has a new maximum: in 0.1 % of the blocks of 32 keys in
//                        `base`, 0.3 % in `tiny.en` (MEASURED with their weights and a clip of speech, in float32), and
//                        in the first
//   attend_finish  12    vec: 9 vmacs, 2 to split, 1; st 6
//   query           4    st, of 32 bf16
//   rows                 take 2, add 3, sum 2, normed 10: 2 to sum up, 4 for deviations and squares, 4 to scale
//   header               8 for each bias, 20 for each 8 keys of the mask: the scalar unit's
//
// An object of 32 keys and 64 queries: 2 * 1024 vmacs; S is written, O^T read and written, 16 * (32 + 48) cycles if
// nothing overlaps them; 128 vectors of scores, 768: together 4,100. GELU of a tile: 256 * 22 = 5,632, beside 16,384
// vmacs where K is 512.
//
// Program memory, estimated at 16 bytes per bundle: product 0.9 KiB, scores and O^T 1.1 each, maximum, rescaling and
// weights 1.3, finish with gelu 1.5, header 0.6, query 0.2, attend_finish 0.4, rows 3.1, fp32 product 0.5: 11 KiB, and
// about 2 for the core's loops, of 15.1. Nobody has seen what Peano makes of it. So loops stay rolled.

#include "../matmul/product.hpp"

#include <bit>
#include <cstdint>

namespace {

constexpr unsigned tile = 64;          // m, k and n of an object, and d of a head
constexpr unsigned keys = tile / 2;    // of an object of B in attention
constexpr unsigned unit = tile * tile; // fp32 that `sums` holds
constexpr unsigned biases = 640, numbers_count = 16;
constexpr unsigned width = 16;         // fp32 of 512 bits, a micro-tile of C
constexpr unsigned tiles = tile / 4;   // micro-tiles of C each way

static_assert(r == 4 && s == 8 && t == 4, "the shuffles are for this micro-tile");

enum Number { key_blocks = 4, column_blocks = 8, with_gelu = 9, n_state = 10, row_length = 11 }; // phases.py

using Vector = aie::vector<float, width>;
using Words = aie::vector<std::int32_t, width>;
using Halves = aie::vector<bfloat16, width>;
using Pair = aie::vector<bfloat16, 2 * width>; // a micro-tile of A or B
using Shorts = aie::vector<std::int16_t, 2 * width>;
using Accumulator = aie::accum<accfloat, width>;

inline Vector all(float value) { return aie::broadcast<float, width>(value); }
inline Words words(std::int32_t value) { return aie::broadcast<std::int32_t, width>(value); }
inline Shorts shorts(std::int16_t value) { return aie::broadcast<std::int16_t, 2 * width>(value); }
inline Words as_words(const Vector &v) { return v.cast_to<std::int32_t>(); }
inline Vector as_vector(const Words &v) { return v.cast_to<float>(); }
inline Halves rounded(const Accumulator &v) { return v.to_vector<bfloat16>(); }
inline Halves rounded(const Vector &v) { return rounded(Accumulator(v)); }
inline Vector widened(const Halves &v) { return Accumulator(v).to_vector<float>(); }
inline Halves ones() { return aie::broadcast<bfloat16, width>(bfloat16(1.0f)); }

// What is left of v without its bf16.
inline Halves rest(const Accumulator &v, const Halves &high) { return rounded(aie::msc(v, high, ones())); }

// Four numbers of a row of queries or columns, for each of a micro-tile's four rows.
inline Vector in_each_row(const float *four) { return aie::load_v<4>(four).grow_replicate<width>(); }

// A fp32 product is nine vmacs and what splits its operands: one copy is enough for all that are rarely needed.
__attribute__((noinline)) Vector product(Vector a, Vector b) { return aie::mul(a, b).to_vector<float>(); }

// 1 / x, of normal positive numbers: from minus the bits of x, within 12.2 %, three steps of Newton.
inline Vector reciprocal(const Vector &x) {
  Vector y = as_vector(aie::sub(words(0x7EF311C7), as_words(x)));
#pragma clang loop unroll(disable)
  for (unsigned step = 0; step < 3; ++step)
    y = product(y, aie::sub(all(2.0f), product(x, y)));
  return y;
}

// ------------------------------------------------------------------------------------------------ epilogue

// x Phi(x) = max(x, 0) - a Phi(-a), where a is |x|, at most 4. Phi(-a) by powers of a - 2.5; at 4 they come to 0.
constexpr float gelu_end = 4.0f, gelu_middle = 2.5f;
constexpr float gelu_first = 3.8623809814453125e-05f; // bf16
constexpr float gelu_next[] = {-0.000599154329393059f, 9.324478742200881e-05f, 0.006054075434803963f,
                               -0.01622055470943451f};
constexpr float gelu_last[] = {0.0218933317810297f, -0.017265327274799347f, 0.006199568510055542f};

inline Vector gelu(const Vector &x) {
  const Words magnitude = aie::bit_and(as_words(x), words(0x7FFF'FFFF));
  const Vector a = as_vector(aie::min(magnitude, words(std::bit_cast<std::int32_t>(gelu_end))));
  const Vector positive = as_vector(aie::max(as_words(x), words(0)));
  const Vector shifted = aie::sub(a, all(gelu_middle));
  const Halves t = rounded(shifted), t_rest = rest(Accumulator(shifted), t);
  Halves high = aie::broadcast<bfloat16, width>(bfloat16(gelu_first));
  Accumulator phi;
#pragma clang loop unroll(full)
  for (unsigned i = 0; i < 4; ++i) {
    phi = aie::mac(Accumulator(all(gelu_next[i])), high, t);
    high = rounded(phi);
  }
#pragma clang loop unroll(full)
  for (unsigned i = 0; i < 3; ++i) { // with factors in two parts, or their roundings would show
    const Halves low = rest(phi, high);
    phi = aie::mac(aie::mac(Accumulator(all(gelu_last[i])), high, t), low, t);
    if (i > 0)
      phi = aie::mac(phi, high, t_rest);
    high = rounded(phi);
  }
  const Halves of_a = rounded(a), a_rest = rest(Accumulator(a), of_a);
  const Accumulator most = aie::msc(aie::msc(Accumulator(positive), of_a, high), of_a, rest(phi, high));
  return aie::msc(most, a_rest, high).to_vector<float>();
}

// Of the micro-tiles in some columns of C.
__attribute__((noinline)) void activate(float *__restrict sums, const float *__restrict kept,
                                        const std::int32_t *__restrict numbers, std::int32_t of_tile, unsigned first,
                                        unsigned end) {
  while (of_tile >= numbers[column_blocks]) // the scalar unit does not divide
    of_tile -= numbers[column_blocks];
  const float *bias = kept + of_tile * std::int32_t(tile);
  const bool with = numbers[with_gelu] != 0;
#pragma clang loop unroll(disable)
  for (unsigned j = first; j < end; ++j) {
    const Vector shift = in_each_row(bias + 4 * j);
    float *column = sums + j * width;
    if (with)
#pragma clang loop unroll(disable)
      for (unsigned i = 0; i < unit; i += tiles * width)
        aie::store_v(column + i, gelu(aie::add(aie::load_v<width>(column + i), shift)));
    else
#pragma clang loop unroll(disable)
      for (unsigned i = 0; i < unit; i += tiles * width)
        aie::store_v(column + i, aie::add(aie::load_v<width>(column + i), shift));
  }
}

// ----------------------------------------------------------------------------------------------- attention

// Scores come in steps of 2^-7, of which bf16 has 128 from one power of two to the next: Q is multiplied by 128. So
// their nearest whole number, which stands in the last bits of a float beside magic, is the bits of a bf16.
constexpr float steps = 128.0f, one = 0x3F80; // the bits of 1
constexpr float magic = 0x1.8p23f;
constexpr float wide_magic = steps * magic; // rounds to powers: the running maximum is kept with it, for integers
constexpr float lowest = -0x1p22f;          // instead of a score that does not count
constexpr float start = wide_magic + lowest + 256 * steps; // the running maximum before the first key
constexpr float least = magic + one - 129 * steps;         // powers of two from 2^-129 down are 0
constexpr std::int32_t headroom = 16; // a new maximum is so far above its score that the next one seldom is needed

// m^2 + exp2_added is 3.039 times 2^(m - 1), for m from 1 to 2; a factor of all weights does nothing.
constexpr float exp2_added = 2.049f;

// kept in attention
constexpr unsigned maxima = 0, totals = tile, scores = 2 * tile; // scores of 32 keys and 16 queries: (8, 4, 4, 4)

// What whole numbers below 2^22 and magic have in the last bits.
inline Shorts last_bits(const Vector &first, const Vector &second) {
  return aie::filter_even(aie::concat(first, second).cast_to<std::int16_t>());
}

// The bits of 2^exponent as fp32 but for those of 1. exponent: in steps, -255 to 0 whole ones.
inline Words wide_bits_of_power(const Vector &exponent) {
  const Vector shifted = aie::add(exponent, all(magic));
  const aie::vector<std::int16_t, width> zeros = aie::zeros<std::int16_t, width>();
  const auto bits = aie::filter_even(shifted.cast_to<std::int16_t>());
  const auto [low, high] = aie::interleave_zip(zeros, bits, 1);
  return aie::concat(low, high).cast_to<std::int32_t>();
}

// v 2^exponent, exact: only the exponent changes. 0 where that would be below the smallest normal number.
inline Vector scaled(const Vector &v, const Words &power) {
  const Words exponent = aie::add(aie::bit_and(as_words(v), words(0x7F80'0000)), power);
  const Words result = aie::add(as_words(v), power);
  return as_vector(aie::select(words(0), result, aie::gt(exponent, words(0))));
}

// Scores that do not count. bits: one per key.
inline void leave_out(float *__restrict strip, std::uint32_t bits) {
#pragma clang loop unroll(disable)
  for (unsigned y = 0; y < keys / 4; ++y, bits >>= 4) {
    // Bit i of a micro-tile's mask is element i: four for each key.
    const unsigned spread = (bits & 1) | (bits & 2) << 3 | (bits & 4) << 6 | (bits & 8) << 9;
    const auto counts = aie::mask<width>::from_uint32(spread * 15);
#pragma clang loop unroll(disable)
    for (unsigned x = 0; x < 4; ++x) {
      float *place = strip + (4 * y + x) * width;
      aie::store_v(place, aie::select(all(lowest), aie::load_v<width>(place), counts));
    }
  }
}

// S^T = K Q^T of the strip's 16 queries. K is the A operand: two micro-tiles of B, 8 keys and 4 of d, side by side are
// two of A, 4 keys and 8 of d, when their rows of 64 bits are interleaved.
inline void score(const bfloat16 *__restrict q, const bfloat16 *__restrict k, float *__restrict strip) {
#pragma clang loop unroll(disable)
  for (unsigned half = 0; half < 2; ++half) {
    MMUL S[block][block];
#pragma clang loop unroll(full)
    for (unsigned y = 0; y < block; ++y)
#pragma clang loop unroll(full)
      for (unsigned x = 0; x < block; ++x)
        S[y][x] = MMUL(aie::zeros<float, MMUL::size_C>());
#pragma clang loop unroll(disable)
    for (unsigned step = 0; step < tile / s; ++step) {
      Pair K[block], Q[block];
#pragma clang loop unroll(full)
      for (unsigned p = 0; p < 2; ++p) {
        const bfloat16 *place = k + ((2 * half + p) * tiles + 2 * step) * MMUL::size_B;
        const auto [first, second] = aie::interleave_zip(aie::load_v<MMUL::size_B>(place),
                                                         aie::load_v<MMUL::size_B>(place + MMUL::size_B), 4);
        K[2 * p] = first;
        K[2 * p + 1] = second;
      }
#pragma clang loop unroll(full)
      for (unsigned x = 0; x < block; ++x)
        Q[x] = aie::load_v<MMUL::size_B>(q + (step * tiles + x) * MMUL::size_B);
#pragma clang loop unroll(full)
      for (unsigned y = 0; y < block; ++y)
#pragma clang loop unroll(full)
        for (unsigned x = 0; x < block; ++x)
          S[y][x].mac(K[y], Q[x]);
    }
#pragma clang loop unroll(full)
    for (unsigned y = 0; y < block; ++y)
#pragma clang loop unroll(full)
      for (unsigned x = 0; x < block; ++x)
        aie::store_v(strip + ((half * block + y) * 4 + x) * width, S[y][x].to_vector<float>());
  }
}

// What no score of four queries is above, and with a new one O^T and totals in its scale.
inline Words raise_maximum(const float *__restrict strip, float *__restrict maximum, float *__restrict total,
                   float *__restrict o) {
  const Words old = as_words(in_each_row(maximum));
  Words top = old;
#pragma clang loop unroll(disable)
  for (unsigned y = 0; y < keys / 4; ++y)
    top = aie::max(top, as_words(aie::add(aie::load_v<width>(strip + y * 4 * width), all(wide_magic))));
  top = aie::max(top, aie::shuffle_down_rotate(top, 8));
  top = aie::max(top, aie::shuffle_down_rotate(top, 4));
  const auto rises = aie::lt(old, top);
  if (rises.empty())
    return old;
  top = aie::select(old, aie::add(top, words(headroom)), rises);

  const Words from = aie::max(old, aie::sub(top, words(255)));
  const Words power = wide_bits_of_power(aie::sub(as_vector(from), as_vector(top)));
  aie::store_v(maximum, as_vector(top).extract<4>(0));
  aie::store_v(total, scaled(in_each_row(total), power).extract<4>(0));
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < tiles; ++i) {
    float *place = o + i * tiles * width;
    aie::store_v(place, scaled(aie::load_v<width>(place), power));
  }
  return top;
}

// P^T in place of the scores of four queries, a micro-tile of B for each two of them; and its sum onto totals.
inline void weigh(float *__restrict strip, const Words &top, float *__restrict total) {
  const Pair every_key = aie::broadcast<bfloat16, MMUL::size_A>(bfloat16(1.0f));
  MMUL sum(aie::zeros<float, MMUL::size_C>()); // of this block: vmacs onto a long sum would lose small numbers
  const Vector shift = aie::sub(all(wide_magic + magic + one), as_vector(top));
  const Words bottom = as_words(all(least));
#pragma clang loop unroll(disable)
  for (unsigned y = 0; y < keys / 4; y += 2) {
    Vector score[2];
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < 2; ++i) {
      const Vector shifted = aie::add(aie::load_v<width>(strip + (y + i) * 4 * width), shift);
      score[i] = as_vector(aie::max(as_words(shifted), bottom));
    }
    // m from 1 to 2 has the fraction's bits; the exponent's are the others, less those of 1.
    const Shorts bits = last_bits(score[0], score[1]);
    const Shorts m = aie::add(aie::bit_and(bits, shorts(0x7F)), shorts(0x3F80));
    Halves root[2];
#pragma clang loop unroll(full)
    for (unsigned i = 0; i < 2; ++i) {
      const Halves factor = m.extract<width>(i).cast_to<bfloat16>();
      root[i] = rounded(aie::mac(Accumulator(all(exp2_added)), factor, factor));
    }
    const Shorts power = aie::add(aie::concat(root[0], root[1]).cast_to<std::int16_t>(), aie::sub(bits, m));
    const Pair p = aie::max(power, shorts(0)).cast_to<bfloat16>();
    sum.mac(every_key, p);
    aie::store_v(strip + y * 4 * width, p.cast_to<float>());
  }
  aie::store_v(total, aie::add(in_each_row(total), sum.to_vector<float>()).extract<4>(0));
}

// O^T += V^T P^T of the strip's 16 queries. A micro-tile of V transposed is one of A.
inline void gather(const bfloat16 *__restrict v, const float *__restrict strip, float *__restrict o) {
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < tiles; i += block) {
    MMUL O[block][block];
#pragma clang loop unroll(full)
    for (unsigned y = 0; y < block; ++y)
#pragma clang loop unroll(full)
      for (unsigned x = 0; x < block; ++x)
        O[y][x] = MMUL(aie::load_v<MMUL::size_C>(o + ((i + y) * tiles + x) * width));
#pragma clang loop unroll(disable)
    for (unsigned step = 0; step < keys / s; ++step) {
      Pair V[block], P[block];
#pragma clang loop unroll(full)
      for (unsigned y = 0; y < block; ++y)
        V[y] = aie::transpose(aie::load_v<MMUL::size_B>(v + (step * tiles + i + y) * MMUL::size_B), s, t);
#pragma clang loop unroll(full)
      for (unsigned x = 0; x < block; ++x)
        P[x] = aie::load_v<width>(strip + (2 * step * 4 + x) * width).cast_to<bfloat16>();
#pragma clang loop unroll(full)
      for (unsigned y = 0; y < block; ++y)
#pragma clang loop unroll(full)
        for (unsigned x = 0; x < block; ++x)
          O[y][x].mac(V[y], P[x]);
    }
#pragma clang loop unroll(full)
    for (unsigned y = 0; y < block; ++y)
#pragma clang loop unroll(full)
      for (unsigned x = 0; x < block; ++x)
        aie::store_v(o + ((i + y) * tiles + x) * width, O[y][x].to_vector<float>());
  }
}

// ---------------------------------------------------------------------------------------------------- rows

// Four vectors as a matrix of pieces, 4 x 512/piece bits, transposed. step: fp32 of a piece, 2 or 4.
template <unsigned step>
inline void transpose_pieces(Vector (&v)[4]) {
  const auto [a, b] = aie::interleave_zip(v[0], v[2], step);
  const auto [c, d] = aie::interleave_zip(v[1], v[3], step);
  const auto [first, second] = aie::interleave_zip(a, c, step);
  const auto [third, fourth] = aie::interleave_zip(b, d, step);
  v[0] = first;
  v[1] = second;
  v[2] = third;
  v[3] = fourth;
}

inline Vector total(const Accumulator (&parts)[4]) {
  Vector s[4];
  for (unsigned a = 0; a < 4; ++a)
    s[a] = parts[a].to_vector<float>();
  return all(aie::reduce_add(aie::add(aie::add(s[0], s[1]), aie::add(s[2], s[3]))));
}

// 1 / sqrt(v) of a vector whose elements are all v; as norm.cc does.
inline Vector inverse_root(const Vector &v) {
  Vector y = all(std::bit_cast<float>(0x5F3759DF - (std::bit_cast<std::int32_t>(float(v[0])) >> 1)));
  const Vector half = product(v, all(0.5f));
#pragma clang loop unroll(disable)
  for (unsigned step = 0; step < 3; ++step)
    y = product(y, aie::sub(all(1.5f), product(half, product(y, y))));
  return y;
}

// A bf16 that is a whole number from 0 to 255. The scalar unit has no floating point.
inline std::int32_t whole(bfloat16 x) {
  const std::int32_t bits = std::bit_cast<std::uint16_t>(x), exponent = (bits >> 7) - 127;
  return exponent < 0 ? 0 : (bits & 127 | 128) >> (7 - exponent);
}

// Where number x of a header is in an object of B.
inline unsigned place(unsigned x) {
  const unsigned row = x / tile, column = x % tile;
  return (row / s * tiles + column / t) * MMUL::size_B + row % s * t + column % t;
}

} // namespace

extern "C" {

// numbers, biases and mask of a phase: as many as it needs
void layer_header(bfloat16 *__restrict b, std::int32_t *__restrict numbers, float *__restrict kept,
                  std::int32_t *__restrict mask) {
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < numbers_count; ++i)
    numbers[i] = whole(b[place(2 * i)]) * 256 + whole(b[place(2 * i + 1)]);

  // A micro-tile has two biases in each of 8 rows, as four bf16.
  constexpr unsigned first = 2 * numbers_count;
  const unsigned end = first + 2 * tile * numbers[column_blocks];
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i / tiles * s * tile < end; ++i) {
    const Pair parts = aie::load_v<MMUL::size_B>(b + i * MMUL::size_B);
    const Vector sums = aie::add(widened(aie::filter_even(parts)), widened(aie::filter_odd(parts)));
#pragma clang loop unroll(disable)
    for (unsigned lane = 0; lane < width; ++lane) {
      const unsigned number = (i / tiles * s + lane / 2) * tile + i % tiles * t + lane % 2 * 2;
      if (number >= first && number < end)
        kept[(number - first) / 2] = sums[lane];
    }
  }

  constexpr unsigned bytes = first + 2 * biases; // of the mask: 8 keys each
#pragma clang loop unroll(disable)
  for (std::int32_t i = 0; i < numbers[key_blocks]; ++i) {
    std::uint32_t word = 0;
#pragma clang loop unroll(disable)
    for (unsigned byte = 0; byte < 4; ++byte)
      word |= std::uint32_t(whole(b[place(bytes + 4 * i + byte)])) << 8 * byte;
    mask[i] = std::int32_t(word);
  }
}

// sums = 0
void layer_zero(float *__restrict sums) {
  for (unsigned i = 0; i < unit; i += width)
    aie::store_v(sums + i, aie::zeros<float, width>());
}

// sums += A B
void layer_matmul(bfloat16 *__restrict a, bfloat16 *__restrict b, float *__restrict sums) {
  multiply<tile, tile, tile, Sums::onto_c>(a, b, sums);
}

// sums = activation(sums + biases); c = sums, rounded to bf16
void layer_finish(float *__restrict sums, float *__restrict kept, std::int32_t *__restrict numbers,
                  bfloat16 *__restrict c, std::int32_t of_tile) {
  aie::set_rounding(aie::rounding_mode::conv_even);
  activate(sums, kept, numbers, of_tile, 0, tiles);
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < unit; i += width)
    aie::store_v(c + i, rounded(aie::load_v<width>(sums + i)));
}

// The same of half the columns, in fp32. What the memtile takes for four bf16 of a micro-tile's row are two of them.
void layer_finish_f32(float *__restrict sums, float *__restrict kept, std::int32_t *__restrict numbers,
                      bfloat16 *__restrict c, std::int32_t of_tile, std::int32_t of_half) {
  aie::set_rounding(aie::rounding_mode::conv_even);
  const unsigned first = of_half * (tiles / 2);
  activate(sums, kept, numbers, of_tile, first, first + tiles / 2);
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < tiles; ++i)
#pragma clang loop unroll(disable)
    for (unsigned j = 0; j < tiles / 2; ++j) {
      const Vector v = aie::load_v<width>(sums + (i * tiles + first + j) * width);
      const Vector pairs = aie::concat(aie::filter_even(v, 2), aie::filter_odd(v, 2));
      aie::store_v(c + (i * tiles + 2 * j) * width, pairs.cast_to<bfloat16>());
    }
}

// c = 128 Q^T, as an object of B has it
void layer_query(bfloat16 *__restrict a, bfloat16 *__restrict c, std::int32_t head, std::int32_t column) {
  if (head != column)
    return;
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < tile / r; ++i)
#pragma clang loop unroll(disable)
    for (unsigned j = 0; j < tile / s; ++j) {
      const Pair q = aie::transpose(aie::load_v<MMUL::size_A>(a + (i * (tile / s) + j) * MMUL::size_A), r, s);
      Halves half[2];
#pragma clang loop unroll(full)
      for (unsigned h = 0; h < 2; ++h)
        half[h] = rounded(aie::mul(q.extract<width>(h), aie::broadcast<bfloat16, width>(bfloat16(steps))));
      aie::store_v(c + (j * tiles + i) * MMUL::size_B, aie::concat(half[0], half[1]));
    }
}

void layer_attend_start(float *__restrict sums, float *__restrict kept) {
  layer_zero(sums);
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < tile; i += width) {
    aie::store_v(kept + maxima + i, all(start));
    aie::store_v(kept + totals + i, all(0.0f));
  }
}

// One block of keys: 32 rows of K, and below them 32 of V.
void layer_attend(bfloat16 *__restrict c, bfloat16 *__restrict b, float *__restrict sums, float *__restrict kept,
                  std::int32_t *__restrict mask, std::int32_t number) {
  aie::set_rounding(aie::rounding_mode::conv_even);
  const std::uint32_t bits = mask[number];
  if (bits == 0)
    return;
  float *strip = kept + scores;
#pragma clang loop unroll(disable)
  for (unsigned j = 0; j < tiles; j += block) {
    score(c + j * MMUL::size_B, b, strip);
    if (bits != 0xFFFF'FFFF)
      leave_out(strip, bits);
#pragma clang loop unroll(disable)
    for (unsigned x = 0; x < block; ++x) {
      const unsigned query = 4 * (j + x);
      const Words top =
          raise_maximum(strip + x * width, kept + maxima + query, kept + totals + query, sums + (j + x) * width);
      weigh(strip + x * width, top, kept + totals + query);
    }
    gather(b + keys * tile, strip, sums + j * width);
  }
}

// c = bf16(O); 0 where no key counts
void layer_attend_finish(float *__restrict sums, float *__restrict kept, bfloat16 *__restrict c) {
  aie::set_rounding(aie::rounding_mode::conv_even);
#pragma clang loop unroll(disable)
  for (unsigned j = 0; j < tiles; ++j) {
    const Words total = as_words(in_each_row(kept + totals + 4 * j));
    const Vector factor = reciprocal(as_vector(aie::max(total, words(0x0080'0000))));
#pragma clang loop unroll(disable)
    for (unsigned i = 0; i < tiles; ++i) {
      const Vector o = product(aie::load_v<width>(sums + (i * tiles + j) * width), factor);
      aie::store_v(c + (j * tiles + i) * width, aie::transpose(rounded(o), r, t));
    }
  }
}

// A half of the unit: 64 rows of 32 fp32 in the stream. Micro-tile (i, j) has 4 of them in each of 4 rows.
void layer_rows_take(bfloat16 *__restrict a, float *__restrict sums, std::int32_t object, std::int32_t column) {
  if (object >> 1 != column)
    return;
  float *half = sums + (object & 1) * std::int32_t(unit / 2);
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < unit / 2; i += 128)
#pragma clang loop unroll(disable)
    for (unsigned j = 0; j < 2; ++j) {
      Vector v[4];
#pragma clang loop unroll(full)
      for (unsigned p = 0; p < 4; ++p)
        v[p] = aie::load_v<MMUL::size_A>(a + 2 * i + (4 * j + p) * MMUL::size_A).cast_to<float>();
      transpose_pieces<4>(v);
#pragma clang loop unroll(full)
      for (unsigned row = 0; row < 4; ++row)
        aie::store_v(half + i + 32 * row + 16 * j, v[row]);
    }
}

// The memtile has spread B: row i + 32 h of the object is row 2 i + h of the half, 32 fp32. What lies behind the
// numbers of a row of the residual stream may be anything, and is not added.
void layer_rows_add(bfloat16 *__restrict b, float *__restrict sums, std::int32_t *__restrict numbers,
                    std::int32_t object, std::int32_t row) {
  if (object >> 1 != row)
    return;
  const unsigned count = numbers[n_state], length = numbers[row_length];
  float *half = sums + (object & 1) * std::int32_t(unit / 2);
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < tile / s; ++i)
#pragma clang loop unroll(disable)
    for (unsigned j = 0; j < 2; ++j) { // 8 micro-tiles: 16 numbers in each of 8 rows
      Vector v[2][4];
#pragma clang loop unroll(full)
      for (unsigned h = 0; h < 2; ++h) {
#pragma clang loop unroll(full)
        for (unsigned p = 0; p < 4; ++p)
          v[h][p] = aie::load_v<MMUL::size_B>(b + (i * tiles + 8 * j + 4 * h + p) * MMUL::size_B).cast_to<float>();
        transpose_pieces<2>(v[h]);
      }
#pragma clang loop unroll(full)
      for (unsigned p = 0; p < 4; ++p) {
        const auto [even, odd] = aie::interleave_zip(v[0][p], v[1][p], 8);
        // Rows 2 p and 2 p + 1 of the micro-tile are rows 4 p and 4 p + 2 of the half, from the micro-tile's first on.
        const unsigned at = (16 * (i % 4) + 4 * p + i / 4) * (tile / 2) + 16 * j, next = at + tile;
        if ((at & (length - 1)) < count) // length is a power of two
          aie::store_v(half + at, aie::add(aie::load_v<width>(half + at), even));
        if ((next & (length - 1)) < count)
          aie::store_v(half + next, aie::add(aie::load_v<width>(half + next), odd));
      }
    }
}

// A half of the unit, so that the memtile sends it as it was. Micro-tile (i, j) has 2 fp32 of each of 4 rows.
void layer_rows_sum(float *__restrict sums, bfloat16 *__restrict c, std::int32_t of_half) {
  const float *half = sums + of_half * std::int32_t(unit / 2);
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < unit / 2; i += 128)
#pragma clang loop unroll(disable)
    for (unsigned j = 0; j < 2; ++j) {
      Vector v[4];
#pragma clang loop unroll(full)
      for (unsigned row = 0; row < 4; ++row)
        v[row] = aie::load_v<width>(half + i + 32 * row + 16 * j);
      transpose_pieces<2>(v);
#pragma clang loop unroll(full)
      for (unsigned p = 0; p < 4; ++p)
        aie::store_v(c + 2 * i + (4 * j + p) * 2 * width, v[p].cast_to<bfloat16>());
    }
}

// The unit's rows, normalised, as bf16. `sums` keeps the deviations, `kept` 1 / sqrt(variance + epsilon) of each row.
void layer_rows_normed(float *__restrict sums, float *__restrict kept, std::int32_t *__restrict numbers,
                       bfloat16 *__restrict c) {
  aie::set_rounding(aie::rounding_mode::conv_even);
  const std::int32_t count = numbers[n_state], length = numbers[row_length];
  // count + 2^23 as a float has count in its last bits.
  const Vector inverse = reciprocal(aie::sub(as_vector(words(0x4B00'0000 | count)), all(0x1p23f)));
  float *scale = kept;
#pragma clang loop unroll(disable)
  for (float *row = sums; row < sums + unit; row += length, scale += width) {
    Accumulator sum[4], squares[4], mixed[4];
#pragma clang loop unroll(full)
    for (unsigned a = 0; a < 4; ++a)
      sum[a] = squares[a] = mixed[a] = aie::zeros<accfloat, width>();
#pragma clang loop unroll(disable)
    for (std::int32_t i = 0; i < count; i += 4 * width)
#pragma clang loop unroll(full)
      for (unsigned a = 0; a < 4; ++a)
        sum[a] = Accumulator(aie::add(sum[a].to_vector<float>(), aie::load_v<width>(row + i + a * width)));
    const Vector mean = product(total(sum), inverse);
#pragma clang loop unroll(disable)
    for (std::int32_t i = 0; i < count; i += 4 * width)
#pragma clang loop unroll(full)
      for (unsigned a = 0; a < 4; ++a) {
        float *at = row + i + a * width;
        const Vector deviation = aie::sub(aie::load_v<width>(at), mean);
        aie::store_v(at, deviation);
        const Halves high = rounded(deviation);
        squares[a] = aie::mac(squares[a], high, high);
        mixed[a] = aie::mac(mixed[a], high, rest(Accumulator(deviation), high));
      }
#pragma clang loop unroll(disable)
    for (std::int32_t i = count; i < length; i += width)
      aie::store_v(row + i, all(0.0f));
    const Vector twice = total(mixed);
    const Vector variance = product(aie::add(total(squares), aie::add(twice, twice)), inverse);
    aie::store_v(scale, inverse_root(aie::add(variance, all(1e-5f))));
  }

  // 256 numbers of one row at a time: 4 rows of the memtile's stream.
  scale = kept;
  std::int32_t left = length;
#pragma clang loop unroll(disable)
  for (unsigned i = 0; i < unit; i += 4 * tile) {
    const Vector factor = aie::load_v<width>(scale);
    const Halves high = rounded(factor), low = rest(Accumulator(factor), high);
#pragma clang loop unroll(disable)
    for (unsigned j = 0; j < 2; ++j) {
      Vector v[4];
#pragma clang loop unroll(full)
      for (unsigned row = 0; row < 4; ++row) {
        Halves unit_variance[2];
#pragma clang loop unroll(full)
        for (unsigned h = 0; h < 2; ++h) {
          const Vector deviation = aie::load_v<width>(sums + i + row * tile + 32 * j + 16 * h);
          const Halves of_deviation = rounded(deviation), others = rest(Accumulator(deviation), of_deviation);
          const Accumulator small = aie::mac(aie::mul(others, high), of_deviation, low);
          unit_variance[h] = rounded(aie::mac(small, of_deviation, high));
        }
        v[row] = aie::concat(unit_variance[0], unit_variance[1]).cast_to<float>();
      }
      transpose_pieces<2>(v);
#pragma clang loop unroll(full)
      for (unsigned p = 0; p < 4; ++p)
        aie::store_v(c + i + (4 * j + p) * 2 * width, v[p].cast_to<bfloat16>());
    }
    left -= 4 * tile;
    if (left == 0) {
      left = length;
      scale += width;
    }
  }
}
}
