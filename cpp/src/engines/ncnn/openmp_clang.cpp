// The functions that Clang calls for OpenMP's parallel loops (the interface of LLVM's OpenMP runtime): ncnn's loops run
// on the threads of platform/thread_pool.h. They keep LLVM's names, so only the Python module, which exports nothing,
// has them.
#include <array>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "platform/processor.h"
#include "platform/thread_pool.h"

namespace {

using Id = std::int32_t;
/// The body of a loop, called with two thread numbers and the captured variables, each as wide as a pointer.
using Body = void (*)(Id*, Id*, ...);

constexpr std::size_t max_captured = 64;
struct Loop {
  Body body;
  std::array<void*, max_captured> captured;
};

thread_local unsigned asked_threads = 0;  ///< for the next loop of this thread; 0: as many as there are cores

template <std::size_t... I>
void call(const Loop& loop, std::index_sequence<I...>) {
  auto thread = static_cast<Id>(yolort::this_part().index);
  const auto body = reinterpret_cast<void (*)(Id*, Id*, std::remove_reference_t<decltype((I, loop.captured[0]))>...)>(
      reinterpret_cast<void (*)()>(loop.body));
  body(&thread, &thread, loop.captured[I]...);
}

template <std::size_t count>
void call_with(void* data) {
  call(*static_cast<const Loop*>(data), std::make_index_sequence<count>());
}

template <std::size_t... I>
constexpr auto make_callers(std::index_sequence<I...>) {
  return std::array<void (*)(void*), sizeof...(I)>{call_with<I>...};
}
/// By number of captured variables.
constexpr auto callers = make_callers(std::make_index_sequence<max_captured + 1>());

/// Narrows the loop from `lower` to `upper` (inclusive) to this thread's share; empty if lower is behind upper
/// afterwards.
template <class Integer>
void take_share(Id* is_last, Integer* lower, Integer* upper, Integer* stride, std::make_signed_t<Integer> step) {
  using Count = std::make_unsigned_t<Integer>;
  const auto [index, parts] = yolort::this_part();
  const bool empty = step > 0 ? *lower > *upper : *lower < *upper;
  const Count span = step > 0 ? static_cast<Count>(*upper) - static_cast<Count>(*lower)
                              : static_cast<Count>(*lower) - static_cast<Count>(*upper);
  const Count count =
      empty ? 0 : span / (step > 0 ? static_cast<Count>(step) : Count(0) - static_cast<Count>(step)) + 1;
  const Count share = count / parts, rest = count % parts;
  const Count first = index * share + (index < rest ? index : rest), own = share + (index < rest);
  const auto at = [start = static_cast<Count>(*lower), step](Count i) {
    return static_cast<Integer>(start + i * static_cast<Count>(step));
  };
  *stride = static_cast<Integer>(count * static_cast<Count>(step));
  *is_last = own != 0 && first + own == count;
  if (own == 0) {
    *lower = static_cast<Integer>(static_cast<Count>(*upper) + static_cast<Count>(step));
    return;
  }
  const Integer begin = at(first);
  *upper = at(first + own - 1);
  *lower = begin;
}

}  // namespace

extern "C" {

Id __kmpc_global_thread_num(void*) { return static_cast<Id>(yolort::this_part().index); }

void __kmpc_push_num_threads(void*, Id, Id threads) {
  asked_threads = threads > 0 ? static_cast<unsigned>(threads) : 0;
}

void __kmpc_fork_call(void*, Id count, Body body, ...) {
  Loop loop{body, {}};
  std::va_list captured;
  va_start(captured, body);
  for (Id i = 0; i < count; ++i) loop.captured.at(static_cast<std::size_t>(i)) = va_arg(captured, void*);
  va_end(captured);
  const unsigned threads = asked_threads ? asked_threads : static_cast<unsigned>(yolort::available_cores());
  asked_threads = 0;
  yolort::run_parts(threads, callers[static_cast<std::size_t>(count)], &loop);
}

#define STATIC_INIT(suffix, Integer, Signed)                                                                        \
  void __kmpc_for_static_init_##suffix(void*, Id, Id, Id* is_last, Integer* lower, Integer* upper, Integer* stride, \
                                       Signed step, Signed) {                                                       \
    take_share<Integer>(is_last, lower, upper, stride, step);                                                       \
  }
STATIC_INIT(4, std::int32_t, std::int32_t)
STATIC_INIT(4u, std::uint32_t, std::int32_t)
STATIC_INIT(8, std::int64_t, std::int64_t)
STATIC_INIT(8u, std::uint64_t, std::int64_t)
#undef STATIC_INIT

void __kmpc_for_static_fini(void*, Id) {}

}  // extern "C"
