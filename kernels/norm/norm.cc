// The residual add and the layer norm of ROWS rows on a lane of two AIE-ML cores, in fp32.
//
// A row comes and goes in chunks of CHUNK columns, ROWS rows in one object:
//   header, x, residual, sum, unit, y (ROWS, CHUNK)      rows, parameters (COLS/CHUNK, ROWS, CHUNK)
// The lower core adds, and keeps the sums in `rows` until it has mean and variance: norm_sum for each chunk, then
// norm_centre, then norm_unit for each chunk, which gives (s - mean) / sqrt(variance + epsilon) to the upper core.
// That applies weight and bias: norm_affine. They have come as the first rows that the lower core got, which passed
// them on: norm_header, norm_parameters.
//
// Order of sums: element e of accumulator a adds columns 64 i + 16 a + e in the order of i; then the accumulators,
// (0 + 1) + (2 + 3); then the elements, as aie::reduce_add does. The variance is that of the deviations (two
// passes). 1 / sqrt(v): start - half the bits of v as an integer, within 3.44 %, then three steps of Newton; what
// the result lacks are roundings, 16 * 2^-24 of it.
//
// The scalar unit has no floating point (UG1603): a float is only moved there, or taken as an integer. The vector
// unit adds fp32 and multiplies bf16: aie::mul of float splits each operand into three bf16 pieces, 3 conversions
// and 2 vmsc, and sums their nine products (llvm-aie, clang/lib/Headers/aiev2_core.h, accuracy "safe"): within
// 5 * 2^-24 of the product (kernel.py, PRODUCT_ERROR).
//
// Cycles, MODELLED, for each vector of 16 fp32 in the busiest slot of the bundle. The lower core: 4 to add, to store
// and to keep (one store unit of 256 bits), 1 for the mean's sum, 12 for deviation and square, 11 to divide by the
// spread: 28. The upper: 13. Twice that if Peano fills every second bundle. A row of 512 columns on the lower core:
// 32 * 56 = 1,792, and 660 for what is done once per row, and about 450 for its calls: 2,900. DRAM needs 8 KiB for
// it, 4,369 cycles of a lane at 15 GB/s for eight lanes at 1 GHz, and a quarter of that at 56 GB/s: by the first figure
// DRAM bounds it, by the second the lower core.
//
// L1: 8 KiB for four fifos, ROWS * COLS * 4 bytes for rows, on the upper core for parameters.

#include <aie_api/aie.hpp>

#include <bit>
#include <cstdint>

#if !defined(DIM_ROWS) || !defined(DIM_CHUNK) || !defined(DIM_COLS)
#error "compile with -DDIM_ROWS=.. -DDIM_CHUNK=.. -DDIM_COLS=..: rows and columns of an object, the longest row"
#endif

namespace {

constexpr unsigned rows_of_object = DIM_ROWS, chunk_columns = DIM_CHUNK, max_columns = DIM_COLS;
constexpr unsigned width = 16; // 512 bits
constexpr unsigned sums = 4;   // accumulators of a sum: one vector of each per step
constexpr unsigned object = rows_of_object * chunk_columns;

static_assert(rows_of_object == 2, "the header has two rows, weight and bias");
static_assert(chunk_columns > 0 && chunk_columns % (sums * width) == 0, "a chunk is a multiple of 64 columns");
static_assert(max_columns % chunk_columns == 0, "rows are whole chunks");

constexpr float epsilon = 1e-5f;
constexpr std::int32_t start = 0x5F3759DF; // Lomont, Fast Inverse Square Root, 2003
constexpr unsigned newton_steps = 3;

using Vector = aie::vector<float, width>;
using Accumulator = aie::accum<accfloat, width>;

inline Vector product(const Vector &a, const Vector &b) { return aie::mul(a, b).to_vector<float>(); }

inline Vector total(const Vector (&parts)[sums]) {
  const Vector all = aie::add(aie::add(parts[0], parts[1]), aie::add(parts[2], parts[3]));
  return aie::broadcast<float, width>(aie::reduce_add(all));
}

// 1 / sqrt(v), of a vector whose elements are all v.
inline Vector inverse_root(const Vector &v) {
  const float first = v[0];
  const std::int32_t guess = start - (std::bit_cast<std::int32_t>(first) >> 1);
  Vector y = aie::broadcast<float, width>(std::bit_cast<float>(guess));
  const Vector half = product(v, aie::broadcast<float, width>(0.5f));
  const Accumulator three_halves(aie::broadcast<float, width>(1.5f));
#pragma clang loop unroll(disable)
  for (unsigned step = 0; step < newton_steps; ++step)
    y = product(y, aie::msc(three_halves, half, product(y, y)).to_vector<float>());
  return y;
}

inline void copy(const float *__restrict from, float *__restrict to) {
  for (unsigned i = 0; i < object; i += width)
    aie::store_v(to + i, aie::load_v<width>(from + i));
}

} // namespace

