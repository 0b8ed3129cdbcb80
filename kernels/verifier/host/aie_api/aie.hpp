// What our core functions use of the AIE API, for the host's C++ compiler, with the meaning that AMD's AI Engine
// API User Guide (UG1529) documents. It is ours: the API's names and behaviour, none of its code.
//
// Sums are IEEE fp32: mac adds the products of a micro-tile one after the other, in order of s. A core does not:
// each vmac aligns the accumulator and eight products to the largest of the nine, rounds each on that grid, and
// rounds their exact sum once (github.com/FIM43-Redeye/xdna-emu,
// src/interpreter/execute/vector_matmul/bf16_pipeline.rs). So a core's bits are other ones, and no order of IEEE
// additions gives them. Both lie within 1.25 K * 2^-24 of the sum of the magnitudes of K products, which is what
// the verifier allows (Matmul.tolerance).
//
// A product of fp32 is an IEEE fp32 product, and a mac of it rounds twice. AIE-ML multiplies only bf16: Peano's header
// aiev2_core.h (github.com/Xilinx/llvm-aie) sums nine products of bf16 pieces instead, which comes within 5 * 2^-24 of
// the product. reduce_add has the order of github.com/Xilinx/aie_api, detail/aie2/add_reduce.hpp; UG1529 documents none.
//
// The target's micro-tile comes as HOST_MMUL_R, HOST_MMUL_S, HOST_MMUL_T.
//
// Stricter than the hardware, to catch a kernel's mistakes:
// - load_v and store_v refuse an address outside the call's arguments, or one not aligned to the vector's size
//   or to 32 bytes, whichever is less (UG1603, Alignment: AIE-ML loads and stores 256 bits at a time);
// - vector sizes that AIE-ML does not have, and other matrix sizes than the target's micro-tile, do not compile;
// - sums that were never initialised are NaN;
// - each call starts with the rounding mode floor, as a core does when it starts (UG1603).

#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

struct bfloat16 {
  std::uint16_t bits;
  operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
};
static_assert(sizeof(bfloat16) == 2 && sizeof(float) == 4);

struct accfloat {}; // the tag of fp32 accumulators

namespace aie {

enum class rounding_mode { floor, conv_even }; // toward minus infinity; to nearest, ties to even

namespace host {

inline thread_local rounding_mode rounding = rounding_mode::floor;

enum class Access { read, write };

// Fails the call unless [address, address + bytes) lies in one argument of the call. See call.cc.
void check(Access access, const void *address, std::size_t bytes, std::size_t alignment);

inline bfloat16 rounded(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value)
    return {static_cast<std::uint16_t>(bits >> 16 | 0x40)}; // stays NaN, whichever bits are dropped
  const std::uint32_t up = rounding == rounding_mode::conv_even ? 0x7FFF + (bits >> 16 & 1)
                           : bits >> 31                         ? 0xFFFF // more magnitude is further down
                                                                : 0;
  return {static_cast<std::uint16_t>((bits + up) >> 16)};
}

} // namespace host

inline void set_rounding(rounding_mode mode) { host::rounding = mode; }

template <typename T, unsigned Elems>
struct vector {
  static constexpr unsigned bits = 8 * sizeof(T) * Elems;
  static_assert(bits == 128 || bits == 256 || bits == 512 || bits == 1024, "no such vector on AIE-ML");
  T data[Elems];

  T operator[](unsigned lane) const { return data[lane]; }
};

// fp32 accumulators. Sums start as NaN, which shows one that was never initialised.
template <typename Tag, unsigned Elems>
struct accum {
  static_assert(std::is_same_v<Tag, accfloat> && Elems == 16, "16 fp32 accumulators are all that is needed here");
  float data[Elems];

  accum() {
    for (float &sum : data)
      sum = std::numeric_limits<float>::quiet_NaN();
  }
  explicit accum(const vector<float, Elems> &v) { std::memcpy(data, v.data, sizeof data); }

  template <typename T>
  vector<T, Elems> to_vector() const {
    static_assert(std::is_same_v<T, float>, "only fp32 is needed here");
    vector<T, Elems> v;
    std::memcpy(v.data, data, sizeof data);
    return v;
  }
};

template <unsigned Elems, typename T>
vector<T, Elems> load_v(const T *address) {
  vector<T, Elems> v;
  host::check(host::Access::read, address, sizeof v, sizeof v < 32 ? sizeof v : 32);
  std::memcpy(&v, address, sizeof v);
  return v;
}

template <typename T, unsigned Elems>
void store_v(T *address, const vector<T, Elems> &v) {
  host::check(host::Access::write, address, sizeof v, sizeof v < 32 ? sizeof v : 32);
  std::memcpy(address, &v, sizeof v);
}

