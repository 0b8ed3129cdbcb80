// What our core functions use of the AIE API, for the host's C++ compiler, with the meaning that AMD's AI Engine
// API User Guide (UG1529) documents. It is ours: the API's names and behaviour, none of its code.
//
// mmul::mac and mac of bf16 are one vmac, to the bit: vmac.hpp, which is the host's, says what that adds and how it
// rounds.
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

#define VMAC_W HOST_MMUL_T
#define VMAC_V 1
#include <vmac.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

struct bfloat16 {
  std::uint16_t bits;

  bfloat16() = default;
  // A number written into a kernel: to nearest even, as compilers round constants.
  explicit constexpr bfloat16(float value) : bits(nearest(value)) {}
  operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

private:
  static constexpr std::uint16_t nearest(float value) {
    const auto whole = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((whole + 0x7FFF + (whole >> 16 & 1)) >> 16);
  }
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

// 2 to a factor's exponent: 0 for zero, for a subnormal number that of the smallest normal one.
inline double exponent(float factor) {
  const double power = std::bit_cast<float>(std::bit_cast<std::uint32_t>(factor) & 0x7F80'0000);
  return factor == 0 ? 0 : power < 0x1p-126 ? 0x1p-126 : power;
}

inline bfloat16 rounded(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value)
    return std::bit_cast<bfloat16>(static_cast<std::uint16_t>(bits >> 16 | 0x40)); // stays NaN
  const std::uint32_t up = rounding == rounding_mode::conv_even ? 0x7FFF + (bits >> 16 & 1)
                           : bits >> 31                         ? 0xFFFF // more magnitude is further down
                                                                : 0;
  return std::bit_cast<bfloat16>(static_cast<std::uint16_t>((bits + up) >> 16));
}

} // namespace host

inline void set_rounding(rounding_mode mode) { host::rounding = mode; }

template <typename T, unsigned Elems>
struct vector {
  static constexpr unsigned bits = 8 * sizeof(T) * Elems;
  static_assert(bits == 128 || bits == 256 || bits == 512 || bits == 1024, "no such vector on AIE-ML");
  T data[Elems];

  T operator[](unsigned lane) const { return data[lane]; }

  // The same bits as elements of another type.
  template <typename To>
  vector<To, bits / 8 / sizeof(To)> cast_to() const {
    return std::bit_cast<vector<To, bits / 8 / sizeof(To)>>(*this);
  }

  // Part `index` of those with `Part` elements.
  template <unsigned Part>
  vector<T, Part> extract(unsigned index) const {
    vector<T, Part> part;
    std::memcpy(part.data, data + index * Part, sizeof part);
    return part;
  }

  // Itself, over and over.
  template <unsigned Grown>
  vector<T, Grown> grow_replicate() const {
    vector<T, Grown> grown;
    for (unsigned lane = 0; lane < Grown; ++lane)
      grown.data[lane] = data[lane % Elems];
    return grown;
  }
};

// One bit per element.
template <unsigned Elems>
struct mask {
  static_assert(Elems <= 32, "32 elements are all that is needed here");
  std::uint32_t bits;

  static mask from_uint32(std::uint32_t bits) { return {bits}; }
  bool test(unsigned lane) const { return bits >> lane & 1; }
  bool empty() const { return bits == 0; }
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
  explicit accum(const vector<bfloat16, Elems> &v) {
    for (unsigned lane = 0; lane < Elems; ++lane)
      data[lane] = v.data[lane];
  }

