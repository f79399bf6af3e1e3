// Sharing out cases, or panels of a weight, among threads.

#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace atn {

struct Range {
  int64_t from, to;
  int64_t count() const { return to - from; }
};

// How many parts `count` things make: one a thread, none of them empty.
inline int64_t parts_of(int64_t count) { return std::min<int64_t>(at::get_num_threads(), count); }

// Runs body(part, range) for `parts` parts of `count` things. What belongs to a part, such as a sum, is found by the
// part's number and never by the thread's: inside another parallel region, or in a pool, thread numbers may be any.
template <typename F>
void in_parts(int64_t count, int64_t parts, const F& body) {
  at::parallel_for(0, parts, 1, [&](int64_t from, int64_t to) {
    for (int64_t part = from; part < to; ++part)
      body(part, Range{.from = part * count / parts, .to = (part + 1) * count / parts});
  });
}

}  // namespace atn