extern "C" {

// unit = header: weight and bias, for the upper core
void norm_header_f32(float *__restrict header, float *__restrict unit) { copy(header, unit); }

// rows[chunk] = sum = x + residual
void norm_sum_f32(float *__restrict x, float *__restrict residual, float *__restrict sum, float *__restrict rows,
                  std::int32_t chunk) {
  float *kept = rows + chunk * object;
  for (unsigned i = 0; i < object; i += width) {
    const Vector s = aie::add(aie::load_v<width>(x + i), aie::load_v<width>(residual + i));
    aie::store_v(sum + i, s);
    aie::store_v(kept + i, s);
  }
}

// rows = rows - mean, scale = 1 / sqrt(variance + epsilon); inverse_n: the bits of 1 / N
void norm_centre_f32(float *__restrict rows, float *__restrict scale, std::int32_t chunks, std::int32_t inverse_n) {
  const Vector inverse = aie::broadcast<float, width>(std::bit_cast<float>(inverse_n));
  // A product is some 40 instructions: rows and steps unrolled would crowd the 16 KiB of program memory.
#pragma clang loop unroll(disable)
  for (unsigned r = 0; r < rows_of_object; ++r) {
    float *first = rows + r * chunk_columns;

    Vector s[sums];
    for (unsigned a = 0; a < sums; ++a)
      s[a] = aie::zeros<float, width>();
    for (std::int32_t chunk = 0; chunk < chunks; ++chunk)
      for (unsigned i = 0; i < chunk_columns; i += sums * width)
        for (unsigned a = 0; a < sums; ++a)
          s[a] = aie::add(s[a], aie::load_v<width>(first + chunk * object + i + a * width));
    const Vector mean = product(total(s), inverse);

    Accumulator squares[sums];
    for (unsigned a = 0; a < sums; ++a)
      squares[a] = aie::zeros<accfloat, width>();
    for (std::int32_t chunk = 0; chunk < chunks; ++chunk)
      for (unsigned i = 0; i < chunk_columns; i += sums * width)
        for (unsigned a = 0; a < sums; ++a) {
          float *place = first + chunk * object + i + a * width;
          const Vector deviation = aie::sub(aie::load_v<width>(place), mean);
          aie::store_v(place, deviation);
          squares[a] = aie::mac(squares[a], deviation, deviation);
        }
    for (unsigned a = 0; a < sums; ++a)
      s[a] = squares[a].to_vector<float>();
    const Vector variance = product(total(s), inverse);

    const Vector root = inverse_root(aie::add(variance, aie::broadcast<float, width>(epsilon)));
    aie::store_v(scale + r * width, root);
  }
}

// unit = rows[chunk] * scale
void norm_unit_f32(float *__restrict rows, float *__restrict scale, float *__restrict unit, std::int32_t chunk) {
  for (unsigned r = 0; r < rows_of_object; ++r) {
    const Vector factor = aie::load_v<width>(scale + r * width);
    const float *deviations = rows + chunk * object + r * chunk_columns;
    for (unsigned i = 0; i < chunk_columns; i += width)
      aie::store_v(unit + r * chunk_columns + i, product(aie::load_v<width>(deviations + i), factor));
  }
}

// parameters[chunk] = unit
void norm_parameters_f32(float *__restrict unit, float *__restrict parameters, std::int32_t chunk) {
  copy(unit, parameters + chunk * object);
}

// y = unit * weight + bias
void norm_affine_f32(float *__restrict unit, float *__restrict parameters, float *__restrict y, std::int32_t chunk) {
  const float *weight = parameters + chunk * object, *bias = weight + chunk_columns;
  for (unsigned r = 0; r < rows_of_object; ++r)
    for (unsigned i = 0; i < chunk_columns; i += width) {
      const Accumulator shift(aie::load_v<width>(bias + i));
      const Vector u = aie::load_v<width>(unit + r * chunk_columns + i);
      aie::store_v(y + r * chunk_columns + i, aie::mac(shift, u, aie::load_v<width>(weight + i)).to_vector<float>());
    }
}
}
