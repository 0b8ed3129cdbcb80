// The verifier's way into a family's core functions, compiled with their source into one shared library per
// object. core_functions.hpp is generated for each library (verifier/core_functions.py): it declares the
// functions, lists them in CORE_FUNCTIONS and says how many arguments the longest has.
//
// Every argument is copied into the middle of a slot of its own, with the size of a core's memory free on both
// sides, so that an access beyond it is seen even where the caller's buffers touch each other.

#include <aie_api/aie.hpp>

#include <core_functions.hpp>

#include <cstdarg>
#include <cstdio>
#include <utility>

namespace {

constexpr std::size_t core_memory = HOST_CORE_MEMORY; // bytes, of the target
constexpr std::size_t max_arguments = MAX_ARGUMENTS;

struct alignas(64) Slot {
  std::byte before[core_memory], argument[core_memory], after[core_memory];
};

thread_local Slot slots[max_arguments];
thread_local std::size_t sizes[max_arguments]; // bytes of each argument
thread_local std::size_t count;

struct Problem {
  char text[200];
};

[[noreturn]] void fail(const char *format, ...) {
  Problem problem;
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(problem.text, sizeof problem.text, format, values);
  va_end(values);
  throw problem;
}

// A buffer's address in its slot, or the number that lies there.
template <typename T>
T argument(std::size_t i) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(slots[i].argument);
  } else {
    T number;
    std::memcpy(&number, slots[i].argument, sizeof number);
    return number;
  }
}

template <typename... T, std::size_t... I>
void apply(void (*function)(T...), std::index_sequence<I...>) {
  if (count != sizeof...(T))
    fail("takes %zu arguments, not %zu", sizeof...(T), count);
  function(argument<T>(I)...);
}

template <typename... T>
bool apply(const char *wanted, const char *name, void (*function)(T...)) {
  if (std::strcmp(wanted, name) != 0)
    return false;
  apply(function, std::index_sequence_for<T...>());
  return true;
}

void call(const char *name, void *const *buffers, const std::size_t *bytes, std::size_t arguments) {
  if (arguments > max_arguments)
    fail("has %zu arguments; no core function has more than %zu", arguments, max_arguments);
  count = arguments;
  for (std::size_t i = 0; i < count; ++i) {
    if (bytes[i] > core_memory)
      fail("has an argument of %zu bytes; a core's memory is %zu", bytes[i], core_memory);
    sizes[i] = bytes[i];
    std::memcpy(slots[i].argument, buffers[i], sizes[i]);
  }
  aie::set_rounding(aie::rounding_mode::floor);
  bool found = false;
#define CALL_IF_WANTED(function) found = found || apply(name, #function, function);
  CORE_FUNCTIONS(CALL_IF_WANTED)
#undef CALL_IF_WANTED
  if (!found)
    fail("is not in this library");
  for (std::size_t i = 0; i < count; ++i)
    std::memcpy(buffers[i], slots[i].argument, sizes[i]);
}

} // namespace

void aie::host::check(Access access, const void *address, std::size_t bytes, std::size_t alignment) {
  // In integers: an address below the first slot wraps to one far above the last.
  const auto place = reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(slots);
  const auto i = place / sizeof(Slot);
  const auto offset = static_cast<std::ptrdiff_t>(place % sizeof(Slot)) - std::ptrdiff_t{core_memory};
  const bool known = i < count;
  const bool inside = known && offset >= 0 && offset + bytes <= sizes[i];
  if (inside && offset % alignment == 0)
    return;

  const char *what = access == Access::read ? "reads" : "writes";
  if (!known)
    fail("%s %zu bytes far outside its arguments", what, bytes);
  if (!inside)
    fail("%s %zu bytes at offset %td of argument %zu, which has %zu", what, bytes, offset, i, sizes[i]);
  fail("%s %zu bytes at offset %td of argument %zu: a vector access must be aligned to %zu", what, bytes, offset,
       i, alignment);
}

// Calls a function by name. Returns 0, or 1 with what went wrong in `error`: "reads 64 bytes at offset ...".
extern "C" __attribute__((visibility("default"))) int
whisper_npu_call(const char *name, void *const *buffers, const std::size_t *bytes, std::size_t arguments,
                 char *error, std::size_t error_size) noexcept {
  try {
    call(name, buffers, bytes, arguments);
    return 0;
  } catch (const Problem &problem) {
    std::snprintf(error, error_size, "%s", problem.text);
    return 1;
  }
}