  template <typename T>
  vector<T, Elems> to_vector() const {
    vector<T, Elems> v;
    for (unsigned lane = 0; lane < Elems; ++lane)
      if constexpr (std::is_same_v<T, float>)
        v.data[lane] = data[lane];
      else
        v.data[lane] = host::rounded(data[lane]);
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

template <typename T, unsigned Elems, typename Operation>
vector<T, Elems> lanewise(const vector<T, Elems> &a, const vector<T, Elems> &b, Operation operation) {
  vector<T, Elems> v;
  for (unsigned lane = 0; lane < Elems; ++lane)
    v.data[lane] = operation(a.data[lane], b.data[lane]);
  return v;
}

template <typename T>
concept Whole = std::is_same_v<T, std::int16_t> || std::is_same_v<T, std::int32_t>;

template <typename T>
concept Addable = std::is_same_v<T, float> || Whole<T>;

// Whole numbers wrap.
template <typename T>
using Wrapping = std::conditional_t<Whole<T>, std::uint32_t, T>;

} // namespace host

template <host::Addable T, unsigned Elems>
vector<T, Elems> add(const vector<T, Elems> &a, const vector<T, Elems> &b) {
  using W = host::Wrapping<T>;
  return host::lanewise(a, b, [](T x, T y) { return static_cast<T>(W(x) + W(y)); });
}

template <host::Addable T, unsigned Elems>
vector<T, Elems> sub(const vector<T, Elems> &a, const vector<T, Elems> &b) {
  using W = host::Wrapping<T>;
  return host::lanewise(a, b, [](T x, T y) { return static_cast<T>(W(x) - W(y)); });
}

template <host::Whole T, unsigned Elems>
vector<T, Elems> max(const vector<T, Elems> &a, const vector<T, Elems> &b) {
  return host::lanewise(a, b, [](T x, T y) { return x < y ? y : x; });
}

template <host::Whole T, unsigned Elems>
vector<T, Elems> min(const vector<T, Elems> &a, const vector<T, Elems> &b) {
  return host::lanewise(a, b, [](T x, T y) { return x < y ? x : y; });
}

template <host::Whole T, unsigned Elems>
vector<T, Elems> bit_and(const vector<T, Elems> &a, const vector<T, Elems> &b) {
  return host::lanewise(a, b, [](T x, T y) { return static_cast<T>(x & y); });
}

template <host::Whole T, unsigned Elems>
mask<Elems> lt(const vector<T, Elems> &a, const vector<T, Elems> &b) {
  mask<Elems> m{0};
  for (unsigned lane = 0; lane < Elems; ++lane)
    m.bits |= std::uint32_t{a.data[lane] < b.data[lane]} << lane;
  return m;
}

template <host::Whole T, unsigned Elems>
mask<Elems> gt(const vector<T, Elems> &a, const vector<T, Elems> &b) {
  return lt(b, a);
}

// a where the mask has 0, b where it has 1
template <typename T, unsigned Elems>
vector<T, Elems> select(const vector<T, Elems> &a, const vector<T, Elems> &b, const mask<Elems> &m) {
  vector<T, Elems> v;
  for (unsigned lane = 0; lane < Elems; ++lane)
    v.data[lane] = m.test(lane) ? b.data[lane] : a.data[lane];
  return v;
}

template <typename T, unsigned Elems>
vector<T, 2 * Elems> concat(const vector<T, Elems> &a, const vector<T, Elems> &b) {
  vector<T, 2 * Elems> v;
  std::memcpy(v.data, a.data, sizeof a);
  std::memcpy(v.data + Elems, b.data, sizeof b);
  return v;
}

// In turn `step` elements of each; the first half of all that, and the second.
template <typename T, unsigned Elems>
std::pair<vector<T, Elems>, vector<T, Elems>> interleave_zip(const vector<T, Elems> &a, const vector<T, Elems> &b,
                                                             unsigned step) {
  vector<T, 2 * Elems> v;
  for (unsigned lane = 0; lane < 2 * Elems; ++lane) {
    const unsigned from = lane / (2 * step) * step + lane % step;
    v.data[lane] = lane / step % 2 ? b.data[from] : a.data[from];
  }
  return {v.template extract<Elems>(0), v.template extract<Elems>(1)};
}

namespace host {

template <typename T, unsigned Elems>
vector<T, Elems / 2> every_other(const vector<T, Elems> &v, unsigned step, unsigned first) {
  vector<T, Elems / 2> found;
  for (unsigned lane = 0; lane < Elems / 2; ++lane)
    found.data[lane] = v.data[lane / step * 2 * step + first + lane % step];
  return found;
}

} // namespace host

// Of parts of `step` elements the first, the third and so on; the second, the fourth.
template <typename T, unsigned Elems>
vector<T, Elems / 2> filter_even(const vector<T, Elems> &v, unsigned step = 1) {
  return host::every_other(v, step, 0);
}

template <typename T, unsigned Elems>
vector<T, Elems / 2> filter_odd(const vector<T, Elems> &v, unsigned step = 1) {
  return host::every_other(v, step, step);
}

// A matrix of `rows` times `columns`, row-major, turned over.
template <typename T, unsigned Elems>
vector<T, Elems> transpose(const vector<T, Elems> &v, unsigned rows, unsigned columns) {
  vector<T, Elems> turned;
  for (unsigned row = 0; row < rows; ++row)
    for (unsigned column = 0; column < columns; ++column)
      turned.data[column * rows + row] = v.data[row * columns + column];
  return turned;
}

// Each element takes the one `n` further; after the last comes the first.
template <typename T, unsigned Elems>
vector<T, Elems> shuffle_down_rotate(const vector<T, Elems> &v, unsigned n) {
  vector<T, Elems> rotated;
  for (unsigned lane = 0; lane < Elems; ++lane)
    rotated.data[lane] = v.data[(lane + n) % Elems];
  return rotated;
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

namespace host {

// One vmac that adds one product to each accumulator.
template <unsigned Elems>
accum<accfloat, Elems> one_product(const accum<accfloat, Elems> &acc, const vector<bfloat16, Elems> &a,
                                   const vector<bfloat16, Elems> &b, double sign) {
  accum<accfloat, Elems> sums;
  for (unsigned first = 0; first < Elems; first += vmac::W) {
    vmac::Doubles c[1][vmac::V], power[1][vmac::V], finite{};
    double factors[vmac::W];
    for (int lane = 0; lane < vmac::W; ++lane) {
      const float x = a.data[first + lane], y = b.data[first + lane];
      c[0][0][lane] = acc.data[first + lane];
      factors[lane] = sign * x * y; // exact
      power[0][0][lane] = exponent(x) * exponent(y);
    }
    const double one = 1;
    vmac::add<vmac::Addends::any, 1>(c, &one, 1, factors, 1, power, finite);
    for (int lane = 0; lane < vmac::W; ++lane)
      sums.data[first + lane] = static_cast<float>(c[0][0][lane]);
  }
  return sums;
}

} // namespace host

// acc + a b
template <unsigned Elems>
accum<accfloat, Elems> mac(const accum<accfloat, Elems> &acc, const vector<bfloat16, Elems> &a,
                           const vector<bfloat16, Elems> &b) {
  return host::one_product(acc, a, b, 1);
}

// acc - a b
template <unsigned Elems>
accum<accfloat, Elems> msc(const accum<accfloat, Elems> &acc, const vector<bfloat16, Elems> &a,
                           const vector<bfloat16, Elems> &b) {
  return host::one_product(acc, a, b, -1);
}

template <unsigned Elems>
accum<accfloat, Elems> mul(const vector<bfloat16, Elems> &a, const vector<bfloat16, Elems> &b) {
  return mac(zeros<accfloat, Elems>(), a, b);
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
    set([](unsigned) { return std::numeric_limits<float>::quiet_NaN(); });
  }
  explicit mmul(const vector<float, size_C> &v) {
    set([&](unsigned e) { return v.data[e]; });
  }

  void mac(const vector<TypeA, size_A> &a, const vector<TypeB, size_B> &b) {
    const Factors<size_A> of_a(a.data);
    const Factors<size_B> of_b(b.data);
    vmac::Doubles powers[M][1]{};
#pragma GCC unroll 8
    for (unsigned z = 0; z < K; ++z) {
      vmac::Doubles of_row;
      std::memcpy(&of_row, of_b.powers + z * N, sizeof of_row);
#pragma GCC unroll 8
      for (unsigned y = 0; y < M; ++y) {
        const vmac::Doubles product = of_a.powers[y * K + z] * of_row;
        powers[y][0] = product > powers[y][0] ? product : powers[y][0];
      }
    }
    if (of_a.finite && of_b.finite && sums_are_finite())
      vmac::add<vmac::Addends::finite, M>(sums, of_a.values, K, of_b.values, K, powers, finite);
    else
      vmac::add<vmac::Addends::any, M>(sums, of_a.values, K, of_b.values, K, powers, finite);
  }

  template <typename T>
  vector<T, size_C> to_vector() const {
    vector<T, size_C> v;
    for (unsigned e = 0; e < size_C; ++e) {
      const float sum = sums[e / N][0][e % N];
      if constexpr (std::is_same_v<T, float>)
        v.data[e] = sum;
      else
        v.data[e] = host::rounded(sum);
    }
    return v;
  }

private:
  // Widened, with their exponents as powers of two: 0 for zero, for a subnormal number that of the smallest normal one.
  template <unsigned Size>
  struct Factors {
    static constexpr unsigned lanes = 8; // widened together: compilers do not always do it themselves
    using Halves = std::uint16_t __attribute__((vector_size(2 * lanes)));
    using Bits = std::uint32_t __attribute__((vector_size(4 * lanes)));
    using Floats = float __attribute__((vector_size(4 * lanes)));
    using Doubles = double __attribute__((vector_size(8 * lanes)));

    double values[Size], powers[Size];
    bool finite = true;

    explicit Factors(const bfloat16 (&factors)[Size]) {
      static_assert(Size % lanes == 0);
      Bits most{};
      for (unsigned e = 0; e < Size; e += lanes) {
        Halves halves;
        std::memcpy(&halves, factors + e, sizeof halves);
        const Bits bits = __builtin_convertvector(halves, Bits) << 16, exponent = bits & 0x7F80'0000;
        const Bits least = bits << 1 != 0 ? Bits{} + 0x0080'0000 : Bits{};
        const Bits counted = exponent > least ? exponent : least;
        const Doubles wide = __builtin_convertvector((Floats)bits, Doubles);
        const Doubles power = __builtin_convertvector((Floats)counted, Doubles);
        std::memcpy(values + e, &wide, sizeof wide);
        std::memcpy(powers + e, &power, sizeof power);
        most = exponent > most ? exponent : most;
      }
      for (unsigned lane = 0; lane < lanes; ++lane)
        finite &= most[lane] != 0x7F80'0000;
    }
  };

  template <typename Of>
  void set(Of of) {
    for (unsigned e = 0; e < size_C; ++e)
      sums[e / N][0][e % N] = of(e);
    for (const auto &row : sums)
      finite += row[0] * 0.0;
  }

  bool sums_are_finite() const {
    for (unsigned x = 0; x < N; ++x)
      if (finite[x] != 0)
        return false;
    return true;
  }

  vmac::Doubles sums[M][1]; // as fp32 holds them
  vmac::Doubles finite{};   // NaN in some lane where a sum is not
};

} // namespace aie