template <typename T, unsigned Elems>
auto zeros() {
  if constexpr (std::is_same_v<T, accfloat>)
    return accum<accfloat, Elems>(vector<float, Elems>{});
  else
    return vector<T, Elems>{};
}

template <typename T, unsigned Elems>
vector<T, Elems> broadcast(T value) {
  vector<T, Elems> v;
  for (T &lane : v.data)
    lane = value;
  return v;
}

namespace host {

template <unsigned Elems, typename Operation>
vector<float, Elems> lanewise(const vector<float, Elems> &a, const vector<float, Elems> &b, Operation operation) {
  vector<float, Elems> v;
  for (unsigned lane = 0; lane < Elems; ++lane)
    v.data[lane] = operation(a.data[lane], b.data[lane]);
  return v;
}

} // namespace host

template <unsigned Elems>
vector<float, Elems> add(const vector<float, Elems> &a, const vector<float, Elems> &b) {
  return host::lanewise(a, b, [](float x, float y) { return x + y; });
}

template <unsigned Elems>
vector<float, Elems> sub(const vector<float, Elems> &a, const vector<float, Elems> &b) {
  return host::lanewise(a, b, [](float x, float y) { return x - y; });
}

template <unsigned Elems>
accum<accfloat, Elems> mul(const vector<float, Elems> &a, const vector<float, Elems> &b) {
  return accum<accfloat, Elems>(host::lanewise(a, b, [](float x, float y) { return x * y; }));
}

// acc + a b
template <unsigned Elems>
accum<accfloat, Elems> mac(const accum<accfloat, Elems> &acc, const vector<float, Elems> &a,
                           const vector<float, Elems> &b) {
  return accum<accfloat, Elems>(add(acc.template to_vector<float>(), mul(a, b).template to_vector<float>()));
}

// acc - a b
template <unsigned Elems>
accum<accfloat, Elems> msc(const accum<accfloat, Elems> &acc, const vector<float, Elems> &a,
                           const vector<float, Elems> &b) {
  return accum<accfloat, Elems>(sub(acc.template to_vector<float>(), mul(a, b).template to_vector<float>()));
}

// The sum of all lanes: each is added to the one half a vector further, then half of that, and so on.
template <unsigned Elems>
float reduce_add(const vector<float, Elems> &v) {
  static_assert(std::has_single_bit(Elems));
  vector<float, Elems> sums = v;
  for (unsigned half = Elems / 2; half > 0; half /= 2)
    for (unsigned lane = 0; lane < half; ++lane)
      sums.data[lane] += sums.data[lane + half];
  return sums.data[0];
}

// C (M x N) += A (M x K) B (K x N), each row-major in its vector.
template <unsigned M, unsigned K, unsigned N, typename TypeA, typename TypeB, typename AccumTag>
class mmul {
  static_assert(M == HOST_MMUL_R && K == HOST_MMUL_S && N == HOST_MMUL_T, "not the target's micro-tile");
  static_assert(std::is_same_v<TypeA, bfloat16> && std::is_same_v<TypeB, bfloat16> &&
                std::is_same_v<AccumTag, accfloat>);

public:
  static constexpr unsigned size_A = M * K, size_B = K * N, size_C = M * N;

  mmul() { // holds nothing yet: NaN shows a mac without initial sums
    for (float &sum : sums)
      sum = std::numeric_limits<float>::quiet_NaN();
  }
  explicit mmul(const vector<float, size_C> &v) { std::memcpy(sums, v.data, sizeof sums); }

  void mac(const vector<TypeA, size_A> &a, const vector<TypeB, size_B> &b) {
    float rows[K][N]; // of B, widened once
    for (unsigned e = 0; e < size_B; ++e)
      rows[e / N][e % N] = b.data[e];
    for (unsigned y = 0; y < M; ++y) {
      float row[N]; // of C, in a register
      std::memcpy(row, sums + y * N, sizeof row);
      for (unsigned z = 0; z < K; ++z) {
        const float factor = a.data[y * K + z];
        for (unsigned x = 0; x < N; ++x)
          row[x] += factor * rows[z][x];
      }
      std::memcpy(sums + y * N, row, sizeof row);
    }
  }

  template <typename T>
  vector<T, size_C> to_vector() const {
    vector<T, size_C> v;
    for (unsigned e = 0; e < size_C; ++e)
      if constexpr (std::is_same_v<T, float>)
        v.data[e] = sums[e];
      else
        v.data[e] = host::rounded(sums[e]);
    return v;
  }

private:
  float sums[size_C];
};

} // namespace aie
